//! `ADIT_*` variables as a layer: `ADIT_OPTION` stands where the lines before the first section do, and
//! `ADIT_SERVICE_NAME_OPTION` in the section of that name. Never in here: reading the environment.

use std::net::{IpAddr, SocketAddr};

use super::{Given, Layer, Options, Section};
use crate::config::diagnostic::{Diagnostic, Severity, nearest};
use crate::config::option::{self, OptionDef, Scope};
use crate::config::value::Origin;

/// Behind `ADIT_`: the variable belongs to one service.
const SERVICE: &str = "SERVICE_";

/// What a variable's name says.
#[derive(Debug, Clone, Copy)]
enum Meaning<'a> {
    /// An option before the first section.
    Global(&'static OptionDef),
    /// An option of the service of this name, spelled as in the variable.
    Service(&'a str, &'static OptionDef),
}

impl Layer {
    /// `ADIT_*` variables, by their whole names. A section that the layer `below` has too is taken over
    /// from there, since figment replaces lists as a whole.
    pub(in crate::config) fn from_environment(
        variables: &[(String, Option<String>)],
        below: Option<&Layer>,
        height: u64,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut layer = Layer::new("environment", height);
        let below = below.map_or(&[][..], |below| &below.raw.sections);
        let mut cluster = None;
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix("ADIT_") else {
                continue;
            };
            let mut place = Origin {
                place: format!("environment variable {variable}").into(),
                line: 0,
                text: "".into(),
            };
            let read =
                meaning(name).and_then(|meaning| Ok((meaning, lines(value.as_deref(), meaning)?)));
            let (meaning, lines) = match read {
                Ok(read) => read,
                Err(_) if is_of_kubernetes(variable, value.as_deref(), variables) => {
                    cluster.get_or_insert(place);
                    continue;
                }
                Err((text, help)) => {
                    let error = Diagnostic::new(Severity::Error, Some(&place), text);
                    diagnostics.push(error.help(help));
                    continue;
                }
            };
            for line in lines {
                if !meaning.option().secret {
                    place.text = format!("{variable}={line}").into();
                }
                if let Err((text, help)) = layer.give(meaning, line, &place, below) {
                    let error = Diagnostic::new(Severity::Error, Some(&place), text);
                    diagnostics.push(error.help(help));
                }
            }
        }
        if let Some(place) = cluster {
            let text =
                "Kubernetes sets it and its like for a Service called `adit`: no option of adit's";
            diagnostics.push(Diagnostic::new(Severity::Note, Some(&place), text));
        }
        layer
    }

    fn give(
        &mut self,
        meaning: Meaning<'_>,
        value: &str,
        origin: &Origin,
        below: &[Section],
    ) -> Result<(), Fault> {
        let order = self.order();
        let option = meaning.option();
        let options = match meaning {
            Meaning::Global(_) => &mut self.raw.global,
            Meaning::Service(name, _) => self.options_of(name, origin, below)?,
        };
        let key = option.name.to_ascii_lowercase();
        let all = options.entry(key).or_default();
        // What the layer below has is replaced.
        all.retain(|given| given.place == *origin.place);
        all.push(Given::new(option.name, value, origin, order));
        Ok(())
    }

    /// The options of the section that a variable calls so; made if there is none.
    fn options_of(
        &mut self,
        name: &str,
        origin: &Origin,
        below: &[Section],
    ) -> Result<&mut Options, Fault> {
        if self.raw.sections.is_empty() {
            self.raw.sections = below.to_vec();
        }
        let sections = self.raw.sections.iter().enumerate();
        let mut found = sections.filter(|(_, section)| is_called(&section.header.name, name));
        let index = match (found.next(), found.next()) {
            (Some((index, _)), None) => index,
            (Some((_, one)), Some((_, other))) => {
                let (one, other) = (&one.header.name, &other.header.name);
                return Err((
                    format!("both [{one}] and [{other}] may be meant"),
                    "give the sections of the file names that differ in letters or digits".into(),
                ));
            }
            (None, _) => {
                self.section(&name.to_ascii_lowercase(), origin);
                self.raw.sections.len() - 1
            }
        };
        Ok(&mut self.raw.sections[index].options)
    }
}

/// What is wrong, and what would be right.
type Fault = (String, String);

impl Meaning<'_> {
    fn option(self) -> &'static OptionDef {
        match self {
            Meaning::Global(option) | Meaning::Service(_, option) => option,
        }
    }
}

/// The option that a name behind `ADIT_` means, and its service.
fn meaning(name: &str) -> Result<Meaning<'_>, Fault> {
    let of_service = name.strip_prefix(SERVICE).filter(|rest| !rest.is_empty());
    let meant = match of_service {
        Some(rest) => split(rest).map(|(service, option)| Meaning::Service(service, option)),
        None => option::find_spelled(name).map(Meaning::Global),
    };
    match meant {
        Some(meant) if meant.option().name == "include" => Err((
            "`include` cannot be set by a variable".to_owned(),
            "write it in the file, or set each option by a variable of its own".to_owned(),
        )),
        Some(Meaning::Service(_, option)) if option.scope == Scope::Global => {
            let upper = option.name.to_ascii_uppercase();
            Err((
                format!("`{}` holds for the whole program", option.name),
                format!("ADIT_{upper} sets it"),
            ))
        }
        Some(meant) => Ok(meant),
        None => Err(unknown(name, of_service)),
    }
}

/// The service's name and the option. Both may have a `_` in them: the longest end that is an option
/// counts.
fn split(name: &str) -> Option<(&str, &'static OptionDef)> {
    let mut places = name.match_indices('_').filter(|(at, _)| *at > 0);
    places.find_map(|(at, _)| Some((&name[..at], option::find_spelled(&name[at + 1..])?)))
}

fn unknown(name: &str, of_service: Option<&str>) -> Fault {
    let options = |for_service: bool| {
        option::options()
            .filter(move |option| option.name != "include")
            .filter(move |option| !for_service || option.scope != Scope::Global)
            .map(|option| option.name)
    };
    let Some(rest) = of_service else {
        let meant = nearest(&name.replace('_', ""), options(false));
        return (
            "no option is called so".to_owned(),
            match meant {
                Some(name) => format!("did you mean ADIT_{}?", name.to_ascii_uppercase()),
                None => "ADIT_ and the name of an option, as ADIT_DEBUG".to_owned(),
            },
        );
    };
    // With the shortest name that the service may have.
    let meant = rest.split_once('_').and_then(|(service, option)| {
        let option = nearest(&option.replace('_', ""), options(true))?;
        Some((service, option.to_ascii_uppercase()))
    });
    (
        "its end is not the name of an option".to_owned(),
        match meant {
            Some((service, option)) => format!("did you mean ADIT_SERVICE_{service}_{option}?"),
            None => "ADIT_SERVICE_, the service's name, `_` and an option, as \
                     ADIT_SERVICE_MAIL_ACCEPT"
                .to_owned(),
        },
    )
}

/// Whether Kubernetes gives every container of a namespace such a variable for its Service `adit`, or `adit-NAME`: each
/// form has its value, and the one that ends in `_SERVICE_HOST` is always beside it.
fn is_of_kubernetes(variable: &str, value: Option<&str>, all: &[(String, Option<String>)]) -> bool {
    let words: Vec<&str> = variable.split('_').collect();
    let of_service = |at: usize| {
        let host = format!("{}_SERVICE_HOST", words[..at].join("_"));
        has_form(&words[at..], value.unwrap_or_default())
            && all.iter().any(|(name, _)| *name == host)
    };
    (1..words.len()).any(of_service)
}

/// Whether a variable that ends so, behind the name of its Service, has such a value.
fn has_form(end: &[&str], value: &str) -> bool {
    let is_port = |text: &str| {
        let port: Option<u16> = text.parse().ok();
        port.is_some_and(|port| port > 0 && port.to_string() == text)
    };
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    let is_protocol = |word: &str| ["TCP", "UDP", "SCTP"].contains(&word);
    let url = || {
        let (scheme, address) = value.split_once("://")?;
        let address: SocketAddr = address.parse().ok()?;
        let scheme = scheme.to_ascii_uppercase();
        is_protocol(&scheme).then_some((address.port().to_string(), scheme))
    };
    match end {
        ["SERVICE", "HOST"] => is_address(value),
        ["SERVICE", "PORT", ..] => is_port(value),
        ["PORT"] => url().is_some(),
        ["PORT", port, protocol] => {
            url().is_some_and(|(own, scheme)| own == *port && scheme == *protocol)
        }
        ["PORT", port, protocol, part] if is_port(port) && is_protocol(protocol) => match *part {
            "ADDR" => is_address(value),
            "PORT" => value == *port,
            "PROTO" => value.eq_ignore_ascii_case(protocol),
            _ => false,
        },
        _ => false,
    }
}

/// The values that a variable gives its option: one a line, where the option may be repeated.
fn lines<'a>(value: Option<&'a str>, meaning: Meaning<'_>) -> Result<Vec<&'a str>, Fault> {
    let Some(value) = value else {
        return Err((
            "its value is not text in UTF-8".to_owned(),
            "set it to text, or unset it".to_owned(),
        ));
    };
    // As blanks around a value in a file; a secret that was a file ends in a newline.
    let lines = value.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let option = meaning.option();
    match lines.len() {
        0 => Ok(vec![""]),
        2.. if !option.repeatable => Err((
            "its value has several lines".to_owned(),
            format!("`{}` takes one value", option.name),
        )),
        _ => Ok(lines),
    }
}

/// Whether a variable's part of a name means this section: case does not matter, and a `_` is any
/// character that a variable cannot have.
fn is_called(section: &str, name: &str) -> bool {
    let spelled = |text: &str| -> Vec<u8> {
        let byte = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => byte.to_ascii_lowercase(),
            false => b'_',
        };
        text.bytes().map(byte).collect()
    };
    spelled(section) == spelled(name)
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::config::provider::{Raw, merge};
    use crate::config::syntax::Item;

    /// `[NAME]` or `NAME = VALUE`, as lines of a file.
    fn file(lines: &[&str]) -> Layer {
        let mut items = Vec::new();
        for (number, line) in (1..).zip(lines) {
            let origin = Origin {
                place: "f".into(),
                line: number,
                text: (*line).into(),
            };
            items.push(match line.split_once(" = ") {
                Some((name, value)) => Item::Option {
                    name: name.into(),
                    value: Zeroizing::new(value.into()),
                    origin,
                },
                None => Item::Section {
                    name: line.trim_matches(['[', ']']).into(),
                    origin,
                },
            });
        }
        Layer::from_items(&items)
    }

    fn read(variables: &[(&str, &str)], below: Option<&Layer>) -> (Layer, Vec<String>) {
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())))
            .collect();
        let mut found = Vec::new();
        let layer = Layer::from_environment(&variables, below, 1, &mut found);
        (layer, found.iter().map(Diagnostic::one_line).collect())
    }

    /// Each section as `[name] option=value,value ...`, after the global options.
    fn shown(raw: &Raw) -> Vec<String> {
        let options = |options: &Options| -> String {
            let option = |(name, given): (&String, &Vec<Given>)| {
                let values: Vec<&str> = given.iter().map(|given| given.value.as_str()).collect();
                format!(" {name}={}", values.join(","))
            };
            options.iter().map(option).collect()
        };
        let sections = raw.sections.iter();
        let sections =
            sections.map(|one| format!("[{}]{}", one.header.name, options(&one.options)));
        [options(&raw.global)].into_iter().chain(sections).collect()
    }

    #[test]
    fn variables_make_sections_and_change_those_of_the_file() {
        let file = file(&[
            "debug = 5",
            "[My-DB]",
            "accept = 1",
            "connect = a:1",
            "connect = b:1",
            "protocolPassword = x",
            "[web]",
            "accept = 2",
        ]);
        let (environment, found) = read(
            &[
                ("ADIT_CLIENT", "yes"),
                ("ADIT_SERVICE", "name"),
                ("ADIT_SERVICE_CACHE_1_ACCEPT", " 6379\n"),
                ("ADIT_SERVICE_CACHE_1_CHECK_HOST", "one\n\n two\n"),
                ("ADIT_SERVICE_CACHE_1_CONNECT", "c:2"),
                ("ADIT_SERVICE_MY_DB_CONNECT", "d:3"),
                ("ADIT_SERVICE_MY_DB_verifyServer", "yes"),
                ("ADIT_SERVICE_web_ACCEPT_CERT", "f.pem"),
                ("ADIT_SERVICE_web_OUTPUT_CERT", ""),
                ("PATH", "/bin"),
            ],
            Some(&file),
        );
        assert_eq!(found, [""; 0]);
        assert_eq!(
            shown(&merge([file, environment]).unwrap()),
            [
                " client=yes debug=5 service=name",
                "[My-DB] accept=1 connect=d:3 protocolpassword=x verifyserver=yes",
                "[web] accept=2 acceptcert=f.pem",
                "[cache_1] accept=6379 checkhost=one,two connect=c:2",
                "[web_output] cert=",
            ]
        );
    }

    #[test]
    fn without_a_variable_of_a_service_the_sections_are_the_files() {
        let file = file(&["[a]", "accept = 1"]);
        let (environment, found) = read(&[("ADIT_ACCEPT", "2")], Some(&file));
        assert_eq!(found, [""; 0]);
        assert!(environment.raw.sections.is_empty());
        let all = merge([file, environment]).unwrap();
        assert_eq!(shown(&all), [" accept=2", "[a] accept=1"]);
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_the_name_is_left_alone() {
        let variables = [
            ("ADIT_PORT", "tcp://10.0.0.1:443"),
            ("ADIT_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("ADIT_PORT_443_TCP_ADDR", "10.0.0.1"),
            ("ADIT_PORT_443_TCP_PORT", "443"),
            ("ADIT_PORT_443_TCP_PROTO", "tcp"),
            ("ADIT_SERVICE_HOST", "10.0.0.1"),
            ("ADIT_SERVICE_PORT", "443"),
            ("ADIT_SERVICE_PORT_HTTPS", "443"),
            ("ADIT_MAIL_SERVICE_HOST", "10.0.0.1"),
            ("ADIT_MAIL_PORT_53_UDP", "udp://[fd00::1]:53"),
        ];
        let (layer, found) = read(&variables, None);
        assert!(layer.raw.global.is_empty() && layer.raw.sections.is_empty());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("ADIT_PORT: Kubernetes"), "{found:?}");
        // What only looks like it.
        for (name, value) in [
            ("ADIT_PORT", "8080"),
            ("ADIT_PORT", "http://10.0.0.1:80"),
            ("ADIT_PORT_443_TCP", "tcp://10.0.0.1:80"),
            ("ADIT_PORT_443_TCP_PORT", "80"),
            ("ADIT_SERVICE_PORT", "https"),
            ("ADIT_METRICS_PORT", "tcp://10.0.0.1:443"),
            ("ADIT_METRICS_SERVICE_PORT", "9100"),
            ("ADIT_MAIL_SERVICE_HOST", "mail.example"),
        ] {
            let (_, found) = read(&[("ADIT_SERVICE_HOST", "10.0.0.1"), (name, value)], None);
            let errors = found.iter().filter(|text| text.contains(name));
            assert!(
                errors.clone().any(|text| !text.contains("Kubernetes")),
                "{name}: {found:?}"
            );
        }
    }

    #[test]
    fn what_no_variable_can_mean_is_told_with_what_is_nearest() {
        let file = file(&["[a-b]", "[A.B]"]);
        for (name, value, told) in [
            ("ADIT_WORKRES", "1", "did you mean ADIT_WORKERS?"),
            ("ADIT_CONECT", "1", "did you mean ADIT_CONNECT?"),
            ("ADIT_", "1", "as ADIT_DEBUG"),
            ("ADIT_INCLUDE", "1", "`include` cannot be set by a variable"),
            ("ADIT_SERVICE_A_INCLUDE", "1", "`include` cannot be set"),
            ("ADIT_SERVICE_ACCEPT", "1", "as ADIT_SERVICE_MAIL_ACCEPT"),
            ("ADIT_SERVICE_X_WORKERS", "1", "ADIT_WORKERS sets it"),
            (
                "ADIT_SERVICE_X_CONECT",
                "1",
                "did you mean ADIT_SERVICE_X_CONNECT?",
            ),
            ("ADIT_SERVICE_X_SNI", "a\nb", "has several lines"),
            ("ADIT_SERVICE_A_B_SNI", "a", "both [a-b] and [A.B]"),
        ] {
            let (_, found) = read(&[(name, value)], Some(&file));
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].contains(told), "{name}: {found:?}");
        }
    }
}
