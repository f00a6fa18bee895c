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
    page.paragraph(TRANSLATED);
    page.paragraph(BY_TOKEN);
    page.paragraph(HELD);
}

const ROWS: &[(&str, &str)] = &[
    (
        "smtp, pop3, imap, nntp",
        "Both modes: STARTTLS (STLS in POP3). With `protocolUsername` and `protocolPassword`, `smtp` in client mode also logs in for a program that cannot, by PLAIN or by LOGIN (`protocolAuthentication`): \
         every program that reaches the service then sends mail under that name. `pop3` and `imap` log in so too, in the best way that the server offers, whatever the program says: that takes `acceptFrom`, or an `accept` on this machine.",
    ),
    (
        "ldap",
        "Client mode: StartTLS, before the program is heard. In server mode LDAP begins with TLS (ldaps://), without `protocol`.",
    ),
    (
        "pgsql",
        "Both modes. In client mode psql and other programs work with their default settings: they are told that there is no encryption, and a login that is bound to TLS (SCRAM-SHA-256-PLUS) is taken out of \
         what the server offers; `sslmode=require` and `channel_binding=require` cannot work in the program then. In server mode a client may also begin with TLS (`sslnegotiation=direct`), and a cancellation is carried in plain, as libpq sends it up to version 16: it has the number of a query and a secret, and nothing else of a client without TLS reaches the server.",
    ),
    (
        "mysql",
        "Both modes, for MySQL and MariaDB, which greet first. In client mode the program is told that there is no TLS, and logs in as it would without; in server mode clients must ask for it (`ssl-mode=REQUIRED`). \
         In client mode a password of MySQL 8's `caching_sha2_password` cannot be given in full, as the program would encrypt it for a connection without TLS where the server waits for it in plain: \
         `mysql_native_password` works, and so does one that the server has in its cache.",
    ),
    (
        "lmtp, sieve",
        "Both modes: STARTTLS, as for mail. In ManageSieve the client is greeted once TLS is there.",
    ),
    (
        "ftp",
        "Both modes: AUTH TLS, for the control connection alone: names, passwords and commands. `Data connections do not come through adit`: they go between the program and the server's own address, in plain. \
         In client mode a server that wants them protected (PROT P), or from the address of the control connection, refuses them. In server mode it is the plain server behind that answers PBSZ and PROT within \
         TLS, and refuses them: a client that wants its data protected leaves, and one that does not says so (curl: `--ftp-ssl-control`; lftp: `ftp:ssl-protect-data no`). AUTH SSL is refused, as it would \
         promise that protection. Clients must use passive mode, and reach the ports that the server names.",
    ),
    (
        "irc",
        "Both modes: STARTTLS of IRCv3's capability `tls`. In client mode the server is asked before the program is heard. In server mode a client that says anything but CAP, PING or STARTTLS is told to start TLS, and \
         one that begins with TLS is served on the same port.",
    ),
    (
        "xmpp, xmpp-server",
        "Both modes: STARTTLS of RFC 6120, between a client and its server, and between servers. adit opens a stream of its own for it; the program's begins within TLS, so that in client mode a plain program, also one older \
         than XMPP 1.0, sees one stream, in which TLS is not offered. The certificate is that of the domain: give it by `checkHost`, and by `sni` where a server has several. In server mode the server behind must take \
         logins without TLS of its own (prosody: `c2s_require_encryption = false`, for servers `s2s_require_encryption`, and `allow_unencrypted_plain_auth` for PLAIN); its offer of STARTTLS is taken out; a client that begins with TLS is served on the same port.",
    ),
    (
        "cifs",
        "Both modes: TLS as Samba 2 had it. No server since Samba 3 does.",
    ),
    (
        "connect",
        "Client mode: `connect` is an HTTP proxy, which is asked for the server in `protocolHost` by CONNECT. `sni` and the verification go by `protocolHost`. A login at the proxy is Basic, which shows \
         the password to the network between, or, with `protocolAuthentication = ntlm`, NTLM by its version 2, with `protocolDomain`: version 1, which stunnel speaks, gives the password to any listener who \
         takes the trouble, and is never spoken. `protocolHeader` adds lines to each request.",
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
         asked for, and the common name of its certificate, which counts as verified only with `verifyChain` or `verifyPeer`. Of a client that is served by old workers it tells version and suite alone. \
         Its header has at most 232 bytes, as Apache takes no more: what has no room is left out, the server's name before the certificate's.",
    ),
];

const TRANSLATED: &str = "With `login = translate` a mail program's own login ends at adit, which makes it with the server, within TLS, by the first of these that the server offers: SCRAM-SHA-256, \
    whose server must prove that it knows the password, CRAM-MD5, PLAIN in two steps, LOGIN, the protocol's own command, APOP (where TLS begins with the first byte). `protocolAuthentication` names one instead. The program may say AUTH \
    PLAIN or LOGIN, LOGIN in IMAP, or USER and PASS, and is shown these alone; Secure Password Authentication (NTLM), CRAM-MD5 and APOP hide the password from adit and must be off in the program, which is told so. Why a \
    login fails is told in the log and to the program. It works with `protocol = smtp`, `pop3` or `imap`, and with TLS from the first byte, where the port in `connect` (465, 587, 25, 993, 143, 995, 110) or `loginProtocol` says what is \
    spoken. A program that does not log in goes on in SMTP as the server decides.";

const BY_TOKEN: &str = "With `login = oauth2` the program logs in with the name and the local password that `adit login` was given, and adit logs in by XOAUTH2 or OAUTHBEARER with a token that the keeper process gives. The local password is compared before \
    anything goes to the server. A token that the server refuses is replaced, unless it was given within the last minute, and told on a new connection. No such login takes above 20 seconds.";

const HELD: &str = "With `hold = SECONDS` a program that sends mail is held while the server cannot be connected to, fails in TLS, or does not greet: adit greets the program and answers EHLO or HELO, \
    without extensions; AUTH PLAIN and LOGIN are offered where adit takes the login. The next command waits, and the server is tried again after 1, 2, 4 and up to 30 seconds. When it is there, adit says EHLO with the program's name, and \
    all goes on; when the time is over, the program hears 421. No mail is ever acknowledged by adit itself. A server that refuses for good (5xx) is not tried again. While the server is there from the first, nothing changes, \
    except that its greeting is passed on once TLS is there. Programs give up by themselves, often after a minute. With `login = pass` a program that is held cannot log in: `login = translate` helps.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_told_once() {
        let told: Vec<&str> = ROWS
            .iter()
            .flat_map(|(names, _)| names.split(", "))
            .collect();
        let mut served = crate::config::protocol_names();
        let mut sorted = told.clone();
        served.sort_unstable();
        sorted.sort_unstable();
        assert_eq!(sorted, served);
    }
}
