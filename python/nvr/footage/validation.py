"""Checks requests against the rules that their proto files declare.

The rules (``protos/nvr/v1/rules.proto``) are options of fields and messages.
They are read from the descriptors once for each message type and compiled to a
list of checks; a request is then walked down to its last field before any
handler sees it.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from nvr.errors import InvalidArgument
from nvr.v1 import rules_pb2

__all__ = ["validate"]

_Check = Callable[[Any, str], None]
"""Checks one value; the path names it in the error."""


def validate(message: Message) -> None:
    """Raises :exc:`InvalidArgument` with the field's path at the first rule that the message breaks."""
    for check in _checks(message.DESCRIPTOR):
        check(message, "")


def _fail(path: str, what: str) -> None:
    raise InvalidArgument(f"{path} {what}", field=path)


@cache
def _checks(descriptor: Descriptor) -> tuple[_Check, ...]:
    checks = [check for field in descriptor.fields for check in _field_checks(field)]
    if descriptor.GetOptions().Extensions[rules_pb2.message_rules].start_before_end:
        checks.append(_start_before_end)
    return tuple(checks)


def _start_before_end(message: Any, path: str) -> None:
    if message.start_us >= message.end_us:
        _fail(f"{path}start_us", f"must be less than {path}end_us")


def _field_checks(field: FieldDescriptor) -> Iterable[_Check]:
    """The checks of one field, each taking the message that holds it."""
    rules = field.GetOptions().Extensions[rules_pb2.rules]
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        if rules.ByteSize():
            raise TypeError(f"{field.full_name}: rules on a map are not supported")
        return
    value_checks = tuple(_value_checks(field, rules))
    if field.is_repeated:
        yield from _repeated_checks(name, rules, value_checks)
        return
    if rules.required:
        yield _required(field)
    if value_checks:
        yield _single(field, value_checks)


def _required(field: FieldDescriptor) -> _Check:
    name, presence, default = field.name, field.has_presence, field.default_value

    def check(message: Any, path: str) -> None:
        is_set = message.HasField(name) if presence else getattr(message, name) != default
        if not is_set:
            _fail(path + name, "is required")

    return check


def _single(field: FieldDescriptor, value_checks: tuple[_Check, ...]) -> _Check:
    name, presence = field.name, field.has_presence

    def check(message: Any, path: str) -> None:
        if presence and not message.HasField(name):
            return
        value = getattr(message, name)
        for each in value_checks:
            each(value, path + name)

    return check


def _repeated_checks(
    name: str, rules: rules_pb2.FieldRules, value_checks: tuple[_Check, ...]
) -> Iterable[_Check]:
    least = rules.min_items or (1 if rules.required else 0)
    most = rules.max_items if rules.HasField("max_items") else None

    def count(message: Any, path: str) -> None:
        items = len(getattr(message, name))
        if items < least:
            _fail(path + name, f"must have at least {least} items, not {items}")
        if most is not None and items > most:
            _fail(path + name, f"must have at most {most} items, not {items}")

    def each(message: Any, path: str) -> None:
        for index, value in enumerate(getattr(message, name)):
            for check in value_checks:
                check(value, f"{path}{name}[{index}]")

    if least or most is not None:
        yield count
    if value_checks:
        yield each


def _value_checks(field: FieldDescriptor, rules: rules_pb2.FieldRules) -> Iterable[_Check]:
    """The checks of one value of a field, wherever it stands."""
    if rules.min_len or rules.HasField("max_len"):
        yield _length(rules.min_len, rules.max_len if rules.HasField("max_len") else None)
    if rules.pattern:
        yield _matches(rules.pattern)
    if rules.HasField("gte") or rules.HasField("lte"):
        yield _between(
            rules.gte if rules.HasField("gte") else None, rules.lte if rules.HasField("lte") else None
        )
    if rules.known_enum:
        yield _known_enum(field)
    if field.message_type is not None:
        yield _nested


def _nested(message: Any, path: str) -> None:
    for check in _checks(message.DESCRIPTOR):
        check(message, path + ".")


def _length(least: int, most: int | None) -> _Check:
    def check(value: Any, path: str) -> None:
        unit = "characters" if isinstance(value, str) else "bytes"
        if len(value) < least:
            _fail(path, f"must have at least {least} {unit}, not {len(value)}")
        if most is not None and len(value) > most:
            _fail(path, f"must have at most {most} {unit}, not {len(value)}")

    return check


def _matches(pattern: str) -> _Check:
    compiled = re.compile(pattern)

    def check(value: Any, path: str) -> None:
        if compiled.fullmatch(value) is None:
            _fail(path, f"must match {pattern}")

    return check


def _between(least: float | None, most: float | None) -> _Check:
    # Written so that a NaN, which compares false with everything, is refused.
    def check(value: Any, path: str) -> None:
        if least is not None and not value >= least:
            _fail(path, f"must be at least {least:.17g}, not {value}")
        if most is not None and not value <= most:
            _fail(path, f"must be at most {most:.17g}, not {value}")

    return check


def _known_enum(field: FieldDescriptor) -> _Check:
    enum = field.enum_type
    if enum is None:
        raise TypeError(f"{field.full_name}: known_enum is for enum fields")
    known = frozenset(enum.values_by_number) - {0}

    def check(value: Any, path: str) -> None:
        if value not in known:
            _fail(path, f"must be one of {', '.join(enum.values_by_number[n].name for n in sorted(known))}")

    return check
