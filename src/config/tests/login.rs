//! `login` and `loginProtocol`.

use super::{client, errors, served};
use crate::config::MailProtocol::{self, Imap, Pop3, Smtp};

fn mail(lines: &str) -> Option<MailProtocol> {
    served(&client(lines)).0.services[0].login.mail
}

const ACCOUNT: &str = "protocolUsername = u\nprotocolPassword = p";

#[test]
fn the_protocol_of_a_login_is_that_of_the_dialogue_or_of_the_port() {
    for (lines, expected) in [
        ("login = translate\nprotocol = smtp", Some(Smtp)),
        ("login = translate\nprotocol = imap", Some(Imap)),
        ("login = translate\nloginProtocol = pop3", Some(Pop3)),
        ("login = pass\nprotocol = smtp", None),
        ("protocol = imap", None),
        (
            "login = translate\nprotocol = connect\nprotocolHost = h:995",
            Some(Pop3),
        ),
    ] {
        assert_eq!(mail(lines), expected, "{lines}");
    }
    let direct = "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:993\nlogin = translate\n";
    assert_eq!(served(direct).0.services[0].login.mail, Some(Imap));
}

#[test]
fn an_account_logs_in_by_imap_and_pop3_and_as_before_by_smtp() {
    for (lines, expected) in [
        ("protocol = imap", Some(Imap)),
        ("protocol = pop3", Some(Pop3)),
        ("loginProtocol = smtp", Some(Smtp)),
        ("protocol = smtp", None),
        (
            "protocol = smtp\nprotocolAuthentication = scram-sha-256",
            Some(Smtp),
        ),
        ("protocol = smtp\nlogin = translate", Some(Smtp)),
    ] {
        let lines = format!("{lines}\n{ACCOUNT}");
        let (config, said) = served(&client(&lines));
        let service = &config.services[0];
        assert_eq!(service.login.mail, expected, "{lines}");
        let by_dialogue = service.begins_within_tls().is_some();
        assert_eq!(by_dialogue, expected.is_none(), "{lines}");
        let useless = said.iter().any(|said| said.contains("no effect"));
        assert!(!useless, "{lines}: {said:?}");
    }
}

#[test]
fn what_would_relay_for_everybody_is_an_error() {
    for (lines, good) in [
        ("accept = 0.0.0.0:1", false),
        ("accept = 192.0.2.1:1\nacceptAnywhere = yes", false),
        ("accept = 192.0.2.1:1\nacceptFrom = 192.0.2.7", true),
        ("accept = 127.0.0.1:1", true),
        ("accept = /run/mail.sock", true),
    ] {
        let text =
            format!("[s]\nclient = yes\nconnect = h:143\nprotocol = imap\n{ACCOUNT}\n{lines}\n");
        if good {
            served(&text);
        } else {
            let errors = errors(&text);
            assert!(errors[0].contains("an open relay"), "{lines}: {errors:?}");
        }
    }
}

#[test]
fn where_no_login_can_be_made_it_is_an_error() {
    for (lines, expected) in [
        ("login = translate", "adit cannot tell which protocol"),
        (
            "login = translate\nprotocol = nntp",
            "`login = translate` is for mail, and not for `protocol = nntp`",
        ),
        (
            "login = translate\nprotocol = imap\nloginProtocol = smtp",
            "`loginProtocol = smtp`, but what is spoken here is imap",
        ),
        ("login = oauth", "oauth"),
        (
            "login = translate\nloginProtocol = nntp",
            "adit does not serve `loginProtocol = nntp`",
        ),
    ] {
        let errors = errors(&client(lines));
        assert!(errors[0].contains(expected), "{lines}: {errors:?}");
    }
    let server = "[s]\naccept = 1\nconnect = h:2\ncert = /c\nlogin = translate\n";
    assert!(errors(server)[0].contains("is for client mode"));
    // As a default it counts where it has a use.
    let default = "login = translate\n[s]\naccept = 1\nconnect = h:2\ncert = /c\n[n]\nclient = yes\naccept = 127.0.0.1:3\n\
                   connect = h:4\nprotocol = nntp\n[i]\nclient = yes\naccept = 127.0.0.1:5\nconnect = h:143\nprotocol = imap\n";
    let (config, _) = served(default);
    let mails: Vec<_> = config.services.iter().map(|one| one.login.mail).collect();
    assert_eq!(mails, [None, None, Some(Imap)]);
}
