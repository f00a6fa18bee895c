//! LDAP.

use super::exchange::{Ends, Ev, Row, check};
use crate::config::{DialogueOptions, Protocol::Ldap};
use crate::protocol::{Side, dialogue};
use Ends::{Fails, Next, Open};
use Ev::{B, BackEof};

const ASKED: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

#[test]
fn start_tls_is_asked_for_and_its_answer_read() {
    let rows: &[Row] = &[
        (&[], b"", ASKED, Open),
        // slapd's.
        (&[B(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")], b"", ASKED, Next(b"", b"")),
        // Active Directory's: lengths of four bytes, and a name behind.
        (
            &[B(b"\x30\x84\x00\x00\x00\x28\x02\x01\x01\x78\x84\x00\x00\x00\x1f\x0a\x01\x00\x04\x00\x04\x00\
                  \x8a\x161.3.6.1.4.1.1466.20037")],
            b"",
            ASKED,
            Next(b"", b""),
        ),
        (
            &[B(b"\x30\x1e\x02\x01\x01\x78\x19\x0a\x01\x02\x04\x00\x04\x12unsupported ext op")],
            b"",
            ASKED,
            Fails("LDAP response has indicated an error (2): the server does not start TLS, protocolError: it does not \
                   know StartTLS, or has no certificate; it said \"unsupported ext op\""),
        ),
        // A notice of disconnection.
        (
            &[B(b"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00")],
            b"",
            ASKED,
            Fails("LDAP response has indicated an error (52)"),
        ),
        // It answers another question than ours.
        (&[B(b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00")], b"", ASKED, Fails("LDAP response protocol op")),
        (&[B(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00")], b"", ASKED, Fails("LDAP response protocol op")),
        (&[B(b"220 mail.test ESMTP\r\n")], b"", ASKED, Fails("LDAP response is not UNIVERSAL SEQUENCE")),
        (&[B(b"\x30\x80\x02")], b"", ASKED, Fails("LDAP response is not UNIVERSAL SEQUENCE")),
        (&[B(b"\x30\x84\xff\xff\xff\xff")], b"", ASKED, Fails("LDAP response is not UNIVERSAL SEQUENCE")),
        (&[B(b"\x30\x05\x02\x01\x01\x78\x00")], b"", ASKED, Fails("LDAP response is not UNIVERSAL SEQUENCE")),
        (&[B(b"\x30\x07\x02\x01\x01\x78\x02\x0a\x00")], b"", ASKED, Fails("LDAP response is not UNIVERSAL SEQUENCE")),
        (&[B(b"\x30\x0c\x02"), BackEof], b"", ASKED, Fails("LDAP: the server closed the connection")),
        (
            &[B(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00\x30")],
            b"",
            ASKED,
            Fails("plaintext behind STARTTLS: the ldap server"),
        ),
    ];
    let new = || dialogue(Ldap, true, &DialogueOptions::default());
    check(new, rows);
    assert!(!new().hears(Side::Front));
}
