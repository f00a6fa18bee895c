//! `adit add` serves a mail address: every provider of the table, in the old program's words, without
//! touching what another hand wrote.

mod printed;
mod providers;
mod unknown_domain;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use crate::require;
use crate::support::adit::program;
use crate::support::{Certs, Plan, installed, own_loopback};
use providers::table;

/// A folder for a configuration, and a loopback address for its services.
struct Place {
    plan: Plan,
    listen: Ipv4Addr,
}

impl Place {
    fn new() -> Place {
        Place {
            plan: Plan::new(),
            listen: own_loopback(),
        }
    }

    fn file(&self) -> PathBuf {
        self.plan.file()
    }

    fn part(&self, name: &str) -> PathBuf {
        self.plan.folder().join("conf.d").join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("add")
            .args(arguments)
            .arg(self.file())
            .arg("--listen")
            .arg(self.listen.to_string())
            .env("RUNTIME_DIRECTORY", self.plan.folder())
            .stdin(Stdio::null());
        command
    }

    /// Its exit status, and what it says.
    #[track_caller]
    fn add(&self, arguments: &[&str]) -> (Option<i32>, String) {
        said(&mut self.command(arguments))
    }

    #[track_caller]
    fn adds(&self, arguments: &[&str]) -> String {
        let (status, said) = self.add(arguments);
        assert_eq!(status, Some(0), "{said}");
        said
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], reason: &str) {
        let before = self.everything();
        let (status, said) = self.add(arguments);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(reason), "{reason:?} is not in {said}");
        assert_eq!(self.everything(), before, "{said}");
    }

    /// Every file of configuration, with its text.
    fn everything(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        for folder in [
            self.plan.folder().to_owned(),
            self.plan.folder().join("conf.d"),
        ] {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                // Not the log, and not what a started program leaves there.
                if path.to_string_lossy().contains(".conf") {
                    found.push((path.clone(), fs::read_to_string(path).unwrap_or_default()));
                }
            }
        }
        found.sort();
        found
    }
}

#[track_caller]
fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("starting the program");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// The ports in a file of services: SMTP, POP3, IMAP.
fn ports(text: &str) -> Vec<u16> {
    let lines = text.lines().filter(|line| line.starts_with("accept = "));
    lines
        .map(|line| {
            line.rsplit(':')
                .next()
                .expect("a port")
                .parse()
                .expect("a number")
        })
        .collect()
}

#[test]
fn a_new_configuration_is_made_and_a_second_time_changes_nothing() {
    require!(adit);
    let place = Place::new();
    let said = place.adds(&["you@gmx.de"]);
    let part = place.part("you@gmx.de.conf");
    let text = fs::read_to_string(&part).expect("the services");
    let [smtp, pop3, imap] = ports(&text)[..] else {
        panic!("{text}")
    };
    assert_eq!((smtp % 1000, pop3 % 1000, imap % 1000), (587, 110, 143));
    for line in [
        format!(
            "Outgoing mail (SMTP):                              {}\n",
            place.listen
        ),
        format!("Outgoing mail (SMTP):                              {smtp}\n"),
        format!("Incoming mail (POP3):                              {pop3}\n"),
        format!("    adit {}\n", place.file().display()),
        "Switch on POP3/IMAP in the web settings first".to_owned(),
    ] {
        assert!(said.contains(&line), "{line:?} is not in {said}");
    }
    for (path, mode) in [
        (place.file(), 0o644),
        (part.clone(), 0o644),
        (place.plan.folder().join("conf.d"), 0o755),
    ] {
        let about = fs::metadata(&path).expect("it is there");
        assert_eq!(about.mode() & 0o7777, mode, "{}", path.display());
    }
    let before = place.everything();
    assert_eq!(before.len(), 2, "{before:?}");
    let inode = fs::metadata(&part).expect("it is there").ino();
    assert_eq!(place.adds(&["you@gmx.de"]), said);
    assert_eq!(place.everything(), before);
    assert_eq!(fs::metadata(&part).expect("it is there").ino(), inode);
    // What is shown is what is written.
    assert!(place.adds(&["you@gmx.de", "--print"]).ends_with(&text));
    // Gone and come again, it has the same ports.
    place.adds(&["--remove", "you@gmx.de"]);
    assert!(!part.exists());
    place.adds(&["you@gmx.de"]);
    assert_eq!(fs::read_to_string(&part).expect("the services"), text);
}

#[test]
fn ports_that_a_program_or_a_service_has_are_left_to_it() {
    require!(adit);
    let place = Place::new();
    let first = ports(&place.adds(&["you@gmx.de", "--print"]));
    let held = TcpListener::bind((place.listen, first[1])).expect("a free port");
    let second = ports(&place.adds(&["you@gmx.de", "--print"]));
    assert!(
        first.iter().all(|port| !second.contains(port)),
        "{first:?} {second:?}"
    );
    drop(held);
    assert_eq!(ports(&place.adds(&["you@gmx.de", "--print"])), first);
    // A service that does not run.
    let service = format!(
        "include = {}/conf.d/*.conf\n[mine]\nclient = yes\naccept = {}:{}\nconnect = 127.0.0.1:9\n",
        place.plan.folder().display(),
        place.listen,
        first[2],
    );
    fs::write(place.file(), service).expect("writing");
    place.adds(&["you@gmx.de"]);
    let text = fs::read_to_string(place.part("you@gmx.de.conf")).expect("the services");
    assert_eq!(ports(&text), second);
}

#[test]
fn what_another_hand_wrote_stays() {
    require!(adit);
    let place = Place::new();
    place.adds(&["you@gmx.de"]);
    let part = place.part("you@gmx.de.conf");
    let text = fs::read_to_string(&part).expect("the services");
    fs::write(&part, text.replace("delay = yes", "delay = no")).expect("writing");
    place.refuses(&["you@gmx.de"], "it was changed by hand");
    place.refuses(&["--remove", "you@gmx.de"], "it was changed by hand");
    fs::write(&part, "; mine\n").expect("writing");
    place.refuses(&["you@gmx.de"], "did not write this file");
    place.refuses(
        &["your@gmx.de", "--name", "you@gmx.de"],
        "did not write this file",
    );
    fs::write(&part, &text).expect("writing");
    place.refuses(
        &["your@gmx.de", "--name", "you@gmx.de"],
        "it is for you@gmx.de",
    );
    fs::remove_file(&part).expect("removing");
    let elsewhere = place.plan.folder().join("elsewhere");
    fs::write(&elsewhere, &text).expect("writing");
    std::os::unix::fs::symlink(&elsewhere, &part).expect("a link");
    place.refuses(&["you@gmx.de"], "is no file with text");
    assert_eq!(fs::read_to_string(elsewhere).expect("its text"), text);
    place.adds(&["you@gmx.de", "--name", "other"]);
    assert!(place.part("other.conf").exists());
}

#[test]
fn what_cannot_be_put_into_force_is_undone() {
    require!(adit);
    let place = Place::new();
    let own = "[mine]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:9\n";
    fs::write(place.file(), own).expect("writing");
    place.refuses(&["you@gmx.de"], "add the line `include = ");
    let include = format!(
        "include = {}/conf.d/*.conf\n",
        place.plan.folder().display()
    );
    fs::write(place.file(), format!("frobnicate = yes\n{own}{include}")).expect("writing");
    place.refuses(&["you@gmx.de"], "frobnicate");
    assert!(!place.plan.folder().join("conf.d").exists());
    fs::write(place.file(), format!("{own}{include}")).expect("writing");
    place.adds(&["you@gmx.de"]);
    place.refuses(&["--remove", "me@gmx.de"], "there is no such file");
    let folder = place.plan.folder().join("conf.d");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("chmod");
    place.refuses(&["me@gmx.de"], "every user may write to this folder");
}

#[test]
fn a_user_without_rights_is_told_and_has_a_configuration_of_their_own() {
    require!(adit);
    require!(root);
    let place = Place::new();
    // That user may not have access to cargo's build folder.
    let copy = place.plan.folder().join("program");
    fs::copy(program(), &copy).expect("copying the program");
    let as_nobody = |address: &str, file: &Path| {
        let mut command = Command::new(&copy);
        command
            .args(["add", address, "--listen", &place.listen.to_string()])
            .arg(file);
        said(
            command
                .uid(65534)
                .gid(65534)
                .env_remove("RUNTIME_DIRECTORY"),
        )
    };
    let (status, told) = as_nobody("you@gmx.de", &place.file());
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("run this as root, or name a configuration of yours"),
        "{told}"
    );
    assert!(place.everything().is_empty());
    let own = place.plan.folder().join("own");
    fs::create_dir(&own).expect("mkdir");
    std::os::unix::fs::chown(&own, Some(65534), Some(65534)).expect("chown");
    // One of them wants tokens, which need a folder.
    for address in ["you@gmx.de", "you@outlook.com"] {
        let (status, told) = as_nobody(address, &own.join("adit.conf"));
        assert_eq!(status, Some(0), "{told}");
    }
    let text = fs::read_to_string(own.join("adit.conf")).expect("its configuration");
    assert!(!text.contains("setuid"), "{text}");
    assert!(own.join("conf.d/you@gmx.de.conf").exists());
}

#[test]
fn a_running_adit_serves_what_is_added_and_lets_go_of_what_is_removed() {
    require!(adit);
    let Place { plan, listen } = Place::new();
    let folder = plan.folder().display();
    let lines = format!("client = yes\nconnect = 127.0.0.1:9\ninclude = {folder}/conf.d/*.conf\n");
    let adit = plan.service("mine", lines).start();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(program());
        command
            .arg("add")
            .args(arguments)
            .arg(adit.plan.file())
            .args(["--listen", &listen.to_string()]);
        said(
            command
                .env("RUNTIME_DIRECTORY", adit.plan.folder())
                .stdin(Stdio::null()),
        )
    };
    let (status, told) = run(&["you@gmx.de"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("the running adit serves them"), "{told}");
    let part = adit.plan.folder().join("conf.d/you@gmx.de.conf");
    let all = ports(&fs::read_to_string(&part).expect("the services"));
    let connects = |port: &u16| TcpStream::connect((listen, *port)).is_ok();
    assert!(all.iter().all(connects), "{told}");
    // The running adit has the ports, and they stay.
    let (status, again) = run(&["you@gmx.de", "--for", "thunderbird"]);
    assert_eq!(status, Some(0), "{again}");
    assert_eq!(
        ports(&fs::read_to_string(&part).expect("the services")),
        all
    );
    // The whole is wrong now: what runs goes on.
    adit.rewrite(|text| format!("frobnicate = yes\n{text}"));
    let (status, told) = run(&["me@gmx.de"]);
    assert_eq!(status, Some(1), "{told}");
    assert!(
        told.contains("the running adit goes on as before"),
        "{told}"
    );
    assert!(!adit.plan.folder().join("conf.d/me@gmx.de.conf").exists());
    assert!(all.iter().all(connects), "{told}");
    adit.rewrite(|text| text.replacen("frobnicate = yes\n", "", 1));
    let (status, told) = run(&["--remove", "you@gmx.de"]);
    assert_eq!(status, Some(0), "{told}");
    assert!(!all.iter().any(connects), "{told}");
}

#[test]
fn programs_elsewhere_and_public_addresses_are_told() {
    require!(adit);
    for (arguments, reason) in [
        (&["--for", "printer"][..], "a printer is another machine"),
        (
            &["--listen", "192.0.2.1"],
            "may be reached from the internet",
        ),
        (&["--listen", "0.0.0.0"], "may be reached from the internet"),
        (
            &["--listen", "10.254.253.252"],
            "is it an address of this machine?",
        ),
    ] {
        let place = Place::new();
        let mut command = Command::new(program());
        command
            .args(["add", "you@gmx.de"])
            .arg(place.file())
            .args(arguments);
        let (status, said) = said(&mut command);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(place.everything().is_empty());
    }
}

#[test]
fn tls_that_the_defaults_demand_is_ticked() {
    require!(adit);
    let place = Place::new();
    let certs = Certs::new();
    let pair = certs.server();
    let text = format!(
        "client = yes\nverifyServer = yes\nacceptTLS = yes\nacceptCert = {}\nacceptKey = {}\n\
         include = {}/conf.d/*.conf\n",
        pair.cert.display(),
        pair.key.display(),
        place.plan.folder().display()
    );
    fs::write(place.file(), text).expect("writing");
    let said = place.adds(&["you@gmx.de"]);
    assert_eq!(
        said.matches("secure connection (SSL)   on\n").count(),
        2,
        "{said}"
    );
}

#[test]
fn a_service_on_the_lan_lets_in_that_network_alone() {
    require!(adit);
    require!(root);
    require!(installed("ip").is_some(), "ip is not installed");
    // Of this thread, and of the processes it starts.
    unshare(CloneFlags::CLONE_NEWNET).expect("a network of its own");
    let script = "ip link set lo up; ip address add 10.77.1.5/20 dev lo";
    let up = Command::new("sh").args(["-ec", script]).status();
    assert!(up.expect("ip").success());
    let place = Place::new();
    let add = |more: &[&str]| {
        let mut command = Command::new(program());
        command
            .args(["add", "you@gmx.de", "--listen", "10.77.1.5"])
            .arg(place.file())
            .args(more)
            .env("RUNTIME_DIRECTORY", place.plan.folder());
        let (status, said) = said(&mut command);
        assert_eq!(status, Some(0), "{said}");
        let text = fs::read_to_string(place.part("you@gmx.de.conf")).expect("the services");
        let lists = text.lines().filter(|line| line.starts_with("acceptFrom"));
        let lists: Vec<String> = lists.map(str::to_owned).collect();
        (said, lists)
    };
    let (said, lists) = add(&[]);
    assert_eq!(lists, ["acceptFrom = 10.77.0.0/20"; 3]);
    assert!(said.contains("0 error(s), 0 warning(s)"), "{said}");
    assert!(
        said.contains("Programs at 10.77.0.0/20 are let in"),
        "{said}"
    );
    let (_, lists) = add(&["--for", "printer", "--from", "10.77.1.9"]);
    assert_eq!(lists, ["acceptFrom = 10.77.1.9"; 3]);
    // What holds for every service holds for these too.
    let text = fs::read_to_string(place.file()).expect("the configuration");
    fs::write(place.file(), format!("acceptFrom = 10.77.1.7\n{text}")).expect("writing");
    let (said, lists) = add(&[]);
    assert!(lists.is_empty() && said.contains("0 warning(s)"), "{said}");
}

#[test]
fn providers_are_listed_by_a_word_of_theirs() {
    require!(adit);
    let list = |word: &[&str]| said(Command::new(program()).arg("providers").args(word));
    let (status, all) = list(&[]);
    assert_eq!(status, Some(0));
    for row in table() {
        assert!(all.contains(&format!("({})\n", row.id)), "{}", row.id);
    }
    let (_, one) = list(&["you@hotmail.com"]);
    assert!(
        one.contains("(outlook)") && one.contains("(OAuth2 alone)"),
        "{one}"
    );
    let (status, none) = list(&["firma.example"]);
    assert_eq!(status, Some(1));
    assert!(none.contains("none has firma.example"), "{none}");
}
