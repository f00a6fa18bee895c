//! adit.conf(5): every option, from its one definition, and what holds for all of them.

use super::command::capitalised;
use super::roff::Page;
use crate::config::{OptionDef, Scope, Verdict, options};

/// The page's source.
pub(super) fn page(date: &str) -> String {
    let mut page = Page::new("adit.conf", 5, date, "File Formats");
    page.name("adit.conf", "configuration of the TLS relay adit");
    page.section("Description");
    page.text(
        "The file has the syntax of stunnel.conf: options before the first section apply to the whole program, or are defaults for every service; each `[section]` is a service. \
         Options are lines `name = value`; the case of names does not matter. Lines that begin \
         with `;` or `#` are comments. An option that adit does not know, or cannot serve, is an \
         error with its file and line, never ignored.",
    );
    page.paragraph("`adit reload` applies a change and cuts no connection. Any option may change.");
    page.subsection("Addresses");
    page.text(
        "An address is `port`, `host:port`, `:::port` for every IPv6 and IPv4 address, `[v6]:port`, \
         or the path of a Unix socket. Without a host, `accept` takes every IPv4 address (and every \
         IPv6 one, where `net.ipv6.bindv6only` is 1), and `connect` goes to this machine. `accept = host:0` binds a free port and logs it.",
    );
    page.subsection("The log");
    page.text(
        "What strangers can make adit write is bounded. Of the lines of one kind and of level 4 or below about connections from one IPv4 address, or one IPv6 network of 64 bits, \
         ten a minute are written, and then one that tells how many there were beyond, with an example. For an address with more faults than that the lines of the higher levels, on the \
         course of its connections, are counted in the same way. Each worker counts for itself, 512 kinds and addresses at most; what is beyond counts as of other addresses. \
         Connections of a Unix socket are not counted. `logRepeats` sets the number.",
    );
    page.subsection("Programs");
    page.text(
        "`exec` with `accept` starts a program for each connection; `exec` with `connect` starts one when adit starts, \
         whose words go to the server. It has a socket as descriptors 0 and 1, without `foreground` as 2 too, and in its environment \
         REMOTE_HOST, REMOTE_PORT and, where the client has shown a certificate, SSL_CLIENT_DN and SSL_CLIENT_I_DN; \
         options that were given as variables (`ADIT_*`) are not in it, since they may be secrets. \
         A program may trust these two only where the service verifies by `verifyChain` or `verifyPeer`: else a client writes \
         them itself. With `retry` the program must end at the end of its input: adit starts the next one after the session, and \
         does not end the last. \
         Its user is that of `setuid`; without it, a root's adit runs it as root. What the systemd unit forbids (new privileges, devices, \
         writable and executable memory, most of the file system for writing) is forbidden to the program too: see \
         systemctl(1), edit.",
    );
    page.subsection("inetd mode");
    page.text(
        "A file without a section is for inetd(8), xinetd(8) or a systemd socket with Accept=yes: it has `connect` or `exec` and \
         no `accept`, and adit serves the one connection on descriptors 0 and 1, and ends. `service` names it. Pipes will do, as \
         ssh(1) gives them to a ProxyCommand. Nothing is written to descriptor 2 if that is the connection too, not even that the command line is wrong.",
    );
    page.subsection("Paths and the jail");
    page.text(
        "Certificates, keys and the configuration are read by root, outside the jail. As in \
         stunnel, `pid` and `exec` are paths inside `chroot`. `output` is one too if its folder exists there, \
         otherwise it is outside.",
    );
    served(&mut page, "Global options", |scope| scope != Scope::Service);
    served(&mut page, "Options of a service", |scope| {
        scope == Scope::Service
    });
    admission(&mut page);
    limits(&mut page);
    verification(&mut page);
    names(&mut page);
    clients(&mut page);
    super::dialogues::section(&mut page);
    super::upstreams::section(&mut page);
    super::transparent::section(&mut page);
    openssl_commands(&mut page);
    old_tls(&mut page);
    unix_sockets(&mut page);
    cipher_order(&mut page);
    unserved(&mut page);
    super::differences::section(&mut page);
    examples(&mut page);
    page.section("Files");
    page.tagged(
        "`/etc/adit/adit.conf`",
        "The file that is read if none is given.",
    );
    page.section("See also");
    page.text("adit(8), stunnel(8)");
    page.finish()
}

/// The options that adit serves, with their values, defaults and examples.
fn served(page: &mut Page, title: &str, belongs: fn(Scope) -> bool) {
    page.section(title);
    let mut shown: Vec<&OptionDef> = options()
        .filter(|option| matches!(option.verdict, Verdict::Served) && belongs(option.scope))
        .collect();
    shown.sort_by_key(|option| option.name.to_ascii_lowercase());
    for option in shown {
        page.tagged(
            &format!("`{}` = {}", option.name, option.syntax),
            &format!("{}.", capitalised(option.doc)),
        );
        if option.own {
            page.text("stunnel has no such option.");
        }
        if option.scope == Scope::Both {
            page.text("It is also allowed in a section.");
        }
        if option.repeatable {
            page.text("It may be given more than once.");
        }
        if option.secret {
            page.text("Its value never reaches a log.");
        }
        page.break_text(&format!("Default: {}.", default(option)));
        page.break_text(&format!("Example: `{}`", option.example));
    }
}

fn default(option: &OptionDef) -> String {
    if option.defaults.is_empty() {
        return option.unless_given.to_owned();
    }
    let quoted: Vec<String> = option
        .defaults
        .iter()
        .map(|value| format!("`{value}`"))
        .collect();
    quoted.join(", ")
}

/// What is special about Unix sockets.
fn unix_sockets(page: &mut Page) {
    page.section("Servers on Unix sockets");
    page.text(
        "Some servers ask a Unix socket for the user at its other end: MariaDB (unix_socket), slapd (EXTERNAL), PostgreSQL (peer). \
         They learn the user of adit's workers, for every client. `If the workers are root, every client is root to them`: set `setuid`. \
         slapd also takes such a connection for encrypted (olcLocalSSF, by default 71), however its client came.",
    );
}

fn cipher_order(page: &mut Page) {
    page.section("Which cipher comes first");
    page.text(
        "A service without `ciphersuites` (for TLS 1.2: without `ciphers`) offers AES first, and as a \
         server follows its client. On a processor without AES instructions, such as a Raspberry Pi's before the fifth, AES costs five times as much as ChaCha20: there such a service offers ChaCha20, AES-256 and AES-128, and as a server follows that order. If only one of the two lists is given, the server follows its order as well. `preferChaCha20` sets it by hand, and `adit status` shows the order.",
    );
}

fn verification(page: &mut Page) {
    page.section("Verifying the peer");
    page.text(
        "A client service that verifies nothing does not protect against an attacker on the network path, and adit warns about it.",
    );
    for (what, text) in [
        (
            "verifyServer = yes",
            "As in a browser: the chain ends at an authority that this system trusts, or at one in `CAfile` and `CApath` if given, and the certificate is for the name in `sni` or `connect`. The choice for a public server.",
        ),
        (
            "verifyPeer = yes",
            "The certificate itself is in `CAfile` or `CApath`. The choice for a server whose certificate is self-signed.",
        ),
        (
            "verifyChain = yes",
            "The chain ends at a certificate of `CAfile` or `CApath`. The name is checked only by \
             `checkHost` and its like. For a server service: clients must present a certificate.",
        ),
        (
            "redirect = [HOST:]PORT",
            "For a server service: a client that shows no certificate, or one that is refused, is connected there instead of to `connect`; the handshake succeeds. Several are tried in turn, as `connect` is. \
             A session that is resumed goes by the certificate that it began with, which is judged again. Not with a `protocol` that comes before TLS, where the server is connected by then.",
        ),
    ] {
        page.tagged(&format!("`{what}`"), text);
    }
    page.paragraph(
        "`checkHost`, `checkIP`, `checkEmail`, `checkURI`, `checkOU` and `checkCN` name what the peer's certificate must have, in both modes, beside one of the above; of all these lines one that matches is enough. \
         `checkURI` compares the whole of a URI, without wildcards; a certificate with several URIs has no SPIFFE ID. `checkOU` and `checkCN` go by the subject, each character and its case; of several common names the last counts.",
    );
    page.paragraph(
        "`checkPin` is asked for beside all of them: the SHA-256 of the peer's public key, as in `curl --pinnedpubkey`. It outlives a certificate that is renewed with its key; give the next key's hash too, parted by `;` or in a line of its own. The log tells the hash of a key that is refused. To compute one, pipe the certificate through `openssl x509 -pubkey -noout`, `openssl pkey -pubin -outform DER`, `openssl dgst -sha256 -binary` and `base64`.",
    );
    page.paragraph(
        "With `CRLfile` or `CRLpath` the peer's certificate is looked up in revocation lists as well. A list of its issuer must be in force and be about it; of several the newest counts. \
         Authorities between it and the root need no list, but one that a list revokes is on no path. Lists beside the certificates of `CAfile` and `CApath` count too then. \
         In server mode this is for clients, in client mode for the server; not for the clients of `acceptCAfile`.",
    );
    page.paragraph(
        "Lists are read at a start and at a reload, which `certWatch = yes` makes by itself when a file changes: have the program that fetches them rename the new file over the old one. \
         Sessions from before a new list are not resumed. A folder is made ready by `openssl rehash`.",
    );
}

/// Virtual hosts.
fn names(page: &mut Page) {
    page.section("Several names on one address");
    page.text(
        "A server service with `sni = SERVICE:PATTERN` has no `accept`: it serves those clients of SERVICE, which stands above it, that ask for a name of that \
         pattern (SNI): a host name, or an asterisk and the end of one, as `*.example.com`. The first pattern in the file that matches counts; a client that asks for another name, or for none, is served by SERVICE itself.",
    );
    page.paragraph(
        "The certificate, what is asked of clients, `connect` and all else are the chosen service's, and the log goes on under its name; a session of one is never taken up by another. \
         What its section does not say of TLS versions, ciphers, curves and `options`, SERVICE says. With a `protocol` that comes before TLS, both have the same, and SERVICE has connected by then. \
         A service with old TLS is chosen only where SERVICE has old TLS too.",
    );
}

/// TLS on the accepted side of client mode.
fn clients(page: &mut Page) {
    page.section("TLS with the clients of client mode");
    page.text(
        "In client mode the client speaks plain, unless `acceptTLS` says otherwise. Then it needs a certificate of its own, `acceptCert`, \
         which clients must trust; versions, suites and verification have options of their own too, which begin with `accept`.",
    );
    for (what, text) in [
        (
            "acceptTLS = yes",
            "TLS from the first byte. With `acceptProtocol` also by STARTTLS (STLS in POP3), and a client that goes on without it is refused in that protocol's words.",
        ),
        (
            "acceptTLS = auto",
            "Whatever the client does: plain, TLS from the first byte, or STARTTLS. STARTTLS is offered where the protocol is known: by `acceptProtocol`, else by \
             `protocol`, else by the port of every `connect`: 25, 465 and 587 are SMTP, 110 and 995 POP3, 143 and 993 IMAP. An attacker between the client and adit can take the offer away: a \
             client that must have TLS has to insist on it, or use `yes`.",
        ),
    ] {
        page.tagged(&format!("`{what}`"), text);
    }
    page.paragraph(
        "Where the server speaks first, as mail servers do, adit waits for a client's TLS before it passes the greeting on: up to half a second after the client has connected with `auto`, \
         a fifth with `yes` and `acceptProtocol`. Connecting to the server takes place within that time. Where the client speaks first there is no wait.",
    );
}

/// Who may connect.
fn admission(page: &mut Page) {
    page.section("Who may connect");
    page.text(
        "Clients are judged before a byte of theirs is heard, in this order; one that is refused is reset, with a line of level 4 in the log, and counted in `adit status` as refused.",
    );
    for (what, text) in [
        (
            "`acceptProxy`",
            "The balancers in front (haproxy: `send-proxy-v2`; nginx: `proxy_protocol on`; most clouds' too), by address or network; `unix` means those that connect to a Unix socket. Each connection of theirs begins with a PROXY header, of version 1 or 2, \
             within `TIMEOUTbusy` and before TLS, in both modes. From then on the client's address in it is the connection's: for the log, all that stands below, `transparent = source`, `protocol = proxy` and `exec`. A header without an address leaves the balancer's, and so does a connection of the balancer's own (LOCAL, or the \
             balancer named as its own client). As long as that carries nothing it is a check: no failure is counted, and it is told of at `debug = 7` alone; what goes on after the header is judged and told of as any client. With `proxyVersion = 2` a server is told of the client's TLS as the balancer tells of it, where it ends there, and of the connection's identifier. \
             `Name none but machines of yours`: what they say is believed. Clients from elsewhere come without a header, and speak for themselves.",
        ),
        (
            "`acceptFrom`, `denyFrom`",
            "Addresses and networks, as `192.0.2.25`, `192.0.2.0/24` and `2001:db8::/32`; `denyFrom` counts first. In a section `acceptFrom` takes the place of that before the first section, and `denyFrom` adds to it. IPv4 that comes by IPv6 is IPv4; \
             `0.0.0.0/0, ::/0` is every address. Clients of a Unix socket have none and are taken: the permissions of its folder decide. A service that is chosen by name (`sni = SERVICE:PATTERN`) is judged by its own lists too.",
        ),
        (
            "`libwrap`",
            "`/etc/hosts.allow` and `/etc/hosts.deny`, see hosts_access(5) and hosts_options(5); the daemon's name is the service's, or its port. They are read for each client, outside the jail, by a user that must be able to read them. \
             Host names count if they have the client's address and are no aliases. `spawn`, `twist`, `aclexec`, `banners`, `user`, `group`, netgroups and user names are not carried out: a client that such a rule matches is refused, and so is every client while a file cannot be read. \
             `severity`, `keepalive`, `linger`, `nice`, `umask`, `setenv` and `rfc931` change nothing. `adit check` warns of what does not do what it seems to: a last line without a newline (in hosts.deny it refuses every client), \
             `10.1.0.0/8` and `0.0.0.0/0` (they match no address).",
        ),
        (
            "`ident`",
            "The client's machine is asked on port 113, from the address that the client has connected to, within `TIMEOUTconnect` and `TIMEOUTbusy`. Without an answer the client is refused.",
        ),
    ] {
        page.tagged(what, text);
    }
    page.paragraph(
        "A plain `accept` in client mode that other machines reach is warned of, unless `acceptFrom`, `libwrap` or `acceptAnywhere = yes` says that it is meant.",
    );
}

/// How much a client may take.
fn limits(page: &mut Page) {
    page.section("Limits");
    page.text(
        "Each limit that is met is counted in `adit status` and in the metrics, and told in the log by a line of level 4: at once, and then by one a minute that has their number.",
    );
    page.tagged(
        "`maxConnections`",
        "Before the first section it is that of all services, in a section of that one; a service counts those that it has handed to others by name (`sni = SERVICE:PATTERN`). What is open in generations that drain counts too. \
         At the limit the listener is not read: clients wait in the queue of the kernel, whose length is net.core.somaxconn, and are served as soon as a connection ends. \
         Without it there is a limit too: each connection takes two descriptors of a process.",
    );
    page.tagged(
        "`maxConnectionsPerAddress`, `connectRate`",
        "Count for each service and address: IPv6 by its first 64 bits, which one client has all of, and IPv4 that comes by IPv6 as IPv4. Before the first section they are the default of each service; `0` takes that back. \
         A client beyond them is reset as it is accepted, before `acceptFrom` and its like are asked. With `connectRate = 30/min` an address may connect 30 times at once, and then once each two seconds; what is refused does not count. \
         The tables have room for 49000 addresses with open connections in each worker, and for 65536 that have connected lately; beyond that addresses are let in uncounted, and none is refused for what others do. \
         Clients of a Unix socket have no address; those of a balancer (`acceptProxy`) are judged by the address that it names.",
    );
    page.tagged(
        "`TIMEOUThandshake`",
        "Begins with the acceptance of a client, and ends when what it says is passed on: TLS with both sides, dialogues, and the connection to the server are all within it, each with its own time besides. \
         A login that adit makes (`login`) has as long again, since a person may be typing, and the time of `hold` is added. Then the connection is reset, and the log says where it was.",
    );
}

/// What `config` takes.
fn openssl_commands(page: &mut Page) {
    page.section("OpenSSL's commands");
    page.text(
        "In `config` these do what SSL_CONF_cmd(3) says: `MinProtocol`, `MaxProtocol`, `Protocol`, `CipherString`, \
         `Ciphersuites`, `Groups` (or `Curves`), `SignatureAlgorithms`, `ClientSignatureAlgorithms` and `Options`. Any \
         other is an error that says what to write instead.",
    );
}

/// The rules for what is older than TLS 1.2.
fn old_tls(page: &mut Page) {
    page.section("Old TLS");
    page.text(
        "`acceptSSLVersionMin = TLSv1` serves the clients of client mode down to TLS 1.0, `sslVersionMin = TLSv1` those of server mode; in client mode `sslVersionMin` and `ciphers` are for the server. \
         3DES comes with TLS 1.0. SSLv3, DES and export suites are never served.",
    );
    for (what, text) in [
        (
            "Addresses",
            "TLS below 1.2 is served on loopback and private addresses. Elsewhere it needs `acceptAnywhere = yes`, and a warning stands in the log and in `adit status`.",
        ),
        (
            "RC4",
            "It is served only where the list of ciphers names it, as `acceptCiphers = ALL:RC4-SHA`, and never on a public address. To a server it is offered, last of all, by `ciphers = ALL:RC4-SHA`.",
        ),
        (
            "A key of its own",
            "Old TLS mostly has no forward secrecy: the key of such a service opens what was recorded. So no service without old TLS may have the same key; `adit ca --file old.pem` makes another. \
             Such services live in worker processes that hold no other key.",
        ),
        (
            "3DES",
            "A connection is closed after 1 GiB, since more can be attacked (Sweet32); the program connects again.",
        ),
        (
            "Small keys",
            "A server's RSA key of 1024 bits is taken with `securityLevel = 1` where the service speaks old TLS; pin it by `verifyPeer`. `securityLevel = 3` keeps any service to RSA keys of 3072 bits, its own and authorities' too, to forward secrecy, TLS 1.1 and later, and no session tickets.",
        ),
        (
            "Strong keys",
            "`securityLevel = 4` keeps any service to what has 192 bits: RSA keys of 7680 bits or ECDSA on P-384 or P-521, hashes of 384 bits and more in every certificate below the root and in handshakes, AES-256 or ChaCha20, key exchanges on P-384, P-521 or with ML-KEM, TLS 1.2 and later. `securityLevel = 5` keeps it to 256 bits: ECDSA and key exchanges on P-521, and SHA-512. Few public authorities are as strong: both are for certificates of one's own. `adit check --route` tells what a level leaves.",
        ),
    ] {
        page.tagged(what, text);
    }
}

/// stunnel's options that adit does not serve, and what it does when it meets them.
fn unserved(page: &mut Page) {
    page.section("Options of stunnel without effect");
    page.text("They are accepted, with a note.");
    list(page, |verdict| match verdict {
        Verdict::NoEffect(why) => Some(why),
        _ => None,
    });
    page.section("Options of stunnel that are refused");
    page.text("They are errors.");
    list(page, |verdict| match verdict {
        Verdict::Refused(why) => Some(why),
        _ => None,
    });
}

fn list(page: &mut Page, reason: fn(Verdict) -> Option<&'static str>) {
    for option in options() {
        if let Some(why) = reason(option.verdict) {
            let text = format!("{}: {why}.", capitalised(option.doc));
            page.tagged(&format!("`{}`", option.name), &text);
        }
    }
}

fn examples(page: &mut Page) {
    page.section("Examples");
    page.text(
        "A mail program without TLS fetches and sends mail through a provider that requires it:",
    );
    page.example(CLIENT);
    page.paragraph("TLS in front of a mail server without it:");
    page.example(SERVER);
}

/// An example for client mode; a test parses it.
const CLIENT: &str = "\
setuid = nobody
chroot = /var/lib/adit
pid = /adit.pid
client = yes
verifyServer = yes

[pop3]
accept = 127.0.0.1:2110
connect = pop.example.com:995

[submission]
protocol = smtp
accept = 127.0.0.1:2587
connect = smtp.example.com:587
";

/// An example for server mode.
const SERVER: &str = "\
[imaps]
accept = 993
connect = 127.0.0.1:143
cert = /etc/adit/mail.example.com.crt
key = /etc/adit/mail.example.com.key
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn the_examples_are_served() {
        for text in [CLIENT, SERVER] {
            let sources = Sources {
                text: Some(("example".to_owned(), text.into())),
                ..Sources::default()
            };
            let loaded = load(&sources).unwrap_or_else(|found| panic!("{text}\n{found}"));
            assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
        }
    }

    #[test]
    fn every_option_is_in_the_page_once_with_its_default_and_example() {
        let page = page("");
        for option in options() {
            let tagged = format!("\\fB{}\\fR", option.name);
            assert!(page.contains(&tagged), "{} is missing", option.name);
            if matches!(option.verdict, Verdict::Served) {
                let heading = format!("\n\\fB{}\\fR = ", option.name);
                assert_eq!(page.matches(&heading).count(), 1, "{}", option.name);
            }
        }
        assert!(!page.contains("Default: .") && !page.contains("Example: \\fB\\fR"));
    }
}
