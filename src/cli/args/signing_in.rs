//! The arguments of `adit login`.

use std::path::PathBuf;

use lexopt::prelude::*;

use super::{Command, UsageError};
use crate::cli::login::{Asked, Flow, SignIn, What};

pub(super) fn login(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut sign_in, mut name, mut file) = (SignIn::default(), None, None);
    let mut other = None;
    // A flag of a sign-in alone.
    let mut set = false;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => return Ok(Command::HelpOn("login")),
            Long(flag @ ("list" | "forget" | "try")) => {
                let flag = flag.to_owned();
                if other.replace(flag).is_some() {
                    return Err("one of '--list', '--forget' and '--try' at a time".into());
                }
            }
            Long("password-file") => sign_in.password_file = Some(path(&mut parser)?),
            Long(flag) => {
                let flag = flag.to_owned();
                option(&flag, &mut sign_in, &mut parser)?;
                set = true;
            }
            Value(text) if name.is_none() && other.as_deref() != Some("list") => {
                name = Some(text.string()?);
            }
            Value(path) if file.is_none() => file = Some(PathBuf::from(path)),
            _ => return Err(argument.unexpected().into()),
        }
    }
    if let Some(flag) = other.as_ref().filter(|_| set) {
        return Err(UsageError(format!(
            "'--{flag}' goes with no flag of a sign-in"
        )));
    }
    let named = name.ok_or("adit login needs the name of an account: adit login you@example.com");
    let what = match other.as_deref() {
        Some("list") => What::List,
        Some("forget") => What::Forget(named?),
        Some(_) => What::Try(named?, sign_in.password_file),
        None => {
            sign_in.name = named?;
            What::SignIn(Box::new(sign_in))
        }
    };
    Ok(Command::Login(Asked { what, file }))
}

fn option(flag: &str, sign_in: &mut SignIn, parser: &mut lexopt::Parser) -> Result<(), UsageError> {
    let mut text = || Ok::<_, UsageError>(Some(parser.value()?.string()?));
    match flag {
        "provider" => sign_in.provider = text()?,
        "user" => sign_in.user = text()?,
        "client-id" => sign_in.client_id = text()?,
        "tenant" => sign_in.tenant = text()?,
        "scope" => sign_in.scope = text()?,
        "authorize-url" => sign_in.authorize_url = text()?,
        "token-url" => sign_in.token_url = text()?,
        "device-url" => sign_in.device_url = text()?,
        "client-secret-file" => sign_in.client_secret_file = Some(path(parser)?),
        "ca-file" => sign_in.ca_file = Some(path(parser)?),
        "port" => sign_in.port = Some(parser.value()?.parse()?),
        "flow" => {
            let word = parser.value()?.string()?;
            let known = Flow::WORDS.iter().find(|(known, _)| *known == word);
            let (_, flow) = known.ok_or_else(|| {
                UsageError(format!(
                    "'--flow {word}': there are device, browser and credentials"
                ))
            })?;
            sign_in.flow = Some(*flow);
        }
        _ => return Err(lexopt::Error::UnexpectedOption(format!("--{flag}")).into()),
    }
    Ok(())
}

fn path(parser: &mut lexopt::Parser) -> Result<PathBuf, UsageError> {
    Ok(PathBuf::from(parser.value()?))
}
