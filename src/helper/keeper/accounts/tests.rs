use std::fs::{self, File};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::oauth::account::Grant;
use crate::oauth::seal;

const NAME: &str = "you@example.com";
const PASSWORD: &str = "hunter2";

/// Accounts in a folder of their own, and a token server that answers by a function of the request's number and of the
/// refresh token that came.
struct World {
    folder: tempfile::TempDir,
    accounts: Accounts,
    requests: Arc<AtomicUsize>,
}

type Says = dyn Fn(usize, &str) -> Result<Tokens, Refusal> + Send + Sync;

impl World {
    fn new(says: Box<Says>) -> World {
        let folder = tempfile::tempdir().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let ask = move |_: &Account, secrets: &Secrets, _| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            says(nth, secrets.refresh.as_ref().map_or("", Secret::reveal))
        };
        let accounts = Accounts::new(store_in(folder.path()), Box::new(ask)).unwrap();
        let world = World {
            folder,
            accounts,
            requests,
        };
        world.sign_in(PASSWORD, "refresh 0");
        world
    }

    fn sign_in(&self, password: &str, refresh: &str) {
        let key = Key::new(&Secret::new(password)).unwrap();
        let secrets = Secrets {
            refresh: Some(Secret::new(refresh)),
            client: None,
        };
        let sealed = Sealed::seal(seal::example(), &secrets, &key).unwrap();
        self.store().replace(&sealed, None).unwrap();
    }

    fn store(&self) -> Store {
        store_in(self.folder.path())
    }

    /// The refresh token on the disk.
    fn stored(&self) -> String {
        let (_, sealed) = self.store().read(NAME).unwrap().unwrap();
        let key = sealed.key(&Secret::new(PASSWORD)).unwrap();
        let secrets = sealed.open(&key).unwrap();
        secrets.refresh.unwrap().reveal().to_owned()
    }

    fn ask(&self, password: &str) -> TokenAnswer {
        self.ask_refused(password, None)
    }

    fn ask_refused(&self, password: &str, refused: Option<&TokenAnswer>) -> TokenAnswer {
        let refused = refused.map(|answer| match answer {
            TokenAnswer::Granted(token) => token.digest(),
            other => panic!("{other:?}"),
        });
        self.ask_from("192.0.2.7", password, refused)
    }

    fn ask_from(&self, client: &str, password: &str, refused: Option<TokenDigest>) -> TokenAnswer {
        self.accounts.answer(&Question {
            account: NAME.to_owned(),
            password: Secret::new(password),
            client: client.parse().ok(),
            refused,
        })
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Has time go by for what is waited for.
    fn later(&self, time: Duration) {
        let slot = self.accounts.slot(NAME);
        let mut state = slot.state();
        if let Some(pause) = &mut state.pause {
            pause.until -= time;
        }
        if let Some(access) = state.open.as_mut().and_then(|open| open.access.as_mut()) {
            access.got -= time;
            access.due -= time;
            access.ends -= time;
        }
    }
}

fn store_in(folder: &std::path::Path) -> Store {
    Store::new(File::open(folder).unwrap().into())
}

fn tokens(access: &str, life: u64, refresh: Option<&str>) -> Result<Tokens, Refusal> {
    Ok(Tokens {
        access: Secret::new(access),
        life: Duration::from_secs(life),
        refresh: refresh.map(Secret::new),
    })
}

/// Rotates, and takes the newest refresh token alone.
fn rotating(nth: usize, refresh: &str) -> Result<Tokens, Refusal> {
    match refresh == format!("refresh {nth}") {
        true => tokens(
            &format!("access-{nth}"),
            3600,
            Some(&format!("refresh {}", nth + 1)),
        ),
        false => Err(Refusal::Rejected(
            "the token server answers: invalid_grant".into(),
        )),
    }
}

fn granted(access: &str) -> TokenAnswer {
    TokenAnswer::Granted(Token {
        user: NAME.to_owned(),
        access: Secret::new(access),
    })
}

#[test]
fn fifty_that_ask_at_once_share_one_request_also_as_the_token_ends() {
    let world = World::new(Box::new(rotating));
    for round in 0..3 {
        let barrier = Barrier::new(50);
        std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                world.ask(PASSWORD)
            };
            let all: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
            for one in all {
                assert_eq!(one.join().unwrap(), granted(&format!("access-{round}")));
            }
        });
        assert_eq!(world.requests(), round + 1);
        assert_eq!(world.stored(), format!("refresh {}", round + 1));
        // Some minutes before its end it is replaced.
        world.later(Duration::from_secs(3600 - 299));
    }
}

#[test]
fn a_wrong_password_is_refused_asks_nothing_and_harms_nothing() {
    let world = World::new(Box::new(rotating));
    for _ in 0..100 {
        assert_eq!(world.ask("wrong"), TokenAnswer::WrongPassword);
    }
    assert_eq!(
        (world.requests(), world.stored()),
        (0, "refresh 0".to_owned())
    );
    assert_eq!(world.ask(PASSWORD), granted("access-0"));
    assert_eq!(world.ask("wrong"), TokenAnswer::WrongPassword);
    for guess in 0..9 {
        assert_eq!(
            world.ask(&format!("guess {guess}")),
            TokenAnswer::WrongPassword
        );
    }
    // Then none is looked at: an answer would tell.
    for password in ["guess", PASSWORD] {
        assert!(
            matches!(world.ask(password), TokenAnswer::Away(words) if words.contains("too many"))
        );
    }
    let unknown = Question {
        account: "other@example.com".to_owned(),
        password: Secret::new(PASSWORD),
        client: None,
        refused: None,
    };
    assert_eq!(world.accounts.answer(&unknown), TokenAnswer::NotSignedIn);
    assert_eq!(
        (world.requests(), world.stored()),
        (1, "refresh 1".to_owned())
    );
}

#[test]
fn guesses_from_elsewhere_do_not_keep_a_program_waiting_that_has_the_password() {
    let world = World::new(Box::new(rotating));
    let from = |client: &str, password: &str| world.ask_from(client, password, None);
    let waits = |answer| matches!(answer, TokenAnswer::Away(words) if words.contains("too many"));
    let (till, v6) = ("192.0.2.10", "2001:db8:0:1::7");
    for client in [till, v6] {
        assert_eq!(from(client, PASSWORD), granted("access-0"));
    }
    for guess in 0..10 {
        let answer = from("192.0.2.66", &format!("guess {guess}"));
        assert_eq!(answer, TokenAnswer::WrongPassword);
    }
    // A guess that is right would tell.
    assert!(waits(from("192.0.2.66", PASSWORD)));
    assert!(waits(from("192.0.2.66", "guess")));
    // One machine has many addresses of IPv6, and its network is its own.
    for client in [till, v6, "2001:db8:0:1::8"] {
        assert_eq!(from(client, PASSWORD), granted("access-0"));
    }
    assert!(waits(from("2001:db8:0:2::7", PASSWORD)));
    // What they guess themselves they wait for.
    for guess in 0..20 {
        let _ = from(till, &format!("own guess {guess}"));
    }
    assert!(waits(from(till, PASSWORD)));
    assert_eq!(from(v6, PASSWORD), granted("access-0"));
}

#[test]
fn invalid_grant_keeps_the_token_and_is_tried_again_later() {
    let world = World::new(Box::new(|nth, _| match nth {
        0 | 1 => Err(Refusal::Rejected("invalid_grant".into())),
        _ => tokens("access", 3600, None),
    }));
    let again = TokenAnswer::SignInAgain("invalid_grant".into());
    for _ in 0..3 {
        assert_eq!(world.ask(PASSWORD), again);
    }
    assert_eq!(
        (world.requests(), world.stored()),
        (1, "refresh 0".to_owned())
    );
    world.later(Duration::from_secs(30));
    assert_eq!(world.ask(PASSWORD), again);
    // Twice as long then.
    world.later(Duration::from_secs(30));
    assert_eq!((world.ask(PASSWORD), world.requests()), (again, 2));
    world.later(Duration::from_secs(30));
    assert_eq!(world.ask(PASSWORD), granted("access"));
    assert_eq!(world.stored(), "refresh 0");
}

#[test]
fn a_token_server_that_is_away_costs_nothing_as_long_as_the_token_is_good() {
    let world = World::new(Box::new(|nth, _| match nth {
        0 => tokens("access", 3600, None),
        _ => Err(Refusal::Away("HTTP status 503".into())),
    }));
    assert_eq!(world.ask(PASSWORD), granted("access"));
    world.later(Duration::from_secs(3400));
    assert_eq!(world.ask(PASSWORD), granted("access"));
    assert_eq!(
        (world.ask(PASSWORD), world.requests()),
        (granted("access"), 2)
    );
    world.later(Duration::from_mins(5));
    assert_eq!(
        world.ask(PASSWORD),
        TokenAnswer::Away("HTTP status 503".into())
    );
}

#[test]
fn a_token_that_the_server_refused_is_replaced_once() {
    let world = World::new(Box::new(rotating));
    let first = world.ask(PASSWORD);
    // It is old enough to have been revoked.
    world.later(Duration::from_secs(61));
    let second = world.ask_refused(PASSWORD, Some(&first));
    assert_eq!(second, granted("access-1"));
    // Those that come with the first one get the second, and no third.
    assert_eq!(world.ask_refused(PASSWORD, Some(&first)), second);
    let answer = world.ask_refused(PASSWORD, Some(&second));
    assert!(matches!(answer, TokenAnswer::SignInAgain(_)), "{answer:?}");
    assert_eq!(world.requests(), 2);
}

#[test]
fn what_cannot_be_stored_is_not_used_before_it_is() {
    let world = World::new(Box::new(rotating));
    // No file can be made in its place.
    let in_the_way = world.folder.path().join("you@example.com.account.new");
    fs::create_dir(&in_the_way).unwrap();
    assert!(
        matches!(world.ask(PASSWORD), TokenAnswer::Away(words) if words.contains("cannot be stored"))
    );
    fs::remove_dir(&in_the_way).unwrap();
    world.later(Duration::from_secs(2));
    assert_eq!(world.ask(PASSWORD), granted("access-0"));
    assert_eq!(
        (world.requests(), world.stored()),
        (1, "refresh 1".to_owned())
    );
}

#[test]
fn an_account_that_is_signed_in_again_or_forgotten_is_seen_at_once() {
    let world = World::new(Box::new(|_, refresh| {
        tokens(&refresh.replace(' ', "-"), 3600, None)
    }));
    assert_eq!(world.ask(PASSWORD), granted("refresh-0"));
    world.sign_in("another", "refresh 9");
    assert_eq!(world.ask(PASSWORD), TokenAnswer::WrongPassword);
    assert_eq!(world.ask("another"), granted("refresh-9"));
    world.store().forget(NAME).unwrap();
    assert_eq!(world.ask("another"), TokenAnswer::NotSignedIn);
    fs::write(world.folder.path().join("you@example.com.account"), "{").unwrap();
    assert!(matches!(world.ask("another"), TokenAnswer::Away(words) if words.contains("damaged")));
}

#[test]
fn what_is_signed_in_while_the_server_is_asked_is_not_overwritten() {
    let folder: Arc<Mutex<Option<std::path::PathBuf>>> = Arc::default();
    let place = Arc::clone(&folder);
    let world = World::new(Box::new(move |_, refresh| {
        if let Some(folder) = place.lock().unwrap().take() {
            let key = Key::new(&Secret::new(PASSWORD)).unwrap();
            let secrets = Secrets {
                refresh: Some(Secret::new("refresh 7")),
                client: None,
            };
            let sealed = Sealed::seal(seal::example(), &secrets, &key).unwrap();
            store_in(&folder).replace(&sealed, None).unwrap();
        }
        tokens("access", 3600, Some(&format!("{refresh}x")))
    }));
    *folder.lock().unwrap() = Some(world.folder.path().to_owned());
    let answer = world.ask(PASSWORD);
    assert!(matches!(answer, TokenAnswer::Away(_)), "{answer:?}");
    assert_eq!(world.stored(), "refresh 7");
    assert_eq!(world.ask(PASSWORD), granted("access"));
    assert_eq!(world.stored(), "refresh 7x");
}

#[test]
fn a_server_that_says_the_secret_again_is_not_repeated() {
    let world = World::new(Box::new(|_, refresh| {
        Err(Refusal::Rejected(format!(
            "invalid_grant ({refresh} is unknown)"
        )))
    }));
    let TokenAnswer::SignInAgain(words) = world.ask(PASSWORD) else {
        panic!();
    };
    assert!(!words.contains("refresh 0"), "{words}");
}

#[test]
fn a_panic_of_one_that_asks_leaves_the_account_to_the_others() {
    let world = World::new(Box::new(|nth, _| match nth {
        0 => panic!("as a test"),
        _ => tokens("access", 3600, None),
    }));
    std::thread::scope(|scope| {
        assert!(scope.spawn(|| world.ask(PASSWORD)).join().is_err());
    });
    assert_eq!(world.ask(PASSWORD), granted("access"));
}

#[test]
fn client_credentials_need_the_local_password_too() {
    let world = World::new(Box::new(|_, refresh| {
        assert_eq!(refresh, "");
        tokens("access", 3600, None)
    }));
    let key = Key::new(&Secret::new(PASSWORD)).unwrap();
    let account = Account {
        grant: Grant::ClientCredentials,
        ..seal::example()
    };
    let secrets = Secrets {
        refresh: None,
        client: Some(Secret::new("secret")),
    };
    let form = account.form(&secrets);
    assert_eq!(
        form.text(),
        "grant_type=client_credentials&scope=mail&client_id=id&client_secret=secret"
    );
    world
        .store()
        .replace(&Sealed::seal(account, &secrets, &key).unwrap(), None)
        .unwrap();
    assert_eq!(world.ask("any"), TokenAnswer::WrongPassword);
    assert_eq!(world.ask(PASSWORD), granted("access"));
}
