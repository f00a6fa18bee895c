//! An address that changes to one that overlaps it loses no client, whatever has become of the master that it
//! had: one that is dead, one that is full, a candidate that dies.

use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal;
use nix::sys::socket::setsockopt;
use nix::{setsockopt_impl, sockopt_impl};

use crate::require;
use crate::supervision::{client_mode, goes_on, open, send};
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

/// How many clients wait.
const CLIENTS: usize = 30;

sockopt_impl!(
    /// SO_BINDTOIFINDEX of socket(7), by which a listener is retired.
    BindToIndex,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_BINDTOIFINDEX,
    i32
);

/// Whether a listener can be retired here. Without it the queue of a master that is dead, or full, is lost.
fn can_retire() -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    setsockopt(&listener, BindToIndex, &i32::MAX).is_ok()
}

struct Scene {
    adit: Adit,
    port: u16,
    _upstream: Server,
    _certs: Certs,
}

impl Scene {
    /// One that accepts at a free port of this address.
    fn new(plan: Plan, host: &str) -> Scene {
        let certs = Certs::new();
        let upstream = tls::echo_server(&certs, tls::BOTH);
        let lines = format!("accept = {host}:0\n") + &client_mode(&certs, &upstream);
        let adit = plan.global("workers = 1").service("test", lines).start();
        let port = adit.address("test").port();
        Scene {
            adit,
            port,
            _upstream: upstream,
            _certs: certs,
        }
    }

    /// Writes that it accepts there from now on.
    fn moves(&self, from: &str, to: &str) {
        let port = self.port;
        self.adit.rewrite(|text| {
            text.replace(
                &format!("accept = {from}:0"),
                &format!("accept = {to}:{port}"),
            )
        });
    }

    fn client(&self) -> TcpStream {
        peers::connect(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    fn clients(&self) -> Vec<TcpStream> {
        (0..CLIENTS).map(|_| self.client()).collect()
    }
}

/// Each is served, one after the other.
#[track_caller]
fn all_are_served(clients: Vec<TcpStream>) {
    for (number, mut client) in clients.into_iter().enumerate() {
        assert!(goes_on(&mut client), "client {number} was lost");
    }
}

#[test]
fn clients_who_wait_for_a_dead_master_are_served_by_the_next_generation() {
    require!(adit);
    require!(can_retire(), "this kernel is older than 5.1");
    let scene = Scene::new(Plan::new(), "127.0.0.1");
    drop(open(&scene.adit));
    // Its spare does not replace it either.
    proc::freeze(proc::spare(scene.adit.pid()));
    let master = proc::roles(scene.adit.pid()).master;
    send(master, Signal::SIGKILL);
    scene
        .adit
        .wait_for_log("was killed by SIGKILL; its spare is");
    let clients = scene.clients();
    scene.moves("127.0.0.1", "0.0.0.0");
    scene.adit.reload(1);
    all_are_served(clients);
    all_are_served(scene.clients());
}

#[test]
fn clients_who_wait_for_a_full_generation_are_served_by_the_next() {
    require!(adit);
    require!(can_retire(), "this kernel is older than 5.1");
    // 12 sessions in its worker.
    let plan = Plan::new().global("threads = 1").open_files(60);
    let scene = Scene::new(plan, "127.0.0.1");
    let mut sessions = Vec::new();
    while scene.adit.count_in_log("All workers are full") == 0 {
        sessions.push(scene.client());
        goes_on_for_a_moment(sessions.last_mut());
    }
    let clients = scene.clients();
    scene.moves("127.0.0.1", "0.0.0.0");
    scene.adit.reload(1);
    all_are_served(clients);
    all_are_served(scene.clients());
    // Those that it had go on.
    assert!(goes_on(&mut sessions[0]));
}

/// One that is served says so soon; another waits.
fn goes_on_for_a_moment(client: Option<&mut TcpStream>) {
    let client = client.expect("a client");
    let moment = std::time::Duration::from_millis(500);
    client.set_read_timeout(Some(moment)).expect("a timeout");
    goes_on(client);
    client.set_read_timeout(None).expect("a timeout");
}

#[test]
fn a_candidate_that_dies_takes_no_client_with_it() {
    require!(adit);
    let scene = Scene::new(Plan::new(), "0.0.0.0");
    drop(scene.client());
    let old = proc::roles(scene.adit.pid()).master;
    scene.moves("0.0.0.0", "127.0.0.1");
    // So many that it takes a while.
    scene
        .adit
        .rewrite(|text| text.replace("workers = 1", "workers = 40"));
    scene.adit.signal(Signal::SIGHUP);
    scene.adit.wait_for_log_times("Worker 0 started", 2);
    let clients = scene.clients();
    let candidate = wait_for("the candidate", || {
        let below = proc::children(scene.adit.pid()).into_iter();
        let mut others = below.filter(|pid| *pid != old && proc::title(*pid).contains("master"));
        others.next()
    });
    send(candidate, Signal::SIGKILL);
    scene.adit.wait_for_log("before it served");
    scene.adit.wait_for_log("Failed to reload");
    all_are_served(clients);
}

#[test]
fn an_address_that_is_given_up_is_free_at_once() {
    require!(adit);
    let scene = Scene::new(Plan::new(), "127.0.0.1");
    drop(open(&scene.adit));
    let given_up = SocketAddr::from(([127, 0, 0, 1], scene.port));
    scene
        .adit
        .rewrite(|text| text.replace("accept = 127.0.0.1:0", "accept = 127.0.0.2:0"));
    scene.adit.reload(1);
    scene.adit.wait_for_log("Configuration reloaded");
    TcpListener::bind(given_up).expect("a free address");
}

#[test]
fn an_address_that_a_wider_one_had_is_free_for_others() {
    require!(adit);
    require!(can_retire(), "this kernel is older than 5.1");
    let scene = Scene::new(Plan::new(), "0.0.0.0");
    drop(open(&scene.adit));
    let given_up = SocketAddr::from(([127, 0, 0, 2], scene.port));
    assert!(TcpListener::bind(given_up).is_err());
    scene.moves("0.0.0.0", "127.0.0.1");
    scene.adit.reload(1);
    // The masters and the supervisor have closed what they had.
    let _others = wait_for("a free address", || TcpListener::bind(given_up).ok());
    all_are_served(scene.clients());
}
