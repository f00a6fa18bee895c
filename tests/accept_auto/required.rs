//! With `acceptTLS = yes` only those that start TLS reach the server.

use super::{Behind, capabilities, greets, mail_server, speaks, starttls};
use crate::require;
use crate::support::Worlds;
use crate::support::dialogue::{IMAP, Lines, POP3, SMTP, Seen, Starttls};

/// `acceptTLS = yes` with `acceptProtocol`.
fn requires_tls(protocol: Starttls, behind: Behind) {
    require!(adit);
    let worlds = Worlds::new();
    let seen = Seen::default();
    let upstream = mail_server(&worlds, protocol, behind, &seen);
    let name = protocol.name;
    let more = match behind {
        Behind::Tls => String::new(),
        Behind::Starttls => format!("protocol = {name}\n"),
    };
    let adit = worlds.serve(
        &upstream,
        &format!("acceptTLS = yes\nacceptProtocol = {name}\n{more}"),
    );
    let mut client = Lines(adit.connect("test"));
    client.expect(greets(protocol));
    let offered = capabilities(&mut client, protocol);
    assert!(offered.contains(protocol.request), "{offered}");
    // A password in plain goes no further.
    match name {
        "smtp" => client.ask("AUTH PLAIN AGFubmEAZ2VoZWlt", "530 5.7.0"),
        "pop3" => client.ask("USER anna", "-ERR Must issue"),
        _ => client.ask("l LOGIN anna geheim", "l NO [PRIVACYREQUIRED]"),
    };
    starttls(&mut client, protocol);
    let mut client = Lines(worlds.start_tls(client.0));
    speaks(&mut client, protocol, &seen);
    for secret in ["AUTH", "USER", "LOGIN"] {
        assert!(!seen.contains(secret), "{:?}", seen.all());
    }
    // TLS from the first byte is TLS as well.
    let mut client = Lines(worlds.connect_tls(&adit));
    client.expect(greets(protocol));
    speaks(&mut client, protocol, &seen);
    // A client that will not have it may leave in order.
    let mut client = Lines(adit.connect("test"));
    client.expect(greets(protocol));
    match name {
        "smtp" => client.ask("QUIT", "221 "),
        "pop3" => client.ask("QUIT", "+OK"),
        _ => client.ask("z LOGOUT", "z OK"),
    };
    assert_eq!(client.rest(), "");
}

#[test]
fn smtp_clients_must_start_tls_where_it_is_required() {
    requires_tls(SMTP, Behind::Tls);
    requires_tls(SMTP, Behind::Starttls);
}

#[test]
fn pop3_clients_must_start_tls_where_it_is_required() {
    requires_tls(POP3, Behind::Tls);
    requires_tls(POP3, Behind::Starttls);
}

#[test]
fn imap_clients_must_start_tls_where_it_is_required() {
    requires_tls(IMAP, Behind::Tls);
    requires_tls(IMAP, Behind::Starttls);
}
