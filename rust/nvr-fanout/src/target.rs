//! Addresses of peers, as gRPC writes them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// Where a peer listens: `host:port`, `[IPv6]:port` or `unix:path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host by name or address, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Target {
    /// The name that the peer's certificate must be for; gRPC takes `localhost` for sockets of files.
    pub fn host(&self) -> &str {
        match self {
            Target::Tcp(host, _) => host,
            Target::Unix(_) => "localhost",
        }
    }

    /// For `:authority`.
    pub(crate) fn authority(&self) -> String {
        match self {
            Target::Tcp(..) => self.to_string(),
            Target::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Target::Tcp(host, port) => write!(f, "{host}:{port}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Invalid(format!("target: '{text}' is not host:port or unix:path"));
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///absolute is the same as unix:/absolute.
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong()) } else { Ok(Target::Unix(path.into())) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Target::Tcp(host.to_owned(), port.parse().map_err(|_| wrong())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_grpc_does() {
        let tcp = |host: &str, port| Target::Tcp(host.to_owned(), port);
        for (text, expected) in [
            ("127.0.0.1:50051", tcp("127.0.0.1", 50051)),
            ("node-1.example:1", tcp("node-1.example", 1)),
            ("[::1]:443", tcp("::1", 443)),
            ("unix:/run/nvr/a.sock", Target::Unix("/run/nvr/a.sock".into())),
            ("unix:relative.sock", Target::Unix("relative.sock".into())),
        ] {
            assert_eq!(text.parse::<Target>().unwrap(), expected);
            assert_eq!(expected.to_string(), text);
        }
        assert_eq!("unix:///a".parse::<Target>().unwrap(), Target::Unix("/a".into()));
    }

    #[test]
    fn what_is_no_address_is_refused_by_name() {
        for text in
            ["", "host", ":1", "host:", "host:65536", "a b:1", "::1:5", "[::1:5", "unix:", "h/x:1"]
        {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.starts_with("target: "), "{text}: {error}");
        }
    }
}
