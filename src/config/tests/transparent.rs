//! `transparent`: its words, and what it cannot stand beside.

use super::*;

const SERVER: &str = "[s]\ncert = /c\naccept = 443\n";

#[test]
fn each_word_of_stunnels_means_what_it_does_there() {
    for (word, source, destination) in [
        ("none", false, false),
        ("no", false, false),
        ("source", true, false),
        ("yes", true, false),
        ("SOURCE", true, false),
        ("destination", false, true),
        ("both", true, true),
    ] {
        let connect = if destination { "" } else { "connect = h:2\n" };
        let (config, said) = served(&format!("{SERVER}{connect}transparent = {word}\n"));
        assert!(said.is_empty(), "{word}: {said:?}");
        let meant = Transparent {
            source,
            destination,
        };
        assert_eq!(config.services[0].transparent, meant, "{word}");
    }
}

#[test]
fn what_has_no_address_or_two_destinations_is_refused_with_the_reason() {
    let endpoints = "Each service must define two endpoints";
    for (lines, phrase) in [
        ("transparent = sauce\n", "needs to be either"),
        ("transparent = source\n", endpoints),
        ("transparent = destination\nconnect = h:2\n", endpoints),
        ("transparent = both\nexec = /bin/cat\n", endpoints),
        ("transparent = destination\nprotocol = socks\n", endpoints),
        (
            "transparent = source\nexec = /bin/cat\n",
            "is not served with `exec`",
        ),
        (
            "transparent = source\nconnect = /s\n",
            "has no effect on a Unix socket",
        ),
        (
            "transparent = source\nconnect = h:2\naccept = /s\n",
            "have none",
        ),
        ("transparent = destination\naccept = /s\n", "have none"),
        (
            "transparent = destination\nclient = yes\nverifyServer = yes\n",
            "has no name to look for",
        ),
    ] {
        let found = errors(&format!("{SERVER}{lines}"));
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert!(found[0].contains(phrase), "{lines}: {found:?}");
    }
    let program = "[s]\nclient = yes\nexec = /bin/cat\nconnect = h:2\ntransparent = source\n";
    let found = errors(program);
    assert!(
        found.len() == 1 && found[0].contains("has no client"),
        "{found:?}"
    );
}

#[test]
fn what_it_takes_the_place_of_is_noted() {
    let noted = |lines: &str| {
        let (_, said) = served(&format!("{SERVER}{lines}"));
        assert_eq!(said.len(), 1, "{said:?}");
        said[0].clone()
    };
    let local = noted("transparent = source\nconnect = h:2\nlocal = 127.0.0.1\n");
    assert!(local.contains("`local` has no effect"), "{local}");
    let delay = noted("transparent = destination\ndelay = yes\n");
    assert!(delay.contains("`delay` has no effect"), "{delay}");
    let ident = noted("transparent = destination\nident = mail\n");
    assert!(ident.contains("`ident` refuses clients here"), "{ident}");
}
