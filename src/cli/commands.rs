//! What the command line offers, as a table: the manual page and the completions are made of it.

/// A command: `adit NAME ARGUMENTS`.
#[derive(Debug, Clone, Copy)]
pub struct CommandDef {
    /// The word after `adit`; empty where there is none: `adit [FILE]`.
    pub name: &'static str,
    /// What follows it, as the manual writes it.
    pub arguments: &'static str,
    /// One line on what it is for.
    pub summary: &'static str,
    /// The rest of what the manual says.
    pub details: &'static str,
    /// Its own flags.
    pub flags: &'static [FlagDef],
    /// Whether a configuration file may be named, and the configuration's options given as flags.
    pub takes_file: bool,
}

/// A flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct FlagDef {
    /// With its dashes.
    pub name: &'static str,
    /// Its value as the manual writes it; empty: it has none.
    pub value: &'static str,
    /// One line on what it is for.
    pub doc: &'static str,
}

const fn flag(name: &'static str, value: &'static str, doc: &'static str) -> FlagDef {
    FlagDef { name, value, doc }
}

/// Every command, in the order of the manual.
pub const COMMANDS: &[CommandDef] = &[
    CommandDef {
        name: "",
        arguments: "[FILE | -fd N]",
        summary: "serve what a configuration says",
        details: "FILE is /etc/adit/adit.conf unless given, or /etc/stunnel/stunnel.conf when the \
            program is called by the name stunnel. Without `foreground` the command returns when \
            the ports are bound and the workers serve, and its exit status says whether they do.",
        flags: &[
            flag("-fd", "N", "read the configuration from descriptor N"),
            flag("-version", "", "show the version and the defaults"),
            flag("-help", "", "show the commands and the options"),
            flag("-sockets", "", "show the names that `socket` takes"),
            flag("-options", "", "show the names that `options` takes"),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "check",
        arguments: "[--strict] [--route] [--passed N] [FILE]",
        summary: "say everything that is wrong with a configuration, and start nothing",
        details: "Certificates and keys are loaded and names are resolved as at a start. It fails \
            when there is an error, and says where and what would be right. Pass phrases of keys are \
            asked for; without a terminal such keys are left unchecked, which is a warning. A service \
            without `accept` takes a socket that systemd passes: as many are counted on as the \
            running adit has.",
        flags: &[
            flag("--strict", "", "fail on a warning too"),
            flag(
                "--route",
                "",
                "show what the connections of each service go through, stage by stage",
            ),
            flag("--passed", "N", "count on N sockets that systemd will pass"),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "reload",
        arguments: "[FILE]",
        summary: "have the running adit take over its changed configuration, and wait until it has",
        details: "The file is checked first. It fails when the new configuration is not in force \
            afterwards; the running one then goes on as if nothing had been asked. Connections are \
            never cut. The running adit is found by its control socket, see `control` in adit.conf(5).",
        flags: &[],
        takes_file: true,
    },
    CommandDef {
        name: "relay",
        arguments: "--accept A --connect B [--protocol P] [...]",
        summary: "serve one service without a file: plain in, TLS out, the server verified",
        details: "Every option of adit.conf(5) can be given as a flag. It stays in the foreground \
            and logs to the terminal.",
        flags: &[
            flag(
                "--accept",
                "[HOST:]PORT",
                "address to accept connections on",
            ),
            flag("--connect", "[HOST:]PORT", "address to connect to"),
            flag("--protocol", "PROTOCOL", "what is said in plain before TLS"),
            flag("--server", "", "the reverse: TLS in, plain out"),
            flag("--cert", "FILE", "certificate chain, for --server"),
            flag("--key", "FILE", "private key, for --server"),
            flag("--insecure", "", "verify nobody"),
        ],
        takes_file: false,
    },
    CommandDef {
        name: "status",
        arguments: "[--json] [--control SOCKET | FILE]",
        summary: "ask the running adit for its generations, workers and counts",
        details: "Only who may open the control socket is answered, by default root. It answers \
            whatever is wrong with the file by now. An adit that runs with another file is not \
            the one that is meant: `reload`, `status` and `stop` leave it alone, and fail.",
        flags: &[
            flag("--json", "", "print the answer as JSON"),
            flag(
                "--control",
                "SOCKET",
                "ask here, and not where the configuration says",
            ),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "stop",
        arguments: "[--control SOCKET | FILE]",
        summary: "end the running adit, and wait until it has ended",
        details: "As SIGTERM does: connections have the time that `drainTimeout` gives. The running \
            adit is found as by `adit status`.",
        flags: &[flag(
            "--control",
            "SOCKET",
            "ask here, and not where the configuration says",
        )],
        takes_file: true,
    },
    CommandDef {
        name: "demo",
        arguments: "",
        summary: "show an old mail program and a modern mail server, with adit between them",
        details: "It needs no network and no root, and leaves nothing behind.",
        flags: &[],
        takes_file: false,
    },
];
