//! A table of rules, judged here and by libwrap itself.

mod rules;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use self::rules::{Row, random_rows, rows};
use super::judge::{FILES, Judgement, Name, Question, World, judge};
use super::lint;
use std::io;
use std::net::IpAddr;

/// Files that patterns name.
const PATTERNS: [(&str, &str); 5] = [
    ("/some", "9. 11.\n# 10.9.9.9\n10.1.2.0/24"),
    ("/all", "ALL EXCEPT 10.1.2.3\n"),
    ("/commas", "9.,10.1.2.3\n"),
    ("/nested", "9. /some\n"),
    ("/six", "2001:db8::1 .example"),
];

/// A world of these two files, where the client has this name.
struct Small {
    files: BTreeMap<String, Vec<u8>>,
    name: Name,
}

impl Small {
    fn new(allow: &str, deny: &str, name: &str) -> Small {
        let patterns = PATTERNS.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        let mut files = BTreeMap::from(patterns);
        for (text, (path, _)) in [allow, deny].iter().zip(FILES) {
            files.insert(path.to_owned(), text.as_bytes().to_vec());
        }
        let name = match name {
            "" => Name::Unknown,
            "?" => Name::Paranoid,
            name => Name::Known(name.to_owned()),
        };
        Small { files, name }
    }
}

impl World for Small {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        let text = self.files.get(file.to_str().unwrap());
        text.cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    fn name(&self, address: IpAddr) -> Name {
        // The server, 192.0.2.1, has one.
        match address == question("").server.ip() {
            true => Name::Known("server.example".to_owned()),
            false => self.name.clone(),
        }
    }
}

fn question(client: &str) -> Question {
    Question {
        daemon: "smtp".to_owned(),
        client: client.parse().unwrap_or([10, 1, 2, 3].into()),
        server: "192.0.2.1:465".parse().unwrap(),
    }
}

#[test]
fn rules_are_read_as_the_table_says() {
    for row in rows() {
        let world = Small::new(&row.allow, &row.deny, row.name);
        let judgement = judge(&question(row.client), &world);
        let told = format!(
            "{:?} {:?} {} {:?}",
            row.allow, row.deny, row.client, row.name
        );
        assert_eq!(
            judgement == Judgement::Permitted,
            row.passes,
            "{told}: {judgement:?}"
        );
    }
}

/// Asks the library: two files, address, name in hexadecimal a line; `1` or `0` a line.
const LIBRARY: &str = r#"
import ctypes, sys
try:
    wrap = ctypes.CDLL("libwrap.so.0")
except OSError:
    print("missing")
    sys.exit()
folder = sys.argv[1]
def table(symbol, text):
    path = folder + "/" + symbol
    with open(path, "wb") as file:
        file.write(text)
    kept.append(path.encode())
    ctypes.c_char_p.in_dll(wrap, symbol).value = kept[-1]
kept = []
for line in sys.stdin:
    allow, deny, address, name = (bytes.fromhex(part) for part in line[:-1].split(","))
    table("hosts_allow_table", allow)
    table("hosts_deny_table", deny)
    request = ctypes.create_string_buffer(1 << 16)
    none = ctypes.c_void_p(0)
    # daemon, user, client's name and address, server's name and address
    wrap.request_init(request, 2, b"smtp", 3, b"unknown", 4, name, 5, address,
        7, b"server.example", 8, b"192.0.2.1", none)
    print(int(wrap.hosts_access(request) != 0))
"#;

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn libwrap_itself_comes_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in PATTERNS {
        let text = text.replace("/some", &format!("{}/some", folder.path().display()));
        std::fs::write(folder.path().join(&path[1..]), text).unwrap();
    }
    let python = Command::new("python3")
        .arg("-c")
        .arg(LIBRARY)
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else {
        return crate::skips::say("python3 is not installed");
    };
    let mut asked = String::new();
    let all = || rows().into_iter().chain(random_rows());
    for row in all() {
        let name = match row.name {
            "" => "unknown",
            "?" => "paranoid",
            name => name,
        };
        let mut texts = [row.allow, row.deny];
        for (path, _) in PATTERNS {
            let there = format!(" {}{path}", folder.path().display());
            texts = texts.map(|text| text.replace(&format!(" {path}"), &there));
        }
        let [allow, deny] = texts.map(|text| hexadecimal(&text));
        let (client, name) = (hexadecimal(row.client), hexadecimal(name));
        asked += &format!("{allow},{deny},{client},{name}\n");
    }
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = python.wait_with_output().unwrap();
    let _ = writer.join();
    let said = String::from_utf8(output.stdout).unwrap();
    if said.trim() == "missing" {
        return crate::skips::say("libwrap.so.0 is not installed");
    }
    let answers: Vec<&str> = said.lines().collect();
    let rows: Vec<Row> = all().collect();
    assert_eq!(answers.len(), rows.len());
    for (row, answer) in rows.iter().zip(answers) {
        let told = format!(
            "{:?} {:?} {} {:?}",
            row.allow, row.deny, row.client, row.name
        );
        assert_eq!(answer == "1", row.passes, "libwrap: {told}");
    }
}

#[test]
fn what_is_not_served_refuses_and_says_what_to_do() {
    for (allow, deny, part) in [
        (
            "smtp: ALL: spawn (echo %a) &\n",
            "",
            "line 1: adit does not carry out `spawn`",
        ),
        ("smtp: ALL: twist /bin/echo 421\n", "", "`twist`"),
        ("smtp: ALL: aclexec true\n", "", "`aclexec`"),
        ("smtp: ALL: banners /etc/banners\n", "", "`banners`"),
        ("smtp: ALL: user nobody\n", "", "`user`"),
        (
            "smtp: @trusted\n",
            "",
            "asks for no netgroup, as `@trusted`",
        ),
        (
            "",
            "#\nsmtp: @bad\n",
            "/etc/hosts.deny, line 2: adit asks for no netgroup",
        ),
        ("smtp: KNOWN@ALL\n", "", "`KNOWN@ALL`"),
        ("", "smtp: bob@10.\n", "`ident = USERNAME`"),
        ("smtp: /loop\n", "", "too many files of patterns"),
        (
            "pop3: @trusted: spawn x\n",
            "smtp: ALL: nonsense\n",
            "`nonsense` is no option",
        ),
    ] {
        let mut world = Small::new(allow, deny, "");
        world
            .files
            .insert("/loop".to_owned(), b"/loop /loop".to_vec());
        match judge(&question("10.1.2.3"), &world) {
            Judgement::Undecided(why) => assert!(why.contains(part), "{allow}{deny}: {why}"),
            other => panic!("{allow}{deny}: {other:?}"),
        }
    }
    // Of no concern to this service.
    let world = Small::new(
        "pop3: ALL: spawn x\nsmtp: 9.: twist x\nsmtp: bob@9.\n",
        "",
        "",
    );
    assert_eq!(judge(&question("10.1.2.3"), &world), Judgement::Permitted);
}

#[test]
fn a_port_stands_for_the_service_that_clients_connect_to_there() {
    for (rule, passes) in [
        ("465: ALL\n", false),
        ("0465: ALL\n", false),
        ("465@192.0.2.1: 10.\n", false),
        ("46: ALL\n", true),
        ("ALL EXCEPT 465: ALL\n", true),
    ] {
        let judgement = judge(&question("10.1.2.3"), &Small::new("", rule, ""));
        assert_eq!(judgement == Judgement::Permitted, passes, "{rule}");
    }
}

/// Fails where a name is asked for.
struct Nameless(Small);

impl World for Nameless {
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        self.0.read(file)
    }

    fn name(&self, address: IpAddr) -> Name {
        panic!("the name of {address} is asked for");
    }
}

#[test]
fn a_name_is_asked_for_only_where_a_rule_needs_it() {
    let rules = "pop3: .example\nsmtp: 9. 10.0.0.0/9 10.1.2.4 10.*\nsmtp: KNOWN\n";
    let world = Nameless(Small::new("", rules, ""));
    let judgement = judge(&question("10.1.2.3"), &world);
    assert_eq!(
        judgement,
        Judgement::Refused("/etc/hosts.deny, line 2".to_owned())
    );
}

#[test]
fn what_does_not_do_what_it_seems_to_is_told() {
    let allow = "smtp: 10.1.0.0/8 0.0.0.0/0 10.0.0.0/8\nALL: ALL: spawn x\nno colon\nsmtp: [2001:db8::]/x\n\
        smtp: 10.1.2.3/255.255.255.255 @group\nALL: bob@ALL\n# fine\nsmtp: .example LOCAL [::1]/128: ALLOW\n";
    let remarks = lint::remarks_of(&Small::new(allow, "pop3: 9.", ""));
    let told: Vec<String> = remarks
        .iter()
        .map(|remark| format!("{}: {} ({})", remark.place, remark.text, remark.help))
        .collect();
    let expected = [
        "/etc/hosts.allow:1: `10.1.0.0/8` matches no address: it has bits behind its prefix (as 10.0.0.0/8)",
        "/etc/hosts.allow:1: `0.0.0.0/0` matches no address (`ALL` is every client",
        "/etc/hosts.allow:2: a client that this line matches is refused: adit does not carry out `spawn`",
        "/etc/hosts.allow:3: this line has no colon: it is ignored",
        "/etc/hosts.allow:4: `[2001:db8::]/x` matches every IPv6 address",
        "/etc/hosts.allow:5: `10.1.2.3/255.255.255.255` matches no address (an address alone has no mask",
        "/etc/hosts.allow:5: `@group`: adit asks for no netgroup",
        "/etc/hosts.allow:6: `bob@ALL`: adit asks for no user",
        "/etc/hosts.deny:1: no newline ends this line, or it is too long: it refuses every client",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}
