//! The table of the options that stand before the first section, which parser, check, manual and completions go by.
//! Never in here: an option that nothing serves.

use std::path::PathBuf;

use super::{Foreground, LogFormat, LogMode, PreferChaCha20};
use crate::config::keeper;
use crate::config::option::{
    Fault, OptionDef, Scope, debug_level, given, number, one_of, seconds, seconds_or_none, yes_no,
};
use crate::ipc::channel::MAX_DESCRIPTORS;

/// The table of the options that stand before the first section.
pub(in crate::config) static OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "chroot",
        Scope::Global,
        "DIRECTORY",
        "directory that the processes which meet the network are locked into",
    )
    .example("chroot = /var/lib/adit")
    .unless_given("the whole file system")
    .global(|global, value| {
        global.chroot = Some(absolute(value)?);
        Ok(())
    }),
    OptionDef::new(
        "control",
        Scope::Global,
        "PATH",
        "Unix socket that `adit status`, `adit reload` and `adit stop` ask; not in the jail; empty: none",
    )
    .own()
    .example("control = /run/adit.sock")
    .unless_given(
        "for root, in /run/adit (or in `$RUNTIME_DIRECTORY`, which systemd sets), named after the \
         configuration file: `etc-adit-adit.sock` for /etc/adit/adit.conf, `etc-adit-a%2db.sock` for \
         /etc/adit/a-b.conf, `etc-adit-c%.sock` for /etc/adit/c (`adit status` asks the right one); \
         for other users, likewise in \
         `$RUNTIME_DIRECTORY` or `$XDG_RUNTIME_DIR`/adit, or no socket where there is neither; if it \
         cannot be made, a warning says so, and adit serves without it",
    )
    .global(|global, value| {
        global.control = match value.is_empty() {
            true => None,
            false => Some(absolute(value)?),
        };
        Ok(())
    }),
    OptionDef::new(
        "certWatch",
        Scope::Global,
        "yes | no",
        "reload by itself when a certificate, a key (PSKsecrets too) or an authority's file changes",
    )
    .own()
    .example("certWatch = yes")
    .defaults(&["no"])
    .global(|global, value| {
        global.cert_watch = yes_no(value)?;
        Ok(())
    }),
    OptionDef::new(
        "debug",
        Scope::Both,
        "[FACILITY.]LEVEL",
        "highest level that is logged, and the facility in syslog",
    )
    .example("debug = info")
    .defaults(&["daemon.notice"])
    .global(|global, value| {
        let debug = debug_level(value, true)?;
        global.debug = debug.level;
        global.facility = debug.facility.unwrap_or(global.facility);
        Ok(())
    })
    .service(|draft, value| {
        draft.service.debug = debug_level(value, draft.defaults)?.level;
        Ok(())
    }),
    OptionDef::new(
        "drainTimeout",
        Scope::Global,
        "SECONDS",
        "how long connections go on after a reload or at the end",
    )
    .own()
    .example("drainTimeout = 3600")
    .unless_given("after a reload until they end by themselves, at the end not at all")
    .global(|global, value| seconds(global.drain_timeout.get_or_insert_default(), value)),
    OptionDef::new("fips", Scope::Global, "yes | no", "FIPS 140 mode")
        .example("fips = no")
        .unless_given("no FIPS mode")
        .global(|_, value| {
            if yes_no(value)? {
                return Err(Fault::new("FIPS support is not available").help("leave it out"));
            }
            Err(Fault::note(
                "`fips = no` has no effect: there is no FIPS mode to leave",
            ))
        }),
    OptionDef::new(
        "foreground",
        Scope::Global,
        "yes | quiet | no",
        "do not go into the background; `yes` logs to stderr too",
    )
    .example("foreground = quiet")
    .defaults(&["no"])
    .global(|global, value| {
        global.foreground = one_of(
            value,
            &[
                ("yes", Foreground::Yes),
                ("quiet", Foreground::Quiet),
                ("no", Foreground::No),
            ],
        )?;
        Ok(())
    }),
    // Followed where lines are read, in syntax.rs.
    OptionDef::new(
        "include",
        Scope::Both,
        "DIRECTORY | PATTERN",
        "read the files of a directory, in the order of their names",
    )
    .example("include = /etc/adit/conf.d/*.conf")
    .unless_given("no other file")
    .repeatable(),
    OptionDef::new(
        "keeperDirectory",
        Scope::Global,
        "DIRECTORY",
        "where `adit login` keeps mail accounts, for `keeperUser` alone",
    )
    .own()
    .example("keeperDirectory = /var/lib/adit/keeper")
    .defaults(&[keeper::DIRECTORY])
    .global(keeper::set_directory),
    OptionDef::new(
        "keeperUser",
        Scope::Global,
        "USER",
        "user of the process that keeps the tokens of mail accounts, where root starts it",
    )
    .own()
    .example("keeperUser = adit-keeper")
    .defaults(&[keeper::USER])
    .global(keeper::set_user),
    OptionDef::new(
        "log",
        Scope::Global,
        "append | overwrite",
        "whether the log file is emptied at the start",
    )
    .example("log = overwrite")
    .defaults(&["append"])
    .global(|global, value| {
        global.log = one_of(
            value,
            &[
                ("append", LogMode::Append),
                ("overwrite", LogMode::Overwrite),
            ],
        )?;
        Ok(())
    }),
    OptionDef::new(
        "logFormat",
        Scope::Global,
        "stunnel | short | json",
        "shape of the log; `short`: a line a connection; `json`: an object a line (docs/logs.md)",
    )
    .own()
    .example("logFormat = json")
    .defaults(&["stunnel"])
    .global(|global, value| {
        global.log_format = one_of(
            value,
            &[
                ("stunnel", LogFormat::Stunnel),
                ("short", LogFormat::Short),
                ("json", LogFormat::Json),
            ],
        )?;
        Ok(())
    }),
    OptionDef::new(
        "logRepeats",
        Scope::Global,
        "NUMBER",
        "log lines of one kind that an address may cause in a minute; the rest is summed up; `0`: all",
    )
    .own()
    .example("logRepeats = 100")
    .defaults(&["10"])
    .global(|global, value| {
        global.log_repeats = number(value, 0..=1_000_000)?;
        Ok(())
    }),
    OptionDef::new("output", Scope::Global, "FILE", "log file")
        .example("output = /var/log/adit/adit.log")
        .unless_given("no log file")
        .global(|global, value| {
            global.output = Some(PathBuf::from(given(value)?));
            Ok(())
        }),
    OptionDef::new(
        "pid",
        Scope::Global,
        "FILE",
        "file for the process number, inside the jail; empty: none",
    )
    .example("pid = /adit.pid")
    .unless_given("no file")
    .global(|global, value| {
        global.pid = (!value.is_empty()).then(|| PathBuf::from(value));
        Ok(())
    }),
    OptionDef::new(
        "preferChaCha20",
        Scope::Global,
        "auto | yes | no",
        "ChaCha20 before AES in services that name no ciphers; `auto`: without AES instructions",
    )
    .own()
    .example("preferChaCha20 = yes")
    .defaults(&["auto"])
    .global(|global, value| {
        global.prefer_chacha20 = one_of(
            value,
            &[
                ("auto", PreferChaCha20::Auto),
                ("yes", PreferChaCha20::Yes),
                ("no", PreferChaCha20::No),
            ],
        )?;
        Ok(())
    }),
    OptionDef::new(
        "resolveInterval",
        Scope::Global,
        "SECONDS",
        "how often the names in `connect` and `redirect` are looked up while adit runs; 0: never",
    )
    .own()
    .example("resolveInterval = 60")
    .defaults(&["300"])
    .global(|global, value| seconds_or_none(&mut global.resolve_interval, value)),
    OptionDef::new(
        "service",
        Scope::Both,
        "NAME",
        "the program's name in syslog; in a section, the service's name",
    )
    .example("service = adit-mail")
    .unless_given("`adit`; in a section, the name in its brackets")
    .global(|global, value| {
        global.service = given(value)?;
        Ok(())
    })
    .service(|draft, value| {
        draft.service.name = given(value)?;
        Ok(())
    }),
    OptionDef::new(
        "setEnv",
        Scope::Global,
        "NAME=VALUE",
        "a variable in the environment of the programs of `exec`",
    )
    .example("setEnv = TZ=UTC")
    .unless_given("the environment of adit")
    .repeatable()
    .secret()
    .global(|global, value| {
        let (name, content) = variable(value)?;
        global.set_env.retain(|(other, _)| *other != name);
        global.set_env.push((name, content));
        Ok(())
    }),
    OptionDef::new(
        "setgid",
        Scope::Both,
        "GROUP",
        "group to become; in a section, the group of the accept Unix socket",
    )
    .example("setgid = nogroup")
    .unless_given("the groups of the user in `setuid`")
    .global(|global, value| {
        global.setgid = Some(given(value)?);
        Ok(())
    })
    .service(|draft, value| {
        draft.service.setgid = Some(given(value)?);
        Ok(())
    }),
    OptionDef::new(
        "setuid",
        Scope::Both,
        "USER",
        "user to become; in a section, the owner of the accept Unix socket",
    )
    .example("setuid = nobody")
    .unless_given("the user who starts adit")
    .global(|global, value| {
        global.setuid = Some(given(value)?);
        Ok(())
    })
    .service(|draft, value| {
        draft.service.setuid = Some(given(value)?);
        Ok(())
    }),
    OptionDef::new("syslog", Scope::Global, "yes | no", "log to syslog")
        .example("syslog = no")
        .defaults(&["yes"])
        .global(|global, value| {
            global.syslog = yes_no(value)?;
            Ok(())
        }),
    OptionDef::new(
        "threads",
        Scope::Global,
        "NUMBER",
        "relay threads in each worker",
    )
    .own()
    .example("threads = 4")
    .defaults(&["2"])
    .global(|global, value| {
        // Each is given a descriptor in one message; see ipc::channel.
        global.threads = number(value, 1..=MAX_DESCRIPTORS as u32 - 2)? as usize;
        Ok(())
    }),
    OptionDef::new(
        "workers",
        Scope::Global,
        "auto | NUMBER",
        "worker processes; `auto`: one per processor, at least 2",
    )
    .own()
    .example("workers = 4")
    .defaults(&["auto"])
    .global(|global, value| {
        global.workers = match value.eq_ignore_ascii_case("auto") {
            true => 0,
            false => number(value, 1..=1024)? as usize,
        };
        Ok(())
    }),
];

/// `NAME=VALUE`, as the environment has it.
fn variable(value: &str) -> Result<(String, String), Fault> {
    let help = "as `setEnv = TZ=UTC`";
    match value.split_once('=') {
        Some((name, _)) if name.trim().is_empty() => {
            Err(Fault::new("the name of the variable is missing").help(help))
        }
        Some((name, content)) => Ok((name.trim_end().to_owned(), content.to_owned())),
        None => Err(Fault::new("this is no variable: there is no `=` in it").help(help)),
    }
}

/// A path that must begin at the root.
fn absolute(value: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(given(value)?);
    if path.is_relative() {
        return Err(Fault::new("this must be a full path name").help("begin it with a `/`"));
    }
    Ok(path)
}
