//! Routes of each kind of service, as lists of stages.

use super::*;
use Beginning::{AtOnce, Received};
use Protocol::{Smtp, Socks};
use Reception::{Offered, Required};
use Side::{Back, Front};
use Stage::{Connect, Handshake, Look, Receive, Talk};

#[test]
fn each_kind_of_service_has_its_route() {
    let talk = Talk(Part::BeforeTls(Smtp));
    let route = |front, back, protocol| -> Vec<Stage> {
        Route::over(front, back, protocol).stages().collect()
    };
    let stages = |front: bool, back, protocol| route(front.then_some(AtOnce), back, protocol);
    // Both ends in plain.
    assert_eq!(stages(false, false, None), [Connect]);
    assert_eq!(stages(false, false, Some(Smtp)), [Connect, talk]);
    // Client mode.
    assert_eq!(stages(false, true, None), [Connect, Handshake(Back)]);
    let starttls = [Connect, talk, Handshake(Back)];
    assert_eq!(stages(false, true, Some(Smtp)), starttls);
    // Server mode.
    assert_eq!(stages(true, false, None), [Handshake(Front), Connect]);
    let starttls = [Connect, talk, Handshake(Front)];
    assert_eq!(stages(true, false, Some(Smtp)), starttls);
    // The client says where to.
    let socks = [
        Handshake(Front),
        Talk(Part::Request(Socks)),
        Connect,
        Talk(Part::Reply(Socks)),
    ];
    assert_eq!(stages(true, false, Some(Socks)), socks);
    // Dialogues that are not the server's alone before TLS, by protocol and mode.
    let (pgsql, cifs) = (Protocol::Pgsql, Protocol::Cifs);
    let before = Talk(Part::BeforeTls(pgsql));
    let within = Talk(Part::Within(pgsql));
    assert_eq!(
        stages(false, true, Some(pgsql)),
        [Connect, before, Handshake(Back), within]
    );
    let opening = Talk(Part::Opening(pgsql));
    let plain = Talk(Part::Unprotected(pgsql));
    assert_eq!(
        stages(true, false, Some(pgsql)),
        [opening, Handshake(Front), Connect, plain]
    );
    assert_eq!(
        stages(true, false, Some(cifs)),
        [Talk(Part::Opening(cifs)), Handshake(Front), Connect]
    );
    let xmpp = Protocol::Xmpp;
    assert_eq!(
        stages(true, false, Some(xmpp)),
        [
            Talk(Part::Opening(xmpp)),
            Handshake(Front),
            Connect,
            Talk(Part::Within(xmpp))
        ]
    );
    // The client's choice comes between them; it has begun TLS when a secondary service is chosen.
    let names = Route::over(Some(AtOnce), false, Some(pgsql));
    let primary: Vec<Stage> = names.clone().with_hello().stages().collect();
    let shown = [opening, Stage::Hello, Handshake(Front), Connect, plain];
    assert_eq!(primary, shown);
    let secondary: Vec<Stage> = names.of_begun().stages().collect();
    assert_eq!(secondary, [Handshake(Front), Connect]);
    assert_eq!(
        stages(true, false, Some(Protocol::Proxy)),
        [Handshake(Front), Connect, Talk(Part::Header)]
    );
    // A part of the server's alone comes before any word of the client's.
    let smtp = MailProtocol::Smtp;
    let front = Some(Received(Offered(Some(smtp))));
    let logged_in = Route::over(front, true, Some(Smtp)).within_tls(Smtp);
    let logged_in: Vec<Stage> = logged_in.stages().collect();
    let login = Talk(Part::Within(Smtp));
    let receive = Receive(Offered(Some(smtp)));
    assert_eq!(
        logged_in,
        [Look, Connect, talk, Handshake(Back), login, receive]
    );
    // TLS on both ends.
    let both = [Handshake(Front), Connect, Handshake(Back)];
    assert_eq!(stages(true, true, None), both);
    let starttls = [Handshake(Front), Connect, talk, Handshake(Back)];
    assert_eq!(stages(true, true, Some(Smtp)), starttls);
    // The same, by STARTTLS or not at all.
    let smtp = MailProtocol::Smtp;
    for reception in [Required(smtp), Offered(Some(smtp)), Offered(None)] {
        let front = Some(Received(reception));
        let receive = Receive(reception);
        let direct = [Look, Connect, Handshake(Back), receive];
        assert_eq!(route(front, true, None), direct);
        let starttls = [Look, Connect, talk, Handshake(Back), receive];
        assert_eq!(route(front, true, Some(Smtp)), starttls);
        assert!(Route::over(front, true, None).receives());
    }
    assert!(!Route::over(Some(AtOnce), true, Some(Smtp)).receives());
}

#[test]
fn what_decides_whether_a_client_may_connect_comes_first_of_all() {
    let over = || Route::over(Some(AtOnce), false, None);
    assert_eq!(over().gates(), 0);
    let route = over()
        .with_hello()
        .behind([Early::Introduce, Early::Admit, Early::AskTheGate]);
    assert_eq!(route.gates(), 3);
    let stages: Vec<Stage> = route.stages().collect();
    let behind = [
        Stage::Introduce,
        Stage::Admit,
        Stage::AskTheGate,
        Stage::Hello,
        Handshake(Front),
        Connect,
    ];
    assert_eq!(stages, behind);
    // A client that comes from another service goes on behind the handshake.
    assert_eq!(route.early_behind_handshake(), 5);
}

#[test]
fn a_verdict_comes_right_behind_the_handshake_that_it_is_about() {
    let stages = |front: Option<Beginning>, back, protocol, side| -> Vec<Stage> {
        let route = Route::over(front, back, protocol).with_verdict(side);
        route.stages().collect()
    };
    let verdict = Stage::Verdict(Back);
    let client = [Connect, Handshake(Back), verdict];
    assert_eq!(stages(None, true, None, Back), client);
    let both = [Handshake(Front), Connect, Handshake(Back), verdict];
    assert_eq!(stages(Some(AtOnce), true, None, Back), both);
    let verdict = Stage::Verdict(Front);
    let server = [Handshake(Front), verdict, Connect];
    assert_eq!(stages(Some(AtOnce), false, None, Front), server);
    let talk = Talk(Part::BeforeTls(Smtp));
    let starttls = [Connect, talk, Handshake(Front), verdict];
    assert_eq!(stages(Some(AtOnce), false, Some(Smtp), Front), starttls);
}
