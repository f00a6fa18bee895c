//! The arguments of `adit ca`. Never in here: the folder itself.

use std::path::PathBuf;

use lexopt::prelude::*;

use super::{Command, UsageError};
use crate::cli::ca;

pub(super) fn local_authority(mut parser: lexopt::Parser) -> Result<Command, UsageError> {
    let (mut dir, mut what) = (PathBuf::from(ca::FOLDER), None);
    let (mut names, mut sha1, mut file) = (Vec::new(), false, None);
    let (mut force, mut serve) = (false, None);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("dir") => dir = parser.value()?.into(),
            Long("name") if what.is_none() => {
                let text = parser.value()?.string()?;
                names.push(ca::Name::parse(&text).ok_or_else(|| {
                    UsageError(format!("'{text}' is neither a host name nor an address"))
                })?);
            }
            Long("sha1") if what.is_none() => sha1 = true,
            Long("file") if what.is_none() => {
                let name = parser.value()?.string()?;
                if !ca::is_file_name(&name) {
                    return Err(UsageError(format!(
                        "'{name}' is no name for a file in the folder: give one as old.pem"
                    )));
                }
                file = Some(name);
            }
            Long(flag @ ("name" | "sha1" | "file")) => {
                let text = format!("'--{flag}' belongs to `adit ca` without `renew` and `show`");
                return Err(UsageError(text));
            }
            Long("force") if what == Some("renew") => force = true,
            Long("serve") if what == Some("show") => serve = Some(parser.value()?.string()?),
            Long("force") => return Err("'--force' belongs to `adit ca renew`".into()),
            Long("serve") => return Err("'--serve' belongs to `adit ca show`".into()),
            Long("help") | Short('h') => return Ok(Command::HelpOn("ca")),
            Value(word) if what.is_none() && names.is_empty() && !sha1 && file.is_none() => {
                what = match word.to_str() {
                    Some("renew") => Some("renew"),
                    Some("show") => Some("show"),
                    _ => return Err(Value(word).unexpected().into()),
                };
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    let what = match what {
        Some("renew") => ca::What::Renew { force },
        Some(_) => ca::What::Show { serve },
        None => ca::What::Make {
            names,
            sha1,
            file: file.unwrap_or_else(|| ca::FILE.to_owned()),
        },
    };
    Ok(Command::Ca(ca::Asked { dir, what }))
}
