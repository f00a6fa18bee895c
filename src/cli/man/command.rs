//! adit(8).

use super::roff::Page;
use crate::cli::commands::{COMMANDS, CommandDef};
use crate::helper::Kind;

/// The page's source.
pub(super) fn page(date: &str) -> String {
    let mut page = Page::new("adit", 8, date, "System Administration");
    page.name("adit", "TLS relay that reads stunnel.conf");
    page.section("Synopsis");
    for (n, command) in COMMANDS.iter().enumerate() {
        let line = format!("`{}` {}", full_name(command), command.arguments);
        match n {
            0 => page.text(&line),
            _ => page.break_text(&line),
        }
    }
    page.section("Description");
    page.text(
        "adit listens on plain or TLS ports and carries each connection to its destination with \
         TLS added (client mode) or taken off (server mode). So a mail program without TLS, or with TLS that is no longer accepted, reaches a modern mail server, by STARTTLS where the port requires it. Its configuration is a stunnel.conf; adit.conf(5) describes it.",
    );
    commands(&mut page);
    processes(&mut page);
    pass_phrases(&mut page);
    signals(&mut page);
    old_tls(&mut page);
    super::mail_programs::section(&mut page);
    files(&mut page);
    examples(&mut page);
    page.section("See also");
    page.text("adit.conf(5), stunnel(8), systemd.service(5)");
    page.finish()
}

fn full_name(command: &CommandDef) -> String {
    format!("adit {}", command.name).trim_end().to_owned()
}

fn commands(page: &mut Page) {
    page.section("Commands");
    for command in COMMANDS {
        let tag = format!("`{}` {}", full_name(command), command.arguments);
        page.tagged(
            tag.trim_end(),
            &format!("{}. {}", capitalised(command.summary), command.details),
        );
        match command.name {
            "status" => columns(page),
            "audit" => super::audit::fields(page),
            _ => {}
        }
        if !command.flags.is_empty() {
            page.indent();
            for flag in command.flags {
                let tag = format!("`{}` {}", flag.name, flag.value);
                page.tagged(tag.trim_end(), &format!("{}.", capitalised(flag.doc)));
            }
            page.outdent();
        }
    }
    page.paragraph(
        "Every option of the configuration can be a flag of the commands that take a FILE (`--debug 7`), or an environment variable (`ADIT_DEBUG=7`). Flags override variables, and both override the file.",
    );
    page.section("Exit status");
    page.text(
        "0: success. 1: failure, with the reason on standard error. 2: the command line is wrong.",
    );
}

/// What the columns of `adit status` count.
fn columns(page: &mut Page) {
    page.indent();
    for (name, text) in [
        ("active", "Connections that are open now."),
        (
            "claimed",
            "How many connections the process has taken over from the master.",
        ),
        (
            "starts",
            "How often the worker was started: 1, and one more for each time that it died.",
        ),
        (
            "new, resumed",
            "TLS handshakes in full, and those that resumed an earlier session, which cost far less. With `acceptTLS` a connection has one on each side.",
        ),
        (
            "failed",
            "Handshakes, and dialogues before them, that failed; the log says why.",
        ),
        (
            "refused",
            "Clients that were refused by their address, of those accepted.",
        ),
        (
            "want of memory",
            "A line for each service with unfinished handshakes that were ended, or connections that were not taken, since there was no memory for them.",
        ),
        (
            "OCSP",
            "A line for each certificate that names a responder: what is stapled to it, until when that counts, and how often the responder was asked in vain since.",
        ),
        (
            "no upstream",
            "Connections for which no address of `connect` could be reached.",
        ),
        (
            "to back, to front",
            "Bytes of payload to the address of `connect`, and back to the client.",
        ),
    ] {
        page.tagged(name, text);
    }
    page.outdent();
}

pub(in crate::cli) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn processes(page: &mut Page) {
    page.section("Processes");
    for (name, text) in [
        (
            "supervisor",
            "Stays root, reads the configuration's text, binds the ports, and then only waits. It \
             holds no private key and never reads from the network. It is the process in the pid \
             file.",
        ),
        (
            "master",
            "Loads certificates and keys as root, then enters the jail (`chroot`, `setuid`, \
             `setgid`), gives up every capability, proves it, and accepts connections.",
        ),
        (
            "spare",
            "A copy of the master, jailed and idle, without a listener. If the master dies it starts \
             another from memory: no file is read, and no name asked. Where it cannot be made, the \
             log and `adit status` say so, and a dead master has everything read again.",
        ),
        (
            "worker",
            "Carries connections, in the same jail and in a sandbox. One that dies is replaced; \
             only its own connections end.",
        ),
    ] {
        page.tagged(&format!("`{name}`"), text);
    }
    for kind in Kind::ALL {
        page.tagged(&format!("`{kind}`"), kind.purpose());
    }
    page.paragraph(
        "adit needs Linux 4.18 or later. The sandbox is seccomp(2) and, since Linux 5.13, landlock(7); if one of them is missing, the log and `adit status` say so. Before 5.1, a reload that changes the address of a service but not its port may reset a connection that arrives at that moment.",
    );
}

fn pass_phrases(page: &mut Page) {
    page.section("Pass phrases");
    page.text(
        "adit asks on the terminal for the pass phrase of a key in PKCS#12 or encrypted PEM, up to three times, before it leaves the terminal; it tries each answer with every such file. Without a terminal, as under systemd, name a file with the pass phrase in `keyPasswordFile`.",
    );
    page.paragraph(
        "The supervisor keeps the pass phrases in memory that is never swapped and in no core dump, and hands them to each new master, which wipes them once its keys are open. So a reload, the replacement of a dead master, and a new binary need no one at the terminal. A pass phrase that has changed is an \
         error at a reload, and the running configuration stays in force.",
    );
}

fn signals(page: &mut Page) {
    page.section("Signals");
    page.text("To the supervisor:");
    for (name, text) in [
        (
            "HUP",
            "Reload. The new configuration is read and everything it names is loaded before \
             anything changes. If anything is wrong, the log says what, and the running configuration stays in force. Otherwise a new generation of processes takes over the ports, \
             and the connections of the old one live on until they end, or until `drainTimeout`. \
             Every option may change.",
        ),
        ("USR1", "Open the log file again."),
        ("USR2", "Write the list of connections to the log."),
        (
            "TERM, INT, QUIT",
            "Stop; connections have until `drainTimeout` to end. A second signal cuts them.",
        ),
    ] {
        page.tagged(&format!("`{name}`"), text);
    }
}

/// How a program with old TLS is served, in steps.
fn old_tls(page: &mut Page) {
    page.section("Programs with old TLS");
    page.text(
        "`adit listen-in` says what a program speaks and prints the service that suits it. `adit ca --file old.pem --name NAME` makes its certificate, where NAME is exactly what stands in the program's settings: \
         old Windows looks at the first name alone. `adit ca show --serve 8080` gives the authority's certificate to a browser on that machine, since the program must trust it. adit.conf(5) has the rules under \
         \"Old TLS\", /usr/share/doc/adit/old-programs.md the steps, and what to do for servers with old TLS.",
    );
}

fn files(page: &mut Page) {
    page.section("Files");
    for (name, text) in [
        ("/etc/adit/adit.conf", "The configuration."),
        (
            "/etc/adit/conf.d",
            "Services in separate files, those of `adit add` among them, if the configuration includes them.",
        ),
        (
            "/etc/adit/ca",
            "What `adit ca` makes: the authority, and `server.pem` and others for `acceptCert`.",
        ),
        ("/var/lib/adit", "The jail: empty except for the pid file."),
        (
            "/run/adit/etc-adit-adit.sock",
            "The control socket for `adit status`, `adit reload` and `adit stop`, unless `control` in adit.conf(5) names another.",
        ),
        (
            "/var/log/adit",
            "For log files, if the configuration asks for one.",
        ),
    ] {
        page.tagged(&format!("`{name}`"), text);
    }
    page.section("Under systemd");
    page.text(
        "adit.service serves /etc/adit/adit.conf, adit@NAME.service /etc/adit/NAME.conf. Installing the package neither starts nor enables them, unless there already was a configuration other than the shipped one. They may write in /run, /var/lib/adit and /var/log/adit; `adit check` \
         warns when `output`, `pid` or `control` is elsewhere, and `systemctl edit adit` can allow \
         more.",
    );
    page.paragraph(
        "`systemctl reload` applies a changed configuration; if it is wrong, the reload fails without any effect. `systemctl restart` cuts every connection, and systemd would stop the running adit before it finds out that the new configuration is wrong. So adit-restart-check.service checks it first, and cancels the restart if the configuration is wrong: \"Job for adit.service canceled\"; the journal says what is wrong. `systemctl stop` followed by `systemctl start` is not prevented.",
    );
    page.section("In a container");
    page.text(
        "As process 1 adit stays in the foreground, and logs to standard error unless there is an `output`; `output = /dev/stdout` is the standard output that it was started with. `packaging/build container` makes an image, which runs as an ordinary user with every capability taken away, on a read-only root. There `chroot`, `setuid` and `setgid` are without effect, which one line of the log tells; the sandbox is as elsewhere, and the container is the jail.",
    );
    page.section("Environment");
    page.tagged(
        "`ADIT_*`",
        "Options as before the first section, such as `ADIT_DEBUG=7`. `ADIT_SERVICE_`NAME`_`OPTION is one of the section [NAME], which is added, behind those of the file and in small letters, if there is none: `ADIT_SERVICE_MAIL_ACCEPT=25`. In names, `_` in OPTION and case do not matter, and a `_` in NAME is any character that is no letter and no digit; the longest end that is an option counts. An option that may be repeated has a value a line. What Kubernetes sets for a Service called `adit` is left alone.",
    );
    page.tagged(
        "`SYSTEMD_EXEC_PID`, `INVOCATION_ID`",
        "Set by systemd: adit asks systemd for the type of its unit, and goes into the background only if that is `forking` or `oneshot`; otherwise it acts as if `foreground` were `quiet`. So stunnel's units serve a configuration without `foreground`.",
    );
    page.tagged(
        "`RUNTIME_DIRECTORY`, `XDG_RUNTIME_DIR`",
        "Folders for the control socket; see `control` in adit.conf(5).",
    );
    page.tagged(
        "`NOTIFY_SOCKET`, `WATCHDOG_USEC`",
        "Set by systemd: adit reports when it is ready, reloading or stopping, and feeds the watchdog from the supervisor's loop. See sd_notify(3).",
    );
}

fn examples(page: &mut Page) {
    page.section("Examples");
    page.text("See it work, on any machine:");
    page.example("adit demo");
    page.paragraph("An old mail program sends through port 1587 of this machine:");
    page.example(
        "adit relay --accept 127.0.0.1:1587 \\\n    --connect smtp.example.com:587 --protocol smtp",
    );
    page.paragraph("What does the old program on that machine speak?");
    page.example("adit listen-in --accept 1465");
    page.paragraph("A certificate for it, and its authority for the browser there:");
    page.example("adit ca --file old.pem --name mail.example.com\nadit ca show --serve 8080");
    page.paragraph("What would change for a stunnel configuration:");
    page.example(
        "adit check /etc/stunnel/stunnel.conf\nadit diff-stunnel /etc/stunnel/stunnel.conf",
    );
    page.paragraph("After changing the configuration:");
    page.example("adit check --strict && adit reload");
}
