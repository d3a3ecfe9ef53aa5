"""Exceptions to gRPC failures and back.

A failed call has a standard status code, which says what kind of failure it
is, and a ``nvr.v1.Problem`` in its trailing metadata, which says which one.
Exceptions that are not ours become INTERNAL with the request id and nothing
else: their text may hold anything.
"""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError as ProtobufDecodeError

from nvr import errors
from nvr.errors import NvrError
from nvr.v1 import common_pb2

__all__ = [
    "PROBLEM_KEY",
    "error_from_call",
    "error_from_problem",
    "error_from_status",
    "problem_of",
    "status_of",
]

PROBLEM_KEY = "nvr-problem-bin"
"""Key of the trailing metadata that holds the serialized ``Problem``."""

# gRPC refuses more than 8 KiB of metadata by default, base64 included; texts
# may quote what a caller sent.
_MAX_MESSAGE = 1_000
_MAX_FACTS = 1_500

_Code = grpc.StatusCode
_STATUS: dict[type[NvrError], grpc.StatusCode] = {
    errors.InvalidArgument: _Code.INVALID_ARGUMENT,
    errors.NaiveDatetime: _Code.INVALID_ARGUMENT,
    errors.RangeInFuture: _Code.INVALID_ARGUMENT,
    errors.CodecUnsupported: _Code.INVALID_ARGUMENT,
    errors.AmbiguousCamera: _Code.INVALID_ARGUMENT,
    errors.AreaAmbiguous: _Code.INVALID_ARGUMENT,
    errors.ConfigError: _Code.FAILED_PRECONDITION,
    errors.NotFound: _Code.NOT_FOUND,
    errors.CameraNotFound: _Code.NOT_FOUND,
    errors.AreaNotFound: _Code.NOT_FOUND,
    errors.NoFootage: _Code.NOT_FOUND,
    errors.CameraExists: _Code.ALREADY_EXISTS,
    errors.ClipChanged: _Code.ABORTED,
    errors.Incomplete: _Code.FAILED_PRECONDITION,
    errors.TreeRefused: _Code.FAILED_PRECONDITION,
    errors.UplinkReplaced: _Code.ABORTED,
    errors.LeaseStale: _Code.FAILED_PRECONDITION,
    errors.LeaseHeld: _Code.FAILED_PRECONDITION,
    errors.LeaseRefused: _Code.FAILED_PRECONDITION,
    errors.CatalogAway: _Code.UNAVAILABLE,
    errors.CatalogRefused: _Code.FAILED_PRECONDITION,
    errors.CatalogBehind: _Code.FAILED_PRECONDITION,
    errors.CatalogConflict: _Code.FAILED_PRECONDITION,
    errors.CatalogForeign: _Code.FAILED_PRECONDITION,
    errors.CatalogNotRoot: _Code.FAILED_PRECONDITION,
    errors.CatalogStale: _Code.FAILED_PRECONDITION,
    errors.LimitExceeded: _Code.RESOURCE_EXHAUSTED,
    errors.AccessDenied: _Code.PERMISSION_DENIED,
    errors.Unauthenticated: _Code.UNAUTHENTICATED,
    errors.StoreError: _Code.INTERNAL,
    errors.DamagedError: _Code.DATA_LOSS,
    errors.DecodeError: _Code.INTERNAL,
    errors.NodeUnavailable: _Code.UNAVAILABLE,
    errors.DeadlineExceeded: _Code.DEADLINE_EXCEEDED,
    errors.Closed: _Code.UNAVAILABLE,
    errors.InternalError: _Code.INTERNAL,
    NvrError: _Code.INTERNAL,
}

# The first class with a reason is the one that a reader gets: NaiveDatetime
# has InvalidArgument's.
_BY_REASON: dict[str, type[NvrError]] = {}
for _class in _STATUS:
    _BY_REASON.setdefault(_class.reason, _class)

# For calls that fail without a Problem: by gRPC itself, a proxy, another server.
_BY_STATUS: dict[grpc.StatusCode, type[NvrError]] = {
    _Code.INVALID_ARGUMENT: errors.InvalidArgument,
    _Code.OUT_OF_RANGE: errors.InvalidArgument,
    _Code.NOT_FOUND: errors.NotFound,
    _Code.ALREADY_EXISTS: errors.CameraExists,
    _Code.FAILED_PRECONDITION: errors.Incomplete,
    _Code.ABORTED: errors.ClipChanged,
    _Code.RESOURCE_EXHAUSTED: errors.LimitExceeded,
    _Code.PERMISSION_DENIED: errors.AccessDenied,
    _Code.UNAUTHENTICATED: errors.Unauthenticated,
    _Code.DATA_LOSS: errors.DamagedError,
    _Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    _Code.UNAVAILABLE: errors.NodeUnavailable,
    _Code.CANCELLED: errors.NodeUnavailable,
    _Code.UNIMPLEMENTED: errors.NodeUnavailable,
}

_BY_NUMBER: dict[int, grpc.StatusCode] = {code.value[0]: code for code in _Code}


def status_of(error: NvrError) -> grpc.StatusCode:
    """The status code that says what kind of failure it is."""
    return next(_STATUS[each] for each in type(error).__mro__ if each in _STATUS)


def problem_of(error: NvrError, *, node: str) -> common_pb2.Problem:
    """The wire's form of an error; long texts are cut. ``node``: who failed, unless the error says so."""
    problem = common_pb2.Problem(
        reason=error.reason,
        message=_cut(error.message, _MAX_MESSAGE),
        field=_cut(error.field, 200),
        node=_cut(error.node or node, 200),
    )
    room = _MAX_FACTS
    for name, value in error.facts.items():
        room -= len(name)
        if room <= 0:
            break
        kept = _cut(value, room)
        problem.facts[name] = kept
        room -= len(kept.encode())
    return problem


def _cut(text: str, most_bytes: int) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= most_bytes else data[: max(0, most_bytes - 3)].decode("utf-8", "ignore") + "…"


def error_from_problem(problem: common_pb2.Problem, status: grpc.StatusCode) -> NvrError:
    """The exception that a Problem stands for; an unknown reason goes by the status code."""
    kind = _BY_REASON.get(problem.reason) or _BY_STATUS.get(status, errors.InternalError)
    return kind(problem.message, field=problem.field, facts=dict(problem.facts), node=problem.node)


def error_from_call(error: grpc.aio.AioRpcError, *, target: str) -> NvrError:
    """The exception that a failed call stands for. ``target``: the address dialled, for the message."""
    return _error(error.code(), error.details() or "", _attached(error.trailing_metadata()), target)


def error_from_status(number: int, details: str, problem: bytes, *, target: str) -> NvrError:
    """As :func:`error_from_call`, of a call by another client: gRPC's number, and the metadata's value."""
    return _error(_BY_NUMBER.get(number, _Code.UNKNOWN), details, _parsed(problem), target)


def _error(
    status: grpc.StatusCode, details: str, problem: common_pb2.Problem | None, target: str
) -> NvrError:
    if problem is not None:
        return error_from_problem(problem, status)
    kind = _BY_STATUS.get(status, errors.InternalError)
    detail = details or "no details"
    if status is grpc.StatusCode.UNIMPLEMENTED:
        detail = f"it is of an older version, or of another kind, and does not know this call ({detail})"
    return kind(f"{target}: the call failed with {status.name}: {detail}")


def _attached(metadata: Iterable[tuple[str, Any]] | None) -> common_pb2.Problem | None:
    for key, value in metadata or ():
        if key == PROBLEM_KEY and isinstance(value, bytes):
            return _parsed(value)
    return None


def _parsed(value: bytes) -> common_pb2.Problem | None:
    try:
        return common_pb2.Problem.FromString(value) if value else None
    except ProtobufDecodeError:
        return None
