//! The rules that are judged here and by libwrap: tables, and what chance puts together.

use super::{Small, judge, question};
use crate::helper::gatekeeper::judge::Judgement;

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
pub(super) struct Row {
    pub(super) allow: String,
    pub(super) deny: String,
    pub(super) client: &'static str,
    pub(super) name: &'static str,
    pub(super) passes: bool,
}

pub(super) fn rows() -> Vec<Row> {
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
pub(super) fn random_rows() -> Vec<Row> {
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
