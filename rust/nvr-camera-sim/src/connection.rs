//! A client's connection: requests in, answers and interleaved packets out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtsp_types::headers::{
    ACCEPT, AUTHORIZATION, CONTENT_BASE, CONTENT_TYPE, CSEQ, PUBLIC, REQUIRE, SESSION, UNSUPPORTED,
    WWW_AUTHENTICATE,
};
use rtsp_types::{
    HeaderName, Message, Method, ParseError, Request, Response, ResponseBuilder, StatusCode,
    Version,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::auth::{Login, Verdict};
use crate::outbox::Outbox;
use crate::sdp;
use crate::server::{ConnectionSlot, Shared};
use crate::session::Session;

/// The longest request, with its body.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// After so many wrong passwords the connection is closed.
const MAX_DENIALS: u32 = 10;

/// How long a closed connection may take to read its last answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);

const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN";

/// An answer without its CSeq.
pub(crate) type Answer = Response<Vec<u8>>;

pub(crate) fn answer(status: StatusCode) -> ResponseBuilder {
    Response::builder(Version::V1_0, status)
}

pub(crate) fn refuse(status: StatusCode) -> Answer {
    answer(status).build(Vec::new())
}

/// Serves a client until it goes, is silent for too long, or does not read.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    _slot: ConnectionSlot,
) {
    // Small answers must not wait for a full segment. Failing means that the client is gone already.
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let outbox = Arc::new(Outbox::new(stream, shared.max_backlog_bytes));
    let mut connection = Connection {
        local: local.ip(),
        peer: peer.ip(),
        nonce: Login::nonce(),
        denials: 0,
        session: None,
        input: Vec::new(),
        skip: 0,
        heard: Instant::now(),
        shared,
        outbox: Arc::clone(&outbox),
    };
    tokio::select! {
        () = connection.read() => {}
        () = outbox.drain() => {}
    }
    // Packets stop before the last answer goes out and the connection ends.
    connection.session = None;
    let _ = tokio::time::timeout(LAST_ANSWER, outbox.flush()).await;
    outbox.close();
}

struct Connection {
    local: IpAddr,
    peer: IpAddr,
    nonce: String,
    denials: u32,
    session: Option<Session>,
    input: Vec<u8>,
    /// Bytes of an interleaved packet that are still to come, and of no interest.
    skip: usize,
    /// When the client last gave a sign of life.
    heard: Instant,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
}

impl Connection {
    /// Reads and answers; returns when the connection is to be closed.
    async fn read(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        let mut chunk = [0; 4096];
        loop {
            let deadline = self.heard + self.shared.session_timeout;
            tokio::select! {
                ready = outbox.stream().readable() => match ready {
                    Ok(()) => {}
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(deadline) => {
                    if self.session.as_ref().is_some_and(Session::heard) {
                        self.heard = Instant::now();
                        continue;
                    }
                    log::debug!(target: "nvr.simulate", "{}: silent, disconnected", self.peer);
                    return;
                }
            }
            match outbox.stream().try_read(&mut chunk) {
                Ok(0) => return,
                Ok(len) => {
                    self.heard = Instant::now();
                    self.input.extend_from_slice(&chunk[..len]);
                    if !self.take_input() {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Answers what is complete; false when the connection is to be closed.
    fn take_input(&mut self) -> bool {
        loop {
            let skipped = self.skip.min(self.input.len());
            self.input.drain(..skipped);
            self.skip -= skipped;
            if self.input.is_empty() {
                return true;
            }
            // Receiver reports of any size pass by without being kept.
            if self.input[0] == b'$' {
                let Some(head) = self.input.first_chunk::<4>() else { return true };
                self.skip = 4 + usize::from(u16::from_be_bytes([head[2], head[3]]));
                continue;
            }
            match Message::<Vec<u8>>::parse(&self.input) {
                Ok((Message::Request(request), len)) => {
                    self.input.drain(..len);
                    if !self.take_request(&request) {
                        return false;
                    }
                }
                Ok((Message::Data(_), len)) => {
                    self.input.drain(..len);
                }
                Err(ParseError::Incomplete(_)) if self.input.len() < MAX_REQUEST_BYTES => {
                    return true;
                }
                Err(ParseError::Incomplete(_)) => {
                    self.send(refuse(StatusCode::RequestMessageBodyTooLarge), None);
                    return false;
                }
                // We ask nothing, so nothing is answered.
                Ok((Message::Response(_), _)) | Err(ParseError::Error) => {
                    self.send(refuse(StatusCode::BadRequest), None);
                    return false;
                }
            }
        }
    }

    fn take_request(&mut self, request: &Request<Vec<u8>>) -> bool {
        let sequence = header(request, &CSEQ).filter(|value| value.parse::<u32>().is_ok());
        if request.version() != Version::V1_0 {
            self.send(refuse(StatusCode::RTSPVersionNotSupported), sequence);
            return false;
        }
        if sequence.is_none() {
            self.send(refuse(StatusCode::BadRequest), None);
            return false;
        }
        let status = match self.dispatch(request) {
            Some(answer) => {
                let status = answer.status();
                self.send(answer, sequence);
                status
            }
            None => StatusCode::Ok,
        };
        if status == StatusCode::Unauthorized {
            self.denials += 1;
        }
        self.denials < MAX_DENIALS
    }

    /// The answer to a request; none if it was sent already.
    fn dispatch(&mut self, request: &Request<Vec<u8>>) -> Option<Answer> {
        if let Some(feature) = header(request, &REQUIRE) {
            let feature = feature.to_owned();
            return Some(
                answer(StatusCode::OptionNotSupported).header(UNSUPPORTED, feature).build(vec![]),
            );
        }
        if let Some(challenge) = self.challenge(request) {
            return Some(
                answer(StatusCode::Unauthorized).header(WWW_AUTHENTICATE, challenge).build(vec![]),
            );
        }
        Some(match request.method() {
            Method::Options => answer(StatusCode::Ok).header(PUBLIC, METHODS).build(vec![]),
            Method::Describe => self.describe(request),
            Method::Setup => self.setup(request),
            Method::Play => return self.play(request),
            Method::GetParameter => self.parameters(request, StatusCode::Ok),
            // Used to keep a session alive; there is nothing to be set.
            Method::SetParameter if request.body().is_empty() => {
                self.parameters(request, StatusCode::Ok)
            }
            Method::SetParameter => self.parameters(request, StatusCode::ParameterNotUnderstood),
            Method::Teardown => self.teardown(request),
            Method::Pause | Method::Announce | Method::Record | Method::Redirect => {
                answer(StatusCode::MethodNotAllowed)
                    .header(rtsp_types::headers::ALLOW, METHODS)
                    .build(vec![])
            }
            Method::PlayNotify | Method::Extension(_) => refuse(StatusCode::NotImplemented),
        })
    }

    /// What to challenge the client with; none when it may come in.
    fn challenge(&self, request: &Request<Vec<u8>>) -> Option<String> {
        // Asked before anything else, by clients that do not know yet whether there is a login.
        if *request.method() == Method::Options {
            return None;
        }
        let login = self.shared.login.as_ref()?;
        let uri = request.request_uri().map_or("*", |uri| uri.as_str());
        let verdict = header(request, &AUTHORIZATION).map_or(Verdict::Denied, |value| {
            login.judge(value, request.method().into(), uri, &self.nonce)
        });
        (verdict != Verdict::Granted).then(|| login.challenge(&self.nonce, verdict))
    }

    fn describe(&self, request: &Request<Vec<u8>>) -> Answer {
        let accept = header(request, &ACCEPT).unwrap_or("*/*").to_ascii_lowercase();
        if !["application/sdp", "application/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
            return refuse(StatusCode::NotAcceptable);
        }
        let Some(uri) = request.request_uri() else { return refuse(StatusCode::BadRequest) };
        let Some(camera) = self.shared.camera(uri.path().trim_matches('/')) else {
            return refuse(StatusCode::NotFound);
        };
        let mut base = uri.clone();
        base.set_query(None);
        base.set_path(&format!("/{}/", camera.path));
        answer(StatusCode::Ok)
            .header(CONTENT_BASE, base.as_str())
            .header(CONTENT_TYPE, "application/sdp")
            .build(sdp::describe(&camera.media, camera.id, self.local).into_bytes())
    }

    fn setup(&mut self, request: &Request<Vec<u8>>) -> Answer {
        if self.is_other_session(request) {
            return refuse(StatusCode::SessionNotFound);
        }
        let Some(uri) = request.request_uri() else { return refuse(StatusCode::BadRequest) };
        let path = uri.path().trim_matches('/');
        let (path, track) = path.rsplit_once("/trackID=").unwrap_or((path, "0"));
        let Some(camera) = self.shared.camera(path) else {
            return refuse(StatusCode::NotFound);
        };
        let session = match self.session.take() {
            Some(session) if session.is_of(&camera) => session,
            // One connection looks at one camera at a time.
            Some(other) => {
                self.session = Some(other);
                return refuse(StatusCode::AggregateOperationNotAllowed);
            }
            None => Session::new(camera, Arc::clone(&self.outbox), self.shared.session_timeout),
        };
        let session = self.session.insert(session);
        let response = session.setup(request, track, self.local, self.peer);
        if session.is_empty() {
            self.session = None;
        }
        response
    }

    fn play(&mut self, request: &Request<Vec<u8>>) -> Option<Answer> {
        if self.is_other_session(request) {
            return Some(refuse(StatusCode::SessionNotFound));
        }
        let Some(session) = &mut self.session else {
            return Some(refuse(StatusCode::MethodNotValidInThisState));
        };
        let outbox = &self.outbox;
        let sequence = header(request, &CSEQ).unwrap_or_default();
        // The answer goes out before the first packet, so it cannot wait until we are back.
        session.play(request, |response| write(outbox, response, Some(sequence)))
    }

    fn parameters(&self, request: &Request<Vec<u8>>, status: StatusCode) -> Answer {
        if self.is_other_session(request) {
            return refuse(StatusCode::SessionNotFound);
        }
        match &self.session {
            Some(session) => answer(status).header(SESSION, session.header()).build(vec![]),
            None => refuse(status),
        }
    }

    fn teardown(&mut self, request: &Request<Vec<u8>>) -> Answer {
        if self.is_other_session(request) || self.session.is_none() {
            return refuse(StatusCode::SessionNotFound);
        }
        self.session = None;
        refuse(StatusCode::Ok)
    }

    /// True if the request names a session that is not this connection's.
    fn is_other_session(&self, request: &Request<Vec<u8>>) -> bool {
        let Some(named) = header(request, &SESSION) else { return false };
        let named = named.split(';').next().unwrap_or_default().trim();
        self.session.as_ref().is_none_or(|session| session.id() != named)
    }

    fn send(&self, response: Answer, sequence: Option<&str>) {
        write(&self.outbox, response, sequence);
    }
}

fn write(outbox: &Outbox, mut response: Answer, sequence: Option<&str>) {
    if let Some(sequence) = sequence {
        response.insert_header(CSEQ, sequence);
    }
    let mut bytes = Vec::new();
    match response.write(&mut bytes) {
        Ok(_) => outbox.send(&bytes),
        // Writing to memory fails only for what is too large to be sent at all.
        Err(e) => {
            log::error!(target: "nvr.simulate", "cannot write an answer: {e:?}");
            outbox.close();
        }
    }
}

pub(crate) fn header<'a>(request: &'a Request<Vec<u8>>, name: &HeaderName) -> Option<&'a str> {
    request.header(name).map(|value| value.as_str())
}
