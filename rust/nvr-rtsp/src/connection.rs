//! A client's connection: requests in, answers and interleaved packets out.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtsp_types::headers::{
    ACCEPT, ALLOW, AUTHORIZATION, CONTENT_BASE, CONTENT_TYPE, CSEQ, PUBLIC, RANGE, REQUIRE, SCALE,
    SESSION, SPEED, UNSUPPORTED, WWW_AUTHENTICATE,
};
use rtsp_types::{
    HeaderName, Message, Method, ParseError, Request, Response, ResponseBuilder, StatusCode,
    Version,
};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::auth::{Accounts, Denial};
use crate::outbox::Outbox;
use crate::server::{Shared, Slot};
use crate::service::{Announcer, Client, Play, Service, Stream};
use crate::session::Session;

/// The longest request, with its body.
const MAX_REQUEST_BYTES: usize = 16 << 10;

/// After so many wrong passwords the connection is closed.
const MAX_DENIALS: u32 = 10;

/// How long a closed connection may take to read its last answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// A connection without a session is closed after so long without a whole request.
const SETUP_WITHIN: Duration = Duration::from_secs(20);

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
pub(crate) async fn serve<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared<S>>,
    _slot: Slot,
) {
    // Small answers must not wait for a full segment. Failing means that the client is gone already.
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let outbox = Arc::new(Outbox::new(stream, shared.max_backlog_bytes));
    let mut connection = Connection {
        local: local.ip(),
        client: Client {
            address: peer.ip().to_canonical(),
            port: peer.port(),
            user: String::new(),
        },
        nonce: Accounts::nonce(),
        denials: 0,
        described: None,
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

struct Connection<S: Service> {
    local: IpAddr,
    client: Client,
    nonce: String,
    denials: u32,
    /// What the client asked about last.
    described: Option<Arc<S::Stream>>,
    session: Option<Session<S::Stream>>,
    input: Vec<u8>,
    /// Bytes of an interleaved packet that are still to come, and of no interest.
    skip: usize,
    /// When the last whole message of the client came.
    heard: Instant,
    shared: Arc<Shared<S>>,
    outbox: Arc<Outbox>,
}

impl<S: Service> Connection<S> {
    /// Reads and answers; returns when the connection is to be closed.
    async fn read(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        let mut chunk = [0; 4096];
        loop {
            let timeout = self.shared.session_timeout;
            let timeout = if self.session.is_some() { timeout } else { timeout.min(SETUP_WITHIN) };
            let deadline = self.heard + timeout;
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
                    let client = self.client.address;
                    log::debug!(target: "nvr.rtsp", "{client}: silent, disconnected");
                    return;
                }
            }
            match outbox.stream().try_read(&mut chunk) {
                Ok(0) => return,
                Ok(len) => {
                    self.input.extend_from_slice(&chunk[..len]);
                    if !self.take_input().await {
                        return;
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Answers what is complete; false when the connection is to be closed.
    async fn take_input(&mut self) -> bool {
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
                self.heard = Instant::now();
                continue;
            }
            match Message::<Vec<u8>>::parse(&self.input) {
                Ok((Message::Request(request), len)) => {
                    self.input.drain(..len);
                    if !self.take_request(&request).await {
                        return false;
                    }
                    self.heard = Instant::now();
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

    async fn take_request(&mut self, request: &Request<Vec<u8>>) -> bool {
        let sequence = header(request, &CSEQ).filter(|value| value.parse::<u32>().is_ok());
        if request.version() != Version::V1_0 {
            self.send(refuse(StatusCode::RTSPVersionNotSupported), sequence);
            return false;
        }
        if sequence.is_none() {
            self.send(refuse(StatusCode::BadRequest), None);
            return false;
        }
        let status = match self.dispatch(request).await {
            Some(answer) => {
                let status = answer.status();
                self.send(answer, sequence);
                status
            }
            None => StatusCode::Ok,
        };
        if status == StatusCode::Unauthorized {
            self.denials += 1;
            if self.denials == MAX_DENIALS {
                let client = self.client.address;
                log::warn!(target: "nvr.rtsp", "{client}: {MAX_DENIALS} times without a right password");
            }
        }
        self.denials < MAX_DENIALS
    }

    /// The answer to a request; none if it was sent already.
    async fn dispatch(&mut self, request: &Request<Vec<u8>>) -> Option<Answer> {
        if let Some(feature) = header(request, &REQUIRE) {
            let feature = feature.to_owned();
            return Some(
                answer(StatusCode::OptionNotSupported).header(UNSUPPORTED, feature).build(vec![]),
            );
        }
        if let Err(refusal) = self.admit(request) {
            return Some(refusal);
        }
        Some(match request.method() {
            Method::Options => answer(StatusCode::Ok).header(PUBLIC, methods::<S>()).build(vec![]),
            Method::Describe => self.describe(request).await,
            Method::Setup => self.setup(request).await,
            Method::Play => return self.play(request).await,
            Method::Pause if S::Stream::CAN_PAUSE => self.pause(request),
            Method::GetParameter => self.parameters(request, StatusCode::Ok),
            // Used to keep a session alive; there is nothing to be set.
            Method::SetParameter if request.body().is_empty() => {
                self.parameters(request, StatusCode::Ok)
            }
            Method::SetParameter => self.parameters(request, StatusCode::ParameterNotUnderstood),
            Method::Teardown => self.teardown(request),
            Method::Pause | Method::Announce | Method::Record | Method::Redirect => {
                answer(StatusCode::MethodNotAllowed).header(ALLOW, methods::<S>()).build(vec![])
            }
            Method::PlayNotify | Method::Extension(_) => refuse(StatusCode::NotImplemented),
        })
    }

    /// Lets the client in; else the answer that does not.
    fn admit(&mut self, request: &Request<Vec<u8>>) -> Result<(), Answer> {
        // Asked before anything else, by clients that do not know yet whether there is a login.
        if *request.method() == Method::Options {
            return Ok(());
        }
        let local = self.client.address.is_loopback();
        let Some(accounts) = self.shared.accounts.as_ref() else {
            return if local || self.shared.admits_strangers {
                Ok(())
            } else {
                Err(refuse(StatusCode::Forbidden))
            };
        };
        let uri = request.request_uri().map_or("*", |uri| uri.as_str());
        let judged = header(request, &AUTHORIZATION).map_or(Err(Denial::Wrong), |value| {
            accounts.judge(value, request.method().into(), uri, &self.nonce, local)
        });
        match judged {
            Ok(user) if self.session.is_none() || self.client.user == user => {
                user.clone_into(&mut self.client.user);
                Ok(())
            }
            // A session stays that of the user who set it up.
            Ok(_) => Err(refuse(StatusCode::Forbidden)),
            Err(denial) => {
                let challenge = accounts.challenge(&self.nonce, denial);
                let refusal = answer(StatusCode::Unauthorized);
                Err(refusal.header(WWW_AUTHENTICATE, challenge).build(vec![]))
            }
        }
    }

    async fn describe(&mut self, request: &Request<Vec<u8>>) -> Answer {
        let accept = header(request, &ACCEPT).unwrap_or("*/*").to_ascii_lowercase();
        if !["application/sdp", "application/*", "*/*"].iter().any(|kind| accept.contains(kind)) {
            return refuse(StatusCode::NotAcceptable);
        }
        let Some(uri) = request.request_uri() else { return refuse(StatusCode::BadRequest) };
        let stream = match self.shared.service.find(&self.client, uri).await {
            Ok(stream) => stream,
            Err(status) => return refuse(status),
        };
        let description = stream.description();
        let mut base = uri.clone();
        base.set_query(None);
        base.set_path(&format!("/{}/", description.path));
        let response = answer(StatusCode::Ok)
            .header(CONTENT_BASE, base.as_str())
            .header(CONTENT_TYPE, "application/sdp")
            .build(description.to_sdp(self.local).into_bytes());
        self.described = Some(stream);
        response
    }

    async fn setup(&mut self, request: &Request<Vec<u8>>) -> Answer {
        if self.is_other_session(request) {
            return refuse(StatusCode::SessionNotFound);
        }
        let Some(uri) = request.request_uri() else { return refuse(StatusCode::BadRequest) };
        let path = uri.path().trim_matches('/');
        let (path, track) = path.rsplit_once("/trackID=").unwrap_or((path, "0"));
        let known = self.session.as_ref().map(|session| &session.stream);
        let is_it = |stream: &&Arc<S::Stream>| stream.description().path == path;
        let known = known.into_iter().chain(&self.described).find(is_it).cloned();
        let stream = match known {
            Some(stream) => stream,
            None => {
                let mut base = uri.clone();
                base.set_path(&format!("/{path}"));
                match self.shared.service.find(&self.client, &base).await {
                    Ok(stream) => stream,
                    Err(status) => return refuse(status),
                }
            }
        };
        let session = match self.session.take() {
            Some(session) if session.stream.description().path == stream.description().path => {
                session
            }
            // One connection looks at one stream at a time.
            Some(other) => {
                self.session = Some(other);
                return refuse(StatusCode::AggregateOperationNotAllowed);
            }
            None => match self.shared.session_slot() {
                Some(slot) => Session::new(
                    stream,
                    Arc::clone(&self.outbox),
                    self.shared.session_timeout,
                    slot,
                ),
                None => return refuse(StatusCode::NotEnoughBandwidth),
            },
        };
        let session = self.session.insert(session);
        let response = session.setup(request, track, self.local, self.client.address);
        if session.is_empty() {
            self.session = None;
        }
        response
    }

    async fn play(&mut self, request: &Request<Vec<u8>>) -> Option<Answer> {
        if self.is_other_session(request) {
            return Some(refuse(StatusCode::SessionNotFound));
        }
        let Some(session) = &mut self.session else {
            return Some(refuse(StatusCode::MethodNotValidInThisState));
        };
        let Some(uri) = request.request_uri() else {
            return Some(refuse(StatusCode::BadRequest));
        };
        let text = |name: &HeaderName| header(request, name).map(str::to_owned);
        let play = Play {
            session: session.number,
            client: self.client.clone(),
            output: Arc::clone(&session.output),
            again: session.playing,
            range: text(&RANGE),
            scale: text(&SCALE),
            speed: text(&SPEED),
            rate_control: HeaderName::from_static_str("Rate-Control").ok().and_then(|n| text(&n)),
            // The answer goes out before the first packet, so it cannot wait until we are back.
            announcer: Announcer {
                outbox: Arc::clone(&self.outbox),
                output: Arc::clone(&session.output),
                sequence: text(&CSEQ).unwrap_or_default(),
                session: session.header(),
                base: uri.clone(),
                path: session.stream.description().path.clone(),
            },
        };
        match session.stream.play(play).await {
            Ok(()) => {
                session.playing = true;
                None
            }
            Err(status) => Some(refuse(status)),
        }
    }

    fn pause(&mut self, request: &Request<Vec<u8>>) -> Answer {
        if self.is_other_session(request) {
            return refuse(StatusCode::SessionNotFound);
        }
        let Some(session) = &mut self.session else {
            return refuse(StatusCode::MethodNotValidInThisState);
        };
        session.stream.pause(session.number);
        session.playing = false;
        answer(StatusCode::Ok).header(SESSION, session.header()).build(vec![])
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

pub(crate) fn write(outbox: &Outbox, mut response: Answer, sequence: Option<&str>) {
    if let Some(sequence) = sequence {
        response.insert_header(CSEQ, sequence);
    }
    let mut bytes = Vec::new();
    match response.write(&mut bytes) {
        Ok(_) => outbox.send(&bytes),
        // Writing to memory fails only for what is too large to be sent at all.
        Err(e) => {
            log::error!(target: "nvr.rtsp", "cannot write an answer: {e:?}");
            outbox.close();
        }
    }
}

fn header<'a>(request: &'a Request<Vec<u8>>, name: &HeaderName) -> Option<&'a str> {
    request.header(name).map(|value| value.as_str())
}

fn methods<S: Service>() -> String {
    if S::Stream::CAN_PAUSE { METHODS.replace("PLAY,", "PLAY, PAUSE,") } else { METHODS.to_owned() }
}
