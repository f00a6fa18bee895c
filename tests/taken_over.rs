//! A compromised process can hurt only its own connections: the others distrust what it sends on its
//! channels. Here the test sends in its place, on its descriptors.

use std::fs;
use std::io::IoSlice;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    ControlMessage, MsgFlags, Shutdown, SockType, getsockopt, sendmsg, shutdown, sockopt,
};

use crate::require;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// Whether this kernel has pidfd_getfd(2), since 5.6, and permits it: the test needs it to get at their
/// sockets.
fn can_copy_descriptors() -> bool {
    // SAFETY: three numbers, the first of which is no descriptor.
    let copied = unsafe { libc::syscall(libc::SYS_pidfd_getfd, -1, 0, 0) };
    !matches!(Errno::result(copied), Err(Errno::ENOSYS | Errno::EPERM))
}

/// Copies of a process's SOCK_SEQPACKET sockets that process `maker` made.
fn channels(pid: i32, maker: i32) -> Vec<OwnedFd> {
    // SAFETY: pidfd_open(2) takes numbers and makes a descriptor.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let process = Errno::result(process).expect("a living process");
    // SAFETY: it has just been made, and nothing else owns it.
    let process = unsafe { OwnedFd::from_raw_fd(process as i32) };
    let copy = |(number, _): (i32, String)| {
        // SAFETY: pidfd_getfd(2) takes numbers and makes a descriptor.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
        let copy = Errno::result(copy).ok()?;
        // SAFETY: as above.
        Some(unsafe { OwnedFd::from_raw_fd(copy as i32) })
    };
    let ours = |socket: &OwnedFd| {
        getsockopt(socket, sockopt::SockType) == Ok(SockType::SeqPacket)
            && getsockopt(socket, sockopt::PeerCredentials).is_ok_and(|made| made.pid() == maker)
    };
    let all = proc::descriptors(pid).into_iter().filter_map(copy);
    let found: Vec<OwnedFd> = all.filter(ours).collect();
    assert!(!found.is_empty(), "no channel of {pid} to {maker}");
    found
}

fn say(sockets: &[OwnedFd], word: &[u8], descriptors: &[i32]) {
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control: &[ControlMessage<'_>] = if descriptors.is_empty() { &[] } else { &rights };
    for socket in sockets {
        let bytes = [IoSlice::new(word)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let _ = sendmsg::<()>(socket.as_raw_fd(), &bytes, control, flags, None);
    }
}

fn start(upstream: &Server, certs: &Certs) -> Adit {
    let (to, ca) = (upstream.line(), certs.ca_line());
    Plan::new()
        .global("workers = 1\nsetuid = nobody\nsetgid = nogroup")
        .service("test", format!("client = yes\n{to}{ca}verifyChain = yes\n"))
        .start()
}

fn served(adit: &Adit) -> TcpStream {
    let mut client = adit.connect("test");
    peers::says_and_hears(&mut client, "hello");
    client
}

#[test]
fn a_master_that_speaks_nonsense_to_root_is_replaced_and_root_touches_nothing() {
    require!(root);
    require!(adit);
    require!(can_copy_descriptors(), "this kernel has no pidfd_getfd(2)");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&upstream, &certs);
    let supervisor = adit.pid();
    // Root would take this for a socket that is no longer used.
    let path = adit.plan.folder().join("victim");
    drop(UnixListener::bind(&path).expect("a socket's file"));
    let inode = fs::metadata(&path).expect("it").ino();
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let many = [null.as_raw_fd(); 200];
    let loaded = format!("{{\"Loaded\":[[{{\"Unix\":\"{}\"}}]]}}", path.display());
    let words: [(&[u8], &[i32], bool); 6] = [
        (loaded.as_bytes(), &[], true),
        (b"\"Serving\"", &many[..100], true),
        (b"{\"Listed\":18446744073709551615}", &[], true),
        (b"{\"Listed\":18446744073709551615}", &[], true),
        (b"\"Draining\"", &many, false),
        (&[b'['; 100_000], &[], false),
    ];
    let before = proc::descriptors(supervisor).len();
    let mut replaced = 0;
    for (word, descriptors, understood) in words {
        let master = proc::roles(supervisor).master;
        adit.signal(Signal::SIGUSR2);
        say(&channels(master, supervisor), word, descriptors);
        if !understood {
            replaced += 1;
            adit.wait_for_log_times("sent an invalid message", replaced);
            adit.wait_for_log_times("in place of the dead one", replaced);
        }
        served(&adit);
    }
    adit.reload(1);
    assert_eq!(fs::metadata(&path).expect("still there").ino(), inode);
    wait_for("as many descriptors as before", || {
        (proc::descriptors(supervisor).len() <= before).then_some(())
    });
}

#[test]
fn a_worker_that_hangs_up_on_its_master_is_replaced_without_a_busy_loop() {
    require!(root);
    require!(adit);
    require!(can_copy_descriptors(), "this kernel has no pidfd_getfd(2)");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&upstream, &certs);
    let roles = proc::roles(adit.pid());
    let _keeps_it_alive = served(&adit);
    for socket in channels(roles.workers[0], roles.master) {
        shutdown(socket.as_raw_fd(), Shutdown::Both).expect("shutdown");
    }
    wait_for("another worker", || {
        let now = proc::children(roles.master);
        (now.len() == 1 && now != roles.workers).then_some(())
    });
    served(&adit);
    assert_eq!(proc::roles(adit.pid()).master, roles.master);
}

#[test]
fn a_worker_that_speaks_nonsense_to_its_master_is_replaced() {
    require!(root);
    require!(adit);
    require!(can_copy_descriptors(), "this kernel has no pidfd_getfd(2)");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = start(&upstream, &certs);
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let many = [null.as_raw_fd(); 200];
    for (word, descriptors) in [
        (&b"x"[..], &[][..]),
        (b"\"Ready\"", &many),
        (&[b'['; 100_000], &[]),
    ] {
        let roles = proc::roles(adit.pid());
        let before = proc::descriptors(roles.master).len();
        say(&channels(roles.workers[0], roles.master), word, descriptors);
        wait_for("another worker", || {
            let now = proc::children(roles.master);
            (now.len() == 1 && now != roles.workers).then_some(())
        });
        served(&adit);
        assert_eq!(proc::roles(adit.pid()).master, roles.master);
        wait_for("as many descriptors as before", || {
            (proc::descriptors(roles.master).len() <= before).then_some(())
        });
    }
}
