//! A network of three machines in network namespaces: a client and a server with a router between them, which is
//! the test's own thread and where adit runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// Runs a script in the namespace of this thread.
#[track_caller]
pub fn shell(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output();
    let output = output.expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
}

/// The router's address towards the client, the client's, the server's; of each family.
pub const ROUTER: [IpAddr; 2] = [v4(1, 1), v6(1, 1)];
pub const CLIENT: [IpAddr; 2] = [v4(1, 2), v6(1, 2)];
pub const SERVER: [IpAddr; 2] = [v4(2, 2), v6(2, 2)];

const fn v4(net: u8, host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, net, host))
}

const fn v6(net: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, net, 0, 0, 0, host))
}

type Job = Box<dyn FnOnce() + Send>;

/// A machine with one interface: a thread in a namespace of its own.
pub struct Host {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// One more machine, in the router's network of this number: the router is 10.77.NET.1, the machine 10.77.NET.2.
    pub fn new(net: u8) -> Host {
        let (jobs, todo) = channel::<Job>();
        let (sender, number) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
            sender.send(gettid()).expect("the test waits");
            while let Ok(job) = todo.recv() {
                job();
            }
        });
        let number = number.recv().expect("the thread's number");
        shell(&format!(
            "ip link add to{net} type veth peer name eth0 netns {number}
             ip address add 10.77.{net}.1/24 dev to{net}
             ip address add fd77:0:0:{net}::1/64 dev to{net} nodad
             ip link set to{net} up"
        ));
        let host = Host {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        host.run(move || {
            shell(&format!(
                "ip link set lo up
                 ip address add 10.77.{net}.2/24 dev eth0
                 ip address add fd77:0:0:{net}::2/64 dev eth0 nodad
                 ip link set eth0 up
                 ip route add default via 10.77.{net}.1
                 ip -6 route add default via fd77:0:0:{net}::1"
            ));
        });
        host
    }

    /// Runs this there; sockets that it makes stay there. Threads that it starts are there too.
    #[track_caller]
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = channel();
        let job: Job = Box::new(move || drop(sender.send(job())));
        let jobs = self.jobs.as_ref().expect("it runs");
        jobs.send(job).expect("it runs");
        result.recv().expect("it does not panic")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The network; this thread is in the router from now on.
pub fn network() -> (Host, Host) {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
    shell(
        "ip link set lo up
         echo 1 >/proc/sys/net/ipv4/ip_forward
         echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
         echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
         echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter",
    );
    (Host::new(1), Host::new(2))
}
