//! How a call ended: gRPC's status, from trailers or from what failed below.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, StatusCode};

/// gRPC's status codes, as far as this client makes them itself; others are passed on as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)] // https://grpc.io/docs/guides/status-codes/
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC's number.
    pub code: u32,
    /// For people; at most [`MOST_DETAIL`] characters.
    pub detail: String,
    /// The value of the trailing metadata `nvr-problem-bin`, decoded; empty: there was none.
    pub problem: Vec<u8>,
}

/// Of a text that a peer sent, what is kept.
const MOST_DETAIL: usize = 1000;
const MOST_CODE: u32 = 16;
const PROBLEM_KEY: &str = "nvr-problem-bin";
// gRPC sends binary values without padding, and must take both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Status {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Status { code: code as u32, detail: detail.into(), problem: Vec::new() }
    }

    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Status::new(Code::Unavailable, detail)
    }

    /// From trailers, or from headers where the answer has nothing else; None: they hold no status.
    pub(crate) fn from_trailers(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get("grpc-status")?;
        let code = code.to_str().ok().and_then(|text| text.parse().ok());
        let detail = trailers.get("grpc-message").map(|value| {
            let text = percent_encoding::percent_decode(value.as_bytes()).decode_utf8_lossy();
            text.chars().take(MOST_DETAIL).collect()
        });
        let problem = trailers.get(PROBLEM_KEY).and_then(|value| BASE64.decode(value).ok());
        Some(Status {
            code: code.filter(|code| *code <= MOST_CODE).unwrap_or(Code::Unknown as u32),
            detail: detail.unwrap_or_default(),
            problem: problem.unwrap_or_default(),
        })
    }

    /// For an answer that is not gRPC's: a proxy, or another server; the mapping is gRPC's
    /// (doc/http-grpc-status-mapping.md).
    pub(crate) fn from_http(status: StatusCode) -> Self {
        let code = match status.as_u16() {
            400 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            429 | 502 | 503 | 504 => Code::Unavailable,
            _ => Code::Unknown,
        };
        Status::new(code, format!("the answer is HTTP {status}, not gRPC"))
    }

    /// What failed below gRPC.
    pub(crate) fn from_h2(error: &h2::Error) -> Self {
        let code = match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) => Code::Unavailable,
            Some(h2::Reason::CANCEL) if error.is_remote() => Code::Cancelled,
            Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
            Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
            Some(_) if !error.is_go_away() => Code::Internal,
            _ => Code::Unavailable,
        };
        Status::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_status_is_read_from_trailers() {
        let told = trailers(&[
            ("grpc-status", "5"),
            ("grpc-message", "kh%C3%B4ng c%C3%B3"),
            (PROBLEM_KEY, "AQID"),
        ]);
        let expected = Status { code: 5, detail: "không có".into(), problem: vec![1, 2, 3] };
        assert_eq!(Status::from_trailers(&told), Some(expected));
        assert_eq!(Status::from_trailers(&trailers(&[("grpc-message", "x")])), None);
    }

    #[test]
    fn padding_of_binary_values_does_not_matter() {
        for text in ["AQI=", "AQI"] {
            let told = trailers(&[("grpc-status", "13"), (PROBLEM_KEY, text)]);
            assert_eq!(Status::from_trailers(&told).unwrap().problem, vec![1, 2]);
        }
    }

    #[test]
    fn what_a_peer_made_up_is_unknown_and_bounded() {
        for code in ["17", "-1", "x", "99999999999"] {
            let told = trailers(&[("grpc-status", code), ("grpc-message", &"x".repeat(5000))]);
            let status = Status::from_trailers(&told).unwrap();
            assert_eq!((status.code, status.detail.len()), (2, MOST_DETAIL));
        }
        let told = trailers(&[("grpc-status", "0"), (PROBLEM_KEY, "!!")]);
        assert!(Status::from_trailers(&told).unwrap().problem.is_empty());
    }
}
