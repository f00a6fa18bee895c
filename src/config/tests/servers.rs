//! What a server says of clients without a certificate, and of sessions to resume.

use super::*;

/// A server that is served without a word, and `lines` besides.
fn server(lines: &str) -> String {
    format!("[s]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\n{lines}\n")
}

#[test]
fn a_redirect_to_no_port_is_taken_with_a_warning() {
    let trust = "CAfile = /a\nverifyChain = yes\n";
    assert!(
        served(&server(&format!("{trust}redirect = 80")))
            .1
            .is_empty()
    );
    for nowhere in ["0", "127.0.0.1:0"] {
        // As in stunnel, it is legal.
        let (config, said) = served(&server(&format!("{trust}redirect = {nowhere}")));
        assert_eq!(config.services[0].redirect.len(), 1);
        assert!(said[0].starts_with("warning: test.conf:7: "), "{said:?}");
        assert!(said[0].contains("no server is ever at port 0"), "{said:?}");
    }
}

#[test]
fn options_of_sessions_that_do_nothing_are_noted() {
    let secrets = "ticketKeySecret = 000102030405060708090a0b0c0d0e0f\n\
                   ticketMacSecret = 000102030405060708090a0b0c0d0e0f\n";
    let all = format!("sessionCacheSize = 5\nsessionCacheTimeout = 5\n{secrets}");
    let names = |said: &[String]| -> Vec<&'static str> {
        let options = [
            "sessionCacheSize",
            "sessionCacheTimeout",
            "ticketKeySecret",
            "ticketMacSecret",
        ];
        let noted = |option: &&str| {
            let text = format!("`{option}` has no effect");
            said.iter()
                .any(|line| line.starts_with("note: ") && line.contains(&text))
        };
        options.into_iter().filter(noted).collect()
    };
    let of = |lines: &str| {
        let said = served(&server(&format!("{all}{lines}"))).1;
        assert_eq!(names(&said).len(), said.len(), "{said:?}");
        assert!(!said.concat().contains("000102"), "{said:?}");
        names(&said)
    };
    assert!(of("").is_empty());
    assert_eq!(of("sessionResume = no").len(), 4);
    let secrets_alone = ["ticketKeySecret", "ticketMacSecret"];
    assert_eq!(of("options = NO_TICKET"), secrets_alone);
    assert_eq!(of("config = Options:-SessionTicket"), secrets_alone);
    // As a default for every service it counts where it has a use.
    let (_, said) = served(&format!("{all}{}", server("sessionResume = no")));
    assert!(said.is_empty(), "{said:?}");
}
