//! Targets of `fuzz/` in this room: each panics when a promise is broken.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "that is how libFuzzer learns of it"
)]

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::sys::memfd::{MFdFlags, memfd_create};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::backend::OptionNames;
use super::handshake::MAX_HANDSHAKE_INPUT;
use super::hello::{self, MAX_HELLO, Reading};
use super::record::MAX_RECORD;
use super::revocation::{List, Lists, SharedLists};
use super::trust::{Authority, Ends, Trust};
use super::verification::Verifier;
use super::{
    Context, Handshake, PassPhrases, Problem, Resumption, Step, Stream, Wanted,
    ciphers as cipher_names, der, keys as key_files, suites,
};
use crate::config::TlsOptions;
use crate::log::{Id, Log};

const LOG: Log = Log {
    level: 0,
    id: Id::Connection(1),
    from: None,
};

/// 2026-01-01 in seconds since 1970: the seeds are valid then.
const NEW_YEAR_2026: u64 = 1_767_225_600;

/// What opens the encrypted seeds.
const PHRASE: &[u8] = b"fuzz";

/// A file that only this process sees, and its path.
struct Hidden(
    PathBuf,
    #[expect(dead_code, reason = "keeps it open")] std::fs::File,
);

impl Hidden {
    fn new(bytes: &[u8]) -> Hidden {
        use std::os::fd::AsRawFd as _;
        let descriptor = memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC).expect("a memfd");
        let mut file = std::fs::File::from(descriptor);
        file.write_all(bytes).expect("memory");
        Hidden(
            PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
            file,
        )
    }
}

/// A service of this configuration text, with TLS ready.
fn context(lines: &str) -> Context {
    let text = format!("[s]\naccept = 1\nconnect = mail.example.com:2\n{lines}\n");
    let service = crate::config::fuzz_service(&text);
    let resumption = Resumption::new().expect("memory");
    let wanted = Wanted::accepted(&service).or_else(|| Wanted::connected(&service));
    let wanted = wanted.expect("a service with TLS");
    let loaded = Context::load(
        wanted,
        None,
        &PassPhrases::none(),
        &resumption,
        &mut SharedLists::default(),
        &LOG,
    );
    loaded.expect("a good configuration").0
}

static IDENTITY: LazyLock<String> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["mail.example.com".to_owned()]).expect("a key");
    made.signing_key.serialize_pem() + &made.cert.pem()
});

/// The versions a context may speak.
const V1_2: &str = "sslVersion = TLSv1.2";
const V1_3: &str = "sslVersion = TLSv1.3";

fn server(version: &str) -> Context {
    let identity = Hidden::new(IDENTITY.as_bytes());
    // It may use certificates, so that there is a CertificateVerify to parse.
    let path = identity.0.display();
    context(&format!(
        "cert = {path}\nCAfile = {path}\nverifyChain = yes\n{version}"
    ))
}

fn client(version: &str) -> Context {
    let identity = Hidden::new(IDENTITY.as_bytes());
    let path = identity.0.display();
    context(&format!(
        "client = yes\nverifyChain = yes\nCAfile = {path}\n{version}"
    ))
}

static ENDS: LazyLock<[Context; 4]> =
    LazyLock::new(|| [server(""), server(V1_2), client(""), client(V1_2)]);

/// What only s2n-tls serves.
const OLD: &str = "ciphers = ECDHE-ECDSA-AES128-SHA:AES128-SHA:DHE-RSA-AES128-SHA";

/// The same where s2n-tls serves.
static OLD_ENDS: LazyLock<[Context; 4]> = LazyLock::new(|| {
    let until_1_2 = format!("{OLD}\nsslVersionMax = TLSv1.2");
    [
        server(OLD),
        server(&until_1_2),
        client(OLD),
        client(&until_1_2),
    ]
});

/// A handshake by rustls; see [`heard`].
pub(crate) fn hellos(input: &[u8]) {
    heard(&ENDS, input);
}

/// A handshake by s2n-tls; see [`heard`].
pub(crate) fn old_hellos(input: &[u8]) {
    heard(&OLD_ENDS, input);
}

/// The first byte tells the end that hears (its two lowest bits), whether what follows is wrapped into
/// handshake records (bit 2), and how it is cut into pieces (the rest).
fn heard(ends: &[Context; 4], input: &[u8]) {
    let Some((&how, words)) = input.split_first() else {
        return;
    };
    let end = &ends[usize::from(how & 3)];
    let mut wrapped = Vec::new();
    let words = match how & 4 {
        0 => words,
        _ => {
            for part in words.chunks(1 << 14) {
                wrapped.extend([22, 3, 3]);
                wrapped.extend(u16::try_from(part.len()).expect("16 KiB").to_be_bytes());
                wrapped.extend_from_slice(part);
            }
            &wrapped[..]
        }
    };
    let piece = match how >> 3 {
        0 => words.len().max(1),
        piece => usize::from(piece) * 7,
    };
    let Ok(mut handshake) = end.begin(Some("mail.example.com"), &LOG) else {
        return;
    };
    let mut held = Vec::new();
    let mut output = Vec::new();
    for part in words.chunks(piece) {
        held.extend_from_slice(part);
        match handshake.step(&mut held, &mut output, &LOG) {
            Ok((used, Step::More(more))) => {
                held.drain(..used);
                assert!(held.len() <= MAX_HANDSHAKE_INPUT + MAX_RECORD + part.len());
                handshake = more;
            }
            Ok((_, Step::Done(_))) => panic!("a handshake with a peer that has no keys"),
            Err(failure) => {
                assert!(!failure.to_string().is_empty());
                return;
            }
        }
    }
    assert!(!handshake.vanished().to_string().is_empty());
}

/// A client's first bytes. However they are cut into pieces, they are read the same.
pub(crate) fn hello(input: &[u8]) {
    let whole = hello::read(input);
    match &whole {
        Reading::Incomplete => assert!(input.len() < MAX_HELLO),
        Reading::NotTls => {}
        Reading::Malformed(fault) => assert!(!fault.to_string().is_empty()),
        Reading::Hello(hello) => {
            for suite in &hello.suites {
                assert!(!suites::name(*suite).is_empty());
            }
            let highest = hello.highest_version();
            assert!(highest.is_none_or(|version| hello.may_speak(version)));
            let names = hello.protocols.iter().chain(&hello.server_name);
            assert!(
                names
                    .flat_map(|name| name.bytes())
                    .all(|byte| (b' '..=b'~').contains(&byte))
            );
        }
    }
    // Each piece is read from the beginning again.
    if input.len() < 2048 {
        let pieces = (0..input.len()).map(|length| hello::read(&input[..length]));
        let mut arriving = hello::Arriving::default();
        for length in 0..=input.len() {
            let worth = arriving.is_worth_reading(&input[..length]);
            let reading = hello::read(&input[..length]);
            assert!(worth || reading == Reading::Incomplete, "{reading:?}");
        }
        let early = pieces
            .into_iter()
            .find(|reading| *reading != Reading::Incomplete);
        assert!(early.is_none_or(|early| early == whole));
    }
}

/// One end of an established connection.
struct End {
    stream: Stream,
    inbox: Vec<u8>,
}

fn shake(client: &Context, server: &Context) -> Option<[End; 2]> {
    let begin = |context: &Context| context.begin(Some("mail.example.com"), &LOG).ok();
    let mut shaking: [Option<Handshake>; 2] = [begin(client), begin(server)];
    let mut inboxes = [Vec::new(), Vec::new()];
    let mut streams = [None, None];
    for turn in 0..16 {
        let me = turn % 2;
        let mut output = Vec::new();
        if let Some(handshake) = shaking[me].take() {
            let (used, step) = handshake.step(&mut inboxes[me], &mut output, &LOG).ok()?;
            inboxes[me].drain(..used);
            match step {
                Step::More(more) => shaking[me] = Some(more),
                Step::Done(stream) => streams[me] = Some(stream),
            }
        }
        inboxes[1 - me].extend(output);
        if streams.iter().all(Option::is_some) {
            let [client, server] = streams;
            let [from_server, from_client] = inboxes;
            return Some([
                End {
                    stream: client?,
                    inbox: from_server,
                },
                End {
                    stream: server?,
                    inbox: from_client,
                },
            ]);
        }
    }
    None
}

static PAIRS: LazyLock<[[Context; 2]; 2]> = LazyLock::new(|| {
    [V1_2, V1_3].map(|version| {
        let identity = Hidden::new(IDENTITY.as_bytes());
        let path = identity.0.display();
        [
            context(&format!("client = yes\ncurves = x25519\n{version}")),
            context(&format!("cert = {path}\n{version}")),
        ]
    })
});

/// The same by s2n-tls, in its oldest version and its latest.
static OLD_PAIRS: LazyLock<[[Context; 2]; 2]> = LazyLock::new(|| {
    ["sslVersion = TLSv1", "sslVersionMin = TLSv1"].map(|lines| {
        let identity = Hidden::new(IDENTITY.as_bytes());
        let path = identity.0.display();
        [
            context(&format!("client = yes\n{lines}")),
            context(&format!("cert = {path}\nacceptAnywhere = yes\n{lines}")),
        ]
    })
});

/// Seals a record of this content type, or what comes next to it: s2n-tls seals data and its close_notify
/// alone. Whether it is a close_notify.
fn seal(stream: &mut Stream, kind: u8, payload: &[u8], output: &mut Vec<u8>) -> bool {
    const ALERT: u8 = 21;
    match (stream, kind) {
        (Stream::Rustls(stream), _) => {
            stream.seal_as(kind, payload, output);
            kind == ALERT && payload.get(1) == Some(&0)
        }
        (stream, ALERT) => {
            stream.close_notify(output);
            true
        }
        (stream, _) => {
            let mut sealed = [0; 1024];
            if let Ok((_, filled)) = stream.encrypt(payload, &mut sealed) {
                output.extend_from_slice(&sealed[..filled]);
            }
            false
        }
    }
}

/// The first byte tells the version (its lowest bit), which end hears (the next), and whether both are by
/// s2n-tls (bit 2). Then pieces: a kind, a length, that many bytes. Kinds up to 3 are bytes as they stand,
/// others a record's content type, sealed by the peer.
pub(crate) fn records(input: &[u8]) {
    let Some((&how, mut rest)) = input.split_first() else {
        return;
    };
    let pairs = match how & 4 {
        0 => &PAIRS,
        _ => &OLD_PAIRS,
    };
    let [client, server] = &pairs[usize::from(how & 1)];
    let [client, server] = shake(client, server).expect("two good ends");
    let (mut hears, mut says) = match how & 2 {
        0 => (client, server),
        _ => (server, client),
    };
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let (mut ended, mut said_goodbye) = (false, false);
    while let [kind, length, behind @ ..] = rest {
        let (payload, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        match kind {
            0..=3 => hears.inbox.extend_from_slice(payload),
            kind => {
                said_goodbye |= seal(&mut says.stream, 18 + kind % 8, payload, &mut hears.inbox);
            }
        }
        let (before, mut answer) = (hears.inbox.len(), Vec::new());
        ranges.clear();
        match hears
            .stream
            .decrypt(&mut hears.inbox, &mut ranges, &mut answer)
        {
            Ok(decrypted) => {
                assert!(decrypted.consumed <= before);
                let mut last = 0;
                for range in &ranges {
                    assert!(last <= range.start && range.start < range.end);
                    assert!(
                        range.end <= decrypted.consumed,
                        "plain bytes behind what was used up"
                    );
                    last = range.end;
                }
                assert!(!ended || ranges.is_empty(), "data behind the end");
                assert!(answer.len() <= 2 * before, "a flood in answer to a drop");
                ended |= decrypted.closed;
                assert!(!ended || said_goodbye, "an end that the peer did not say");
                hears.inbox.drain(..decrypted.consumed);
            }
            Err(failure) => {
                assert!(!failure.to_string().is_empty());
                return;
            }
        }
    }
}

/// Certificates in DER, one behind the other: the peer's own, then what it sends with it. All of them
/// are trusted where the first byte's lowest bit says so, else the last one.
pub(crate) fn certificates(input: &[u8]) {
    let Some((&how, mut rest)) = input.split_first() else {
        return;
    };
    let mut chain = Vec::new();
    while let Some((element, behind)) = der::first(rest) {
        chain.push(CertificateDer::from(element.whole.to_vec()));
        rest = behind;
    }
    let Some((leaf, intermediates)) = chain.split_first() else {
        return;
    };
    let trusted = match how & 1 {
        0 => &chain[chain.len() - 1..],
        _ => &chain[..],
    };
    let authority = |der: &CertificateDer<'static>| Authority {
        der: der.clone(),
        // What is left over may be the settings of a trusted certificate.
        settings: (how & 2 != 0).then(|| rest.to_vec()),
    };
    let mut options = TlsOptions::default();
    options.verification.request = true;
    options.verification.require = true;
    options.verification.chain = how & 4 == 0;
    options.verification.peer = how & 8 != 0;
    options.subject.hosts = vec!["mail.example.com".to_owned()];
    options.subject.uris = vec!["spiffe://example.org/mail".to_owned()];
    options.subject.units = vec!["mail".to_owned()];
    options.subject.common_names = vec!["mail".to_owned()];
    let serves = how & 16 == 0;
    let ends = match how & 32 {
        0 => Ends::Roots,
        _ => Ends::Authorities,
    };
    let (trust, _) = Trust::new(trusted.iter().map(authority).collect(), ends, serves);
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let verifier = Verifier::new(&options, serves, trust, algorithms);
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(NEW_YEAR_2026));
    let name = ServerName::try_from("mail.example.com").expect("a name");
    let _ = match serves {
        true => verifier
            .verify_server_cert(leaf, intermediates, &name, &[], now)
            .map(drop),
        false => verifier
            .verify_client_cert(leaf, intermediates, now)
            .map(drop),
    };
    super::notes::forget();
}

/// A leaf and its issuer in DER, and behind them revocation lists. What one list says of the leaf is the same
/// for every verifier, and each time.
pub(crate) fn revocation(input: &[u8]) {
    let mut elements = Vec::new();
    let mut rest = input;
    while let Some((element, behind)) = der::first(rest) {
        elements.push(element.whole);
        rest = behind;
    }
    let [leaf, issuer, lists @ ..] = &elements[..] else {
        return;
    };
    let parsed = [leaf, issuer].map(|der| X509Certificate::from_der(der));
    let [Ok((_, leaf)), Ok((_, issuer))] = parsed else {
        // Still, the lists are read.
        lists.iter().for_each(|der| drop(List::read(der)));
        return;
    };
    let lists: Vec<List> = lists.iter().filter_map(|der| List::read(der)).collect();
    for list in &lists {
        assert!(List::read(list.der()).is_some_and(|again| again.hash() == list.hash()));
    }
    let algorithms =
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let lists = Lists::new(lists, algorithms);
    let above = [issuer];
    let now = NEW_YEAR_2026 as i64;
    let first = lists.judge(&leaf, &above, now);
    assert_eq!(first, lists.judge(&leaf, &above, now));
    assert!(
        lists.judge(&leaf, &[], now).is_err(),
        "good without an issuer"
    );
    let _ = lists.revoked_authority(&[leaf, above[0].clone()], now);
}

/// A file as `cert` and as `CAfile` names one.
pub(crate) fn keys(input: &[u8]) {
    let file = Hidden::new(input);
    let mut phrases = PassPhrases::none();
    phrases.push(PHRASE);
    let options = TlsOptions {
        cert: Some(file.0.clone()),
        ..TlsOptions::default()
    };
    let told = |problems: &[Problem]| {
        assert!(!problems.is_empty(), "refused without a reason");
        for problem in problems {
            let strange = ['\0', '\r', '\u{1b}', '\n'];
            assert!(!problem.text.contains(strange), "{:?}", problem.text);
        }
    };
    let mut warnings = Vec::new();
    match key_files::identity(&options, &file.0, &phrases, &mut warnings) {
        Ok(_) => {}
        Err(problems) => told(&problems),
    }
    let _ = key_files::locked_file(&options, &phrases);
    authorities(&file.0, &told);
}

fn authorities(path: &Path, told: &dyn Fn(&[Problem])) {
    match key_files::ca_file(path) {
        Ok(found) => {
            let (trust, _) = Trust::new(found, Ends::Roots, true);
            assert!(
                trust
                    .names()
                    .all(|name| !name.contains(['\0', '\n', '\u{1b}']))
            );
        }
        Err(problem) => told(&[problem]),
    }
}

/// Lists as `ciphers`, `ciphersuites` and `curves` give them.
pub(crate) fn ciphers(input: &[u8]) {
    let Ok(list) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(chosen) = cipher_names::ciphers(list, OptionNames::Usual) {
        assert!(!chosen.usable.is_empty() || chosen.warning.is_some() || !chosen.notes.is_empty());
    }
    let _ = cipher_names::ciphersuites(list);
    let _ = cipher_names::curves(list);
}
