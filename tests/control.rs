//! The running adit is found, asked, reloaded and stopped through its control socket, without an option
//! in the configuration, and whatever has become of the file meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, proc};

/// A command about this instance's file, as a user would type it: its exit status and its output.
#[track_caller]
fn ask(adit: &Adit, command: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    ask_about(&adit.plan.file(), command, environment)
}

/// The same about any file.
#[track_caller]
fn ask_about(file: &Path, command: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(program())
        .arg(command)
        .arg(file)
        .env_remove("RUNTIME_DIRECTORY")
        .env_remove("XDG_RUNTIME_DIR")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("starting the program");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code(), said)
}

fn plan(certs: &Certs, upstream: &Server) -> Plan {
    Plan::new().service("test", upstream.line() + &certs.server().lines())
}

/// Started as from a root shell: no environment variable names a folder.
fn by_hand(certs: &Certs, upstream: &Server) -> Adit {
    plan(certs, upstream)
        .environment("RUNTIME_DIRECTORY", "")
        .start()
}

/// The path of the socket for this instance's file.
fn socket_in(folder: &str, adit: &Adit) -> PathBuf {
    let file = adit.plan.file().display().to_string();
    let name = file.trim_start_matches('/').trim_end_matches(".conf");
    let name = name.replace('-', "%2d").replace('/', "-");
    PathBuf::from(format!("{folder}/{name}.sock"))
}

#[test]
fn a_configuration_without_control_is_asked_reloaded_and_stopped() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let mut adit = by_hand(&certs, &upstream);
    // A second one has a socket of its own.
    let other = by_hand(&certs, &upstream);
    let socket = socket_in("/run/adit", &adit);
    let mode = fs::metadata(&socket).expect("the socket").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    for (instance, command) in [(&adit, "status"), (&other, "status"), (&adit, "reload")] {
        let (code, said) = ask(instance, command, &[]);
        assert_eq!(code, Some(0), "{command}: {said}");
    }
    adit.wait_for_log("generation 2 serves");
    assert_eq!(other.count_in_log("generation 2"), 0);
    let family = proc::family(adit.pid());
    let (code, said) = ask(&adit, "stop", &[]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    // It has exited by then, although its parent, the test, has not reaped it.
    assert!(!proc::alive(adit.pid()) && !socket.exists());
    assert!(adit.wait_for_exit().success());
    proc::wait_for_end(&family);
    let (code, said) = ask(&adit, "stop", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("adit is not running"), "{said}");
}

#[test]
fn status_reload_and_stop_answer_while_the_file_on_the_disk_is_wrong() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let mut adit = by_hand(&certs, &upstream);
    let goes_on = format!(
        "not reloaded: the running configuration stays in force, in PID {}",
        adit.pid()
    );
    for wrong in [
        "conect = 1\n",
        "control = relative\n",
        "control = /no/such/folder/control\n",
        "control =\nnonsense = 1\n",
    ] {
        adit.rewrite(|text| format!("{wrong}{text}"));
        let (code, said) = ask(&adit, "status", &[]);
        assert_eq!(code, Some(0), "{wrong}: {said}");
        assert!(said.contains("test"), "{said}");
        let (code, said) = ask(&adit, "reload", &[]);
        assert_eq!(code, Some(1), "{wrong}: {said}");
        let line = wrong.lines().last().expect("a line");
        assert!(said.contains(line.trim_end()), "{said}");
        assert!(said.contains(&goes_on), "{said}");
        adit.rewrite(|text| text.replacen(wrong, "", 1));
    }
    fs::remove_file(adit.plan.file()).expect("removing");
    assert_eq!(ask(&adit, "status", &[]).0, Some(0));
    assert_eq!(ask(&adit, "stop", &[]).0, Some(0));
    assert!(adit.wait_for_exit().success());
    // Where no adit runs, no configuration is said to stay in force.
    let (code, said) = ask(&adit, "reload", &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("adit is not running"), "{said}");
    assert!(!said.contains("in force"), "{said}");
}

#[test]
fn a_copy_of_a_configuration_with_the_same_control_reaches_nothing_else() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan = plan(&certs, &upstream);
    let control = format!("control = {}/control", plan.folder().display());
    let mut adit = plan.global(&control).start();
    let copy = adit.plan.folder().join("copy.conf");
    fs::copy(adit.plan.file(), &copy).expect("copying");
    let own = adit.plan.file().display().to_string();
    let another = format!(
        "PID {}, runs with {own}, not with {}",
        adit.pid(),
        copy.display()
    );
    for command in ["status", "reload", "stop"] {
        let (code, said) = ask_about(&copy, command, &[]);
        assert_eq!(code, Some(1), "{command}: {said}");
        assert!(said.contains(&another), "{command}: {said}");
    }
    assert!(proc::alive(adit.pid()));
    assert_eq!(adit.count_in_log("generation 2"), 0);
    // Another path to the same file works as well.
    let link = adit.plan.folder().join("link.conf");
    std::os::unix::fs::symlink(adit.plan.file(), &link).expect("a link");
    for command in ["status", "reload", "stop"] {
        let (code, said) = ask_about(&link, command, &[]);
        assert_eq!(code, Some(0), "{command}: {said}");
    }
    assert!(adit.wait_for_exit().success());
}

#[test]
fn a_named_socket_is_found_by_the_pid_file_when_its_line_is_gone() {
    require!(root);
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan = plan(&certs, &upstream);
    let folder = plan.folder().display().to_string();
    let line = format!("control = {folder}/control\n");
    let adit = plan.global(format!("{line}pid = {folder}/pid")).start();
    adit.rewrite(|text| text.replace(&line, "conect = 1\n"));
    let (code, said) = ask(&adit, "status", &[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_socket_is_in_the_folder_that_systemd_or_the_user_has_for_it() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let plan_of_unit = plan(&certs, &upstream);
    let folder = plan_of_unit.folder().display().to_string();
    let adit = plan_of_unit
        .environment("RUNTIME_DIRECTORY", &folder)
        .start();
    assert!(socket_in(&folder, &adit).exists());
    let unit = [("RUNTIME_DIRECTORY", folder.as_str())];
    assert_eq!(ask(&adit, "status", &unit).0, Some(0));
    drop(adit);

    if !crate::support::is_root() {
        return;
    }
    let users = || {
        let lines = format!("client = yes\n{}", upstream.line());
        Plan::new().service("test", lines).user(65534, 65534)
    };
    let plan_of_user = users();
    let folder = plan_of_user.folder().display().to_string();
    let adit = plan_of_user
        .environment("RUNTIME_DIRECTORY", "")
        .environment("XDG_RUNTIME_DIR", &folder)
        .start();
    assert!(socket_in(&format!("{folder}/adit"), &adit).exists());
    drop(adit);
    let adit = users()
        .environment("RUNTIME_DIRECTORY", "")
        .environment("XDG_RUNTIME_DIR", "")
        .start();
    assert_eq!(adit.count_in_log("control"), 0);
}

#[test]
fn what_cannot_have_its_own_socket_is_served_without_one() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), Server::echo());
    let adit = plan(&certs, &upstream)
        .environment("RUNTIME_DIRECTORY", "/proc/no/such/folder")
        .start();
    let line = adit.wait_for_log("There is no control socket");
    assert!(
        line.contains("LOG4") && line.contains("`control = /path` before the first section names"),
        "{line}"
    );
    // Nor does a reload fail because of it.
    adit.reload(1);
    drop(adit);
    // A folder in which another user could replace the socket is not used.
    let plan_of_shared = plan(&certs, &upstream);
    let shared = plan_of_shared.folder().join("shared");
    fs::create_dir(&shared).expect("a folder");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("chmod");
    let folder = shared.display().to_string();
    let adit = plan_of_shared
        .environment("RUNTIME_DIRECTORY", &folder)
        .start();
    let line = adit.wait_for_log("There is no control socket");
    let fault = format!("{folder}: its mode is 777: others may write to it");
    assert!(line.contains(&fault), "{line}");
    assert!(!socket_in(&folder, &adit).exists());
    drop(adit);
    // An empty value asks for no socket.
    let adit = plan(&certs, &upstream).global("control =").start();
    assert_eq!(adit.count_in_log("control"), 0);
    adit.signal(Signal::SIGTERM);
}

#[test]
fn without_a_file_the_only_adit_that_runs_is_meant() {
    require!(root);
    require!(adit);
    if Path::new("/etc/adit/adit.conf").exists() {
        // Then that one is meant.
        return;
    }
    // As a user whose folder of sockets no other test has.
    let upstream = Server::echo();
    let users = || {
        let lines = format!("client = yes\n{}", upstream.line());
        Plan::new().service("test", lines).user(65534, 65534)
    };
    let first = users();
    let folder = first.folder().display().to_string();
    let start = |plan: Plan| {
        plan.environment("RUNTIME_DIRECTORY", "")
            .environment("XDG_RUNTIME_DIR", &folder)
            .start()
    };
    let mut first = start(first);
    let ask = |words: &[&str]| {
        let mut command = Command::new(program());
        command.args(words).env_remove("RUNTIME_DIRECTORY");
        command
            .env("XDG_RUNTIME_DIR", &folder)
            .uid(65534)
            .gid(65534);
        let output = command.stdin(Stdio::null()).output().expect("starting");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), said)
    };
    let file = |adit: &Adit| adit.plan.file().display().to_string();
    let (code, said) = ask(&["status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&file(&first)), "{said}");
    let (code, said) = ask(&["reload"]);
    assert_eq!(code, Some(0), "{said}");
    first.wait_for_log("generation 2 serves");
    // Of two neither is meant.
    let second = start(users());
    for command in ["status", "stop"] {
        let (code, said) = ask(&[command]);
        assert_eq!(code, Some(1), "{said}");
        for adit in [&first, &second] {
            let (file, pid) = (file(adit), adit.pid());
            let line = format!("an adit runs with {file}, PID {pid}: name that file");
            assert!(said.contains(&line), "{said}");
        }
    }
    drop(second);
    let (code, said) = ask(&["stop"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(first.wait_for_exit().success());
}
