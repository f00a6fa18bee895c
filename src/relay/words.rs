//! Which dialogue a part of the route is, and what it is told of the connection. Never in here: a word of it.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use super::end::End;
use super::ends::Ends;
use super::route::Part;
use super::step::{Common, Ending, broken};
use crate::config::{DialogueOptions, Protocol};
use crate::error;
use crate::protocol::{self, Claim, Dialogue, Fresh, Introduction, Secured, Shown, Side, Target};

/// From 1601, where Windows begins to count.
const TO_UNIX_EPOCH: Duration = Duration::from_hours(3_234_576);

/// The dialogue of `part`, waiting for its first event.
///
/// # Errors
/// What it must be told is not known.
pub(super) fn of(
    part: Part,
    ends: &mut Ends<'_>,
    common: &Common,
) -> Result<Box<dyn Dialogue>, Ending> {
    let config = common.config();
    let options = &config.dialogue;
    Ok(match part {
        Part::BeforeTls(protocol)
        | Part::Opening(protocol)
        | Part::Request(protocol)
        | Part::Reply(protocol) => {
            let fresh = match Fresh::is_needed(protocol, options) {
                true => fresh(common)?,
                false => Fresh::default(),
            };
            protocol::begin(protocol, config.client, options, fresh)
        }
        Part::Login(mail) => {
            let by_token = config.asks_for_tokens();
            // A client that was held has said its name already.
            let called = common.hold.as_ref().and_then(|hold| hold.called.clone());
            let named = called.map(|name| DialogueOptions {
                host: Some(name),
                ..options.clone()
            });
            let options = named.as_ref().unwrap_or(options);
            let server = common.upstream.as_deref();
            protocol::login(
                mail,
                by_token,
                options,
                common.greeted,
                server,
                fresh(common)?,
            )
        }
        Part::Hold => {
            let held = common.hold.as_ref().filter(|hold| hold.held.is_some());
            let name = options.host.as_deref().unwrap_or("localhost");
            protocol::arrival(held.map(|hold| hold.called.as_deref().unwrap_or(name)))
        }
        Part::Header => header(ends.end(Side::Front), common)?,
        Part::Within(Protocol::Socks) => {
            protocol::socks_client(target(ends.end(Side::Front), common)?)
        }
        Part::Within(protocol) => {
            protocol::within(protocol, config.client, options, common.upstream.as_deref())
        }
        Part::Unprotected(protocol) => protocol::unprotected(protocol),
    })
}

fn fresh(common: &Common) -> Result<Fresh, Ending> {
    let (mut random, mut nonce) = ([0; 8], [0; 18]);
    for bytes in [&mut random[..], &mut nonce[..]] {
        aws_lc_rs::rand::fill(bytes).map_err(|_| {
            error!(common.log, "no random numbers for the dialogue");
            Ending::Reset
        })?;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default() + TO_UNIX_EPOCH;
    let time = u64::try_from(since.as_nanos() / 100).unwrap_or_default();
    Ok(Fresh {
        random,
        nonce,
        time,
    })
}

/// What the server is told of the client.
fn header(front: Option<&mut End>, common: &Common) -> Result<Box<dyn Dialogue>, Ending> {
    let config = common.config();
    let own = front.as_ref().and_then(|front| common.reached(front));
    // stunnel's words.
    let addresses =
        addresses(common.peer, own).map_err(|errno| broken(&common.log, "getpeername", errno))?;
    let stream = front.as_ref().and_then(|front| front.tls.as_ref());
    let negotiated = stream.map(crate::tls::Stream::negotiated);
    let shown = stream.and_then(crate::tls::Stream::introduction);
    let name = shown.and_then(crate::tls::Introduction::common_name);
    let asked = config.tls.verification;
    // What a balancer says of its client is nearer to that.
    let claim = common.introduced.as_ref();
    let claim = claim.map(|introduced| &introduced.claim);
    let tls = negotiated.as_ref().map(|negotiated| Secured {
        version: negotiated.version,
        cipher: negotiated.suite,
        resumed: negotiated.resumed,
        server_name: shown
            .and_then(|shown| shown.server_name.as_deref())
            .or(claim.and_then(|claim| claim.authority.as_deref())),
        alpn: shown.and_then(|shown| shown.alpn.as_deref()),
        certificate: shown
            .filter(|shown| shown.certificate.is_some())
            .map(|_| Shown {
                // With `redirect` the handshake succeeds without that too.
                verified: (asked.chain || asked.peer) && !common.redirected,
                name: name.as_deref(),
            }),
    });
    // It says nothing of TLS that goes through it.
    let tls = claim.and_then(Claim::secured).or(tls);
    let unique_id = claim.and_then(|claim| claim.unique_id.as_deref());
    let introduction = Introduction {
        addresses,
        tls,
        unique_id,
    };
    Ok(protocol::header(&config.dialogue, &introduction))
}

/// The addresses of a connection; `None` for a Unix socket, which has neither.
///
/// # Errors
/// One of them is not known.
fn addresses(
    peer: Option<SocketAddr>,
    own: Option<SocketAddr>,
) -> Result<Option<(SocketAddr, SocketAddr)>, Errno> {
    match (peer, own) {
        (Some(peer), Some(own)) => Ok(Some((peer, own))),
        (None, None) => Ok(None),
        // `UNKNOWN` would pass for a client of a Unix socket.
        (Some(_), None) | (None, Some(_)) => Err(Errno::ENOTCONN),
    }
}

/// Where a SOCKS server is to connect to: what `protocolHost` says, or where the client wanted to go before it was
/// redirected here.
fn target(front: Option<&mut End>, common: &Common) -> Result<Target, Ending> {
    if let Some((host, port)) = common.config().dialogue.destination() {
        return Ok(match host.parse() {
            Ok(ip) => Target::Address(SocketAddr::new(ip, port)),
            Err(_) => Target::Name(host.to_owned(), port),
        });
    }
    let address = front
        .as_ref()
        .and_then(|front| front.original_destination());
    address.map(Target::Address).ok_or_else(|| {
        error!(
            common.log,
            "getsockopt SO_ORIGINAL_DST: the client was not redirected to this service: give `protocolHost = \
             HOST:PORT`, or redirect its connections here (iptables -t nat, REDIRECT)"
        );
        Ending::Reset
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use nix::libc::linger;
    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use crate::ipc::accept;

    #[test]
    fn a_client_that_has_reset_is_still_told_by_its_address() {
        use std::os::fd::AsFd;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let from = client.local_addr().unwrap();
        let (accepted, peer) = accept::accept(listener.as_fd()).unwrap();
        let reset = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&client, sockopt::Linger, &reset).unwrap();
        drop(client);
        let mut stream = TcpStream::from(accepted);
        stream.set_nonblocking(false).unwrap();
        assert!(stream.read(&mut [0]).is_err());
        assert_eq!(accept::peer(stream.as_fd()), None);
        let front = End::new(stream.into(), true, false);
        let to = listener.local_addr().unwrap();
        assert_eq!(addresses(peer, front.local_address()), Ok(Some((from, to))));
        // As in inetd mode, where the client may be gone before adit starts.
        assert_eq!(addresses(None, front.local_address()), Err(Errno::ENOTCONN));
    }

    #[test]
    fn only_a_unix_socket_has_no_addresses() {
        let (one, _other) = UnixStream::pair().unwrap();
        let front = End::new(one.into(), false, false);
        assert_eq!(addresses(None, front.local_address()), Ok(None));
    }
}
