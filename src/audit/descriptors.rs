//! A process's descriptors, counted by kind.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::fs;
use std::io;

use serde::Serialize;

/// How many of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Descriptors {
    /// Sockets of the network or of this machine that clients can connect to.
    pub listeners: usize,
    /// Sockets of the network that are connected, or may be.
    pub sockets: usize,
    /// Unix sockets, channels between adit's processes among them.
    pub unix: usize,
    /// Files, folders and devices.
    pub files: usize,
    pub pipes: usize,
    pub epoll: usize,
    /// Memory that processes share.
    pub memory: usize,
    /// eventfd(2), signalfd(2), inotify(7) and the like.
    pub other: usize,
}

/// The sockets of the supervisor's network, by inode.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    listening: HashSet<u64>,
    unix: HashSet<u64>,
}

impl Sockets {
    /// Reads the tables of the network in which this process is. One that is not there has nothing.
    pub(super) fn read(pid: u32) -> Sockets {
        let table = |name| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
        let mut sockets = Sockets::default();
        for name in ["tcp", "tcp6"] {
            sockets.add_tcp(&table(name).unwrap_or_default());
        }
        sockets.add_unix(&table("unix").unwrap_or_default());
        sockets
    }

    /// State 0A is LISTEN.
    fn add_tcp(&mut self, table: &str) {
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let (Some(&"0A"), Some(inode)) = (fields.get(3), fields.get(9)) {
                self.listening.extend(inode.parse::<u64>());
            }
        }
    }

    /// The flag 00010000 is __SO_ACCEPTCON.
    fn add_unix(&mut self, table: &str) {
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let inode = fields.get(6).and_then(|inode| inode.parse::<u64>().ok());
            let (Some(inode), Some(flags)) = (inode, fields.get(3)) else {
                continue;
            };
            match u32::from_str_radix(flags, 16).unwrap_or(0) & 0x1_0000 {
                0 => self.unix.insert(inode),
                _ => self.listening.insert(inode),
            };
        }
    }
}

impl Descriptors {
    /// Those of a process.
    ///
    /// # Errors
    /// It has ended, or this user may not look.
    pub(super) fn of(pid: i32, sockets: &Sockets) -> io::Result<Descriptors> {
        let mut counts = Descriptors::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One that was closed meanwhile is none.
            if let Ok(target) = fs::read_link(entry?.path()) {
                counts.add(&target.to_string_lossy(), sockets);
            }
        }
        Ok(counts)
    }

    fn add(&mut self, target: &str, sockets: &Sockets) {
        let inode = target.strip_prefix("socket:[");
        let inode = inode.and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
        let count = match (inode, target) {
            (Some(inode), _) if sockets.listening.contains(&inode) => &mut self.listeners,
            (Some(inode), _) if sockets.unix.contains(&inode) => &mut self.unix,
            (Some(_), _) => &mut self.sockets,
            (None, "anon_inode:[eventpoll]") => &mut self.epoll,
            (None, "/dev/zero (deleted)") => &mut self.memory,
            (None, target) if target.starts_with("/memfd:") => &mut self.memory,
            (None, target) if target.starts_with("pipe:") => &mut self.pipes,
            (None, target) if target.starts_with('/') => &mut self.files,
            _ => &mut self.other,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_counts_once_as_what_it_is() {
        let mut sockets = Sockets::default();
        sockets.add_tcp(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 11 1 0\n\
             1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 12 1 0\n",
        );
        sockets.add_unix(
            "Num       RefCount Protocol Flags    Type St Inode Path\n\
             0: 00000002 00000000 00010000 0001 01 21 /run/adit/socket\n\
             0: 00000003 00000000 00000000 0005 03 22\n",
        );
        let mut counts = Descriptors::default();
        for target in [
            "socket:[11]",
            "socket:[12]",
            "socket:[21]",
            "socket:[22]",
            "socket:[99]",
            "/dev/null",
            "/memfd:counts (deleted)",
            "pipe:[5]",
            "anon_inode:[eventpoll]",
            "anon_inode:[eventfd]",
        ] {
            counts.add(target, &sockets);
        }
        let wanted = Descriptors {
            listeners: 2,
            sockets: 2,
            unix: 1,
            files: 1,
            pipes: 1,
            epoll: 1,
            memory: 1,
            other: 1,
        };
        assert_eq!(counts, wanted);
    }
}
