//! The demo's client against its server, and the whole demo with stunnel in adit's place.

use super::*;
use crate::config::DialogueOptions;
use crate::protocol::{Action, Event, Progress, Side, dialogue};

/// Does STARTTLS with the server as adit would; returns what the mail program receives meanwhile.
fn starttls(stream: &mut TcpStream) -> Vec<u8> {
    use std::io::Read;
    let mut dialogue = dialogue(
        crate::config::Protocol::Smtp,
        true,
        &DialogueOptions::default(),
    );
    let mut heard = Vec::new();
    let mut out = Vec::new();
    let mut progress = dialogue.feed(Event::Start, &mut out).unwrap();
    while progress == Progress::More {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the server closed");
        progress = dialogue
            .feed(Event::Bytes(Side::Back, &chunk[..read]), &mut out)
            .unwrap();
        for action in out.drain(..) {
            match action {
                Action::Send(Side::Back, bytes) => stream.write_all(&bytes).unwrap(),
                Action::Send(Side::Front, bytes) => heard.extend(bytes),
                _ => {}
            }
        }
    }
    heard
}

fn dial_server(address: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(MAIL_TIMEOUT)).unwrap();
    stream
}

#[test]
fn the_mail_program_and_the_mail_server_understand_each_other() {
    let identity = Identity::make().unwrap();
    let server = MailServer::start(&identity, ACCOUNT).unwrap();
    let secure = |stream| crate::tls::demo::connect(&identity.authority_der, HOST, stream).unwrap();
    let mail = compose();

    let mut stream = dial_server(server.submission);
    let greeting = starttls(&mut stream);
    let mut sending = Transcript::new();
    let mut wire = Wire::resume(secure(stream), greeting);
    client::submit(&mut wire, ACCOUNT, &mail, &mut sending).unwrap();
    let sent = report(&server, Port::Submission).unwrap();
    assert_eq!(server.mailbox(), [&mail[..]]);
    assert!(sent.before_tls.contains(&"C: STARTTLS".to_owned()));

    let mut fetching = Transcript::new();
    let mut wire = Wire::new(secure(dial_server(server.pop3s)));
    let fetched = client::fetch(&mut wire, ACCOUNT, &mut fetching).unwrap();
    let got = report(&server, Port::Pop3s).unwrap();
    assert_eq!(fetched, mail);
    assert!(server.mailbox().is_empty());

    let story = |sent, got| Story {
        ports: Ports { smtp: 1, pop3: 2 },
        server: &server,
        mail: &mail,
        sending: &sending,
        sent,
        fetching: &fetching,
        got,
    };
    story(&sent, &got).check().unwrap();
    let mut told = Vec::new();
    story(&sent, &got).tell(&mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("TLSv1.3, cipher TLS_"), "{told}");
    assert!(told.contains("C: PASS ********"), "{told}");
    for secret in [
        ACCOUNT.password.to_owned(),
        crate::base64::encode(ACCOUNT.password.as_bytes()),
    ] {
        assert!(!told.contains(&secret), "{told}");
    }
}

#[test]
fn a_side_that_is_not_secret_fails_the_demo() {
    let seen = |version: &str, heard: &[u8]| Seen {
        before_tls: Vec::new(),
        negotiated: crate::tls::demo::DemoNegotiated {
            version: version.to_owned(),
            suite: String::new(),
            group: String::new(),
        },
        on_the_wire: heard.to_vec(),
    };
    let identity = Identity::make().unwrap();
    let server = MailServer::start(&identity, ACCOUNT).unwrap();
    let verdict = |sent: Seen| {
        Story {
            ports: Ports { smtp: 1, pop3: 2 },
            server: &server,
            mail: b"",
            sending: &Transcript::new(),
            sent: &sent,
            fetching: &Transcript::new(),
            got: &seen("TLSv1.3", b"17 03 03"),
        }
        .check()
    };
    assert!(verdict(seen("TLSv1.3", b"x")).is_ok());
    assert!(matches!(
        verdict(seen("TLSv1.2", b"x")),
        Err(Reason::NotTls13(_))
    ));
    let password = crate::base64::encode(ACCOUNT.password.as_bytes());
    for readable in [ACCOUNT.password, &password, SENTENCE] {
        let heard = format!("x{readable}x");
        assert!(matches!(
            verdict(seen("TLSv1.3", heard.as_bytes())),
            Err(Reason::Readable(_))
        ));
    }
}

#[test]
fn the_server_takes_no_password_before_tls() {
    let identity = Identity::make().unwrap();
    let server = MailServer::start(&identity, ACCOUNT).unwrap();
    let mut wire = Wire::new(dial_server(server.submission));
    let mut transcript = Transcript::new();
    let error = client::submit(&mut wire, ACCOUNT, b"", &mut transcript).unwrap_err();
    assert!(error.to_string().contains("530 5.7.0"), "{error}");
    assert_eq!(transcript[transcript.len() - 2], "C: AUTH LOGIN");
}

/// stunnel takes the demo's configuration as well, so it must pass the demo too. Where Debian's
/// stunnel4 is not installed, the test says so and proves nothing.
#[test]
fn the_program_that_adit_replaces_passes_the_demo() {
    let stunnel = Path::new("/usr/bin/stunnel4");
    if !stunnel.exists() {
        crate::skips::say("stunnel4 is not installed");
        return;
    }
    let mut told = Vec::new();
    play(stunnel, &AtomicBool::new(false), &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("The mail came back byte for byte"), "{told}");
}

#[test]
fn a_program_that_does_not_serve_fails_the_demo_and_leaves_nothing() {
    let folders = || {
        let made = fs::read_dir(std::env::temp_dir()).unwrap();
        made.filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("adit-demo-"))
            .collect::<Vec<_>>()
    };
    let before = folders();
    let failure = play(
        Path::new("/bin/false"),
        &AtomicBool::new(false),
        &mut io::sink(),
    );
    let failure = failure.unwrap_err().to_string();
    assert!(
        failure.contains("waiting for adit: it ended at once"),
        "{failure}"
    );
    let left = folders().into_iter().filter(|name| !before.contains(name));
    // Other tests make such folders at the same time; those go away as well.
    let deadline = std::time::Instant::now() + MAIL_TIMEOUT;
    for name in left {
        while std::env::temp_dir().join(&name).exists() {
            assert!(std::time::Instant::now() < deadline, "{name} was left");
            std::thread::yield_now();
        }
    }
}
