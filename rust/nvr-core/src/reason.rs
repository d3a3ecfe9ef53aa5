//! Why something is not recorded: the stable words of `nvr.v1.Gap.reason`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A gap reason. Kept as text so that one written by a later version survives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(pub std::borrow::Cow<'static, str>);

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        impl Reason {
            $($(#[doc = $doc])+ pub const $name: Reason = Reason(std::borrow::Cow::Borrowed($text));)+
        }
    };
}

reasons! {
    /// No cause on record.
    NOT_RECORDED = "not_recorded";
    /// The camera's port is closed.
    REFUSED = "refused";
    /// The camera's address does not answer.
    UNREACHABLE = "unreachable";
    /// User or password is wrong.
    AUTH_FAILED = "auth_failed";
    /// The camera has no such stream.
    NO_SUCH_PATH = "no_such_path";
    /// The camera sends a codec that cannot be recorded.
    CODEC_NOT_SUPPORTED = "codec_not_supported";
    /// Connected, but nothing arrived for a while.
    SILENT = "silent";
    /// The camera broke the protocol.
    PROTOCOL_ERROR = "protocol_error";
    /// The connection ended.
    DISCONNECTED = "disconnected";
    /// Pictures arrive, but none at which decoding can start.
    NO_KEYFRAME = "no_keyframe";
    /// Switched off by its settings.
    DISABLED = "disabled";
    /// The camera was removed.
    REMOVED = "removed";
    /// The recorder was stopped in good order.
    RECORDER_STOPPED = "recorder_stopped";
    /// The recorder ended without saying so.
    RECORDER_CRASHED = "recorder_crashed";
    /// The recorder's or the camera's clock stepped.
    CLOCK_STEP = "clock_step";
    /// The disk was too slow.
    OVERLOAD = "overload";
    /// The disk was full.
    DISK_FULL = "disk_full";
    /// The disk failed.
    DISK_ERROR = "disk_error";
    /// Codec parameters changed so that a new run began.
    PARAMETERS_CHANGED = "parameters_changed";
    /// Codec parameters changed too often.
    PARAMETER_FLOOD = "parameter_flood";
    /// Another node may have it; this one has not copied it.
    NOT_COPIED = "not_copied";
    /// Deleted by retention.
    EXPIRED = "expired";
    /// Stored, but the bytes are damaged.
    DAMAGED = "damaged";
    /// Received, not yet on disk.
    PENDING = "pending";
    /// Not yet.
    FUTURE = "future";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
