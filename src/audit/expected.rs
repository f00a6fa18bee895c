//! What each role is to be at most: one table, and what is wider than that. Never in here: a look at a process.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::process::{Capabilities, Process};
use super::tree::Role;
use super::trials::Trial;
use crate::helper::Kind;
use crate::sandbox::Strength;

/// Something that a process may and its role does not need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub pid: i32,
    pub role: Role,
    pub what: String,
    pub remedy: &'static str,
}

/// The most that a role may.
#[derive(Debug, Clone, Copy)]
struct Expected {
    /// Root's rights, as those of the user who started adit.
    privileges: Privileges,
    /// Filters of its own and of the processes that it is a fork of, beside the supervisor's.
    filters: u32,
    /// What it executes may gain rights by a set-user-ID bit.
    gains: bool,
    /// It may hold a listener.
    listens: bool,
    /// What must fail.
    refused: &'static [Trial],
}

/// Capabilities, and whether the role may be root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Privileges {
    /// Whatever it was started with.
    All,
    /// The user of `setuid`, without a capability; another process may be started with the bounding set.
    Bounded,
    /// The user of `setuid`, and these capabilities alone.
    These(u64),
}

/// CAP_NET_RAW of capabilities(7).
pub(super) const NET_RAW: u64 = 1 << 13;
/// CAP_SYS_ADMIN, with which a filter needs no no_new_privs.
const SYS_ADMIN: u64 = 1 << 21;

use Trial::{Connect, Exec, Fork, Kill, Mkdir, Open, Ptrace, SetUid, Socket, WriteExec};

/// What a role is to be at most; `None`: not adit's business.
fn expected(role: Role) -> Option<Expected> {
    const NONE: Privileges = Privileges::These(0);
    let of = |privileges, filters, listens, refused| Expected {
        privileges,
        filters,
        gains: false,
        listens,
        refused,
    };
    Some(match role {
        // Programs of `exec` inherit what it gives up: set-user-ID bits, memory for code that is made at run time.
        Role::Supervisor => Expected {
            gains: true,
            ..of(Privileges::All, 1, true, &[Ptrace])
        },
        Role::Master => of(
            NONE,
            3,
            true,
            &[Open, Mkdir, Exec, Ptrace, SetUid, WriteExec],
        ),
        Role::Spare | Role::Zygote => of(
            NONE,
            3,
            false,
            &[Open, Mkdir, Exec, Ptrace, SetUid, WriteExec],
        ),
        Role::Worker | Role::OldWorker => of(
            NONE,
            6,
            false,
            &[Open, Mkdir, Fork, Exec, Ptrace, Kill, SetUid, WriteExec],
        ),
        // Modules of nsswitch.conf(5) are mapped to be executed.
        Role::Helper(Kind::Resolver | Kind::Fetcher | Kind::Gatekeeper | Kind::Keeper) => of(
            NONE,
            3,
            false,
            &[Open, Mkdir, Fork, Exec, Ptrace, Kill, SetUid],
        ),
        Role::Helper(Kind::Teller) => of(
            NONE,
            3,
            true,
            &[
                Open, Mkdir, Fork, Exec, Socket, Connect, Ptrace, Kill, SetUid, WriteExec,
            ],
        ),
        Role::Helper(Kind::Binder) => of(
            Privileges::These(NET_RAW),
            3,
            false,
            &[
                Open, Mkdir, Fork, Exec, Connect, Ptrace, Kill, SetUid, WriteExec,
            ],
        ),
        // Its programs would inherit a sandbox.
        Role::Helper(Kind::Launcher) => Expected {
            gains: true,
            ..of(Privileges::Bounded, 0, false, &[])
        },
        Role::Other => return None,
    })
}

const NO_USER: &str =
    "`setuid = USER` before the first section: a user of its own, who owns no file";
const RESTART: &str =
    "restart adit; if it stays so, this is a fault of adit or of the system: report it";

const ALLOW_A_FILTER: &str = "what confines adit forbids it: let it have CAP_SYS_ADMIN, or give its unit \
     `NoNewPrivileges=yes`";

/// Everything that is wider, process by process.
pub(super) fn findings(processes: &[Process], sandbox: Option<Strength>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(supervisor) = processes.first().filter(|p| p.role == Role::Supervisor) else {
        return findings;
    };
    let strength = sandbox.unwrap_or_else(Strength::of_this_kernel);
    for process in processes {
        let Some(mut expected) = expected(process.role) else {
            continue;
        };
        let may_filter = process.no_new_privs || process.capabilities.effective & SYS_ADMIN != 0;
        if process.role == Role::Supervisor && !may_filter {
            (expected.filters, expected.refused) = (0, &[]);
        }
        let parent = processes.iter().find(|other| other.pid == process.parent);
        let judging = Judging {
            process,
            expected,
            supervisor,
            strength,
        };
        let found = [
            judging.user(),
            judging.capabilities(),
            judging.sandbox(),
            judging.place(parent),
            judging.trials(),
        ];
        let found = found.into_iter().flatten();
        findings.extend(found.map(|(what, remedy)| Finding {
            pid: process.pid,
            role: process.role,
            what,
            remedy,
        }));
    }
    findings
}

type Found = Vec<(String, &'static str)>;

/// One process, held against its role.
struct Judging<'a> {
    process: &'a Process,
    expected: Expected,
    supervisor: &'a Process,
    strength: Strength,
}

impl Judging<'_> {
    /// Only root can become another user, and give up groups.
    fn is_roots(&self) -> bool {
        self.supervisor.uid[1] == 0
    }

    fn user(&self) -> Found {
        let mut found = Vec::new();
        if self.expected.privileges == Privileges::All {
            return found;
        }
        let process = self.process;
        if process.uid.contains(&0) {
            found.push(("it is root".to_owned(), NO_USER));
        } else if self.is_roots() {
            if process.gid.contains(&0) {
                found.push((
                    "its group is root's".to_owned(),
                    "`setgid = GROUP` before the first section",
                ));
            }
            let own = process.gid[1];
            if process.groups.iter().any(|&group| group != own) {
                let groups = format!("it has the groups {:?}", process.groups);
                found.push((groups, RESTART));
            }
        }
        found
    }

    fn capabilities(&self) -> Found {
        let most = match self.expected.privileges {
            Privileges::All => return Vec::new(),
            Privileges::Bounded => 0,
            Privileges::These(most) => most,
        };
        let has = self.process.capabilities;
        // No other user than root can give up what it could have; a launcher that stays root is told of as that.
        let bounding = match self.is_roots() && self.expected.privileges != Privileges::Bounded {
            true => has.bounding,
            false => 0,
        };
        let stays =
            self.expected.privileges == Privileges::Bounded && self.process.uid.contains(&0);
        let Capabilities {
            inheritable,
            permitted,
            effective,
            ambient,
            ..
        } = has;
        [
            ("inheritable", inheritable),
            ("permitted", permitted),
            ("effective", effective),
            ("bounding", bounding),
            ("ambient", ambient),
        ]
        .into_iter()
        .filter(|(_, set)| set & !most != 0 && !stays)
        .map(|(name, set)| (format!("its {name} capabilities are {set:x}"), RESTART))
        .collect()
    }

    fn sandbox(&self) -> Found {
        let (process, expected) = (self.process, self.expected);
        let mut found = Vec::new();
        if process.threads_differ {
            let what = "a thread has other rights than the first".to_owned();
            found.push((what, RESTART));
        }
        if !process.no_new_privs && !expected.gains {
            found.push(("it may gain new privileges".to_owned(), RESTART));
        }
        if process.dumpable == Some(true) && expected.privileges != Privileges::All {
            let what = "others of its user may look into its memory".to_owned();
            found.push((what, RESTART));
        }
        if expected.filters == 0 {
            return found;
        }
        let remedy = match (self.strength.seccomp, process.role) {
            (false, _) => self.strength.gaps().first().copied().unwrap_or(RESTART),
            (true, Role::Supervisor) => ALLOW_A_FILTER,
            (true, _) => RESTART,
        };
        if process.seccomp != 2 {
            found.push(("it has no seccomp filter".to_owned(), remedy));
        } else if let (Some(has), Some(above)) = (process.filters, self.supervisor.filters) {
            // The supervisor's are everywhere.
            let above = if process.pid == self.supervisor.pid {
                0
            } else {
                above
            };
            let own = has.saturating_sub(above);
            if own < expected.filters {
                let what = format!("it has {own} seccomp filter(s) of {}", expected.filters);
                found.push((what, remedy));
            }
        }
        found
    }

    fn place(&self, parent: Option<&Process>) -> Found {
        let process = self.process;
        let mut found = Vec::new();
        let listeners = process.descriptors.map_or(0, |counts| counts.listeners);
        if listeners > 0 && !self.expected.listens {
            found.push((format!("it holds {listeners} listener(s)"), RESTART));
        }
        let is_of_master = matches!(process.role, Role::Worker | Role::OldWorker | Role::Zygote);
        let above = parent.filter(|parent| is_of_master && parent.role != Role::Supervisor);
        if let (Some(above), Some(here)) = (above.and_then(|p| p.root.as_ref()), &process.root)
            && above != here
        {
            let what = format!(
                "its root is {}, its master's is {}",
                here.display(),
                above.display()
            );
            found.push((what, RESTART));
        }
        found
    }

    fn trials(&self) -> Found {
        let process = self.process;
        let refused = self.expected.refused.iter();
        let done = refused.filter_map(|trial| {
            let mut trials = process.trials.iter();
            trials.find(|tried| tried.call == trial.name() && tried.allowed)?;
            Some((self.what_is_done(*trial), self.remedy(*trial)))
        });
        done.collect()
    }

    fn what_is_done(&self, trial: Trial) -> String {
        match trial {
            Open => {
                let root = self.process.root.as_ref();
                let root = root.map_or("/".to_owned(), |root| root.display().to_string());
                format!("it may read the folder {root}")
            }
            WriteExec => "it may write and execute the same memory".to_owned(),
            trial => format!("it may call {}(2)", trial.name()),
        }
    }

    fn remedy(&self, trial: Trial) -> &'static str {
        let gaps = self.strength.gaps();
        match trial {
            // Where both are missing the first is seccomp's.
            Open if self.strength.landlock == 0 => gaps.last().copied().unwrap_or(RESTART),
            _ if !self.strength.seccomp => gaps.first().copied().unwrap_or(RESTART),
            _ => RESTART,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptors::Descriptors;
    use super::super::trials::{self, Outcome};
    use super::*;

    fn process(pid: i32, parent: i32, role: Role, filters: u32) -> Process {
        let refused = |call: Trial| Outcome {
            call: call.name(),
            answer: "EPERM".to_owned(),
            allowed: false,
            tried: true,
        };
        let mut process = Process::example(pid, parent, role);
        process.filters = Some(filters);
        process.trials = trials::ALL.map(refused).to_vec();
        process
    }

    /// A supervisor, a master and a worker as they are to be.
    fn tree() -> Vec<Process> {
        let mut supervisor = process(1, 0, Role::Supervisor, 1);
        supervisor.uid = [0; 4];
        supervisor.capabilities = Capabilities::example(u64::MAX);
        supervisor.no_new_privs = false;
        supervisor.dumpable = Some(true);
        vec![
            supervisor,
            process(2, 1, Role::Master, 4),
            process(3, 2, Role::Worker, 7),
        ]
    }

    fn told(tree: &[Process]) -> Vec<String> {
        let strength = Strength {
            seccomp: true,
            landlock: 6,
        };
        let found = findings(tree, Some(strength));
        let lines = found.iter();
        lines
            .map(|found| format!("{}: {}", found.role.name(), found.what))
            .collect()
    }

    #[test]
    fn what_is_as_it_is_to_be_is_not_told_of() {
        assert_eq!(told(&tree()), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_wider_is_told_once() {
        type Change = fn(&mut Process);
        let changes: [(Change, &str); 15] = [
            (|p| p.uid[2] = 0, "it is root"),
            (|p| p.gid[0] = 0, "its group is root's"),
            (
                |p| p.groups = vec![65534, 4],
                "it has the groups [65534, 4]",
            ),
            (
                |p| p.capabilities.inheritable = 1,
                "its inheritable capabilities are 1",
            ),
            (
                |p| p.capabilities.permitted = 16,
                "its permitted capabilities are 10",
            ),
            (
                |p| p.capabilities.effective = 1,
                "its effective capabilities are 1",
            ),
            (
                |p| p.capabilities.bounding = 1,
                "its bounding capabilities are 1",
            ),
            (
                |p| p.capabilities.ambient = 1,
                "its ambient capabilities are 1",
            ),
            (
                |p| p.threads_differ = true,
                "a thread has other rights than the first",
            ),
            (|p| p.no_new_privs = false, "it may gain new privileges"),
            (
                |p| p.dumpable = Some(true),
                "others of its user may look into its memory",
            ),
            (|p| p.seccomp = 0, "it has no seccomp filter"),
            (|p| p.filters = Some(4), "it has 3 seccomp filter(s) of 6"),
            (
                |p| p.root = Some("/jail".into()),
                "its root is /jail, its master's is /",
            ),
            (
                |p| {
                    p.descriptors = Some(Descriptors {
                        listeners: 2,
                        ..Descriptors::default()
                    });
                },
                "it holds 2 listener(s)",
            ),
        ];
        for (change, what) in changes {
            let mut tree = tree();
            change(&mut tree[2]);
            assert_eq!(told(&tree), [format!("worker: {what}")]);
        }
    }

    #[test]
    fn what_must_fail_and_does_not_is_told_of_the_roles_that_it_matters_for() {
        for (call, of_master, of_worker) in [
            (Open, true, true),
            (Mkdir, true, true),
            (Fork, false, true),
            (Exec, true, true),
            (Socket, false, false),
            (Connect, false, false),
            (Ptrace, true, true),
            (Kill, false, true),
            (SetUid, true, true),
            (WriteExec, true, true),
        ] {
            let mut tree = tree();
            for process in &mut tree[1..] {
                let mut trials = process.trials.iter_mut();
                let tried = trials.find(|tried| tried.call == call.name());
                tried.unwrap().allowed = true;
            }
            let told = told(&tree);
            let is_told = |role: &str| told.iter().any(|found| found.starts_with(role));
            let wider = (is_told("master"), is_told("worker"));
            assert_eq!(wider, (of_master, of_worker), "{call:?}");
        }
    }
}
