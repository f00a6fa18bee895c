//! The token servers that are known. Never in here: a client id.

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Provider {
    /// As `--provider` has it.
    pub id: &'static str,
    /// The ids of mail providers whose addresses belong to it.
    mail: &'static str,
    pub authorize: &'static str,
    pub token: &'static str,
    pub device: Option<&'static str>,
    pub scope: &'static str,
    /// The host of a loopback redirect.
    pub redirect: &'static str,
    /// Further parameters of the authorize address, encoded.
    pub more: Option<&'static str>,
    /// Where a client id comes from.
    pub note: &'static str,
}

/// The scope of Microsoft's client credentials, which names no right: what the administrator granted counts.
pub(crate) const MICROSOFT_APP_SCOPE: &str = "https://outlook.office365.com/.default";

const TABLE: &str = include_str!("providers.tsv");
const FIELDS: usize = 10;

impl Provider {
    /// Every provider.
    pub(crate) fn all() -> impl Iterator<Item = Provider> {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(Provider::read)
    }

    /// The provider of this id.
    pub(crate) fn with_id(id: &str) -> Option<Provider> {
        Provider::all().find(|provider| provider.id == id)
    }

    /// The provider that signs in the addresses of this mail provider.
    pub(crate) fn of_mail(id: &str) -> Option<Provider> {
        Provider::all().find(|provider| provider.mail.split(',').any(|mail| mail == id))
    }

    /// Whether an address of it names a tenant.
    pub(crate) fn has_tenants(&self) -> bool {
        self.token.contains(TENANT)
    }

    fn read(line: &'static str) -> Option<Provider> {
        let mut fields = line.split('\t');
        let all: [&str; FIELDS] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        let [
            id,
            mail,
            authorize,
            token,
            device,
            scope,
            redirect,
            more,
            note,
            source,
        ] = all;
        let some = |field| (field != "-").then_some(field);
        let whole = !source.is_empty() && fields.next().is_none();
        whole.then_some(Provider {
            id,
            mail,
            authorize,
            token,
            device: some(device),
            scope,
            redirect,
            more: some(more),
            note,
        })
    }
}

const TENANT: &str = "{tenant}";

/// An address of the table for a tenant, which is a name or an id (letters, digits, `.` and `-`).
pub(crate) fn for_tenant(url: &str, tenant: &str) -> String {
    url.replace(TENANT, tenant)
}

/// Whether it can stand in an address.
pub(crate) fn is_tenant(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    !text.is_empty() && text.bytes().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpUrl;

    #[test]
    fn each_line_of_the_table_is_read_and_its_addresses_are_https() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(lines.count(), Provider::all().count());
        for provider in Provider::all() {
            let urls = [
                Some(provider.authorize),
                Some(provider.token),
                provider.device,
            ];
            for url in urls.into_iter().flatten() {
                let url = for_tenant(url, "common");
                HttpUrl::parse_https(&url).unwrap_or_else(|why| panic!("{url}: {why:?}"));
            }
            assert!(["127.0.0.1", "localhost"].contains(&provider.redirect));
            assert!(provider.note.ends_with('.') && !provider.scope.is_empty());
            let same = Provider::all().filter(|other| other.id == provider.id);
            assert_eq!(same.count(), 1, "{}", provider.id);
        }
    }

    #[test]
    fn mail_providers_are_those_that_adit_add_knows() {
        for provider in Provider::all() {
            for mail in provider.mail.split(',') {
                assert!(crate::cli::is_mail_provider(mail), "{mail}");
                assert_eq!(Provider::of_mail(mail).unwrap().id, provider.id);
            }
        }
    }

    #[test]
    fn a_tenant_changes_no_host() {
        assert!(is_tenant("contoso.onmicrosoft.com") && is_tenant("8a7b-00"));
        assert!(!is_tenant("") && !is_tenant("a/b") && !is_tenant("a@b"));
        let url = for_tenant(Provider::with_id("microsoft").unwrap().token, "x");
        assert_eq!(url, "https://login.microsoftonline.com/x/oauth2/v2.0/token");
    }
}
