//! One of the two programs with the configuration: its start, what it listens on, its log, its end. Never in here: a
//! judgement.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process;

/// How long a program may take to serve or to refuse, and to end.
const DEADLINE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(20);

/// A running program, ended on drop.
pub(super) struct Running {
    child: Child,
    said: PathBuf,
}

impl Running {
    /// Starts it, and waits until it serves. `Err` holds what it said when it does not.
    ///
    /// # Errors
    /// It cannot be started at all.
    pub(super) fn start(
        program: &Path,
        configuration: &Path,
        folder: &Path,
    ) -> io::Result<Result<Running, String>> {
        let said = folder.join("said");
        let output = File::create(&said)?;
        let mut command = Command::new(program);
        command
            .arg(configuration)
            // For adit's control socket.
            .env("RUNTIME_DIRECTORY", folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        process::end_with_parent(&mut command);
        let child = command.spawn()?;
        let mut running = Running { child, said };
        let deadline = Instant::now() + DEADLINE;
        while !running.log().contains("Accepting new connections") {
            let ended = running.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Ok(Err(running.log()));
            }
            thread::sleep(GLANCE);
        }
        Ok(Ok(running))
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(&self.said).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until its log has this phrase so often; not for ever.
    pub(super) fn wait_for(&self, phrase: &str, times: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.log().matches(phrase).count() < times && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
    }

    /// Ends it, and returns all that it said.
    pub(super) fn stop(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        let _ = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        );
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// The TCP addresses that anything listens on in this process's network.
pub(super) fn listening() -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        found.extend(text.unwrap_or_default().lines().filter_map(listener));
    }
    found
}

/// `SL: ADDRESS:PORT REMOTE:PORT STATE ...`, the words of an address in this machine's byte order.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next()?, fields.nth(1)?);
    if state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        _ => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()
        }
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?).into())
}

/// The Unix sockets that anything listens on there, but for those below `folder`.
pub(super) fn listening_paths(folder: &Path) -> BTreeSet<PathBuf> {
    /// `__SO_ACCEPTCON`
    const ACCEPTS: u32 = 1 << 16;
    let text = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    let path = |line: &str| {
        let mut fields = line.split_whitespace().skip(3);
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        let path = PathBuf::from(fields.nth(3)?);
        let counts = flags & ACCEPTS != 0 && path.is_absolute() && !path.starts_with(folder);
        counts.then_some(path)
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_are_read_as_the_kernel_writes_them() {
        let v4 =
            "   0: 0100007F:01BB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0";
        assert_eq!(listener(v4), Some("127.0.0.1:443".parse().unwrap()));
        let v6 = "   1: 00000000000000000000000001000000:03E1 00000000000000000000000000000000:0000 0A 0";
        assert_eq!(listener(v6), Some("[::1]:993".parse().unwrap()));
        assert_eq!(listener(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
        assert_eq!(listener(""), None);
    }
}
