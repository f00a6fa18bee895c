//! `adit audit` sees what each process is and may do, in the running program: what is wider than its role is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Kernel, Plan, proc, tls};

/// Reading filters takes a process without any (ptrace(2)).
fn can_read_filters() -> bool {
    proc::status(std::process::id() as i32)["Seccomp"] == "0"
}

const WHY: &str = "a process with seccomp filters cannot read another's";

fn audit(adit: &Adit, flags: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.arg("audit").args(flags).arg("--control");
    let command = command.arg(adit.plan.folder().join("control"));
    command.output().expect("adit audit")
}

/// The document, and whether something is wider than expected.
#[track_caller]
fn document(adit: &Adit) -> (Value, bool) {
    let output = audit(adit, &["--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout).expect(&said);
    (document, !output.status.success())
}

fn plan() -> Plan {
    let plan = Plan::new();
    let line = format!("control = {}", plan.folder().join("control").display());
    plan.global(line).global("workers = 2")
}

/// In a jail, as the user nobody.
fn jailed() -> Plan {
    let plan = plan();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let line = format!("chroot = {}", jail.display());
    plan.global(line)
        .global("setuid = nobody\nsetgid = nogroup")
}

fn service(certs: &Certs, upstream: &Server) -> String {
    upstream.line() + &certs.server().lines()
}

fn talk(adit: &Adit, certs: &Certs) -> tls::ClientStream {
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    tls::connect(config, adit.address("test"))
}

fn answers(process: &Value) -> BTreeMap<String, String> {
    let trials = process["trials"].as_array().expect("trials");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    trials
        .iter()
        .map(|tried| (text(&tried["call"]), text(&tried["answer"])))
        .collect()
}

/// What a role's process answers to each trial; landlock's and seccomp's errors, and what kills.
#[track_caller]
fn answer_as(process: &Value, wanted: [&str; 10]) {
    const CALLS: [&str; 10] = [
        "open", "mkdir", "fork", "exec", "socket", "connect", "ptrace", "kill", "setuid", "mmap",
    ];
    let wanted = CALLS.into_iter().zip(wanted);
    let wanted: BTreeMap<String, String> = wanted
        .map(|(call, answer)| (call.to_owned(), answer.to_owned()))
        .collect();
    assert_eq!(answers(process), wanted, "{}", process["role"]);
}

/// An adit with a process of every kind.
fn of_every_kind(certs: &Certs, upstream: &Server) -> Plan {
    let old = certs.issue("old", crate::support::certs::Wish::default());
    let client = format!(
        "client = yes\nlibwrap = yes\ntransparent = source\nverifyChain = yes\nOCSPaia = yes\n{}{}",
        certs.ca_line(),
        upstream.line()
    );
    jailed()
        .global("metrics = 127.0.0.1:0")
        .service("test", service(certs, upstream))
        .service("client", client)
        .service("program", "client = yes\nexec = /bin/cat")
        .service(
            "old",
            upstream.line() + &old.lines() + "sslVersionMin = TLSv1\n",
        )
}

#[test]
fn every_process_is_in_its_sandbox_and_has_no_right_that_its_role_does_not_need() {
    require!(root);
    require!(adit);
    require!(can_read_filters(), WHY);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let adit = of_every_kind(&certs, &upstream).start();
    adit.wait_for_log("Generation 1 has a spare");
    let (document, wider) = document(&adit);
    assert_eq!(document["findings"], serde_json::json!([]));
    assert_eq!(document["unseen"], serde_json::json!([]));
    assert!(!wider);
    let processes = document["processes"].as_array().expect("processes");
    let has_landlock = document["sandbox"]["landlock"] != 0;
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    let above = processes[0]["filters"].as_u64().expect("a number");
    for process in processes {
        let role = process["role"].as_str().expect("a role");
        *roles.entry(role).or_default() += 1;
        let own = process["filters"].as_u64().expect("a number") - above;
        let open = if has_landlock { "EACCES" } else { "allowed" };
        let [no, yes, killed] = ["EPERM", "allowed", "killed"];
        match role {
            "supervisor" => continue,
            "launcher" => {
                assert_eq!(own, 0);
                continue;
            }
            "master" | "spare" | "zygote" => answer_as(
                process,
                [open, no, yes, killed, yes, yes, killed, no, no, no],
            ),
            "worker" => answer_as(
                process,
                [open, no, no, killed, yes, yes, killed, no, no, no],
            ),
            "old worker" => answer_as(process, [no, no, no, killed, yes, yes, killed, no, no, no]),
            "resolver" | "fetcher" | "gatekeeper" => answer_as(
                process,
                [open, no, no, killed, yes, yes, killed, no, no, yes],
            ),
            "teller" => answer_as(process, [no, no, no, killed, no, no, killed, no, no, no]),
            "binder" => answer_as(process, [no, no, no, killed, yes, no, killed, no, no, no]),
            other => panic!("{other} is no role"),
        }
        let is_worker = role.ends_with("worker");
        assert_eq!(own, if is_worker { 6 } else { 3 }, "{role}");
        assert_eq!(process["dumpable"], false, "{role}");
        assert_eq!(process["no_new_privs"], true, "{role}");
        assert_eq!(process["groups"], serde_json::json!([]), "{role}");
    }
    let wanted = [
        ("binder", 1),
        ("fetcher", 1),
        ("gatekeeper", 1),
        ("launcher", 1),
        ("master", 1),
        ("old worker", 2),
        ("resolver", 1),
        ("spare", 1),
        ("supervisor", 1),
        ("teller", 1),
        ("worker", 2),
        ("zygote", 2),
    ];
    assert_eq!(roles, BTreeMap::from(wanted));
}

#[test]
fn groups_that_the_starter_has_are_given_up_by_all() {
    require!(root);
    require!(adit);
    require!(can_read_filters(), WHY);
    require!(program "setpriv");
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan = of_every_kind(&certs, &upstream);
    let adit = crate::proofs::with_groups(plan).start();
    adit.wait_for_log("Generation 1 has a spare");
    let groups = &proc::status(adit.pid())["Groups"];
    assert_eq!(groups, crate::proofs::GROUPS, "the test gives some");
    let (document, _) = document(&adit);
    assert_eq!(document["findings"], serde_json::json!([]));
    for process in document["processes"].as_array().expect("processes") {
        if process["role"] != "supervisor" {
            assert_eq!(process["groups"], serde_json::json!([]), "{process}");
        }
    }
}

#[test]
fn people_get_tables_and_no_connection_is_disturbed() {
    require!(root);
    require!(adit);
    require!(can_read_filters(), WHY);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let adit = of_every_kind(&certs, &upstream).start();
    let mut client = talk(&adit, &certs);
    let before = proc::family(adit.pid());
    for _ in 0..4 {
        peers::says_and_hears(&mut client, "hello");
        let output = audit(&adit, &[]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("\n old worker "), "{said}");
        peers::says_and_hears(&mut talk(&adit, &certs), "hello");
    }
    assert_eq!(proc::family(adit.pid()), before, "each process lives");
    adit.reload(1);
    peers::says_and_hears(&mut client, "hello");
    let (status, _) = adit.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn what_stays_root_is_wider_and_the_remedy_is_told() {
    require!(root);
    require!(adit);
    require!(can_read_filters(), WHY);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let adit = plan().service("test", service(&certs, &upstream)).start();
    let output = audit(&adit, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    let master = proc::roles(adit.pid()).master;
    let told = format!("Wider: master {master}: it is root (`setuid = USER`");
    assert!(said.contains(&told), "{said}");
    // Else it is as narrow as any: not a capability is left.
    for wider in [
        "capabilities are",
        "new privileges",
        "its memory",
        "may call",
    ] {
        assert!(!said.contains(wider), "{wider}: {said}");
    }
    assert!(!said.contains("Wider: resolver"), "it is nobody: {said}");
}

#[test]
fn what_a_kernel_lacks_is_wider_and_told_with_the_remedy() {
    require!(root);
    require!(adit);
    require!(can_read_filters(), WHY);
    let (certs, upstream) = (Certs::new(), Server::echo());
    for (lacks, told) in [
        (
            libc::SYS_landlock_create_ruleset,
            "No landlock on this kernel",
        ),
        (libc::SYS_seccomp, "No seccomp filters on this kernel"),
    ] {
        let plan = jailed().kernel(Kernel::lacks(&[lacks]));
        let adit = plan.service("test", service(&certs, &upstream)).start();
        let (document, wider) = document(&adit);
        assert!(wider);
        let findings = document["findings"].as_array().expect("findings");
        let is_told = findings.iter().any(|found| {
            let remedy = found["remedy"].as_str().unwrap_or_default();
            found["role"] == "worker" && remedy.contains(told)
        });
        assert!(is_told, "{findings:?}");
    }
}

#[test]
fn another_user_than_root_is_told_what_could_not_be_seen() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let pair = certs.server();
    fs::set_permissions(&pair.key, fs::Permissions::from_mode(0o644)).expect("chmod");
    let lines = upstream.line() + &pair.lines();
    let adit = plan().user(65534, 65534).service("test", lines).start();
    let mut command = Command::new(adit.plan.folder().join("program"));
    command.arg("audit").arg("--control");
    let command = command.arg(adit.plan.folder().join("control"));
    let output = command.uid(65534).gid(65534).output().expect("a command");
    let said = String::from_utf8_lossy(&output.stdout);
    let worker = proc::roles(adit.pid()).workers[0];
    for part in ["descriptors", "what it may do"] {
        let told = format!("Not seen: worker {worker}: {part}: ");
        assert!(said.contains(&told), "{said}");
    }
    assert!(output.status.success(), "{said}");
}

#[test]
fn without_an_adit_that_runs_there_is_nothing_to_see() {
    require!(adit);
    let plan = plan();
    let control = plan.folder().join("control");
    let mut command = Command::new(program());
    let output = command.arg("audit").arg("--control").arg(control).output();
    let output = output.expect("a command");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("adit is not running"), "{said}");
}
