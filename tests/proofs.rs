//! adit refuses to run where giving up its rights has not worked. A kernel that says yes and does nothing plays the
//! fault: without the proof nothing would show it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::require;
use crate::support::adit::program;
use crate::support::peers::Server;
use crate::support::{Certs, Kernel, Plan, proc, wait_for};

/// The supplementary groups of [`with_groups`], as `/proc/PID/status` has them.
pub const GROUPS: &str = "4 24";

/// The same, started with groups that a runner of tests may not have.
pub fn with_groups(plan: Plan) -> Plan {
    let wrapper = plan.folder().join("wrapper");
    let groups = GROUPS.replace(' ', ",");
    let text = format!(
        "#!/bin/sh\nexec setpriv --groups {groups} {} \"$@\"\n",
        program().display()
    );
    fs::write(&wrapper, text).expect("writing");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("chmod");
    plan.program(wrapper)
}

/// Answers as if it had been done.
fn pretends(call: i64, arguments: &[(u32, u32)]) -> Kernel {
    Kernel::default().answering(call, arguments, 0)
}

/// It does not serve, and says why, by one of these reasons.
#[track_caller]
fn refuses(kernel: Kernel, globals: &str, reasons: &[&str]) {
    let certs = Certs::new();
    let plan = Plan::new().kernel(kernel);
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let service = Server::echo().line() + &certs.server().lines();
    let plan = plan
        .global(format!("chroot = {}", jail.display()))
        .global(globals)
        .service("test", service);
    let outcome = with_groups(plan).run();
    let told = |reason: &&str| outcome.said.contains(&format!("refusing to run: {reason}"));
    assert!(reasons.iter().any(told), "{reasons:?}: {}", outcome.said);
    outcome.exits(1);
}

const NOBODY: &str = "setuid = nobody\nsetgid = nogroup";

#[test]
fn a_step_into_the_jail_that_does_nothing_is_noticed() {
    require!(root);
    require!(adit);
    require!(program "setpriv");
    let prctl = |option: i32| pretends(libc::SYS_prctl, &[(0, option as u32)]);
    for (kernel, globals, told) in [
        (
            pretends(libc::SYS_chroot, &[]),
            NOBODY,
            "the system's /etc/passwd can still be opened",
        ),
        (
            // That of the test's own groups is done.
            pretends(libc::SYS_setgroups, &[(0, 0)]),
            NOBODY,
            "supplementary groups remain",
        ),
        (
            pretends(libc::SYS_setresgid, &[]),
            NOBODY,
            "the group is 0, not 65534",
        ),
        (
            pretends(libc::SYS_setresuid, &[]),
            NOBODY,
            "the user is 0, not 65534",
        ),
        // Without another user capabilities do not go by themselves.
        (
            pretends(libc::SYS_capset, &[]),
            "",
            "the effective capability set is not empty",
        ),
        (
            prctl(libc::PR_CAPBSET_DROP),
            "",
            "the bounding capability set is not empty",
        ),
        (
            prctl(libc::PR_SET_NO_NEW_PRIVS),
            "",
            "new privileges can be gained",
        ),
        // setresuid(2) would make it so by itself.
        (
            prctl(libc::PR_SET_DUMPABLE),
            "",
            "others of its user can look into its memory",
        ),
    ] {
        refuses(kernel, globals, &[told]);
    }
}

#[test]
fn a_sandbox_that_is_not_in_force_is_noticed() {
    require!(root);
    require!(adit);
    require!(program "setpriv");
    let filter = (0, libc::SECCOMP_SET_MODE_FILTER);
    // A helper looks into /proc; the master, which has none in the jail, tries. Either may be first.
    let filters = [
        "the number of seccomp filters is wrong",
        "a file can still be opened for writing",
    ];
    let reads = ["a folder can still be opened"];
    refuses(pretends(libc::SYS_seccomp, &[filter]), NOBODY, &filters);
    let landlock = pretends(libc::SYS_landlock_restrict_self, &[]);
    refuses(landlock, NOBODY, &reads);
}

/// In memory that workers can write to.
fn rewrite_on_the_scoreboard(supervisor: i32, before: i32, after: i32) {
    let mut rewritten = 0;
    for (number, target) in proc::descriptors(supervisor) {
        if !target.starts_with("/memfd:") {
            continue;
        }
        let path = format!("/proc/{supervisor}/fd/{number}");
        let memory = fs::File::options().read(true).write(true).open(path);
        let memory = memory.expect("root opens it");
        let mut bytes = vec![0; memory.metadata().expect("its size").len() as usize];
        memory.read_exact_at(&mut bytes, 0).expect("its content");
        for (word, at) in bytes.chunks_exact(8).zip((0..).step_by(8)) {
            if word == u64::from(before.unsigned_abs()).to_ne_bytes() {
                let word = u64::from(after.unsigned_abs()).to_ne_bytes();
                memory.write_all_at(&word, at).expect("written");
                rewritten += 1;
            }
        }
    }
    assert!(rewritten > 0, "no scoreboard has {before}");
}

#[test]
fn a_helper_that_a_worker_names_as_itself_is_not_taken_for_a_worker() {
    require!(root);
    require!(adit);
    let certs = Certs::new();
    let plan = Plan::new();
    let line = format!("control = {}", plan.folder().join("control").display());
    let service = Server::echo().line() + &certs.server().lines();
    let adit = plan.global(line).service("test", service).start();
    proc::spare(adit.pid());
    let roles = proc::roles(adit.pid());
    rewrite_on_the_scoreboard(adit.pid(), roles.workers[0], roles.resolver);
    let master = nix::unistd::Pid::from_raw(roles.master);
    nix::sys::signal::kill(master, nix::sys::signal::Signal::SIGKILL).expect("a master");
    adit.wait_for_log("serves in place of the dead one");
    wait_for("the end of what the dead master has left", || {
        let status = adit.status();
        let generations = status["generations"].as_array()?;
        (generations.len() == 1 && generations[0]["state"] == "serving").then_some(())
    });
    assert!(proc::alive(roles.resolver));
}
