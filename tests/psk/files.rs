//! The files of keys: what is wrong in them, who reads them, and when they are read again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::require;
use crate::support::peers::Server;
use crate::support::{Adit, Certs, Plan, openssl, proc};

use super::{KEY, Keys, OTHER, echoes, one, refused, s_client, server_mode};

#[test]
fn a_reload_reads_the_file_again_and_a_bad_one_changes_nothing() {
    require!(adit);
    require!(program "openssl");
    let served = server_mode(one("office", KEY), "");
    let mut before = s_client(served.address(), "office", KEY, &[]);
    echoes(&mut before);
    served.keys.write(&format!("home:{OTHER}\n"));
    served.adit.reload(1);
    echoes(&mut s_client(served.address(), "home", OTHER, &[]));
    refused(s_client(served.address(), "office", KEY, &[]));
    // A connection goes on with the key by which it began.
    echoes(&mut before);
    served.keys.write("home\n");
    served.adit.signal(nix::sys::signal::Signal::SIGHUP);
    served
        .adit
        .wait_for_log("PSKsecrets line 1: Not in identity:key format");
    served
        .adit
        .wait_for_log("Failed to reload the configuration file");
    echoes(&mut s_client(served.address(), "home", OTHER, &[]));
}

#[test]
fn certwatch_reads_the_file_again_by_itself() {
    require!(adit);
    require!(program "openssl");
    let (upstream, keys) = (Server::echo(), one("office", KEY));
    let adit = Plan::new()
        .global("certWatch = yes")
        .service("test", upstream.line() + &keys.line())
        .start();
    keys.write(&format!("home:{OTHER}\n"));
    adit.wait_for_log("Configuration reloaded");
    echoes(&mut s_client(adit.address("test"), "home", OTHER, &[]));
}

#[test]
fn keys_are_in_the_workers_of_such_services_alone_and_their_text_is_nowhere() {
    require!(root);
    require!(adit);
    require!(program "openssl");
    let (certs, upstream, keys) = (Certs::new(), Server::echo(), one("office", KEY));
    let adit = Plan::new()
        .global("setuid = nobody\nsetgid = nogroup")
        .service("modern", upstream.line() + &certs.server().lines())
        .service("test", upstream.line() + &keys.line())
        .start();
    echoes(&mut s_client(adit.address("test"), "office", KEY, &[]));
    let digit = |nth: usize| u8::from_str_radix(&KEY[nth * 2..nth * 2 + 2], 16).expect("digits");
    let binary: Vec<u8> = (0..KEY.len() / 2).map(digit).collect();
    let roles = proc::roles(adit.pid());
    let zygote = proc::children(roles.master)
        .into_iter()
        .find(|&pid| proc::title(pid).contains("zygote"))
        .expect("a zygote");
    let old = [vec![zygote], proc::children(zygote)].concat();
    for pid in [&old[..], &roles.workers, &[roles.master, adit.pid()]].concat() {
        let title = proc::title(pid);
        assert_eq!(
            proc::memory_holds(pid, &binary),
            old.contains(&pid),
            "{title}"
        );
        assert!(!proc::memory_holds(pid, &KEY.as_bytes()[8..56]), "{title}");
    }
}

/// Each is refused before anything is bound, with the line and no key.
#[test]
fn bad_files_are_refused_by_line() {
    require!(adit);
    let secret = "0123456789abcd";
    for (text, more, says) in [
        (
            format!("# keys\noffice:{KEY}\n"),
            "",
            "PSKsecrets line 1: Not in identity:key format",
        ),
        (
            format!("office:{KEY}\n\n{secret}\n"),
            "",
            "PSKsecrets line 3: Not in identity:key format",
        ),
        (
            format!("office:{secret}\n"),
            "",
            "PSKsecrets line 1: Key shorter than 16 bytes",
        ),
        (
            format!("office:{}\n", "0".repeat(64)),
            "",
            "PSKsecrets line 1: the key is nothing but zeros",
        ),
        (String::new(), "", "there is no key in it"),
        (
            format!("office:{KEY}\n"),
            "PSKsecrets = /no/such/file\n",
            "/no/such/file",
        ),
        (
            format!("office:{KEY}\n"),
            "client = yes\nPSKidentity = home\n",
            "No key found for the specified PSK identity",
        ),
        (
            format!(":{KEY}\n"),
            "client = yes\n",
            "the identity is empty",
        ),
        (
            format!("office:{KEY}\n"),
            "sslVersionMax = TLSv1.2\n",
            "`PSKsecrets` needs TLS 1.3",
        ),
        (
            format!("office:{KEY}\n"),
            "options = NO_TLSv1_3\n",
            "`PSKsecrets` needs TLS 1.3",
        ),
        (
            format!("office:{KEY}\n"),
            "sslVersion = TLSv1.2\nciphers = PSK\n",
            "adit has no PSK suites of TLS 1.2",
        ),
        (
            format!("office:{KEY}\n"),
            "ciphersuites = TLS_AES_256_GCM_SHA384\n",
            "`PSKsecrets` needs a suite of TLS 1.3 with SHA-256",
        ),
    ] {
        let keys = Keys::of(&text);
        let lines = format!("connect = 127.0.0.1:9\n{}{more}", keys.line());
        let outcome = Plan::new().service("test", lines).run();
        outcome.exits(1).says(&[says]);
        assert!(!outcome.said.contains(secret), "{}", outcome.said);
        assert!(!outcome.said.contains(&KEY[..16]), "{}", outcome.said);
    }
}

#[test]
fn what_has_no_effect_is_told() {
    require!(adit);
    let upstream = Server::echo();
    let keys = Keys::of(&format!("office:{KEY}\noffice:{OTHER}\n"));
    fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o644)).expect("chmod");
    let lines = upstream.line() + &keys.line() + "ciphers = PSK\nPSKidentity = office\n";
    let adit = Adit::serve(lines);
    for phrase in [
        "insecure file permissions on",
        "line 1 has the identity of line 2, which is the one that counts",
        "ciphers = PSK has no effect: adit has no PSK suites of TLS 1.2",
        "PSK identity is ignored in the server mode",
    ] {
        adit.wait_for_log(phrase);
    }
}

/// TLS 1.3 alone needs no leave to be served to the internet.
#[test]
fn a_service_with_keys_alone_is_in_workers_of_its_own_and_may_be_public() {
    require!(adit);
    let keys = one("office", KEY);
    let lines = format!(
        "accept = 0.0.0.0:0\nsslVersionMin = TLSv1\nconnect = 127.0.0.1:9\n{}",
        keys.line()
    );
    let plan = Plan::new().service("test", lines);
    let _ = plan.command();
    let said = openssl::run(
        Command::new(crate::support::adit::program())
            .args(["check", "--route", "--strict"])
            .arg(plan.file()),
    );
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("PSK is asked for (PSKsecrets)"), "{said}");
}
