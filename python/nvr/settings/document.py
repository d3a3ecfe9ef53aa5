"""A settings file: one TOML document, checked as a whole before anything starts.

All faults are told at once, each with its place. Entries of a list are counted
from 1, as a person counts them in the file: ``camera[3].main`` is ``main`` of
the third ``[[camera]]``. No message quotes an address: it may hold a password.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from nvr.errors import ConfigError
from nvr.settings.fields import Section

__all__ = ["Across", "Fault", "load_document", "parse_document"]

_MAX_FILE_BYTES = 16 << 20
_MAX_FAULTS = 100

S = TypeVar("S", bound=Section)
Fault = tuple[str, str]
"""Its place in the file, and what is wrong there."""
Across = Callable[[Mapping[str, Any]], Iterable[Fault]]
"""Faults that no single field shows. Gets the raw document, so that it tells them beside others."""


def load_document(path: Path, model: type[S], across: Across = lambda _document: ()) -> S:
    """The settings in a file. Raises :exc:`ConfigError` with a line for each fault."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_FILE_BYTES >> 20} MiB: that is no settings file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8; save the file in that encoding") from None
    return parse_document(text, model, across, str(path))


def parse_document(
    text: str, model: type[S], across: Across = lambda _document: (), source: str = "settings"
) -> S:
    """The settings in a TOML text; ``source`` begins every line of the :exc:`ConfigError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_fault(source, str(error), text)) from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None
    settings: S | None = None
    faults: list[Fault] = []
    try:
        settings = model.model_validate(document)
    except ValidationError as error:
        faults = [_fault(model, detail) for detail in error.errors(include_url=False, include_input=False)]
    faults += across(document)
    if faults or settings is None:
        lines = [f"{source}: {place}: {message}" for place, message in sorted(set(faults), key=_place_order)]
        if len(lines) > _MAX_FAULTS:
            lines[_MAX_FAULTS:] = [f"{source}: and {len(lines) - _MAX_FAULTS} more"]
        # The cause would show the values, passwords among them.
        raise ConfigError("\n".join(lines), facts={"faults": str(len(set(faults)))}) from None
    return settings


def _syntax_fault(source: str, message: str, text: str) -> str:
    place = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)$", message)
    if place is not None:
        return f"{source}:{place[1]}:{place[2]}: {message[: place.start()]}"
    line = text.count("\n") + 1
    return f"{source}:{line}: {message.removesuffix(' (at end of document)')}, at the end of the file"


def _place(location: Sequence[str | int]) -> str:
    shown = ""
    for step in location:
        shown += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if shown else step
    return shown


def _place_order(fault: Fault) -> list[tuple[int, str]]:
    """Sorts camera[2] before camera[10]."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"\[([0-9]+)\]", fault[0])]


def _fault(model: type[Section], detail: Mapping[str, Any]) -> Fault:
    location, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    place = _place(location)
    match kind:
        case "extra_forbidden":
            return place, _unknown_key(model, location)
        case "missing":
            what = "the section is missing" if location == ("node",) else "missing; it must be set"
            return place, what
        case "value_error":
            return place, re.sub(r"^\w+: ", "", str(context["error"]))
        case "string_pattern_mismatch":
            return place, "1 to 63 of a-z, 0-9 and -"
        case "literal_error":
            return place, f"must be {context['expected']}"
    return place, _in_words(kind, context, detail["msg"])


def _in_words(kind: str, context: Mapping[str, Any], message: str) -> str:
    types = {
        "string_type": 'must be text in quotes ("…")',
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "list_type": "must be a list ([…])",
        "model_type": "must be a section ([…])",
        "finite_number": "must be a number",
    }
    limits = {"greater_than_equal": ("ge", "at least"), "less_than_equal": ("le", "at most")}
    if kind in types:
        return types[kind]
    if kind in limits:
        key, words = limits[kind]
        return f"must be {words} {context[key]}"
    if kind == "too_short":
        return f"has too few entries; at least {context['min_length']}"
    if kind == "too_long":
        return f"has too many entries; at most {context['max_length']}"
    return message


def _unknown_key(model: type[Section], location: Sequence[str | int]) -> str:
    known = list(_fields(_model_at(model, location[:-1])))
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known here: {', '.join(known)}"


def _model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel]:
    """The section at a place of the document."""
    for step in location:
        if isinstance(step, str):
            model = next(_models_in(_fields(model)[step].annotation))
    return model


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by the names that the file has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a type is made of: of ``list[Camera] | None`` it is ``Camera``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
