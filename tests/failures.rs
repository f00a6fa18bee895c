//! `adit status` tells the last failure of each service with its cause, its client and what to do, and what it has told
//! outlives a reload, a dead master and an upgrade.

use std::net::Shutdown;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bad_input::failure_of_adit;
use crate::require;
use crate::supervision::send;
use crate::support::certs::Wish;
use crate::support::dialogue::SMTP;
use crate::support::peers::{self, Server};
use crate::support::{
    Adit, Certs, DeadAddress, Plan, adit::program, dead_address, proc, tls, wait_for,
};
use crate::upgrade::next_version;

/// A plan with a control socket.
fn plan() -> Plan {
    let plan = Plan::new();
    let control = plan.folder().join("control");
    plan.global(format!("control = {}\nworkers = 2", control.display()))
}

/// The failures of a service of the serving generation, the latest first.
fn failures(adit: &Adit, service: &str) -> Vec<Value> {
    let status = adit.status();
    let generations = status["generations"].as_array().expect("generations");
    let serving = generations.iter().find(|g| g["state"] == "serving");
    let services = serving.and_then(|g| g["services"].as_array());
    let mut services = services.into_iter().flatten();
    let service = services.find(|s| s["name"] == service);
    let failures = service.and_then(|s| s["failures"].as_array());
    failures.cloned().unwrap_or_default()
}

/// The one failure of a service, once it has come so often.
#[track_caller]
fn wait_for_failure(adit: &Adit, service: &str, cause: &str, count: u64) -> Value {
    let found = wait_for(&format!("{count} {cause} of [{service}]"), || {
        let failures = failures(adit, service);
        let found = failures.iter().find(|f| f["cause"] == cause)?;
        (found["count"] == count).then(|| found.clone())
    });
    assert_eq!(failures(adit, service).len(), 1, "{found}");
    found
}

fn text<'a>(failure: &'a Value, field: &str) -> &'a str {
    failure[field].as_str().expect("text")
}

fn client_mode(certs: &Certs, upstream: &Server, more: &str) -> String {
    let (connect, ca) = (upstream.line(), certs.ca_line());
    format!("client = yes\n{connect}{ca}verifyChain = yes\n{more}")
}

/// A service to where nothing listens.
fn leads_to(dead: &DeadAddress) -> String {
    let address = dead.address;
    format!("client = yes\nverifyChain = no\nconnect = {address}\n")
}

#[test]
fn each_kind_of_failure_is_told_with_its_cause_and_a_remedy() {
    require!(adit);
    let (certs, strangers) = (Certs::new(), Certs::named("stranger"));
    let good = tls::echo_server(&certs, tls::BOTH);
    let foreign = tls::echo_server(&strangers, tls::BOTH);
    let refusing = SMTP.refusing(SMTP.refusal.to_owned());
    let plain = Server::greeting("220 mail.example ESMTP\r\n");
    let wants = tls::server_config(&certs.server(), tls::ONLY_13, Some(&certs.ca()));
    let wants = tls::server(wants, |_| {});
    let (silent, dead) = (Server::silent(), dead_address());
    let serving = format!(
        "{}{}{}verifyChain = yes\nrequireCert = yes\n",
        good.line(),
        certs.server().lines(),
        certs.ca_line()
    );
    let table = [
        (
            "refused",
            leads_to(&dead),
            "upstream_refused",
            "start the server",
        ),
        (
            "name",
            client_mode(&certs, &good, "checkHost = other.example\n"),
            "server_certificate_name",
            "checkHost",
        ),
        (
            "issuer",
            client_mode(&certs, &foreign, ""),
            "server_certificate_issuer",
            "CAfile",
        ),
        (
            "starttls",
            client_mode(&certs, &refusing, "protocol = smtp\n"),
            "no_starttls",
            "587",
        ),
        (
            "greeting",
            client_mode(&certs, &plain, ""),
            "not_tls",
            "protocol = smtp",
        ),
        // In TLS 1.3 it says so after the handshake.
        (
            "wants",
            client_mode(&certs, &wants, ""),
            "own_certificate_missing",
            "set cert",
        ),
        (
            "silent",
            client_mode(&certs, &silent, "TIMEOUTbusy = 1\n"),
            "timed_out",
            "STARTTLS",
        ),
        (
            "late",
            client_mode(&certs, &silent, "TIMEOUTbusy = 1\nprotocol = imap\n"),
            "timed_out",
            "993",
        ),
        (
            "denied",
            client_mode(&certs, &good, "denyFrom = 127.0.0.0/8\n"),
            "refused",
            "acceptFrom",
        ),
        ("no TLS", serving, "not_tls", "port"),
    ];
    let plan = table.iter().fold(plan(), |plan, (name, lines, _, _)| {
        plan.service(name, lines)
    });
    let adit = plan.start();
    let mut clients = Vec::new();
    for (name, ..) in &table {
        let mut client = adit.connect(name);
        if *name == "no TLS" {
            let _ = std::io::Write::write_all(&mut client, b"EHLO localhost\r\n");
        }
        clients.push((client.local_addr().expect("address"), client));
    }
    for ((name, _, cause, remedy), (address, mut client)) in table.iter().zip(clients) {
        let failure = wait_for_failure(&adit, name, cause, 1);
        assert!(text(&failure, "remedy").contains(remedy), "{failure}");
        assert!(!text(&failure, "reason").is_empty(), "{failure}");
        assert_eq!(text(&failure, "peer"), address.to_string());
        assert_eq!(failure["first"], failure["last"]);
        // The log says the same.
        adit.wait_for_log(text(&failure, "reason"));
        let _ = client.shutdown(Shutdown::Both);
        let _ = peers::read_until_gone(&mut client);
    }
}

#[test]
fn failures_outlive_a_reload_a_dead_master_and_an_upgrade_and_stand_once() {
    require!(adit);
    let plan = plan();
    let path = plan.folder().join("adit");
    std::fs::copy(program(), &path).expect("copy");
    let dead = dead_address();
    let adit = plan.program(&path).service("test", leads_to(&dead)).start();
    let fail = || drop(peers::read_until_gone(&mut adit.connect("test")));
    fail();
    let first = wait_for_failure(&adit, "test", "upstream_refused", 1);
    adit.rewrite(|text| format!("{text}TIMEOUTclose = 1\n"));
    adit.reload(1);
    assert_eq!(failures(&adit, "test"), std::slice::from_ref(&first));
    fail();
    let second = wait_for_failure(&adit, "test", "upstream_refused", 2);
    assert_eq!(second["first"], first["first"]);

    let master = proc::roles(adit.pid()).master;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(master), Signal::SIGKILL).expect("kill");
    adit.wait_for_log("in place of the dead one");
    assert_eq!(failures(&adit, "test"), [second]);
    fail();
    let third = wait_for_failure(&adit, "test", "upstream_refused", 3);

    next_version(&path);
    adit.reload(1);
    adit.wait_for_log("has taken over");
    assert_eq!(failures(&adit, "test"), [third]);
    fail();
    let fourth = wait_for_failure(&adit, "test", "upstream_refused", 4);
    assert_eq!(fourth["first"], first["first"]);
}

#[test]
fn reloads_that_fail_and_certificates_that_end_are_told_too() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let soon = certs.issue(
        "soon",
        Wish {
            ends_in: Some(5 * 86_400),
            ..Wish::default()
        },
    );
    let lines = format!("{}{}", upstream.line(), soon.lines());
    let adit = plan().service("test", lines).start();
    let ends = wait_for_failure(&adit, "test", "certificate_ends", 1);
    assert!(text(&ends, "reason").contains("expires in "));

    let own = |count: u64, reason: &str, remedy: &str| {
        let failure = wait_for(&format!("{count} failed reload(s)"), || {
            let failure = adit.status()["failures"][0].clone();
            (failure["count"] == count).then_some(failure)
        });
        assert_eq!(failure["cause"], "reload");
        assert!(text(&failure, "reason").contains(reason), "{failure}");
        assert!(text(&failure, "remedy").contains(remedy), "{failure}");
    };
    // The supervisor finds this one, and a candidate the next.
    adit.rewrite(|text| format!("{text}TIMEOUTidel = 1\n"));
    adit.reload_refused(&["TIMEOUTidel"]);
    own(1, "TIMEOUTidel", "TIMEOUTidle");
    let missing = adit.plan.folder().join("no-such.pem");
    adit.rewrite(|text| {
        let text = text.replace("TIMEOUTidel", "TIMEOUTidle");
        format!("{text}CAfile = {}\nverifyChain = yes\n", missing.display())
    });
    adit.reload_refused(&["no-such.pem"]);
    own(2, "no-such.pem", "");

    let control = adit.plan.folder().join("control");
    let mut command = std::process::Command::new(program());
    let plain = command.args(["status", "--control"]).arg(&control);
    let answer = plain.output().expect("adit status");
    let answer = String::from_utf8(answer.stdout).expect("text");
    assert!(answer.contains("Warning: the reload of "), "{answer}");
    assert!(answer.contains("no-such.pem"), "{answer}");
    let mut command = std::process::Command::new(program());
    let asked = command
        .args(["status", "--failures", "--control"])
        .arg(control);
    let answer = asked.output().expect("adit status");
    let answer = String::from_utf8(answer.stdout).expect("text");
    for told in [
        "A reload failed",
        "  2 time(s), last ",
        "(certificate_ends)",
        "  of [test]",
        "What to do: ",
    ] {
        assert!(answer.contains(told), "{told:?} in {answer}");
    }
    let answer = asked.arg("--json").output().expect("adit status");
    let causes: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    // Both may have come in the same second.
    let all = causes.as_array().expect("a list");
    let of = |cause: &str| all.iter().find(|one| one["cause"] == cause);
    let services = |cause: &str| of(cause).map(|one| one["services"].clone());
    assert_eq!(services("reload"), Some(serde_json::json!([])));
    assert_eq!(
        services("certificate_ends"),
        Some(serde_json::json!(["test"]))
    );
    assert_eq!(failures(&adit, "test"), [ends]);
}

#[test]
fn deaths_of_adits_own_processes_are_told_with_a_remedy_and_outlive_the_master() {
    require!(adit);
    let upstream = Server::echo();
    let plan = plan().global("metrics = 127.0.0.1:0");
    let adit = plan
        .service("test", format!("client = yes\n{}", upstream.line()))
        .start();
    let proc::Roles {
        resolver,
        master,
        workers,
        ..
    } = proc::roles(adit.pid());
    let killed = |pid: i32, count: u64, told: &str| {
        send(pid, Signal::SIGKILL);
        let kept = wait_for(told, || {
            let kept = failure_of_adit(&adit, "process")?;
            (kept["count"] == count).then_some(kept)
        });
        let reason = text(&kept, "reason");
        assert!(
            reason.contains(told) && reason.contains(&pid.to_string()),
            "{kept}"
        );
        assert!(text(&kept, "remedy").contains("`dmesg`"), "{kept}");
    };
    killed(
        workers[0],
        1,
        "was killed by SIGKILL, and its connections with it",
    );
    killed(resolver, 2, "The resolver (PID ");
    killed(master, 3, "The master of generation 1 (PID ");
    adit.wait_for_log("serves in place of the dead one");
    let address = crate::metrics::address(&adit);
    let asked = crate::metrics::get(address, "/metrics");
    let count = crate::metrics::value(&asked, "adit_failures_total{cause=\"process\"}");
    assert_eq!(count, 3);
    let page = crate::metrics::get(address, "/");
    assert!(
        page.contains(
            "A process of adit&#39;s has died, or stood still: The master of generation 1"
        ),
        "{page}"
    );
    assert!(failures(&adit, "test").is_empty());
}
