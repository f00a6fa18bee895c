//! `adit status` says where each service accepts, what answers it, and until when its certificates count; `--watch`
//! shows it anew each second, in a terminal of any size.

use std::process::Command;

use serde_json::Value;

use crate::require;
use crate::support::adit::program;
use crate::support::certs::Wish;
use crate::support::terminal::Terminal;
use crate::support::{Adit, Certs, DEADLINE, Plan, peers, poll_for, tls, wait_for};

fn plan() -> Plan {
    let plan = Plan::new();
    let line = format!("control = {}", plan.folder().join("control").display());
    plan.global(line)
}

/// A status command about this instance.
fn status(adit: &Adit, flags: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("status").args(flags).arg("--control");
    command.arg(adit.plan.folder().join("control"));
    command
}

/// What a program that reads lines is told.
fn text(adit: &Adit) -> String {
    let output = status(adit, &[]).output().expect("adit status");
    String::from_utf8(output.stdout).expect("text")
}

/// The service in the generation that serves.
fn serving(adit: &Adit) -> Option<Value> {
    let status = adit.status();
    let mut generations = status["generations"].as_array()?.iter();
    let serving = generations.find(|generation| generation["state"] == "serving")?;
    Some(serving["services"][0].clone())
}

#[test]
fn addresses_the_upstream_that_answers_and_the_ends_of_certificates_are_told_over_a_renewal() {
    require!(adit);
    let certs = Certs::new();
    let upstream = tls::echo_server(&certs, tls::BOTH);
    let days = |count: u64| count * 86_400;
    let soon = certs.issue(
        "own",
        Wish {
            ends_in: Some(days(10) - 60),
            ..Wish::default()
        },
    );
    // Nothing answers at the first one.
    let lines = format!(
        "client = yes\nconnect = 127.0.0.1:1\n{}{}",
        upstream.line(),
        soon.lines()
    );
    let adit = plan()
        .global("certWatch = yes")
        .service("test", lines)
        .start();
    let before = serving(&adit).expect("a service");
    let address = adit.address("test").to_string();
    assert_eq!(before["accept"], Value::from(vec![address.clone()]));
    let answers = upstream.line();
    let answers = answers
        .trim()
        .rsplit([' ', '='])
        .next()
        .expect("an address");
    let connect = vec!["127.0.0.1:1".to_owned(), answers.to_owned()];
    assert_eq!(before["connect"], Value::from(connect));
    assert!(before["upstream"].is_null(), "{before}");

    peers::says_and_hears(&mut adit.connect("test"), "ten bytes.");
    let after = serving(&adit).expect("a service");
    let told = after["upstream"]["address"].as_str().expect("an address");
    assert!(told.ends_with(answers), "{told}");
    let certificate = &after["certificates"][0];
    assert_eq!(certificate["shown_to"], "servers");
    let said = text(&adit);
    for phrase in [
        "Warning: The certificate of [test] ends first: 9 day(s) left, until ",
        &format!("    from {address} to 127.0.0.1:1, {answers}; {told} answered "),
        &format!(": renew it ({})", soon.cert.display()),
    ] {
        assert!(said.contains(phrase), "{phrase}: {said}");
    }

    // A renewal, as certbot makes it, erases nothing but the warning.
    certs.issue("own", Wish::default());
    adit.wait_for_log("certWatch: a file has changed");
    let renewed = wait_for("the new certificate's end", || {
        let service = serving(&adit)?;
        // 2049, as all of these.
        (service["certificates"][0]["ends"] == 2_493_072_000_u64).then_some(service)
    });
    assert_eq!(renewed["accepted"], 1);
    assert_eq!(renewed["upstream"], after["upstream"]);
    assert!(!text(&adit).contains("Warning"), "{}", text(&adit));
}

/// The lines of the last frame that was drawn whole.
fn frame(shown: &str) -> Option<Vec<String>> {
    // The terminal adds returns of its own.
    let shown = shown.replace('\r', "");
    let whole = &shown[..shown.rfind("\x1b[J")?];
    let start = whole.rfind("\x1b[H")? + 3;
    let lines = whole[start..].split('\n');
    Some(
        lines
            .map(|line| line.trim_end_matches("\x1b[K").to_owned())
            .collect(),
    )
}

#[test]
fn the_live_view_fits_each_terminal_and_gives_it_back() {
    require!(adit);
    let (certs, upstream) = (Certs::new(), peers::Server::echo());
    let mut plan = plan();
    for number in 0..30 {
        let lines = upstream.line() + "client = yes\n" + &certs.ca_line();
        plan = plan.service(&format!("service-with-a-long-name-{number}"), lines);
    }
    let adit = plan.start();
    for (quits, columns, lines) in [("q", 80, 24), ("\x03", 40, 12)] {
        let terminal = Terminal::sized(columns, lines);
        let mut command = status(&adit, &["--watch"]);
        terminal.attach(&mut command);
        let mut watch = command.spawn().expect("adit status --watch");
        let fits = |columns: u16, lines: u16| {
            let whole = || {
                let frame = frame(&terminal.shown())?;
                let widest = frame.iter().map(|line| line.chars().count()).max()?;
                let has_all = frame.len() == usize::from(lines) && frame.last()?.contains("q ends");
                // After the first second there are rates.
                let has_rates = frame
                    .iter()
                    .any(|line| line.contains("  all") && !line.contains('-'));
                (has_all && has_rates && widest <= usize::from(columns)).then_some(())
            };
            let fits = poll_for(DEADLINE, whole);
            assert!(
                fits.is_some(),
                "{columns}x{lines}: {:#?}",
                frame(&terminal.shown())
            );
        };
        fits(columns, lines);
        terminal.resize(100, 16);
        fits(100, 16);
        assert!(!terminal.echoes());
        terminal.type_in(quits);
        let status = watch.wait().expect("its end");
        assert!(status.success(), "{quits:?}: {status}");
        wait_for("the screen as it was", || {
            let shown = terminal.shown();
            (shown.ends_with("\x1b[?25h\x1b[?1049l") && terminal.echoes()).then_some(())
        });
    }
    // Elsewhere it says what to do.
    let output = status(&adit, &["--watch"]).output().expect("adit status");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("--json"),
        "{said}"
    );
}
