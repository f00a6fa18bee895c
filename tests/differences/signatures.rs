//! By what a server signs.

use super::both;
use crate::require;
use crate::support::certs::{Kind, Wish};
use crate::support::openssl::s_client;
use crate::support::peers::Server;
use crate::support::{Certs, Plan};

#[test]
fn the_order_of_a_list_of_signatures_counts() {
    require_both!();
    let certs = Certs::new();
    let upstream = Server::echo();
    let wish = Wish {
        kind: Kind::Rsa,
        ..Wish::default()
    };
    let pair = certs.self_signed("rsa", wish);
    let list = "config = SignatureAlgorithms:RSA-PSS+SHA384:RSA-PSS+SHA512\n";
    let signs_by = |more: &str| {
        both(|path| {
            let lines = format!("{}{}{list}{more}", upstream.line(), pair.lines());
            let adit = Plan::new().program(path).service("test", lines).start();
            ["-tls1_2", "-tls1_3"].map(|version| {
                let offers = "RSA-PSS+SHA512:RSA-PSS+SHA384";
                let arguments = [version, "-sigalgs", offers];
                let said = s_client(adit.address("test"), &arguments, "");
                let (_, digest) = said.split_once("Peer signing digest: ").expect("a digest");
                digest.lines().next().unwrap_or_default().to_owned()
            })
        })
    };
    assert_eq!(signs_by(""), [["SHA512"; 2], ["SHA384"; 2]]);
    let both_ways = signs_by("options = CIPHER_SERVER_PREFERENCE\n");
    assert_eq!(both_ways, [["SHA384"; 2], ["SHA384"; 2]]);
}
