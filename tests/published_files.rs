//! Configuration files as people publish them: `adit check` reads each, and the real stunnel starts it.
//! Where the results differ, the file says why.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::require;
use crate::support::adit::program;
use crate::support::{Certs, installed, is_root, poll_for};

mod files;
mod traffic;

use files::{Ends, FILES, File};

/// How long either program may take.
const END_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// Writes the text to a file, with this run's paths.
fn write(file: &File, certs: &Certs) -> std::path::PathBuf {
    let folder = certs.folder().join(file.name.replace(' ', "-"));
    fs::create_dir(&folder).expect("mkdir");
    // As a jail it must take the pid file of a user other than root.
    let open = PermissionsExt::from_mode(0o777);
    fs::set_permissions(&folder, open).expect("chmod");
    let pair = certs.server();
    let both = folder.join("both.pem");
    let pem = [&pair.cert, &pair.key].map(|path| fs::read_to_string(path).expect("a file"));
    fs::write(&both, pem.concat()).expect("writing");
    fs::set_permissions(&both, PermissionsExt::from_mode(0o600)).expect("chmod");
    let psk = folder.join("psk.txt");
    fs::write(&psk, "test1:oaP4EishaeSaishei6rio6xeeph3az\n").expect("writing");
    fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).expect("chmod");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let text = file
        .text
        .replace("{port}", &free.expect("a free port").port().to_string())
        .replace("{dir}", &folder.display().to_string())
        .replace("{cert}", &pair.cert.display().to_string())
        .replace("{key}", &pair.key.display().to_string())
        .replace("{both}", &both.display().to_string())
        .replace("{psk}", &psk.display().to_string())
        .replace("{ca}", &certs.ca().display().to_string());
    let path = folder.join("stunnel.conf");
    fs::write(&path, text).expect("writing");
    path
}

/// Whether stunnel serves it, and its output. It is stopped again.
fn stunnel(path: &std::path::Path) -> (Ends, String) {
    let log = path.with_extension("log");
    let text = fs::read_to_string(path).expect("the file");
    let started = path.with_extension("started");
    // At the front, so that the file's own lines stay as they are.
    let output = path.with_extension("output");
    let mut settings = "foreground = yes\nsyslog = no\ndebug = 7\n".to_owned();
    if text.contains("foreground = quiet") {
        // Then nothing reaches stderr; with `chroot` the path would be inside.
        settings += &format!("output = {}\n", output.display());
    }
    fs::write(&started, settings + text.trim_start_matches('\u{feff}')).expect("writing");
    let stderr = fs::File::create(&log).expect("a log");
    let mut child = Command::new(installed("stunnel4").expect("asked for before"))
        .arg(&started)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("starting stunnel");
    let said = || {
        let files = [&log, &output].map(|path| fs::read_to_string(path).unwrap_or_default());
        files.concat()
    };
    let end = poll_for(END_TIMEOUT, || {
        if said().contains("Accepting new connections") {
            return Some(Ends::Serves);
        }
        let gone = child.try_wait().expect("wait").is_some();
        gone.then_some(Ends::Refuses)
    });
    let _ = child.kill();
    let _ = child.wait();
    let end = end.unwrap_or_else(|| panic!("stunnel came to no end:\n{text}\n{}", said()));
    (end, said())
}

fn adit(path: &std::path::Path) -> (Ends, String) {
    let output = Command::new(program())
        .arg("check")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("starting the program");
    let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    match output.status.code() {
        Some(0) => (Ends::Serves, said),
        Some(1) => (Ends::Refuses, said),
        other => panic!("{other:?}:\n{said}"),
    }
}

#[test]
fn files_that_people_publish_come_to_the_same_end_as_with_stunnel() {
    require!(adit);
    let certs = Certs::new();
    let mut wrong = Vec::new();
    for file in FILES {
        let path = write(file, &certs);
        let (end, said) = adit(&path);
        if end != file.adit {
            wrong.push(format!("{}: adit: {end:?}\n{said}", file.name));
        }
        for phrase in file.says {
            if !said.contains(phrase) {
                wrong.push(format!(
                    "{}: adit does not say {phrase:?}\n{said}",
                    file.name
                ));
            }
        }
        // A note or a warning that the table does not list would surprise its reader.
        if file.says.is_empty() && said.lines().count() > 1 {
            wrong.push(format!("{}: adit says more\n{said}", file.name));
        }
        let differs = file.stunnel.is_some_and(|theirs| theirs != file.adit);
        if differs == file.differs.is_empty() {
            wrong.push(format!("{}: a reason, and a difference", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stunnel_comes_to_the_end_that_the_table_says() {
    require!(adit);
    require!(program "stunnel4");
    require!(root);
    let certs = Certs::new();
    let mut wrong = Vec::new();
    for file in FILES {
        let Some(expected) = file.stunnel else {
            continue;
        };
        let (end, said) = stunnel(&write(file, &certs));
        if end != expected {
            wrong.push(format!("{}: stunnel: {end:?}\n{said}", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(FILES.len() >= 30 && is_root());
}
