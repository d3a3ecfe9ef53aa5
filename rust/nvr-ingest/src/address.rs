//! Where a camera is, with its secrets apart from what may be shown.

use std::fmt;

use base64::Engine as _;
use nvr_core::{Error, Result};
use percent_encoding::percent_decode_str;
use retina::client::Credentials;
use url::Url;

/// What stands where a secret was.
const MASK: &str = "***";

/// Words after which some cameras take a password inside the path or query, such as
/// `/user=admin&password=…&channel=1`.
const SECRET_KEYS: [&str; 7] =
    ["password=", "passwd=", "passwort=", "pass=", "passphrase=", "pwd=", "token="];

/// What is read by a process of its own rather than by this crate.
const OTHER_SCHEMES: [&str; 9] =
    ["file", "http", "https", "rtmp", "rtmps", "srt", "tcp", "udp", "v4l2"];

/// A camera's URL without login, and the login.
#[derive(Clone)]
pub(crate) struct Address {
    url: Url,
    login: Option<Credentials>,
    /// Every form in which the password could come back from a camera; longest first.
    secrets: Vec<String>,
    /// For a source that is not RTSP: all of it as it was given, with its secrets.
    other: Option<String>,
    /// `#metadata`: the camera's ONVIF metadata is recorded too.
    metadata: bool,
}

impl Address {
    /// Takes a URL apart. The error does not contain the URL: what failed to parse may be
    /// a password with a character that should have been percent-encoded.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut url = Url::parse(text.trim()).map_err(|e| {
            Error::Invalid(format!(
                "the camera's URL cannot be read ({e}): write rtsp://user:password@host:port/path, \
                 with special characters in user and password percent-encoded"
            ))
        })?;
        let other = OTHER_SCHEMES.contains(&url.scheme()).then(|| text.trim().to_owned());
        if other.is_none() && url.scheme() != "rtsp" {
            return Err(Error::Invalid(format!(
                "'{}' is no scheme for a camera: use rtsp://, or one of {}",
                url.scheme(),
                OTHER_SCHEMES.join(", ")
            )));
        }
        if other.is_none() && url.host_str().is_none_or(str::is_empty) {
            return Err(Error::Invalid("the camera's URL names no host".to_owned()));
        }
        let metadata = match url.fragment() {
            None => false,
            Some("metadata") if other.is_none() => true,
            Some(_) => {
                // What stands there may be part of a password.
                return Err(Error::Invalid(
                    "the camera's URL has a # in it: in a password write it as %23; only #metadata at \
                     the end of an rtsp:// address means something"
                        .to_owned(),
                ));
            }
        };
        // No server ever sees it (RFC 3986, 3.5).
        url.set_fragment(None);
        let login = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let decode = |part: &str| -> Result<String> {
                percent_decode_str(part).decode_utf8().map(|s| s.into_owned()).map_err(|_| {
                    Error::Invalid(
                        "user or password in the camera's URL is not UTF-8 when percent-decoded"
                            .to_owned(),
                    )
                })
            };
            Some(Credentials {
                username: decode(url.username())?,
                password: decode(url.password().unwrap_or_default())?,
            })
        };
        let mut secrets = login.as_ref().map_or_else(Vec::new, |l| secrets(l, url.password()));
        if other.is_some() {
            secrets.extend(secrets_of_query(&url));
        }
        if login.is_some() {
            // Both fail only for URLs that cannot have a login, which have no host either.
            let cleared = url.set_username("").and_then(|()| url.set_password(None));
            cleared.map_err(|()| Error::Invalid("the camera's URL names no host".to_owned()))?;
        }
        Ok(Address { url, login, secrets, other, metadata })
    }

    /// For a source that is not RTSP: the whole address, with its secrets.
    pub(crate) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// Whether the camera's ONVIF metadata is to be recorded.
    pub(crate) fn metadata_wanted(&self) -> bool {
        self.metadata
    }

    /// The URL to ask for; without login.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// User and password, if there are any.
    pub(crate) fn login(&self) -> Option<&Credentials> {
        self.login.as_ref()
    }

    /// Host and port, for a socket.
    pub(crate) fn host_port(&self) -> (String, u16) {
        // An IPv6 address has brackets in a URL and none for a socket.
        let host = self.url.host_str().unwrap_or_default();
        (host.trim_matches(['[', ']']).to_owned(), self.url.port().unwrap_or(554))
    }

    /// A text that may be shown: without this camera's secrets in any form, without those of
    /// other URLs in it, on one line, and short. What a camera sent may be in it.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), MASK);
        }
        let text = redact(&text);
        match text.char_indices().nth(MAX_TEXT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// Longest text, in characters, that [`Address::scrub`] gives.
const MAX_TEXT: usize = 300;

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scrub(self.url.as_str()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn secrets(login: &Credentials, encoded: Option<&str>) -> Vec<String> {
    let basic = base64::engine::general_purpose::STANDARD
        .encode(format!("{}:{}", login.username, login.password));
    let mut all = vec![basic, login.password.clone()];
    all.extend(encoded.map(str::to_owned));
    all.retain(|s| !s.is_empty());
    // A secret that contains another has to go first.
    all.sort_by_key(|s| std::cmp::Reverse(s.len()));
    all.dedup();
    all
}

/// Values of the query that are secret, such as the passphrase of SRT, as written and decoded.
fn secrets_of_query(url: &Url) -> Vec<String> {
    let is_secret = |key: &str| {
        let key = format!("{}=", key.to_ascii_lowercase());
        SECRET_KEYS.iter().any(|secret| key.ends_with(secret))
    };
    let written =
        url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let written = written.filter(|(key, _)| is_secret(key)).map(|(_, value)| value.to_owned());
    let decoded = url.query_pairs().filter(|(key, _)| is_secret(key)).map(|(_, v)| v.into_owned());
    let mut all: Vec<String> = written.chain(decoded).filter(|s| !s.is_empty()).collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.len()));
    all.dedup();
    all
}

/// A text without the logins of the URLs in it: `rtsp://user:password@host/` becomes
/// `rtsp://***@host/`, and values after `password=` and its kin are masked.
///
/// When in doubt it hides more: everything between `://` and the last `@` of the word, since
/// a password may hold a `/` that should have been encoded.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, word) in text.split(' ').enumerate() {
        if i > 0 {
            out.push(' ');
        }
        mask_keys(&mask_userinfo(word), &mut out);
    }
    out
}

fn mask_userinfo(word: &str) -> String {
    match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}{MASK}{}", &word[..scheme + 3], &word[at..])
        }
        _ => word.to_owned(),
    }
}

fn mask_keys(word: &str, out: &mut String) {
    // ASCII lower-casing keeps every byte position.
    let lower = word.to_ascii_lowercase();
    let mut done = 0;
    while let Some(value) = SECRET_KEYS
        .iter()
        .filter_map(|key| lower[done..].find(key).map(|at| done + at + key.len()))
        .min()
    {
        out.push_str(&word[done..value]);
        let length = word[value..].find(['&', '/', '?', '"', '\'', ',', ')']);
        done = length.map_or(word.len(), |n| value + n);
        out.push_str(MASK);
    }
    out.push_str(&word[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    #[test]
    fn takes_the_login_out_of_the_url() {
        let a = Address::parse("rtsp://ad%40min:p%2Fss%3A1@10.0.0.7:8554/main?x=1").unwrap();
        assert_eq!(a.url().as_str(), "rtsp://10.0.0.7:8554/main?x=1");
        assert_eq!(a.host_port(), ("10.0.0.7".to_owned(), 8554));
        let login = a.login().unwrap();
        assert_eq!((login.username.as_str(), login.password.as_str()), ("ad@min", "p/ss:1"));
    }

    #[test]
    fn default_port_and_ipv6() {
        let a = Address::parse("rtsp://[::1]/main").unwrap();
        assert_eq!(a.host_port(), ("::1".to_owned(), 554));
        assert!(a.login().is_none());
    }

    #[test]
    fn refuses_what_is_no_camera_url_without_repeating_it() {
        for bad in ["ftp://u:hunter2@h/", "rtsp://u:hun#ter2@h/", "hunter2", "rtsp:///hunter2", ""]
        {
            let e = Address::parse(bad).unwrap_err().to_string();
            assert!(!e.contains("hun"), "{bad}: {e}");
        }
    }

    #[test]
    fn redacts_logins_in_any_text() {
        let cases = [
            ("see rtsp://u:p@h/a and rtsp://h/b", "see rtsp://***@h/a and rtsp://h/b"),
            ("rtsp://u:a/b@c@h:1/x", "rtsp://***@h:1/x"),
            (
                "rtsp://h/user=admin&password=abc&channel=1",
                "rtsp://h/user=admin&password=***&channel=1",
            ),
            ("(rtsp://h/?PWD=x)", "(rtsp://h/?PWD=***)"),
            ("nothing here", "nothing here"),
        ];
        for (text, shown) in cases {
            assert_eq!(redact(text), shown);
        }
    }

    #[test]
    fn scrubs_what_a_camera_sends_back() {
        let a = Address::parse("rtsp://admin:hunter%202@h/").unwrap();
        let basic = base64::engine::general_purpose::STANDARD.encode("admin:hunter 2");
        let shown = a.scrub(&format!("you\r\nsaid Basic {basic}, hunter%202, 'hunter 2'"));
        assert_eq!(shown, "you  said Basic ***, ***, '***'");
        assert!(a.scrub(&"x".repeat(10_000)).chars().count() <= MAX_TEXT + 1);
    }

    proptest! {
        #[test]
        fn no_password_survives(user in "[a-z]{1,8}", password in "[!-~]{6,20}", rest in "[ -~]{0,40}") {
            let encoded = utf8_percent_encode(&password, NON_ALPHANUMERIC).to_string();
            let a = Address::parse(&format!("rtsp://{user}:{encoded}@camera.example/main")).unwrap();
            prop_assert_eq!(&a.login().unwrap().password, &password);
            for text in [format!("{rest}{password}{rest}"), format!("{rest}{encoded}{rest}")] {
                prop_assert!(!a.scrub(&text).contains(&password));
            }
            prop_assert!(!a.to_string().contains(&encoded));
            let debug = format!("{a:?}");
            prop_assert!(!debug.contains(&encoded));
        }

        #[test]
        fn redact_never_panics(text in "\\PC{0,200}") {
            redact(&text);
        }
    }
}
