//! SIGHUP is a transaction: all of the new configuration or none of it; no connection is refused or
//! cut, whatever the reload changes. Everything here runs jailed and as the user nobody, as installed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crate::require;
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, kernel, own_loopback, proc, tls, wait_for};

macro_rules! require_jail {
    () => {
        crate::require!(root);
        // The rest is what stunnel's manual says it cannot do.
        crate::require!(adit);
    };
}
pub(crate) use require_jail;

/// More than fits into all buffers on the way.
const TRANSFER: u64 = 24 << 20;

/// A running adit in its jail, a half-finished transfer, and a client that connects in a loop.
pub struct Scene {
    pub certs: Certs,
    pub pair: Pair,
    pub adit: Adit,
    jail: PathBuf,
    transfer: TcpStream,
    looper: Looper,
    _source: Server,
    _echo: Server,
}

impl Scene {
    fn start() -> Scene {
        Scene::of(Plan::new())
    }

    pub fn of(plan: Plan) -> Scene {
        let certs = Certs::new();
        let pair = certs.server();
        let source = tls::server(tls::server_config(&pair, tls::BOTH, None), |mut stream| {
            if peers::send_pattern(&mut stream, TRANSFER).is_ok() {
                tls::end(&mut stream);
                let _ = peers::read_until_gone(&mut stream);
            }
        });
        let echo = Server::echo();
        let jail = plan.folder().join("jail");
        fs::create_dir_all(&jail).expect("mkdir");
        let adit = plan
            .global(format!("chroot = {}", jail.display()))
            .global("setuid = nobody\nsetgid = nogroup\nworkers = 2")
            .service(
                "transfer",
                format!(
                    "client = yes\n{}{}verifyChain = yes\n",
                    source.line(),
                    certs.ca_line()
                ),
            )
            .service("echo", echo.line() + &pair.lines())
            .start();
        let mut transfer = adit.connect("transfer");
        // The first half; the second waits in the buffers for a reader.
        peers::expect_pattern(&mut transfer, TRANSFER / 2);
        let looper = Looper::start(&certs, adit.address("echo"));
        Scene {
            certs,
            pair,
            adit,
            jail,
            transfer,
            looper,
            _source: source,
            _echo: echo,
        }
    }

    fn client(&self) -> tls::ClientStream {
        let config = tls::client_config(&self.certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, self.adit.address("echo"));
        peers::says_and_hears(&mut client, "hello");
        client
    }

    /// The certificate that a new connection gets.
    pub fn certificate(&self) -> Vec<u8> {
        self.client()
            .conn
            .peer_certificates()
            .expect("a certificate")[0]
            .to_vec()
    }

    /// The other half of the transfer arrives, and the looping client noticed nothing.
    #[track_caller]
    pub fn survives(mut self) {
        let mut expected = vec![0; 64 << 10];
        let mut got = vec![0; 64 << 10];
        let mut seen = TRANSFER / 2;
        while seen < TRANSFER {
            self.transfer
                .read_exact(&mut got)
                .expect("the transfer goes on");
            peers::pattern(seen, &mut expected);
            assert!(got == expected, "other bytes behind {seen}");
            seen += got.len() as u64;
        }
        assert_eq!(self.transfer.read(&mut got).expect("a clean end"), 0);
        self.looper.finish();
    }
}

/// A client that connects in a loop.
struct Looper {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Looper {
    fn start(certs: &Certs, address: SocketAddr) -> Looper {
        let config = tls::client_config(&certs.ca(), tls::BOTH, None);
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (stopped, counter) = (stop.clone(), count.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let turn = counter.load(Ordering::SeqCst);
                let stream = TcpStream::connect(address)
                    .map_err(|error| format!("connection {turn} was refused: {error}"))?;
                let stream = peers::with_deadline(stream);
                let mut stream = tls::start_client(config.clone(), stream)
                    .map_err(|error| format!("handshake {turn}: {error}"))?;
                let mut answer = [0; 2];
                stream
                    .write_all(b"hi")
                    .and_then(|()| stream.read_exact(&mut answer))
                    .map_err(|error| format!("connection {turn} was cut: {error}"))?;
                counter.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        });
        let looper = Looper {
            stop,
            count,
            thread: Some(thread),
        };
        looper.wait_for_more(2);
        looper
    }

    /// Waits until it has been served this many more times.
    #[track_caller]
    fn wait_for_more(&self, more: usize) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        wait_for("the client that connects in a loop", || {
            let dead = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
            (dead || self.count.load(Ordering::SeqCst) >= goal).then_some(())
        });
    }

    #[track_caller]
    fn finish(mut self) {
        self.wait_for_more(2);
        self.stop.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("finished once");
        if let Err(error) = thread.join().expect("no panic") {
            panic!("{error}");
        }
    }
}

impl Drop for Looper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_renewed_certificate_serves_though_only_root_can_read_its_key() {
    require_jail!();
    let scene = Scene::start();
    let before = scene.certificate();
    // The same files with new content; the key is root's, mode 0600.
    scene.certs.server();
    let line = scene.pair.lines();
    assert!(line.contains("server.key"));
    scene.adit.reload(2);
    wait_for("the new certificate", || {
        (scene.certificate() != before).then_some(())
    });
    scene.survives();
}

#[test]
fn a_new_service_on_a_port_below_1024_is_bound() {
    require_jail!();
    let scene = Scene::start();
    let address = own_loopback();
    let accept = format!("[new]\naccept = {address}:587\nconnect = 127.0.0.1:9\n");
    scene
        .adit
        .rewrite(|text| text + &accept + &scene.pair.lines());
    scene.adit.reload(3);
    TcpStream::connect((address, 587)).expect("the new service");
    scene.survives();
}

#[test]
fn a_removed_service_is_closed() {
    require_jail!();
    let scene = Scene::start();
    let address = own_loopback();
    let extra = format!("[extra]\naccept = {address}:7002\nconnect = 127.0.0.1:9\n");
    scene
        .adit
        .rewrite(|text| text + &extra + &scene.pair.lines());
    scene.adit.reload(3);
    TcpStream::connect((address, 7002)).expect("the service");
    scene
        .adit
        .rewrite(|text| text[..text.find("[extra]").expect("it")].to_owned());
    scene.adit.reload(2);
    wait_for("its port to close", || {
        TcpStream::connect((address, 7002)).is_err().then_some(())
    });
    scene.survives();
}

#[test]
fn a_service_that_is_removed_lets_its_connection_end_by_itself() {
    require_jail!();
    let scene = Scene::start();
    scene.adit.rewrite(|text| {
        let start = text.find("[transfer]").expect("it");
        let end = text.find("[echo]").expect("it");
        text[..start].to_owned() + &text[end..]
    });
    scene.adit.reload(1);
    scene.survives();
}

#[test]
fn another_chroot_and_another_user_take_over() {
    require_jail!();
    let scene = Scene::start();
    let other = scene.adit.plan.folder().join("other-jail");
    fs::create_dir(&other).expect("mkdir");
    let jail = scene.jail.display().to_string();
    scene.adit.rewrite(|text| {
        text.replace(&jail, &other.display().to_string())
            .replace("setuid = nobody", "setuid = daemon")
            .replace("setgid = nogroup", "setgid = daemon")
    });
    scene.adit.reload(2);
    wait_for("workers in the other jail", || {
        let roles = proc::roles(scene.adit.pid());
        let moved = roles.workers.iter().all(|&pid| {
            proc::alive(pid)
                && proc::root(pid) == other
                && proc::status(pid)["Uid"]
                    .split_whitespace()
                    .all(|id| id == "1")
        });
        // The resolver is outside the jail, as that user.
        let ids = |pid| proc::status(pid)["Uid"].clone();
        let follows = ids(roles.resolver) == ids(*roles.workers.first()?);
        (moved && follows).then_some(())
    });
    scene.survives();
}

#[test]
fn another_chroot_in_which_the_pid_file_is_the_same_takes_over() {
    require_jail!();
    let plan = Plan::new().global("pid = /run/adit.pid");
    let jail = plan.folder().join("jail/run");
    fs::create_dir_all(&jail).expect("mkdir");
    let pid_file = jail.join("adit.pid");
    let scene = Scene::of(plan);
    let (outer, inner) = (scene.adit.plan.folder().to_owned(), scene.jail.clone());
    let line = |jail: &std::path::Path| format!("chroot = {}\n", jail.display());
    scene.adit.rewrite(|text| {
        text.replace(&line(&inner), &line(&outer))
            .replace("pid = /run", "pid = /jail/run")
    });
    scene.adit.reload(2);
    let pid = fs::read_to_string(&pid_file).expect("the pid file");
    assert_eq!(pid.trim(), scene.adit.pid().to_string());
    // It is still guarded, and removed when the program exits.
    scene.adit.reload(2);
    let stopped = scene.adit.pid();
    let Scene { adit, .. } = scene;
    let (status, _) = adit.stop();
    assert!(status.success() && !proc::alive(stopped));
    assert!(!pid_file.exists(), "the pid file is left over");
}

/// Reloads something wrong; the log has these phrases, and everything stays as before.
#[track_caller]
fn rejected(change: impl FnOnce(&Scene, String) -> String, phrases: &[&str]) {
    let scene = Scene::start();
    let roles = proc::roles(scene.adit.pid());
    let good = fs::read_to_string(scene.adit.plan.file()).expect("the configuration");
    scene.adit.rewrite(|text| change(&scene, text));
    scene.adit.reload_refused(phrases);
    let after = proc::roles(scene.adit.pid());
    assert_eq!(
        after.master, roles.master,
        "the old generation was replaced"
    );
    scene.client();
    // Changing it back works.
    scene.adit.rewrite(|_| good);
    scene.adit.reload(2);
    scene.client();
    scene.survives();
}

#[test]
fn a_broken_file_leaves_the_old_configuration_whole() {
    require_jail!();
    rejected(|_, text| text + "conect = 1\n", &["adit.conf:", "conect"]);
}

#[test]
fn a_key_that_does_not_match_leaves_the_old_configuration_whole() {
    require_jail!();
    rejected(
        |scene, text| {
            let other = scene.certs.client().key.display().to_string();
            text.replace(&scene.pair.key.display().to_string(), &other)
        },
        &["client.key"],
    );
}

#[test]
fn a_port_that_is_taken_leaves_the_old_configuration_whole() {
    require_jail!();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let free = own_loopback();
    let accept = format!("[new]\naccept = {address}\nconnect = 127.0.0.1:9\n");
    let also = format!("[also]\naccept = {free}:7003\nconnect = 127.0.0.1:9\n");
    rejected(
        |scene, text| text + &also + &scene.pair.lines() + &accept + &scene.pair.lines(),
        &[&format!(
            "Binding service [new] to {address}: Address already in use"
        )],
    );
    // What was bound for it was closed again.
    TcpListener::bind((free, 7003)).expect("nothing is left bound");
}

#[test]
fn a_chroot_folder_that_is_not_there_leaves_the_old_configuration_whole() {
    require_jail!();
    rejected(
        |scene, text| text.replace(&scene.jail.display().to_string(), "/nowhere/jail"),
        &["/nowhere/jail"],
    );
}

#[test]
fn hup_right_after_the_start_is_honoured() {
    let certs = Certs::new();
    let echo = Server::echo();
    let adit = Adit::serve(echo.line() + &certs.server().lines());
    adit.reload(1);
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    peers::says_and_hears(&mut tls::connect(config, adit.address("test")), "hello");
    assert_eq!(adit.count_in_log("Accepting new connections"), 1);
}

#[test]
fn a_hundred_reloads_leave_memory_and_descriptors_where_they_were() {
    require_jail!();
    let certs = Certs::new();
    let echo = Server::echo();
    let plan = Plan::new();
    let jail = plan.folder().join("jail");
    fs::create_dir(&jail).expect("mkdir");
    let adit = plan
        .global(format!("chroot = {}", jail.display()))
        .global("setuid = nobody\nsetgid = nogroup\nworkers = 2")
        .service("echo", echo.line() + &certs.server().lines())
        .start();
    let family = proc::family(adit.pid()).len();
    let settled = || {
        wait_for("the retired generations' end", || {
            (proc::family(adit.pid()).len() == family).then_some(())
        });
        let roles = proc::roles(adit.pid());
        let descriptors = |pid| proc::descriptors(pid).len();
        let memory = |pid| proc::kilobytes(pid, "RssAnon");
        (
            descriptors(roles.supervisor),
            descriptors(roles.master),
            descriptors(roles.resolver),
            memory(roles.supervisor),
            memory(roles.master),
        )
    };
    // Ten to warm up: allocators and caches grow once.
    for _ in 0..10 {
        adit.reload(1);
    }
    let before = settled();
    for _ in 0..100 {
        adit.reload(1);
    }
    let after = settled();
    assert_eq!(
        (after.0, after.1, after.2),
        (before.0, before.1, before.2),
        "descriptors"
    );
    assert!(
        after.3 <= before.3 + 512,
        "supervisor: {} kB, then {} kB",
        before.3,
        after.3
    );
    assert!(
        after.4 <= before.4 + 512,
        "master: {} kB, then {} kB",
        before.4,
        after.4
    );
}

/// The configuration's text with another address for the last service.
fn accept_of_echo(text: &str, old: impl std::fmt::Display, new: impl std::fmt::Display) -> String {
    let at = text.find("[echo]").expect("the service");
    let (before, section) = text.split_at(at);
    before.to_owned() + &section.replace(&format!("accept = {old}\n"), &format!("accept = {new}\n"))
}

#[test]
fn an_address_becomes_one_that_overlaps_it_and_back() {
    require_jail!();
    let scene = Scene::start();
    let narrow = scene.adit.address("echo");
    let wide = SocketAddr::from(([0, 0, 0, 0], narrow.port()));
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], narrow.port()));
    let change = |old: &str, new: SocketAddr| {
        scene.adit.rewrite(|text| accept_of_echo(&text, old, new));
        scene.adit.reload(2);
    };
    change("127.0.0.1:0", wide);
    peers::connect(elsewhere);
    change(&wide.to_string(), narrow);
    TcpStream::connect(elsewhere).expect_err("nobody listens there any more");
    change(&narrow.to_string(), wide);
    peers::connect(elsewhere);
    // No other program can bind beside it.
    TcpListener::bind(narrow).expect_err("a port in use");
    scene.survives();
}

/// Closing a listening socket resets the connections in its queue, so it must be empty: several
/// clients, whose ClientHello is answered with an alert at once, connect while the address changes
/// again and again.
#[test]
fn nobody_is_in_the_queue_of_an_address_when_it_is_closed() {
    require!(adit);
    require!(kernel::retires_listeners(), "this kernel is older than 5.1");
    /// RFC 8446, 5.1 and 6: a record's header, level and description.
    const ALERT: usize = 7;
    let plan = Plan::new();
    let certs = Certs::new();
    let lines = certs.server().lines() + "accept = 127.0.0.1:0\nconnect = 127.0.0.1:1\n";
    let adit = plan.service("echo", lines).start();
    let narrow = adit.address("echo");
    let wide = SocketAddr::from(([0, 0, 0, 0], narrow.port()));
    let stop = AtomicBool::new(false);
    let be_refused = || {
        let mut stream = peers::connect(narrow);
        stream.write_all(b"this is no ClientHello")?;
        stream.read_exact(&mut [0; ALERT])
    };
    std::thread::scope(|scope| {
        let client = || {
            let mut turn = 0;
            while !stop.load(Ordering::SeqCst) {
                be_refused().unwrap_or_else(|error| panic!("connection {turn}: {error}"));
                turn += 1;
            }
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        let mut last = "127.0.0.1:0".to_owned();
        for turn in 0..10 {
            let next = if turn % 2 == 0 { wide } else { narrow };
            adit.rewrite(|text| accept_of_echo(&text, &last, next));
            adit.reload(1);
            last = next.to_string();
            if clients
                .iter()
                .any(std::thread::ScopedJoinHandle::is_finished)
            {
                break;
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_unresponsive_program_on_a_unix_socket_delays_nothing() {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
    };
    use std::os::fd::AsRawFd;
    require!(adit);
    let plan = Plan::new();
    let path = plan.folder().join("busy.sock");
    let flags = SockFlag::SOCK_NONBLOCK;
    let busy = socket(AddressFamily::Unix, SockType::Stream, flags, None).expect("a socket");
    bind(busy.as_raw_fd(), &UnixAddr::new(&path).expect("a path")).expect("bind");
    listen(&busy, Backlog::new(0).expect("a number")).expect("listen");
    // One fills its queue.
    let _client = std::os::unix::net::UnixStream::connect(&path).expect("connect");
    let lines = format!(
        "client = yes\naccept = {}\nconnect = 127.0.0.1:1\n",
        path.display()
    );
    plan.service("busy", lines)
        .run()
        .exits(1)
        .says(&["Address already in use"]);
}
