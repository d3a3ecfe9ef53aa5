//! One call: a request, an answer of messages, a status.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use crate::framing::{Deframer, framed};
use crate::peer::{Peer, failed, may_retry};
use crate::status::{Code, Status};

/// What the calls of one question have in common.
pub(crate) struct Question {
    /// `/package.Service/Method`.
    pub(crate) path: String,
    pub(crate) metadata: HeaderMap,
    pub(crate) deadline: Instant,
    pub(crate) limits: Limits,
    /// Its calls that are not over.
    pub(crate) left: AtomicUsize,
    pub(crate) small: bool,
}

/// What a peer may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) message_bytes: usize,
    pub(crate) answer_bytes: usize,
    pub(crate) messages: usize,
}

/// Messages that all peers together have sent in part.
pub(crate) struct Room {
    used: AtomicUsize,
    most: usize,
}

/// In part each peer may have sent so much, however full it is: one that fills the room with
/// beginnings costs the others nothing.
const FAIR_BYTES: usize = 256 << 10;

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Room { used: AtomicUsize::new(0), most }
    }
}

/// A part of the room.
struct Held<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Held<'_> {
    fn set(&mut self, bytes: usize) -> Result<(), Status> {
        let used = self.room.used.fetch_add(bytes, Ordering::Relaxed) + bytes - self.bytes;
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
        if used > self.room.most && bytes > FAIR_BYTES {
            return Err(Status::new(
                Code::ResourceExhausted,
                "too much is being received of all nodes together",
            ));
        }
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where messages go.
pub(crate) trait Sink {
    /// Returns when there is room for more.
    async fn room(&self);
    /// Takes messages.
    fn put(&mut self, messages: Vec<Bytes>);
}

/// Asks a peer. The deadline is the caller's to keep; dropped, the call is cancelled.
pub(crate) async fn run(
    peer: &Arc<Peer>,
    question: &Question,
    message: &[u8],
    room: &Room,
    sink: &mut impl Sink,
) -> Status {
    let body = framed(message);
    for _ in 0..2 {
        let lent = match peer.connection().await {
            Ok(lent) => lent,
            Err(status) => return status,
        };
        let request = match request(peer, question) {
            Ok(request) => request,
            Err(status) => return status,
        };
        let response = async {
            let mut sender = lent.sender().ready().await?;
            let (response, mut stream) = sender.send_request(request, false)?;
            stream.send_data(body.clone(), true)?;
            response.await
        };
        match response.await {
            Ok(response) => return receive(response, &question.limits, room, sink).await,
            // Nothing of an answer came, and reading is asked for: it may be asked twice.
            Err(error) if lent.reused && may_retry(&error) => lent.lose(),
            Err(error) => return failed(&error),
        }
    }
    Status::unavailable("the connection was lost")
}

fn request(peer: &Peer, question: &Question) -> Result<Request<()>, Status> {
    let wrong = |error: http::Error| Status::new(Code::Internal, error.to_string());
    let uri = Uri::builder()
        .scheme(if peer.secure() { "https" } else { "http" })
        .authority(peer.target.authority())
        .path_and_query(question.path.as_str())
        .build()
        .map_err(wrong)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    *headers = question.metadata.clone();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("nvr-fanout/", env!("CARGO_PKG_VERSION"))),
    );
    // Eight digits are the most; less than a microsecond is none.
    let left = question.deadline.saturating_duration_since(Instant::now());
    let timeout = match left.as_micros().max(1) {
        micros @ ..100_000_000 => format!("{micros}u"),
        micros => format!("{}m", (micros / 1000).min(99_999_999)),
    };
    headers.insert("grpc-timeout", HeaderValue::try_from(timeout).map_err(|e| wrong(e.into()))?);
    Ok(request)
}

async fn receive(
    response: http::Response<h2::RecvStream>,
    limits: &Limits,
    room: &Room,
    sink: &mut impl Sink,
) -> Status {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        return Status::from_http(head.status);
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !kind.starts_with(b"application/grpc") {
        return Status::new(Code::Unknown, "the answer is not gRPC");
    }
    if let Some(status) = Status::from_trailers(&head.headers) {
        return status;
    }
    let mut deframer = Deframer::new(limits.message_bytes);
    let mut held = Held { room, bytes: 0 };
    let (mut bytes, mut count) = (0, 0);
    loop {
        sink.room().await;
        let data = match body.data().await {
            Some(Ok(data)) => data,
            Some(Err(error)) => return failed(&error),
            None => break,
        };
        let size = data.len();
        bytes += size;
        let mut messages = Vec::new();
        let taken = deframer.push(data, &mut messages).and_then(|()| held.set(deframer.held()));
        count += messages.len();
        if !messages.is_empty() {
            sink.put(messages);
        }
        if let Err(status) = taken {
            return status;
        }
        if bytes > limits.answer_bytes || count > limits.messages {
            let detail = format!("its answer does not end: {count} messages, {bytes} bytes");
            return Status::new(Code::ResourceExhausted, detail);
        }
        // Only what was taken may be sent anew.
        let _ = body.flow_control().release_capacity(size);
    }
    match body.trailers().await {
        Ok(Some(trailers)) => Status::from_trailers(&trailers)
            .unwrap_or_else(|| Status::new(Code::Internal, "the answer ended without a status")),
        Ok(None) => Status::new(Code::Internal, "the answer ended without a status"),
        Err(error) => failed(&error),
    }
}
