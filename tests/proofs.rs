//! adit refuses to run where giving up its rights has not worked. A kernel that says yes and does nothing plays the
//! fault: without the proof nothing would show it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::Server;
use crate::support::{Certs, Kernel, Plan};

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

/// It does not serve, and says why.
#[track_caller]
fn refuses(kernel: Kernel, globals: &str, told: &str) {
    let certs = Certs::new();
    let plan = Plan::new().kernel(kernel);
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let service = Server::echo().line() + &certs.server().lines();
    let plan = plan
        .global(format!("chroot = {}", jail.display()))
        .global(globals)
        .service("test", service);
    let told = format!("refusing to run: {told}");
    with_groups(plan).run().says(&[&told]).exits(1);
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
        refuses(kernel, globals, told);
    }
}

#[test]
fn a_sandbox_that_is_not_in_force_is_noticed() {
    require!(root);
    require!(adit);
    require!(program "setpriv");
    let filter = (0, libc::SECCOMP_SET_MODE_FILTER);
    for (kernel, told) in [
        (
            pretends(libc::SYS_seccomp, &[filter]),
            "the number of seccomp filters is wrong",
        ),
        (
            pretends(libc::SYS_landlock_restrict_self, &[]),
            "a folder can still be opened",
        ),
    ] {
        refuses(kernel, NOBODY, told);
    }
}
