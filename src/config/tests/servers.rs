//! What a server says of clients without a certificate, and of sessions to resume.

use super::*;

/// A server that is served without a word, and `lines` besides.
fn server(lines: &str) -> String {
    format!("[s]\naccept = 127.0.0.1:1\nconnect = 2\ncert = /c\n{lines}\n")
}

#[test]
fn a_redirect_to_no_port_is_taken_with_a_warning() {
    let trust = "CAfile = /a\nverifyChain = yes\n";
    assert!(
        served(&server(&format!("{trust}redirect = 80")))
            .1
            .is_empty()
    );
    for nowhere in ["0", "127.0.0.1:0"] {
        // As in stunnel, it is legal.
        let (config, said) = served(&server(&format!("{trust}redirect = {nowhere}")));
        assert_eq!(config.services[0].redirect.len(), 1);
        assert!(said[0].starts_with("warning: test.conf:7: "), "{said:?}");
        assert!(said[0].contains("no server is ever at port 0"), "{said:?}");
    }
}
