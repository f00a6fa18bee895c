//! Programs that send mail.

use std::process::Command;

use super::desk::{Desk, SUBJECT, Try, written};
use super::{From, Row};
use crate::support::mail::{PASSWORD, USER};

/// Each program, and how to run it.
pub const ROWS: &[Row] = &[
    ("curl", From::Package("curl"), curl),
    ("esmtp", From::Package("esmtp"), esmtp),
    ("msmtp", From::Package("msmtp"), msmtp),
    ("mutt", From::Package("mutt"), |desk, lines| {
        mutt("mutt", desk, lines)
    }),
    ("NeoMutt", From::Package("neomutt"), |desk, lines| {
        mutt("neomutt", desk, lines)
    }),
    ("s-nail (mailx)", From::Package("s-nail"), s_nail),
    ("sendEmail", From::Package("sendemail"), sendemail),
    ("swaks", From::Package("swaks"), swaks),
];

const ADDRESS: &str = "anna@mail.test";

fn curl(desk: &Desk, _: &[String]) -> Try {
    desk.sends(
        Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--user",
                &format!("{USER}:{PASSWORD}"),
            ])
            .args([
                "--mail-from",
                ADDRESS,
                "--mail-rcpt",
                ADDRESS,
                "--upload-file",
                "-",
            ])
            .arg(format!("smtp://127.0.0.1:{}", desk.port("smtp"))),
    )
}

fn esmtp(desk: &Desk, _: &[String]) -> Try {
    let text = format!(
        "identity {ADDRESS}\nhostname=127.0.0.1:{}\nusername={USER}\npassword={PASSWORD}\n",
        desk.port("smtp")
    );
    let file = written(&desk.folder(), "esmtprc", &text);
    desk.sends(
        Command::new("esmtp")
            .arg("-C")
            .arg(file)
            .args(["-f", ADDRESS, ADDRESS]),
    )
}

fn msmtp(desk: &Desk, lines: &[String]) -> Try {
    let text = format!(
        "account default\nhost 127.0.0.1\nport {}\nuser {USER}\npassword {PASSWORD}\nfrom {ADDRESS}\n{}\n",
        desk.port("smtp"),
        lines.join("\n")
    );
    let file = written(&desk.folder(), "msmtprc", &text);
    desk.sends(
        Command::new("msmtp")
            .arg(format!("--file={}", file.display()))
            .arg(ADDRESS),
    )
}

fn mutt(program: &str, desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let text = format!(
        "set smtp_url=smtp://{USER}@127.0.0.1:{}/\nset smtp_pass={PASSWORD}\nset from={ADDRESS}\n\
         set use_from=yes\nset record=\n{}\n",
        desk.port("smtp"),
        lines.join("\n")
    );
    let file = written(&folder, "muttrc", &text);
    desk.sends(
        Command::new(program)
            .env("HOME", &folder)
            .args(["-n", "-F"])
            .arg(file)
            .args(["-s", SUBJECT, ADDRESS]),
    )
}

fn s_nail(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let text = format!(
        "{}\nset from={ADDRESS}\nset mta=smtp://{USER}:{PASSWORD}@127.0.0.1:{}\nset sendwait\n",
        lines.join("\n"),
        desk.port("smtp")
    );
    let file = written(&folder, "mailrc", &text);
    desk.sends(
        Command::new("s-nail")
            .env("HOME", &folder)
            .env("MAILRC", file)
            .args(["-:u", "-s", SUBJECT, ADDRESS]),
    )
}

fn sendemail(desk: &Desk, _: &[String]) -> Try {
    desk.sends(
        Command::new("sendemail")
            .args(["-f", ADDRESS, "-t", ADDRESS, "-u", SUBJECT])
            .args(["-s", &format!("127.0.0.1:{}", desk.port("smtp"))])
            .args(["-xu", USER, "-xp", PASSWORD]),
    )
}

fn swaks(desk: &Desk, _: &[String]) -> Try {
    desk.sends(
        Command::new("swaks")
            .args([
                "--server",
                "127.0.0.1",
                "--port",
                &desk.port("smtp").to_string(),
            ])
            .args(["--auth", "--auth-user", USER, "--auth-password", PASSWORD])
            .args(["--from", ADDRESS, "--to", ADDRESS])
            .args(["--header", &format!("Subject: {SUBJECT}")]),
    )
}
