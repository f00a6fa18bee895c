//! XMPP, between clients and servers and between servers; and the list within TLS.

use super::{Ends, Ev, Row, check, check_each, dialogue, fails, run, tls};
use crate::config::{DialogueOptions, Protocol::Xmpp, Protocol::XmppServer};
use crate::protocol::{Dialogue, Side, within};
use Ev::{B, BackEof, F, FrontEof};

/// A client's header, and a server's.
const HEADER: &str = "<?xml version='1.0'?><stream:stream to='a.test' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const SERVER: &str = "<?xml version='1.0'?><stream:stream from='a.test' id='1' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const FEATURES: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
                        </mechanisms><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// What adit says to a server.
const OPENED: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='a.test'>";
const ASKED: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                     xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='a.test'>\
                     <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// How a client is told of a failure.
macro_rules! ended {
    ($condition:literal, $text:literal) => {
        concat!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
            error!($condition, $text)
        )
    };
}
macro_rules! error {
    ($condition:literal, $text:literal) => {
        concat!(
            "<stream:error><",
            $condition,
            " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/><text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>adit: ",
            $text,
            "</text></stream:error></stream:stream>"
        )
    };
}

#[test]
fn a_plain_clients_stream_begins_within_tls() {
    let rows: &[Row] = &[
        (&[], "", "", Ends::Open),
        (&[F(HEADER)], "", OPENED, Ends::Open),
        // The client's own header is kept for the server; neither it nor what follows was used.
        (
            &[F(HEADER), F("<iq/>"), B(SERVER), B(FEATURES), B(PROCEED)],
            "",
            ASKED,
            tls(
                "<?xml version='1.0'?><stream:stream to='a.test' xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><iq/>",
                "",
            ),
        ),
        // Written otherwise, with other prefixes.
        (
            &[
                F(
                    " <s:stream xmlns:s=\"http://etherx.jabber.org/streams\" xmlns=\"jabber:client\" to=\"a.test\">",
                ),
                B(
                    "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:t='urn:ietf:params:xml:ns:xmpp-tls' \
                   version='1.0'>\n<s:features>\n<t:starttls></t:starttls></s:features>\n",
                ),
                B("<t:proceed></t:proceed>"),
            ],
            "",
            ASKED,
            tls(
                " <s:stream xmlns:s=\"http://etherx.jabber.org/streams\" xmlns=\"jabber:client\" to=\"a.test\">",
                "",
            ),
        ),
        (
            &[F(HEADER), B(SERVER), B(FEATURES), B(PROCEED), B("<a/>")],
            "",
            ASKED,
            tls(HEADER, "<a/>"),
        ),
    ];
    // What comes in a read of its own behind the go-ahead belongs to the handshake.
    check(Xmpp, true, None, rows);
    let behind = [
        F(HEADER),
        B(SERVER),
        B(FEATURES),
        B("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><a/>"),
    ];
    let (said, ends) = run(dialogue(Xmpp, true), &behind, |n| n);
    assert_eq!(said.front, "");
    assert!(
        matches!(&ends, Ends::Fails(error) if error.starts_with("plaintext behind STARTTLS: the xmpp server")),
        "{ends:?}"
    );
}

#[test]
fn a_plain_client_is_told_why_there_is_no_tls() {
    let no_tls = ended!("remote-connection-failed", "Server does not support TLS");
    let unexpected = ended!("remote-connection-failed", "Unexpected server response");
    let rows: &[Row] = &[
        (
            &[
                F(HEADER),
                B(SERVER),
                B("<stream:features><a/></stream:features>"),
            ],
            no_tls,
            OPENED,
            fails("Server does not support TLS: the xmpp server does not offer STARTTLS"),
        ),
        // An offer that is none of the list.
        (
            &[
                F(HEADER),
                B(SERVER),
                B(
                    "<stream:features><a><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></a><starttls/></stream:features>",
                ),
            ],
            no_tls,
            OPENED,
            fails("Server does not support TLS: the xmpp server does not offer STARTTLS"),
        ),
        (
            &[
                F(HEADER),
                B(SERVER),
                B("<stream:error><host-unknown xmlns='urn:x'/></stream:error>"),
            ],
            no_tls,
            OPENED,
            fails("Server does not support TLS: the xmpp server ended the stream: host-unknown"),
        ),
        (
            &[
                F(HEADER),
                B(
                    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
                ),
            ],
            no_tls,
            OPENED,
            fails("Server does not support TLS: it is older than XMPP 1.0"),
        ),
        (
            &[
                F(HEADER),
                B(SERVER),
                B(FEATURES),
                B("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            ],
            no_tls,
            ASKED,
            fails("Server does not support TLS: the xmpp server offers STARTTLS, and refuses it"),
        ),
        (
            &[F(HEADER), B("220 mail.test\r\n")],
            unexpected,
            OPENED,
            fails("XMPP: the server opens no stream"),
        ),
        (
            &[F(HEADER), B(SERVER), B("<!DOCTYPE a [<!ENTITY b 'c'>]>")],
            unexpected,
            OPENED,
            fails("XMPP: the server uses XML that XMPP forbids"),
        ),
        (
            &[F(HEADER), BackEof],
            ended!("remote-connection-failed", "Server closed the connection"),
            OPENED,
            fails("XMPP: the server closed"),
        ),
        (
            &[F("<stream:stream to='&a;'>")],
            ended!("restricted-xml", "XMPP forbids this XML"),
            "",
            fails("XMPP: the client uses XML that XMPP forbids"),
        ),
        (
            &[F("EHLO a\r\n")],
            ended!("not-well-formed", "No stream of XMPP"),
            "",
            fails("XMPP: the client opens no"),
        ),
        (
            &[F(
                "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
            )],
            ended!("invalid-namespace", "A stream of another kind"),
            "",
            fails("XMPP: the client's stream is of another kind"),
        ),
        (
            &[F("<a"), FrontEof],
            "",
            "",
            fails("XMPP: the client closed"),
        ),
    ];
    check(Xmpp, true, None, rows);
}

#[test]
fn servers_name_both_sides_and_clients_do_not() {
    let header = "<stream:stream to='a.test' from='b.test' xmlns='KIND' xmlns:stream='http://etherx.jabber.org/streams'>";
    for (protocol, kind, from) in [
        (Xmpp, "jabber:client", false),
        (XmppServer, "jabber:server", true),
    ] {
        let said = header.replace("KIND", kind);
        let (said, _) = run(
            dialogue(protocol, true),
            &[F(Box::leak(said.into_boxed_str()))],
            |n| n,
        );
        assert!(said.back.contains("to='a.test'") && said.back.contains(kind));
        assert_eq!(said.back.contains("from='b.test'"), from);
    }
    // What is no name is not repeated.
    let odd = header
        .replace("KIND", "jabber:client")
        .replace("'a.test'", "\"a'b\"");
    let (said, _) = run(
        dialogue(Xmpp, true),
        &[F(Box::leak(odd.into_boxed_str()))],
        |n| n,
    );
    assert!(
        said.back.starts_with("<?xml") && !said.back.contains("to="),
        "{}",
        said.back
    );
}

#[test]
fn clients_start_tls_before_there_is_a_server() {
    const GREETED: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                           xmlns:stream='http://etherx.jabber.org/streams' version='1.0' from='a.test' \
                           id='0000000000000000'><stream:features><starttls \
                           xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    let with =
        |more: &str| -> &'static str { Box::leak(format!("{GREETED}{more}").into_boxed_str()) };
    let events = |events: Vec<Ev>| -> &'static [Ev] { Box::leak(events.into_boxed_slice()) };
    let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    let rows: Vec<Row> = vec![
        (&[F(HEADER)], GREETED, "", Ends::Open),
        (
            events(vec![F(HEADER), F(" \n"), F(starttls)]),
            with(PROCEED),
            "",
            Ends::Tls(String::new(), String::new()),
        ),
        (
            events(vec![
                F(HEADER),
                F("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'> </starttls>"),
            ]),
            with(PROCEED),
            "",
            Ends::Tls(String::new(), String::new()),
        ),
        // At once.
        (
            &[F("\u{16}\u{3}")],
            "",
            "",
            Ends::Tls("\u{16}\u{3}".into(), String::new()),
        ),
        (
            events(vec![F(HEADER), F("<starttls/>")]),
            with(error!("policy-violation", "Use STARTTLS first")),
            "",
            fails("STARTTLS expected: the xmpp client goes on without"),
        ),
        (
            events(vec![F(HEADER), F("<auth mechanism='PLAIN'>")]),
            with(error!("policy-violation", "Use STARTTLS first")),
            "",
            fails("STARTTLS expected: the xmpp client goes on without"),
        ),
        (
            events(vec![F(HEADER), F("</stream:stream>")]),
            with("</stream:stream>"),
            "",
            Ends::Bye,
        ),
        (
            events(vec![F(HEADER), FrontEof]),
            GREETED,
            "",
            fails("XMPP: the client closed"),
        ),
        (
            events(vec![F(HEADER), F("<!-- -->")]),
            with(error!("restricted-xml", "XMPP forbids this XML")),
            "",
            fails("XMPP: the client uses XML"),
        ),
        (
            &[F(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            )],
            ended_by_server(),
            "",
            fails("STARTTLS expected: the xmpp client is older"),
        ),
        (
            events(vec![
                F(HEADER),
                F("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><auth/>"),
            ]),
            GREETED,
            "",
            fails("plaintext behind STARTTLS: the xmpp client"),
        ),
    ];
    check_each(|| dialogue(Xmpp, false), &rows);
}

fn ended_by_server() -> &'static str {
    concat!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='0000000000000000'>",
        error!("unsupported-version", "XMPP 1.0 is needed")
    )
}

#[test]
fn what_is_said_before_tls_is_bounded() {
    let blank: &'static str = Box::leak(" ".repeat(9000).into_boxed_str());
    for (client, events) in [
        (true, vec![F(blank), F(blank)]),
        (true, vec![F(HEADER), B(SERVER), B(blank), B(blank)]),
        (false, vec![F(HEADER), F(blank), F(blank)]),
    ] {
        let (_, ends) = run(dialogue(Xmpp, client), &events, |n| n);
        assert!(
            matches!(&ends, Ends::Fails(error) if error.contains("said over")),
            "{ends:?}"
        );
    }
    let long = format!("<a b='{}", "c".repeat(9000));
    let (_, ends) = run(
        dialogue(Xmpp, false),
        &[F(Box::leak(long.into_boxed_str()))],
        |n| n,
    );
    assert!(
        matches!(&ends, Ends::Fails(error) if error.contains("said over")),
        "{ends:?}"
    );
}

fn inside() -> Box<dyn Dialogue> {
    within(Xmpp, false, &DialogueOptions::default(), None)
}

#[test]
fn within_tls_a_server_does_not_offer_it_again() {
    const KEPT: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
                        </mechanisms></stream:features>";
    let both =
        |more: &str| -> &'static str { Box::leak(format!("{SERVER}{more}").into_boxed_str()) };
    let events = |events: Vec<Ev>| -> &'static [Ev] { Box::leak(events.into_boxed_slice()) };
    let old =
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let rows: Vec<Row> = vec![
        (&[F(HEADER)], "", HEADER, Ends::Open),
        (
            &[F(HEADER), B(SERVER), B(FEATURES), B("<a/>")],
            both(KEPT),
            HEADER,
            tls("", "<a/>"),
        ),
        (
            &[
                F(HEADER),
                F("<iq/>"),
                B(SERVER),
                B(
                    "\n<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><b/></stream:features>",
                ),
            ],
            both("\n<stream:features><b/></stream:features>"),
            HEADER,
            tls("<iq/>", ""),
        ),
        (
            &[F(HEADER), B(SERVER), B("<stream:features/>")],
            both("<stream:features/>"),
            HEADER,
            tls("", ""),
        ),
        // What is no list passes unchanged.
        (
            &[F(HEADER), B(SERVER), B("<stream:error>")],
            SERVER,
            HEADER,
            tls("", "<stream:error>"),
        ),
        (
            &[F(HEADER), B(SERVER), B("<stream:features></a>")],
            both("<stream:features>"),
            HEADER,
            tls("", "</a>"),
        ),
        (
            &[
                F(HEADER),
                B(SERVER),
                B("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>"),
                BackEof,
            ],
            both("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>"),
            HEADER,
            tls("", ""),
        ),
        (events(vec![F(HEADER), B(old)]), "", HEADER, tls("", old)),
        (events(vec![F(old), B(SERVER)]), "", "", tls(old, SERVER)),
        (&[B("220 mail.test")], "", "", tls("", "220 mail.test")),
        (&[F("EHLO a\r\n")], "", "", tls("EHLO a\r\n", "")),
        (&[F("<!-- -->")], "", "", tls("<!-- -->", "")),
    ];
    check_each(inside, &rows);
    assert!(inside().hears(Side::Front));
}
