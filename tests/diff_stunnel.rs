//! `adit diff-stunnel` runs stunnel and adit on one configuration and says where they differ, apart from all that serves.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::require;
use crate::support::Certs;
use crate::support::adit::program;

/// Its exit status, and what it says.
fn compared(text: &str, arguments: &[&str], change: impl FnOnce(&mut Command)) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stunnel.conf");
    fs::write(&file, text).expect("writing");
    let mut command = Command::new(program());
    command.arg("diff-stunnel").args(arguments).arg(&file);
    change(command.stdin(Stdio::null()));
    let output = command.output().expect("starting it");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().expect("an exit"),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn may_make_networks() -> bool {
    let tried = Command::new("unshare").args(["--net", "true"]).status();
    tried.is_ok_and(|status| status.success())
}

#[test]
fn programs_that_do_the_same_have_no_difference() {
    require!(adit);
    require!(program "stunnel4");
    require!(root);
    require!(
        may_make_networks(),
        "no network of its own can be made here"
    );
    let certs = Certs::new();
    // Ports that other programs of this machine may have, and addresses that it has not.
    let text = format!(
        "pid = /nowhere/pid\noutput = /nowhere/log\n\
         [imaps]\naccept = 192.0.2.1:993\nconnect = 198.51.100.7:143\nsslVersion = TLSv1.3\n{}\
         [smtp]\nclient = yes\naccept = 127.0.0.1:25\nconnect = mail.example.com:465\nverifyChain = yes\n{}checkHost = mail.example.com\n\
         [any]\naccept = 127.0.0.1:0\nconnect = 1\nTIMEOUTconnect = 2\n{}",
        certs.server().lines(),
        certs.ca_line(),
        certs.server().lines(),
    );
    let (status, said) = compared(&text, &[], |_| {});
    for line in [
        "start: both serve\n",
        "address: 192.0.2.1:993\n",
        "address: 127.0.0.1 (a free port)\n",
        "192.0.2.1:993, TLS 1.3: TLS_AES_256_GCM_SHA384, certificate of CN=localhost, SHA-256 ",
        "then says \"220 adit diff-stunnel\\r\\n\"\n",
        "192.0.2.1:993, TLS 1.2: alert ProtocolVersion\n",
        "192.0.2.1:993, plain: waits\n",
        "server heard: 198.51.100.7:143: waits for the server's first word\n",
        "server heard: 127.126.0.1:465: TLS up to TLS 1.3 for mail.example.com\n",
        "log: unsupported protocol\n",
        "No difference.\n",
    ] {
        assert!(said.contains(line), "no {line:?} in:\n{said}");
    }
    assert_eq!(status, 0, "{said}");
}

#[test]
fn programs_that_do_otherwise_differ() {
    require!(adit);
    require!(program "stunnel4");
    require!(root);
    require!(
        may_make_networks(),
        "no network of its own can be made here"
    );
    let certs = Certs::new();
    // docs/differences.md has both.
    let text = format!(
        "[a]\naccept = 8443\nexec = /nowhere/program\n{}",
        certs.server().lines()
    );
    let (status, said) = compared(&text, &[], |_| {});
    let last = |program: &str| {
        let mut lines = said.lines().skip_while(|line| !line.contains("TLS 1.3:"));
        let line = lines.find(|line| line.starts_with(program));
        line.and_then(|line| line.rsplit(", ").next())
    };
    let ends = (last("    stunnel: "), last("    adit: "));
    assert_eq!(ends, (Some("then closes"), Some("then resets")), "{said}");
    assert!(said.ends_with(" differences.\n"), "{said}");
    assert_eq!(status, 1);
    let text = format!(
        "[a]\naccept = 8443\nconnect = localhost\n{}",
        certs.server().lines()
    );
    let (status, said) = compared(&text, &[], |_| {});
    assert!(
        said.contains("start: stunnel serves, adit does not:\n"),
        "{said}"
    );
    assert!(said.contains("is not a port"), "{said}");
    assert_eq!(status, 1);
}

#[test]
fn without_stunnel_or_root_there_is_nothing_to_compare() {
    require!(adit);
    require!(root);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let (status, said) = compared("", &[], |command| {
        command.env("PATH", path);
    });
    assert!(said.contains("there is no stunnel in PATH"), "{said}");
    assert_eq!(status, 2);
    symlink(program(), path.join("stunnel")).expect("a link");
    let (status, said) = compared("", &[], |command| {
        command.env("PATH", path);
    });
    assert!(said.contains("is adit by the name of stunnel"), "{said}");
    assert_eq!(status, 2);
    let given = path.join("stunnel");
    let (status, said) = compared("", &["--stunnel", &given.display().to_string()], |_| {});
    assert!(said.contains("is adit by the name of stunnel"), "{said}");
    assert_eq!(status, 2);
    let copy = path.join("adit");
    fs::copy(program(), &copy).expect("copying");
    std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("chown");
    let mut command = Command::new(&copy);
    let output = command.arg("diff-stunnel").uid(65534).gid(65534).output();
    let output = output.expect("starting it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("only root may"), "{said}");
    assert_eq!(output.status.code(), Some(2));
}
