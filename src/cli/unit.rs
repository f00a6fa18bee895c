//! What systemd lets adit write when the packaged unit runs it, for `adit check`: a log in another
//! place works by hand, and under systemd fails only at the start.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Diagnostic, Global, MetricsAddress, Severity, diagnostic_at};
use crate::inside::seen_from_outside;

/// The folders of units, in increasing precedence (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
    "/run/systemd/system",
    "/etc/systemd/system",
];

/// Warnings about files that this configuration's unit may not write; none where systemd does not run,
/// or has no unit for it.
pub(super) fn forbidden(file: Option<&Path>, global: &Global) -> Vec<Diagnostic> {
    let Some(name) = file.and_then(unit_of) else {
        return Vec::new();
    };
    if !Path::new("/run/systemd/system").is_dir() {
        return Vec::new();
    }
    match text_of(&name) {
        Some(text) => warnings(&name, &Rules::read(&text), global),
        None => Vec::new(),
    }
}

/// The unit that serves a configuration: `adit.service`, or `adit@NAME.service` for NAME.conf.
fn unit_of(file: &Path) -> Option<String> {
    let name = file.strip_prefix("/etc/adit").ok()?.to_str()?;
    match name.strip_suffix(".conf")? {
        "adit" => Some("adit.service".to_owned()),
        name if name.contains('/') => None,
        name => Some(format!("adit@{name}.service")),
    }
}

/// The text of the unit's file, followed by its drop-ins.
fn text_of(name: &str) -> Option<String> {
    let (prefix, rest) = name.split_once('@').unwrap_or((name, ""));
    let instance = rest.strip_suffix(".service").unwrap_or_default();
    let template = format!("{prefix}@.service");
    let names = match instance {
        "" => vec![name],
        _ => vec![&*template, name],
    };
    let mut text = None;
    let mut drop_ins: BTreeMap<_, PathBuf> = BTreeMap::new();
    for name in names {
        for folder in FOLDERS.map(Path::new) {
            text = fs::read_to_string(folder.join(name)).ok().or(text);
            let more = fs::read_dir(folder.join(format!("{name}.d")));
            let files = more.into_iter().flatten().flatten();
            drop_ins.extend(files.map(|file| (file.file_name(), file.path())));
        }
    }
    let mut text = text?;
    for file in drop_ins.into_values() {
        if file.extension().is_some_and(|end| end == "conf") {
            text.push('\n');
            text += &fs::read_to_string(file).unwrap_or_default();
        }
    }
    Some(text.replace("%i", instance))
}

/// Folders that a unit may or may not write; the longest match counts.
#[derive(Debug, Default)]
struct Rules(Vec<(PathBuf, bool)>);

impl Rules {
    fn read(text: &str) -> Rules {
        let mut protect = String::new();
        let mut homes = false;
        let mut listed: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
        let text = text.replace("\\\n", " ");
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim();
            let (root, name) = match name.trim() {
                "ProtectSystem" => {
                    value.clone_into(&mut protect);
                    continue;
                }
                "ProtectHome" => {
                    homes = !is_no(value);
                    continue;
                }
                "ReadWritePaths" => ("/", "write"),
                "ReadOnlyPaths" | "InaccessiblePaths" => ("/", "read"),
                "RuntimeDirectory" => ("/run", "runtime"),
                "StateDirectory" => ("/var/lib", "state"),
                "LogsDirectory" => ("/var/log", "logs"),
                _ => continue,
            };
            let paths = listed.entry(name).or_default();
            if value.is_empty() {
                paths.clear();
            }
            let words = value.split_whitespace();
            // `-`: if it exists; `+`: relative to RootDirectory.
            let words = words.map(|word| word.trim_start_matches(['-', '+']));
            paths.extend(words.map(|word| Path::new(root).join(word)));
        }
        let system: &[&str] = match &*protect {
            "strict" => &["/"],
            "full" => &["/usr", "/boot", "/efi", "/etc"],
            no if is_no(no) => &[],
            _ => &["/usr", "/boot", "/efi"],
        };
        let homes: &[&str] = if homes {
            &["/home", "/root", "/run/user"]
        } else {
            &[]
        };
        let mut rules = Rules::default();
        rules.add(["/dev", "/proc", "/sys"].map(PathBuf::from), true);
        rules.add(system.iter().chain(homes).map(PathBuf::from), false);
        for (name, paths) in listed {
            rules.add(paths, name != "read");
        }
        rules
    }

    fn add(&mut self, paths: impl IntoIterator<Item = PathBuf>, may: bool) {
        self.0.extend(paths.into_iter().map(|path| (path, may)));
    }

    fn may_write(&self, path: &Path) -> bool {
        let matching = self.0.iter().filter(|(rule, _)| path.starts_with(rule));
        matching
            .max_by_key(|(rule, may)| (rule.components().count(), !may))
            .is_none_or(|(_, may)| *may)
    }
}

/// A boolean as systemd reads it; a missing one is no.
fn is_no(value: &str) -> bool {
    ["", "no", "n", "false", "f", "off", "0"].contains(&&*value.to_ascii_lowercase())
}

fn warnings(unit: &str, rules: &Rules, global: &Global) -> Vec<Diagnostic> {
    let jail = global.chroot.as_deref();
    let inside = |path: &PathBuf| seen_from_outside(jail, path);
    // Inside the jail, if its folder exists there.
    let output = |path: &PathBuf| {
        let inside = inside(path);
        let there = inside.parent().is_some_and(Path::is_dir);
        if there { inside } else { path.clone() }
    };
    let metrics = global.metrics.as_ref().and_then(MetricsAddress::path);
    let places = [
        ("output", global.output.as_ref().map(output)),
        ("pid", global.pid.as_ref().map(inside)),
        ("control", global.control.clone()),
        ("metrics", metrics.map(Path::to_owned)),
    ];
    let mut found = Vec::new();
    for (option, place) in places {
        let Some(folder) = place.as_deref().and_then(Path::parent) else {
            continue;
        };
        // /var/run, for example, is a link to /run.
        let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        if real.is_relative() || rules.may_write(&real) {
            continue;
        }
        let folder = folder.display();
        let text = format!("{option}: systemd does not let {unit} write to {folder}");
        let warning = diagnostic_at(&global.origins, option, text).help(format!(
            "take another place, such as {}; or allow this one: `systemctl edit {unit}`, and there \
             `[Service]` and `ReadWritePaths={folder}`",
            allowed(option),
        ));
        found.push(Diagnostic {
            severity: Severity::Warning,
            ..warning
        });
    }
    found
}

/// A place that the packaged unit may write.
fn allowed(option: &str) -> &'static str {
    match option {
        "output" => "/var/log/adit/adit.log",
        "pid" => "/adit.pid in `chroot = /var/lib/adit`",
        "metrics" => "/run/adit/metrics.sock",
        _ => "/run/adit.sock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGED: &str = include_str!("../../packaging/systemd/adit.service");

    fn global(output: &str, pid: &str, control: &str) -> Global {
        let text = format!(
            "chroot = /var/lib/adit-is-not-here\noutput = {output}\npid = {pid}\ncontrol = {control}\n\
             [a]\nclient = yes\naccept = 127.0.0.1:0\nconnect = 127.0.0.1:1\n"
        );
        let sources = crate::config::Sources {
            text: Some(("adit.conf".to_owned(), text.into())),
            ..Default::default()
        };
        crate::config::load(&sources).unwrap().config.global
    }

    fn warned(unit: &str, global: &Global) -> Vec<String> {
        let found = warnings("adit.service", &Rules::read(unit), global);
        assert!(
            found
                .iter()
                .all(|found| found.severity == Severity::Warning)
        );
        found.iter().map(Diagnostic::one_line).collect()
    }

    #[test]
    fn the_packaged_unit_lets_adit_write_where_the_package_has_folders() {
        let good = Global {
            chroot: Some("/var/lib/adit".into()),
            ..global("/var/log/adit/adit.log", "/adit.pid", "/run/adit.sock")
        };
        assert_eq!(warned(PACKAGED, &good), [""; 0]);
        let own = Global {
            control: Some("/run/adit/etc-adit-adit.sock".into()),
            ..good
        };
        assert_eq!(warned(PACKAGED, &own), [""; 0]);
    }

    #[test]
    fn a_file_elsewhere_is_told_with_its_line_and_what_to_do() {
        let bad = global("/var/log/adit.log", "/adit.pid", "/srv/adit.sock");
        let warned = warned(PACKAGED, &bad);
        let [output, pid, control] = &*warned else {
            panic!("{warned:?}")
        };
        assert!(output.starts_with("adit.conf:2: \"output = /var/log/adit.log\": output: systemd"));
        assert!(output.contains("such as /var/log/adit/adit.log; or allow"));
        assert!(output.contains("`ReadWritePaths=/var/log`"));
        assert!(pid.contains("let adit.service write to /var/lib/adit-is-not-here "));
        assert!(control.contains("write to /srv "));
    }

    #[test]
    fn drop_ins_add_to_the_unit_and_an_empty_value_takes_back() {
        let bad = global("/var/log/adit.log", "/run/adit.pid", "/run/adit.sock");
        let bad = Global {
            chroot: None,
            ..bad
        };
        let more = format!("{PACKAGED}\n[Service]\nReadWritePaths=-/srv \\\n /var/log\n");
        assert_eq!(warned(&more, &bad), [""; 0]);
        let less = format!("{more}ReadWritePaths=\n");
        assert_eq!(warned(&less, &bad).len(), 3, "{:?}", warned(&less, &bad));
        let open = format!("{less}ProtectSystem=full\n");
        assert_eq!(warned(&open, &bad), [""; 0]);
        let closed = format!("{open}ReadOnlyPaths=/var\nReadWritePaths=/var/log/adit\n");
        assert_eq!(warned(&closed, &bad).len(), 1);
    }

    #[test]
    fn only_configurations_of_units_have_one() {
        let unit = |file: &str| unit_of(Path::new(file));
        assert_eq!(unit("/etc/adit/adit.conf").unwrap(), "adit.service");
        assert_eq!(unit("/etc/adit/two.conf").unwrap(), "adit@two.service");
        for other in [
            "/etc/stunnel/stunnel.conf",
            "/etc/adit/conf.d/a.conf",
            "/etc/adit/key.pem",
        ] {
            assert_eq!(unit(other), None);
        }
    }
}
