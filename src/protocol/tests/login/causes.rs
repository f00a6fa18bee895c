//! What a login that fails is counted as, and the provider's own note in what the program is shown.

use super::{BOTH, run};
use crate::config::{DialogueOptions, MailProtocol};
use crate::incidents::{Cause, Diagnosis};
use crate::protocol::tests::Ev::{self, B, F};
use crate::protocol::{Fresh, login};

const EHLO: Ev = F("EHLO old\r\n");
const OFFER: Ev = B("250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n");
const GO: Ev = B("334 \r\n");

/// What the program hears, what is logged, and what is kept, of a login with that server.
fn tried(mail: MailProtocol, server: &str, events: &[Ev]) -> (String, String, Diagnosis) {
    let options = DialogueOptions::default();
    let dialogue = login(mail, false, &options, true, Some(server), Fresh::default());
    let (said, _) = run(dialogue, events, |n| n);
    let [kept] = said.failed.try_into().expect("one failure");
    (said.front, said.log.join("\n"), kept)
}

#[test]
fn a_refusal_is_told_with_the_providers_own_note() {
    let microsoft = "Microsoft 365";
    for (server, said, cause, note) in [
        (
            "smtp.office365.com",
            "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.\r\n",
            Cause::SmtpAuthOff,
            "the administrator can allow SMTP AUTH",
        ),
        (
            "smtp.office365.com",
            "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.\r\n",
            Cause::OauthOnly,
            microsoft,
        ),
        (
            "smtp.gmail.com",
            "534-5.7.9 Application-specific password required.\r\n534 5.7.9  https://x\r\n",
            Cause::AppPassword,
            "make an app password",
        ),
        (
            "securesmtp.t-online.de",
            "535 5.7.8 no\r\n",
            Cause::Password,
            "customer centre",
        ),
        (
            "mail.example",
            "534 5.7.14 Please log in via your web browser\r\n",
            Cause::AppPassword,
            "",
        ),
        (
            "smtp.gmail.com",
            "454 4.7.0 Temporary\r\n",
            Cause::LoginLater,
            "",
        ),
    ] {
        let coded = format!("AUTH PLAIN {BOTH}\r\n").leak();
        let (front, log, kept) = tried(
            MailProtocol::Smtp,
            server,
            &[EHLO, OFFER, F(coded), GO, B(said)],
        );
        assert_eq!(kept.cause, cause, "{said}");
        assert!(kept.reason.starts_with("SMTP: login failed"), "{kept:?}");
        assert!(!kept.remedy.is_empty(), "{said}");
        for told in [&front, &log, &kept.remedy.to_string()] {
            assert!(told.contains(note), "{note:?} in {told}");
        }
        let longest = front.lines().map(str::len).max();
        assert!(longest < Some(510), "{front}");
        if note.is_empty() {
            assert!(!front.contains("Gmail"), "{front}");
        }
    }
}

#[test]
fn a_program_with_another_login_is_told_which_box_to_untick() {
    for (mail, events, box_) in [
        (
            MailProtocol::Smtp,
            &[EHLO, OFFER, F("AUTH NTLM\r\n")][..],
            "switch off Secure Password Authentication",
        ),
        (
            MailProtocol::Smtp,
            &[EHLO, OFFER, F("AUTH CRAM-MD5\r\n")],
            "choose a normal password in the program",
        ),
        (
            MailProtocol::Pop3,
            &[F("APOP anna 0123456789abcdef0123456789abcdef\r\n")],
            "switch off APOP",
        ),
    ] {
        let (front, log, kept) = tried(mail, "mail.example", events);
        assert_eq!(kept.cause, Cause::ProgramLogin);
        for told in [&front, &log, &kept.remedy.to_string()] {
            assert!(told.contains(box_), "{told}");
        }
    }
}
