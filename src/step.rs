//! Puts the name of the failed step in front of the system's reason: "Function not implemented (38)"
//! alone tells an administrator neither what to look for nor where.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;

use crate::log::Reason;
use crate::remedy;

/// Names the step that failed.
pub(crate) trait NameStep<T> {
    /// On an error, says that it happened in `step`: the system call with its section, as
    /// `epoll_create1(2)`, and its purpose where that is not obvious.
    ///
    /// # Errors
    /// The original error, of the same kind.
    fn step(self, step: impl fmt::Display) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> NameStep<T> for Result<T, E> {
    fn step(self, step: impl fmt::Display) -> io::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            let text = match error.raw_os_error() {
                Some(_) => {
                    let remedy = remedy::starting_a_process(&error);
                    format!("{step}: {} ({remedy})", Reason(&error))
                }
                // The inner step has already said it.
                None => format!("{step}: {error}"),
            };
            io::Error::new(error.kind(), text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    #[test]
    fn a_step_is_named_and_the_kind_is_kept() {
        let failed: nix::Result<()> = Err(Errno::ENOSYS);
        let error = failed.step("memfd_create(2)").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let outer: io::Result<()> = Err(error);
        assert_eq!(
            outer.step("the scoreboard").unwrap_err().to_string(),
            "the scoreboard: memfd_create(2): Function not implemented (38) (the system forbids it: see \
             SystemCallFilter= of the unit, or the container's seccomp profile)"
        );
    }
}
