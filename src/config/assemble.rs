//! From names and texts to a [`super::Config`]: each value goes through its option's definition.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::checks;
use super::diagnostic::{Diagnostic, Severity};
use super::endpoint::Ports;
use super::global::Global;
use super::option::{self, Fault, OptionDef, Scope, Verdict};
use super::program::Front;
use super::provider::{Given, Options, Raw, Section};
use super::service::{Draft, Service};
use super::value::{Origin, Origins};
use super::virtual_hosts::Sections;

/// What the configuration cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// Name of the program in syslog unless `service` gives one.
    pub program: &'a str,
    /// How many processors there are.
    pub processors: usize,
    /// Listening sockets that were passed to the program: each takes the place of an `accept`.
    pub passed: usize,
    /// Part of the file was not understood: that a section is missing says nothing.
    pub incomplete: bool,
    /// The control socket unless `control` says another.
    pub control: Option<&'a Path>,
    /// What the system calls its ports.
    pub ports: Ports,
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
    let mut services: Vec<Service> = Vec::new();
    let mut passed = surroundings.passed;
    let names: Vec<&str> = raw
        .sections
        .iter()
        .map(|section| section.header.name.as_str())
        .collect();
    for section in &raw.sections {
        let sections = Sections {
            above: &services,
            names: &names,
        };
        let mut service = assembly.section(section, &defaults, sections, &mut passed);
        let accept = service.accept_tls.as_deref_mut();
        for tls in accept
            .map(|accept| &mut accept.tls)
            .into_iter()
            .chain([&mut service.tls])
        {
            tls.prefer_chacha20 = global.prefer_chacha20;
        }
        let primary = service.virtual_host.as_ref().map(|host| host.primary);
        let index = services.len();
        if let Some(primary) = primary.and_then(|primary| services.get_mut(primary)) {
            primary.secondaries.push(index);
        }
        services.push(service);
    }
    if raw.sections.is_empty() && !surroundings.incomplete {
        let mut service = assembly.inetd(&defaults, &global.service);
        service.tls.prefer_chacha20 = global.prefer_chacha20;
        services.push(service);
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
        global.control = surroundings.control.map(Path::to_owned);
        let mut draft = Draft::blank();
        draft.ports = surroundings.ports;
        for option in option::options() {
            for value in option.defaults {
                // Defaults pass the same way as what an administrator writes.
                let set = apply(option, value, Some(&mut global), &mut draft);
                debug_assert_eq!(set, Ok(()), "{} = {value}", option.name);
            }
        }
        for (option, given, origin) in self.in_order(options, None, &mut draft.meant) {
            global.origins.insert(option.name, origin.clone());
            self.give(option, given, &origin, Some(&mut global), &mut draft);
        }
        (global, draft)
    }

    /// One service.
    fn section(
        &mut self,
        section: &Section,
        defaults: &Draft,
        sections: Sections<'_>,
        passed: &mut usize,
    ) -> Service {
        let mut draft = defaults.for_section();
        draft.service.name = section.header.name.clone();
        let header = section.header.origin();
        draft.service.origins.insert("", header.clone());
        let meant = &mut draft.meant;
        for (option, given, origin) in self.in_order(&section.options, Some(&header), meant) {
            draft.own.insert(option.name);
            self.give(option, given, &origin, None, &mut draft);
        }
        self.decide(&mut draft);
        self.number(&mut draft.service, sections.above);
        let (service, found) = checks::finish(draft, sections, passed);
        for checks::Found {
            option,
            nth,
            mut fault,
            names_service,
        } in found
        {
            if !names_service {
                fault.text = format!("Service [{}]: {}", service.name, fault.text);
            }
            // A line that was refused is no address: then which is the n-th is not known.
            let all = service.origins.all(option);
            let nth = nth.filter(|_| all.len() == service.connect.len());
            let origin = nth.and_then(|nth| all.get(nth));
            let origin = origin.or_else(|| at(&service.origins, option)).cloned();
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
            None => error.help("`adit -help` lists the options"),
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

    /// Gives a line's value to its option.
    fn give(
        &mut self,
        option: &'static OptionDef,
        given: &Given,
        origin: &Origin,
        global: Option<&mut Global>,
        draft: &mut Draft,
    ) {
        let value = given.value.as_str();
        draft.service.origins.insert(option.name, origin.clone());
        if value.is_empty() && option.empty_is_none {
            draft.service.origins.remove(option.name);
            draft.own.remove(option.name);
            let text = format!("`{}` without a value counts as not given", option.name);
            self.fault(Some(origin), Fault::note(text));
        }
        let served = matches!(option.verdict, Verdict::Served);
        match served || value.is_empty() {
            true => draft.asked.remove(option.name),
            false => draft.asked.insert(option.name),
        };
        if option.idle.is_some() {
            // The last line counts.
            draft.undecided.retain(|other| other.0.name != option.name);
            let undecided = (option, value.to_owned(), origin.clone());
            draft.undecided.push(undecided);
            return;
        }
        let before = draft.clone();
        match apply(option, value, global, draft) {
            Err(fault) if fault.severity == Severity::Error => {
                // What follows from a value that was not taken need not be told.
                draft.meant.insert(option.name);
                let fault = behind(option, value, before).unwrap_or(fault);
                self.fault(Some(origin), fault);
            }
            Err(fault) => self.fault(Some(origin), fault),
            Ok(()) => self.whole_line(option, value, origin),
        }
    }

    /// Warns of what was hardly meant to be part of a value, as nothing else would tell.
    fn whole_line(&mut self, option: &OptionDef, value: &str, origin: &Origin) {
        // A wrong `sni` is told with the service.
        if option.secret || option.name == "sni" {
            return;
        }
        let Some((_, rest)) = surplus(value) else {
            return;
        };
        let text = format!("`{rest}` is part of the value, which goes on to the end of the line");
        let warning = Diagnostic::new(Severity::Warning, Some(origin), text);
        self.push(warning.help("comments stand on lines of their own, and values need no quotes"));
    }

    /// Judges what only the whole service tells: whether an option that is not served asks for
    /// anything.
    fn decide(&mut self, draft: &mut Draft) {
        for (option, value, origin) in std::mem::take(&mut draft.undecided) {
            let said = option.idle.and_then(|idle| idle(draft, &value));
            if let Some(fault) = said.or_else(|| not_served(option)) {
                self.fault(Some(&origin), fault);
            }
        }
    }

    /// Numbers a service whose name another has: stunnel serves both under one name, which the log
    /// and `adit status` could not tell apart.
    fn number(&mut self, service: &mut Service, before: &[Service]) {
        let same = |name: &str| before.iter().find(|other| other.name == name);
        let Some(first) = same(&service.name) else {
            return;
        };
        let numbered = (2..).map(|number| format!("{}#{number}", service.name));
        let Some(name) = numbered.into_iter().find(|name| same(name).is_none()) else {
            return;
        };
        let place = |of: &Service| {
            let origin = of.origins.get("service").or_else(|| of.origins.section());
            origin.cloned()
        };
        let origin = place(service);
        let mut text = format!("section [{}] is there again", service.name);
        if let Some(first) = place(first) {
            text += &format!(": the first is at {first}");
        }
        let help = format!("both are served, this one as [{name}]; give each a name of its own");
        let warning = Diagnostic::new(Severity::Warning, origin.as_ref(), text);
        self.push(warning.help(help));
        service.name = name;
    }

    /// Without a section the options are those of the one service of inetd mode.
    fn inetd(&mut self, defaults: &Draft, name: &str) -> Service {
        let mut draft = defaults.for_section();
        draft.service.name = name.to_owned();
        draft.service.front = Front::Inetd;
        self.decide(&mut draft);
        let sections = Sections {
            above: &[],
            names: &[],
        };
        let (service, found) = checks::finish(draft, sections, &mut 0);
        for checks::Found {
            option, mut fault, ..
        } in found
        {
            fault.text = format!("Inetd mode: {}", fault.text);
            self.fault(service.origins.get(option), fault);
        }
        service
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
    if let Some(fault) = not_served(option) {
        return Err(fault);
    }
    if let (Some(set), Some(global)) = (option.set_global, global) {
        set(global, value)?;
    }
    if let Some(set) = option.set_service {
        set(draft, value)?;
    }
    Ok(())
}

/// What a value would be without a comment behind it or quotes around it, and what is too much.
fn surplus(value: &str) -> Option<(&str, &str)> {
    // A word processor's too.
    let quotes = [
        '"', '\'', '`', '\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}',
        '\u{bb}',
    ];
    if let Some(inside) = value
        .strip_prefix(quotes)
        .and_then(|rest| rest.strip_suffix(quotes))
    {
        let first = value.chars().next().map_or(0, char::len_utf8);
        return Some((inside, &value[..first]));
    }
    let blank = value.char_indices().zip(value.chars().skip(1));
    let mut comments =
        blank.filter(|((_, blank), next)| blank.is_whitespace() && matches!(next, ';' | '#'));
    let ((at, _), _) = comments.next()?;
    Some((value[..at].trim_end(), value[at..].trim_start()))
}

/// What is wrong with a value that would be right without what is too much.
fn behind(option: &OptionDef, value: &str, mut draft: Draft) -> Option<Fault> {
    let (meant, rest) = surplus(value).or_else(|| {
        let last = value.len().checked_sub(1)?;
        let meant = value.strip_suffix([';', ','])?;
        Some((meant.trim_end(), &value[last..]))
    })?;
    let mut global = Global::blank("");
    let global = option.set_global.map(|_| &mut global);
    let read = apply(option, meant, global, &mut draft);
    if read.is_err_and(|fault| fault.severity == Severity::Error) {
        return None;
    }
    let fault = Fault::new(format!("`{rest}` is taken as part of the value"));
    let name = option.name;
    Some(fault.help(format!(
        "write `{name} = {meant}`: comments stand on lines of their own, and values need no quotes"
    )))
}

/// What is said about an option that adit does not serve.
fn not_served(option: &OptionDef) -> Option<Fault> {
    let name = option.name;
    match option.verdict {
        Verdict::Served => None,
        Verdict::NoEffect(why) => Some(Fault::note(format!("`{name}` has no effect: {why}"))),
        Verdict::Refused(why) => {
            let fault = Fault::new(format!("adit does not serve `{name}`: {why}"));
            Some(fault.help("leave it out, or leave this service to stunnel"))
        }
    }
}
