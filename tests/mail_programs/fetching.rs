//! Programs that fetch mail, or show what is there.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::desk::{Desk, NOBODY, Try, own_by_nobody, written};
use super::{From, Row};
use crate::support::mail::{PASSWORD, USER};

/// Each program, and how to run it.
pub const ROWS: &[Row] = &[
    ("aerc", From::Package("aerc"), aerc),
    ("Alpine", From::Package("alpine"), alpine),
    ("curl", From::Package("curl"), curl),
    ("fetchmail", From::Package("fetchmail"), |desk, lines| {
        fetchmail("pop3", desk, lines)
    }),
    ("fetchmail", From::Package("fetchmail"), |desk, lines| {
        fetchmail("imap", desk, lines)
    }),
    ("getmail", From::Package("getmail"), |desk, _| {
        getmail("IMAP", desk)
    }),
    ("getmail", From::Package("getmail"), |desk, _| {
        getmail("POP3", desk)
    }),
    ("imapfilter", From::Package("imapfilter"), imapfilter),
    ("mbsync (isync)", From::Package("mbsync"), mbsync),
    ("mpop", From::Package("mpop"), mpop),
    ("mutt", From::Package("mutt"), |desk, lines| {
        mutt("mutt", "imap", desk, lines)
    }),
    ("NeoMutt", From::Package("neomutt"), |desk, lines| {
        mutt("neomutt", "pop3", desk, lines)
    }),
    ("OfflineIMAP", From::Package("offlineimap"), offlineimap),
];

fn aerc(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let text = format!(
        "[a]\n{}\ndefault = INBOX\nfrom = anna@mail.test\n",
        lines.join("\n")
    );
    written(&folder, ".config/aerc/accounts.conf", &text);
    // Its screen is drawn by differences; if its output is a file, it writes a log there.
    let log = folder.join("log");
    let program = desk.shows(
        Command::new("sh")
            .args(["-c", "exec aerc > \"$0\""])
            .arg(&log)
            .env("HOME", &folder)
            .env_remove("XDG_CONFIG_HOME"),
        None,
    );
    program.logging_to(log)
}

fn alpine(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    // The last version used, so that it shows no greeting.
    let text = format!(
        "{}\nlast-version-used=7.99\nuser-domain=mail.test\n",
        lines.join("\n")
    );
    // It sleeps for seconds after creating this folder itself.
    std::fs::create_dir(folder.join("mail")).expect("mkdir");
    let file = written(&folder, "pinerc", &text);
    let program = desk.shows(
        Command::new("alpine")
            .env("HOME", &folder)
            .arg("-p")
            .arg(file)
            .arg("-i"),
        None,
    );
    match lines.iter().any(|line| line.contains("/tls")) {
        true => program,
        false => program
            .answering("PASSWORD", &format!("{PASSWORD}\r"))
            .answering("Preserve", "n"),
    }
}

fn curl(desk: &Desk, _: &[String]) -> Try {
    desk.fetches(
        Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--user",
                &format!("{USER}:{PASSWORD}"),
            ])
            .arg(format!(
                "imap://127.0.0.1:{}/INBOX;MAILINDEX=1",
                desk.port("imap")
            )),
        None,
    )
}

fn fetchmail(protocol: &str, desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let fetched = folder.join("fetched");
    let text = format!(
        "poll 127.0.0.1 service {} proto {protocol} user \"{USER}\" password \"{PASSWORD}\" {} \
         mda \"cat >> {}\"\n",
        desk.port(protocol),
        lines.join(" "),
        fetched.display()
    );
    let file = written(&folder, "fetchmailrc", &text);
    desk.fetches(
        Command::new("fetchmail")
            .env("HOME", &folder)
            .env("FETCHMAILHOME", &folder)
            .args(["--all", "--keep", "--nodetach", "--nosyslog", "--pidfile"])
            .arg(folder.join("pid"))
            .arg("-f")
            .arg(file),
        Some(&fetched),
    )
}

fn getmail(protocol: &str, desk: &Desk) -> Try {
    let folder = desk.folder();
    let mailbox = folder.join("mailbox");
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(mailbox.join(part)).expect("mkdir");
    }
    let text = format!(
        "[retriever]\ntype = Simple{protocol}Retriever\nserver = 127.0.0.1\nport = {}\n\
         username = {USER}\npassword = {PASSWORD}\n[destination]\ntype = Maildir\npath = {}/\n\
         [options]\ndelete = false\n",
        desk.port(&protocol.to_ascii_lowercase()),
        mailbox.display()
    );
    written(&folder, "getmailrc", &text);
    own_by_nobody(&folder);
    // It refuses to deliver as root.
    desk.fetches(
        Command::new("getmail")
            .env("HOME", &folder)
            .uid(NOBODY.0)
            .gid(NOBODY.1)
            .arg(format!("--getmaildir={}", folder.display())),
        Some(&mailbox),
    )
}

fn imapfilter(desk: &Desk, _: &[String]) -> Try {
    let folder = desk.folder();
    let text = format!(
        "a = IMAP {{ server = '127.0.0.1', port = {}, username = '{USER}', \
         password = '{PASSWORD}' }}\nprint(a.INBOX[1]:fetch_body())\n",
        desk.port("imap")
    );
    let file = written(&folder, "config.lua", &text);
    desk.fetches(
        Command::new("imapfilter")
            .env("HOME", &folder)
            .arg("-c")
            .arg(file),
        None,
    )
}

fn mbsync(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let near = folder.join("near");
    std::fs::create_dir(&near).expect("mkdir");
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let text = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser {USER}\nPass {PASSWORD}\n{lines}\n\
         IMAPStore far\nAccount a\n\nMaildirStore near\nInbox {near}/inbox\nPath {near}/\n\n\
         Channel c\nFar :far:\nNear :near:\nSyncState *\nCreate Near\n",
        desk.port("imap"),
        near = near.display()
    );
    let file = written(&folder, "mbsyncrc", &text);
    desk.fetches(
        Command::new("mbsync")
            .env("HOME", &folder)
            .arg("-c")
            .arg(file)
            .arg("c"),
        Some(&near),
    )
}

fn mpop(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let fetched = folder.join("fetched");
    let text = format!(
        "account default\nhost 127.0.0.1\nport {}\nuser {USER}\npassword {PASSWORD}\n\
         delivery mbox {}\nuidls_file {}\nkeep on\n{}\n",
        desk.port("pop3"),
        fetched.display(),
        folder.join("uidls").display(),
        lines.join("\n")
    );
    let file = written(&folder, "mpoprc", &text);
    desk.fetches(
        Command::new("mpop")
            .env("HOME", &folder)
            .arg(format!("--file={}", file.display())),
        Some(&fetched),
    )
}

fn mutt(program: &str, protocol: &str, desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let fetched = folder.join("fetched");
    let text = format!(
        "set imap_pass={PASSWORD}\nset pop_pass={PASSWORD}\nset folder={}\n\
         set confirmappend=no\nset confirmcreate=no\nset delete=no\n{}\n",
        folder.display(),
        lines.join("\n")
    );
    let file = written(&folder, "muttrc", &text);
    let scheme = match protocol {
        "pop3" => "pop",
        other => other,
    };
    let copy = format!("push \"<copy-message>{}<enter><exit>\"", fetched.display());
    desk.shows(
        Command::new(program)
            .env("HOME", &folder)
            .args(["-n", "-F"])
            .arg(file)
            .args(["-e", &copy, "-f"])
            .arg(format!(
                "{scheme}://{USER}@127.0.0.1:{}/",
                desk.port(protocol)
            )),
        Some(&fetched),
    )
}

fn offlineimap(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let near = folder.join("near");
    let text = format!(
        "[general]\naccounts = a\nmetadata = {}\n[Account a]\nlocalrepository = l\n\
         remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {}\n\
         [Repository r]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {}\n\
         remoteuser = {USER}\nremotepass = {PASSWORD}\n{}\n",
        folder.join("metadata").display(),
        near.display(),
        desk.port("imap"),
        lines.join("\n")
    );
    let file = written(&folder, "offlineimaprc", &text);
    desk.fetches(
        Command::new("offlineimap")
            .env("HOME", &folder)
            .arg("-c")
            .arg(file)
            .args(["-o", "-u", "basic"]),
        Some(&near),
    )
}
