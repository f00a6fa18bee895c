//! The table of the options of a service, which parser, check, manual and completions go by. Never in here: an
//! option that nothing serves, or one out of its alphabetical place.

use super::tls::{security_level, verify_flag, verify_level};
use super::{Failover, LogId};
use crate::config::endpoint::Endpoint;
use crate::config::option::{OptionDef, Scope, given, one_of, seconds, yes_no};
use crate::config::{
    accepted, admission, alpn, balancers, commands, dialogue, hold, login, ocsp, probe, program,
    quota, sessions, socket, subject, tls_options, transparent,
};

/// The value, unless it is empty.
fn filled(value: &str) -> Option<&str> {
    Some(value).filter(|value| !value.is_empty())
}

/// A value that has nothing but a place to go to.
macro_rules! store {
    ($draft:ident . $($field:ident).+ = $value:expr) => {{
        $draft.service.$($field).+ = $value;
        Ok(())
    }};
}

const fn option(name: &'static str, syntax: &'static str, doc: &'static str) -> OptionDef {
    OptionDef::new(name, Scope::Service, syntax, doc)
}

/// The table of the options of a service.
#[rustfmt::skip]
pub(in crate::config) static OPTIONS: &[OptionDef] = &[
    option("accept", "[HOST:]PORT | /PATH", "address to accept connections on, or a Unix socket")
        .example("accept = 127.0.0.1:2110").unless_given("none; every service needs one").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, true, draft.ports)?; draft.service.accept.push(address); Ok(()) }),
    option("acceptAnywhere", "yes | no", "clients may come from anywhere: no warning of a plain `accept`, old TLS on public addresses")
        .example("acceptAnywhere = yes").defaults(&["no"]).own()
        .service(|draft, value| store!(draft.accept_anywhere = yes_no(value)?)),
    option("acceptCAfile", "FILE", "with `acceptTLS`: file of certificates that clients are verified by")
        .example("acceptCAfile = /etc/adit/lan-ca.crt").unless_given("none").own().service(accepted::set_ca_file),
    option("acceptCert", "FILE", "with `acceptTLS`: certificate chain for clients, our own certificate first; or PKCS#12")
        .example("acceptCert = /etc/adit/lan.crt").unless_given("none; `acceptTLS` needs one").own().service(accepted::set_cert),
    option("acceptCiphers", "CIPHER_LIST", "with `acceptTLS`: cipher suites up to TLS 1.2 for clients, in OpenSSL's words")
        .example("acceptCiphers = ECDHE+AESGCM").unless_given("all that are served, see `preferChaCha20`").own().service(accepted::set_ciphers),
    option("acceptFrom", "NETWORKS", "addresses and networks that clients may come from, parted by commas")
        .example("acceptFrom = 192.0.2.0/24, 2001:db8::/32").unless_given("anywhere").repeatable().own().service(admission::set_accept),
    option("acceptKey", "FILE", "private key of `acceptCert`, PEM or PKCS#12; unless given, it is in the same file")
        .example("acceptKey = /etc/adit/lan.key").unless_given("the file of `acceptCert`").own().service(accepted::set_key),
    option("acceptProtocol", "smtp | pop3 | imap", "with `acceptTLS`: clients may start TLS by STARTTLS of this protocol")
        .example("acceptProtocol = smtp").unless_given("`auto` goes by `protocol` or by the port in `connect`; `yes` offers none").own().service(accepted::set_protocol),
    option("acceptProxy", "NETWORKS | unix", "balancers that say by a PROXY header who their client is (version 1 or 2)")
        .example("acceptProxy = 192.0.2.10, 2001:db8::10").unless_given("none").repeatable().own().service(balancers::set),
    option("acceptSSLVersionMin", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3", "with `acceptTLS`: lowest TLS version for clients")
        .example("acceptSSLVersionMin = TLSv1").unless_given("TLSv1.2").own().service(accepted::set_version_min),
    option("acceptTLS", "no | yes | auto", "client mode: the client speaks TLS too, each side in its own way; `auto`: as the client does")
        .example("acceptTLS = yes").defaults(&["no"]).own().service(accepted::set_wish),
    option("acceptVerifyChain", "yes | no", "with `acceptTLS`: a client's chain must end at a certificate of `acceptCAfile`")
        .example("acceptVerifyChain = yes").defaults(&["no"]).own().service(accepted::set_verify_chain),
    option("acceptVerifyPeer", "yes | no", "with `acceptTLS`: a client's own certificate must be in `acceptCAfile`")
        .example("acceptVerifyPeer = yes").defaults(&["no"]).own().service(accepted::set_verify_peer),
    option("alpn", "PROTOCOLS", "protocols to offer within TLS (ALPN), or of which to choose one, the preferred one first")
        .example("alpn = h2, http/1.1").unless_given("none; in server mode with `protocol = pgsql`: postgresql").empty_is_none().own()
        .service(alpn::set),
    option("CAfile", "FILE", "file of trusted certificates")
        .example("CAfile = /etc/adit/partners.pem").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.ca_file = filled(value).map(Into::into))),
    option("CApath", "DIRECTORY", "folder of trusted certificates, named by their hashes")
        .example("CApath = /etc/ssl/certs").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.ca_path = filled(value).map(Into::into))),
    option("cert", "FILE", "certificate chain, our own first, or PKCS#12 with the key; a server staples its OCSP answer")
        .example("cert = /etc/adit/mail.example.com.crt").unless_given("none; a server needs one")
        .service(|draft, value| store!(draft.tls.cert = Some(given(value)?.into()))),
    option("checkCN", "NAME", "common name that the peer's certificate must have as its last; or as the other checks say")
        .example("checkCN = backup").unless_given("any").repeatable().own().service(subject::add_common_name),
    option("checkEmail", "EMAIL", "mail address that the peer's certificate must have")
        .example("checkEmail = operator@example.com").unless_given("any").repeatable().service(subject::add_email),
    option("checkHost", "HOST", "host name that the peer's certificate must have")
        .example("checkHost = mail.example.com").unless_given("any").repeatable().service(subject::add_host),
    option("checkIP", "IP", "address that the peer's certificate must have")
        .example("checkIP = 192.0.2.25").unless_given("any").repeatable().service(subject::add_ip),
    option("checkOU", "NAME", "organizational unit that the peer's certificate must have")
        .example("checkOU = backups").unless_given("any").repeatable().own().service(subject::add_unit),
    option("checkPin", "sha256//BASE64[;...]", "hash of the public key that the peer must have, as in `curl --pinnedpubkey`")
        .example("checkPin = sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").unless_given("any").repeatable().own().service(subject::add_pin),
    option("checkURI", "URI", "URI that the peer's certificate must have, as a SPIFFE ID; the whole is compared")
        .example("checkURI = spiffe://example.org/mail").unless_given("any").repeatable().own().service(subject::add_uri),
    option("ciphers", "CIPHER_LIST", "cipher suites of TLS 1.2, in OpenSSL's words")
        .example("ciphers = ECDHE+AESGCM").unless_given("all that are served, see `preferChaCha20`")
        .service(|draft, value| store!(draft.tls.ciphers = Some(given(value)?))),
    option("ciphersuites", "CIPHERSUITES_LIST", "cipher suites of TLS 1.3")
        .example("ciphersuites = TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256").unless_given("all, see `preferChaCha20`")
        .service(|draft, value| store!(draft.tls.ciphersuites = Some(given(value)?))),
    option("client", "yes | no", "client mode: the remote side speaks TLS")
        .example("client = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.client = yes_no(value)?)),
    option("config", "COMMAND:VALUE", "a command of SSL_CONF_cmd(3): versions, ciphers, groups, signature algorithms, Options")
        .example("config = MinProtocol:TLSv1.3").unless_given("none").repeatable().service(commands::set),
    option("connect", "[HOST:]PORT | /PATH", "address to connect to, or a Unix socket")
        .example("connect = pop.example.com:995").unless_given("none; every service needs one").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, false, draft.ports)?; draft.service.connect.push(address); Ok(()) }),
    option("CRLfile", "FILE", "revocation lists (PEM) that verified peers are looked up in")
        .example("CRLfile = /etc/adit/partners.crl").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.crl_file = filled(value).map(Into::into))),
    option("CRLpath", "DIRECTORY", "folder of revocation lists, named by their issuers' hashes, read at a start or reload")
        .example("CRLpath = /etc/adit/crls").unless_given("none").empty_is_none()
        .service(|draft, value| store!(draft.tls.crl_path = filled(value).map(Into::into))),
    option("connectRate", "N/s | N/min | N/h", "new connections of one address: so many at once, and again as the time goes on; 0: any")
        .example("connectRate = 10/s").unless_given("any number").own().service(quota::set_rate),
    option("curves", "LIST", "groups of the key exchange")
        .example("curves = X25519MLKEM768:X25519:P-256").unless_given("all that are served, X25519MLKEM768 first")
        .service(|draft, value| store!(draft.tls.curves = Some(given(value)?))),
    option("delay", "yes | no", "resolve `connect` at each connection")
        .example("delay = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.delay = yes_no(value)?)),
    option("denyFrom", "NETWORKS", "addresses and networks that no client may come from, whatever `acceptFrom` says")
        .example("denyFrom = 198.51.100.0/24").unless_given("none").repeatable().own().service(admission::set_deny),
    option("exec", "PATH", "program behind the service, as inetd starts one; with `connect` and no `accept`, before it")
        .example("exec = /usr/sbin/in.fingerd").unless_given("none")
        .service(|draft, value| { draft.program.path = Some(given(value)?.into()); Ok(()) }),
    option("execArgs", "$0 $1 $2 ...", "arguments of `exec`, its name first; blanks part them, and quotes mean nothing")
        .example("execArgs = in.fingerd -w").unless_given("the path in `exec`")
        .service(program::set_args),
    option("failover", "rr | prio | leastconn", "order in which several `connect` are tried; leastconn: fewest open connections first")
        .example("failover = rr").defaults(&["prio"])
        .service(|draft, value| store!(draft.failover = one_of(value, &[
            ("rr", Failover::RoundRobin), ("prio", Failover::Priority), ("leastconn", Failover::LeastConnections),
        ])?)),
    option("hold", "SECONDS", "client mode, smtp: time to hold a mail program while its server cannot be reached")
        .example("hold = 120").defaults(&["0"]).own().service(hold::set),
    option("ident", "USERNAME", "the user that a client's connection must belong to, as its machine says (IDENT, RFC 1413)")
        .example("ident = mail").unless_given("none is asked for").service(admission::set_ident),
    option("key", "FILE", "private key of `cert`, PEM or PKCS#12; unless given, it is in the same file")
        .example("key = /etc/adit/mail.example.com.key").unless_given("the file of `cert`")
        .service(|draft, value| store!(draft.tls.key = Some(given(value)?.into()))),
    option("keyPasswordFile", "FILE", "file with the pass phrase of an encrypted key; several, one a line, are tried in turn")
        .example("keyPasswordFile = /etc/adit/mail.example.com.pass").unless_given("asked for at a start on a terminal").own()
        .service(|draft, value| store!(draft.tls.key_password_file = Some(given(value)?.into()))),
    option("libwrap", "yes | no", "ask /etc/hosts.allow and /etc/hosts.deny, by the service's name, whether a client may connect")
        .example("libwrap = yes").defaults(&["no"]).service(admission::set_libwrap),
    option("local", "HOST", "source address for connecting")
        .example("local = 192.0.2.7").unless_given("the system chooses")
        .service(|draft, value| store!(draft.local = Some(given(value)?))),
    option("logId", "sequential | unique | thread | process", "what names a connection in the log")
        .example("logId = unique").defaults(&["sequential"])
        .service(|draft, value| store!(draft.log_id = one_of(value, &[
            ("sequential", LogId::Sequential), ("unique", LogId::Unique),
            ("thread", LogId::Thread), ("process", LogId::Process),
        ])?)),
    option("login", "pass | translate | oauth2", "client mode: a mail program's login passes, or is made in the best way, or by OAuth2")
        .example("login = translate").defaults(&["pass"]).own().service(login::set_way),
    option("loginProtocol", "smtp | pop3 | imap", "with `login`, TLS from the first byte: the protocol that is spoken within it")
        .example("loginProtocol = imap").unless_given("as the port in `connect` says").own().service(login::set_protocol),
    OptionDef::new("maxConnections", Scope::Both, "NUMBER", "connections at once, of all services or of the section's; more clients wait; 0: any")
        .example("maxConnections = 1000").unless_given("as many as there are descriptors for").own()
        .global(|global, value| { global.max_connections = quota::connections(value)?; Ok(()) }).service(quota::set_connections),
    option("maxConnectionsPerAddress", "NUMBER", "connections of one address at once, IPv6 by its first 64 bits; more are refused; 0: any")
        .example("maxConnectionsPerAddress = 20").unless_given("any number").own().service(quota::set_per_address),
    option("OCSP", "URL", "OCSP responder to ask about the peer's certificate; with `verifyChain` or `verifyServer`")
        .example("OCSP = http://ocsp.example.com/").unless_given("none").empty_is_none()
        .service(ocsp::set_url),
    option("OCSPaia", "yes | no", "ask the OCSP responders that the peer's certificates name")
        .example("OCSPaia = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.tls.ocsp.aia = yes_no(value)?)),
    option("OCSPflag", "OCSP_FLAG", "NOINTERN: the issuer itself must answer; OpenSSL's other words change nothing")
        .example("OCSPflag = NOINTERN").unless_given("none").repeatable()
        .service(ocsp::set_flag),
    option("OCSPnonce", "yes | no", "each OCSP answer must be fresh; public responders give no such")
        .example("OCSPnonce = yes").defaults(&["no"])
        .service(|draft, value| store!(draft.tls.ocsp.nonce = yes_no(value)?)),
    option("OCSPrequire", "yes | no", "refuse a peer unless a responder gives a conclusive answer")
        .example("OCSPrequire = no").defaults(&["yes"])
        .service(|draft, value| store!(draft.tls.ocsp.require = yes_no(value)?)),
    option("options", "SSL_OPTIONS", "option of the TLS library in OpenSSL's words; `-` takes it back")
        .example("options = NO_TLSv1_2").unless_given("none").repeatable()
        .service(|draft, value| tls_options::set(&mut draft.flags, &mut draft.flags_cleared, value)),
    option("probe", "SECONDS", "how often each server in `connect` is tried; one that fails twice comes last until it answers")
        .example("probe = 30").defaults(&["0"]).own().service(probe::set),
    option("protocol", "PROTOCOL", "the dialogue before TLS, or first within it: one of those under \"Dialogues\"")
        .example("protocol = smtp").unless_given("none: TLS from the first byte")
        .service(|draft, value| store!(draft.protocol = Some(dialogue::protocol(value)?))),
    option("protocolAuthentication", "basic | ntlm | plain | login | cram-md5 | scram-sha-256", "client mode: how to log in; `basic`, `ntlm`: at the proxy of `connect`; the others: mail")
        .example("protocolAuthentication = login").unless_given("connect: basic; smtp: plain; with `login`, imap and pop3: the best that the server offers").service(dialogue::set_authentication),
    option("protocolDomain", "DOMAIN", "protocol = connect, `protocolAuthentication = ntlm`: the domain of `protocolUsername`")
        .example("protocolDomain = OFFICE").unless_given("none").service(dialogue::set_domain),
    option("protocolHeader", "HEADER", "client mode, protocol = connect: an extra header line for the request")
        .example("protocolHeader = User-Agent: adit").unless_given("none").repeatable().secret().service(dialogue::set_header),
    option("protocolHost", "HOST | HOST:PORT", "client mode: the name for EHLO (smtp), or the server behind the proxy (connect, socks)")
        .example("protocolHost = www.example.com:443").unless_given("smtp: localhost; connect needs it; socks: where the client wanted to go before it was redirected (iptables)").empty_is_none().service(dialogue::set_host),
    option("protocolPassword", "PASSWORD", "client mode, protocol = connect, smtp, imap or pop3: the password of `protocolUsername`")
        .example("protocolPassword = correct horse").unless_given("no login").secret().service(dialogue::set_password),
    option("protocolUsername", "USERNAME", "client mode, protocol = connect, smtp, imap or pop3: the user name to log in with")
        .example("protocolUsername = office").unless_given("no login").service(dialogue::set_username),
    option("proxyVersion", "1 | 2", "protocol = proxy: the header's version; 2 also tells of the client's TLS and certificate")
        .example("proxyVersion = 2").defaults(&["1"]).own().service(dialogue::set_proxy_version),
    option("PSKidentity", "IDENTITY", "client mode: the identity in the file of `PSKsecrets` to show to the server")
        .example("PSKidentity = office").unless_given("the first one in the file")
        .service(|draft, value| store!(draft.tls.psk_identity = Some(value.to_owned()))),
    option("PSKsecrets", "FILE", "pre-shared keys for TLS 1.3: `IDENTITY:KEY` a line, hexadecimal or text; without resumption")
        .example("PSKsecrets = /etc/adit/psk.txt").unless_given("none")
        .service(|draft, value| store!(draft.tls.psk_secrets = Some(given(value)?.into()))),
    option("pty", "yes | no", "a pseudoterminal for the program of `exec`")
        .example("pty = yes").defaults(&["no"])
        .service(|draft, value| { draft.program.pty = yes_no(value)?; Ok(()) }),
    option("redirect", "[HOST:]PORT", "server mode: where clients without a valid certificate are connected to")
        .example("redirect = 127.0.0.1:8080").unless_given("they are refused").repeatable()
        .service(|draft, value| { let address = Endpoint::parse(value, true, draft.ports)?; draft.service.redirect.push(address); Ok(()) }),
    option("requireCert", "yes | no", "refuse a peer without a certificate")
        .example("requireCert = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.require)),
    option("reset", "yes | no", "pass a reset on as a reset")
        .example("reset = no").defaults(&["yes"])
        .service(|draft, value| store!(draft.reset = yes_no(value)?)),
    option("retry", "yes | no | MILLISECONDS", "start `exec` with `connect` again, this long after its session; yes: 1000")
        .example("retry = 5000").defaults(&["no"])
        .service(|draft, value| { draft.program.retry = program::retry(value)?; Ok(()) }),
    option("securityLevel", "0 | 1 | 2 | 3 | 4 | 5", "bits of RSA: 2: 2048, 3: 3072, 4: 7680; 5: P-521; with old TLS also 1: 1024, 0: any, SHA-1")
        .example("securityLevel = 1").defaults(&["2"])
        .service(|draft, value| store!(draft.tls.security_level = security_level(value)?)),
    option("sessionCacheSize", "NUM_ENTRIES", "sessions to keep by their identifier, for clients without tickets; 0: as many as fit")
        .example("sessionCacheSize = 1000").unless_given("as many as fit: 2048 in all services, 4096 in those with old TLS")
        .service(sessions::set_cache_size),
    option("sessionCacheTimeout", "SECONDS", "time for which a session can be resumed")
        .example("sessionCacheTimeout = 300").unless_given("six to twelve hours, as the keys for tickets last")
        .service(sessions::set_lifetime),
    option("sessionResume", "yes | no", "resume sessions")
        .example("sessionResume = no").defaults(&["yes"]).service(sessions::set_resume),
    option("sni", "SERVER_NAME | SERVICE:PATTERN", "name to send; server mode: serves clients of SERVICE that ask for such a name")
        .example("sni = mail.example.com").unless_given("the host in `connect`; in server mode none")
        .service(|draft, value| store!(draft.tls.sni = Some(value.to_owned()))),
    option("socket", "a|l|r:OPTION=VALUE[:VALUE]", "socket option of the accepting, local or remote socket")
        .example("socket = r:SO_KEEPALIVE=yes").repeatable()
        .defaults(&["a:SO_REUSEADDR=yes", "l:TCP_NODELAY=yes", "r:TCP_NODELAY=yes"])
        .service(|draft, value| socket::set(&mut draft.service.socket, value)),
    option("sslVersion", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "the one TLS version to speak")
        .example("sslVersion = TLSv1.3").unless_given("what sslVersionMin and sslVersionMax say")
        .service(|draft, value| {
            let version = tls_options::version(value)?;
            draft.service.tls.version_min = version;
            draft.service.tls.version_max = version;
            Ok(())
        }),
    option("sslVersionMax", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "highest TLS version to speak")
        .example("sslVersionMax = TLSv1.3").defaults(&["all"])
        .service(|draft, value| store!(draft.tls.version_max = tls_options::version(value)?)),
    option("sslVersionMin", "TLSv1 | TLSv1.1 | TLSv1.2 | TLSv1.3 | all", "lowest TLS version to speak; `all`: TLSv1.2")
        .example("sslVersionMin = TLSv1.3").defaults(&["all"])
        .service(|draft, value| {
            draft.service.tls.version_min = tls_options::version_min(value)?;
            match tls_options::is_broken(value) {
                true => Err(tls_options::never_spoken(value)),
                false => Ok(()),
            }
        }),
    option("ticketKeySecret", "SECRET", "secret of the keys for tickets, 16 or 32 bytes in hexadecimal, for servers that share them")
        .example("ticketKeySecret = WHAT `openssl rand -hex 32` SAYS").unless_given("drawn at the start, together with ticketMacSecret").secret()
        .service(sessions::set_ticket_key),
    option("ticketMacSecret", "SECRET", "the second such secret; both are given together")
        .example("ticketMacSecret = WHAT IT SAYS THE NEXT TIME").unless_given("drawn at the start").secret()
        .service(sessions::set_ticket_mac),
    option("TIMEOUTbusy", "SECONDS", "time to wait for expected data")
        .example("TIMEOUTbusy = 60").defaults(&["300"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.busy, value)),
    option("TIMEOUTclose", "SECONDS", "time to wait for close_notify")
        .example("TIMEOUTclose = 10").defaults(&["60"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.close, value)),
    option("TIMEOUTconnect", "SECONDS", "time to wait for a connection, and before it for its addresses")
        .example("TIMEOUTconnect = 5").defaults(&["10"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.connect, value)),
    option("TIMEOUThandshake", "SECONDS", "time until a client is relayed: its TLS, dialogue and connection together; 0: any")
        .example("TIMEOUThandshake = 60").unless_given("600, or twice TIMEOUTbusy if that is more").own()
        .service(|draft, value| seconds(draft.service.timeouts.handshake.get_or_insert_default(), value)),
    option("TIMEOUTidle", "SECONDS", "time after which an idle connection ends")
        .example("TIMEOUTidle = 3600").defaults(&["43200"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.idle, value)),
    option("TIMEOUTocsp", "SECONDS", "time to wait for an OCSP responder")
        .example("TIMEOUTocsp = 10").defaults(&["5"])
        .service(|draft, value| seconds(&mut draft.service.timeouts.ocsp, value)),
    option("transparent", "none | source | destination | both", "connect from the client's address, to where it wanted to go, or both")
        .example("transparent = source").defaults(&["none"])
        .service(transparent::set),
    option("verify", "LEVEL", "0 to 4: obsolete, see verifyChain and verifyPeer")
        .example("verify = 2").unless_given("no verification")
        .service(verify_level),
    option("verifyChain", "yes | no", "the peer's chain must end at a trusted certificate")
        .example("verifyChain = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.chain)),
    option("verifyPeer", "yes | no", "the peer's own certificate must be among the trusted ones")
        .example("verifyPeer = yes").defaults(&["no"])
        .service(|draft, value| verify_flag(draft, value, |verification| &mut verification.peer)),
    option("verifyServer", "yes | no", "client mode: verify as a browser does, with the system's roots and the name")
        .example("verifyServer = yes").defaults(&["no"]).own()
        .service(|draft, value| store!(draft.tls.verification.server = yes_no(value)?)),
];
