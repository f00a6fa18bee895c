//! Asks DNS for the servers of a domain that the table does not have. Never in here: root's rights while
//! something from the network is read.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use nix::unistd::Uid;

use super::dns::{self, SERVICES, Unanswered};
use super::offer::by_hand;
use crate::cli::listener;
use crate::cli::providers::{Mail, Server, Tls};
use crate::log::Reason;

/// How often each name server is asked, and how long for an answer: as resolv.conf(5) has it, but shorter, for
/// a person waits.
const ATTEMPTS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(3);
/// How many name servers count (resolv.conf(5)).
const SERVERS: usize = 3;
/// The longest answer (RFC 1035, section 4.2.2), in bytes.
const ANSWER: usize = 65_535;
/// The hidden command that asks, and says what it found in lines of `smtp HOST:PORT:tls`.
pub(in crate::cli) const COMMAND: &str = "look-up-mail";

/// The servers that DNS names for a domain; none if it names none. Another process asks, which has no right
/// but that to the network.
///
/// # Errors
/// The process could not be started, or DNS did not answer; the text says why.
pub(super) fn servers(domain: &str) -> Result<Vec<(Mail, Server)>, String> {
    let child = Command::new("/proc/self/exe")
        .args([COMMAND, domain])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let output = child.map_err(|error| Reason(&error).to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("adit: ").to_owned();
        return Err(match said.is_empty() {
            true => output.status.to_string(),
            false => said,
        });
    }
    let said = String::from_utf8_lossy(&output.stdout);
    // Read as if a person had typed it, for the process has read the network.
    Ok(said.lines().filter_map(line).collect())
}

fn line(line: &str) -> Option<(Mail, Server)> {
    let (word, server) = line.split_once(' ')?;
    let mail = Mail::ALL.into_iter().find(|mail| mail.word() == word)?;
    Some((mail, by_hand(server).ok()?))
}

/// The hidden command.
pub(in crate::cli) fn run(domain: &str) -> ExitCode {
    let name_servers = name_servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default());
    if Uid::effective().is_root()
        && let Err(error) = listener::give_up_root()
    {
        crate::cli::complain(format_args!("{error}"));
        return ExitCode::FAILURE;
    }
    let mut found: Vec<(Mail, Server)> = Vec::new();
    for (service, mail, tls) in SERVICES {
        if found.iter().any(|(known, _)| *known == mail) {
            continue;
        }
        match ask(&name_servers, service, domain, tls) {
            Ok(server) => found.extend(server.map(|server| (mail, server))),
            Err(text) => {
                crate::cli::complain(format_args!("{text}"));
                return ExitCode::FAILURE;
            }
        }
    }
    let lines = found.iter().map(|(mail, server)| {
        let tls = match server.tls {
            Tls::AtOnce => "tls",
            Tls::Starttls => "starttls",
        };
        format!("{} {}:{}:{tls}\n", mail.word(), server.host, server.port)
    });
    crate::cli::print(format_args!("{}", lines.collect::<String>()))
}

/// Those of a resolv.conf(5); this machine, if there are none.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        address.parse().ok()
    });
    let addresses: Vec<IpAddr> = lines.take(SERVERS).collect();
    let addresses = match addresses.is_empty() {
        true => vec![Ipv4Addr::LOCALHOST.into()],
        false => addresses,
    };
    addresses
        .into_iter()
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

/// The server of a service, `None` if the domain has none.
fn ask(
    name_servers: &[SocketAddr],
    service: &str,
    domain: &str,
    tls: Tls,
) -> Result<Option<Server>, String> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        for server in name_servers {
            match ask_one(*server, service, domain, tls) {
                Ok(answer) => return Ok(answer),
                Err(reason) => last = format!("{server}: {reason}"),
            }
        }
    }
    Err(format!("DNS does not answer: {last}"))
}

fn ask_one(
    server: SocketAddr,
    service: &str,
    domain: &str,
    tls: Tls,
) -> Result<Option<Server>, String> {
    let mut id = [0; 2];
    rand::fill(&mut id).map_err(|_| "no random numbers".to_owned())?;
    let question = dns::question(u16::from_be_bytes(id), service, domain);
    let question = question.ok_or_else(|| format!("{domain} is too long"))?;
    let reason = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => Reason(&error).to_string(),
    };
    match by_udp(server, &question, tls).map_err(reason)? {
        Err(Unanswered::Truncated) => {}
        answer => return answer.map_err(named),
    }
    let bytes = by_tcp(server, &question, Instant::now() + PATIENCE).map_err(reason)?;
    dns::answer(&question, &bytes, tls).map_err(named)
}

fn named(why: Unanswered) -> String {
    match why {
        Unanswered::Other | Unanswered::Truncated => "an answer that cannot be read".to_owned(),
        Unanswered::Failed => "it could not find out".to_owned(),
    }
}

/// Waits for the answer to this question, whatever else arrives.
fn by_udp(
    server: SocketAddr,
    question: &[u8],
    tls: Tls,
) -> io::Result<Result<Option<Server>, Unanswered>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connected: what comes from elsewhere does not arrive.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(question)?;
    let end = Instant::now() + PATIENCE;
    let mut buffer = vec![0; ANSWER];
    loop {
        socket.set_read_timeout(Some(left(end)?))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match dns::answer(question, buffer.get(..length).unwrap_or_default(), tls) {
            Err(Unanswered::Other) => {}
            answer => return Ok(answer),
        }
    }
}

/// Until then the whole answer must be there.
fn by_tcp(server: SocketAddr, question: &[u8], end: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, left(end)?)?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.set_write_timeout(Some(left(end)?))?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    fill(&mut stream, &mut length, end)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    fill(&mut stream, &mut answer, end)?;
    Ok(answer)
}

/// Reads so many bytes, however slowly they come.
fn fill(stream: &mut TcpStream, mut buffer: &mut [u8], end: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(end)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn name_servers_are_those_of_resolv_conf() {
        let text = "# x\nsearch a\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \nnameserver fe80::1%eth0\n\
                    nameserver 192.0.2.2\nnameserver 192.0.2.3\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]);
        assert_eq!(name_servers("")[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn a_name_server_that_dribbles_its_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let dribbling = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut bytes = 0;
            // One more for each pause in which the client is still there; it asks once.
            client
                .set_read_timeout(Some(Duration::from_millis(10)))
                .unwrap();
            let mut asked = [0; 64];
            while client.write_all(&[0xff]).is_ok() && !matches!(client.read(&mut asked), Ok(0)) {
                bytes += 1;
            }
            bytes
        });
        let end = Instant::now() + Duration::from_millis(200);
        let error = by_tcp(server, b"a question", end).unwrap_err();
        let late = [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock];
        assert!(late.contains(&error.kind()), "{error}");
        assert!(dribbling.join().unwrap() > 2, "it said something in time");
    }

    #[test]
    fn an_answer_by_tcp_is_read_whole() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let answering = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut asked = [0; 2 + 10];
            client.read_exact(&mut asked).unwrap();
            client.write_all(b"\0\x05an").unwrap();
            client.write_all(b"swer").unwrap();
            asked
        });
        let answer = by_tcp(server, b"a question", Instant::now() + PATIENCE).unwrap();
        assert_eq!(answer, b"answe");
        assert_eq!(answering.join().unwrap(), *b"\0\x0aa question");
    }

    #[test]
    fn what_the_other_process_says_is_read_as_if_typed() {
        let (mail, server) = line("imap m.example.com:1993:tls").unwrap();
        assert_eq!(
            (mail, server.port, server.tls),
            (Mail::Imap, 1993, Tls::AtOnce)
        );
        for other in [
            "",
            "imap",
            "nntp m.example.com:1:tls",
            "imap a b:1:tls",
            "imap m:x:tls",
        ] {
            assert!(line(other).is_none(), "{other}");
        }
    }
}
