//! What to do about a system error, by what was being done: the end of a message, in brackets or on a
//! line of its own.
#![forbid(unsafe_code)]

use std::io;

use nix::errno::Errno;

/// For a file that adit creates: the log, the pid file, the control socket.
pub(crate) fn making_a_file(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::ENOENT) => "make its folder, `mkdir -p FOLDER`, or name another file",
        Some(Errno::EACCES | Errno::EPERM) => {
            "let the user who starts adit write to its folder, or start adit as root"
        }
        Some(Errno::EROFS) => {
            "its folder is read-only for adit: in a systemd unit, ReadWritePaths= must name it"
        }
        Some(Errno::EISDIR) => "that is a folder: name a file in it",
        Some(Errno::ENOTDIR) => "what should be its folder is a file: name another place",
        Some(Errno::ELOOP | Errno::EXDEV) => {
            "it is a link, which root does not follow here: name the file itself"
        }
        Some(Errno::ENOSPC | Errno::EDQUOT) => "make room on its file system",
        Some(Errno::EMFILE | Errno::ENFILE) => {
            "raise the limit of open files: `LimitNOFILE=` in the systemd unit, or `ulimit -n`"
        }
        _ => "check its folder with `ls -ld`, or name another file",
    }
}

/// For a file that adit reads: a certificate, a key, the configuration.
pub(crate) fn reading_a_file(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::ENOENT) => "the file does not exist: check the path",
        Some(Errno::EACCES | Errno::EPERM) => {
            "let the user who starts adit read the file and enter its folders, or start adit as root"
        }
        Some(Errno::EISDIR) => "that is a folder: name a file in it",
        Some(Errno::ENOTDIR) => "part of the path is a file, not a folder: check it",
        Some(Errno::ELOOP) => "its links lead in a circle: name the file itself",
        Some(Errno::EMFILE | Errno::ENFILE) => {
            "raise the limit of open files: `LimitNOFILE=` in the systemd unit, or `ulimit -n`"
        }
        _ => "check it with `ls -l`",
    }
}

/// For starting a process, or a channel between two.
pub(crate) fn starting_a_process(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::EAGAIN) => {
            "too many processes: raise `TasksMax=` or `LimitNPROC=` of the systemd unit, or `ulimit -u`"
        }
        Some(Errno::ENOMEM) => {
            "no memory is left: give the machine or the unit (`MemoryMax=`) more, or set fewer `workers`"
        }
        Some(Errno::EMFILE | Errno::ENFILE) => {
            "raise the limit of open files: `LimitNOFILE=` in the systemd unit, or `ulimit -n`"
        }
        Some(Errno::EPERM | Errno::EACCES | Errno::ENOSYS) => {
            "the system forbids it: see SystemCallFilter= of the unit, or the container's seccomp profile"
        }
        _ => "if it persists, report it with the log at `debug = 7`",
    }
}

/// For executing the program of `exec`.
pub(crate) fn executing(error: &io::Error) -> &'static str {
    match errno(error) {
        Some(Errno::ENOENT) => {
            "check the path of `exec`, and the interpreter and the libraries of the program; with `chroot` all \
             are inside it"
        }
        Some(Errno::EACCES | Errno::EPERM) => {
            "let the user of `setuid` execute the program and enter its folders; a file system with `noexec` \
             forbids it, and so may the AppArmor profile"
        }
        Some(Errno::ENOEXEC) => "this is no program for this machine",
        Some(Errno::ENOTDIR) => "part of the path of `exec` is a file, not a folder: check it",
        Some(Errno::E2BIG) => "shorten `execArgs`, `setEnv` or the environment of adit",
        _ => starting_a_process(error),
    }
}

/// For a connection to a server.
pub(crate) fn connecting(errno: Errno, is_unix: bool) -> &'static str {
    match errno {
        Errno::ECONNREFUSED if is_unix => "the socket is stale: start the server",
        Errno::ECONNREFUSED => {
            "no program listens there: start the server, or check host and port of `connect`"
        }
        Errno::ENOENT => {
            "start the server, or check the path of `connect`; with `chroot` the path is inside it"
        }
        Errno::EACCES | Errno::EPERM if is_unix => {
            "let the user of `setuid` write to the socket and enter its folders"
        }
        Errno::EACCES | Errno::EPERM => "a firewall of this machine forbids it: `nft list ruleset`",
        Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::ENETDOWN | Errno::EHOSTDOWN => {
            "no route leads there: check the address of `connect`, and this machine's network: `ip \
             route get`"
        }
        Errno::ETIMEDOUT => {
            "nothing answers there: check host and port of `connect`, and firewalls on the way"
        }
        Errno::EADDRNOTAVAIL => {
            "no local port is free, see the sysctl net.ipv4.ip_local_port_range; or this machine does not \
             have the address of `local`"
        }
        Errno::ECONNRESET => {
            "the server, or a firewall before it, ends connections at once: see its log"
        }
        Errno::EINVAL | Errno::EAFNOSUPPORT | Errno::ENAMETOOLONG => {
            "this machine cannot connect to such an address: check `connect` and `local`"
        }
        _ => "check `connect`, and the server's log",
    }
}

/// For a name that does not resolve.
pub(crate) const RESOLVING: &str = "check the name; `getent ahosts NAME` asks as adit does, \
     /etc/resolv.conf says which name server";

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}
