//! A private key stands once in each process that needs it, as numbers that the TLS library works with; its text and its
//! encoding stand in none, and after a reload without it nothing of it is left.

use std::fs;
use std::path::Path;

use crate::require;
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// What could be found of a key.
struct Traces {
    /// Of its PEM text, without what all keys share.
    text: String,
    /// Its number as in a file, and as a process has it that works with it.
    numbers: [Vec<u8>; 2],
}

impl Traces {
    fn of(key: &Path) -> Traces {
        let text = fs::read_to_string(key).expect("a key");
        Traces {
            numbers: Certs::scalar(&text),
            text: text.lines().nth(2).expect("a second line").to_owned(),
        }
    }

    /// How often each is in a process: text, encoded, in use.
    #[track_caller]
    fn count(&self, pid: i32) -> [usize; 3] {
        let [encoded, used] = &self.numbers;
        proc::copies_in_memory(pid, [self.text.as_bytes(), encoded, used])
    }
}

#[track_caller]
fn talk(adit: &Adit, certs: &Certs) {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    for _ in 0..5 {
        peers::says_and_hears(
            &mut tls::connect(config.clone(), adit.address("test")),
            "hello",
        );
    }
}

/// Counts the traces in each process; `needs` says by its title which process has the key.
#[track_caller]
fn stands_where_it_must(adit: &Adit, traces: &Traces, needs: impl Fn(&str) -> bool) {
    for one in proc::family(adit.pid()) {
        let title = proc::title(one.pid);
        let found = traces.count(one.pid);
        match needs(&title) {
            true => assert_eq!(found, [0, 0, 1], "text, encoded and used in {title}"),
            false => assert_eq!(found, [0; 3], "text, encoded and used in {title}"),
        }
    }
}

/// Serves a key, then another one.
fn comes_and_goes(first: &Pair, certs: &Certs, more: &str, needs: impl Fn(&str) -> bool) {
    let upstream = Server::echo();
    let second = certs.issue("second", crate::support::certs::Wish::default());
    let lines = format!("{}{}{more}", upstream.line(), first.lines());
    let adit = Plan::new().service("test", lines).start();
    talk(&adit, certs);
    let traces = Traces::of(&first.key);
    stands_where_it_must(&adit, &traces, needs);
    adit.rewrite(|text| text.replace(&first.lines(), &second.lines()));
    adit.reload(1);
    wait_for("the end of the first generation", || {
        let mut family = proc::family(adit.pid()).into_iter();
        (!family.any(|one| proc::title(one.pid).contains("generation 1"))).then_some(())
    });
    talk(&adit, certs);
    stands_where_it_must(&adit, &traces, |_| false);
}

#[test]
fn a_key_stands_once_in_each_process_that_needs_it_and_goes_with_a_reload() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let needs = |title: &str| {
        ["master", "spare", "worker"]
            .iter()
            .any(|role| title.contains(role))
    };
    comes_and_goes(&certs.server(), &certs, "", needs);
}

#[test]
fn a_key_for_old_tls_stands_in_its_zygotes_and_workers_alone() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let needs = |title: &str| title.contains("zygote") || title.contains("old worker");
    comes_and_goes(&certs.server(), &certs, "sslVersionMin = TLSv1\n", needs);
}
