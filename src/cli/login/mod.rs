//! `adit login`: signs a mail account in by OAuth2, and keeps what it was given for the keeper. It asks the network as the
//! keeper's user, never as root. Never in here: a token or a password on the terminal or in an argument.

mod browser;
mod device;
mod failure;
mod qr;
mod setup;
mod terminal;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{self, KeeperOptions, Secret, Sources};
use crate::helper::keeper;
use crate::jail::Keeping;
use crate::log::Reason;
use crate::oauth::account::{Account, Grant, Secrets};
use crate::oauth::answer::Tokens;
use crate::oauth::ask::{self, Server};
use crate::oauth::seal::{Key, Sealed};
use crate::oauth::store::{self, Store};
use crate::process::OneThread;
use crate::status::Utc;
use browser::Browser;
use device::Device;
use failure::Failure;
use setup::Setup;
use terminal::{Interrupts, Terminal};

pub(super) use setup::{Flow, SignIn};

/// Shortest local password, in characters.
const SHORTEST: usize = 8;
/// Longest file of a password, a secret or authorities, in bytes.
const MAX_FILE: u64 = 128 << 10;

/// What to do, by which configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub what: What,
    pub file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    SignIn(Box<SignIn>),
    List,
    Forget(String),
    /// Have a token as a session would, and say what comes.
    Try(String, Option<PathBuf>),
}

/// Does it, and reports on standard output.
pub(super) fn run(asked: &Asked) -> ExitCode {
    let done = keeper_options(asked.file.as_deref()).and_then(|options| match &asked.what {
        What::SignIn(sign_in) => sign_in_to(sign_in, &options),
        What::List => list(&options),
        What::Forget(name) => forget(name, &options),
        What::Try(name, password) => try_out(name, password.as_deref(), &options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            super::complain(format_args!("login: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// By the configuration, if there is one.
fn keeper_options(file: Option<&Path>) -> Result<KeeperOptions, Failure> {
    let usual = Path::new(super::args::default_file(false));
    let file = match file {
        None if !usual.exists() => return Ok(KeeperOptions::default()),
        file => file.unwrap_or(usual),
    };
    let sources = Sources {
        file: Some(std::path::absolute(file).unwrap_or_else(|_| file.to_owned())),
        environment: true,
        ..Sources::default()
    };
    match config::load_partly(&sources) {
        (Some(config), _) => Ok(config.global.keeper),
        (None, errors) => Err(Failure::Configuration(errors.to_string())),
    }
}

/// Opens the folder, and becomes its user for good.
fn become_keeper(options: &KeeperOptions) -> Result<Store, Failure> {
    let Keeping { plan, folder } = Keeping::look_up(options).map_err(Failure::Keeping)?;
    let one = OneThread::prove().map_err(Failure::Sandbox)?;
    let bare = plan.enter(&one).map_err(Failure::Jail)?;
    // A person's command, which has read what it was given by then; it is not the network's.
    let _outside = bare.outside_any();
    Ok(Store::new(folder))
}

fn sign_in_to(asked: &SignIn, options: &KeeperOptions) -> Result<(), Failure> {
    let name = named(&asked.name)?;
    let setup = Setup::of(asked)?;
    // Files that only root may read, and the terminal, come first.
    let client_secret = asked
        .client_secret_file
        .as_deref()
        .map(secret_in)
        .transpose()?;
    let authorities = asked.ca_file.as_deref().map(text_in).transpose()?;
    let source = Source::of(asked.password_file.as_deref())?;
    let store = become_keeper(options)?;
    let interrupts = Interrupts::catch().map_err(Failure::Terminal)?;
    let password = match source {
        Source::File(password) => password,
        Source::Terminal(terminal) => ask_twice(name, &terminal, &interrupts)?,
    };
    if password.reveal().chars().count() < SHORTEST {
        return Err(Failure::Password(
            "it is shorter than 8 characters; it guards the account",
        ));
    }
    let key = Key::new(&password).map_err(|_| Failure::NoSeal)?;
    let account = Account {
        name: name.to_owned(),
        user: asked.user.clone().unwrap_or_else(|| name.to_owned()),
        provider: setup.provider.clone(),
        grant: match setup.flow {
            Flow::Device | Flow::Browser => Grant::RefreshToken,
            Flow::Credentials => Grant::ClientCredentials,
        },
        token_url: setup.token_url.clone(),
        client_id: setup.client_id.clone(),
        scope: setup.scope.clone(),
        authorities: authorities.clone(),
        since: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
    };
    let secrets = Secrets {
        refresh: None,
        client: client_secret,
    };
    let tokens = tokens(&setup, asked, &account, &secrets, &interrupts)?;
    let secrets = match account.grant {
        Grant::RefreshToken => Secrets {
            refresh: Some(tokens.refresh.ok_or(Failure::NoRefreshToken)?),
            ..secrets
        },
        Grant::ClientCredentials => secrets,
    };
    let sealed = Sealed::seal(account, &secrets, &key).map_err(|_| Failure::NoSeal)?;
    store.replace(&sealed, None).map_err(Failure::Store)?;
    println!(
        "\n{name} is signed in. In the mail program: user {name}, and the local password that you chose. A running adit \
         knows it already; services need `login = oauth2`."
    );
    if setup.provider == "google" {
        println!(
            "While the Google project is in \"Testing\", this ends after seven days: publish the project."
        );
    }
    Ok(())
}

fn tokens(
    setup: &Setup,
    asked: &SignIn,
    account: &Account,
    secrets: &Secrets,
    interrupts: &Interrupts,
) -> Result<Tokens, Failure> {
    let authorities = account.authorities.as_deref();
    match setup.flow {
        Flow::Device => Device {
            code_url: &setup.device_url,
            token_url: &setup.token_url,
            authorities,
            client_id: &setup.client_id,
            client_secret: secrets.client.as_ref(),
            scope: &setup.scope,
        }
        .sign_in(interrupts),
        Flow::Browser => Browser {
            authorize_url: &setup.authorize_url,
            token_url: &setup.token_url,
            authorities,
            client_id: &setup.client_id,
            client_secret: secrets.client.as_ref(),
            scope: &setup.scope,
            redirect: setup.redirect,
            more: setup.more,
            port: asked.port.unwrap_or(0),
            user: &account.user,
        }
        .sign_in(interrupts),
        Flow::Credentials => {
            let server = Server {
                url: &setup.token_url,
                authorities,
                deadline: Instant::now() + Duration::from_secs(20),
            };
            ask::tokens(server, &account.form(secrets)).map_err(Failure::Refused)
        }
    }
}

fn list(options: &KeeperOptions) -> Result<(), Failure> {
    let (all, broken) = become_keeper(options)?.list().map_err(Failure::Store)?;
    for sealed in &all {
        let Account {
            name,
            user,
            provider,
            grant,
            client_id,
            since,
            ..
        } = &sealed.account;
        let grant = match grant {
            Grant::RefreshToken => "signed in",
            Grant::ClientCredentials => "client credentials",
        };
        let other = if user == name {
            String::new()
        } else {
            format!(", as {user}")
        };
        let date = Utc(*since);
        println!("{name}  {provider}, {grant} on {date}{other}, client {client_id}");
    }
    if broken > 0 {
        println!(
            "{broken} file(s) in {} are damaged",
            options.directory.display()
        );
    }
    if all.is_empty() {
        println!("no account is signed in: `adit login NAME`");
    }
    Ok(())
}

fn forget(name: &str, options: &KeeperOptions) -> Result<(), Failure> {
    match become_keeper(options)?
        .forget(name)
        .map_err(Failure::Store)?
    {
        true => {
            println!(
                "{name} is forgotten here. The provider's page of connected apps revokes what it was given."
            );
            Ok(())
        }
        false => Err(Failure::NoAccount(name.to_owned())),
    }
}

fn try_out(name: &str, password: Option<&Path>, options: &KeeperOptions) -> Result<(), Failure> {
    let source = Source::of(password)?;
    let store = become_keeper(options)?;
    let interrupts = Interrupts::catch().map_err(Failure::Terminal)?;
    let password = match source {
        Source::File(password) => password,
        Source::Terminal(terminal) => {
            ask_once(&format!("Local password of {name}"), &terminal, &interrupts)?
        }
    };
    let said = keeper::try_out(store, name, password)
        .map_err(|error| Failure::Tried(Reason(&error).to_string()))?;
    said.map(|words| println!("{name}: {words}"))
        .map_err(Failure::Tried)
}

fn named(name: &str) -> Result<&str, Failure> {
    let plain = !name.is_empty() && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    match plain && store::file_name(name).is_some() {
        true => Ok(name),
        false => Err(Failure::Name(format!(
            "{name:?} is no name of an account: give what the mail program has as its user, as you@example.com"
        ))),
    }
}

/// Where the local password comes from. It is opened before root is given up.
enum Source {
    File(Secret),
    Terminal(Terminal),
}

impl Source {
    fn of(file: Option<&Path>) -> Result<Source, Failure> {
        match file {
            Some(file) => secret_in(file).map(Source::File),
            None => Terminal::open()
                .map(Source::Terminal)
                .map_err(Failure::Terminal),
        }
    }
}

fn ask_once(
    question: &str,
    terminal: &Terminal,
    interrupts: &Interrupts,
) -> Result<Secret, Failure> {
    let answer = terminal
        .ask(question, interrupts)
        .map_err(Failure::Terminal)?;
    answer.ok_or(Failure::Interrupted)
}

fn ask_twice(name: &str, terminal: &Terminal, interrupts: &Interrupts) -> Result<Secret, Failure> {
    println!(
        "Choose a local password for {name}: the mail program sends it to adit, and never further. It is not the one of \
         the provider."
    );
    let first = ask_once("Local password", terminal, interrupts)?;
    match ask_once("Once more", terminal, interrupts)? == first {
        true => Ok(first),
        false => Err(Failure::Password("the two differ")),
    }
}

/// A secret in a file: its first line.
fn secret_in(path: &Path) -> Result<Secret, Failure> {
    let text = zeroize::Zeroizing::new(text_in(path)?);
    let line = text.lines().next().unwrap_or_default();
    match line.is_empty() {
        true => Err(Failure::File(
            path.to_owned(),
            "its first line is empty".to_owned(),
        )),
        false => Ok(Secret::new(line)),
    }
}

fn text_in(path: &Path) -> Result<String, Failure> {
    let failed = |why: String| Failure::File(path.to_owned(), why);
    let file = fs::File::open(path).map_err(|error| failed(Reason(&error).to_string()))?;
    let mut text = String::new();
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text);
    let length = length.map_err(|error| failed(Reason(&error).to_string()))?;
    match length as u64 > MAX_FILE {
        true => Err(failed("it is too long".to_owned())),
        false => Ok(text),
    }
}
