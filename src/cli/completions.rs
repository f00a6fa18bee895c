//! Completions for bash, zsh and fish, made from the tables of commands and options. Hidden command:
//! `adit completions SHELL`.

use std::fmt::Write as _;

use super::commands::{COMMANDS, CommandDef};
use crate::config::{OptionDef, Verdict, options};

/// The shells that have completions.
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// The script for a shell; `None` for an unknown shell.
pub fn script(shell: &str) -> Option<String> {
    match shell {
        "bash" => Some(bash()),
        "zsh" => Some(zsh()),
        "fish" => Some(fish()),
        _ => None,
    }
}

fn named() -> impl Iterator<Item = &'static CommandDef> {
    COMMANDS.iter().filter(|command| !command.name.is_empty())
}

/// The configuration's options, which are flags as well.
fn option_flags() -> impl Iterator<Item = (String, &'static OptionDef)> {
    options()
        .filter(|option| matches!(option.verdict, Verdict::Served) && option.name != "include")
        .map(|option| (format!("--{}", option.name), option))
}

/// The possible values, where the syntax lists them.
fn choices(syntax: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = syntax.split(" | ").collect();
    let is_word = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_lowercase() || word.starts_with("TLS"))
            && !word.contains(' ')
    };
    (words.len() > 1 && words.iter().all(is_word)).then_some(words)
}

/// Commands that take no options of the configuration.
const NO_OPTIONS: [&str; 12] = [
    "status",
    "audit",
    "stop",
    "connections",
    "cut",
    "drain",
    "demo",
    "listen-in",
    "diff-stunnel",
    "ca",
    "add",
    "providers",
];

fn is_path(value: &str) -> bool {
    matches!(value, "FILE" | "PATH" | "DIRECTORY" | "SOCKET")
}

fn bash() -> String {
    let commands: Vec<&str> = named().map(|command| command.name).collect();
    let mut flags = String::new();
    for command in COMMANDS {
        let words: Vec<&str> = command.flags.iter().map(|flag| flag.name).collect();
        let name = if command.name.is_empty() {
            "''"
        } else {
            command.name
        };
        let _ = writeln!(flags, "        {name}) flags='{}' ;;", words.join(" "));
    }
    let options: Vec<String> = option_flags().map(|(flag, _)| flag).collect();
    let mut values = String::new();
    for (flag, option) in option_flags() {
        if let Some(words) = choices(option.syntax) {
            let words = words.join(" ");
            let _ = writeln!(
                values,
                "        {flag}) mapfile -t COMPREPLY < <(compgen -W '{words}' -- \"$word\"); return ;;"
            );
        }
    }
    format!(
        r#"# bash completion for adit(8)
_adit() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local command='' flags='' options='{options}'
    case $before in
{values}        --*) mapfile -t COMPREPLY < <(compgen -f -- "$word"); compopt -o filenames; return ;;
    esac
    if ((COMP_CWORD > 1)); then
        case ${{COMP_WORDS[1]}} in
        {alternatives}) command=${{COMP_WORDS[1]}} ;;
        esac
    fi
    case $command in
{flags}    esac
    case $command in
    {no_options}) options='' ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags $options" -- "$word")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    compopt -o filenames
    if ((COMP_CWORD == 1)); then
        mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W '{commands}' -- "$word")
    fi
}}
complete -F _adit adit
"#,
        options = options.join(" "),
        no_options = NO_OPTIONS.join(" | "),
        alternatives = commands.join(" | "),
        commands = commands.join(" "),
    )
}

/// Text for a single-quoted argument of zsh's _arguments, where a bracket or a colon would end a part.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
}

fn zsh_spec(name: &str, value: &str, doc: &str) -> String {
    let (name, doc) = (zsh_text(name), zsh_text(doc));
    match (value, choices(value)) {
        ("", _) => format!("'{name}[{doc}]'"),
        (_, Some(words)) => format!("'{name}[{doc}]:value:({})'", words.join(" ")),
        _ if is_path(value) => format!("'{name}[{doc}]:path:_files'"),
        _ => format!("'{name}[{doc}]:{}:'", zsh_text(value)),
    }
}

fn zsh() -> String {
    let mut commands = String::new();
    let mut cases = String::new();
    for command in COMMANDS {
        if !command.name.is_empty() {
            let summary = command.summary.replace('\'', "'\\''");
            let _ = writeln!(commands, "    '{}:{summary}'", command.name);
        }
        let flags: Vec<String> = command
            .flags
            .iter()
            .map(|flag| format!("            {}", zsh_spec(flag.name, flag.value, flag.doc)))
            .collect();
        let mut specs = flags;
        if command.takes_file {
            specs.push("            '*:configuration:_files'".to_owned());
        }
        if !NO_OPTIONS.contains(&command.name) {
            specs.push("            $options".to_owned());
        }
        let name = if command.name.is_empty() {
            "*"
        } else {
            command.name
        };
        let case = format!(
            "    {name})\n        specs=(\n{}\n        ) ;;\n",
            specs.join("\n")
        );
        // The catch-all comes last.
        match command.name.is_empty() {
            true => cases.push_str(&case),
            false => cases.insert_str(0, &case),
        }
    }
    let options: Vec<String> = option_flags()
        .map(|(flag, option)| format!("    {}", zsh_spec(&flag, option.syntax, option.doc)))
        .collect();
    format!(
        r"#compdef adit
# zsh completion for adit(8)
local -a commands options specs
commands=(
{commands})
options=(
{options}
)
if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then
    _describe -t commands command commands
    _files
    return
fi
case $words[2] in
{cases}esac
if ((${{commands[(I)$words[2]:*]}})); then
    shift words
    ((CURRENT--))
fi
_arguments -S $specs
",
        options = options.join("\n"),
    )
}

fn fish() -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    let names: Vec<&str> = named().map(|command| command.name).collect();
    let none = format!("not __fish_seen_subcommand_from {}", names.join(" "));
    let mut script = String::from("# fish completion for adit(8)\n");
    for command in named() {
        let _ = writeln!(
            script,
            "complete -c adit -n __fish_use_subcommand -a {} -d {}",
            command.name,
            quoted(command.summary)
        );
    }
    for command in COMMANDS {
        let condition = match command.name {
            "" => none.clone(),
            name => format!("__fish_seen_subcommand_from {name}"),
        };
        for flag in command.flags {
            let kind = if flag.name.starts_with("--") {
                "-l"
            } else {
                "-o"
            };
            let value = if flag.value.is_empty() { "" } else { " -r" };
            let _ = writeln!(
                script,
                "complete -c adit -n {} {kind} {}{value} -d {}",
                quoted(&condition),
                flag.name.trim_start_matches('-'),
                quoted(flag.doc)
            );
        }
    }
    let no_options = quoted(&format!(
        "not __fish_seen_subcommand_from {}",
        NO_OPTIONS.join(" ")
    ));
    for (flag, option) in option_flags() {
        let value = match choices(option.syntax) {
            Some(words) => format!("-x -a {}", quoted(&words.join(" "))),
            None if is_path(option.syntax) => "-r".to_owned(),
            None => "-x".to_owned(),
        };
        let _ = writeln!(
            script,
            "complete -c adit -n {no_options} -l {} {value} -d {}",
            flag.trim_start_matches('-'),
            quoted(option.doc)
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_served_option_is_in_every_script() {
        for shell in SHELLS {
            let script = script(shell).unwrap();
            for command in named() {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
            }
            for (flag, _) in option_flags() {
                let name = flag.trim_start_matches('-');
                assert!(script.contains(name), "{shell}: {name}");
            }
        }
        assert!(script("tcsh").is_none());
    }

    #[test]
    fn values_that_are_words_are_offered() {
        assert_eq!(choices("yes | no"), Some(vec!["yes", "no"]));
        assert_eq!(
            choices("TLSv1.2 | TLSv1.3 | all").map(|words| words.len()),
            Some(3)
        );
        assert_eq!(choices("auto | NUMBER"), None);
        assert_eq!(choices("FILE"), None);
    }
}
