//! What `adit add` prints, read as its reader does: field by field.

/// What an old program is told of one server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// `smtp`, `pop3` or `imap`.
    pub(super) mail: String,
    pub(super) host: String,
    pub(super) port: String,
    pub(super) user: String,
}

/// A text's fields: the page, the field, and what belongs in it.
struct Fields(Vec<(String, String, String)>);

impl Fields {
    /// Of what begins with `title`, whether it is shown or a comment.
    fn read(text: &str, title: &str) -> Fields {
        let lines = text.lines().map(|line| {
            line.strip_prefix(';')
                .map_or(line, |line| line.strip_prefix(' ').unwrap_or(line))
        });
        let lines = lines.skip_while(|line| !line.starts_with(title)).skip(1);
        let (mut fields, mut page) = (Vec::new(), String::new());
        for line in lines.filter(|line| !line.is_empty()) {
            let Some(field) = line.strip_prefix("  ") else {
                page = line.to_owned();
                continue;
            };
            // What is shorter is no field, but the rest of a warning.
            if let Some((name, value)) = field.split_at_checked(50) {
                fields.push((
                    page.clone(),
                    name.trim().to_owned(),
                    value.trim().to_owned(),
                ));
            }
        }
        assert!(!fields.is_empty(), "no fields in {text}");
        Fields(fields)
    }

    fn all<'a>(&'a self, page: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.0.iter();
        let found = fields.filter(move |(on, field, _)| on == page && field == name);
        found.map(|(_, _, value)| value.as_str())
    }

    fn one(&self, page: &str, name: &str) -> Option<String> {
        let mut found = self.all(page, name);
        let value = found.next().map(str::to_owned);
        assert_eq!(found.next(), None, "{page}, {name} twice");
        value
    }

    #[track_caller]
    fn has(&self, page: &str, name: &str) -> String {
        let value = self.one(page, name);
        value.unwrap_or_else(|| panic!("{page} has no {name}: {:?}", self.0))
    }
}

/// Types what is told in Outlook Express' words into a program that has these pages.
pub(super) fn outlook_express(text: &str, address: &str) -> Vec<Account> {
    let fields = Fields::read(text, "In Outlook Express: ");
    assert_eq!(fields.has("General", "E-mail address:"), address);
    let servers = |name: &str| fields.one("Servers", name);
    let secure = "Log on using Secure Password Authentication";
    assert_eq!(servers(secure).as_deref(), Some("off"));
    let mut accounts = Vec::new();
    let mut add = |mail: &str, host: String, port: String, user: String| {
        let mail = mail.to_lowercase();
        accounts.push(Account {
            mail,
            host,
            port,
            user,
        });
    };
    let account = fields.has("Servers", "Account name:");
    if let Some(mail) = servers("My incoming mail server is a ... server") {
        let name = format!("Incoming mail ({mail}):");
        let host = fields.has("Servers", &name);
        add(
            &mail,
            host.clone(),
            fields.has("Advanced", &name),
            account.clone(),
        );
        let instead = "As an IMAP account instead";
        if let Some(port) = fields.one(instead, "Incoming mail (IMAP), on the page Advanced:") {
            let user = fields.one(instead, "Account name:");
            add("imap", host, port, user.unwrap_or_else(|| account.clone()));
        }
    }
    if let Some(host) = servers("Outgoing mail (SMTP):") {
        assert_eq!(
            fields.has("Servers", "My server requires authentication"),
            "on"
        );
        let user = match servers("Settings...") {
            Some(same) => {
                assert_eq!(same, "Use same settings as my incoming mail server");
                account
            }
            None => fields.has("Servers", "Settings..., Log on using, Account name:"),
        };
        add(
            "smtp",
            host,
            fields.has("Advanced", "Outgoing mail (SMTP):"),
            user,
        );
    }
    let ssl = "This server requires a secure connection (SSL)";
    assert!(
        fields.all("Advanced", ssl).all(|box_| box_ == "off"),
        "{text}"
    );
    accounts.sort();
    accounts
}

/// The same of Thunderbird's.
pub(super) fn thunderbird(text: &str) -> Vec<Account> {
    let fields = Fields::read(text, "In Thunderbird: ");
    let mut accounts = Vec::new();
    for (mail, page) in [
        ("imap", "Server Settings (IMAP)"),
        ("pop3", "Server Settings (POP3)"),
        ("smtp", "Outgoing Server (SMTP)"),
    ] {
        if let Some(host) = fields.one(page, "Server Name:") {
            assert_eq!(fields.has(page, "Connection security:"), "None");
            accounts.push(Account {
                mail: mail.to_owned(),
                host,
                port: fields.has(page, "Port:"),
                user: fields.has(page, "User Name:"),
            });
        }
    }
    accounts
}

/// The same of a printer's, which sends alone, as `address`.
pub(super) fn printer(text: &str, address: &str) -> Account {
    let title = "In the printer's web page, ";
    let fields = Fields::read(text, title);
    let value = |name: &str| fields.has("", name);
    assert_eq!(value("Encryption, SSL/TLS, STARTTLS:"), "off");
    assert_eq!(value("Sender, From, device's e-mail address:"), address);
    Account {
        mail: "smtp".to_owned(),
        host: value("SMTP server:"),
        port: value("SMTP port:"),
        user: value("User name:"),
    }
}

/// Which password belongs into Outlook Express.
pub(super) fn password(text: &str) -> String {
    let fields = Fields::read(text, "In Outlook Express: ");
    let first = fields.all("Servers", "Password:").next();
    first.expect("a password").to_owned()
}

/// The arguments of the command that signs the account in, if one is told.
pub(super) fn sign_in(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    let command = lines.find_map(|line| line.strip_prefix("    adit login "))?;
    Some(command.split(' ').collect())
}
