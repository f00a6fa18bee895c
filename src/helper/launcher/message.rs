//! What clients and the launcher tell each other: JSON, a packet each, since a session that starts a program
//! has more to wait for. A worker may be an intruder's: what it sends is hostile, and names no program.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest packet, in bytes.
pub(super) const MAX_MESSAGE: usize = 32 * 1024;
/// The longest name of a certificate's owner that a program is told, in bytes.
const MAX_NAME: usize = 8 * 1024;

/// Asks for the program of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The client's number for it; [`super::Client::ask`] gives one.
    pub id: u64,
    /// The service's index.
    pub service: usize,
    /// The address of the session's client; none for a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Subject and issuer of the certificate that the session's client has shown.
    pub names: Option<(String, String)>,
}

impl Request {
    /// Whether the names can stand in an environment, whole: one that was cut would be another's.
    pub(super) fn is_fit(&self) -> bool {
        let fits = |name: &String| name.len() <= MAX_NAME && !name.contains('\0');
        let names = self.names.as_ref();
        names.is_none_or(|(subject, issuer)| fits(subject) && fits(issuer))
    }
}

/// Answers a request; the program's socket comes with `Ok`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The request's number.
    pub id: u64,
    /// What was started, or why nothing was.
    pub result: Result<Started, String>,
}

/// A program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Its process.
    pub pid: i32,
    /// Its terminal, if it has one.
    pub terminal: Option<String>,
}

/// The packet of a message; `None`: it would be too long.
pub(super) fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let packet = serde_json::to_vec(message).ok()?;
    (packet.len() < MAX_MESSAGE).then_some(packet)
}

/// The message of a packet.
pub(super) fn decode<M: DeserializeOwned>(packet: &[u8]) -> Option<M> {
    serde_json::from_slice(packet).ok()
}

/// What `fuzz/` does with this room: what is taken goes into an environment as it is.
#[cfg(fuzzing)]
pub(crate) fn fuzz(packet: &[u8]) {
    let _ = decode::<Answer>(packet);
    let Some(request) = decode::<Request>(packet).filter(Request::is_fit) else {
        return;
    };
    let again = serde_json::to_vec(&request).ok();
    assert_eq!(
        again.and_then(|packet| decode(&packet)),
        Some(request.clone())
    );
    for (name, value) in super::environment::of_session(&request) {
        assert!(super::environment::OF_SESSION.contains(&name));
        assert!(!value.contains('\0') && value.len() <= MAX_NAME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            id: 7,
            service: 1,
            peer: Some("[2001:db8::1]:4711".parse().unwrap()),
            names: Some(("CN=é, O=\"a, b\"".into(), "CN=ca".into())),
        }
    }

    #[test]
    fn messages_are_read_back() {
        let packet = encode(&request()).unwrap();
        assert_eq!(decode(&packet), Some(request()));
        let started = Started {
            pid: 4711,
            terminal: Some("/dev/pts/3".into()),
        };
        for result in [Ok(started), Err("none".to_owned())] {
            let answer = Answer { id: 1, result };
            assert_eq!(decode(&encode(&answer).unwrap()), Some(answer));
        }
    }

    #[test]
    fn names_that_no_environment_can_hold_are_unfit() {
        assert!(request().is_fit());
        for name in ["CN=a\0b".to_owned(), "a".repeat(MAX_NAME + 1)] {
            let names = Some((String::new(), name));
            assert!(!Request { names, ..request() }.is_fit());
        }
        let names = Some(("a".repeat(MAX_MESSAGE), String::new()));
        assert_eq!(encode(&Request { names, ..request() }), None);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for packet in [
            &b""[..],
            b"{}",
            br#"{"id":1,"service":-1,"peer":null,"names":null}"#,
            br#"{"id":1,"service":0,"peer":null,"names":null,"path":"/bin/sh"}"#,
        ] {
            assert_eq!(decode::<Request>(packet), None);
        }
    }
}
