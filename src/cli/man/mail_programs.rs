//! The settings that each mail program needs to work through adit: one table, from which the manual and
//! `docs/mail-programs.md` are made, and which the tests try with the real programs.

use super::command::capitalised;
use super::roff::Page;

/// A mail program, and the settings it needs besides the server `127.0.0.1`, the port, the user name
/// and the password, which are written `PORT`, `NAME` and `PASSWORD`.
#[derive(Debug)]
pub struct MailProgram {
    /// The name its users know.
    pub name: &'static str,
    /// The version last tested; empty for a program that no test runs.
    pub version: &'static str,
    /// Where the settings belong: `in` a file or a dialog.
    pub place: &'static str,
    /// The lines to write; empty if it needs none.
    pub settings: &'static [&'static str],
    /// The lines with which it fails; empty if it fails with its defaults.
    pub instead: &'static [&'static str],
    /// Why it needs them.
    pub why: &'static str,
    /// What it reports when it fails: one of these.
    pub messages: &'static [&'static str],
}

/// A program that works with its defaults.
const fn needs_nothing(name: &'static str, version: &'static str) -> MailProgram {
    MailProgram {
        name,
        version,
        place: "",
        settings: &[],
        instead: &[],
        why: "",
        messages: &[],
    }
}

/// The table.
pub static MAIL_PROGRAMS: &[MailProgram] = &[
    MailProgram {
        name: "aerc",
        version: "0.14.0",
        place: "in accounts.conf",
        settings: &["source = imap+insecure://NAME:PASSWORD@127.0.0.1:PORT"],
        instead: &["source = imap://NAME:PASSWORD@127.0.0.1:PORT"],
        why: "`imap://` means STARTTLS to it; for sending, `smtp://` is right",
        messages: &["TLS is already active"],
    },
    MailProgram {
        name: "Alertmanager",
        version: "0.25.0",
        place: "in alertmanager.yml",
        settings: &["smtp_require_tls: false"],
        instead: &[],
        why: "it asks for STARTTLS by default",
        messages: &["does not advertise the STARTTLS extension"],
    },
    MailProgram {
        name: "Alpine",
        version: "2.26",
        place: "in .pinerc",
        settings: &["inbox-path={127.0.0.1:PORT/user=NAME}INBOX"],
        instead: &["inbox-path={127.0.0.1:PORT/tls/user=NAME}INBOX"],
        why: "without `/tls`, `/ssl` or `/secure`; its `SECURITY PROBLEM: insecure server \
              advertised AUTH=PLAIN` is about the connection to adit and does no harm",
        messages: &["Unable to negotiate TLS with this server"],
    },
    needs_nothing("curl", "7.88.1"),
    MailProgram {
        name: "dma",
        version: "0.13",
        place: "in /etc/dma/dma.conf",
        settings: &["INSECURE"],
        instead: &[],
        why: "it sends no password over a plain connection unless told so",
        messages: &["non-encrypted SMTP login is disabled in config, so skipping it"],
    },
    needs_nothing("esmtp", "1.2"),
    MailProgram {
        name: "Exim",
        version: "4.96",
        place: "in the router",
        settings: &["self = send"],
        instead: &[],
        why: "it regards 127.0.0.1 as itself; `allow_localhost` in the transport does not help, \
              as the router looks first",
        messages: &["remote host address is the local host"],
    },
    MailProgram {
        name: "fetchmail",
        version: "6.4.37",
        place: "in .fetchmailrc",
        settings: &["sslproto ''"],
        instead: &[],
        why: "it asks for STARTTLS by itself, even where the server does not offer it",
        messages: &["upgrade to TLS failed"],
    },
    needs_nothing("getmail", "6.18.11"),
    MailProgram {
        name: "programs written in Go",
        version: "0.25.0 of Alertmanager",
        place: "as the server's address",
        settings: &["127.0.0.1"],
        instead: &["ADDRESS"],
        why: "Go's net/smtp gives a password over a plain connection only to `127.0.0.1`, `::1` \
              or `localhost`, so adit must run on the same machine",
        messages: &["unencrypted connection"],
    },
    needs_nothing("imapfilter", "2.8.1"),
    MailProgram {
        name: "mbsync (isync)",
        version: "1.4.4",
        place: "in .mbsyncrc",
        settings: &["SSLType None"],
        instead: &[],
        why: "it wants STARTTLS by default; from version 1.5 on the option is `TLSType`",
        messages: &["SSL support not available"],
    },
    MailProgram {
        name: "mpop",
        version: "1.4.18",
        place: "in .mpoprc",
        settings: &["auth user"],
        instead: &["auth on"],
        why: "`auth on`, its default, refuses a plain password without TLS",
        messages: &["cannot use a secure authentication method"],
    },
    MailProgram {
        name: "msmtp",
        version: "1.8.23",
        place: "in .msmtprc",
        settings: &["auth plain"],
        instead: &["auth on"],
        why: "`auth on` refuses a plain password without TLS",
        messages: &["cannot use a secure authentication method"],
    },
    MailProgram {
        name: "mutt",
        version: "2.2.12",
        place: "in .muttrc",
        settings: &["set ssl_force_tls = no"],
        instead: &[],
        why: "from version 2 on it insists on STARTTLS",
        messages: &["Encrypted connection unavailable", "TLS already active"],
    },
    MailProgram {
        name: "NeoMutt",
        version: "20220429",
        place: "in .neomuttrc",
        settings: &["set ssl_force_tls = no"],
        instead: &[],
        why: "it insists on STARTTLS",
        messages: &["Encrypted connection unavailable", "TLS already active"],
    },
    needs_nothing("nullmailer", "2.2"),
    MailProgram {
        name: "OfflineIMAP",
        version: "8.0.0 (Debian's git20211018)",
        place: "in the remote repository of .offlineimaprc",
        settings: &["ssl = no"],
        instead: &["starttls = no"],
        why: "it speaks TLS from the first byte by default; `starttls = no` alone leaves that on",
        messages: &["No CA certificates"],
    },
    MailProgram {
        name: "Outlook Express, Windows Mail",
        version: "",
        place: "in Tools, Accounts, Properties, Advanced",
        settings: &["\"This server requires a secure connection (SSL)\": off, for both servers"],
        instead: &[],
        why: "adit speaks TLS for it; on the page Servers, \"My server requires authentication\" \
              is on and \"Secure Password Authentication\" off",
        messages: &[],
    },
    MailProgram {
        name: "Postfix, sending through a provider",
        version: "3.7.11",
        place: "in main.cf",
        settings: &["smtp_sasl_security_options = noanonymous"],
        instead: &[],
        why: "its default forbids plain passwords without TLS; \
              `smtp_tls_security_level` stays empty or `may`",
        messages: &["no mechanism available"],
    },
    MailProgram {
        name: "s-nail (mailx)",
        version: "14.9.24",
        place: "in .mailrc",
        settings: &["set v15-compat=yes"],
        instead: &[],
        why: "it takes `mta=smtp://NAME:PASSWORD@127.0.0.1:PORT` only so; no \
              `smtp-use-starttls`",
        messages: &["New-style URL used without *v15-compat* being set"],
    },
    needs_nothing("sendEmail", "1.56"),
    needs_nothing("sSMTP", "2.64"),
    needs_nothing("swaks", "20201014.0"),
    MailProgram {
        name: "Thunderbird",
        version: "",
        place: "in Account Settings, both servers",
        settings: &[
            "Connection security: None",
            "Authentication method: Password, transmitted insecurely",
        ],
        instead: &[],
        why: "\"insecurely\" only concerns the way to adit; from there on it is TLS",
        messages: &[],
    },
];

/// What two of them demand of the provider.
const LOGIN: &str = "dma and sSMTP log in by AUTH LOGIN or CRAM-MD5, never by PLAIN, so they cannot log in where a provider offers PLAIN alone.";

/// What two of them make of a mechanism that is bound to TLS.
const BOUND: &str = "Where a provider offers SCRAM-SHA-256-PLUS, as one with Cyrus may, mutt and NeoMutt pick it and fail, as it is bound to TLS, which they do not have here: by POP3 they fetch nothing. `login = translate` in the service helps: adit then offers them what they can do. Seen with Cyrus 3.6.1.";

/// The section of the manual.
pub(super) fn section(page: &mut Page) {
    page.section("Mail programs");
    page.text(
        "In the mail program, set the server to `127.0.0.1` with the port of `accept`, and turn encryption off: for the program, adit is a server without TLS. Write `127.0.0.1`, not `localhost`: sendEmail and swaks try only `::1` of that name. User name and password stay those of the provider. Some programs refuse to send a password without encryption, or insist on STARTTLS although the server does not offer it. They need one more setting:",
    );
    for program in MAIL_PROGRAMS.iter().filter(|p| !p.settings.is_empty()) {
        page.tagged(&format!("`{}`", program.name), &described(program));
    }
    page.paragraph(&format!(
        "These need no other setting: {}.",
        without_settings()
    ));
    page.paragraph(LOGIN);
    page.paragraph(BOUND);
    page.paragraph(
        "LDAP programs that connect by TLS to a server service of adit must name the host as the certificate does, not `ldaps://localhost`: libldap replaces that by the machine's own name.",
    );
    page.subsection("Mail servers behind adit");
    page.text(
        "In server mode the mail server sees adit's address, not the client's. If that address may relay, `every client of adit may send mail to anyone`: postfix has 127.0.0.0/8 in `mynetworks` by default, and Exim's `relay_from_hosts` has 127.0.0.1. Remove it there, so that only authenticated users may relay.",
    );
}

/// A program's needs, in sentences.
fn described(program: &MailProgram) -> String {
    let settings: Vec<String> = program.settings.iter().map(|s| format!("`{s}`")).collect();
    let mut text = format!(
        "{} {}. {}.",
        settings.join(" and "),
        program.place,
        capitalised(program.why)
    );
    if !program.messages.is_empty() {
        text.push_str(&format!(
            " Without it: `{}`.",
            program.messages.join("` or `")
        ));
    }
    match program.version {
        "" => text.push_str(" No test runs it."),
        version => text.push_str(&format!(" Tested with {version}.")),
    }
    text
}

fn without_settings() -> String {
    let names: Vec<String> = MAIL_PROGRAMS
        .iter()
        .filter(|program| program.settings.is_empty())
        .map(|program| format!("{} {}", program.name, program.version))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/mail-programs.md`: the same table for a reader without the program.
    fn document() -> String {
        let mut text = DOCUMENT.to_owned();
        for program in MAIL_PROGRAMS.iter().filter(|p| !p.settings.is_empty()) {
            let settings: Vec<String> = program.settings.iter().map(|s| format!("`{s}`")).collect();
            let messages: Vec<String> = program.messages.iter().map(|s| format!("`{s}`")).collect();
            let version = match program.version {
                "" => "not run",
                version => version,
            };
            text.push_str(&format!(
                "| {} | {} | {} | {} | {} | {version} |\n",
                program.name,
                program.place,
                settings.join("<br>"),
                program.why,
                messages.join("<br>"),
            ));
        }
        text.push_str(&format!(
            "\nThese need no other setting: {}.\n\n{LOGIN}\n\n{BOUND}\n",
            without_settings()
        ));
        text
    }

    const DOCUMENT: &str = "\
# The settings each mail program needs

In the mail program, set the server to `127.0.0.1` with the port of `accept`, and turn encryption off:
for the program, adit is a server without TLS. Write `127.0.0.1`, not `localhost`: sendEmail and swaks try
only `::1` of that name. User name and password stay those of the provider.

Some programs refuse to send a password without encryption, or insist on STARTTLS although the server
does not offer it. They need one more setting. `NAME`, `PASSWORD` and `PORT` stand for yours. The tests
run each program that Debian 12 has, in the version given, with this setting and, to see it fail,
without it.

| program | where | setting | why | without it | tested |
|---|---|---|---|---|---|
";

    #[test]
    fn the_document_is_made_of_the_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mail-programs.md");
        if std::env::var_os("WRITE_DOCS").is_some() {
            std::fs::write(file, document()).unwrap();
        }
        let stored = std::fs::read_to_string(file).unwrap_or_default();
        assert_eq!(
            stored,
            document(),
            "docs/mail-programs.md is not what the table says; WRITE_DOCS=1 with this test writes it"
        );
    }

    #[test]
    fn each_program_stands_once_and_what_can_fail_says_how() {
        for (n, program) in MAIL_PROGRAMS.iter().enumerate() {
            let next = MAIL_PROGRAMS.get(n + 1);
            let (name, next) = (program.name, next.map(|next| next.name));
            let sorted = next.is_none_or(|next| sort_key(name) < sort_key(next));
            assert!(sorted, "{name} and {next:?} are not in order");
            let tried = !program.version.is_empty();
            let fails = !program.settings.is_empty();
            assert_eq!(!program.messages.is_empty(), tried && fails, "{name}");
            assert_eq!(!program.why.is_empty(), fails, "{name}");
        }
    }

    fn sort_key(name: &str) -> String {
        name.trim_start_matches("programs written in ")
            .to_ascii_lowercase()
    }
}
