//! A table of rules, judged here and by libwrap itself.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

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

/// Rules of hosts.deny for 10.1.2.3 without a name, and whether they match.
const BY_ADDRESS: &[(&str, bool)] = &[
    ("", false),
    ("ALL: ALL\n", true),
    ("smtp: ALL\n", true),
    ("SMTP: all\n", true),
    ("pop3: ALL\n", false),
    ("pop3 smtp: ALL\n", true),
    ("pop3,smtp:ALL\n", true),
    ("\tsmtp\t:\t10.\t\n", true),
    ("sm*: ALL\n", true),
    ("s??p: ALL\n", true),
    ("*: ALL\n", true),
    (".tp: ALL\n", false),
    ("sm.: ALL\n", false),
    ("KNOWN: ALL\n", true),
    ("UNKNOWN: ALL\n", false),
    ("LOCAL: ALL\n", false),
    ("/all: ALL\n", false),
    ("ALL EXCEPT smtp: ALL\n", false),
    ("ALL EXCEPT pop3: ALL\n", true),
    ("EXCEPT smtp: ALL\n", false),
    ("smtp: 10.1.2.3\n", true),
    ("smtp: 10.1.2.4\n", false),
    ("smtp: 10.1.2.03\n", false),
    ("smtp: 10.\n", true),
    ("smtp: 10.1.\n", true),
    ("smtp: 10.1\n", false),
    ("smtp: 1.\n", false),
    ("smtp: 10.1.2.3.\n", false),
    ("smtp: .3\n", true),
    ("smtp: .\n", false),
    ("smtp: 10.1.*\n", true),
    ("smtp: 10.1.2.?\n", true),
    ("smtp: 1?.*3\n", true),
    ("smtp: 1*.\n", false),
    ("smtp: ?\n", false),
    ("smtp: **\n", true),
    ("smtp: 10.0.0.0/8\n", true),
    ("smtp: 10.1.0.0/8\n", false),
    ("smtp: 0.0.0.0/0\n", false),
    ("smtp: 0.0.0.0/00\n", false),
    ("smtp: 0.0.0.0/1\n", true),
    ("smtp: 0.0.0.0/0.0.0.0\n", true),
    ("smtp: 10.0.0.0/0.0.0.0\n", false),
    ("smtp: 10.0.0.0/255.0.0.0\n", true),
    ("smtp: 10.0.2.3/255.0.255.255\n", true),
    ("smtp: 10.1.2.3/255.0.255.255\n", false),
    ("smtp: 10.1.2.3/32\n", true),
    ("smtp: 10.1.2.3/33\n", false),
    ("smtp: 10.1.2.3/255.255.255.255\n", false),
    ("smtp: 10.1.2.2/31\n", true),
    ("smtp: 10.0.0.0/08\n", true),
    ("smtp: 10.0.0.0/+8\n", true),
    ("smtp: 10.0.0.0/8x\n", true),
    ("smtp: 10.0.0.0/8.\n", true),
    ("smtp: 10.0.0.0/8/8\n", true),
    ("smtp: 10.0.0.0/\n", false),
    ("smtp: 10.0.0.0/-1\n", false),
    ("smtp: 10.0.0.0/0x8\n", false),
    ("smtp: 10.0.0.0/255.0.0\n", false),
    ("smtp: 10.0.0.0/255.0.0.0x\n", false),
    ("smtp: 012.0.0.0/8\n", true),
    ("smtp: 0xa.0.0.0/8\n", true),
    ("smtp: 010.0.0.0/8\n", false),
    ("smtp: 10./8\n", false),
    ("smtp: 10/8\n", false),
    ("smtp: 10.1/16\n", false),
    ("smtp: 10.*/8\n", false),
    ("smtp: ALL/8\n", false),
    ("smtp: 10.0.0.256/8\n", false),
    ("smtp: [10.1.2.3]\n", false),
    ("smtp: [::ffff:10.1.2.3]\n", false),
    ("smtp: [::]/0\n", false),
    ("smtp: [::ffff:0:0]/96\n", false),
    ("smtp: ALL EXCEPT 10.1.2.3\n", false),
    ("smtp: ALL EXCEPT 10.1.2.4\n", true),
    ("smtp: ALL except 10.\n", false),
    ("smtp: ALL EXCEPT 10. EXCEPT 10.1.\n", true),
    ("smtp: ALL EXCEPT\n", true),
    ("smtp: EXCEPT 10.\n", false),
    ("smtp: 9. 10. EXCEPT 10.1.2.3 , 11.\n", false),
    ("smtp: KNOWN\n", false),
    ("smtp: UNKNOWN\n", true),
    ("smtp: unk*\n", true),
    ("smtp: *KNOWN\n", true),
    ("smtp: LOCAL\n", false),
    ("smtp: PARANOID\n", false),
    ("smtp: ALL@ALL\n", true),
    ("smtp: ALL@9.\n", false),
    ("smtp: bob@9.\n", false),
    ("smtp: bob@\n", false),
    ("smtp@ALL: ALL\n", true),
    ("smtp@192.0.2.1: ALL\n", true),
    ("smtp@192.0.2.: 10.\n", true),
    ("smtp@192.0.2.2: ALL\n", false),
    ("pop3@ALL: ALL\n", false),
    ("smtp@server.example: ALL\n", true),
    ("smtp@.example: ALL\n", true),
    ("smtp@KNOWN: ALL\n", true),
    ("smtp@: ALL\n", false),
    ("@smtp: ALL\n", false),
    ("smtp: /some\n", true),
    ("smtp: /all\n", true),
    ("smtp: /commas\n", false),
    ("smtp: /nested\n", true),
    ("smtp: /none\n", false),
    ("smtp: ALL EXCEPT /some\n", false),
    ("# x", true),
    ("ALL: ALL", true),
    ("pop3: ALL", true),
    ("pop3: ALL\n#", true),
    ("pop3: 9. \\\n", true),
    ("smtp: \\\n10.\n", true),
    ("smtp: 9. \\\n  10. \\\n", true),
    ("\\\n", false),
    ("pop3: ALL\n\\\n", false),
    ("#smtp: ALL\n", false),
    ("  # smtp: 10.\n", true),
    (" smtp: 10.\n", true),
    ("smtp: 10.1.2.3 # comment\n", true),
    ("smtp: 10.1.2.4 #10.1.2.3\n", false),
    ("smtp 10.1.2.3\n", false),
    ("smtp:\n", false),
    (":ALL\n", false),
    ("smtp : : allow\n", false),
    ("smtp: 10.\r\n", true),
    ("smtp: ,,ALL,\n", true),
    ("pop3: ALL\nsmtp: 9.\nsmtp: 10.\n", true),
    ("smtp: 10.: ALLOW\nALL: ALL\n", false),
];

/// The same for clients with a name: rule, name, whether it matches.
const BY_NAME: &[(&str, &str, bool)] = &[
    ("smtp: host.example\n", "host.example", true),
    ("smtp: HOST.Example\n", "host.example", true),
    ("smtp: example\n", "host.example", false),
    ("smtp: .example\n", "host.example", true),
    ("smtp: .EXAMPLE\n", "host.example", true),
    ("smtp: .host.example\n", "host.example", false),
    ("smtp: host.\n", "host.example", true),
    ("smtp: host.example.\n", "host.example", false),
    ("smtp: *.example\n", "host.example", true),
    ("smtp: h??t.*\n", "host.example", true),
    ("smtp: .*\n", "host.example", false),
    ("smtp: *.*\n", "", true),
    ("smtp: *.EXAMPLE\n", "host.example", true),
    ("smtp: KNOWN\n", "host.example", true),
    ("smtp: known\n", "host.example", true),
    ("smtp: UNKNOWN\n", "host.example", false),
    ("smtp: LOCAL\n", "host.example", false),
    ("smtp: LOCAL\n", "host", true),
    ("smtp: local\n", "host", true),
    ("smtp: PARANOID\n", "?", true),
    ("smtp: paranoid\n", "?", true),
    ("smtp: UNKNOWN\n", "?", false),
    ("smtp: KNOWN\n", "?", false),
    ("smtp: LOCAL\n", "?", false),
    ("smtp: host.example\n", "?", false),
    ("smtp: ALL EXCEPT .example\n", "host.example", false),
    ("smtp: host.example/8\n", "host.example", false),
    ("smtp: /six\n", "host.example", true),
];

/// And for 2001:db8::1.
const BY_IPV6: &[(&str, bool)] = &[
    ("smtp: [2001:db8::1]\n", true),
    ("smtp: [2001:DB8:0::1]\n", true),
    ("smtp: [2001:db8::2]\n", false),
    ("smtp: 2001:db8::1\n", false),
    ("smtp: [2001:db8::]/32\n", true),
    ("smtp: [2001:db8::5]/32\n", true),
    ("smtp: [2001:db9::]/32\n", false),
    ("smtp: [2001:db8::1]/128\n", true),
    ("smtp: [2001:db8::]/129\n", false),
    ("smtp: [2001:db8::]/-1\n", false),
    ("smtp: [2001:db8::]/+32\n", true),
    ("smtp: [2001:db8::]/032\n", true),
    ("smtp: [2001:db8::]/32x\n", true),
    ("smtp: [2001:db8::]/\n", true),
    ("smtp: [2001:db8::]/x\n", true),
    ("smtp: [2001:db8::]32\n", false),
    ("smtp: [2001:db8::1/32]\n", false),
    ("smtp: [2001:db8::1\n", false),
    ("smtp: 2001:db8::1]\n", false),
    ("smtp: [::]/0\n", true),
    ("smtp: [::]/1\n", true),
    ("smtp: [10.1.2.3]\n", false),
    ("smtp: []/8\n", false),
    ("smtp: [2001:db8:*]\n", false),
    ("smtp: *db8*\n", true),
    ("smtp: 2001*\n", true),
    ("smtp: 2001?db8??1\n", true),
    ("smtp: 0.0.0.0/0.0.0.0\n", false),
    ("smtp: /six\n", true),
    ("smtp: [2001:db8::1]:ALLOW\n", false),
    ("smtp: [2001:db8::]/32 EXCEPT [2001:db8::1]\n", false),
];

/// Options of a rule in hosts.allow, and whether it lets the client in.
const OPTIONS: &[(&str, bool)] = &[
    ("", false),
    (" ", false),
    ("allow", true),
    ("ALLOW", true),
    ("Allow ", true),
    ("deny", false),
    ("allow x", false),
    ("allow=", true),
    ("allow = x", false),
    ("allow : ", false),
    ("allow : severity info", false),
    ("deny : allow", false),
    ("severity info", true),
    ("severity=info", true),
    ("severity = info", true),
    ("severity == info", false),
    ("severity mail.info", true),
    ("severity MAIL.INFO", true),
    ("severity local7.emerg", true),
    ("severity cron.err : allow", true),
    ("severity mail.warning : deny", false),
    ("severity mail.warn", false),
    ("severity mail.7", false),
    ("severity mail.", false),
    ("severity .info", false),
    ("severity syslog.info", false),
    ("severity ftp.crit", false),
    ("severity bogus", false),
    ("severity", false),
    ("severity a\\:b", false),
    ("keepalive", true),
    ("keepalive 5", false),
    ("keepalive : allow", true),
    ("keepalive : foo", false),
    ("linger 5", true),
    ("linger", false),
    ("linger x", false),
    ("linger -3", false),
    ("linger 5x", false),
    ("rfc931", true),
    ("rfc931 5", true),
    ("rfc931 0", false),
    ("rfc931 x", false),
    ("umask 022", true),
    ("umask 9", false),
    ("umask 1777", false),
    ("umask -1", false),
    ("nice 0", true),
    ("nice x", false),
    ("nice 5 6", false),
    ("nice 5x", false),
    ("setenv A b", true),
    ("setenv A b\\:c : allow", true),
    ("setenv A", true),
    ("setenv A=b", false),
    ("setenv", false),
    ("foo", false),
    ("db8", false),
];

/// hosts.allow, hosts.deny, and whether 10.1.2.3 is let in.
const TWO_FILES: &[(&str, &str, bool)] = &[
    ("smtp: 10.\n", "ALL: ALL\n", true),
    ("smtp: 11.\n", "ALL: ALL\n", false),
    ("smtp: ALL", "ALL: ALL\n", false),
    ("smtp: 10.\n# x", "ALL: ALL\n", true),
    ("# x", "", true),
    ("smtp: 10.: DENY\nALL: ALL\n", "", false),
    ("ALL: ALL: ALLOW\n", "# x", true),
    (
        "ALL: .bad.example: DENY\nALL: ALL: ALLOW\n",
        "ALL: ALL\n",
        true,
    ),
];

/// One row: the two files, the client and its name, and whether it is let in.
struct Row {
    allow: String,
    deny: String,
    client: &'static str,
    name: &'static str,
    passes: bool,
}

fn rows() -> Vec<Row> {
    let deny = |rule: &str, client, name, matches: bool| Row {
        allow: String::new(),
        deny: rule.to_owned(),
        client,
        name,
        passes: !matches,
    };
    let mut rows = Vec::new();
    rows.extend(
        BY_ADDRESS
            .iter()
            .map(|row| deny(row.0, "10.1.2.3", "", row.1)),
    );
    rows.extend(
        BY_NAME
            .iter()
            .map(|row| deny(row.0, "10.1.2.3", row.1, row.2)),
    );
    rows.extend(
        BY_IPV6
            .iter()
            .map(|row| deny(row.0, "2001:db8::1", "", row.1)),
    );
    rows.extend(OPTIONS.iter().map(|(option, passes)| Row {
        allow: format!("smtp: ALL : {option}\n"),
        passes: *passes,
        ..deny("ALL: ALL\n", "10.1.2.3", "", true)
    }));
    rows.extend(TWO_FILES.iter().map(|(allow, denied, passes)| Row {
        allow: (*allow).to_owned(),
        passes: *passes,
        ..deny(denied, "10.1.2.3", "", true)
    }));
    // The longest line that is taken, and one that is longer.
    for (length, matches) in [(2046, false), (2047, true)] {
        let rule = format!("smtp: 9. {}\n", "x".repeat(length - 9));
        rows.push(deny(&rule, "10.1.2.3", "", matches));
    }
    rows
}

/// Rules from parts of such, as they are judged here.
fn random_rows() -> Vec<Row> {
    const PARTS: &str = "smtp|smtp:|smtp: |pop3:|ALL|ALL: |:| |,|\t|10.|.1.2.3|10.1.2.3|10.1.2.0|/|/16|8|24|32|0|255.0.0.0|\
        [|]|[2001:db8::]|2001:db8::1|*|?|.|EXCEPT| EXCEPT |KNOWN|UNKNOWN|LOCAL|PARANOID|host.example|.example|host|\
        \\\n|\n|\n|\r\n|#|allow|: deny|: severity info|\\:|=|@192.0.2.|@ALL|+|0x|-| /some| /all";
    let parts: Vec<&str> = PARTS.split('|').collect();
    let mut state = 11_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let mut text = |longest: usize| -> String {
        let count = random(longest);
        (0..count).map(|_| parts[random(parts.len())]).collect()
    };
    let mut rows = Vec::new();
    for nth in 0..600 {
        let (allow, deny) = match nth % 3 {
            0 => (text(10), "ALL: ALL\n".to_owned()),
            1 => (String::new(), text(10)),
            _ => (text(10) + "\n", format!("smtp: {}\n", text(8))),
        };
        let client = ["10.1.2.3", "2001:db8::1"][nth / 3 % 2];
        let name = ["", "?", "host.example", "host"][nth / 6 % 4];
        let row = Row {
            allow,
            deny,
            client,
            name,
            passes: true,
        };
        match judge(&question(client), &Small::new(&row.allow, &row.deny, name)) {
            Judgement::Permitted => rows.push(row),
            Judgement::Refused(_) => rows.push(Row {
                passes: false,
                ..row
            }),
            // Of an option libwrap says the same, of the others it is asked for more.
            Judgement::Undecided(_) => {}
        }
    }
    rows
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
