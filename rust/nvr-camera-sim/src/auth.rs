//! Login: Basic (RFC 7617) or Digest with MD5 (RFC 7616), as cameras offer them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_auth::parser::ChallengeParser;
use md5::{Digest, Md5};
use rtsp_types::Url;

const REALM: &str = "nvr camera simulator";

/// Who may look, and how they must say so.
#[derive(Clone)]
pub(crate) struct Login {
    user: String,
    password: String,
    digest: bool,
}

/// What a client's Authorization header is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Granted,
    Denied,
    /// Right, but for a nonce that is not ours (any more).
    Stale,
}

impl Login {
    pub(crate) fn new(user: String, password: String, digest: bool) -> Self {
        Login { user, password, digest }
    }

    /// A nonce; good for one connection.
    pub(crate) fn nonce() -> String {
        format!("{:032x}", rand::random::<u128>())
    }

    /// The value of WWW-Authenticate.
    pub(crate) fn challenge(&self, nonce: &str, verdict: Verdict) -> String {
        if !self.digest {
            return format!("Basic realm=\"{REALM}\"");
        }
        let stale = if verdict == Verdict::Stale { ", stale=true" } else { "" };
        format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{stale}")
    }

    /// Judges an Authorization header.
    pub(crate) fn judge(&self, header: &str, method: &str, uri: &str, nonce: &str) -> Verdict {
        let granted = if self.digest {
            return self.judge_digest(header, method, uri, nonce).unwrap_or(Verdict::Denied);
        } else {
            self.is_basic(header)
        };
        if granted { Verdict::Granted } else { Verdict::Denied }
    }

    fn is_basic(&self, header: &str) -> bool {
        let Some((scheme, token)) = header.trim().split_once(' ') else { return false };
        let given = BASE64.decode(token.trim()).unwrap_or_default();
        scheme.eq_ignore_ascii_case("basic")
            && given == format!("{}:{}", self.user, self.password).as_bytes()
    }

    fn judge_digest(&self, header: &str, method: &str, uri: &str, nonce: &str) -> Option<Verdict> {
        // Credentials have the grammar of a challenge (RFC 9110, 11.4).
        let credentials = ChallengeParser::new(header).next()?.ok()?;
        if !credentials.scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let value = |name: &str| {
            let mut params = credentials.params.iter();
            params.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_unescaped())
        };
        if value("algorithm").is_some_and(|a| !a.eq_ignore_ascii_case("md5")) {
            return None;
        }
        let (given_uri, given_nonce) = (value("uri")?, value("nonce")?);
        let secret = md5_hex(&[&self.user, REALM, &self.password]);
        let request = md5_hex(&[method, &given_uri]);
        let expected = match value("qop") {
            // As in RFC 2069: many cameras' clients know nothing newer.
            None => md5_hex(&[&secret, &given_nonce, &request]),
            Some(qop) if qop == "auth" => {
                let (count, client_nonce) = (value("nc")?, value("cnonce")?);
                md5_hex(&[&secret, &given_nonce, &count, &client_nonce, &qop, &request])
            }
            Some(_) => return None,
        };
        let right = value("username")? == self.user
            && value("realm")? == REALM
            && is_same_address(&given_uri, uri)
            && value("response")?.eq_ignore_ascii_case(&expected);
        Some(match (right, given_nonce == nonce) {
            (true, true) => Verdict::Granted,
            (true, false) => Verdict::Stale,
            (false, _) => Verdict::Denied,
        })
    }
}

/// Clients may spell the address otherwise than in the request line; the request's is normalized.
fn is_same_address(given: &str, uri: &str) -> bool {
    given == uri || Url::parse(given).is_ok_and(|given| given.as_str() == uri)
}

fn md5_hex(parts: &[&str]) -> String {
    Md5::digest(parts.join(":")).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use http_auth::{PasswordClient, PasswordParams};
    use proptest::prelude::*;

    use super::*;

    const URI: &str = "rtsp://host/cam/main";

    fn answer(challenge: &str, user: &str, password: &str) -> String {
        let mut client = PasswordClient::try_from(challenge).unwrap();
        client
            .respond(&PasswordParams {
                username: user,
                password,
                uri: URI,
                method: "DESCRIBE",
                body: None,
            })
            .unwrap()
    }

    #[test]
    fn only_the_right_password_is_granted() {
        for digest in [true, false] {
            let login = Login::new("viewer".into(), "se:cret\"".into(), digest);
            let challenge = login.challenge("abc", Verdict::Denied);
            let judge = |header: &str| login.judge(header, "DESCRIBE", URI, "abc");
            assert_eq!(judge(&answer(&challenge, "viewer", "se:cret\"")), Verdict::Granted);
            assert_eq!(judge(&answer(&challenge, "viewer", "secret")), Verdict::Denied);
            assert_eq!(judge(&answer(&challenge, "admin", "se:cret\"")), Verdict::Denied);
            let other = Login::new("viewer".into(), "se:cret\"".into(), !digest);
            let wrong_scheme =
                answer(&other.challenge("abc", Verdict::Denied), "viewer", "se:cret\"");
            assert_eq!(judge(&wrong_scheme), Verdict::Denied);
        }
    }

    #[test]
    fn a_digest_holds_for_its_nonce_method_and_address_only() {
        let login = Login::new("viewer".into(), "secret".into(), true);
        let header = answer(&login.challenge("abc", Verdict::Denied), "viewer", "secret");
        assert_eq!(login.judge(&header, "DESCRIBE", URI, "other"), Verdict::Stale);
        assert_eq!(login.judge(&header, "SETUP", URI, "abc"), Verdict::Denied);
        assert_eq!(login.judge(&header, "DESCRIBE", "rtsp://host/cam/sub", "abc"), Verdict::Denied);
        assert!(login.challenge("new", Verdict::Stale).ends_with("stale=true"));
    }

    #[test]
    fn the_digest_of_rfc_2069_is_granted() {
        let login = Login::new("u".into(), "p".into(), true);
        let secret = md5_hex(&["u", REALM, "p"]);
        let response = md5_hex(&[&secret, "abc", &md5_hex(&["PLAY", URI])]);
        let header = format!(
            "Digest username=\"u\", realm=\"{REALM}\", nonce=\"abc\", uri=\"{URI}\", response=\"{response}\""
        );
        assert_eq!(login.judge(&header, "PLAY", URI, "abc"), Verdict::Granted);
    }

    proptest! {
        #[test]
        fn no_other_header_is_granted(header in ".{0,200}", digest in any::<bool>()) {
            let login = Login::new("viewer".into(), "secret".into(), digest);
            prop_assert_eq!(login.judge(&header, "PLAY", URI, "abc"), Verdict::Denied);
        }
    }
}
