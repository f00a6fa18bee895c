//! `protocol = sieve` and `lmtp` with dovecot, and `ftp` with vsftpd and curl.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::require;
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

#[test]
fn curl_fetches_a_file_from_an_ftp_server_that_wants_tls() {
    require!(adit);
    require!(root);
    require!(program "curl");
    require!(
        apart::program("vsftpd").is_some(),
        "vsftpd is not unpacked; tests/run does it"
    );
    let certs = Certs::new();
    let pair = certs.server();
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
    let conf = here.join("vsftpd.conf");
    let text = format!(
        "listen=YES\nlisten_address={}\nlisten_port={}\nbackground=NO\nanonymous_enable=YES\nno_anon_password=YES\n\
         anon_root={here}/files\nftp_username=daemon\nnopriv_user=nobody\nsecure_chroot_dir={here}/empty\n\
         seccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\nconnect_from_port_20=NO\nvsftpd_log_file={here}/log\n\
         ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nforce_anon_data_ssl=NO\n\
         rsa_cert_file={cert}\nrsa_private_key_file={key}\nrequire_ssl_reuse=NO\nssl_ciphers=HIGH\nssl_tlsv1=YES\n",
        Ipv4Addr::LOCALHOST,
        address.port(),
        here = here.display(),
        cert = pair.cert.display(),
        key = pair.key.display(),
    );
    fs::write(&conf, text).expect("writing");
    let program = apart::program("vsftpd").expect("asked for before");
    let mut command = Command::new(program);
    command.arg(&conf);
    let _daemon = Daemon::start("vsftpd", &mut command, here, address);
    let adit = client_mode("ftp", address, &certs);
    let fetched = |address: SocketAddr| {
        let mut curl = Tool::start(
            Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "30",
                    "--noproxy",
                    "*",
                ])
                .arg(format!("ftp://{address}/hello")),
        );
        curl.end_input();
        (curl.succeeds(), curl.said())
    };
    // It takes no login without TLS.
    assert!(!fetched(address).0);
    let (well, said) = fetched(adit.address("test"));
    assert!(well && said == "hello\n", "{said}");
    adit.wait_for_log("TLS connected: new session negotiated");
}
