//! The manual's "Dialogues": what each `protocol` says, in which mode, and what it needs.

use super::roff::Page;

/// The section.
pub(super) fn section(page: &mut Page) {
    page.section("Dialogues");
    page.text(
        "`protocol` names what is said in plain before TLS, or first within it. In client mode the server is asked for TLS, in server mode the client asks.",
    );
    for (what, text) in ROWS {
        page.tagged(&format!("`{what}`"), text);
    }
}

const ROWS: &[(&str, &str)] = &[
    (
        "smtp, pop3, imap, nntp",
        "Both modes: STARTTLS (STLS in POP3). With `protocolUsername` and `protocolPassword`, `smtp` in client mode also logs in for a program that cannot, by PLAIN or by LOGIN (`protocolAuthentication`): \
         whoever reaches the service then sends mail under that name.",
    ),
    (
        "ldap",
        "Client mode: StartTLS, before the program is heard. In server mode LDAP begins with TLS (ldaps://), without `protocol`.",
    ),
    (
        "pgsql",
        "Both modes. In client mode psql and other programs work with their default settings: they are told that there is no encryption, and a login that is bound to TLS (SCRAM-SHA-256-PLUS) is taken out of \
         what the server offers; `sslmode=require` and `channel_binding=require` cannot work in the program then. In server mode a client may also begin with TLS (`sslnegotiation=direct`; where old TLS \
         is served, without ALPN), and a cancellation is carried in plain, as libpq sends it up to version 16: it has the number of a query and a secret, and nothing else of a client without TLS reaches the server.",
    ),
    (
        "cifs",
        "Both modes: TLS as Samba 2 had it. No server since Samba 3 does.",
    ),
    (
        "connect",
        "Client mode: `connect` is an HTTP proxy, which is asked for the server in `protocolHost` by CONNECT. `sni` and the verification go by `protocolHost`. A login at the proxy is Basic, which shows \
         the password to the network between; `protocolHeader` adds lines to the request.",
    ),
    (
        "socks",
        "In server mode clients say within TLS where they want to be connected to (versions 4, 4a and 5). In client mode `connect` is such a server, which is asked by version 5, within TLS, for `protocolHost`, or \
         for where the client wanted to go before its connection was redirected to adit (iptables, REDIRECT).",
    ),
    (
        "proxy",
        "Server mode: the first words to the server are a header of the PROXY protocol, which tells where the client comes from. Without it, or `transparent`, `every client comes from adit's own address`: a mail \
         server on this machine, as postfix or Exim, may let them all send mail to anyone. The server must be told to expect the header (dovecot: `haproxy = yes`; postfix: `smtpd_upstream_proxy_protocol = haproxy`), \
         and must take it from adit alone. Version 1 says nothing of TLS: dovecot then takes no password (`disable_plaintext_auth`); `proxyVersion = 2` also tells TLS version and suite, the name that the client \
         asked for, and the common name of its certificate, which counts as verified only with `verifyChain` or `verifyPeer`. Of a client that is served by old workers it tells version and suite alone.",
    ),
];
