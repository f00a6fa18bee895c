//! As process 1 adit does what a container needs without a word of it in the configuration. The image itself
//! is run by tests/packaging.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::require;
use crate::support::adit::program;
use crate::support::{Certs, Plan, peers, proc, tls, wait_for};

/// adit as the first process of a namespace, and what it wrote to each of its standard streams.
struct Contained {
    unshare: Child,
    /// Its number here.
    first: Pid,
    /// [standard output, standard error]: sockets, which no path opens.
    streams: [UnixStream; 2],
    said: [String; 2],
}

impl Contained {
    fn start(plan: &Plan, variables: &[(&str, &str)]) -> Contained {
        let pair = || UnixStream::pair().expect("a pair of sockets");
        let [(out, theirs), (err, their_err)] = [pair(), pair()];
        for stream in [&out, &err] {
            stream.set_nonblocking(true).expect("fcntl");
        }
        fs::write(plan.file(), "; All of it is in variables.\n").expect("writing");
        let unshare = Command::new("unshare")
            .args(["--pid", "--fork"])
            .arg(program())
            .arg(plan.file())
            .env("ADIT_CONTROL", plan.folder().join("control"))
            .env("ADIT_SYSLOG", "no")
            .env("ADIT_DEBUG", "info")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(theirs))
            .stderr(OwnedFd::from(their_err))
            .spawn()
            .expect("starting unshare");
        let parent = unshare.id() as i32;
        let first = wait_for("process 1", || proc::children(parent).first().copied());
        Contained {
            unshare,
            first: Pid::from_raw(first),
            streams: [out, err],
            said: Default::default(),
        }
    }

    /// What it has said on its standard output (0) or standard error (1).
    fn said(&mut self, stream: usize) -> &str {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = self.streams[stream].read(&mut piece) {
            self.said[stream] += &String::from_utf8_lossy(&piece[..count]);
        }
        &self.said[stream]
    }

    fn wait_for_line(&mut self, stream: usize, phrase: &str) -> String {
        wait_for(phrase, || {
            let mut lines = self.said(stream).lines();
            lines.find(|line| line.contains(phrase)).map(str::to_owned)
        })
    }

    /// Ends it by TERM, which reaches process 1 only if it has a handler; whether it succeeded.
    fn stops(mut self) -> [String; 2] {
        kill(self.first, Signal::SIGTERM).expect("kill");
        let status = wait_for("its end", || self.unshare.try_wait().expect("wait"));
        let said = [0, 1].map(|stream| self.said(stream).to_owned());
        assert!(status.success(), "{status}: {said:?}");
        said
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // Not once its number may be another's.
        if self.unshare.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(self.first, Signal::SIGKILL);
            let _ = self.unshare.wait();
        }
    }
}

#[test]
fn process_1_stays_serves_what_variables_say_and_logs_to_its_own_standard_streams() {
    require!(adit);
    require!(root);
    require!(program "unshare");
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let connect = upstream.address.to_string();
    let ca = certs.ca().display().to_string();
    let service = [
        ("ADIT_CLIENT", "yes"),
        ("ADIT_SERVICE_MY_DB_ACCEPT", "127.0.0.1:0"),
        ("ADIT_SERVICE_MY_DB_CONNECT", &connect),
        ("ADIT_SERVICE_MY_DB_CA_FILE", &ca),
        ("ADIT_SERVICE_MY_DB_verifyChain", "yes\n"),
    ];
    for (output, stream) in [(None, 1), (Some(("ADIT_OUTPUT", "/dev/stdout")), 0)] {
        let plan = Plan::new();
        let variables: Vec<_> = service.iter().copied().chain(output).collect();
        let mut adit = Contained::start(&plan, &variables);
        let bound = adit.wait_for_line(stream, "Service [my_db] (FD=");
        let (_, address) = bound.rsplit_once(" bound to ").expect("an address");
        let address: SocketAddr = address.parse().expect("an address");
        adit.wait_for_line(stream, "Accepting new connections");
        peers::says_and_hears(&mut peers::connect(address), "hello");
        // Reopening has nothing to open.
        kill(adit.first, Signal::SIGUSR1).expect("kill");
        adit.wait_for_line(
            stream,
            match output {
                Some(_) => "Log file reopened",
                None => "Certificate accepted at depth=0",
            },
        );
        let said = adit.stops();
        assert!(said[stream].contains("]: Terminated"), "{said:?}");
        assert_eq!(said[1 - stream], "", "each line once");
    }
}
