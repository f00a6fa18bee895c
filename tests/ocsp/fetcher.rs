//! The process that asks responders runs as the user `nobody`, and is replaced when it dies.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::peers;
use crate::support::responder::{GOOD, Responder, Way};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

use super::{Counting, accepted, client_mode, issue};

#[test]
fn a_silent_responder_costs_one_connection_its_time_and_no_other() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    let responder = Responder::start(&certs, Way::Never);
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::BOTH);
    let lines = format!(
        "client = yes\n{}{}verifyChain = yes\n",
        upstream.server.line(),
        certs.ca_line()
    );
    let asking = format!("{lines}OCSP = {}\nTIMEOUTocsp = 2\n", responder.url());
    let adit = Plan::new()
        .global("workers = 1\nthreads = 1")
        .service("test", asking)
        .service("other", lines)
        .start();
    let began = Instant::now();
    let mut waiting = adit.connect("test");
    wait_for("the request", || (responder.asked() == 1).then_some(()));
    peers::says_and_hears(&mut adit.connect("other"), "while the first one waits");
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "the other had to wait"
    );
    let heard = peers::read_until_gone(&mut waiting).unwrap_or_default();
    assert!(heard.is_empty());
    assert!(began.elapsed() >= Duration::from_secs(2));
    adit.wait_for_log("TIMEOUTocsp exceeded");
    adit.wait_for_log("OCSP: Rejected (OCSPrequire = yes)");
}

fn fetcher(adit: &Adit) -> Option<i32> {
    let below = proc::children(adit.pid());
    below
        .into_iter()
        .find(|&pid| proc::title(pid) == "adit: fetcher")
}

#[test]
fn the_fetcher_is_there_where_it_is_needed_and_comes_back_when_it_dies() {
    require!(adit);
    require!(program "openssl");
    let certs = Certs::new();
    // Which is never resumed, so that each connection asks.
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::ONLY_12);
    let adit = client_mode(&upstream.server, &certs, "");
    accepted(&adit);
    assert_eq!(fetcher(&adit), None, "nothing asks it");
    let responder = Responder::start(&certs, Way::Plainly);
    let line = format!("OCSP = {}\nOCSPnonce = yes\n", responder.url());
    adit.rewrite(|text| text + &line);
    adit.reload(1);
    // Before its fetcher has come, too.
    accepted(&adit);
    let first = wait_for("the fetcher", || fetcher(&adit));
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("killing");
    wait_for("another fetcher", || {
        fetcher(&adit).filter(|pid| *pid != first)
    });
    accepted(&adit);
    assert_eq!(responder.asked(), 2);
    adit.rewrite(|text| text.replace(&line, ""));
    adit.reload(1);
    wait_for("no fetcher", || fetcher(&adit).is_none().then_some(()));
    accepted(&adit);
}

#[test]
fn the_fetcher_is_nobody_and_can_execute_nothing() {
    require!(adit);
    require!(root);
    let certs = Certs::new();
    let upstream = Counting::start(&issue(&certs, GOOD, None), tls::BOTH);
    let adit = client_mode(&upstream.server, &certs, "OCSPaia = yes\n");
    let pid = wait_for("the fetcher", || fetcher(&adit));
    let status = proc::status(pid);
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("passwd")
        .expect("nobody");
    assert!(
        status["Uid"].starts_with(&format!("{}\t", nobody.uid)),
        "{status:?}"
    );
    assert_eq!(status["CapEff"], "0000000000000000");
    assert_eq!(status["NoNewPrivs"], "1");
    assert_eq!(status["Seccomp"], "2");
    assert_eq!(proc::listeners(pid), 0);
}
