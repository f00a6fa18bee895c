//! OpenSSL's command line: a peer that shares no code with adit.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{DEADLINE, poll_for, wait_for};

/// A child whose output is collected as it comes, killed on drop.
pub struct Tool {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    collectors: Vec<JoinHandle<()>>,
}

impl Tool {
    /// Starts it with its streams held by this value.
    #[track_caller]
    pub fn start(command: &mut Command) -> Tool {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = Arc::new(Mutex::new(Vec::new()));
        let collectors = vec![
            collect(child.stdout.take().expect("piped"), said.clone()),
            collect(child.stderr.take().expect("piped"), said.clone()),
        ];
        Tool {
            child,
            said,
            collectors,
        }
    }

    /// Its output so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().expect("no panic")).into_owned()
    }

    /// Waits until its output contains this.
    #[track_caller]
    pub fn wait_for(&self, phrase: &str) -> String {
        match poll_for(DEADLINE, || self.said().contains(phrase).then_some(())) {
            Some(()) => self.said(),
            None => panic!("no {phrase:?} in what it said:\n{}", self.said()),
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("kill");
    }

    /// Its standard input.
    pub fn input(&mut self) -> &mut impl Write {
        self.child.stdin.as_mut().expect("not closed")
    }

    /// Closes its standard input.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its exit and its last output; whether it succeeded.
    #[track_caller]
    pub fn succeeds(&mut self) -> bool {
        let ended = poll_for(DEADLINE, || self.child.try_wait().expect("wait"));
        let Some(status) = ended else {
            panic!("it does not end; it said:\n{}", self.said());
        };
        for collector in self.collectors.drain(..) {
            collector.join().expect("no panic");
        }
        status.success()
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            into.lock()
                .expect("no panic")
                .extend_from_slice(&buffer[..n]);
        }
    })
}

/// `openssl s_client` to that address, with `input` and then its end; returns all its output.
#[track_caller]
pub fn s_client(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let mut tool = Tool::start(
        Command::new("openssl")
            .args(["s_client", "-connect", &address.to_string()])
            .args(arguments),
    );
    // It may have exited already, its handshake refused.
    let _ = tool.input().write_all(input.as_bytes());
    tool.end_input();
    tool.succeeds();
    tool.said()
}

/// `openssl s_server` on a port that the kernel chooses: the server and its address.
#[track_caller]
pub fn s_server(pair: &super::certs::Pair, arguments: &[&str]) -> (Tool, SocketAddr) {
    let tool = Tool::start(
        Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .arg("-cert")
            .arg(&pair.cert)
            .arg("-key")
            .arg(&pair.key)
            .args(arguments),
    );
    // "ACCEPT 127.0.0.1:41234"
    let address = wait_for("s_server's port", || {
        let said = tool.said();
        let line = said.lines().find(|line| line.starts_with("ACCEPT"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    });
    (tool, address)
}

/// Runs a program until it exits, within the deadline; fails unless it succeeds.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().expect("piped")),
        Box::new(child.stderr.take().expect("piped")),
    ];
    let said = streams.map(|stream| {
        let said = Arc::new(Mutex::new(Vec::new()));
        (collect(stream, Arc::clone(&said)), said)
    });
    let ended = poll_for(DEADLINE, || child.try_wait().expect("wait"));
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [stdout, stderr] = said.map(|(collector, said)| {
        // A process that it started may outlive it and hold the stream open.
        if ended.is_some() {
            collector.join().expect("no panic");
        }
        std::mem::take(&mut *said.lock().expect("no panic"))
    });
    let Some(status) = ended else {
        panic!(
            "{command:?} does not end; it said:\n{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    };
    let output = Output {
        status,
        stdout,
        stderr,
    };
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
