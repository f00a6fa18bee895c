//! `hold`.

use std::time::Duration;

use super::{client, errors, served};

#[test]
fn a_program_that_sends_mail_is_held_and_no_other() {
    for lines in [
        "protocol = smtp",
        "loginProtocol = smtp",
        "protocol = smtp\nlogin = translate",
        "loginProtocol = smtp\nlogin = oauth2",
    ] {
        let (config, said) = served(&client(&format!("{lines}\nhold = 9")));
        let service = &config.services[0];
        assert_eq!(service.hold, Some(Duration::from_secs(9)), "{lines}");
        let useless = said.iter().any(|said| said.contains("no effect"));
        assert!(!useless, "{lines}: {said:?}");
    }
    for (lines, expected) in [
        ("protocol = imap", "asks again later by itself"),
        ("loginProtocol = pop3", "asks again later by itself"),
        ("protocol = nntp", "not for this `protocol`"),
        (
            "protocol = connect\nprotocolHost = h:465",
            "not for this `protocol`",
        ),
        ("", "adit cannot tell whether mail is sent here"),
        (
            "protocol = smtp\nacceptTLS = auto\nacceptCert = /c",
            "some may begin TLS later",
        ),
    ] {
        let errors = errors(&client(&format!("{lines}\nhold = 9")));
        let told = errors.iter().any(|error| error.contains(expected));
        assert!(told, "{lines}: {errors:?}");
    }
    let server = "[s]\naccept = 1\nconnect = h:2\ncert = /c\nprotocol = smtp\nhold = 9\n";
    assert!(errors(server)[0].contains("is for client mode"));
    assert!(errors(&client("protocol = smtp\nhold = -1"))[0].contains("not a number of seconds"));
}

#[test]
fn without_it_nothing_is_held_and_as_a_default_it_counts_where_it_has_a_use() {
    for lines in ["protocol = smtp", "protocol = smtp\nhold = 0"] {
        assert_eq!(served(&client(lines)).0.services[0].hold, None, "{lines}");
    }
    let default = "hold = 9\n[s]\naccept = 1\nconnect = h:2\ncert = /c\n[i]\nclient = yes\naccept = 127.0.0.1:3\n\
                   connect = h:143\nprotocol = imap\n[d]\nclient = yes\naccept = 127.0.0.1:5\nconnect = h:465\n";
    let (config, _) = served(default);
    let held: Vec<bool> = config
        .services
        .iter()
        .map(|one| one.hold.is_some())
        .collect();
    assert_eq!(held, [false, false, true]);
}

#[test]
fn a_server_that_wants_logins_is_warned_of_where_none_is_taken() {
    let service = |more: &str| {
        let lines =
            "[s]\nclient = yes\naccept = 127.0.0.1:5\nconnect = h:587\nprotocol = smtp\nhold = 9\n";
        let (_, said) = served(&format!("{lines}{more}"));
        said.iter()
            .any(|said| said.contains("that is held cannot log in"))
    };
    assert!(service(""));
    assert!(!service("login = translate\n"));
}
