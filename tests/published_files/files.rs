//! The table: each file, and what both programs make of it.

/// The result of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Serves,
    Refuses,
}

/// A file with `{dir}`, `{cert}`, `{key}`, `{both}`, `{ca}` and `{psk}` in place of paths, and `{port}` in place
/// of a free port.
pub struct File {
    pub name: &'static str,
    pub text: &'static str,
    /// `None`: it cannot be started here.
    pub stunnel: Option<Ends>,
    pub adit: Ends,
    /// The messages of `adit check`; none if empty.
    pub says: &'static [&'static str],
    /// Why they differ.
    pub differs: &'static str,
}

use Ends::{Refuses, Serves};

#[rustfmt::skip]
pub const FILES: &[File] = &[
    File {
        name: "mail client for gmail",
        text: "\
; Mail for a program without TLS
client = yes

[gmail-pop3]
accept = 127.0.0.1:0
connect = 127.0.0.1:995

[gmail-imap]
accept = 127.0.0.1:0
connect = 127.0.0.1:993

[gmail-smtp]
accept = 127.0.0.1:0
connect = 127.0.0.1:465
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["needs authentication to prevent MITM attacks"],
        differs: "",
    },
    File {
        name: "starttls client",
        text: "\
[smtp-out]
client = yes
accept = 127.0.0.1:0
connect = 127.0.0.1:587
protocol = smtp
verifyChain = yes
CAfile = {ca}
checkHost = localhost
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "three mail servers with one certificate",
        text: "\
chroot = {dir}
setuid = nobody
setgid = nogroup
pid = /stunnel.pid
cert = {cert}
key = {key}

[pop3s]
accept = 0.0.0.0:0
connect = 110

[imaps]
accept = 0.0.0.0:0
connect = 143

[ssmtp]
accept = 0.0.0.0:0
connect = 25
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "https in front of a web server",
        text: "\
pid = {dir}/pid
[https]
accept  = 127.0.0.1:0
connect = 127.0.0.1:80
cert = {both}
TIMEOUTclose = 0
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "the sample of old distributions",
        text: "\
; Sample stunnel configuration file
cert = {both}
;chroot = /var/run/stunnel
pid = {dir}/stunnel.pid
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
;compression = zlib
options = NO_SSLv2
options = NO_SSLv3
; Authentication stuff
;verify = 2
CAfile = /etc/stunnel/certs.pem
CRLpath =

[pop3s]
accept  = 127.0.0.1:0
connect = 110
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["nothing uses it, as this service verifies no certificate", "`CRLpath` without a value counts as not given"],
        differs: "",
    },
    File {
        name: "redis with a tunnel on both sides",
        text: "\
fips = no
setuid = root
setgid = root
pid = {dir}/redis.pid
debug = 7
delay = yes
[redis-cli]
client = yes
accept = 127.0.0.1:0
connect = localhost:6380
retry = yes
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["`fips = no` has no effect", "`retry` has no effect without `exec`", "needs authentication to prevent MITM attacks"],
        differs: "",
    },
    File {
        name: "openvpn over 443",
        text: "\
pid = {dir}/pid
cert = {both}
[openvpn]
accept = 127.0.0.1:0
connect = 127.0.0.1:openvpn
TIMEOUTidle = 2592000
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["2592000 seconds count as 2147483"],
        differs: "",
    },
    File {
        name: "remote desktop",
        text: "\
[rdp]
cert = {both}
accept = 127.0.0.1:0
connect = 127.0.0.1:ms-wbt-server
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "syslog over tls",
        text: "\
client = yes
[syslog]
accept = 127.0.0.1:0
connect = localhost:syslog-tls
verifyPeer = yes
CAfile = {ca}
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "nfs share of a cloud",
        text: "\
fips = no
foreground = quiet
pid = {dir}/mount.pid
socket = l:SO_REUSEADDR=yes
socket = a:SO_BINDTODEVICE=lo
[efs]
client = yes
accept = 127.0.0.1:0
connect = 127.0.0.1:2049
sslVersion = TLSv1.2
renegotiation = no
TIMEOUTbusy = 20
TIMEOUTclose = 0
TIMEOUTidle = 70
delay = yes
verify = 2
CAfile = {ca}
checkHost = fs.example.com
libwrap = no
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["`fips = no` has no effect", "`renegotiation` has no effect"],
        differs: "",
    },
    File {
        name: "two sections of one name",
        text: "\
cert = {both}
[proxy]
accept = 127.0.0.1:0
connect = 127.0.0.1:8080
[proxy]
accept = 127.0.0.1:0
connect = 127.0.0.1:8081
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["section [proxy] is there again", "this one as [proxy#2]"],
        differs: "",
    },
    File {
        name: "a lower bound of old",
        text: "\
cert = {both}
sslVersionMin = TLSv1
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
ciphers = HIGH:!aNULL:!MD5:!RC4
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "a lower bound of old on every address",
        text: "\
cert = {both}
sslVersionMin = TLSv1
[web]
accept = 0
connect = 127.0.0.1:80
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["TLSv1 is not served on `accept = 0`", "acceptAnywhere = yes"],
        differs: "",
    },
    File {
        name: "tls 1.0 alone",
        text: "\
cert = {both}
[till]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
sslVersion = TLSv1
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "mozilla's intermediate ciphers",
        text: "\
cert = {both}
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
ciphers = ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256
options = CIPHER_SERVER_PREFERENCE
options = NO_TLSv1
options = SINGLE_ECDH_USE
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["adit serves DHE-RSA-AES128-GCM-SHA256 of ciphers only where the list has nothing newer", "`SINGLE_ECDH_USE` has no effect"],
        differs: "",
    },
    File {
        name: "pre-shared keys, as stunnel.org shows them",
        text: "\
[PSK server 1]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
ciphers = PSK
PSKsecrets = {psk}

[PSK client 1]
client = yes
accept = 127.0.0.1:0
connect = 127.0.0.1:443
PSKsecrets = {psk}
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["ciphers = PSK has no effect", "1 warning(s)"],
        differs: "",
    },
    File {
        name: "ciphers without forward secrecy",
        text: "\
cert = {both}
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
ciphers = AES128-GCM-SHA256:!DH
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "ciphers that openssl has not",
        text: "\
cert = {both}
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
ciphers = RC4-SHA
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["no cipher match"],
        differs: "",
    },
    File {
        name: "the profile of red hat",
        text: "\
cert = {both}
ciphers = PROFILE=SYSTEM
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Refuses),
        adit: Serves,
        says: &["PROFILE=SYSTEM counts as DEFAULT"],
        differs: "stunnel takes it where OpenSSL is Red Hat's",
    },
    File {
        name: "a security level in the ciphers",
        text: "\
client = yes
[old-server]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
ciphers = DEFAULT@SECLEVEL=1
verifyChain = yes
CAfile = {ca}
checkHost = localhost
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["@SECLEVEL=1 has no effect"],
        differs: "",
    },
    File {
        name: "a comment behind a value",
        text: "\
[imap]
client = yes
accept = 127.0.0.1:0 ; here
connect = 127.0.0.1:993
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["`; here` is taken as part of the value", "write `accept = 127.0.0.1:0`"],
        differs: "",
    },
    File {
        name: "a comment behind a section",
        text: "\
cert = {both}
[imap] ; mail
accept = 127.0.0.1:0
connect = 127.0.0.1:143
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["a section's line is `[imap]` and nothing else", "1 error(s)"],
        differs: "",
    },
    File {
        name: "a url to connect to",
        text: "\
client = yes
[api]
accept = 127.0.0.1:0
connect = https://127.0.0.1:8443
",
        stunnel: Some(Serves),
        adit: Refuses,
        says: &["is a URL, and not an address", "write `127.0.0.1:8443`"],
        differs: "stunnel starts, and each connection fails",
    },
    File {
        name: "a host without its port",
        text: "\
client = yes
[api]
accept = 127.0.0.1:0
connect = api.example.com
",
        stunnel: Some(Serves),
        adit: Refuses,
        says: &["the port is missing behind `api.example.com`"],
        differs: "stunnel starts, and each connection fails",
    },
    File {
        name: "a name with a port to send",
        text: "\
client = yes
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
sni = www.example.com:443
",
        stunnel: Some(Serves),
        adit: Refuses,
        says: &["a port belongs to `connect`: write `sni = www.example.com`"],
        differs: "stunnel sends what is no name",
    },
    File {
        name: "an address to send",
        text: "\
client = yes
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
sni = 192.0.2.1
verifyChain = yes
CAfile = {ca}
checkIP = 192.0.2.1
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["an address is no server name: none is sent"],
        differs: "",
    },
    File {
        name: "starttls on a port of tls",
        text: "\
client = yes
[imap]
accept = 127.0.0.1:0
connect = 127.0.0.1:993
protocol = imap
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["port 993 speaks TLS from the first byte", "connect to port 143"],
        differs: "",
    },
    File {
        name: "tls on a port of starttls",
        text: "\
client = yes
[submission]
accept = 127.0.0.1:0
connect = 127.0.0.1:587
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["port 587 begins in plain", "`protocol = smtp`, or connect to port 465"],
        differs: "",
    },
    File {
        name: "a server of tls on a port of starttls",
        text: "\
cert = {both}
pid = {dir}/pid
[submission]
accept = 127.0.0.1:587
connect = 127.0.0.1:25
",
        stunnel: None,
        adit: Serves,
        says: &["port 587 begins in plain", "`protocol = smtp`, or accept on port 465"],
        differs: "",
    },
    File {
        name: "two services on one port",
        text: "\
cert = {both}
pid = {dir}/pid
[one]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:143
[two]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:110
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["Service [two]: service [one] has 127.0.0.1:"],
        differs: "",
    },
    File {
        name: "a login without its protocol",
        text: "\
client = yes
[out]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
protocolUsername = me
protocolPassword = secret
verifyChain = yes
CAfile = {ca}
checkHost = localhost
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["it is for `protocol = connect`, `smtp`, `imap` and `pop3` with `client = yes`"],
        differs: "",
    },
    File {
        name: "trust that is not there",
        text: "\
client = yes
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
verifyChain = yes
CAfile = /nowhere/ca.pem
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["cannot read the file of trusted certificates /nowhere/ca.pem"],
        differs: "",
    },
    File {
        name: "verification without trust",
        text: "\
client = yes
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:443
verify = 2
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &[r#"Either "CAfile" or "CApath" has to be configured"#],
        differs: "",
    },
    File {
        name: "a folder of trust that nothing uses",
        text: "\
cert = {both}
verify = 0
CApath = /nowhere
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["nothing uses it, as this service verifies no certificate"],
        differs: "",
    },
    File {
        name: "clients with certificates",
        text: "\
cert = {cert}
key = {key}
CAfile = {ca}
verify = 2
[db]
accept = 127.0.0.1:0
connect = 127.0.0.1:5432
sessionCacheSize = 1000
sessionCacheTimeout = 300
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "windows line ends and a mark",
        text: "\u{feff}; from Windows\r\n[web]\r\n cert = {both}\r\n accept = 127.0.0.1:0\r\n connect = 127.0.0.1:80\r\n",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "settings of windows",
        text: "\
cert = {both}
taskbar = yes
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Refuses),
        adit: Serves,
        says: &["`taskbar` has no effect"],
        differs: "a file that came from Windows is served",
    },
    File {
        name: "a server without a certificate",
        text: "\
[web]
accept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["TLS server needs a certificate"],
        differs: "",
    },
    File {
        name: "a service without a target",
        text: "\
[web]
cert = {both}
accept = 127.0.0.1:0
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["Each service must define two endpoints"],
        differs: "",
    },
    File {
        name: "a misspelt option",
        text: "\
[web]
cert = {both}
acept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &["did you mean `accept`?"],
        differs: "",
    },
    File {
        name: "a program behind it",
        text: "\
[shell]
cert = {both}
accept = 127.0.0.1:0
exec = /bin/cat
execArgs = cat
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
    File {
        name: "an ident user that is none",
        text: "\
[web]
cert = {both}
ident =
accept = 127.0.0.1:0
connect = 127.0.0.1:80
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["`ident` names no user"],
        differs: "",
    },
    File {
        name: "failover over two servers",
        text: "\
[web]
client = yes
accept = 127.0.0.1:0
connect = 127.0.0.1:8443
connect = 127.0.0.1:8444
failover = rr
verifyPeer = yes
CAfile = {ca}
options = -NO_SSLv3
options = NO_TICKET
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &["`-NO_SSLv3` has no effect"],
        differs: "",
    },
    File {
        name: "a quoted path",
        text: r#"[web]
cert = "{both}"
accept = 127.0.0.1:0
connect = 127.0.0.1:80
"#,
        stunnel: Some(Refuses),
        adit: Refuses,
        says: &[r#"`"` is part of the value"#, "cannot read the certificate file"],
        differs: "",
    },
    File {
        name: "the names of old options",
        text: "\
pid =
foreground = yes
[web]
cert = {both}
accept = 127.0.0.1:0
connect = 127.0.0.1:80
curve = prime256v1
logId = unique
TIMEOUTconnect = 5
",
        stunnel: Some(Serves),
        adit: Serves,
        says: &[],
        differs: "",
    },
];
