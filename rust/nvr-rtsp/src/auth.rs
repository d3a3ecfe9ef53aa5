//! Login: Basic (RFC 7617) or Digest with MD5 (RFC 7616), as cameras offer them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_auth::parser::ChallengeParser;
use md5::{Digest, Md5};
use rtsp_types::Url;

use crate::error::Error;

/// How a client must say who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The password as it is.
    Basic,
    /// A hash of it.
    Digest,
    /// Digest; from this machine, where nobody listens on the line, also Basic.
    DigestOrLocalBasic,
}

/// Who may look, and how they must say so.
#[derive(Clone)]
pub struct Accounts {
    realm: String,
    /// Names and passwords.
    users: Vec<(String, String)>,
    scheme: Scheme,
}

/// Why an Authorization header is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    Wrong,
    /// Right, but for a nonce that is not ours (any more).
    Stale,
}

impl Accounts {
    /// Users with their passwords, in a realm (plain words, shown to clients).
    ///
    /// # Errors
    /// A name is empty or contains a colon (RFC 7617, 2), or is there twice.
    pub fn new(realm: &str, users: Vec<(String, String)>, scheme: Scheme) -> Result<Self, Error> {
        for (n, (name, _)) in users.iter().enumerate() {
            if name.is_empty() || name.contains(':') {
                return Err(Error::invalid("user: must not be empty, nor contain ':'"));
            }
            if users[..n].iter().any(|(other, _)| other == name) {
                return Err(Error::invalid(format!("user: '{name}' is there twice")));
            }
        }
        Ok(Accounts { realm: realm.to_owned(), users, scheme })
    }

    /// A nonce; good for one connection.
    pub(crate) fn nonce() -> String {
        format!("{:032x}", rand::random::<u128>())
    }

    /// The value of WWW-Authenticate.
    pub(crate) fn challenge(&self, nonce: &str, denial: Denial) -> String {
        let realm = &self.realm;
        if self.scheme == Scheme::Basic {
            return format!("Basic realm=\"{realm}\"");
        }
        let stale = if denial == Denial::Stale { ", stale=true" } else { "" };
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\"{stale}")
    }

    /// Judges an Authorization header; the user that it is of. `local`: it comes from this machine.
    pub(crate) fn judge(
        &self,
        header: &str,
        method: &str,
        uri: &str,
        nonce: &str,
        local: bool,
    ) -> Result<&str, Denial> {
        let basic = match self.scheme {
            Scheme::Basic => true,
            Scheme::Digest => false,
            Scheme::DigestOrLocalBasic => local && is_scheme(header, "basic"),
        };
        if basic {
            return self.judge_basic(header).ok_or(Denial::Wrong);
        }
        self.judge_digest(header, method, uri, nonce).unwrap_or(Err(Denial::Wrong))
    }

    fn judge_basic(&self, header: &str) -> Option<&str> {
        let (_, token) = header.trim().split_once(' ')?;
        let given = BASE64.decode(token.trim()).ok()?;
        let is_given = |(name, password): &&(String, String)| {
            is_scheme(header, "basic") && given == format!("{name}:{password}").as_bytes()
        };
        self.users.iter().find(is_given).map(|(name, _)| name.as_str())
    }

    fn judge_digest(
        &self,
        header: &str,
        method: &str,
        uri: &str,
        nonce: &str,
    ) -> Option<Result<&str, Denial>> {
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
        let given_name = value("username")?;
        let (name, password) = self.users.iter().find(|(name, _)| *name == given_name)?;
        let (given_uri, given_nonce) = (value("uri")?, value("nonce")?);
        let secret = md5_hex(&[name, &self.realm, password]);
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
        let right = value("realm")? == self.realm
            && is_same_address(&given_uri, uri)
            && value("response")?.eq_ignore_ascii_case(&expected);
        Some(match (right, given_nonce == nonce) {
            (true, true) => Ok(name),
            (true, false) => Err(Denial::Stale),
            (false, _) => Err(Denial::Wrong),
        })
    }
}

fn is_scheme(header: &str, scheme: &str) -> bool {
    header.trim().split_once(' ').is_some_and(|(word, _)| word.eq_ignore_ascii_case(scheme))
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

    const REALM: &str = "cameras";
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

    fn accounts(name: &str, password: &str, scheme: Scheme) -> Accounts {
        let others = ("other".to_owned(), "se:cret\"".to_owned());
        Accounts::new(REALM, vec![others, (name.into(), password.into())], scheme).unwrap()
    }

    #[test]
    fn only_the_right_password_is_granted() {
        for (scheme, other) in [(Scheme::Digest, Scheme::Basic), (Scheme::Basic, Scheme::Digest)] {
            let login = accounts("viewer", "se:cret\"", scheme);
            let challenge = login.challenge("abc", Denial::Wrong);
            let judge = |header: &str| login.judge(header, "DESCRIBE", URI, "abc", true);
            assert_eq!(judge(&answer(&challenge, "viewer", "se:cret\"")), Ok("viewer"));
            assert_eq!(judge(&answer(&challenge, "viewer", "secret")), Err(Denial::Wrong));
            assert_eq!(judge(&answer(&challenge, "admin", "se:cret\"")), Err(Denial::Wrong));
            let other = accounts("viewer", "se:cret\"", other).challenge("abc", Denial::Wrong);
            let wrong_scheme = answer(&other, "viewer", "se:cret\"");
            assert_eq!(judge(&wrong_scheme), Err(Denial::Wrong));
        }
    }

    #[test]
    fn a_plain_password_is_taken_from_this_machine_only() {
        let login = accounts("viewer", "secret", Scheme::DigestOrLocalBasic);
        let basic = answer("Basic realm=\"cameras\"", "viewer", "secret");
        assert_eq!(login.judge(&basic, "PLAY", URI, "abc", true), Ok("viewer"));
        assert_eq!(login.judge(&basic, "PLAY", URI, "abc", false), Err(Denial::Wrong));
        let digest = answer(&login.challenge("abc", Denial::Wrong), "viewer", "secret");
        assert_eq!(login.judge(&digest, "DESCRIBE", URI, "abc", false), Ok("viewer"));
    }

    #[test]
    fn names_are_unique_and_have_no_colon() {
        let with = |names: &[&str]| {
            let users = names.iter().map(|n| ((*n).to_owned(), "p".to_owned())).collect();
            Accounts::new(REALM, users, Scheme::Digest).is_ok()
        };
        assert!(with(&["a", "b"]));
        assert!(!with(&["a", "a"]) && !with(&[""]) && !with(&["a:b"]));
    }

    #[test]
    fn a_digest_holds_for_its_nonce_method_and_address_only() {
        let login = accounts("viewer", "secret", Scheme::Digest);
        let header = answer(&login.challenge("abc", Denial::Wrong), "viewer", "secret");
        let judge =
            |method: &str, uri: &str, nonce: &str| login.judge(&header, method, uri, nonce, false);
        assert_eq!(judge("DESCRIBE", URI, "other"), Err(Denial::Stale));
        assert_eq!(judge("SETUP", URI, "abc"), Err(Denial::Wrong));
        assert_eq!(judge("DESCRIBE", "rtsp://host/cam/sub", "abc"), Err(Denial::Wrong));
        assert!(login.challenge("new", Denial::Stale).ends_with("stale=true"));
    }

    #[test]
    fn the_digest_of_rfc_2069_is_granted() {
        let login = accounts("u", "p", Scheme::Digest);
        let secret = md5_hex(&["u", REALM, "p"]);
        let response = md5_hex(&[&secret, "abc", &md5_hex(&["PLAY", URI])]);
        let header = format!(
            "Digest username=\"u\", realm=\"{REALM}\", nonce=\"abc\", uri=\"{URI}\", response=\"{response}\""
        );
        assert_eq!(login.judge(&header, "PLAY", URI, "abc", false), Ok("u"));
    }

    proptest! {
        #[test]
        fn no_other_header_is_granted(header in ".{0,200}", local in any::<bool>()) {
            for scheme in [Scheme::Basic, Scheme::Digest, Scheme::DigestOrLocalBasic] {
                let login = accounts("viewer", "secret", scheme);
                let judged = login.judge(&header, "PLAY", URI, "abc", local);
                prop_assert_eq!(judged, Err(Denial::Wrong));
            }
        }
    }
}
