//! A server's certificate that demands a stapled OCSP response: clients are served with one (RFC 7633), as soon as there is
//! one.

use std::thread;

use crate::require;
use crate::stapling::{GOOD, NONE, Scene, plan, stapled};
use crate::support::authority::Says;
use crate::support::certs::Wish;

#[test]
fn clients_of_a_must_staple_certificate_wait_for_the_first_response_for_a_while() {
    require!(adit);
    require!(program "openssl");
    let scene = Scene::of(Says::Later);
    let url = scene.authority.url();
    let wish = Wish {
        name: "must",
        responder: Some(&url),
        must_staple: true,
        ..Wish::default()
    };
    let pair = scene.certs.chained(scene.certs.issue("must", wish));
    let lines = format!("{}{}", scene.behind.line(), pair.lines());
    let host = format!("{lines}sni = first:localhost\n");
    let first = scene.certs.server().lines() + &scene.behind.line();
    let adit = plan(&pair, &scene.behind, "TIMEOUTocsp = 60\n")
        .service("first", first)
        .service("host", host)
        .start();
    let addresses = ["test", "first"].map(|service| adit.address(service));
    let clients =
        addresses.map(|at| thread::spawn(move || stapled(at, &["-servername", "localhost"])));
    for service in ["test", "first"] {
        adit.wait_for_log(&format!(
            "Service [{service}]: clients wait for the OCSP response that its certificate demands"
        ));
    }
    assert_eq!(adit.count_in_log("] started"), 0);
    scene.authority.says(Says::Good(3600));
    for client in clients {
        let said = client.join().expect("a client");
        assert!(said.contains(GOOD), "{said}");
    }
    // What is known goes on to the next generation, and nothing is waited for in vain.
    adit.reload(2);
    assert!(stapled(adit.address("test"), &[]).contains(GOOD));
    drop(adit);
    scene.authority.says(Says::Nothing);
    let adit = plan(&pair, &scene.behind, "TIMEOUTocsp = 1\n").start();
    assert!(stapled(adit.address("test"), &[]).contains(NONE));
    adit.wait_for_log("TIMEOUTocsp exceeded");
}
