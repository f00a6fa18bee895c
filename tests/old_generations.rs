//! A generation that drains costs as little as its connections need, and `adit status` shows it.

use std::process::Command;

use crate::require;
use crate::support::adit::program;
use crate::support::peers::{self, Server};
use crate::support::{Certs, Plan, proc, tls, wait_for};

#[test]
fn an_old_generation_keeps_the_worker_of_its_connection_alone_and_is_listed() {
    require!(adit);
    let certs = Certs::new();
    let upstream = Server::echo();
    let plan = Plan::new();
    let control = plan.folder().join("control");
    let adit = plan
        .global(format!("workers = 4\ncontrol = {}", control.display()))
        .service("test", upstream.line() + &certs.server().lines())
        .start();
    let config = tls::client_config(&certs.ca(), tls::BOTH, None);
    let mut client = tls::connect(config, adit.address("test"));
    peers::says_and_hears(&mut client, "hello");
    adit.rewrite(|text| text + "TIMEOUTclose = 7\n");
    adit.reload(1);
    let of_the_first = || -> Vec<String> {
        let family = proc::family(adit.pid()).into_iter();
        let titles = family.map(|one| proc::title(one.pid));
        titles.filter(|t| t.contains("generation 1")).collect()
    };
    wait_for("the end of the idle workers", || {
        (of_the_first().len() == 2).then_some(())
    });
    let [master, worker] = ["master", "worker"].map(|role| {
        let titles = of_the_first();
        titles.iter().filter(|title| title.contains(role)).count()
    });
    assert_eq!((master, worker), (1, 1), "{:?}", of_the_first());
    let status = adit.status();
    let old = &status["generations"][0];
    assert_eq!(old["number"], 1);
    assert_eq!(old["state"], "draining");
    assert!(old["since"].as_u64().is_some_and(|since| since > 0));
    let workers = old["workers"].as_array().expect("workers");
    let alive: Vec<_> = workers.iter().filter(|one| one["pid"] != 0).collect();
    assert_eq!(alive.len(), 1, "{workers:?}");
    assert_eq!(alive[0]["active"], 1);
    let mut command = Command::new(program());
    let output = command.args(["status", "--control"]).arg(&control).output();
    let text = String::from_utf8(output.expect("adit status").stdout).expect("text");
    assert!(text.contains("Generation 1: draining, master "), "{text}");
    assert!(text.contains(", 1 connection(s) left, since 20"), "{text}");
    peers::says_and_hears(&mut client, "still here");
    drop(client);
    wait_for("its end", || of_the_first().is_empty().then_some(()));
}
