//! Real mail servers from Debian's packages, dovecot and postfix, each with a configuration in a
//! temporary folder and a loopback address of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::certs::{Certs, Pair};
use super::{own_loopback, poll_for, proc, wait_for};

/// The user with the mailbox.
pub const USER: &str = "anna";
/// Her password.
pub const PASSWORD: &str = "geheim";

/// A mail store and, if asked for, a submission server, both stopped on drop.
pub struct MailHost {
    /// The address of both, with their protocols' own ports.
    pub address: Ipv4Addr,
    folder: TempDir,
    children: Vec<(&'static str, Child)>,
}

/// The user and group that own the mail.
const OWNER: (u32, u32) = (65534, 65534);

impl MailHost {
    /// dovecot with TLS 1.2 and up only: IMAP 143 and POP3 110 with STARTTLS, 993 and 995 with TLS; and
    /// postfix: submission 587 with STARTTLS, 465 with TLS, both with AUTH, into the same mailboxes.
    #[track_caller]
    pub fn modern(certs: &Certs) -> MailHost {
        let mut host = MailHost::new();
        let pair = certs.server();
        host.start_dovecot(&dovecot_tls(&pair));
        host.start_postfix(&pair, "");
        host
    }

    /// As [`MailHost::modern`], but passwords go by these mechanisms alone; by USER and PASS, and LOGIN in IMAP, only where
    /// PLAIN is among them.
    #[track_caller]
    pub fn taking(certs: &Certs, mechanisms: &str) -> MailHost {
        let mut host = MailHost::new();
        let pair = certs.server();
        let tls = dovecot_tls(&pair);
        host.start_dovecot(&format!("{tls}auth_mechanisms = {mechanisms}\n"));
        host.start_postfix(&pair, "");
        host
    }

    /// As [`MailHost::modern`], but logins go by OAuth2 alone: tokens are JWTs by HS256 with this secret, in base64.
    #[track_caller]
    pub fn by_token(certs: &Certs, secret: &str) -> MailHost {
        let mut host = MailHost::new();
        let folder = host.folder.path();
        let keys = folder.join("keys/default/HS256");
        fs::create_dir_all(&keys).expect("mkdir");
        fs::write(keys.join("default"), secret).expect("writing");
        let keys = folder.join("keys");
        let oauth2 = folder.join("oauth2.ext");
        let text = format!(
            "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/\n\
             username_attribute = sub\nscope = mail\n",
            keys.display()
        );
        fs::write(&oauth2, text).expect("writing");
        let pair = certs.server();
        let tls = dovecot_tls(&pair);
        // Else each failure makes the next login slower.
        let more = format!(
            "auth_mechanisms = xoauth2 oauthbearer\nauth_failure_delay = 0\n\
             passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n\
             service anvil {{\n  unix_listener anvil-auth-penalty {{\n    mode = 0\n  }}\n}}\n",
            oauth2.display()
        );
        host.start_dovecot(&(tls + &more));
        host.start_postfix(&pair, "");
        host
    }

    /// As [`MailHost::modern`], with TLS 1.3 only.
    #[track_caller]
    pub fn newest(certs: &Certs) -> MailHost {
        let mut host = MailHost::new();
        let pair = certs.server();
        host.start_dovecot(&dovecot_tls(&pair).replace("TLSv1.2", "TLSv1.3"));
        host.start_postfix_with(&pair, "TLSv1.3", "");
        host
    }

    /// As [`MailHost::modern`], but clients in `networks` may relay, at port 25 in plain.
    #[track_caller]
    pub fn relaying(certs: &Certs, networks: &str) -> MailHost {
        let mut host = MailHost::without_postfix(certs);
        host.postfix_comes(certs, networks);
        host
    }

    /// dovecot, and a postfix that is to come: [`MailHost::postfix_comes`].
    #[track_caller]
    pub fn without_postfix(certs: &Certs) -> MailHost {
        let mut host = MailHost::new();
        host.start_dovecot(&dovecot_tls(&certs.server()));
        host
    }

    /// Starts postfix as [`MailHost::relaying`] does, for these networks.
    #[track_caller]
    pub fn postfix_comes(&mut self, certs: &Certs, networks: &str) {
        self.start_postfix(&certs.server(), &relaying(networks));
    }

    /// The same with optional STARTTLS: dovecot offers it on 143 and 110, postfix on 25, and all accept
    /// a login without it.
    #[track_caller]
    pub fn offering(certs: &Certs) -> MailHost {
        let mut host = MailHost::new();
        let pair = certs.server();
        host.start_dovecot(&dovecot_tls(&pair).replace("ssl = required", "ssl = yes"));
        host.start_postfix(&pair, "");
        host
    }

    /// dovecot with STARTTLS optional, and with COMPRESS after the login: IMAP 143.
    #[track_caller]
    pub fn compressing(certs: &Certs) -> MailHost {
        let mut host = MailHost::new();
        let tls = dovecot_tls(&certs.server()).replace("ssl = required", "ssl = yes");
        let zlib = "protocol imap {\n  mail_plugins = zlib imap_zlib\n}\n";
        host.start_dovecot(&format!("{tls}{zlib}"));
        host
    }

    /// dovecot without any TLS: IMAP 143 and POP3 110.
    #[track_caller]
    pub fn plain() -> MailHost {
        let mut host = MailHost::new();
        host.start_dovecot("ssl = no\n");
        host
    }

    /// dovecot with ManageSieve at 4190 and LMTP at 24 too, both with STARTTLS; with TLS by `certs`, or without.
    #[track_caller]
    pub fn sieving(certs: Option<&Certs>) -> MailHost {
        let mut host = MailHost::new();
        let tls = certs.map_or("ssl = no\n".to_owned(), |certs| {
            dovecot_tls(&certs.server())
        });
        let more = "protocols = imap pop3 sieve lmtp\npostmaster_address = postmaster@mail.test\n\
                    service managesieve-login {\n  inet_listener sieve {\n    port = 4190\n  }\n}\n\
                    service lmtp {\n  inet_listener lmtp {\n    port = 24\n  }\n}\n";
        host.start_dovecot(&(tls + more));
        host.wait_for_port(4190);
        host.wait_for_port(24);
        host
    }

    /// As [`MailHost::plain`], IMAP by the PROXY protocol alone, which must tell of TLS before a password is taken.
    #[track_caller]
    pub fn behind_proxy() -> MailHost {
        let mut host = MailHost::new();
        host.start_dovecot("ssl = no\nhaproxy_trusted_networks = 127.0.0.0/8\n");
        host
    }

    fn new() -> MailHost {
        let folder = tempfile::Builder::new()
            .prefix("adit-mail-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let mail = folder.path().join("mail");
        fs::create_dir(&mail).expect("mkdir");
        chown(&mail, Some(OWNER.0), Some(OWNER.1)).expect("chown");
        MailHost {
            address: own_loopback(),
            folder,
            children: Vec::new(),
        }
    }

    /// An address of the host's.
    pub fn at(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    /// The user's mailbox.
    pub fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail").join(USER)
    }

    /// Puts a mail into the mailbox, as a delivery agent does.
    pub fn deliver(&self, name: &str, mail: &[u8]) {
        let maildir = self.maildir();
        for part in ["", "cur", "new", "tmp"] {
            let part = maildir.join(part);
            fs::create_dir_all(&part).expect("mkdir");
            chown(&part, Some(OWNER.0), Some(OWNER.1)).expect("chown");
        }
        let file = maildir.join("new").join(name);
        fs::write(&file, mail).expect("writing a mail");
        chown(&file, Some(OWNER.0), Some(OWNER.1)).expect("chown");
    }

    /// How many mails are in the mailbox.
    pub fn mails(&self) -> usize {
        ["new", "cur"]
            .iter()
            .filter_map(|part| fs::read_dir(self.maildir().join(part)).ok())
            .map(Iterator::count)
            .sum()
    }

    /// The logs of both servers.
    pub fn logs(&self) -> String {
        ["dovecot.log", "postfix/log", "postfix.said"]
            .iter()
            .map(|name| {
                let text = fs::read(self.folder.path().join(name)).unwrap_or_default();
                format!("--- {name}\n{}", String::from_utf8_lossy(&text))
            })
            .collect()
    }

    fn start_dovecot(&mut self, tls: &str) {
        let folder = self.folder.path();
        let file = folder.join("dovecot.conf");
        fs::write(&file, dovecot_conf(folder, self.address, tls)).expect("writing");
        fs::write(
            folder.join("users"),
            format!("{USER}:{{PLAIN}}{PASSWORD}\n"),
        )
        .expect("writing");
        let child = Command::new("/usr/sbin/dovecot")
            .arg("-F")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting dovecot");
        self.children.push(("dovecot", child));
        self.wait_for_port(143);
    }

    fn start_postfix(&mut self, pair: &Pair, more: &str) {
        self.start_postfix_with(pair, "TLSv1.2", more);
    }

    fn start_postfix_with(&mut self, pair: &Pair, lowest: &str, more: &str) {
        let folder = self.folder.path().join("postfix");
        let spool = folder.join("spool");
        let data = folder.join("data");
        for part in [&folder, &spool, &data] {
            fs::create_dir(part).expect("mkdir");
        }
        openly_owned_by_postfix(&data);
        fs::write(
            folder.join("main.cf"),
            postfix_main(self.folder.path(), pair, lowest) + more,
        )
        .expect("writing");
        fs::write(folder.join("master.cf"), postfix_master(self.address)).expect("writing");
        // postfix looks for this table beside its main.cf, and complains if it is missing.
        fs::write(folder.join("dynamicmaps.cf"), "").expect("writing");
        // On a busy machine postfix 3.7.11 has been seen to listen and never to greet, nor to log that it has started.
        for _ in 0..3 {
            self.launch_postfix(&folder);
            if self.is_greeted() {
                return;
            }
            eprintln!("postfix listens and does not greet:\n{}", self.logs());
            let (name, child) = self.children.pop().expect("the one that was launched");
            stop(name, child);
        }
        panic!("postfix never greeted");
    }

    fn launch_postfix(&mut self, folder: &Path) {
        let said = fs::File::create(self.folder.path().join("postfix.said")).expect("a file");
        let child = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(folder)
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("dup"))
            .stderr(said)
            .spawn()
            .expect("starting postfix");
        self.children.push(("postfix", child));
        self.wait_for_port(587);
    }

    fn is_greeted(&self) -> bool {
        let mut client = TcpStream::connect(self.at(587)).expect("it listens");
        client
            .set_read_timeout(Some(super::DEADLINE / 3))
            .expect("a timeout");
        let mut greeting = [0; 4];
        let greets = client.read_exact(&mut greeting).is_ok() && greeting == *b"220 ";
        if greets {
            let _ = client.write_all(b"QUIT\r\n");
            let _ = client.read_to_end(&mut Vec::new());
        }
        greets
    }

    #[track_caller]
    fn wait_for_port(&self, port: u16) {
        let open = || TcpStream::connect(self.at(port)).ok().map(drop);
        assert!(
            poll_for(super::DEADLINE, open).is_some(),
            "nobody listens at {}:\n{}",
            self.at(port),
            self.logs()
        );
    }
}

impl Drop for MailHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        for (name, child) in self.children.drain(..) {
            stop(name, child);
        }
    }
}

/// Ends a server, and every process that it started.
pub fn stop(name: &str, mut child: Child) {
    let pid = child.id() as i32;
    let family = proc::family(pid);
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    );
    if poll_for(super::DEADLINE, || child.try_wait().ok().flatten()).is_none() {
        eprintln!("{name} did not end by TERM");
        let _ = child.kill();
        let _ = child.wait();
    }
    proc::end_all(&family);
}

fn openly_owned_by_postfix(folder: &Path) {
    let postfix = nix::unistd::User::from_name("postfix").ok().flatten();
    let user = postfix.expect("the package made its user");
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("chown");
}

fn dovecot_tls(pair: &Pair) -> String {
    format!(
        "ssl = required
ssl_min_protocol = TLSv1.2
ssl_cert = <{}
ssl_key = <{}
",
        pair.cert.display(),
        pair.key.display()
    )
}

fn dovecot_conf(folder: &Path, address: Ipv4Addr, tls: &str) -> String {
    let secure = if tls.starts_with("ssl = no") {
        "port = 0"
    } else {
        "ssl = yes"
    };
    let proxy = match tls.contains("haproxy") {
        true => "yes",
        false => "no",
    };
    let plaintext = proxy;
    let mechanisms = match tls.contains("auth_mechanisms") {
        true => "",
        false => "auth_mechanisms = plain login\n",
    };
    let folder = folder.display();
    let (uid, gid) = OWNER;
    format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = {address}
protocols = imap pop3
{tls}
disable_plaintext_auth = {plaintext}
{mechanisms}mail_location = maildir:{folder}/mail/%u
first_valid_uid = {uid}
mail_max_userip_connections = 200
default_process_limit = 200
default_client_limit = 1000
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = 143
    haproxy = {proxy}
  }}
  inet_listener imaps {{
    {secure}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 110
  }}
  inet_listener pop3s {{
    {secure}
  }}
}}
service auth {{
  unix_listener auth-sasl {{
    mode = 0666
  }}
}}
"
    )
}

/// For clients that may relay without a login.
fn relaying(networks: &str) -> String {
    let relay = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination";
    format!(
        "mynetworks = {networks}\nsmtpd_relay_restrictions = {relay}\n\
         smtpd_recipient_restrictions =\n"
    )
}

fn postfix_main(folder: &Path, pair: &Pair, lowest: &str) -> String {
    let (uid, gid) = OWNER;
    format!(
        "compatibility_level = 3.6
queue_directory = {folder}/postfix/spool
data_directory = {folder}/postfix/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {folder}
maillog_file = {folder}/postfix/log
myhostname = mail.test
mydestination =
mynetworks =
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = mail.test
virtual_mailbox_maps = static:{user}/
virtual_mailbox_base = {folder}/mail
virtual_mailbox_limit = 0
mailbox_size_limit = 0
message_size_limit = 64000000
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 100
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_mandatory_protocols = >={lowest}
smtpd_tls_protocols = >={lowest}
smtpd_tls_loglevel = 1
smtpd_tls_session_cache_database =
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/run/auth-sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_peername_lookup = no
smtputf8_enable = no
",
        folder = folder.display(),
        user = USER,
        cert = pair.cert.display(),
        key = pair.key.display(),
    )
}

fn postfix_master(address: Ipv4Addr) -> String {
    format!(
        "{address}:587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
{address}:465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
{address}:25 inet n - n - - smtpd -o smtpd_tls_security_level=may -o smtpd_tls_auth_only=no
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"
    )
}

/// Waits until this many mails are in the mailbox.
#[track_caller]
pub fn wait_for_mails(host: &MailHost, count: usize) {
    wait_for(&format!("{count} mail(s) in the mailbox"), || {
        (host.mails() >= count).then_some(())
    });
}
