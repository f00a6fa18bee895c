//! Listeners of two instances, and of a service that is drained.

use super::*;
use crate::config::{Sources, load};
use crate::log::Id;

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

#[test]
fn a_drained_service_comes_back_at_what_can_be_bound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let text = "[a]\nclient = yes\nverifyServer = yes\naccept = 1\nconnect = h:9\n";
    let sources = Sources {
        text: Some(("f".to_owned(), text.to_owned().into())),
        ..Sources::default()
    };
    let config = load(&sources).unwrap().config;
    let any = Accept::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let accept = [vec![any, Accept::Unix(path)]];
    let log = Log {
        level: 5,
        id: Id::Ui,
        from: None,
    };
    let mut listeners = Listeners::default();
    let prepared = listeners.prepare(&config, &accept, &log).unwrap();
    listeners.listen(&prepared).unwrap();
    assert!(!listeners.know_services());
    listeners.commit(prepared);
    assert!(listeners.know_services());
    assert_eq!(listeners.drain(&config, "a"), Ok(0));
    drop(folder);
    let (index, sockets) = listeners.take_back(&config, "a", &log).unwrap();
    assert_eq!((index, sockets.len()), (0, 1));
}
