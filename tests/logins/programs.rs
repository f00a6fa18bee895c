//! The programs of the package lists send and fetch, set to their plainest login, from a server that takes none such.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::in_front_of;
use crate::require;
use crate::support::Certs;
use crate::support::mail::{MailHost, PASSWORD, USER, wait_for_mails};
use crate::support::openssl::run;

/// Writes a file that its user alone may read.
fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, text).expect("writing");
    run(Command::new("chmod").arg("600").arg(&file));
    file
}

#[test]
fn mail_programs_of_today_use_it_unawares() {
    super::require_servers!();
    require!(program "curl");
    require!(program "swaks");
    require!(program "msmtp");
    require!(program "fetchmail");
    require!(program "mbsync");
    require!(program "mutt");
    let certs = Certs::new();
    let host = MailHost::taking(&certs, "scram-sha-256");
    let adit = in_front_of(&host, &certs, "login = translate\n");
    let folder = adit.plan.folder();
    let port = |service: &str| adit.address(service).port();
    let from_to = ["--from", "anna@mail.test", "--to", "anna@mail.test"];
    for way in ["LOGIN", "PLAIN"] {
        run(Command::new("swaks")
            .args([
                "--server",
                "127.0.0.1",
                "--port",
                &port("submission").to_string(),
            ])
            .args([
                "--auth",
                way,
                "--auth-user",
                USER,
                "--auth-password",
                PASSWORD,
            ])
            .args(from_to)
            .args(["--body", "sent by swaks", "--timeout", "30"]));
    }
    for auth in ["plain", "login"] {
        let text = format!(
            "account default\nhost 127.0.0.1\nport {}\ntls off\nauth {auth}\nuser {USER}\n\
             password {PASSWORD}\nfrom anna@mail.test\n",
            port("smtps")
        );
        let file = written(folder, "msmtprc", &text);
        run(Command::new("sh")
            .args([
                "-c",
                "printf 'Subject: x\\n\\nsent by msmtp\\n' | msmtp --file=\"$1\" anna@mail.test",
                "sh",
            ])
            .arg(&file));
    }
    wait_for_mails(&host, 4);
    let account = format!("{USER}:{PASSWORD}");
    for (service, url) in [
        ("imap", "imap://127.0.0.1:PORT/INBOX;MAILINDEX=1"),
        ("pop3s", "pop3://127.0.0.1:PORT/1"),
    ] {
        let url = url.replace("PORT", &port(service).to_string());
        for more in [
            &[][..],
            &["--login-options", "AUTH=PLAIN"],
            &["--login-options", "AUTH=LOGIN"],
        ] {
            let curl = run(Command::new("curl")
                .args([
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "60",
                    "--user",
                    &account,
                ])
                .args(more)
                .arg(&url));
            let got = String::from_utf8_lossy(&curl.stdout).into_owned();
            assert!(got.contains("sent by"), "{url} {more:?}: {got}");
        }
    }
    for (protocol, service) in [("pop3", "pop3"), ("imap", "imaps")] {
        let fetched = folder.join(format!("fetched-{protocol}"));
        let text = format!(
            "poll 127.0.0.1 service {} proto {protocol} auth password user \"{USER}\" password \"{PASSWORD}\" sslproto '' \
             mda \"cat >> {}\"\n",
            port(service),
            fetched.display()
        );
        let control = written(folder, "fetchmailrc", &text);
        run(Command::new("fetchmail")
            .env("HOME", folder)
            .env("FETCHMAILHOME", folder)
            .args(["--all", "--keep", "--nodetach", "--nosyslog", "--pidfile"])
            .arg(folder.join("fetchmail.pid"))
            .arg("-f")
            .arg(&control));
        let fetched = fs::read_to_string(&fetched).expect("what fetchmail handed on");
        assert!(fetched.contains("sent by msmtp"), "{fetched}");
    }
    let near = folder.join("near");
    fs::create_dir(&near).expect("mkdir");
    let text = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser {USER}\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nInbox {near}/inbox\nPath {near}/\n\n\
         Channel c\nFar :far:\nNear :near:\nSyncState *\nCreate Near\n",
        port("imap"),
        near = near.display()
    );
    let file = written(folder, "mbsyncrc", &text);
    run(Command::new("mbsync")
        .env("HOME", folder)
        .arg("-c")
        .arg(file)
        .arg("c"));
    let count = ["new", "cur"].map(|part| {
        fs::read_dir(near.join("inbox").join(part))
            .expect("a maildir")
            .count()
    });
    assert_eq!(count[0] + count[1], 4);
    let text = format!(
        "set ssl_starttls=no ssl_force_tls=no imap_pass={PASSWORD} imap_user={USER}\n\
         set folder=imap://127.0.0.1:{}/ spoolfile=+INBOX sendmail=/bin/false\n\
         push \"<save-message>{}<enter><exit>\"\nset mbox_type=mbox confirmappend=no confirmcreate=no quit=yes\n",
        port("imaps"),
        folder.join("saved").display()
    );
    let file = written(folder, "muttrc", &text);
    run(Command::new("script")
        .args(["-q", "-e", "-c"])
        .arg(format!(
            "TERM=xterm HOME={} mutt -n -F {}",
            folder.display(),
            file.display()
        ))
        .arg("/dev/null"));
    let saved = fs::read_to_string(folder.join("saved")).expect("what mutt saved");
    assert!(saved.contains("sent by"), "{saved}");
    adit.wait_for_log("logged in by SCRAM-SHA-256");
}
