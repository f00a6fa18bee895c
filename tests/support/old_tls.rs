//! Peers with old TLS: tlslite-ng, which has TLS 1.0, 3DES and RC4 where Debian's OpenSSL has none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::certs::Pair;
use super::openssl::Tool;
use super::wait_for;

/// Where `tests/run` installs Python modules.
pub fn modules() -> PathBuf {
    std::env::var_os("PYTHON_MODULES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python-modules"),
        PathBuf::from,
    )
}

/// Whether the peers can run.
pub fn available() -> bool {
    modules().join("tlslite").is_dir()
}

fn peer() -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_tls/peer.py");
    let mut command = Command::new("python3");
    command.arg(script).env("PYTHONPATH", modules());
    command
}

/// A client that is connected, once it has said what was negotiated.
#[track_caller]
pub fn client(address: SocketAddr, options: &[&str]) -> Tool {
    let tool = start(address, options);
    tool.wait_for("resumed=");
    tool
}

/// A client whose handshake comes to whatever end.
#[track_caller]
pub fn start(address: SocketAddr, options: &[&str]) -> Tool {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let arguments = ["client", &host, &port];
    Tool::start(peer().args(arguments).args(options))
}

/// How long the fastest of many first answers took, to clients with Nagle's algorithm on; the first one that took
/// less than `enough` is the last.
#[track_caller]
pub fn fastest_answer(address: SocketAddr, enough: Duration, options: &[&str]) -> Duration {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let enough = enough.as_secs_f64().to_string();
    let arguments = ["timed", &host, &port, "--enough", &enough];
    let mut tool = Tool::start(peer().args(arguments).args(options));
    tool.end_input();
    assert!(tool.succeeds(), "{}", tool.said());
    let said = tool.said();
    let found = said.lines().find_map(|line| line.strip_prefix("fastest: "));
    let found = found.and_then(|line| line.strip_suffix(" ms")?.parse::<f64>().ok());
    Duration::from_secs_f64(found.expect("a time") / 1000.0)
}

/// What a client says whose handshake fails.
#[track_caller]
pub fn refused(address: SocketAddr, options: &[&str]) -> String {
    let mut tool = start(address, options);
    tool.end_input();
    let served = tool.succeeds();
    let said = tool.said();
    assert!(!served, "it was served: {said}");
    said
}

/// What comes back for an SSL 2.0 hello that offers this version, `3.1` say.
#[track_caller]
pub fn hello2(address: SocketAddr, offers: &str) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let mut tool = Tool::start(peer().args(["hello2", &host, &port, offers]));
    tool.end_input();
    assert!(tool.succeeds(), "{}", tool.said());
    tool.said()
}

/// An echo server.
#[track_caller]
pub fn server(pair: &Pair, options: &[&str]) -> (Tool, SocketAddr) {
    let mut command = peer();
    command.arg("server").args([&pair.cert, &pair.key]);
    let tool = Tool::start(command.args(options));
    let port = wait_for("the server's port", || {
        tool.said().lines().next()?.trim().parse::<u16>().ok()
    });
    (tool, ([127, 0, 0, 1], port).into())
}
