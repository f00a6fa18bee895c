//! `probe`.

use std::time::Duration;

use super::{client, errors, served};
use crate::config::Protocol;

#[test]
fn servers_that_are_known_are_probed_and_no_other() {
    let (config, _) = served(&client("probe = 9"));
    assert_eq!(config.services[0].probe, Some(Duration::from_secs(9)));
    for lines in ["", "probe = 0"] {
        assert_eq!(served(&client(lines)).0.services[0].probe, None);
    }
    for (lines, expected) in [
        ("delay = yes", "no address is known before"),
        ("protocol = mysql", "max_connect_errors"),
    ] {
        let errors = errors(&client(&format!("{lines}\nprobe = 9")));
        let told = errors.iter().any(|error| error.contains(expected));
        assert!(told, "{lines}: {errors:?}");
    }
    let program = "[s]\naccept = 1\ncert = /c\nexec = /bin/cat\nprobe = 9\n";
    assert!(errors(program)[0].contains("for servers that `connect` names"));
    // As a default for every service it counts where it has a use.
    let both = format!("probe = 9\n{}", client("delay = yes"));
    assert_eq!(served(&both).0.services[0].probe, None);
}

#[test]
fn a_server_is_heard_in_the_protocol_that_it_speaks_first() {
    for (lines, port, expected) in [
        ("", Some(993), Some(Protocol::Imap)),
        ("", Some(143), None),
        ("", Some(443), None),
        ("", None, None),
        ("protocol = imap", Some(993), Some(Protocol::Imap)),
        ("protocol = smtp", Some(2525), Some(Protocol::Smtp)),
        ("protocol = ldap", Some(389), None),
    ] {
        let (config, _) = served(&client(lines));
        let protocol = config.services[0].greeted_in(port);
        assert_eq!(protocol, expected, "{lines} {port:?}");
    }
    let server = "[s]\naccept = 1\nconnect = 143\ncert = /c\n";
    let (config, _) = served(server);
    let greeted_in = |port| config.services[0].greeted_in(Some(port));
    assert_eq!(
        (greeted_in(143), greeted_in(993)),
        (Some(Protocol::Imap), None)
    );
}
