//! What `PSKsecrets` changes in the rest of a service.

use super::*;

const SERVER: &str = "[s]\naccept = 127.0.0.1:1\nconnect = h:2\nPSKsecrets = /f\n";
const CLIENT: &str = "[s]\nclient = yes\naccept = 127.0.0.1:1\nconnect = h:2\nPSKsecrets = /f\n";

fn min(text: &str) -> Option<TlsVersion> {
    served(text).0.services[0].tls.version_min
}

#[test]
fn only_a_server_with_a_certificate_speaks_older_versions_too() {
    let with = |more: &str| SERVER.to_owned() + more;
    assert_eq!(min(SERVER), Some(TlsVersion::V1_3));
    assert_eq!(
        min(&with("sslVersionMin = TLSv1\n")),
        Some(TlsVersion::V1_3)
    );
    assert_eq!(min(&with("cert = /c\n")), None);
    let old = with("cert = /c\nsslVersionMin = TLSv1.1\n");
    assert_eq!(min(&old), Some(TlsVersion::V1_1));
    assert_eq!(min(CLIENT), Some(TlsVersion::V1_3));
    assert_eq!(
        min(&(CLIENT.to_owned() + "cert = /c\n")),
        Some(TlsVersion::V1_3)
    );
}

#[test]
fn a_service_with_keys_alone_may_be_public_with_any_lower_bound() {
    let text = SERVER.replace("127.0.0.1:1", "0.0.0.0:1") + "sslVersionMin = TLSv1\n";
    assert!(served(&text).1.is_empty());
}

#[test]
fn a_client_needs_no_verification() {
    let (config, said) = served(CLIENT);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(config.services[0].tls.psk_identity, None);
    // What verifies a server that shows a certificate instead.
    let (config, said) = served(&(CLIENT.to_owned() + "verifyServer = yes\n"));
    assert!(said.is_empty(), "{said:?}");
    assert!(config.services[0].tls.verification.server);
}

#[test]
fn an_identity_is_a_clients() {
    let identity = |text: &str| {
        let (config, said) = served(&(text.to_owned() + "PSKidentity = me\n"));
        let identity = config.services[0].tls.psk_identity.clone();
        assert_eq!(identity.as_deref(), Some("me"));
        said
    };
    assert!(identity(CLIENT).is_empty());
    let said = identity(SERVER);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("PSK identity is ignored in the server mode"));
    // As a default for clients and servers.
    let both = format!("PSKidentity = me\n{SERVER}");
    assert!(served(&both).1.is_empty());
}
