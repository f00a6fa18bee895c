//! Keys at high security levels.

use super::both;
use crate::require;
use crate::security_level::{folder, issue};
use crate::support::peers::Server;
use crate::support::{Plan, wait_for};

/// Whether each program starts with a key of this kind at this level, and what it says.
fn starts(level: u8, kind: &str) -> [(bool, String); 2] {
    let folder = folder();
    let upstream = Server::echo();
    let pair = issue(folder.path(), "localhost", kind, "-sha512", None);
    let lines = format!(
        "{}{}securityLevel = {level}\n",
        upstream.line(),
        pair.lines()
    );
    both(|path| {
        let adit = Plan::new().program(path).service("test", &*lines).launch();
        wait_for("the start", || {
            let said = adit.everything_said();
            let done = ["Configuration successful", "Configuration failed"];
            let done = done.map(|phrase| said.contains(phrase));
            done.contains(&true).then_some((done[0], said))
        })
    })
}

#[test]
fn a_security_level_goes_by_the_sizes_of_the_manual() {
    require_both!();
    let [stunnel, adit] = starts(4, "rsa-7678");
    assert!(stunnel.0 && !adit.0, "{adit:?}");
    let phrase =
        "ee key too small: it has 7678 bits, and `securityLevel = 4` wants RSA of 7680 bits";
    assert!(adit.1.contains(phrase), "{adit:?}");
    let alike = starts(4, "rsa-7680");
    assert!(alike.iter().all(|(starts, _)| *starts), "{alike:?}");
}

#[test]
fn the_highest_security_level_has_no_rsa() {
    require_both!();
    let [stunnel, adit] = starts(5, "rsa-15360");
    assert!(stunnel.0 && !adit.0, "{adit:?}");
    assert!(adit.1.contains("RSA of 2048 to 8192 bits"), "{adit:?}");
    let alike = starts(5, "P-521");
    assert!(alike.iter().all(|(starts, _)| *starts), "{alike:?}");
}
