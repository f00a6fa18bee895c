//! Which parts of the sandbox the kernel supports. Reported at the start and in `adit status`, since a
//! process that finds none goes on without.
#![expect(
    unsafe_code,
    reason = "seccomp(2) and landlock(7) are asked for their versions"
)]

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::NEWEST;

/// The mechanisms available here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "what it asks the kernel needs nothing of its fields"
)]
pub(crate) struct Strength {
    /// seccomp(2) filters.
    pub seccomp: bool,
    /// The version of landlock(7); 0 if there is none.
    pub landlock: u8,
}

impl Strength {
    /// Asks the kernel.
    pub(crate) fn of_this_kernel() -> Strength {
        let filter = std::ptr::null::<libc::sock_fprog>();
        // SAFETY: seccomp(2) finds no filter at this address, and so changes nothing.
        let seccomp = Errno::result(unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, filter)
        });
        const VERSION: u32 = 1;
        let none = std::ptr::null::<libc::c_void>();
        // SAFETY: landlock_create_ruleset(2) only returns its version.
        let landlock = Errno::result(unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, VERSION)
        });
        Strength {
            // It looked for a filter. SECCOMP_GET_ACTION_AVAIL would tell more, but only since Linux
            // 4.14.
            seccomp: seccomp == Err(Errno::EFAULT),
            landlock: landlock.map_or(0, |version| u8::try_from(version).unwrap_or(u8::MAX)),
        }
    }

    /// What is missing, what that means, and the remedy: one sentence each.
    pub(crate) fn gaps(self) -> Vec<&'static str> {
        let seccomp = "No seccomp filters on this kernel: a compromised process may make any system \
             call that its user may (CONFIG_SECCOMP_FILTER is missing)";
        let landlock = "No landlock on this kernel: a compromised process may read what its user may \
             read in its root directory (Linux 5.13 has it, where lsm= does not leave it out)";
        [
            (!self.seccomp).then_some(seccomp),
            (self.landlock == 0).then_some(landlock),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.seccomp {
            true => "seccomp, ",
            false => "no seccomp, ",
        })?;
        match self.landlock {
            0 => f.write_str("no landlock"),
            version if version < NEWEST as u8 => {
                write!(f, "landlock (version {version} of {})", NEWEST as u8)
            }
            _ => f.write_str("landlock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strength_has_its_words_and_each_gap_its_remedy() {
        for (seccomp, landlock, text, gaps) in [
            (true, 6, "seccomp, landlock", 0),
            (true, 7, "seccomp, landlock", 0),
            (true, 2, "seccomp, landlock (version 2 of 6)", 0),
            (true, 0, "seccomp, no landlock", 1),
            (false, 0, "no seccomp, no landlock", 2),
        ] {
            let strength = Strength { seccomp, landlock };
            assert_eq!(strength.to_string(), text);
            assert_eq!(strength.gaps().len(), gaps, "{text}");
        }
    }
}
