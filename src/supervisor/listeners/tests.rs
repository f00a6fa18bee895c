//! Listeners of two instances.

use super::*;
use crate::config::{Sources, load};

#[test]
fn a_unix_socket_is_no_leftover_before_its_configuration_is_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let text = format!(
        "[a]\nclient = yes\nverifyServer = yes\naccept = {}\nconnect = h:9\n",
        path.display()
    );
    let sources = Sources {
        text: Some(("f".to_owned(), text.into())),
        ..Sources::default()
    };
    let config = load(&sources).unwrap().config;
    let accept = Accept::Unix(path.clone());
    let open = || open(&config.services[0], &accept, &Listeners::default());
    let first = open().unwrap();
    // Another instance that starts now.
    let error = open().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    assert!(open().is_ok());
}
