//! A dead master is replaced from memory: no file is read, no name is asked, no folder is needed.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::require;
use crate::supervision::{goes_on, open, send};
use crate::support::certs::Pair;
use crate::support::peers::{self, Server};
use crate::support::{Adit, Certs, Plan, proc, tls, wait_for};

const NOBODY: &str = "setuid = nobody\nsetgid = nogroup";

/// An adit whose configuration cannot be loaded any more, once that is wanted.
struct Scene {
    adit: Adit,
    certs: Certs,
    pair: Pair,
    jail: PathBuf,
    _upstream: Server,
}

impl Scene {
    fn new(globals: &str) -> Scene {
        Scene::of(globals, "")
    }

    fn of(globals: &str, lines: &str) -> Scene {
        let (certs, upstream) = (Certs::new(), Server::echo());
        let pair = certs.server();
        let plan = Plan::new();
        let jail = plan.folder().join("jail");
        let control = plan.folder().join("control");
        fs::create_dir(&jail).expect("mkdir");
        // A name, so that there is something to ask.
        let connect = format!("connect = localhost:{}\n", upstream.address.port());
        let adit = plan
            .global(format!("control = {}", control.display()))
            .global("workers = 1")
            .global(format!("chroot = {}", jail.display()))
            .global(globals)
            .service("test", connect + &pair.lines() + lines)
            .start();
        Scene {
            adit,
            certs,
            pair,
            jail,
            _upstream: upstream,
        }
    }

    /// A certificate without a byte, a jail that is gone, and a resolver that never answers.
    fn nothing_can_be_read(&self) {
        fs::write(&self.pair.cert, "").expect("emptying the certificate");
        fs::remove_dir_all(&self.jail).expect("removing the jail");
        let below = proc::children(self.adit.pid()).into_iter();
        let mut resolvers = below.filter(|&pid| proc::title(pid).contains("resolver"));
        proc::freeze(resolvers.next().expect("a resolver"));
    }

    fn talk(&self) -> tls::ClientStream {
        let config = tls::client_config(&self.certs.ca(), tls::BOTH, None);
        let mut client = tls::connect(config, self.adit.address("test"));
        peers::says_and_hears(&mut client, "hello");
        client
    }

    /// What `adit status` tells of the generation that serves; waits for one.
    #[track_caller]
    fn serving(&self) -> serde_json::Value {
        wait_for("a generation that serves", || {
            let status = self.adit.status();
            let mut all = status["generations"].as_array()?.iter();
            all.find(|g| g["state"] == "serving").cloned()
        })
    }

    #[track_caller]
    fn master(&self) -> i32 {
        let pid = self.serving()["pid"].as_i64();
        i32::try_from(pid.expect("a number")).expect("a number")
    }

    /// Kills the master that serves, and waits for the `nth` that comes in the place of one.
    fn kill_master(&self, nth: usize) {
        send(self.master(), Signal::SIGKILL);
        self.adit
            .wait_for_log_times("serves in place of the dead one", nth);
    }

    /// The serving generation's spare, as `adit status` shows it.
    fn spare_in_status(&self) -> Option<u64> {
        self.serving()["spare"].as_u64()
    }

    #[track_caller]
    fn wait_for_spare(&self) -> i32 {
        let shown = wait_for("a spare in the status", || {
            self.spare_in_status().filter(|pid| *pid != 0)
        });
        let pid = i32::try_from(shown).expect("a number");
        let title = proc::title(pid);
        assert!(title.starts_with("adit: spare of generation"), "{title}");
        pid
    }
}

/// Where all must be read again nothing would serve, and the names alone would take 10 seconds.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn a_master_is_replaced_again_and_again_though_nothing_can_be_read_any_more() {
    require!(root);
    require!(adit);
    let scene = Scene::new(NOBODY);
    drop(scene.talk());
    let spare = scene.wait_for_spare();
    scene.nothing_can_be_read();
    for nth in 1..=5 {
        let killed = Instant::now();
        scene.kill_master(nth);
        drop(scene.talk());
        let took = killed.elapsed();
        assert!(took < SOON, "death {nth} took {took:?}");
        assert_eq!(scene.wait_for_spare(), spare, "it is the same one");
    }
    // Nothing of the dead is left, and the reload that fails says why.
    wait_for("the end of what they left", || {
        let left = proc::children(scene.adit.pid()).into_iter();
        let left = left.filter(|&pid| proc::title(pid).contains("worker"));
        (left.count() == 0).then_some(())
    });
    assert_eq!(scene.adit.count_in_log("Configuration failed"), 0);
}

#[test]
fn old_tls_outlives_its_master_and_its_zygote_likewise() {
    require!(root);
    require!(adit);
    let scene = Scene::of(NOBODY, "sslVersionMin = TLSv1\n");
    drop(scene.talk());
    scene.wait_for_spare();
    scene.nothing_can_be_read();
    scene.kill_master(1);
    drop(scene.talk());
    let below = |pid: i32| proc::children(pid).into_iter();
    let zygote = |pid: &i32| proc::title(*pid).contains("zygote");
    // The one that was forked for this master is a child of the supervisor, as its spare's is.
    let mut zygotes: Vec<i32> = below(scene.adit.pid()).filter(zygote).collect();
    zygotes.retain(|&pid| below(pid).any(|worker| proc::title(worker).contains("old worker")));
    assert_eq!(zygotes.len(), 1, "{zygotes:?}");
    send(zygotes[0], Signal::SIGKILL);
    scene
        .adit
        .wait_for_log_times("serves in place of the dead one", 2);
    drop(scene.talk());
    assert_eq!(scene.adit.count_in_log("Child process"), 0);
}

#[test]
fn a_spare_that_was_killed_is_replaced_and_as_good() {
    require!(root);
    require!(adit);
    let scene = Scene::new(NOBODY);
    let first = scene.wait_for_spare();
    let master = scene.master();
    scene.nothing_can_be_read();
    send(first, Signal::SIGKILL);
    scene
        .adit
        .wait_for_log("The spare of generation 1 was killed by SIGKILL");
    let second = wait_for("another spare", || {
        let pid = scene.wait_for_spare();
        (pid != first).then_some(pid)
    });
    assert_eq!(scene.master(), master);
    scene.kill_master(1);
    drop(scene.talk());
    assert_eq!(scene.wait_for_spare(), second);
}

#[test]
fn when_both_are_dead_everything_is_read_again() {
    require!(root);
    require!(adit);
    let scene = Scene::new(NOBODY);
    let spare = scene.wait_for_spare();
    let master = scene.master();
    // The master cannot fork another meanwhile.
    proc::freeze(master);
    send(spare, Signal::SIGKILL);
    wait_for("the spare's end", || (!proc::alive(spare)).then_some(()));
    send(master, Signal::SIGKILL);
    scene.adit.wait_for_log("serves in place of the dead one");
    drop(scene.talk());
    assert_ne!(scene.wait_for_spare(), spare);
}

#[test]
fn a_spare_that_stands_still_is_given_up_and_everything_is_read_again() {
    require!(root);
    require!(adit);
    let scene = Scene::new(NOBODY);
    let spare = scene.wait_for_spare();
    proc::freeze(spare);
    scene.kill_master(1);
    scene
        .adit
        .wait_for_log("The spare could not start a master: no answer in time");
    drop(scene.talk());
    assert_ne!(scene.wait_for_spare(), spare);
    assert!(!proc::alive(spare), "it is left behind");
}

#[test]
fn when_no_spare_can_be_made_that_is_told_and_service_goes_on() {
    require!(root);
    require!(adit);
    // Another user's limits are not the test's to change.
    let scene = Scene::new("setuid = root\nsetgid = root");
    let spare = scene.wait_for_spare();
    // It is told to fork one, and can open nothing more for that.
    let limit = proc::leave_descriptors(scene.master(), 1);
    send(spare, Signal::SIGKILL);
    let line = scene.adit.wait_for_log("Generation 1 has no spare: ");
    assert!(line.contains("Too many open files"), "{line}");
    assert_eq!(scene.spare_in_status(), Some(0));
    proc::limit_descriptors(scene.master(), &limit);
    drop(scene.talk());
    scene.wait_for_spare();
}

#[test]
fn a_reload_leaves_one_spare_and_so_does_the_end_none() {
    require!(root);
    require!(adit);
    let scene = Scene::new("setuid = nobody\nsetgid = nogroup\ndrainTimeout = 60");
    let first = scene.wait_for_spare();
    let client = scene.talk();
    scene.adit.reload(1);
    scene.adit.wait_for_log("Configuration reloaded");
    let second = scene.wait_for_spare();
    assert_ne!(second, first);
    // The old generation lives on for its connection, and accepts nothing.
    wait_for("the old spare's end", || {
        (!proc::alive(first)).then_some(())
    });
    scene.nothing_can_be_read();
    scene.kill_master(1);
    drop(scene.talk());
    drop(client);
    let family = proc::family(scene.adit.pid());
    let begun = Instant::now();
    let (status, said) = scene.adit.stop();
    assert!(status.success() && begun.elapsed() < SOON, "{said}");
    proc::wait_for_end(&family);
}

#[test]
fn a_master_that_dies_while_a_reload_hangs_is_replaced_at_once() {
    require!(root);
    require!(adit);
    let scene = Scene::new(NOBODY);
    scene.wait_for_spare();
    // The candidate waits for the resolver.
    scene.nothing_can_be_read();
    scene.adit.rewrite(|text| text + "debug = 6\n");
    scene.adit.signal(Signal::SIGHUP);
    wait_for("a candidate", || {
        let masters = proc::children(scene.adit.pid()).into_iter();
        let masters = masters.filter(|&pid| proc::title(pid).contains("master"));
        (masters.count() == 2).then_some(())
    });
    // The one that serves, and not the candidate.
    send(scene.master(), Signal::SIGKILL);
    scene.adit.wait_for_log("serves in place of the dead one");
    drop(scene.talk());
}

#[test]
fn an_ordinary_user_has_a_spare_too() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let adit = crate::supervision::start(&certs, &upstream, "workers = 1");
    let spare = proc::spare(adit.pid());
    assert_eq!(proc::listeners(spare), 0, "it holds a listener");
    send(proc::roles(adit.pid()).master, Signal::SIGKILL);
    adit.wait_for_log("serves in place of the dead one");
    assert!(goes_on(&mut open(&adit)));
    assert_eq!(proc::spare(adit.pid()), spare);
}
