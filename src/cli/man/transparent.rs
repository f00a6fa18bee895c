//! The manual's "Transparent services": what `transparent` needs of the network. The rules are files of their own,
//! which the tests put into force.

use super::roff::Page;

const SOURCE: &str = include_str!("transparent/source.sh");
const HERE: &str = include_str!("transparent/here.sh");
const REDIRECT: &str = include_str!("transparent/redirect.sh");
const TPROXY: &str = include_str!("transparent/tproxy.sh");

/// The section.
pub(super) fn section(page: &mut Page) {
    page.section("Transparent services");
    page.text(
        "With `transparent = source` the server sees the client's address, and, if it is free and not below 1024, its port. The server's answers go to the client's address \
         then: they must come back through this machine, which has to keep them. With a server on another machine, whose route to the clients leads through this one:",
    );
    page.example(SOURCE);
    page.paragraph(
        "With a server on this machine, at port 80 of an address that is not 127.0.0.1 or ::1; its other clients must reach it by another port:",
    );
    page.example(HERE);
    page.paragraph(
        "Client and server must be of one address family. With iptables, `-m socket --transparent` is the rule's match. adit works with `setuid` and `chroot`: another process makes the socket, \
         with CAP_NET_RAW alone, which an adit that root starts must have. Where the server only needs to know the address, `protocol = proxy` needs none of this.",
    );
    page.paragraph(
        "With `transparent = destination`, in place of `connect`, a client is connected to where it wanted to go before netfilter sent it here, here for port 80 and `accept = 8443`. By REDIRECT or DNAT:",
    );
    page.example(REDIRECT);
    page.paragraph(
        "Or by TPROXY, without connection tracking; `accept` is another port than those that are sent here, and no socket that systemd or inetd passes:",
    );
    page.example(TPROXY);
    page.paragraph(
        "Connections of this machine itself go through the chain output; leave adit's own out there, or they come back to it for ever: `meta skuid != nobody`. \
         A client that was not sent here is refused: it would be connected to adit itself. A certificate is not verified by address: `verifyServer` needs `sni`.",
    );
    page.paragraph(
        "`transparent = both` is both. By TPROXY its rules are enough; REDIRECT needs those of `source` too. The client's address comes with another port then: with its own, the \
         connection would be the client's to the connection tracking, and be sent here again.",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_there() {
        let mut page = Page::new("adit.conf", 5, "", "");
        section(&mut page);
        let page = page.finish();
        for words in [
            "socket transparent 1",
            "tproxy to :8443",
            "redirect to :8443",
            "tcp sport 80",
        ] {
            assert!(page.contains(words), "{words}");
        }
    }
}
