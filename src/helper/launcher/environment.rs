//! A program's environment: adit's own, `setEnv`, and what stunnel tells of the session. Never in here: an option of
//! adit's.

use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use super::message::Request;

/// What tells of a session. Inherited, it would tell of another.
pub(super) const OF_SESSION: [&str; 4] = [
    "REMOTE_HOST",
    "REMOTE_PORT",
    "SSL_CLIENT_DN",
    "SSL_CLIENT_I_DN",
];

/// Meant for adit alone: a program has no such descriptors, and is not the service that systemd watches.
const OURS: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// What begins so is an option of adit's, perhaps a secret one.
const OPTIONS: &[u8] = b"ADIT_";

/// What every program gets: the environment of this process, and what `setEnv` adds or replaces.
pub(super) fn common(set: &[(String, String)]) -> Vec<(OsString, OsString)> {
    over(env::vars_os(), set)
}

fn over(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    set: &[(String, String)],
) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsString| {
        let others = OF_SESSION.iter().chain(&OURS);
        let replaced = set.iter().any(|(set, _)| name.as_os_str() == set.as_str());
        !replaced
            && !name.as_bytes().starts_with(OPTIONS)
            && !others.into_iter().any(|other| name.as_os_str() == *other)
    };
    let mut all: Vec<_> = inherited.filter(|(name, _)| is_kept(name)).collect();
    all.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
    all
}

/// What is told of a session. Its handshake is over, so the client has the certificate's key; who issued that was
/// looked at only if the service verifies.
pub(super) fn of_session(request: &Request) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(peer) = request.peer {
        all.push(("REMOTE_HOST", peer.ip().to_string()));
        all.push(("REMOTE_PORT", peer.port().to_string()));
    }
    if let Some((subject, issuer)) = &request.names {
        all.push(("SSL_CLIENT_DN", subject.clone()));
        all.push(("SSL_CLIENT_I_DN", issuer.clone()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_session_left_is_not_told_and_what_is_set_replaces() {
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let inherited = [
            pair("PATH", "/bin"),
            pair("TZ", "CET"),
            pair("REMOTE_HOST", "192.0.2.66"),
            pair("SSL_CLIENT_DN", "CN=root"),
            pair("NOTIFY_SOCKET", "/run/n"),
            pair("ADIT_SERVICE_MAIL_PROTOCOL_PASSWORD", "secret"),
        ];
        let set = [
            ("TZ".to_owned(), "UTC".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ];
        let all = over(inherited.into_iter(), &set);
        let expected = [pair("PATH", "/bin"), pair("TZ", "UTC"), pair("EMPTY", "")];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_session_is_told_of_as_by_stunnel() {
        let request = |peer: Option<&str>| Request {
            id: 0,
            service: 0,
            peer: peer.map(|peer| peer.parse().unwrap()),
            names: Some(("C=DE, CN=me".into(), "CN=ca".into())),
        };
        let told = of_session(&request(Some("[::1]:99")));
        let expected = [
            ("REMOTE_HOST", "::1"),
            ("REMOTE_PORT", "99"),
            ("SSL_CLIENT_DN", "C=DE, CN=me"),
            ("SSL_CLIENT_I_DN", "CN=ca"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(of_session(&request(None)).len(), 2);
    }
}
