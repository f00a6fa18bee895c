//! At SIGHUP a new binary takes over in the supervisor's own process, and no connection is refused or
//! cut; a bad one is given up, and the old one keeps running.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::reload::Scene;
use crate::require;
use crate::supervision::send;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, proc, tls, wait_for};

/// A copy of the program, which can be replaced as by a package manager.
struct Installed {
    plan: Plan,
    path: PathBuf,
}

impl Installed {
    fn new() -> Installed {
        let plan = Plan::new();
        let path = plan.folder().join("adit");
        fs::copy(program(), &path).expect("copy");
        let plan = plan.program(&path);
        Installed { plan, path }
    }
}

/// Puts another file in its place, under its name.
fn replace(path: &Path, content: &[u8]) {
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new).expect("create");
    file.write_all(content).expect("write");
    file.set_permissions(fs::Permissions::from_mode(0o755))
        .expect("chmod");
    drop(file);
    fs::rename(new, path).expect("rename");
}

/// The same program as another file: bytes after the end of an ELF file mean nothing.
pub fn next_version(path: &Path) {
    let mut content = fs::read(path).expect("read");
    content.extend(b"another version");
    replace(path, &content);
}

#[test]
fn a_new_binary_takes_over_and_nothing_is_refused_or_cut() {
    require!(root);
    require!(adit);
    let Installed { plan, path } = Installed::new();
    let scene = Scene::of(plan);
    let supervisor = scene.adit.pid();
    let master = proc::roles(supervisor).master;
    let filters = || proc::status(supervisor).remove("Seccomp_filters");
    let before = filters();
    for version in 1..=3 {
        next_version(&path);
        scene.adit.reload(2);
        scene.adit.wait_for_log_times("has taken over", version);
    }
    assert_eq!(filters(), before, "one is enough");
    // The same process, another program: the one now at that path.
    let running = fs::metadata(format!("/proc/{supervisor}/exe")).expect("the supervisor");
    assert_eq!(running.len(), fs::metadata(&path).expect("installed").len());
    let resolver = proc::roles(supervisor).resolver;
    let resolver = fs::metadata(format!("/proc/{resolver}/exe")).expect("the resolver");
    assert_eq!(resolver.ino(), running.ino(), "the old program resolves");
    // The first generation, of the first program, still carries the transfer.
    assert!(proc::alive(master));
    scene.survives();
}

#[test]
fn what_a_new_binary_took_over_it_can_also_stop() {
    require!(root);
    require!(adit);
    let Installed { plan, path } = Installed::new();
    let pid_file = plan.folder().join("jail/adit.pid");
    let scene = Scene::of(plan.global("pid = /adit.pid"));
    let family = proc::family(scene.adit.pid());
    next_version(&path);
    scene.adit.reload(2);
    scene.adit.wait_for_log("has taken over");
    let pid = fs::read_to_string(&pid_file).expect("a pid file");
    assert_eq!(pid.trim(), scene.adit.pid().to_string());
    scene.adit.signal(Signal::SIGTERM);
    scene.adit.wait_for_log("Terminated");
    // What the old program started exits too.
    proc::wait_for_end(&family[1..]);
    wait_for("the pid file's end", || (!pid_file.exists()).then_some(()));
}

#[test]
fn a_master_that_was_taken_over_is_replaced_as_it_was_though_the_file_is_another() {
    require!(root);
    require!(adit);
    let Installed { plan, path } = Installed::new();
    let (certs, upstream) = (Certs::new(), Server::echo());
    let connect = format!("connect = localhost:{}\n", upstream.address.port());
    let lines = connect + &certs.server().lines();
    let adit = plan.service("test", lines.clone()).start();
    let (spare, roles) = (proc::spare(adit.pid()), proc::roles(adit.pid()));
    // What follows the take-over waits for a name, and is not in force.
    proc::freeze(roles.resolver);
    adit.rewrite(|text| format!("{text}\n[other]\naccept = 127.0.0.1:0\n{lines}"));
    next_version(&path);
    adit.signal(Signal::SIGHUP);
    adit.wait_for_log("has taken over");
    send(roles.master, Signal::SIGKILL);
    adit.wait_for_log("serves in place of the dead one");
    assert_eq!(adit.count_in_log("The spare could not"), 0);
    assert_eq!(proc::spare(adit.pid()), spare);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
}

#[test]
fn a_binary_that_crashes_at_its_start_is_given_up_and_the_old_goes_on() {
    require!(root);
    require!(adit);
    require!(program "python3");
    let Installed { plan, path } = Installed::new();
    let control = format!("control = {}", plan.folder().join("control").display());
    let scene = Scene::of(plan.global(control));
    let another = fs::read("/bin/true").expect("another program that ends well");
    let larger = expects_more_memory();
    let broken = [
        b"no program at all",
        &b"#!/bin/sh\nkill -SEGV $$\n"[..],
        &another,
        larger.as_bytes(),
    ];
    for (nth, broken) in broken.into_iter().enumerate() {
        replace(&path, broken);
        scene.adit.reload(2);
        scene
            .adit
            .wait_for_log_times("The running binary stays in use", nth + 1);
    }
    scene.adit.wait_for_log(
        "cannot take over: shared memory of an unexpected size; only a restart puts it into use",
    );
    assert_eq!(scene.adit.count_in_log("has taken over"), 0);
    let reload = Command::new(program())
        .arg("reload")
        .arg(scene.adit.plan.file())
        .output();
    let reload = reload.expect("adit reload");
    let said = String::from_utf8_lossy(&reload.stderr);
    assert!(reload.status.success(), "{said}");
    assert!(said.contains("is still the program from before"), "{said}");
    scene.survives();
}

/// A program with which a generation's memory is larger than it is with this one.
fn expects_more_memory() -> String {
    format!(
        "#!/usr/bin/python3
import json, os, sys
task, state, proof = os.environ['_ADIT_TAKEOVER'].split(':')
state = json.loads(os.pread(int(state), 1 << 20, 0))
for generation in state['generations']:
    generation['workers'] += 1
other = os.memfd_create('state', 0)
os.write(other, json.dumps(state).encode())
os.environ['_ADIT_TAKEOVER'] = f'{{task}}:{{other}}:{{proof}}'
os.execv('{program}', ['{program}'] + sys.argv[1:])
",
        program = program().display()
    )
}
