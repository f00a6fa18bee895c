//! Files, which may be secret, to bytes that are wiped. Never in here: a copy of them that is not.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::encryption::Secret;
use crate::log::Reason;
use crate::remedy;
use crate::tls::Problem;

/// The longest certificate file (the largest bundles of roots are below 1 MiB).
pub(super) const MAX_FILE: u64 = 16 << 20;

/// The initial buffer for a file that does not report its length, in bytes.
const SHORT_FILE: u64 = 4096;

/// Reads a whole file, which may be secret; `what` names it in messages ("certificate file").
pub(super) fn read(option: &'static str, what: &str, path: &Path) -> Result<Secret, Problem> {
    read_limited(option, what, path, MAX_FILE)
}

/// The same with another limit to its length, in bytes.
pub(super) fn read_limited(
    option: &'static str,
    what: &str,
    path: &Path,
    longest: u64,
) -> Result<Secret, Problem> {
    let failed = |reason: &dyn std::fmt::Display| {
        Problem::error(
            option,
            format!("cannot read the {what} {}: {reason}", path.display()),
        )
    };
    let unreadable = |error: io::Error| {
        let remedy = remedy::reading_a_file(&error);
        failed(&format_args!("{} ({remedy})", Reason(&error)))
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let bytes = read_whole(&mut file, longest).map_err(unreadable)?;
    bytes.ok_or_else(|| failed(&"it is too long to be one"))
}

/// The content of a file; `None` if it is longer than that.
pub(super) fn read_whole(file: &mut fs::File, longest: u64) -> io::Result<Option<Secret>> {
    // Only a regular file reports its length.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    read_to_end(file, length.clamp(SHORT_FILE, longest) as usize, longest)
}

/// Reads to the end, which is expected after `length` bytes; `None` beyond `longest`. Leaves no copy
/// of what was read: a vector that grows by itself would leave one at each reallocation.
fn read_to_end(from: &mut impl Read, length: usize, longest: u64) -> io::Result<Option<Secret>> {
    // One byte more, to notice the end.
    let mut bytes = Secret::new(vec![0; length + 1]);
    let mut filled = 0;
    loop {
        if filled as u64 > longest {
            return Ok(None);
        }
        if filled == bytes.len() {
            let mut larger = Secret::new(vec![0; 2 * filled]);
            larger[..filled].copy_from_slice(&bytes);
            // Dropping the smaller buffer wipes it.
            bytes = larger;
        }
        match from.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(Some(bytes))
}

/// A warning about a file that users besides its owner and group can read.
pub(super) fn permissions(option: &'static str, path: &Path, what: &str) -> Option<Problem> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let text = format!(
            "insecure file permissions on {0}: others can use {what} in it; chmod o= {0}",
            path.display()
        );
        Problem::warning(option, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_whatever_length_it_tells() {
        let content: Vec<u8> = (0..100_000_u32).map(|nth| nth as u8).collect();
        for expected in [0, 1, 4096, 99_999, 100_000, 100_001] {
            let read = read_to_end(&mut content.as_slice(), expected, MAX_FILE).unwrap();
            assert_eq!(*read.unwrap(), content);
        }
    }

    #[test]
    fn a_file_of_any_length_without_end_is_given_up() {
        for length in [1, MAX_FILE as usize] {
            assert!(
                read_to_end(&mut io::repeat(1), length, MAX_FILE)
                    .unwrap()
                    .is_none()
            );
        }
        let longest = read_to_end(&mut io::repeat(1).take(MAX_FILE), 1, MAX_FILE).unwrap();
        assert_eq!(longest.unwrap().len() as u64, MAX_FILE);
    }
}
