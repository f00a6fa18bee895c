//! `maxConnections`, `maxConnectionsPerAddress` and `connectRate`: where they count, and where they have no effect.

use super::*;

fn server(lines: &str) -> String {
    format!("[s]\naccept = 1\nconnect = 2\ncert = /c\n{lines}\n")
}

#[test]
fn before_the_first_section_one_is_of_all_and_the_others_are_each_sections_unless_it_says_so() {
    let other = "[t]\naccept = 3\nconnect = 4\ncert = /c\nmaxConnections = 7\nmaxConnectionsPerAddress = 0\nconnectRate = 0\n";
    let general = "maxConnections = 9\nmaxConnectionsPerAddress = 5\nconnectRate = 6/min\n";
    let (config, said) = served(&format!("{general}{}{other}", server("")));
    assert!(said.is_empty(), "{said:?}");
    let number = |most: Option<std::num::NonZeroU32>| most.map(std::num::NonZeroU32::get);
    assert_eq!(number(config.global.max_connections), Some(9));
    let all = config.services.iter().map(|service| {
        let quota = service.quota;
        let rate = quota.rate.map(|rate| rate.to_string());
        (number(quota.connections), number(quota.per_address), rate)
    });
    let expected = [
        (None, Some(5), Some("6/min".to_owned())),
        (Some(7), None, None),
    ];
    assert_eq!(all.collect::<Vec<_>>(), expected);
    let (config, _) = served(&format!("maxConnections = 0\n{}", server("")));
    assert_eq!(config.global.max_connections, None);
}

#[test]
fn a_limit_that_nothing_is_counted_by_is_said() {
    let unix = "[s]\naccept = /s\nconnect = 2\ncert = /c\n";
    let secondary = format!(
        "{}[t]\nsni = s:a.example\nconnect = 2\ncert = /c\n",
        server("")
    );
    let program = "[s]\nclient = yes\nexec = /bin/cat\nconnect = 2\n";
    for (text, lines, said) in [
        (
            unix,
            "connectRate = 1/s",
            "clients of a Unix socket have no address",
        ),
        (
            unix,
            "maxConnectionsPerAddress = 1",
            "clients of a Unix socket have no address",
        ),
        (unix, "maxConnections = 1", ""),
        (unix, "acceptProxy = unix\nconnectRate = 1/s", ""),
        (
            &secondary,
            "connectRate = 1/s",
            "the primary service accepts the clients",
        ),
        (
            &secondary,
            "maxConnections = 1",
            "the primary service accepts the clients",
        ),
        (
            program,
            "maxConnections = 1",
            "the client is a program that adit starts",
        ),
        (
            &server(""),
            "maxConnections = 2\nmaxConnectionsPerAddress = 2",
            "no effect beside `maxConnections = 2`",
        ),
        (
            &server(""),
            "maxConnections = 3\nmaxConnectionsPerAddress = 2",
            "",
        ),
    ] {
        let (config, told) = served(&format!("{text}{lines}\n"));
        let told: Vec<&String> = told
            .iter()
            .filter(|line| line.contains("no effect"))
            .collect();
        match said {
            "" => assert!(told.is_empty(), "{lines}: {told:?}"),
            _ => assert!(
                told.len() == 1 && told[0].contains(said),
                "{lines}: {told:?}"
            ),
        }
        let Some(service) = config.services.last() else {
            panic!("no service");
        };
        let counts = service.quota != Quota::default();
        let counted = said.is_empty() || said.starts_with("no effect");
        assert_eq!(counts, counted, "{lines}");
    }
}
