//! The commands as a table, from which the manual page and the completions are made.

/// A command: `adit NAME ARGUMENTS`.
#[derive(Debug, Clone, Copy)]
pub struct CommandDef {
    /// The word after `adit`; empty for `adit [FILE]`.
    pub name: &'static str,
    /// The arguments after it, as the manual writes them.
    pub arguments: &'static str,
    /// One line on its purpose.
    pub summary: &'static str,
    /// The rest of what the manual says.
    pub details: &'static str,
    /// Its own flags.
    pub flags: &'static [FlagDef],
    /// Whether it takes a configuration file, and the configuration's options as flags.
    pub takes_file: bool,
}

/// A flag of a command.
#[derive(Debug, Clone, Copy)]
pub struct FlagDef {
    /// With its dashes.
    pub name: &'static str,
    /// Its value as the manual writes it; empty if it has none.
    pub value: &'static str,
    /// One line on its purpose.
    pub doc: &'static str,
}

/// The command of this name.
pub fn find(name: &str) -> Option<&'static CommandDef> {
    COMMANDS.iter().find(|command| command.name == name)
}

const fn flag(name: &'static str, value: &'static str, doc: &'static str) -> FlagDef {
    FlagDef { name, value, doc }
}

const CONTROL: FlagDef = flag(
    "--control",
    "SOCKET",
    "ask at this socket, not at the configuration's",
);

/// Every command, in the order of the manual.
pub const COMMANDS: &[CommandDef] = &[
    CommandDef {
        name: "",
        arguments: "[FILE | -fd N]",
        summary: "serve a configuration",
        details: "FILE is /etc/adit/adit.conf unless given, or /etc/stunnel/stunnel.conf when the \
            program is called by the name stunnel. Without `foreground` the command returns when \
            the ports are bound and the workers serve, and its exit status says whether they do.",
        flags: &[
            flag("-fd", "N", "read the configuration from descriptor N"),
            flag("-version", "", "show the version and the defaults"),
            flag("-help", "", "show the commands and the options"),
            flag("-sockets", "", "list the options for `socket`"),
            flag("-options", "", "list the names for `options`"),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "check",
        arguments: "[--strict] [--route] [--passed N] [FILE]",
        summary: "report everything that is wrong with a configuration, and start nothing",
        details: "It loads certificates and keys and resolves names, as a start does. If there is an \
             error it fails, and says where the error is and what would be right. It asks for the \
             pass phrases of keys; without a terminal such keys stay unchecked, which is a warning. \
             A service without `accept` takes a socket passed by systemd: it expects as many as the \
             running adit has.",
        flags: &[
            flag("--strict", "", "also fail on warnings"),
            flag(
                "--route",
                "",
                "show the stages that connections of each service go through",
            ),
            flag("--passed", "N", "expect N sockets from systemd"),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "reload",
        arguments: "[FILE]",
        summary: "make the running adit apply its changed configuration, and wait for the result",
        details: "It checks the file first, and fails if the new configuration is not in force \
             afterwards; the running one then stays in force as if nothing had happened. It never \
             cuts a connection. It finds the running adit by its control socket, see `control` in \
             adit.conf(5).",
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
            flag("--protocol", "PROTOCOL", "the plain dialogue before TLS"),
            flag("--server", "", "the reverse: TLS in, plain out"),
            flag("--cert", "FILE", "certificate chain, for --server"),
            flag("--key", "FILE", "private key, for --server"),
            flag("--insecure", "", "verify no server"),
        ],
        takes_file: false,
    },
    CommandDef {
        name: "status",
        arguments: "[--watch | --failures] [--json] [--control SOCKET | FILE]",
        summary: "ask the running adit for its generations, services, certificates and counts",
        details: "Without FILE the one that runs with /etc/adit/adit.conf is asked; if there is no such file, the only \
             one that runs. Only users who may open the control socket get an answer: by default root. Errors \
             in the file do not matter. If the adit that answers runs with another file, `reload`, \
             `status` and `stop` leave it alone and fail. A certificate of its own that ends within 14 days is warned of.",
        flags: &[
            flag(
                "--watch",
                "",
                "show connections, failures and rates on the terminal, each second; `q` ends it",
            ),
            flag(
                "--failures",
                "",
                "say what went wrong, by cause, and what to do about it; docs/failures.md has the causes",
            ),
            flag(
                "--json",
                "",
                "print the answer as JSON; docs/status.md has its fields",
            ),
            flag(
                "--control",
                "SOCKET",
                "ask at this socket, not at the configuration's",
            ),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "audit",
        arguments: "[--json] [--control SOCKET | FILE]",
        summary: "look whether each process of the running adit has given up its rights",
        details: "It shows of each process the users, groups and capabilities, root and working directory, namespaces,              descriptors by kind, seccomp and landlock, and what it may still do. That is tried from inside: the              process's first thread is stopped for some microseconds by ptrace(2), and makes the call. A call that              its seccomp filters would kill it for is not made, nor one that they let through and that would              change something: for these the filters, which the kernel hands out, are read. It exits with 1 if a              process may more than its role needs, and says what would help. It needs root, with CAP_SYS_PTRACE and              CAP_SYS_ADMIN; otherwise it says what it could not see. It finds the running adit as `adit status` does.",
        flags: &[
            flag("--json", "", "print the report as JSON"),
            flag(
                "--control",
                "SOCKET",
                "ask at this socket, not at the configuration's",
            ),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "stop",
        arguments: "[--control SOCKET | FILE]",
        summary: "stop the running adit, and wait until it has exited",
        details: "It sends SIGTERM: connections get the time that `drainTimeout` allows. It finds \
             the running adit as `adit status` does.",
        flags: &[flag(
            "--control",
            "SOCKET",
            "ask at this socket, not at the configuration's",
        )],
        takes_file: true,
    },
    CommandDef {
        name: "connections",
        arguments: "[--json] [--control SOCKET | FILE]",
        summary: "list the open connections of the running adit, with their numbers, addresses and bytes",
        details: "Each worker is asked, and answers at once; the exit status is 3 if one did not. The numbers are those of the log, unless `logId` says \
             otherwise; then both are shown. It is for root and for the user who started adit. It finds the running \
             adit as `adit status` does.",
        flags: &[
            flag(
                "--json",
                "",
                "print the list as JSON; docs/status.md has its fields",
            ),
            CONTROL,
        ],
        takes_file: true,
    },
    CommandDef {
        name: "cut",
        arguments: "NUMBER [--control SOCKET | FILE]",
        summary: "end one open connection",
        details: "NUMBER is what the log shows in brackets, and `adit connections` lists; with `logId = unique` that text \
             does too. The connection ends as a broken one does, and the log says that it was cut. The exit status is 1 \
             if there is no such connection, and 3 if a worker that may have it did not answer. It is for root and for the user who started adit.",
        flags: &[CONTROL],
        takes_file: true,
    },
    CommandDef {
        name: "drain",
        arguments: "[--undo] SERVICE [--control SOCKET | FILE]",
        summary: "accept nothing more for a service, whose open connections end by themselves",
        details: "New clients are refused; those in the queue are still served. It stays so over reloads, the death of a \
             master and an upgrade, until it is undone or adit is started anew; `adit status` tells of it. A secondary \
             service (`sni`) has no address of its own to drain. A socket that systemd passed stays open: clients wait \
             in its queue. It is for root and for the user who started adit.",
        flags: &[
            flag(
                "--undo",
                "",
                "accept for the service again, at the same addresses",
            ),
            CONTROL,
        ],
        takes_file: true,
    },
    CommandDef {
        name: "add",
        arguments: "ADDRESS [FILE] [--listen ADDRESS] [--for PROGRAM] [...]",
        summary: "write the services for a mail address, and say what to type into the mail program",
        details: "It knows the servers of many providers and needs no network for them. The services go into a file of \
             their own in the folder conf.d beside FILE, which includes it; FILE is /etc/adit/adit.conf unless given, \
             and is made if it is missing. The ports are free ones, and stay the same. The whole configuration is \
             checked, and a running adit reloads it; if either fails, everything is as it was. A file that was \
             changed by hand is left alone. For a domain that it does not know, it asks DNS for its servers (RFC 6186), \
             shows them, and asks whether to use them. Passwords are neither asked for nor kept: the mail program has \
             its own. For a provider that takes OAuth2 alone adit logs in (`login = oauth2`): the command of `adit login` \
             that signs the account in is told.",
        flags: &[
            flag(
                "--print",
                "",
                "only show the services, and as comments what to type",
            ),
            flag("--remove", "", "remove the services of this address"),
            flag(
                "--for",
                "outlook-express | printer | thunderbird",
                "the program in whose words the settings are told; outlook-express unless given",
            ),
            flag(
                "--listen",
                "ADDRESS",
                "accept on this address of the LAN, for a program on another machine; 127.0.0.1 unless given",
            ),
            flag(
                "--from",
                "NETWORKS",
                "with --listen: the addresses and networks that may connect, as `acceptFrom` takes them; the network \
                 of that address unless given",
            ),
            flag(
                "--name",
                "NAME",
                "what the services and their file are called; as the address unless given",
            ),
            flag(
                "--provider",
                "ID",
                "for an address in a domain of your own: where it is hosted, one of `adit providers`",
            ),
            flag(
                "--smtp",
                "HOST:PORT",
                "the server to send by, in place of what is known; with :tls or :starttls behind it where the port \
                 does not say how TLS begins",
            ),
            flag(
                "--pop3",
                "HOST:PORT",
                "the server to fetch from by POP3, as --smtp",
            ),
            flag(
                "--imap",
                "HOST:PORT",
                "the server to fetch from by IMAP, as --smtp",
            ),
            flag("--yes", "", "use the servers that DNS names without asking"),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "login",
        arguments: "NAME [...] [FILE]",
        summary: "sign a mail account in by OAuth2, for services with `login = oauth2`",
        details: "NAME is what the mail program has as its user. adit asks for a local password, which the program is to \
             send from then on; it opens the account and never leaves the machine. Then you sign in at the provider: by \
             a code that you type on any device, or by a browser. What the provider gives is kept encrypted in \
             `keeperDirectory` of FILE, for `keeperUser` alone; the command becomes that user before it asks the \
             network. A running adit knows the account at once. adit ships no client id: you register one at the \
             provider, and give it. Without `--provider` the address says it (google, microsoft, yahoo, aol, fastmail, \
             yandex, mail-ru, comcast); any other token server is given by its addresses. A person who does not sign in \
             for long has to do it again: Microsoft ends what was not used for 90 days, Google for six months, or after \
             seven days while the project is in Testing.",
        flags: &[
            flag("--list", "", "say which accounts there are"),
            flag("--forget", "", "remove the account NAME"),
            flag(
                "--try",
                "",
                "have a token for NAME as a session would, and say what comes",
            ),
            flag(
                "--provider",
                "ID",
                "who signs the address in, for a domain of its own",
            ),
            flag(
                "--client-id",
                "ID",
                "the client that was registered at the provider",
            ),
            flag(
                "--client-secret-file",
                "FILE",
                "its secret, where it has one: the first line",
            ),
            flag(
                "--flow",
                "WORD",
                "device, browser or credentials; the provider's unless given",
            ),
            flag(
                "--tenant",
                "ID",
                "the tenant of Microsoft 365; common unless given",
            ),
            flag(
                "--user",
                "USER",
                "the mailbox, where it is another than NAME: a shared one",
            ),
            flag(
                "--scope",
                "TEXT",
                "what to ask for; the provider's scopes unless given",
            ),
            flag(
                "--port",
                "N",
                "the port that the browser comes back to, on loopback; any unless given",
            ),
            flag(
                "--password-file",
                "FILE",
                "the local password: the first line",
            ),
            flag(
                "--token-url",
                "URL",
                "where tokens are had, of a provider that is not known",
            ),
            flag("--device-url", "URL", "where device codes are had"),
            flag("--authorize-url", "URL", "where a person signs in"),
            flag(
                "--ca-file",
                "FILE",
                "authorities of that server in PEM; the system's unless given",
            ),
        ],
        takes_file: true,
    },
    CommandDef {
        name: "providers",
        arguments: "[WORD]",
        summary: "list the mail providers that `adit add` knows",
        details: "With WORD those whose name or domain has it. The first server of each protocol is the one that `adit \
             add` uses.",
        flags: &[],
        takes_file: false,
    },
    CommandDef {
        name: "demo",
        arguments: "",
        summary: "show an old mail program and a modern mail server, with adit between them",
        details: "It needs neither a network nor root, and leaves nothing behind.",
        flags: &[],
        takes_file: false,
    },
    CommandDef {
        name: "listen-in",
        arguments: "--accept [HOST:]PORT [--protocol P] [--timeout SECONDS]",
        summary: "take one connection, say what that program speaks, and which configuration suits it",
        details: "Start it, let the program connect to that port, and read the report on standard output: \
             the program's versions and suites of TLS, the name it asks for, whether it waits for a \
             greeting, whether it uses STARTTLS or speaks plain; and a service to be pasted into the \
             configuration. The connection goes nowhere, and the program is told an error. It needs neither \
             a configuration nor root. A connection that says nothing and closes is not counted.",
        flags: &[
            flag(
                "--accept",
                "[HOST:]PORT",
                "address to listen on; without HOST every address of this machine",
            ),
            flag(
                "--protocol",
                "smtp | pop3 | imap",
                "greet a program that waits for it as such a server, and offer STARTTLS; by default what \
                 the port says (25, 587, 110, 143, also 1587 and the like)",
            ),
            flag(
                "--timeout",
                "SECONDS",
                "fail if no program has connected by then",
            ),
        ],
        takes_file: false,
    },
    CommandDef {
        name: "diff-stunnel",
        arguments: "[--stunnel PROGRAM] [FILE]",
        summary: "run stunnel and adit on a configuration, one after the other, and say where they differ",
        details: "FILE is /etc/stunnel/stunnel.conf unless given. Both run in a network of their own, in which every \
             port is free and every address this machine's, so it meets no service that runs and no server that \
             is connected to; it needs root. Compared are whether each starts, the addresses that it listens on, \
             what a plain client, one with TLS 1.3 and one with TLS 1.2 meet there (suite, certificate, alert, the \
             first words), what servers hear behind it, and the phrases of its log that filters match on. \
             Programs of `exec` are started, users and jails are entered. Global options for the log, the pid file and the \
             control socket are left out of FILE; a file that it includes may name a log, but neither of the others. It exits with 0 if there is no \
             difference, 1 if there is one, and 2 if it cannot tell, as without stunnel.",
        flags: &[flag(
            "--stunnel",
            "PROGRAM",
            "compare with this stunnel, not with the one in PATH",
        )],
        takes_file: false,
    },
    CommandDef {
        name: "ca",
        arguments: "[renew | show] [--dir DIRECTORY] [...]",
        summary: "make a local authority and a certificate that old programs take, for `acceptCert`",
        details: "It makes what is not there yet: an authority for twenty years, which it never overwrites, \
             and a certificate for two, with an RSA key, for the names and addresses of this machine. \
             `adit ca renew` makes a new one from the same authority in place of each that has less than a \
             third of its life left, so it can be called daily; `certWatch` then serves it. \
             `adit ca show` shows both, with the authority's fingerprints, and `--serve` gives the \
             authority's certificate once to a browser on the LAN, which offers to install it. Keys stay \
             readable by their owner alone.",
        flags: &[
            flag(
                "--dir",
                "DIRECTORY",
                "where the files are; /etc/adit/ca unless given",
            ),
            flag(
                "--name",
                "NAME",
                "make the certificate out to this name or address too, exactly as the program has it in its settings; \
                 the first one becomes the common name, which old Windows looks at alone",
            ),
            flag(
                "--file",
                "NAME",
                "the certificate's file in that folder; server.pem unless given. Services with TLS below 1.2 \
                 need one of their own",
            ),
            flag(
                "--sha1",
                "",
                "sign with SHA-1, for programs older than Windows XP SP3; the authority needs a folder of its own",
            ),
            flag(
                "--force",
                "",
                "with `renew`: whatever is left of the old certificate's life",
            ),
            flag(
                "--serve",
                "[HOST:]PORT",
                "with `show`: give the authority's certificate over plain HTTP, once",
            ),
        ],
        takes_file: false,
    },
];
