//! `acceptProxy`, and what it does not go with.

use super::*;

fn server(lines: &str) -> String {
    format!("[s]\naccept = 1\nconnect = 2\ncert = /c\n{lines}\n")
}

#[test]
fn a_section_names_its_own_balancers_in_place_of_the_general_ones() {
    let peer = |text: &str| Some(text.parse().unwrap());
    let (config, said) = served(&format!(
        "acceptProxy = 192.0.2.1\n{}[t]\naccept = 3\nconnect = 4\ncert = /c\nacceptProxy = 192.0.2.2\n",
        server("")
    ));
    assert!(said.is_empty(), "{said:?}");
    let believe = |nth: usize, from| config.services[nth].balancers.have(peer(from));
    assert!(believe(0, "192.0.2.1:1") && !believe(0, "192.0.2.2:1"));
    assert!(!believe(1, "192.0.2.1:1") && believe(1, "192.0.2.2:1"));
}

#[test]
fn what_does_not_go_with_a_balancer_is_said() {
    for (lines, said) in [
        ("acceptProxy = 0.0.0.0/0", "warning: anyone who connects"),
        ("acceptProxy = ::/0", "warning: anyone who connects"),
        (
            "acceptProxy = unix",
            "warning: `acceptProxy` has no effect: no `accept` is",
        ),
        (
            "acceptProxy = ::1\nident = root",
            "warning: `ident` refuses the balancers",
        ),
    ] {
        let (_, told) = served(&server(lines));
        let part = said.trim_start_matches("warning: ");
        let fits = |told: &String| told.starts_with("warning") && told.contains(part);
        assert!(
            matches!(&told[..], [told] if fits(told)),
            "{lines}: {told:?}"
        );
    }
    let unix = "[s]\naccept = /s\nconnect = 2\ncert = /c\n";
    let (config, told) = served(&format!("{unix}acceptProxy = ::1\n"));
    assert!(
        told[0].contains("`acceptProxy = unix` means them"),
        "{told:?}"
    );
    assert!(!config.services[0].balancers.are_there());
    // Their clients have addresses then.
    let more = "acceptProxy = unix\nacceptFrom = ::1\nprotocol = proxy\n";
    let (_, told) = served(&format!("{unix}{more}"));
    assert!(told.is_empty(), "{told:?}");
    let secondary = "[t]\nsni = s:a.example\nconnect = 2\ncert = /c\nacceptProxy = ::1\n";
    let (config, told) = served(&format!("{}{secondary}", server("acceptProxy = ::1")));
    assert!(
        told[0].contains("the primary service accepts the clients"),
        "{told:?}"
    );
    assert!(config.services[0].balancers.are_there());
    assert!(!config.services[1].balancers.are_there());
    for (lines, part) in [
        ("acceptProxy = yes", "a header is a claim"),
        (
            "acceptProxy = localhost",
            "neither an IP address nor a network",
        ),
    ] {
        let told = errors(&server(lines));
        assert!(
            matches!(&told[..], [told] if told.contains(part)),
            "{lines}: {told:?}"
        );
    }
    let text = "[s]\naccept = 1\ncert = /c\ntransparent = destination\nacceptProxy = ::1\n";
    let told = errors(text);
    assert!(
        told[0].contains("does not go with `transparent = destination`"),
        "{told:?}"
    );
}
