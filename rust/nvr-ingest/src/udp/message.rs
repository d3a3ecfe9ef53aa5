//! RTSP messages (RFC 2326, sections 4 to 7 and 10.12), taken apart only as far as they are changed on
//! their way: what a camera spells in its own way reaches the RTSP library as it came.

use bytes::{Buf as _, BytesMut};

const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The first line.
    pub(super) start: String,
    /// The header lines, as they came.
    lines: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The next message in what was read, once it is there whole. Interleaved packets are skipped.
    ///
    /// # Errors
    /// What comes is no message, or longer than any.
    pub(super) fn take(input: &mut BytesMut) -> Result<Option<Message>, &'static str> {
        loop {
            match input.first() {
                None => return Ok(None),
                Some(b'$') => {
                    let Some(&[_, _, high, low]) = input.first_chunk::<4>() else {
                        return Ok(None);
                    };
                    let end = 4 + usize::from(u16::from_be_bytes([high, low]));
                    if input.len() < end {
                        return Ok(None);
                    }
                    input.advance(end);
                }
                Some(b'\r' | b'\n') => input.advance(1),
                Some(_) => return Self::take_text(input),
            }
        }
    }

    fn take_text(input: &mut BytesMut) -> Result<Option<Message>, &'static str> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(head) = input.windows(END.len()).position(|window| window == END) else {
            let is_text =
                input.iter().take(16).all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\r');
            return match input.len() > MAX_HEAD || !is_text {
                true => Err("what it says is not RTSP"),
                false => Ok(None),
            };
        };
        let text = String::from_utf8_lossy(&input[..head]).into_owned();
        let mut lines = text.split("\r\n").map(str::to_owned);
        let start = lines.next().unwrap_or_default();
        if !start.split(' ').any(|word| word.starts_with("RTSP/")) {
            return Err("what it says is not RTSP");
        }
        let mut message = Message { start, lines: lines.collect(), body: Vec::new() };
        let length = match message.get("Content-Length").map(str::parse::<usize>) {
            None => 0,
            Some(Ok(length)) if length <= MAX_BODY => length,
            Some(_) => return Err("its message has a length that makes no sense"),
        };
        let end = head + END.len() + length;
        if input.len() < end {
            return Ok(None);
        }
        message.body = input[head + END.len()..end].to_vec();
        input.advance(end);
        Ok(Some(message))
    }

    /// As it is sent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let lines: String = self.lines.iter().flat_map(|line| [line.as_str(), "\r\n"]).collect();
        [self.start.as_bytes(), b"\r\n", lines.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// An answer's status code.
    pub(super) fn status(&self) -> Option<u16> {
        let (version, rest) = self.start.split_once(' ')?;
        version.starts_with("RTSP/").then(|| rest.get(..3)?.parse().ok()).flatten()
    }

    /// A request's method and address.
    pub(super) fn request(&self) -> Option<(&str, &str)> {
        let mut words = self.start.split(' ');
        Some((words.next()?, words.next()?))
    }

    /// The first value of a header.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(move |line| value(line, name))
    }

    /// Replaces a header, or adds it.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        self.lines.retain(|line| value(line, name).is_none());
        self.lines.push(format!("{name}: {text}"));
    }
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_come_in_pieces_among_packets() {
        let answer = b"RTSP/1.0 200 OK\r\ncseq:7 \r\nPublic: PLAY\r\nContent-Length: 3\r\n\r\nabc";
        let request = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n";
        let stream = [&b"$\x00\x00\x04data\r\n"[..], answer, b"$\x01\x00\x00", request].concat();
        let (mut input, mut found) = (BytesMut::new(), Vec::new());
        for byte in stream {
            input.extend_from_slice(&[byte]);
            found.extend(Message::take(&mut input).unwrap());
        }
        let [first, second] = &found[..] else { panic!("{found:?}") };
        assert_eq!(
            (first.status(), first.get("CSeq"), &first.body[..]),
            (Some(200), Some("7"), &b"abc"[..])
        );
        assert_eq!(first.to_bytes(), answer);
        assert_eq!((second.status(), second.request()), (None, Some(("OPTIONS", "*"))));
        let mut changed = first.clone();
        changed.set("CSeq", "8");
        assert_eq!(changed.all("cseq").collect::<Vec<_>>(), ["8"]);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            &b"SSH-2.0-OpenSSH_9.2\r\n\r\n"[..],
            b"\x16\x03\x01",
            b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
            &[b'x'; MAX_HEAD + 1],
        ] {
            assert!(Message::take(&mut BytesMut::from(text)).is_err());
        }
    }

    proptest! {
        #[test]
        fn anything_is_survived(stream in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut input = BytesMut::from(&stream[..]);
            while let Ok(Some(message)) = Message::take(&mut input) {
                message.to_bytes();
                message.status();
            }
        }
    }
}
