//! The causes: a number for shared memory, a name for programs, a title for people. Never in here: a number or a name that
//! comes to mean something else.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! groups {
    ($($name:ident $word:literal,)*) => {
        /// What a cause is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Group { $(#[doc = $word] $name,)* }

        impl Group {
            /// Its name for programs.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Group::$name => $word,)* }
            }
        }
    };
}

groups! {
    ClientCertificate "client_certificate",
    ServerCertificate "server_certificate",
    OwnCertificate "own_certificate",
    Agreement "agreement",
    Tls "tls",
    Upstream "upstream",
    Dialogue "dialogue",
    Login "login",
    Access "access",
    Limits "limits",
    Adit "adit",
}

macro_rules! causes {
    ($($name:ident = $number:literal $group:ident $word:literal $title:literal,)*) => {
        /// Why something failed. Numbers are at most [`Cause::MOST`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(crate) enum Cause { $(#[doc = $title] $name = $number,)* }

        impl Cause {
            /// All there are.
            pub(crate) const ALL: &[Cause] = &[$(Cause::$name,)*];

            /// Its name for programs: in JSON, and as a label of metrics.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Cause::$name => $word,)* }
            }

            /// What it is, for people: the start of a sentence.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Cause::$name => $title,)* }
            }

            /// What it is about.
            pub(crate) fn group(self) -> Group {
                match self { $(Cause::$name => Group::$group,)* }
            }
        }
    };
}

causes! {
    ClientCertificateMissing = 0 ClientCertificate "client_certificate_missing"
        "A client shows no certificate",
    ClientCertificateRefused = 1 ClientCertificate "client_certificate_refused"
        "A client's certificate is refused",
    ServerCertificateExpired = 2 ServerCertificate "server_certificate_expired"
        "The server's certificate has expired, or is not valid yet",
    ServerCertificateName = 3 ServerCertificate "server_certificate_name"
        "The server's certificate is for another name",
    ServerCertificateIssuer = 4 ServerCertificate "server_certificate_issuer"
        "The server's certificate is from an authority that is not trusted",
    ServerCertificateRevoked = 5 ServerCertificate "server_certificate_revoked"
        "The server's certificate is revoked, or cannot be confirmed",
    ServerCertificateRefused = 6 ServerCertificate "server_certificate_refused"
        "The server's certificate is refused",
    OwnCertificateRefused = 7 OwnCertificate "own_certificate_refused"
        "The other side refuses our certificate",
    OwnCertificateMissing = 8 OwnCertificate "own_certificate_missing"
        "The other side wants a certificate from adit",
    NoCommonVersion = 9 Agreement "no_common_version"
        "No TLS version in common",
    NoCommonCipher = 10 Agreement "no_common_cipher"
        "No cipher, group or signature in common",
    NoCommonProtocol = 43 Agreement "no_common_protocol"
        "No application protocol (ALPN) in common",
    PresharedKey = 11 Agreement "preshared_key"
        "The two sides have not the same pre-shared key",
    NotTls = 12 Tls "not_tls"
        "The other side does not speak TLS there",
    BrokenTls = 13 Tls "broken_tls"
        "The other side breaks TLS, or the connection is tampered with",
    Alert = 14 Tls "alert"
        "The other side ended TLS by an alert",
    Vanished = 15 Tls "vanished"
        "The other side left in the middle",
    TimedOut = 16 Tls "timed_out"
        "The other side was silent for too long",
    UpstreamRefused = 17 Upstream "upstream_refused"
        "The server refuses the connection",
    UpstreamUnreachable = 18 Upstream "upstream_unreachable"
        "No route leads to the server",
    UpstreamSilent = 19 Upstream "upstream_silent"
        "The server does not answer",
    UpstreamName = 20 Upstream "upstream_name"
        "The server's name does not resolve",
    UpstreamOther = 21 Upstream "upstream_other"
        "No connection can be made",
    Program = 22 Upstream "program"
        "The program cannot be started",
    NoStarttls = 23 Dialogue "no_starttls"
        "The server does not start TLS",
    ServerDialogue = 24 Dialogue "server_dialogue"
        "The server does not say what its protocol wants",
    ClientDialogue = 25 Dialogue "client_dialogue"
        "A client does not say what its protocol wants",
    Proxy = 26 Dialogue "proxy"
        "The proxy does not connect",
    BalancerHeader = 44 Dialogue "balancer_header"
        "A balancer does not say who its client is",
    ClientEncrypts = 27 Dialogue "client_encrypts"
        "A program encrypts where adit does",
    LocalPassword = 28 Login "local_password"
        "The program's password is not the local one",
    Password = 29 Login "password"
        "The server refuses the name or the password",
    AppPassword = 30 Login "app_password"
        "The provider wants an app password",
    Token = 31 Login "token"
        "The account must be signed in again",
    SmtpAuthOff = 32 Login "smtp_auth_off"
        "The provider has switched logins by SMTP off",
    OauthOnly = 33 Login "oauth_only"
        "The provider takes OAuth2 alone",
    Mechanism = 34 Login "mechanism"
        "The server has no login that can be used",
    ProgramLogin = 35 Login "program_login"
        "The program logs in by a way that cannot be taken",
    LoginLater = 36 Login "login_later"
        "No login is taken just now",
    Refused = 37 Access "refused"
        "A client may not connect from its address",
    Limit = 38 Limits "limit"
        "A limit of the configuration was reached",
    Memory = 39 Limits "memory"
        "Memory or descriptors ran out",
    Reload = 40 Adit "reload"
        "A reload failed: the configuration before is in force",
    CertificateEnds = 41 Adit "certificate_ends"
        "A certificate ends soon, or has ended",
    Process = 45 Adit "process"
        "A process of adit's has died, or stood still",
    Log = 46 Adit "log"
        "Lines of the log are lost",
    Internal = 42 Adit "internal"
        "A fault of adit's own, or of the system",
}

impl Cause {
    /// No cause has a higher number.
    pub(crate) const MOST: u8 = 63;

    /// That of a number.
    pub(crate) fn of_number(number: u8) -> Option<Cause> {
        let mut all = Cause::ALL.iter();
        all.find(|cause| cause.number() == number).copied()
    }

    /// Its number in shared memory.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    fn of_name(name: &str) -> Option<Cause> {
        Cause::ALL
            .iter()
            .find(|cause| cause.name() == name)
            .copied()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Cause {
    /// What another version names so is [`Cause::Internal`] here.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Ok(Cause::of_name(&name).unwrap_or(Cause::Internal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_each_of_one_cause() {
        for &cause in Cause::ALL {
            assert!(cause.number() <= Cause::MOST);
            assert_eq!(Cause::of_number(cause.number()), Some(cause));
            assert_eq!(Cause::of_name(cause.name()), Some(cause));
        }
        assert_eq!(Cause::of_number(Cause::MOST), None);
    }

    #[test]
    fn each_cause_stands_in_the_documentation_and_no_other() {
        let row = |cause: &Cause| {
            let (name, group) = (cause.name(), cause.group().name());
            format!("| `{name}` | `{group}` | {} |", cause.title())
        };
        let there: Vec<String> = Cause::ALL.iter().map(row).collect();
        let rows = include_str!("../../docs/failures.md").lines();
        let told: Vec<&str> = rows.filter(|row| row.starts_with("| `")).collect();
        assert_eq!(there, told);
    }

    #[test]
    fn a_cause_is_its_name_in_a_document() {
        let text = serde_json::to_string(&Cause::NoStarttls).unwrap();
        assert_eq!(text, "\"no_starttls\"");
        assert_eq!(
            serde_json::from_str::<Cause>(&text).unwrap(),
            Cause::NoStarttls
        );
        let new: Cause = serde_json::from_str("\"of_tomorrow\"").unwrap();
        assert_eq!(new, Cause::Internal);
    }
}
