//! The arguments of `adit add` and `adit providers`.

use lexopt::prelude::*;

use super::{Command, UsageError, default_file};
use crate::cli::add::{self, Address, Asked, Name, Reader, What};
use crate::cli::providers::{Mail, Provider};
use crate::config::accept_networks;

pub(super) fn add(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut address, mut file, mut what) = (None, None, What::default());
    let (mut reader, mut listen, mut name) = (Reader::default(), None, None);
    let mut from = None;
    let (mut provider, mut servers, mut yes) = (None, Vec::new(), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Long(flag @ ("print" | "remove")) => {
                if what != What::Write {
                    return Err("'--print' and '--remove' do not go together".into());
                }
                what = if flag == "print" {
                    What::Print
                } else {
                    What::Remove
                };
            }
            Long("for") => reader = known_reader(&parser.value()?.string()?)?,
            Long("listen") => listen = Some(own_address(&parser.value()?.string()?)?),
            Long("from") => from = Some(networks(&parser.value()?.string()?)?),
            Long("name") => name = Some(service_name(&parser.value()?.string()?)?),
            Long("provider") => provider = Some(known_provider(&parser.value()?.string()?)?),
            Long("yes") => yes = true,
            Long("help") | Short('h') => return Ok(Command::HelpOn("add")),
            Long(flag) => match Mail::ALL.into_iter().find(|mail| mail.word() == flag) {
                Some(mail) if servers.iter().all(|(known, _)| *known != mail) => {
                    let text = parser.value()?.string()?;
                    servers.push((mail, add::by_hand(&text).map_err(UsageError)?));
                }
                _ => return Err(argument.unexpected().into()),
            },
            Value(text) if address.is_none() => {
                address = Some(Address::parse(&text.string()?).map_err(UsageError)?);
            }
            Value(path) if file.is_none() => file = Some(path.into()),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let address = address.ok_or("adit add needs an address: adit add you@example.com")?;
    if provider.is_some() && !servers.is_empty() {
        return Err(
            "'--provider' knows the servers: leave out '--smtp', '--pop3' and '--imap'".into(),
        );
    }
    if from.is_some() && listen.is_none() {
        return Err("'--from' says which other machines may connect: add '--listen'".into());
    }
    Ok(Command::Add(Asked {
        address,
        file: file.unwrap_or_else(|| default_file(false).into()),
        what,
        reader,
        listen,
        from,
        name,
        provider,
        servers,
        yes,
    }))
}

pub(super) fn providers(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let mut word = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Value(text) if word.is_none() => word = Some(text.string()?),
            Long("help") | Short('h') => return Ok(Command::HelpOn("providers")),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Command::Providers(word))
}

fn known_reader(word: &str) -> Result<Reader, UsageError> {
    Reader::of(word).ok_or_else(|| {
        let words = Reader::WORDS.map(|(word, _)| word).join(", ");
        UsageError(format!("'--for {word}': there are {words}"))
    })
}

fn own_address(text: &str) -> Result<std::net::IpAddr, UsageError> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    bare.unwrap_or(text).parse().map_err(|_| {
        UsageError(format!(
            "'--listen {text}': give an address of this machine, as 192.168.1.5, without a port"
        ))
    })
}

fn networks(text: &str) -> Result<String, UsageError> {
    let networks = accept_networks(text).map_err(UsageError)?;
    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
    Ok(networks.join(", "))
}

fn service_name(text: &str) -> Result<Name, UsageError> {
    Name::parse(text).ok_or_else(|| {
        UsageError(format!(
            "'--name {text}': letters, digits and . _ @ + - make a name, a letter or a digit first"
        ))
    })
}

fn known_provider(id: &str) -> Result<&'static Provider, UsageError> {
    Provider::with_id(id).ok_or_else(|| {
        let ids = Provider::all().iter().map(|provider| provider.id);
        let near = crate::config::nearest(id, ids);
        let near = near.map(|near| format!("did you mean {near}? "));
        UsageError(format!(
            "'--provider {id}': {}`adit providers` lists them",
            near.unwrap_or_else(|| "no provider is called so: ".to_owned())
        ))
    })
}
