//! Who may connect.

use super::stunnel;
use crate::libwrap::{is_let_in, require_own_files, start, write};
use crate::require;
use crate::support::adit::program;
use crate::support::{Certs, tls};

#[test]
fn a_rule_that_would_execute_something_refuses() {
    require_both!();
    require_own_files!();
    let certs = Certs::new();
    let echo = tls::echo_server(&certs, tls::BOTH);
    for (program, expected) in [(stunnel(), true), (program(), false)] {
        let adit = start(&program, &certs, &echo, "");
        write(&adit.plan, "test: ALL: spawn (true)\n", "ALL: ALL\n");
        assert_eq!(is_let_in(&adit), expected, "{}", program.display());
    }
}
