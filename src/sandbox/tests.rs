//! Children that enter the sandbox and try what must fail, and what must work.
#![expect(unsafe_code, reason = "tests fork and make forbidden system calls")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::*;
use crate::oauth::Secret;
use crate::oauth::account::Secrets;
use crate::oauth::seal::{self, Key, Sealed};
use crate::oauth::store::Store;

/// Runs `body` in a child, which must end there.
fn in_child(body: impl FnOnce()) -> WaitStatus {
    // SAFETY: the child has one thread, and glibc makes its allocator usable after fork; `body` takes
    // no lock that another thread of the test runner may have held.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        ForkResult::Child => {
            let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
            // SAFETY: ends the child without running what the parent registered.
            unsafe { libc::_exit(code) }
        }
    }
}

fn succeeds(body: impl FnOnce()) {
    let status = in_child(body);
    assert!(matches!(status, WaitStatus::Exited(_, 0)), "{status:?}");
}

fn is_killed(body: impl FnOnce()) {
    let status = in_child(body);
    let by_filter = matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _));
    assert!(by_filter, "{status:?}");
}

#[track_caller]
fn denied<T>(result: io::Result<T>) {
    let number = result.map(|_| ()).unwrap_err().raw_os_error();
    let denials = [Some(libc::EPERM), Some(libc::EACCES)];
    assert!(denials.contains(&number), "{number:?}");
}

fn exec(program: &str) -> io::Result<()> {
    Err(Command::new(program).exec())
}

/// What every role needs afterwards: threads, locks, clocks, randomness, memory, epoll, sockets.
fn goes_on_working(upstream: std::net::SocketAddr, mut log: &File) {
    let (sender, receiver) = mpsc::channel();
    let named = thread::Builder::new().name("relay 0".into());
    let relay = named
        .spawn(move || {
            let mut chance = [0; 16];
            aws_lc_rs::rand::fill(&mut chance).unwrap();
            let memory = vec![1_u8; 8 << 20];
            sender.send(usize::from(chance[0]) + memory.len()).unwrap();
        })
        .unwrap();
    assert!(receiver.recv().unwrap() >= 8 << 20);
    relay.join().unwrap();
    assert!(catch_unwind(|| panic!("of one session")).is_err());

    let mut stream = TcpStream::connect(upstream).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(b"payload").unwrap();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all(b"x").unwrap();
    other.read_exact(&mut [0]).unwrap();
    let poller = crate::relay::poller::Poller::new().unwrap();
    poller.add_both(stream.as_fd(), 2).unwrap();
    let mut events = crate::relay::poller::Events::new();
    let limit = std::time::Duration::from_secs(5);
    poller.wait(&mut events, Some(limit)).unwrap();
    assert_eq!(events.iter().count(), 1);
    poller.notify();
    poller.wait(&mut events, None).unwrap();
    thread::sleep(std::time::Duration::from_millis(1));
    assert!(std::time::SystemTime::now() > std::time::UNIX_EPOCH);
    log.write_all(b"line\n").unwrap();
}

fn upstream() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn a_worker_works_and_can_do_nothing_else() {
    let (_listener, address) = upstream();
    let folder = tempfile::tempdir().unwrap();
    let (log, there) = (folder.path().join("log"), folder.path().join("there"));
    fs::write(&there, "ticket").unwrap();
    let file = File::create(&log).unwrap();
    let datagrams = UnixDatagram::unbound().unwrap();
    succeeds(|| {
        worker(Binds::No).unwrap();
        goes_on_working(address, &file);
        denied(OpenOptions::new().append(true).open(&there));
        denied(File::create(folder.path().join("new")));
        denied(UdpSocket::bind("127.0.0.1:0"));
        denied(TcpListener::bind("127.0.0.1:0").map(|_| ()));
        denied(datagrams.try_clone().and_then(|_| UnixDatagram::unbound()));
        denied(fs::remove_file(&there));
        denied(kill(nix::unistd::getppid(), None).map_err(io::Error::from));
        // SAFETY: a child, if there were one, would end at once.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        denied(forked.map_err(io::Error::from));
        // SAFETY: the kernel chooses the place.
        let executable = unsafe {
            nix::sys::mman::mmap_anonymous(
                None,
                std::num::NonZeroUsize::MIN,
                nix::sys::mman::ProtFlags::PROT_EXEC,
                nix::sys::mman::MapFlags::MAP_PRIVATE,
            )
        };
        denied(executable.map_err(io::Error::from));
    });
    assert_eq!(fs::read_to_string(log).unwrap(), "line\n");
}

#[test]
fn an_old_worker_works_and_opens_nothing_at_all() {
    let (_listener, address) = upstream();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = File::create(&log).unwrap();
    succeeds(|| {
        old_worker(Binds::No).unwrap();
        goes_on_working(address, &file);
        let opened = File::open("/dev/null").unwrap_err();
        assert_eq!(
            opened.raw_os_error(),
            Some(libc::EPERM),
            "by seccomp, not landlock"
        );
        denied(fs::metadata("/dev/null"));
        denied(io::pipe());
        denied(kill(nix::unistd::getppid(), None).map_err(io::Error::from));
    });
    assert_eq!(fs::read_to_string(log).unwrap(), "line\n");
    is_killed(|| {
        old_worker(Binds::No).unwrap();
        let _ = exec("/bin/true");
    });
}

#[test]
fn a_worker_that_executes_or_traces_is_killed() {
    is_killed(|| {
        worker(Binds::No).unwrap();
        let _ = exec("/bin/true");
    });
    is_killed(|| {
        worker(Binds::No).unwrap();
        // SAFETY: asks to be traced; no memory is passed.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    });
    is_killed(|| {
        worker(Binds::No).unwrap();
        let _ = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER);
    });
}

#[test]
fn abort_still_ends_a_worker() {
    let status = in_child(|| {
        worker(Binds::No).unwrap();
        std::process::abort();
    });
    let aborted = matches!(status, WaitStatus::Signaled(_, Signal::SIGABRT, _));
    assert!(aborted, "{status:?}");
}

/// With landlock the file system is closed, whatever its permissions say.
#[test]
fn no_file_can_be_opened_that_is_not_listed() {
    // SAFETY: asks for landlock's version, landlock_create_ruleset(2); no memory is passed.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
    if version < 1 {
        crate::skips::say("this kernel has no landlock");
        return;
    }
    succeeds(|| {
        worker(Binds::No).unwrap();
        denied(File::open("/etc/passwd"));
        denied(fs::read_dir("/"));
    });
}

#[test]
fn a_master_accepts_and_minds_workers_in_their_own_sandbox() {
    let (listener, address) = upstream();
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("log")).unwrap();
    succeeds(|| {
        master().unwrap();
        goes_on_working(address, &file);
        listener.accept().unwrap();
        crate::process::OneThread::prove().unwrap();
        succeeds(|| {
            worker(Binds::No).unwrap();
            goes_on_working(address, &file);
            denied(listener.accept());
        });
        // SAFETY: the child waits for a signal and does nothing.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => loop {
                nix::unistd::pause();
            },
            ForkResult::Parent { child } => {
                kill(child, Signal::SIGKILL).unwrap();
                let status = waitpid(child, None).unwrap();
                assert_eq!(status, WaitStatus::Signaled(child, Signal::SIGKILL, false));
            }
        }
        denied(File::create(folder.path().join("new")));
        denied(UdpSocket::bind("127.0.0.1:0"));
        denied(nix::unistd::setuid(nix::unistd::getuid()).map_err(io::Error::from));
    });
    is_killed(|| {
        master().unwrap();
        let _ = exec("/bin/true");
    });
}

#[test]
fn a_resolver_looks_names_up_and_can_neither_write_nor_execute() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(|| {
        resolver().unwrap();
        let found = ("localhost", 25).to_socket_addrs().unwrap();
        assert!(found.count() > 0);
        UdpSocket::bind("127.0.0.1:0").unwrap();
        thread::spawn(|| ()).join().unwrap();
        denied(File::create(folder.path().join("new")));
        denied(kill(Pid::from_raw(1), None).map_err(io::Error::from));
    });
    is_killed(|| {
        resolver().unwrap();
        let _ = exec("/bin/true");
    });
}

#[test]
fn a_keeper_stores_in_its_folder_by_its_descriptor_and_nowhere_else() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = Key::new(&Secret::new("hunter2")).unwrap();
    let secrets = Secrets {
        refresh: Some(Secret::new("refresh")),
        client: None,
    };
    let account = Sealed::seal(seal::example(), &secrets, &key).unwrap();
    let name = account.account.name.as_str();
    let opened = OwnedFd::from(File::open(folder.path()).unwrap());
    let mine = other.path().join("mine");
    fs::write(&mine, "x").unwrap();
    succeeds(|| {
        keeper(opened.as_fd()).unwrap();
        thread::spawn(|| ()).join().unwrap();
        let store = Store::new(opened);
        let first = store.replace(&account, None).unwrap();
        store.replace(&account, Some(first)).unwrap();
        assert_eq!(store.list().unwrap().0.len(), 1);
        assert!(store.forget(name).unwrap());
        store.replace(&account, None).unwrap();
        denied(File::create(folder.path().join("new")));
        denied(File::create(other.path().join("new")));
        denied(File::open(&mine));
        denied(fs::remove_file(&mine));
        denied(fs::rename(&mine, folder.path().join("mine")));
        assert!(("localhost", 25).to_socket_addrs().unwrap().count() > 0);
    });
    assert!(folder.path().join("you@example.com.account").exists());
}

/// Else one with a socket of `transparent` could give itself any address.
#[test]
fn a_worker_binds_only_where_local_needs_it() {
    succeeds(|| {
        worker(Binds::No).unwrap();
        assert_eq!(bind_one().unwrap_err(), Errno::EPERM);
    });
    succeeds(|| {
        worker(Binds::Yes).unwrap();
        bind_one().unwrap();
        // It can listen nowhere all the same.
        denied(TcpListener::bind("127.0.0.1:0"));
    });
    succeeds(|| {
        old_worker(Binds::No).unwrap();
        assert_eq!(bind_one().unwrap_err(), Errno::EPERM);
    });
}

fn bind_one() -> Result<(), Errno> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
    use std::os::fd::AsRawFd;
    let flags = SockFlag::empty();
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))
}

#[test]
fn a_binder_binds_and_reaches_nothing() {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
    let (_listener, address) = upstream();
    succeeds(|| {
        binder().unwrap();
        bind_one().unwrap();
        denied(TcpStream::connect(address));
        denied(TcpListener::bind("127.0.0.1:0"));
        denied(File::open("/etc/passwd"));
        let flags = SockFlag::empty();
        for (family, kind, protocol) in [
            (AddressFamily::Inet, SockType::Raw, Some(SockProtocol::Tcp)),
            (AddressFamily::Inet6, SockType::Raw, Some(SockProtocol::Tcp)),
            (AddressFamily::Packet, SockType::Raw, None),
            (AddressFamily::Packet, SockType::Datagram, None),
            (AddressFamily::Inet, SockType::Datagram, None),
            (AddressFamily::Netlink, SockType::Raw, None),
            (AddressFamily::Unix, SockType::Stream, None),
        ] {
            let made = socket(family, kind, flags, protocol);
            assert_eq!(made.unwrap_err(), Errno::EPERM, "{family:?} {kind:?}");
        }
        // SAFETY: a child, if there were one, would end at once.
        let forked = unsafe { fork() };
        if let Ok(ForkResult::Child) = forked {
            // SAFETY: as above.
            unsafe { libc::_exit(0) }
        }
        assert!(forked.is_err());
    });
    is_killed(|| {
        binder().unwrap();
        let _ = exec("/bin/true");
    });
}
