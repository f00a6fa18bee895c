//! Mail servers and daemons that send through adit.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::{User, mkfifo};

use super::desk::{Desk, SUBJECT, Try, written};
use super::{From, Row};
use crate::support::dialogue::{Lines, Seen};
use crate::support::mail::{PASSWORD, USER};
use crate::support::openssl::run;
use crate::support::peers::Server;
use crate::support::wait_for;

/// Each program, and how to run it.
pub const ROWS: &[Row] = &[
    (
        "Alertmanager",
        From::Unpacked("prometheus-alertmanager"),
        |desk, lines| alertmanager(desk, &format!("127.0.0.1:{}", desk.port("smtp")), lines),
    ),
    (
        "programs written in Go",
        From::Unpacked("prometheus-alertmanager"),
        in_go,
    ),
    ("dma", From::Unpacked("dma"), dma),
    ("Exim", From::Unpacked("exim4"), exim),
    ("nullmailer", From::Unpacked("nullmailer-send"), nullmailer),
    (
        "Postfix, sending through a provider",
        From::Package("postfix"),
        postfix,
    ),
    ("sSMTP", From::Unpacked("ssmtp"), ssmtp),
];

const ADDRESS: &str = "anna@mail.test";

fn user(name: &str) -> (u32, u32) {
    let user = User::from_name(name).expect("asking for a user");
    let user = user.unwrap_or_else(|| panic!("no user {name}"));
    (user.uid.as_raw(), user.gid.as_raw())
}

fn in_go(desk: &Desk, lines: &[String]) -> Try {
    let server = &lines[0];
    let server = match server.contains(':') {
        true => server.clone(),
        false => format!("{server}:{}", desk.port("smtp")),
    };
    alertmanager(desk, &server, &["smtp_require_tls: false".to_owned()])
}

fn alertmanager(desk: &Desk, server: &str, lines: &[String]) -> Try {
    let own = desk.own();
    let text = format!(
        "global:\n  smtp_smarthost: '{server}'\n  smtp_from: {ADDRESS}\n  \
         smtp_auth_username: {USER}\n  smtp_auth_password: {PASSWORD}\n  {}\n\
         route:\n  receiver: r\n  group_wait: 0s\n\
         receivers:\n- name: r\n  email_configs:\n  - to: {ADDRESS}\n",
        lines.join("\n  ")
    );
    let file = written(own.folder(), "alertmanager.yml", &text);
    let program = desk.sends(
        own.command(&["prometheus-alertmanager", "--cluster.listen-address="])
            .arg("--web.listen-address=127.0.0.1:0")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.path={}",
                own.folder().join("data").display()
            )),
    );
    let port = wait_for("Alertmanager's port", || {
        let said = program.said();
        let line = said.lines().find(|line| line.contains("Listening on"))?;
        line.rsplit(':').next()?.trim().parse::<u16>().ok()
    });
    run(Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--json"])
        .arg(format!(r#"[{{"labels": {{"alertname": "{SUBJECT}"}}}}]"#))
        .arg(format!("http://127.0.0.1:{port}/api/v2/alerts")));
    program.within(own)
}

fn dma(desk: &Desk, lines: &[String]) -> Try {
    dma_at(desk, desk.port("smtp"), lines)
}

fn dma_at(desk: &Desk, port: u16, lines: &[String]) -> Try {
    let own = desk.own();
    own.etc("mailname", "client.test\n");
    own.etc("dma/auth.conf", &format!("{USER}|127.0.0.1:{PASSWORD}\n"));
    own.etc(
        "dma/dma.conf",
        &format!(
            "SMARTHOST 127.0.0.1\nPORT {port}\nAUTHPATH /etc/dma/auth.conf\nMAILNAME client.test\n{}\n",
            lines.join("\n")
        ),
    );
    own.spool("dma", user("mail"));
    let mut command = own.command(&["dma", "-D", "-f", ADDRESS, ADDRESS]);
    desk.sends(&mut command).within(own)
}

/// What two programs say to a server that offers PLAIN alone, up to the end of the connection.
pub fn said_where_plain_is_offered(desk: &Desk) -> [(&'static str, Vec<String>); 2] {
    ["dma", "ssmtp"].map(|program| {
        let seen = Seen::default();
        let server = offering_plain_alone(seen.clone());
        let attempt = match program {
            "dma" => dma_at(desk, server.address.port(), &["INSECURE".to_owned()]),
            _ => ssmtp_at(desk, server.address.port()),
        };
        wait_for(&format!("{program}'s end"), || {
            seen.contains(END).then_some(())
        });
        drop(attempt);
        (program, seen.all())
    })
}

const END: &str = "(the end)";

fn offering_plain_alone(seen: Seen) -> Server {
    Server::start(move |stream| {
        let mut lines = Lines(stream);
        lines.send("220 mail.test\r\n");
        while let Some(line) = lines.line() {
            lines.send(match line.split(' ').next() {
                Some("EHLO") => "250-mail.test\r\n250 AUTH PLAIN\r\n",
                Some("QUIT") => "221 bye\r\n",
                _ => "504 no such mechanism\r\n",
            });
            seen.note(line);
        }
        seen.note(END);
    })
}

/// As in Debian's package, but with files of its own.
const EXIM: &str = "primary_hostname = client.test
log_file_path = FOLDER/spool/exim4/%slog
keep_environment =
begin routers
adit:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  transport = adit
  ROUTER
begin transports
adit:
  driver = smtp
  port = PORT
  hosts_require_auth = 127.0.0.1
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^NAME^PASSWORD
";

fn exim(desk: &Desk, lines: &[String]) -> Try {
    let own = desk.own();
    // The user that the package would have created.
    let (uid, gid) = user("nobody");
    for (file, line) in [
        (
            "passwd",
            format!("Debian-exim:x:{uid}:{gid}::/:/usr/sbin/nologin\n"),
        ),
        ("group", format!("Debian-exim:x:{gid}:\n")),
    ] {
        let system = fs::read_to_string(Path::new("/etc").join(file)).expect("users");
        own.etc(file, &(system + &line));
    }
    let spool = own.spool("exim4", (uid, gid));
    let text = EXIM
        .replace("FOLDER", &own.folder().display().to_string())
        .replace("ROUTER", &lines.join("\n  "))
        .replace("PORT", &desk.port("smtp").to_string())
        .replace("NAME", USER)
        .replace("PASSWORD", PASSWORD);
    own.etc("exim.conf", &text);
    let file = own.folder().join("etc/exim.conf");
    let file = file.to_str().expect("a path in UTF-8");
    let mut command = own.command(&["exim4", "-C", file, "-odi", "-f", ADDRESS, ADDRESS]);
    desk.sends(&mut command)
        .within(own)
        .logging_to(spool.join("mainlog"))
}

fn nullmailer(desk: &Desk, _: &[String]) -> Try {
    let own = desk.own();
    let mail_user = user("mail");
    own.etc("mailname", "client.test\n");
    own.etc(
        "nullmailer/remotes",
        &format!(
            "127.0.0.1 smtp --port={} --user={USER} --pass={PASSWORD}\n",
            desk.port("smtp")
        ),
    );
    for part in ["queue", "tmp", "failed"] {
        own.spool(&format!("nullmailer/{part}"), mail_user);
    }
    let spool = own.spool("nullmailer", mail_user);
    let trigger = spool.join("trigger");
    mkfifo(&trigger, Mode::from_bits_truncate(0o600)).expect("a fifo");
    std::os::unix::fs::chown(&trigger, Some(mail_user.0), Some(mail_user.1)).expect("chown");
    let script = format!("nullmailer-inject -f {ADDRESS} {ADDRESS} && exec nullmailer-send");
    let mut command = own.command(&["sh", "-ec", &script]);
    desk.sends(&mut command).within(own)
}

fn ssmtp(desk: &Desk, _: &[String]) -> Try {
    ssmtp_at(desk, desk.port("smtp"))
}

fn ssmtp_at(desk: &Desk, port: u16) -> Try {
    let own = desk.own();
    let text = format!(
        "mailhub=127.0.0.1:{port}\nAuthUser={USER}\nAuthPass={PASSWORD}\nFromLineOverride=YES\n\
         hostname=client.test\n"
    );
    own.etc("ssmtp/ssmtp.conf", &text);
    let mut command = own.command(&["ssmtp", &format!("-f{ADDRESS}"), ADDRESS]);
    desk.sends(&mut command).within(own)
}

/// It listens nowhere; mail comes from sendmail(1) and leaves through adit.
const POSTFIX_MASTER: &str = "postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
";

fn postfix(desk: &Desk, lines: &[String]) -> Try {
    let folder = desk.folder();
    let config = folder.join("postfix");
    for part in ["postfix", "spool", "data"] {
        fs::create_dir(folder.join(part)).expect("mkdir");
    }
    let (uid, gid) = user("postfix");
    std::os::unix::fs::chown(folder.join("data"), Some(uid), Some(gid)).expect("chown");
    let text = format!(
        "compatibility_level = 3.6\nqueue_directory = {folder}/spool\n\
         data_directory = {folder}/data\ncommand_directory = /usr/sbin\n\
         daemon_directory = /usr/lib/postfix/sbin\nmail_owner = postfix\n\
         setgid_group = postdrop\nmaillog_file_prefixes = {folder}\nmaillog_file = {folder}/log\n\
         myhostname = client.test\nmydestination =\nalias_maps =\nalias_database =\n\
         inet_protocols = ipv4\nrelayhost = [127.0.0.1]:{port}\nsmtp_sasl_auth_enable = yes\n\
         smtp_sasl_password_maps = inline:{{[127.0.0.1]:{port}={USER}:{PASSWORD}}}\n{lines}\n",
        folder = folder.display(),
        port = desk.port("smtp"),
        lines = lines.join("\n")
    );
    for (name, text) in [
        ("main.cf", text.as_str()),
        ("master.cf", POSTFIX_MASTER),
        // postfix complains if it is missing.
        ("dynamicmaps.cf", ""),
    ] {
        fs::write(config.join(name), text).expect("writing");
    }
    let daemon = Command::new("/usr/sbin/postfix")
        .arg("-c")
        .arg(&config)
        .arg("start-fg")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starting postfix");
    let pickup = folder.join("spool/public/pickup");
    wait_for("postfix's queue", || pickup.exists().then_some(()));
    desk.sends(
        Command::new("/usr/sbin/sendmail")
            .arg("-C")
            .arg(&config)
            .args(["-f", ADDRESS, ADDRESS]),
    )
    .logging_to(folder.join("log"))
    .beside("postfix", daemon)
}
