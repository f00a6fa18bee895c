//! No text, however broken, makes the parser panic, and none is refused without a reason.

use super::*;

/// splitmix64: small, and the same everywhere for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

const PIECES: &[&str] = &[
    "=",
    "\n",
    "[",
    "]",
    "[s]\n",
    ":",
    "::",
    "%",
    "-",
    "\0",
    "\r",
    "\u{feff}",
    "é",
    "\u{1F600}",
    ";",
    "99999999999999999999",
    "0",
    "yes",
    "no",
    "all",
    "TLSv1.2",
    "l:",
    "SO_LINGER=",
    "/",
    ".",
    " ",
    "include = x\n",
    "verify = ",
    "protocolPassword",
    "*",
];

fn mutate(random: &mut Random, text: &mut Vec<u8>) {
    let at = random.below(text.len() + 1);
    match random.below(4) {
        0 => {
            let piece = PIECES[random.below(PIECES.len())];
            text.splice(at..at, piece.bytes());
        }
        1 => {
            let end = (at + random.below(12)).min(text.len());
            text.drain(at..end);
        }
        2 => {
            let mut names = options();
            let name = names
                .nth(random.below(options().count()))
                .map_or("", |o| o.name);
            text.splice(at..at, format!("\n{name} = ").bytes());
        }
        _ if at < text.len() => text[at] = random.below(256) as u8,
        _ => {}
    }
}

#[test]
fn broken_text_gives_errors_and_never_a_panic() {
    let base = [
        client("socket = l:SO_LINGER=1:60\noptions = NO_TICKET\nsslVersion = TLSv1.2"),
        include_str!("../../../etc/adit.conf").to_owned(),
        "debug = daemon.info\n[x]\naccept = [::1]:0\nconnect = /s\ncert = c\n".to_owned(),
    ];
    let mut refused = 0;
    for seed in 0..1000 {
        let mut random = Random(seed);
        let mut text = base[random.below(base.len())].clone().into_bytes();
        for _ in 0..=random.below(8) {
            mutate(&mut random, &mut text);
        }
        let mut found = Vec::new();
        syntax::parse("m", &text, &NoFiles, &mut found);
        let text = String::from_utf8_lossy(&text);
        // The seed is in the message of whatever panics behind this.
        let outcome = std::panic::catch_unwind(|| load_text(&text));
        match outcome {
            Ok(Ok(loaded)) => {
                for diagnostic in loaded.diagnostics {
                    assert_ne!(diagnostic.severity, Severity::Error, "seed {seed}");
                }
            }
            Ok(Err(diagnostics)) => {
                refused += 1;
                assert!(
                    diagnostics.failed(),
                    "seed {seed}: refused without an error"
                );
                let shown = diagnostics.to_string();
                assert!(
                    !shown.contains(['\0', '\r', '\u{1b}']),
                    "seed {seed}: {shown:?}"
                );
            }
            Err(_) => panic!("seed {seed} panics with {text:?}"),
        }
    }
    assert!(
        (300..1000).contains(&refused),
        "{refused} of 1000 were refused"
    );
}
