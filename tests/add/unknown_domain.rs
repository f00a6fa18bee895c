//! A domain that the table does not have: DNS is asked, and what it names is shown before it is used.

use std::fs;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use super::{Place, said};
use crate::require;
use crate::support::adit::program;
use crate::support::installed;

/// Answers questions of `_imaps._tcp.firma.example` and of `_submission._tcp.firma.example` with a server each,
/// all others with none; until its socket's thread ends with the test.
fn name_server(socket: UdpSocket) {
    let mut query = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut query) {
        let question = &query[12..length];
        let mut reply = vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        let target: Option<(u16, &[u8])> = match question {
            it if it.starts_with(b"\x06_imaps\x04_tcp\x05firma\x07example") => {
                Some((993, b"\x04post\x05firma\x07example\0"))
            }
            it if it.starts_with(b"\x0b_submission\x04_tcp\x05firma\x07example") => {
                Some((587, b"\x04send\x05firma\x07example\0"))
            }
            _ => None,
        };
        reply[7] = target.is_some().into();
        reply.extend_from_slice(question);
        if let Some((port, name)) = target {
            // A pointer to the question, SRV, IN, a time to live; then priority, weight and port.
            reply.extend_from_slice(&[
                0xc0,
                12,
                0,
                33,
                0,
                1,
                0,
                0,
                0,
                60,
                0,
                (6 + name.len()) as u8,
            ]);
            reply.extend_from_slice(&[0, 10, 0, 5]);
            reply.extend_from_slice(&port.to_be_bytes());
            reply.extend_from_slice(name);
        }
        socket.send_to(&reply, from).expect("answering");
    }
}

#[test]
fn a_domain_that_it_does_not_know_is_asked_for_and_shown_before_it_is_used() {
    require!(adit);
    require!(root);
    require!(installed("ip").is_some(), "ip is not installed");
    // Of this thread, and of the processes it starts.
    unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("ip").success());
    let socket = UdpSocket::bind("127.0.0.1:53").expect("a name server's port");
    std::thread::spawn(move || name_server(socket));
    let place = Place::new();
    let resolv = place.plan.folder().join("resolv");
    fs::write(&resolv, "nameserver 127.0.0.1\n").expect("writing");
    let with = |more: &[&str]| {
        let mut command = Command::new("unshare");
        let script = "mount --bind \"$0\" /etc/resolv.conf; exec \"$@\"";
        command
            .args(["--mount", "sh", "-ec", script])
            .arg(&resolv)
            .arg(program());
        command
            .arg("add")
            .args(more)
            .arg(place.file())
            .stdin(Stdio::null());
        said(command.env("RUNTIME_DIRECTORY", place.plan.folder()))
    };
    let (status, told) = with(&["you@firma.example"]);
    assert_eq!(status, Some(1), "{told}");
    for part in [
        "  SMTP  send.firma.example:587 STARTTLS\n",
        "  IMAP  post.firma.example:993 TLS\n",
        "there is no terminal to ask at",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(place.everything().is_empty());
    let (status, told) = with(&["you@firma.example", "--yes"]);
    assert_eq!(status, Some(0), "{told}");
    let text = fs::read_to_string(place.part("you@firma.example.conf")).expect("the services");
    assert!(
        text.contains("protocol = smtp\nconnect = send.firma.example:587\nverifyServer = yes\n"),
        "{text}"
    );
    assert!(
        text.contains("connect = post.firma.example:993\n") && !text.contains("-pop3]"),
        "{text}"
    );
    let (status, told) = with(&["you@other.example", "--yes"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(told.contains("its DNS names no servers"), "{told}");
    fs::write(&resolv, "nameserver 127.0.0.2\n").expect("writing");
    let (_, told) = with(&["you@other.example", "--yes"]);
    assert!(
        told.contains("DNS does not answer: 127.0.0.2:53: "),
        "{told}"
    );
}
