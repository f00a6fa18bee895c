//! Which dialogue a part of the route is, and what it is told of the connection. Never in here: a word of it.

use super::end::End;
use super::ends::Ends;
use super::route::Part;
use super::step::{Common, Ending};
use crate::config::Protocol;
use crate::error;
use crate::protocol::{self, Dialogue, Introduction, Secured, Shown, Side, Target};

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
        | Part::Reply(protocol) => protocol::dialogue(protocol, config.client, options),
        Part::Header => header(ends.end(Side::Front), common),
        Part::Within(Protocol::Socks) => {
            protocol::socks_client(target(ends.end(Side::Front), common)?)
        }
        Part::Within(protocol) => protocol::within(protocol, config.client, options),
        Part::Unprotected(protocol) => protocol::unprotected(protocol),
    })
}

/// What the server is told of the client.
fn header(front: Option<&mut End>, common: &Common) -> Box<dyn Dialogue> {
    let config = common.config();
    let addresses = front.as_ref().and_then(|front| {
        // A Unix socket has neither.
        Some((front.peer_address()?, front.local_address()?))
    });
    let stream = front.as_ref().and_then(|front| front.tls.as_ref());
    let negotiated = stream.map(crate::tls::Stream::negotiated);
    let shown = stream.and_then(crate::tls::Stream::introduction);
    let name = shown.and_then(crate::tls::Introduction::common_name);
    let asked = config.tls.verification;
    let tls = negotiated.as_ref().map(|negotiated| Secured {
        version: negotiated.version,
        cipher: negotiated.suite,
        resumed: negotiated.resumed,
        server_name: shown.and_then(|shown| shown.server_name.as_deref()),
        alpn: shown.and_then(|shown| shown.alpn.as_deref()),
        certificate: shown
            .filter(|shown| shown.certificate.is_some())
            .map(|_| Shown {
                // With `redirect` the handshake succeeds without that too.
                verified: (asked.chain || asked.peer) && !common.redirected,
                name: name.as_deref(),
            }),
    });
    protocol::header(&config.dialogue, &Introduction { addresses, tls })
}

/// Where a SOCKS server is to connect to: what `protocolHost` says, or where the client wanted to go before it was
/// redirected here.
fn target(front: Option<&mut End>, common: &Common) -> Result<Target, Ending> {
    if let Some((host, port)) = common.config().dialogue.destination() {
        return Ok(match host.parse() {
            Ok(ip) => Target::Address(std::net::SocketAddr::new(ip, port)),
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
