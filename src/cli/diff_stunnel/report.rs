//! What was seen of both programs, side by side. Never in here: looking.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;

/// The phrases of stunnel's log that people's filters match on and that can come in a run like this, without what
/// varies. docs/differences.md has the reasons of those that differ for good.
const PHRASES: [&str; 29] = [
    "Configuration successful",
    "Configuration failed",
    "Each service must define two endpoints",
    "No more addresses to connect",
    "Connection refused",
    "TLS accepted: new session negotiated",
    "TLS accepted: previous session reused",
    "TLS connected: new session negotiated",
    "certificate verify failed",
    "peer did not return a certificate",
    "bad certificate",
    "unsupported protocol",
    "no shared cipher",
    "wrong version number",
    "SNI: sending servername: ",
    "SNI: requested servername: ",
    "SNI: no pattern matched servername: ",
    "CERT: Subject checks failed",
    "CERT: Certificate not found in local repository",
    "Rejected by CERT at depth=",
    "Rejected by OCSP at depth=",
    "Redirecting connection",
    "REFUSED by libwrap",
    "TIMEOUTbusy exceeded",
    "TIMEOUTidle exceeded",
    "TIMEOUTclose exceeded",
    "Local mode child started",
    "needs authentication to prevent MITM attacks",
    "without subject checks",
];

/// Of one program.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) serves: bool,
    /// All that it said.
    pub(super) said: String,
    /// The addresses that it listens on.
    pub(super) bound: BTreeSet<String>,
    /// What came of looking at one of them in some way.
    pub(super) answers: BTreeMap<String, String>,
    /// What the servers behind it heard.
    pub(super) heard: BTreeSet<String>,
}

impl Seen {
    /// It does not start.
    pub(super) fn refused(said: String) -> Seen {
        Seen {
            said,
            ..Seen::default()
        }
    }

    fn phrases(&self) -> BTreeSet<String> {
        let has = |phrase: &&&str| self.said.contains(**phrase);
        PHRASES
            .iter()
            .filter(has)
            .map(|phrase| (*phrase).to_owned())
            .collect()
    }

    /// Why it does not start.
    fn reasons(&self) -> Vec<&str> {
        let is_error = |line: &&str| {
            ["LOG3[", "LOG2[", "LOG1[", "LOG0[", "error: ", "[!]"]
                .iter()
                .any(|mark| line.contains(mark))
        };
        let reasons: Vec<&str> = self.said.lines().filter(is_error).collect();
        match reasons.is_empty() {
            true => self.said.lines().rev().take(3).collect(),
            false => reasons,
        }
    }
}

/// Both.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) program: PathBuf,
    pub(super) stunnel: Seen,
    pub(super) adit: Seen,
}

impl Report {
    /// Writes it, and returns how many differences there are.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<usize> {
        let (stunnel, adit) = (&self.stunnel, &self.adit);
        writeln!(out, "stunnel is {}.", self.program.display())?;
        let mut differences = self.starts(out)?;
        if stunnel.serves && adit.serves {
            differences += lists(out, "address", &stunnel.bound, &adit.bound)?;
            differences += answers(out, &stunnel.answers, &adit.answers)?;
            differences += lists(out, "server heard", &stunnel.heard, &adit.heard)?;
        }
        if stunnel.serves == adit.serves {
            differences += lists(out, "log", &stunnel.phrases(), &adit.phrases())?;
        }
        match differences {
            0 => writeln!(out, "No difference.")?,
            1 => writeln!(out, "1 difference.")?,
            count => writeln!(out, "{count} differences.")?,
        }
        out.flush()?;
        Ok(differences)
    }

    fn starts(&self, out: &mut dyn Write) -> io::Result<usize> {
        let (stunnel, adit) = (&self.stunnel, &self.adit);
        let whys: &[(&str, &Seen)] = match (stunnel.serves, adit.serves) {
            (true, true) => {
                writeln!(out, "start: both serve")?;
                return Ok(0);
            }
            // That both refuse may have two reasons.
            (false, false) => {
                writeln!(out, "start: neither serves:")?;
                &[("stunnel: ", stunnel), ("adit: ", adit)]
            }
            (true, false) => {
                writeln!(out, "start: stunnel serves, adit does not:")?;
                &[("", adit)]
            }
            (false, true) => {
                writeln!(out, "start: adit serves, stunnel does not:")?;
                &[("", stunnel)]
            }
        };
        for (who, why) in whys {
            for line in why.reasons() {
                writeln!(out, "    {who}{line}")?;
            }
        }
        Ok(usize::from(stunnel.serves != adit.serves))
    }
}

/// What only one of them has; what both have is told in a line each.
fn lists(
    out: &mut dyn Write,
    what: &str,
    stunnel: &BTreeSet<String>,
    adit: &BTreeSet<String>,
) -> io::Result<usize> {
    let mut differences = 0;
    for one in stunnel.union(adit) {
        let only = match (stunnel.contains(one), adit.contains(one)) {
            (true, true) => "",
            (true, false) => "only stunnel: ",
            (false, _) => "only adit: ",
        };
        differences += usize::from(!only.is_empty());
        writeln!(out, "{what}: {only}{one}")?;
    }
    Ok(differences)
}

fn answers(
    out: &mut dyn Write,
    stunnel: &BTreeMap<String, String>,
    adit: &BTreeMap<String, String>,
) -> io::Result<usize> {
    let mut differences = 0;
    // Where only one of them listens, its address was told.
    for (at, theirs) in stunnel {
        match adit.get(at) {
            Some(ours) if ours == theirs => writeln!(out, "{at}: {ours}")?,
            Some(ours) => {
                writeln!(out, "{at}:\n    stunnel: {theirs}\n    adit:    {ours}")?;
                differences += 1;
            }
            None => {}
        }
    }
    Ok(differences)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(said: &str, bound: &str, answer: &str) -> Seen {
        Seen {
            serves: true,
            said: said.to_owned(),
            bound: [bound.to_owned()].into(),
            answers: [(format!("{bound}, plain"), answer.to_owned())].into(),
            heard: BTreeSet::new(),
        }
    }

    fn report(stunnel: Seen, adit: Seen) -> (usize, String) {
        let mut out = Vec::new();
        let program = "/s".into();
        let report = Report {
            program,
            stunnel,
            adit,
        };
        let count = report.write(&mut out).unwrap();
        (count, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_alike_is_told_and_what_differs_is_counted() {
        let one = seen("LOG5[ui]: Configuration successful", "127.0.0.1:1", "waits");
        let (count, text) = report(one.clone(), one.clone());
        assert_eq!(count, 0);
        assert_eq!(
            text,
            "stunnel is /s.\nstart: both serve\naddress: 127.0.0.1:1\n127.0.0.1:1, plain: waits\n\
             log: Configuration successful\nNo difference.\n"
        );
        let (count, text) = report(
            one.clone(),
            seen("bad certificate", "127.0.0.1:1", "resets"),
        );
        assert_eq!(count, 3);
        assert!(
            text.contains("plain:\n    stunnel: waits\n    adit:    resets\n"),
            "{text}"
        );
        assert!(
            text.contains("log: only stunnel: Configuration successful\n"),
            "{text}"
        );
        assert!(
            text.contains("log: only adit: bad certificate\n3 differences.\n"),
            "{text}"
        );
        let refused = |said: &str| Seen::refused(said.to_owned());
        let (count, text) = report(refused("[!] a\n"), refused("error: b\n"));
        assert_eq!(count, 0);
        let both =
            "start: neither serves:\n    stunnel: [!] a\n    adit: error: b\nNo difference.\n";
        assert!(text.ends_with(both), "{text}");
        let (count, text) = report(one, refused("x\nLOG3[ui]: no key\n"));
        assert_eq!(count, 1);
        assert!(
            text.ends_with("adit does not:\n    LOG3[ui]: no key\n1 difference.\n"),
            "{text}"
        );
    }
}
