//! Who may ask.
//!
//! Owns: the token, the secret that notifications are signed with, the files both stand in, and which names of this machine a request may
//! use. Invariants: neither is ever printed or logged; a page in a browser that was made to believe that its own name is this machine
//! (DNS rebinding) is refused by that name.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use axum::http::{HeaderMap, header};
use ferry_events::{Authenticator, Presented, Secret};

/// The file of the token.
pub const TOKEN_FILE: &str = "token";
/// The file of the secret that senders of notifications sign with.
pub const EVENT_SECRET_FILE: &str = "events-secret";

/// Names of the machine itself.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// See the module.
#[derive(Debug)]
pub struct Access {
    token: Authenticator,
    event_secret: Secret,
    hosts: Vec<String>,
}

impl Access {
    /// Reads both secrets of a directory, made where they are missing.
    pub(crate) fn open(directory: &Path, hosts: &[String]) -> Result<Self> {
        let token = secret(&directory.join(TOKEN_FILE))?;
        Ok(Self {
            token: Authenticator::SignatureOrBearer(token),
            event_secret: secret(&directory.join(EVENT_SECRET_FILE))?,
            hosts: LOOPBACK.into_iter().map(str::to_owned).chain(hosts.iter().cloned()).collect(),
        })
    }

    /// What senders of notifications sign with, or show.
    pub(crate) fn events(&self) -> Authenticator {
        Authenticator::SignatureOrBearer(self.event_secret.clone())
    }

    /// Whether a request shows the token.
    pub(crate) fn has_token(&self, headers: &HeaderMap) -> bool {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // No body is signed with the token: who has it shows it.
        self.token.check(&Presented { authorization, ..Presented::default() }, &[], 0).is_ok()
    }

    /// Whether a request asks for this machine by a name that it has.
    pub(crate) fn knows_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|value| value.to_str().ok()), hosts.next()) else {
            return false;
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// The secret of a file; the file is made, for its owner alone, where it is missing.
fn secret(path: &Path) -> Result<Secret> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    Secret::new(text.trim())
        .with_context(|| format!("{} is empty: remove it to have a new one made", path.display()))
}

fn make(path: &Path) -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no randomness: {error}"))?;
    let text = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let written = || -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    written().with_context(|| format!("{} cannot be made", path.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn the_token_is_made_once_for_its_owner_and_lets_in() {
        let directory = tempfile::tempdir().expect("a directory");
        let access = Access::open(directory.path(), &[]).expect("opened");
        let path = directory.path().join(TOKEN_FILE);
        let token = std::fs::read_to_string(&path).expect("read");
        assert_eq!(token.trim().len(), 64);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let shown = |text: &str| access.has_token(&headers(header::AUTHORIZATION, text));
        assert!(shown(&format!("Bearer {}", token.trim())));
        assert!(!shown("Bearer other") && !shown("Bearer ") && !access.has_token(&HeaderMap::new()));
        let again = Access::open(directory.path(), &[]).expect("opened");
        assert!(again.has_token(&headers(header::AUTHORIZATION, &format!("Bearer {}", token.trim()))));
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let directory = tempfile::tempdir().expect("a directory");
        let access = Access::open(directory.path(), &["ferry.example".to_owned()]).expect("opened");
        for (host, is_known) in [
            ("127.0.0.1:8460", true),
            ("localhost", true),
            ("[::1]:8460", true),
            ("[::1]", true),
            ("Ferry.Example:80", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example:8460", false),
        ] {
            assert_eq!(access.knows_host(&headers(header::HOST, host)), is_known, "{host}");
        }
        assert!(!access.knows_host(&HeaderMap::new()));
    }
}
