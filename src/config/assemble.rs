//! From names and texts to a [`Config`]: each value goes through its option's definition.

use std::collections::{BTreeMap, BTreeSet};

use super::checks;
use super::diagnostic::{Diagnostic, Severity};
use super::global::Global;
use super::option::{self, Fault, OptionDef, Scope, Verdict};
use super::provider::{Given, Options, Raw, Section};
use super::service::{Draft, Service};
use super::value::{Origin, Origins};

/// What the configuration cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Name of the program in syslog unless `service` gives one.
    pub program: &'a str,
    /// How many processors there are.
    pub processors: usize,
    /// Listening sockets that were passed to the program: each takes the place of an `accept`.
    pub passed: usize,
}

/// Makes the global options and the services; what is wrong is pushed to `diagnostics`.
pub(super) fn assemble(
    raw: &Raw,
    surroundings: Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Global, Vec<Service>) {
    let mut assembly = Assembly { diagnostics };
    let (mut global, defaults) = assembly.global(&raw.global, surroundings);
    for (option, fault) in global.finish(surroundings.processors) {
        assembly.fault(global.origins.get(option), fault);
    }
    let mut services = Vec::new();
    let mut passed = surroundings.passed;
    let mut seen: BTreeMap<&str, Origin> = BTreeMap::new();
    for section in &raw.sections {
        let origin = section.header.origin();
        match seen.get(section.header.name.as_str()) {
            Some(first) => assembly.duplicate(&section.header.name, &origin, first),
            None => {
                seen.insert(&section.header.name, origin);
            }
        }
        let mut service = assembly.section(section, &defaults, &mut passed);
        service.tls.prefer_chacha20 = global.prefer_chacha20;
        services.push(service);
    }
    if raw.sections.is_empty() {
        assembly.no_section();
    }
    (global, services)
}

struct Assembly<'a> {
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Assembly<'_> {
    /// The global options, and what every service begins with.
    fn global(&mut self, options: &Options, surroundings: Surroundings<'_>) -> (Global, Draft) {
        let mut global = Global::blank(surroundings.program);
        let mut draft = Draft::blank();
        for option in option::options() {
            for value in option.defaults {
                // Defaults pass the same way as what an administrator writes.
                let set = apply(option, value, Some(&mut global), &mut draft);
                debug_assert_eq!(set, Ok(()), "{} = {value}", option.name);
            }
        }
        for (option, given, origin) in self.in_order(options, None, &mut draft.meant) {
            global.origins.insert(option.name, origin.clone());
            draft.service.origins.insert(option.name, origin.clone());
            if let Err(fault) = apply(option, &given.value, Some(&mut global), &mut draft) {
                self.fault(Some(&origin), fault);
            }
        }
        (global, draft)
    }

    fn section(&mut self, section: &Section, defaults: &Draft, passed: &mut usize) -> Service {
        let mut draft = defaults.clone();
        draft.defaults = false;
        draft.service.name = section.header.name.clone();
        let header = section.header.origin();
        draft.service.origins.insert("", header.clone());
        let meant = &mut draft.meant;
        for (option, given, origin) in self.in_order(&section.options, Some(&header), meant) {
            draft.service.origins.insert(option.name, origin.clone());
            draft.own.insert(option.name);
            if let Err(fault) = apply(option, &given.value, None, &mut draft) {
                self.fault(Some(&origin), fault);
            }
        }
        let (service, faults) = checks::finish(draft, passed);
        for (option, mut fault) in faults {
            if !fault.text.starts_with("Service [") {
                fault.text = format!("Service [{}]: {}", service.name, fault.text);
            }
            let origin = at(&service.origins, option).cloned();
            self.fault(origin.as_ref(), fault);
        }
        service
    }

    /// The options that are known and served here, in the order in which they were written. What the
    /// others were probably meant to be is added to `meant`.
    fn in_order<'g>(
        &mut self,
        options: &'g Options,
        section: Option<&Origin>,
        meant: &mut BTreeSet<&'static str>,
    ) -> Vec<(&'static OptionDef, &'g Given, Origin)> {
        let mut all: Vec<&Given> = options.values().flatten().collect();
        all.sort_by_key(|given| given.order);
        let mut last: BTreeMap<&'static str, Origin> = BTreeMap::new();
        let mut usable = Vec::new();
        for given in all {
            let origin = given.origin();
            let Some(option) = option::find(&given.name) else {
                meant.extend(self.unknown(&given.name, &origin));
                continue;
            };
            if option.scope == Scope::Global && section.is_some() {
                self.misplaced(option, &origin);
                continue;
            }
            if let Some(before) = last.insert(option.name, origin.clone())
                && !option.repeatable
                && matches!(option.verdict, Verdict::Served)
            {
                let text = format!(
                    "`{}` is given again: this value replaces that of {before}",
                    option.name
                );
                self.push(Diagnostic::new(Severity::Warning, Some(&origin), text));
            }
            usable.push((option, given, origin));
        }
        usable
    }

    /// Complains about a name, and gives the one that was probably meant.
    fn unknown(&mut self, name: &str, origin: &Origin) -> Option<&'static str> {
        let text = format!("Specified option name is not valid here: no option is called `{name}`");
        let error = Diagnostic::new(Severity::Error, Some(origin), text);
        let meant = option::nearest_option(name).map(|option| option.name);
        self.push(match meant {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        });
        meant
    }

    fn misplaced(&mut self, option: &OptionDef, origin: &Origin) {
        let text = format!(
            "Specified option name is not valid here: `{}` holds for the whole program",
            option.name
        );
        let error = Diagnostic::new(Severity::Error, Some(origin), text);
        self.push(error.help("it belongs before the first [section]"));
    }

    fn duplicate(&mut self, name: &str, origin: &Origin, first: &Origin) {
        let text = format!("section [{name}] is there twice: the first is at {first}");
        let error = Diagnostic::new(Severity::Error, Some(origin), text);
        self.push(error.help("give each service a name of its own"));
    }

    fn no_section(&mut self) {
        let text = "no [section] is there, and adit does not serve inetd mode yet";
        let error = Diagnostic::new(Severity::Error, None, text);
        self.push(error.help("a service begins with a line of its own, such as [smtp]"));
    }

    fn fault(&mut self, origin: Option<&Origin>, fault: Fault) {
        self.push(Diagnostic {
            severity: fault.severity,
            origin: origin.cloned(),
            text: fault.text,
            help: fault.help,
        });
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

/// The line that shows a fault of `option`: where it was given, or else the section's.
fn at<'a>(origins: &'a Origins, option: &str) -> Option<&'a Origin> {
    origins.get(option).or_else(|| origins.section())
}

/// Gives a value to its option. `global` is there only before the first section.
fn apply(
    option: &OptionDef,
    value: &str,
    global: Option<&mut Global>,
    draft: &mut Draft,
) -> Result<(), Fault> {
    let name = option.name;
    match option.verdict {
        Verdict::Served => {}
        Verdict::NoEffect(why) => {
            return Err(Fault::note(format!("`{name}` has no effect: {why}")));
        }
        Verdict::Refused(why) => {
            return Err(Fault::new(format!("adit does not serve `{name}`: {why}")));
        }
        Verdict::NotYet { inert } => {
            if inert.iter().any(|asks| asks.eq_ignore_ascii_case(value)) {
                return Ok(());
            }
            return Err(Fault::new(format!("adit does not serve `{name}` yet")));
        }
    }
    if let (Some(set), Some(global)) = (option.set_global, global) {
        set(global, value)?;
    }
    if let Some(set) = option.set_service {
        set(draft, value)?;
    }
    Ok(())
}
