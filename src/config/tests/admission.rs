//! `acceptFrom`, `denyFrom`, and what says that a listener may be open.

use super::*;

/// Whether [s] takes a client from there.
#[track_caller]
fn takes(text: &str, address: &str) -> bool {
    let (config, said) = served(text);
    assert!(said.is_empty(), "{text}: {said:?}");
    let address = address.parse().unwrap();
    config.services[0].admission.judge(address).is_ok()
}

#[test]
fn a_sections_acceptance_replaces_the_general_one_and_its_denial_adds_to_it() {
    let with = |general: &str, own: &str| format!("{general}\n{}", client(own));
    for (general, own, address, taken) in [
        ("", "", "192.0.2.1", true),
        ("acceptFrom = 192.0.2.0/24", "", "192.0.2.1", true),
        ("acceptFrom = 192.0.2.0/24", "", "10.0.0.1", false),
        (
            "acceptFrom = 192.0.2.0/24",
            "acceptFrom = 10.0.0.1",
            "10.0.0.1",
            true,
        ),
        (
            "acceptFrom = 192.0.2.0/24",
            "acceptFrom = 10.0.0.1",
            "192.0.2.1",
            false,
        ),
        (
            "acceptFrom = 192.0.2.0/24",
            "acceptFrom = 10.0.0.1\nacceptFrom = 10.0.0.2, 10.0.0.3",
            "10.0.0.3",
            true,
        ),
        ("denyFrom = 192.0.2.0/24", "", "192.0.2.1", false),
        (
            "denyFrom = 192.0.2.0/24",
            "denyFrom = 10.0.0.1",
            "192.0.2.1",
            false,
        ),
        (
            "denyFrom = 192.0.2.0/24",
            "denyFrom = 10.0.0.1",
            "10.0.0.1",
            false,
        ),
        (
            "denyFrom = 192.0.2.0/24",
            "acceptFrom = 192.0.2.0/23",
            "192.0.3.1",
            true,
        ),
    ] {
        let text = with(general, own);
        assert_eq!(takes(&text, address), taken, "{text}: {address}");
    }
}

#[test]
fn lists_that_no_client_can_be_looked_up_in_are_told() {
    let (_, said) = served(
        "acceptFrom = ::1\n[s]\nclient = yes\naccept = /s\nconnect = h:2\nverifyServer = yes\n\
         denyFrom = 192.0.2.1\n",
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("`denyFrom` has no effect: clients of a Unix socket"),
        "{said:?}"
    );
    let (_, said) = served(
        "[s]\nclient = yes\nexec = /bin/sh\nconnect = h:2\nverifyServer = yes\nacceptFrom = ::1\n",
    );
    assert!(
        said[0].contains("`acceptFrom` has no effect: the client is a program"),
        "{said:?}"
    );
}

#[test]
fn a_plain_listener_that_others_reach_must_say_that_it_is_meant() {
    let said_of = |accept: &str, lines: &str| {
        let text =
            format!("[s]\nclient = yes\n{accept}\nconnect = h:2\nverifyServer = yes\n{lines}\n");
        let said = served(&text).1;
        let said: Vec<String> = said
            .into_iter()
            .filter(|line| line.contains("other machines may connect"))
            .collect();
        assert!(said.iter().all(|line| line.starts_with("warning")));
        said.concat()
    };
    for open in [
        "accept = 1",
        "accept = 0.0.0.0:1",
        "accept = :::1",
        "accept = 192.168.1.2:1",
        "accept = mail:1",
        "accept = 127.0.0.1:1\naccept = 192.0.2.1:1",
    ] {
        let said = said_of(open, "");
        assert!(said.contains("`acceptAnywhere = yes`"), "{open}: {said}");
        for meant in [
            "acceptFrom = 192.0.2.0/24",
            "acceptFrom = 0.0.0.0/0, ::/0",
            "acceptAnywhere = yes",
            "acceptTLS = yes\nacceptCert = /c",
        ] {
            assert_eq!(said_of(open, meant), "", "{open} {meant}");
        }
        assert_ne!(said_of(open, "denyFrom = 192.0.2.0/24"), "", "{open}");
        assert_ne!(
            said_of(open, "acceptTLS = auto\nacceptCert = /c"),
            "",
            "{open}"
        );
    }
    assert_eq!(said_of("accept = 1", "libwrap = yes"), "");
    for own in [
        "accept = 127.0.0.1:1",
        "accept = ::1:1",
        "accept = localhost:1",
        "accept = 127.9.9.9:1\naccept = /s",
    ] {
        assert_eq!(said_of(own, ""), "", "{own}");
    }
    // In server mode it is what a server is for.
    let (_, said) = served("[s]\naccept = 1\nconnect = h:2\ncert = /c\n");
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn what_is_asked_for_is_asked_by_the_service_that_accepts() {
    let text = |general: &str, own: &str| {
        format!(
            "{general}[p]\naccept = 1\nconnect = 2\ncert = /c\n[s]\nsni = p:a.example\nconnect = 2\ncert = /c\n{own}"
        )
    };
    let (config, said) = served(&text("", "libwrap = yes\nident = root\nacceptFrom = ::1\n"));
    assert_eq!(said.len(), 2, "{said:?}");
    for (said, option) in said.iter().zip(["libwrap", "ident"]) {
        let expected = format!("`{option}` has no effect: the primary service accepts");
        assert!(
            said.starts_with("warning") && said.contains(&expected),
            "{said}"
        );
    }
    let admission = &config.services[1].admission;
    assert!(!admission.libwrap && admission.ident.is_none() && admission.has_lists());
    let (config, said) = served(&text("libwrap = yes\nident = root\n", ""));
    assert!(said.is_empty(), "{said:?}");
    let asks = config
        .services
        .iter()
        .map(|service| service.admission.libwrap);
    assert_eq!(asks.collect::<Vec<_>>(), [true, false]);
    assert_eq!(config.services[0].admission.ident.as_deref(), Some("root"));
}
