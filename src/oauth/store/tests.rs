use std::path::Path;
use std::process::{Command, abort};

use super::super::Secret;
use super::super::account::Secrets;
use super::super::seal::{self, Key};
use super::*;

fn open(folder: &Path) -> Store {
    Store::new(File::open(folder).unwrap().into())
}

fn sealed(refresh: &str, key: &Key) -> Sealed {
    let secrets = Secrets {
        refresh: Some(Secret::new(refresh)),
        client: None,
    };
    Sealed::seal(seal::example(), &secrets, key).unwrap()
}

const NAME: &str = "you@example.com";

/// What is stored there.
fn stored(folder: &Path, key: &Key) -> String {
    let (_, sealed) = open(folder).read(NAME).unwrap().unwrap();
    sealed
        .open(key)
        .unwrap()
        .refresh
        .unwrap()
        .reveal()
        .to_owned()
}

#[test]
fn an_account_is_stored_read_listed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let key = Key::new(&Secret::new("hunter2")).unwrap();
    assert_eq!(store.stamp(NAME).unwrap(), None);
    let first = store.replace(&sealed("one", &key), None).unwrap();
    // As an old program may write it.
    assert_eq!(store.stamp("YOU@Example.COM").unwrap(), Some(first));
    let second = store.replace(&sealed("two", &key), Some(first)).unwrap();
    assert_ne!(first, second);
    let late = store.replace(&sealed("three", &key), Some(first));
    assert!(matches!(late, Err(StoreError::Changed)));
    assert_eq!(stored(folder.path(), &key), "two");
    std::fs::write(folder.path().join("x.account"), "{}").unwrap();
    let (all, broken) = store.list().unwrap();
    assert_eq!(
        (all.len(), broken, all[0].account.name.as_str()),
        (1, 1, NAME)
    );
    assert!(store.forget(NAME).unwrap());
    assert!(!store.forget(NAME).unwrap());
    let late = store.replace(&sealed("four", &key), Some(second));
    assert!(matches!(late, Err(StoreError::Changed)), "{late:?}");
}

#[test]
fn names_stay_in_the_folder() {
    for (account, name) in [
        ("a+b@x.de", "a+b@x.de.account"),
        ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd.account"),
        (".", "%2e.account"),
        ("\u{fc}", "%c3%bc.account"),
        ("a\0", "a%00.account"),
    ] {
        assert_eq!(file_name(account).unwrap(), name);
    }
    assert_eq!(file_name(""), None);
    assert_eq!(file_name(&"x".repeat(201)), None);
    // A link is not followed.
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        "/etc/hostname",
        folder.path().join("you@example.com.account"),
    )
    .unwrap();
    assert!(open(folder.path()).read(NAME).is_err());
}

/// Where this test begins again as a process that dies at a step.
const FOLDER: &str = "ADIT_TEST_STORE";
const STEP: &str = "ADIT_TEST_STEP";

#[test]
fn a_kill_at_any_step_leaves_the_old_account_or_the_new_one_whole() {
    if let (Some(folder), Ok(step)) = (std::env::var_os(FOLDER), std::env::var(STEP)) {
        let store = open(Path::new(&folder));
        let at = |now| {
            if format!("{now:?}") == step {
                abort();
            }
        };
        let (_, old) = store.read(NAME).unwrap().unwrap();
        let key = old.key(&Secret::new("hunter2")).unwrap();
        let _ = store.replace_by_steps(&sealed("new", &key), None, at);
        return;
    }
    let key = Key::new(&Secret::new("hunter2")).unwrap();
    for (step, expected) in [
        (Step::Begun, "old"),
        (Step::Written, "old"),
        (Step::Synced, "old"),
        (Step::Renamed, "new"),
        (Step::Done, "new"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.replace(&sealed("old", &key), None).unwrap();
        let this =
            "oauth::store::tests::a_kill_at_any_step_leaves_the_old_account_or_the_new_one_whole";
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", this])
            .env(FOLDER, folder.path())
            .env(STEP, format!("{step:?}"))
            .output()
            .unwrap();
        assert!(!ended.status.success(), "{step:?}");
        assert_eq!(stored(folder.path(), &key), expected, "{step:?}");
        // What it left behind is in no other's way, the lock included.
        store.replace(&sealed("later", &key), None).unwrap();
        assert_eq!(stored(folder.path(), &key), "later", "{step:?}");
        let (all, broken) = store.list().unwrap();
        assert_eq!((all.len(), broken), (1, 0), "{step:?}");
    }
}
