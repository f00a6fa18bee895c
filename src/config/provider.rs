//! The lines of a configuration as a figment [`Provider`], so that the file, `ADIT_*` variables and
//! flags are layers of one figment, the later above the earlier.
//!
//! figment tags values by provider, not by line, so each value carries its own place: it is a
//! [`Given`]. An option's values in one layer replace those of the layers below as a whole.

mod environment;

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::diagnostic::{Diagnostic, Severity};
use super::option::{self, OptionDef, Scope};
use super::syntax::Item;
use super::value::Origin;

/// A value and where it was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Given {
    /// The option as it was spelled.
    pub name: String,
    /// What stands behind the `=`; it may be a secret.
    pub value: Zeroizing<String>,
    place: String,
    line: u32,
    text: String,
    /// Over all layers: some options undo what others said before them.
    pub order: u64,
}

impl Given {
    fn new(name: &str, value: &str, origin: &Origin, order: u64) -> Self {
        Given {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            place: origin.place.to_string(),
            line: origin.line,
            text: origin.text.to_string(),
            order,
        }
    }

    /// Where it was written.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            place: self.place.as_str().into(),
            line: self.line,
            text: self.text.as_str().into(),
        }
    }
}

/// The options of the global part or of one section, by name in small letters.
pub(super) type Options = BTreeMap<String, Vec<Given>>;

/// One `[section]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Section {
    /// Its line; the name is the name.
    pub header: Given,
    /// Its lines.
    pub options: Options,
}

/// What figment comes to: text still, but every layer counted in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Raw {
    /// What stands before the first section.
    #[serde(default)]
    pub global: Options,
    /// In the order of the file. Absent where there is none: an empty list would replace that of
    /// the layer below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<Section>,
}

impl Raw {
    /// The values of secrets.
    fn secrets(&mut self) -> impl Iterator<Item = &mut Zeroizing<String>> {
        let sections = self.sections.iter_mut();
        let options = sections.map(|section| &mut section.options);
        options
            .chain([&mut self.global])
            .flat_map(|options| options.values_mut().flatten())
            .filter(|given| option::find(&given.name).is_some_and(|option| option.secret))
            .map(|given| &mut given.value)
    }
}

/// One layer: a file with what it includes, the environment, or the flags.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    name: &'static str,
    raw: Raw,
    next: u64,
}

/// Room for the lines of a layer in [`Given::order`].
const LAYER: u64 = 1 << 32;

impl Layer {
    /// An empty layer; `height` is how many are below.
    pub(super) fn new(name: &'static str, height: u64) -> Self {
        Layer {
            name,
            raw: Raw::default(),
            next: height * LAYER,
        }
    }

    /// The lines of a file.
    pub(super) fn from_items(items: &[Item]) -> Self {
        let mut layer = Layer::new("configuration file", 0);
        for item in items {
            match item {
                Item::Section { name, origin } => layer.section(name, origin),
                Item::Option {
                    name,
                    value,
                    origin,
                } => layer.add(name, value, origin),
            }
        }
        layer
    }

    /// Flags as option names and values. With `relay` the options of a service make up one.
    pub(super) fn from_flags(
        flags: &[(String, String)],
        relay: bool,
        height: u64,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut layer = Layer::new("flags", height);
        // Global options first: behind the section's line nothing is global.
        for global in [true, false] {
            if relay && !global {
                let origin = Origin {
                    place: "adit relay".into(),
                    line: 0,
                    text: "".into(),
                };
                layer.section("relay", &origin);
            }
            for (name, value) in flags {
                let option = option::find_spelled(name);
                let is_global = option.is_none_or(|option| option.scope != Scope::Service);
                if is_global != global {
                    continue;
                }
                let text = match option {
                    Some(option) if !option.secret => format!("--{name} {value}"),
                    _ => String::new(),
                };
                let origin = Origin {
                    place: format!("flag --{name}").into(),
                    line: 0,
                    text: text.into(),
                };
                match option {
                    Some(option) if settable(option, !relay) => {
                        layer.add(option.name, value, &origin);
                    }
                    option => diagnostics.push(unknown_flag(option, name, &origin)),
                }
            }
        }
        layer
    }

    /// Whether it has a section.
    pub(super) fn has_sections(&self) -> bool {
        !self.raw.sections.is_empty()
    }

    fn order(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn section(&mut self, name: &str, origin: &Origin) {
        let header = Given::new(name, "", origin, self.order());
        let options = Options::new();
        self.raw.sections.push(Section { header, options });
    }

    /// Adds to the last section, or to the global part where there is none yet.
    fn add(&mut self, name: &str, value: &str, origin: &Origin) {
        let given = Given::new(name, value, origin, self.order());
        let options = match self.raw.sections.last_mut() {
            Some(section) => &mut section.options,
            None => &mut self.raw.global,
        };
        let key = name.to_ascii_lowercase();
        options.entry(key).or_default().push(given);
    }
}

/// Whether an option can come from outside a file.
fn settable(option: &OptionDef, global_only: bool) -> bool {
    option.name != "include" && !(global_only && option.scope == Scope::Service)
}

fn unknown_flag(option: Option<&OptionDef>, name: &str, origin: &Origin) -> Diagnostic {
    let text = match option {
        Some(option) => format!("`{}` belongs into a file", option.name),
        None => format!("no option is called `{name}`"),
    };
    let error = Diagnostic::new(Severity::Error, Some(origin), text);
    match option::nearest_option(name) {
        Some(meant) if option.is_none() => error.help(format!("did you mean --{}?", meant.name)),
        _ if option.is_some() => error.help("write it there"),
        _ => error.help("`adit -help` lists the options"),
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let dict = Value::serialize(&self.raw)?.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

/// Puts the layers on each other, the first lowest. Secrets are kept out of figment, whose copies are not wiped.
///
/// # Errors
/// figment's own; text as it comes from [`Layer`] gives it no cause for any.
pub(super) fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Raw, Box<Error>> {
    let mut figment = Figment::new();
    let mut aside = Vec::new();
    for mut layer in layers {
        for secret in layer.raw.secrets() {
            let number = Zeroizing::new(aside.len().to_string());
            aside.push(std::mem::replace(secret, number));
        }
        figment = figment.merge(layer);
    }
    let mut raw: Raw = figment.extract().map_err(Box::new)?;
    for secret in raw.secrets() {
        let number = secret.parse().ok();
        if let Some(place) = number.and_then(|number: usize| aside.get_mut(number)) {
            std::mem::swap(secret, place);
        }
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option_line(name: &str, value: &str, line: u32) -> Item {
        let origin = Origin {
            place: "f".into(),
            line,
            text: format!("{name} = {value}").into(),
        };
        Item::Option {
            name: name.into(),
            value: Zeroizing::new(value.into()),
            origin,
        }
    }

    #[test]
    fn the_higher_layer_wins_and_keeps_its_place() {
        let file = Layer::from_items(&[
            option_line("Debug", "5", 1),
            option_line("workers", "4", 2),
            option_line("workers", "5", 3),
        ]);
        let variables = [
            ("ADIT_DEBUG".to_owned(), Some("6".to_owned())),
            ("PATH".to_owned(), Some("/bin".to_owned())),
        ];
        let mut diagnostics = Vec::new();
        let environment = Layer::from_environment(&variables, Some(&file), 1, &mut diagnostics);
        let flags = [("Drain-Timeout".to_owned(), "9".to_owned())];
        let flags = Layer::from_flags(&flags, false, 2, &mut diagnostics);
        assert!(diagnostics.is_empty());
        let raw = merge([file, environment, flags]).unwrap();
        let shown: Vec<_> = raw
            .global
            .iter()
            .map(|(key, given)| (key.as_str(), given.last().unwrap()))
            .map(|(key, last)| format!("{key} {} {}", last.value.as_str(), last.origin()))
            .collect();
        assert_eq!(
            shown,
            [
                "debug 6 environment variable ADIT_DEBUG",
                "draintimeout 9 flag --Drain-Timeout",
                "workers 5 f:3",
            ]
        );
        assert_eq!(raw.global["workers"].len(), 2);
        assert!(raw.global["debug"][0].order > raw.global["workers"][1].order);
    }

    #[test]
    fn secrets_come_through_in_the_place_of_their_lines() {
        let file = Layer::from_items(&[
            option_line("protocolPassword", "0", 1),
            option_line("protocolHeader", "A: 1", 2),
            option_line("protocolHeader", "B: 2", 3),
        ]);
        let flags = [("protocolPassword".to_owned(), "7".to_owned())];
        let mut diagnostics = Vec::new();
        let flags = Layer::from_flags(&flags, true, 1, &mut diagnostics);
        assert!(diagnostics.is_empty());
        let raw = merge([file, flags]).unwrap();
        let values = |options: &Options, name: &str| -> Vec<String> {
            let given = options[name].iter();
            given.map(|given| given.value.as_str().to_owned()).collect()
        };
        assert_eq!(values(&raw.global, "protocolpassword"), ["0"]);
        assert_eq!(values(&raw.global, "protocolheader"), ["A: 1", "B: 2"]);
        let section = &raw.sections[0].options;
        assert_eq!(values(section, "protocolpassword"), ["7"]);
    }

    #[test]
    fn flags_of_a_service_make_up_one_section() {
        let flags = [("accept", "1"), ("debug", "7"), ("connect", "h:2")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut diagnostics = Vec::new();
        let raw = merge([Layer::from_flags(&flags, true, 0, &mut diagnostics)]).unwrap();
        assert!(diagnostics.is_empty());
        assert_eq!(raw.sections.len(), 1);
        assert_eq!(raw.sections[0].header.name, "relay");
        assert!(raw.sections[0].options.contains_key("accept"));
        assert!(raw.global.contains_key("debug"));
        // Outside `adit relay` there is no service that they could belong to.
        Layer::from_flags(&flags, false, 0, &mut diagnostics);
        assert_eq!(diagnostics.len(), 2);
    }
}
