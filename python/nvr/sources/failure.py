"""From libav's errors to what an operator understands."""

import errno

import av.error

__all__ = ["SourceError", "classify"]

_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


class SourceError(Exception):
    """The session is over: a gap reason, and the words for people, which may hold no address."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


_OF_DEVICES = {
    errno.ENOENT: ("no_such_path", "there is no such device: is the camera plugged in?"),
    errno.ENODEV: ("no_such_path", "there is no such device any more: is the camera plugged in?"),
    errno.ENOTTY: ("protocol_error", "it is no video device"),
    errno.EBUSY: ("refused", "another program uses the device"),
    errno.EINVAL: ("codec_not_supported", "the device does not offer this format, size or rate"),
}


def classify(error: Exception, *, opened: bool, scheme: str = "") -> SourceError:
    """``opened``: pictures could have come. Of the error only its kind is told: its text has the address."""
    said = getattr(error, "strerror", None) or type(error).__name__
    match error:
        case SourceError():
            return error
        case OSError() if scheme == "v4l2" and error.errno in _OF_DEVICES:
            return SourceError(*_OF_DEVICES[error.errno])
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return SourceError("auth_failed", f"the server refuses: {said}")
        case av.error.HTTPNotFoundError():
            return SourceError("no_such_path", f"the server has nothing at this path: {said}")
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError():
            return SourceError("no_such_path", "there is no such file or device")
        case PermissionError():
            return SourceError("not_recorded", "the recorder may not read it: permission denied")
        case av.error.ProtocolNotFoundError() if scheme == "srt":
            return SourceError(
                "not_recorded",
                "the libav in this installation was built without libsrt, so it does not speak SRT: PyAV's "
                "wheels are; install a PyAV that is built against a libav with it, or record by RTSP or RTMP",
            )
        case av.error.ProtocolNotFoundError():
            return SourceError(
                "not_recorded",
                "the libav in this installation does not speak the protocol, or it is not allowed here",
            )
        case ConnectionRefusedError():
            return SourceError("refused", "connections are refused: is it the right port?")
        case TimeoutError() | av.error.ExitError():
            words = "nothing came for a while" if opened else "no answer, or nothing that could be read"
            return SourceError("silent" if opened else "unreachable", words)
        case EOFError():
            if opened:
                return SourceError("disconnected", "the source has ended")
            return SourceError("disconnected", "the source closed before there was a picture")
        case av.error.InvalidDataError():
            return SourceError("protocol_error", "what comes cannot be read as media of a known format")
        case OSError() if error.errno in _UNREACHABLE:
            return SourceError("unreachable", f"it cannot be reached: {said}")
        case OSError() if opened:
            return SourceError("disconnected", f"the connection broke: {said}")
        case OSError():
            # libav says no more than this of a name that is not known.
            return SourceError("unreachable", f"it cannot be opened: {said}")
        case _:
            return SourceError("protocol_error", f"the source cannot be read: {said}")
