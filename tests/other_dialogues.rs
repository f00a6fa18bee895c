//! `protocol = sieve` and `lmtp` with dovecot, and `ftp` with vsftpd and curl.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::require;
use crate::support::certs::Pair;
use crate::support::daemon::Daemon;
use crate::support::dialogue::Lines;
use crate::support::mail::{self, MailHost, USER};
use crate::support::openssl::Tool;
use crate::support::{Adit, Certs, Plan, apart, tls};

macro_rules! require_dovecot {
    ($($part:literal),*) => {
        require!(adit);
        require!(root);
        require!(program "dovecot");
        $(
            require!(
                Path::new("/usr/lib/dovecot").join($part).exists(),
                concat!("dovecot's ", $part, " is not installed")
            );
        )*
    };
}

fn start(lines: String) -> Adit {
    Plan::new().service("test", lines).start()
}

fn client_mode(protocol: &str, server: SocketAddr, certs: &Certs) -> Adit {
    start(format!(
        "client = yes\nprotocol = {protocol}\nconnect = {server}\n{}verifyChain = yes\n",
        certs.ca_line()
    ))
}

/// Name and password of the mailbox, by PLAIN.
const LOGIN: &str = "AUTHENTICATE \"PLAIN\" \"AGFubmEAZ2VoZWlt\"";

#[test]
fn a_plain_sieve_client_reaches_dovecot_by_starttls() {
    require_dovecot!("managesieve");
    let certs = Certs::new();
    let host = MailHost::sieving(Some(&certs));
    let adit = client_mode("sieve", host.at(4190), &certs);
    let mut client = Lines(adit.connect("test"));
    let mut list = Vec::new();
    while let Some(line) = client.line().filter(|line| !line.starts_with("OK")) {
        list.push(line);
    }
    // What holds within TLS: it may log in, and need not start TLS.
    let list = list.join("\n");
    assert!(
        list.contains("PLAIN") && !list.contains("STARTTLS"),
        "{list}"
    );
    client.ask(LOGIN, "OK");
    client.ask("LISTSCRIPTS", "OK");
    client.ask("LOGOUT", "OK");
}

#[test]
fn sieve_clients_speak_starttls_in_front_of_a_plain_dovecot() {
    require_dovecot!("managesieve");
    let certs = Certs::new();
    let host = MailHost::sieving(None);
    let lines = format!(
        "protocol = sieve\nconnect = {}\n{}",
        host.at(4190),
        certs.server().lines()
    );
    let adit = start(lines);
    let mut client = Lines(adit.connect("test"));
    client.expect("\"STARTTLS\"");
    client.expect("OK");
    client.ask(LOGIN, "NO (ENCRYPT-NEEDED)");
    client.ask("STARTTLS", "OK");
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let stream = tls::start_client(config, client.0).expect("a handshake");
    let mut client = Lines(stream);
    client.expect("\"IMPLEMENTATION\"");
    client.expect("OK");
    client.ask(LOGIN, "OK");
    client.ask("LISTSCRIPTS", "OK");
}

#[test]
fn mail_is_delivered_by_lmtp_with_starttls() {
    require_dovecot!("lmtp");
    let certs = Certs::new();
    for encrypted in [true, false] {
        let host = MailHost::sieving(encrypted.then_some(&certs));
        let deliver = |hello: &str, lines: &mut dyn FnMut(&str, &str)| {
            lines(hello, "250 ");
            lines(&format!("MAIL FROM:<{USER}@mail.test>"), "250");
            lines(&format!("RCPT TO:<{USER}>"), "250");
            lines("DATA", "354");
            lines("Subject: hello\r\n\r\nhello\r\n.", "250");
        };
        if encrypted {
            let adit = client_mode("lmtp", host.at(24), &certs);
            let mut client = Lines(adit.connect("test"));
            client.expect("220");
            deliver("LHLO old.test", &mut |line, start| {
                drop(client.ask(line, start));
            });
        } else {
            let lines = format!(
                "protocol = lmtp\nconnect = {}\n{}",
                host.at(24),
                certs.server().lines()
            );
            let adit = start(lines);
            let mut client = Lines(adit.connect("test"));
            client.expect("220");
            client.ask("LHLO me.test", "250 STARTTLS");
            client.ask("STARTTLS", "220");
            let config = tls::client_config(&certs.ca(), tls::BOTH, None);
            let stream = tls::start_client(config, client.0).expect("a handshake");
            let mut client = Lines(stream);
            deliver("LHLO me.test", &mut |line, start| {
                drop(client.ask(line, start));
            });
        }
        mail::wait_for_mails(&host, 1);
    }
}

/// vsftpd with a file for anyone; `pair`: it takes no login without TLS.
fn vsftpd(pair: Option<&Pair>) -> (Daemon, SocketAddr, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::set_permissions(here, fs::Permissions::from_mode(0o755)).expect("chmod");
    for part in ["empty", "files"] {
        fs::create_dir(here.join(part)).expect("mkdir");
    }
    fs::write(here.join("files/hello"), "hello\n").expect("writing");
    // curl asks the control connection's address for the data; the user must have a home that is there.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("its address");
    drop(port);
    let tls = pair.map_or("ssl_enable=NO\n".to_owned(), |pair| {
        format!(
            "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=NO\n\
             rsa_cert_file={}\nrsa_private_key_file={}\nrequire_ssl_reuse=NO\nssl_ciphers=HIGH\nssl_tlsv1=YES\n",
            pair.cert.display(),
            pair.key.display()
        )
    });
    let conf = here.join("vsftpd.conf");
    let text = format!(
        "listen=YES\nlisten_address={}\nlisten_port={}\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\n\
         anon_root={here}/files\nftp_username=daemon\nnopriv_user=nobody\nsecure_chroot_dir={here}/empty\n\
         seccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\nconnect_from_port_20=NO\nvsftpd_log_file={here}/log\n{tls}",
        Ipv4Addr::LOCALHOST,
        address.port(),
        here = here.display(),
    );
    fs::write(&conf, text).expect("writing");
    let program = apart::program("vsftpd").expect("asked for before");
    let mut command = Command::new(program);
    command.arg(&conf);
    (
        Daemon::start("vsftpd", &mut command, here, address),
        address,
        folder,
    )
}

/// What a program prints when it is told to do this, and whether it did.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let mut tool = Tool::start(Command::new(program).args(arguments));
    tool.end_input();
    (tool.succeeds(), tool.said())
}

/// Fetches the file.
fn curl(address: SocketAddr, more: &[&str]) -> (bool, String) {
    let url = format!("ftp://{address}/hello");
    let always = [
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--noproxy",
        "*",
    ];
    run("curl", &[&always[..], more, &[&url]].concat())
}

macro_rules! require_vsftpd {
    () => {
        require!(adit);
        require!(root);
        require!(program "curl");
        require!(
            apart::program("vsftpd").is_some(),
            "vsftpd is not unpacked; tests/run does it"
        );
    };
}

#[test]
fn curl_fetches_a_file_from_an_ftp_server_that_wants_tls() {
    require_vsftpd!();
    let certs = Certs::new();
    let (_daemon, address, _folder) = vsftpd(Some(&certs.server()));
    let adit = client_mode("ftp", address, &certs);
    // It takes no login without TLS.
    assert!(!curl(address, &[]).0);
    let (well, said) = curl(adit.address("test"), &[]);
    assert!(well && said == "hello\n", "{said}");
    adit.wait_for_log("TLS connected: new session negotiated");
}

#[test]
fn curl_and_lftp_log_in_by_auth_tls_in_front_of_a_plain_ftp_server() {
    require_vsftpd!();
    require!(program "lftp");
    let certs = Certs::new();
    let (_daemon, address, _folder) = vsftpd(None);
    let adit = start(format!(
        "protocol = ftp\nconnect = {address}\n{}",
        certs.server().lines()
    ));
    let (ca, adit_at) = (certs.ca().display().to_string(), adit.address("test"));
    let (well, said) = curl(adit_at, &["--ftp-ssl-control", "--cacert", &ca]);
    assert!(well && said == "hello\n", "{said}");
    adit.wait_for_log("TLS accepted: new session negotiated");
    let script = format!(
        "set net:max-retries 1; set net:timeout 20; set ftp:ssl-force yes; set ftp:ssl-allow-anonymous yes; set ftp:ssl-protect-data no; \
         set ftp:use-mdtm no; set ssl:ca-file {ca}; open ftp://{adit_at}; cat hello; exit"
    );
    let (well, said) = run("lftp", &["--norc", "-c", &script]);
    assert!(well && said.contains("hello\n"), "{said}");
    // Neither a login without TLS, nor data that is to be protected.
    assert!(!curl(adit_at, &[]).0);
    assert!(!curl(adit_at, &["--ssl-reqd", "--cacert", &ca]).0);
}
