//! Ports whose servers speak TLS from the first byte, and ports whose servers begin in plain: what
//! `protocol` says must fit, or both sides wait for the other, and the log shows a timeout only.

use super::dialogue::Protocol;
use super::option::Fault;

/// A protocol's port that begins in plain, and the one that is TLS from the first byte.
const PAIRS: &[(&str, &[u16], Option<u16>)] = &[
    ("smtp", &[587, 25], Some(465)),
    ("imap", &[143], Some(993)),
    ("pop3", &[110], Some(995)),
    ("nntp", &[119], Some(563)),
    ("ldap", &[389], Some(636)),
    ("pgsql", &[5432], None),
    ("ftp", &[21], Some(990)),
    ("mysql", &[3306], None),
    ("sieve", &[4190], None),
    ("irc", &[6667], Some(6697)),
    ("xmpp", &[5222], Some(5223)),
    ("xmpp-server", &[5269], Some(5270)),
];

/// Servers that speak TLS from the first byte on a port for plain text: Spectrum's (thunderbird/autoconfig,
/// ispdb/charter.net.xml: "not STARTTLS, not plain SMTP").
const TLS_ALL_THE_SAME: &[(&str, u16)] = &[("mobile.charter.net", 587)];

/// What is to be said of a client that connects to `port` of `host` with this dialogue, or with none.
pub(super) fn judge(host: &str, port: u16, protocol: Option<Protocol>) -> Option<Fault> {
    let mut known = TLS_ALL_THE_SAME.iter();
    if known.any(|(name, at)| host.eq_ignore_ascii_case(name) && port == *at) {
        let fault = protocol.map(|protocol| waits(&format!("{host}:{port}"), protocol.name()));
        return fault.map(|fault| fault.help("leave `protocol` out"));
    }
    match protocol {
        Some(protocol) => tls_first(port, protocol.name(), "connect to"),
        None => plain_first(port, "connect to", ""),
    }
}

/// What is to be said of a server that accepts on `port` with this dialogue, or with none.
pub(super) fn judge_accept(port: u16, protocol: Option<Protocol>) -> Option<Fault> {
    match protocol {
        None => plain_first(port, "accept on", ""),
        // These come within TLS.
        Some(Protocol::Socks | Protocol::Proxy) => {
            plain_first(port, "accept on", " in the place of this one")
        }
        // These serve a client that begins with TLS, too.
        Some(Protocol::Smtp | Protocol::Imap) => None,
        Some(Protocol::Irc | Protocol::Xmpp | Protocol::XmppServer) => None,
        Some(protocol) => tls_first(port, protocol.name(), "accept on"),
    }
}

fn tls_first(port: u16, protocol: &str, take: &str) -> Option<Fault> {
    PAIRS.iter().find(|pair| pair.2 == Some(port))?;
    let plain = PAIRS.iter().find(|pair| pair.0 == protocol)?.1.first()?;
    let fault = waits(&format!("port {port}"), protocol);
    Some(fault.help(format!("leave `protocol` out, or {take} port {plain}")))
}

fn waits(place: &str, protocol: &str) -> Fault {
    Fault::warning(format!(
        "{place} speaks TLS from the first byte, but `protocol = {protocol}` waits for plain text first"
    ))
}

/// The same of the server behind a proxy, which must speak TLS from the first byte.
pub(super) fn behind_proxy(port: u16) -> Option<Fault> {
    let (_, _, tls) = PAIRS.iter().find(|pair| pair.1.contains(&port))?;
    let fault = Fault::warning(format!(
        "port {port} begins in plain, but behind the proxy this service speaks TLS from the first byte"
    ));
    Some(match tls {
        Some(tls) => fault.help(format!("port {tls}")),
        None => fault.help("a port that is TLS from the first byte"),
    })
}

/// `place`: what to say of where its `protocol` goes.
fn plain_first(port: u16, take: &str, place: &str) -> Option<Fault> {
    let (protocol, _, tls) = PAIRS.iter().find(|pair| pair.1.contains(&port))?;
    let fault = Fault::warning(format!(
        "port {port} begins in plain, but this service speaks TLS from the first byte"
    ));
    // Clients alone are served in these.
    let served = take == "connect to" || *protocol != "ldap";
    let help = match tls {
        Some(tls) if served => format!("`protocol = {protocol}`{place}, or {take} port {tls}"),
        Some(tls) => format!("{take} port {tls}"),
        None => format!("`protocol = {protocol}`{place}"),
    };
    Some(fault.help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_and_port_must_fit() {
        let said = |port, protocol| {
            let fault: Option<Fault> = judge("mail.example.com", port, protocol);
            fault.map(|fault| fault.text + " / " + &fault.help.unwrap_or_default())
        };
        for (port, protocol, words) in [
            (
                465,
                Some(Protocol::Smtp),
                "leave `protocol` out, or connect to port 587",
            ),
            (
                993,
                Some(Protocol::Imap),
                "leave `protocol` out, or connect to port 143",
            ),
            (
                995,
                Some(Protocol::Pop3),
                "leave `protocol` out, or connect to port 110",
            ),
            (
                993,
                Some(Protocol::Smtp),
                "leave `protocol` out, or connect to port 587",
            ),
            (563, Some(Protocol::Imap), "speaks TLS from the first byte"),
            (636, Some(Protocol::Imap), "speaks TLS from the first byte"),
            (25, None, "`protocol = smtp`, or connect to port 465"),
            (587, None, "`protocol = smtp`, or connect to port 465"),
            (143, None, "`protocol = imap`, or connect to port 993"),
            (110, None, "`protocol = pop3`, or connect to port 995"),
            (119, None, "connect to port 563"),
            (389, None, "connect to port 636"),
            (5432, None, "`protocol = pgsql`"),
            (21, None, "`protocol = ftp`, or connect to port 990"),
        ] {
            let text = said(port, protocol).unwrap();
            assert!(text.contains(words), "{port} {protocol:?}: {text}");
        }
        for (port, protocol) in [
            (587, Some(Protocol::Smtp)),
            (2525, Some(Protocol::Smtp)),
            (143, Some(Protocol::Imap)),
            (465, None),
            (993, None),
            (443, None),
            (2525, None),
        ] {
            assert_eq!(said(port, protocol), None, "{port} {protocol:?}");
        }
    }

    #[test]
    fn a_server_that_speaks_tls_where_others_do_not_is_known() {
        let said = |protocol| judge("Mobile.charter.net", 587, protocol).map(|fault| fault.text);
        assert_eq!(said(None), None);
        let text = said(Some(Protocol::Smtp)).unwrap();
        let start = "Mobile.charter.net:587 speaks TLS from the first byte, but `protocol = smtp`";
        assert!(text.starts_with(start), "{text}");
        assert!(judge("mobile.charter.net", 25, None).is_some());
    }

    #[test]
    fn a_servers_port_must_fit_its_clients() {
        let said = |port, protocol| {
            judge_accept(port, protocol)
                .map(|fault| fault.text + " / " + &fault.help.unwrap_or_default())
        };
        for (port, protocol, words) in [
            (25, None, "`protocol = smtp`, or accept on port 465"),
            (587, None, "`protocol = smtp`, or accept on port 465"),
            (143, None, "`protocol = imap`, or accept on port 993"),
            (110, None, "`protocol = pop3`, or accept on port 995"),
            (119, None, "`protocol = nntp`, or accept on port 563"),
            (21, None, "`protocol = ftp`, or accept on port 990"),
            (389, None, "/ accept on port 636"),
            (6667, None, "`protocol = irc`, or accept on port 6697"),
            (
                995,
                Some(Protocol::Pop3),
                "leave `protocol` out, or accept on port 110",
            ),
            (
                563,
                Some(Protocol::Nntp),
                "leave `protocol` out, or accept on port 119",
            ),
            (
                587,
                Some(Protocol::Proxy),
                "`protocol = smtp` in the place of this one, or accept on port 465",
            ),
            (143, Some(Protocol::Socks), "or accept on port 993"),
        ] {
            let text = said(port, protocol).unwrap();
            assert!(text.contains(words), "{port} {protocol:?}: {text}");
        }
        for (port, protocol) in [
            (465, None),
            (443, None),
            (465, Some(Protocol::Smtp)),
            (993, Some(Protocol::Imap)),
            (110, Some(Protocol::Pop3)),
            (1080, Some(Protocol::Socks)),
            (465, Some(Protocol::Proxy)),
            (5223, Some(Protocol::Xmpp)),
        ] {
            assert_eq!(said(port, protocol), None, "{port} {protocol:?}");
        }
    }
}
