//! `config = COMMAND:VALUE`: OpenSSL's configuration commands (SSL_CONF_cmd(3)), as far as they have an equal
//! here. As in stunnel they count more than the options that say the same, wherever they stand.

use super::diagnostic::nearest;
use super::option::Fault;
use super::service::{Draft, Service, TlsVersion};
use super::signature_list::{self, SignatureLists};
use super::tls_options::{self, TlsFlags};

/// What the commands of a service say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    min: Limit,
    max: Limit,
    ciphers: Option<String>,
    ciphersuites: Option<String>,
    curves: Option<String>,
    signatures: SignatureLists,
    set: TlsFlags,
    cleared: TlsFlags,
}

/// What a section itself decides of its handshakes, and does not leave to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Decided {
    /// The lowest version.
    pub(super) min: bool,
    /// The highest.
    pub(super) max: bool,
    pub(super) ciphers: bool,
    pub(super) ciphersuites: bool,
    pub(super) curves: bool,
    /// Set or taken back.
    pub(super) flags: TlsFlags,
}

/// A limit of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Limit {
    /// No command gives one.
    #[default]
    Unsaid,
    /// There is none.
    Off,
    At(TlsVersion),
}

impl Limit {
    /// What holds of two that commands give.
    fn over(self, other: Limit) -> Limit {
        match self {
            Limit::Unsaid => other,
            said => said,
        }
    }

    /// What holds, where the options give this one.
    fn or(self, given: Option<TlsVersion>) -> Option<TlsVersion> {
        match self {
            Limit::Unsaid => given,
            Limit::Off => None,
            Limit::At(version) => Some(version),
        }
    }
}

impl Said {
    /// These, which a section gives, over what every section begins with.
    pub(super) fn over(self, general: Said) -> Said {
        Said {
            min: self.min.over(general.min),
            max: self.max.over(general.max),
            ciphers: self.ciphers.or(general.ciphers),
            ciphersuites: self.ciphersuites.or(general.ciphersuites),
            curves: self.curves.or(general.curves),
            signatures: self.signatures.over(general.signatures),
            set: general.set.without(self.cleared).with(self.set),
            cleared: general.cleared.without(self.set).with(self.cleared),
        }
    }

    /// What they decide.
    pub(super) fn decides(&self) -> Decided {
        Decided {
            min: self.min != Limit::Unsaid,
            max: self.max != Limit::Unsaid,
            ciphers: self.ciphers.is_some(),
            ciphersuites: self.ciphersuites.is_some(),
            curves: self.curves.is_some(),
            flags: self.set.with(self.cleared),
        }
    }

    /// Puts them in the place of what the service's options say. Returns its flags.
    pub(super) fn apply(self, service: &mut Service, flags: TlsFlags) -> TlsFlags {
        let tls = &mut service.tls;
        tls.version_min = self.min.or(tls.version_min);
        tls.version_max = self.max.or(tls.version_max);
        for (place, said) in [
            (&mut tls.ciphers, self.ciphers),
            (&mut tls.ciphersuites, self.ciphersuites),
            (&mut tls.curves, self.curves),
        ] {
            if said.is_some() {
                *place = said;
            }
        }
        tls.signatures = self.signatures;
        flags.without(self.cleared).with(self.set)
    }
}

/// Commands without an equal, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("Certificate", "`cert = FILE`"),
    ("PrivateKey", "`key = FILE`"),
    ("ChainCAFile", "put the chain into the file of `cert`"),
    ("ChainCAPath", "put the chain into the file of `cert`"),
    ("VerifyCAFile", "`CAfile = FILE`"),
    ("VerifyCAPath", "`CApath = DIRECTORY`"),
    (
        "RequestCAFile",
        "the names of the authorities in `CAfile` and `CApath` are sent",
    ),
    (
        "ClientCAFile",
        "the names of the authorities in `CAfile` and `CApath` are sent",
    ),
    (
        "RequestCAPath",
        "the names of the authorities in `CAfile` and `CApath` are sent",
    ),
    (
        "ClientCAPath",
        "the names of the authorities in `CAfile` and `CApath` are sent",
    ),
    (
        "VerifyMode",
        "`verifyChain`, `verifyPeer` and `requireCert` say what is asked of a peer",
    ),
    (
        "DHParameters",
        "leave it out: with DHE, the group is ffdhe2048 (RFC 7919)",
    ),
    ("ECDHParameters", "`curves = LIST`"),
    ("RecordPadding", "leave it out: records are not padded"),
    (
        "NumTickets",
        "leave it out: a server sends two; `sessionResume = no` for none",
    ),
    (
        "ServiceInfoFile",
        "leave it out: there is no such extension here",
    ),
    (
        "ServerInfoFile",
        "leave it out: there is no such extension here",
    ),
];

/// Commands that are done.
const DONE: [&str; 10] = [
    "MinProtocol",
    "MaxProtocol",
    "Protocol",
    "CipherString",
    "Ciphersuites",
    "Groups",
    "Curves",
    "SignatureAlgorithms",
    "ClientSignatureAlgorithms",
    "Options",
];

/// Words of `Options`: what of `options` each sets; `true` where leaving it out sets it.
#[rustfmt::skip]
const WORDS: &[(&str, &str, bool)] = &[
    ("SessionTicket", "NO_TICKET", true),
    ("Compression", "NO_COMPRESSION", true),
    ("EmptyFragments", "DONT_INSERT_EMPTY_FRAGMENTS", true),
    ("Bugs", "ALL", false),
    ("DHSingle", "SINGLE_DH_USE", false),
    ("ECDHSingle", "SINGLE_ECDH_USE", false),
    ("ServerPreference", "CIPHER_SERVER_PREFERENCE", false),
    ("PrioritizeChaCha", "PRIORITIZE_CHACHA", false),
    ("NoResumptionOnRenegotiation", "NO_SESSION_RESUMPTION_ON_RENEGOTIATION", false),
    ("NoRenegotiation", "NO_RENEGOTIATION", false),
    ("UnsafeLegacyRenegotiation", "ALLOW_UNSAFE_LEGACY_RENEGOTIATION", false),
    ("UnsafeLegacyServerConnect", "LEGACY_SERVER_CONNECT", false),
    ("EncryptThenMac", "NO_ENCRYPT_THEN_MAC", true),
    ("ExtendedMasterSecret", "NO_EXTENDED_MASTER_SECRET", true),
    ("AllowNoDHEKEX", "ALLOW_NO_DHE_KEX", false),
    ("PreferNoDHEKEX", "PREFER_NO_DHE_KEX", false),
    ("MiddleboxCompat", "ENABLE_MIDDLEBOX_COMPAT", false),
    ("AntiReplay", "NO_ANTI_REPLAY", true),
    ("CANames", "DISABLE_TLSEXT_CA_NAMES", true),
    ("KTLS", "ENABLE_KTLS", false),
    ("TxCertificateCompression", "NO_TX_CERTIFICATE_COMPRESSION", true),
    ("RxCertificateCompression", "NO_RX_CERTIFICATE_COMPRESSION", true),
];

/// Reads one `config` value.
pub(super) fn set(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let (command, parameter) = match value.split_once(':') {
        Some((command, parameter)) => (command, parameter),
        None => (value, ""),
    };
    let all = DONE
        .iter()
        .chain(ELSEWHERE.iter().map(|(command, _)| command));
    let Some(command) = all
        .clone()
        .find(|known| known.eq_ignore_ascii_case(command))
    else {
        let text = format!("OpenSSL config command \"{command}\" was not recognised");
        let meant = nearest(command, all.copied());
        return Err(Fault::new(text).help(match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("these are served: {}", DONE.join(", ")),
        }));
    };
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(other, _)| other == command) {
        let text = format!("adit does not serve OpenSSL's config command {command}");
        return Err(Fault::new(text).help(*instead));
    }
    if parameter.is_empty() {
        let text = format!("OpenSSL config command \"{command}\" requires a parameter");
        return Err(Fault::new(text).help(format!("write `config = {command}:VALUE`")));
    }
    let said = &mut draft.commands;
    match *command {
        "MinProtocol" => {
            said.min = protocol(parameter, tls_options::version_min)?;
            if tls_options::is_broken(parameter) {
                return Err(tls_options::never_spoken(parameter));
            }
        }
        "MaxProtocol" => said.max = protocol(parameter, tls_options::version)?,
        "Protocol" => protocols(said, parameter)?,
        "CipherString" => said.ciphers = Some(parameter.to_owned()),
        "Ciphersuites" => said.ciphersuites = Some(parameter.to_owned()),
        "Groups" | "Curves" => said.curves = Some(parameter.to_owned()),
        "SignatureAlgorithms" => {
            return signature_list::set(&mut said.signatures.all, command, parameter);
        }
        "ClientSignatureAlgorithms" => {
            return signature_list::set(&mut said.signatures.clients, command, parameter);
        }
        _ => return options(said, parameter),
    }
    Ok(())
}

/// Reads a limit.
fn protocol(
    name: &str,
    read: fn(&str) -> Result<Option<TlsVersion>, Fault>,
) -> Result<Limit, Fault> {
    if name.eq_ignore_ascii_case("none") {
        return Ok(Limit::Off);
    }
    // `all` is stunnel's word.
    let help = "TLSv1, TLSv1.1, TLSv1.2, TLSv1.3, or None";
    let found = read(name)?.ok_or_else(|| Fault::new("Invalid protocol version").help(help))?;
    Ok(Limit::At(found))
}

/// The members of a list, and whether each is switched on.
fn members(list: &str) -> impl Iterator<Item = (&str, bool)> {
    list.split(',').map(|member| {
        let member = member.trim();
        match member.strip_prefix('-') {
            Some(off) => (off, false),
            None => (member.strip_prefix('+').unwrap_or(member), true),
        }
    })
}

/// `Protocol`: versions switched on and off, one after the other.
fn protocols(said: &mut Said, list: &str) -> Result<(), Fault> {
    for (name, on) in members(list) {
        let flag = match () {
            () if name.eq_ignore_ascii_case("ALL") => "NO_SSL_MASK".to_owned(),
            () => format!("NO_{}", name.replace('.', "_")),
        };
        let (mut one, mut back) = (TlsFlags::default(), TlsFlags::default());
        match tls_options::set(&mut one, &mut back, &flag) {
            Ok(()) => {}
            Err(_) => {
                let text = format!("`{name}` is no version of TLS");
                return Err(Fault::new(text).help("as `config = Protocol:ALL,-TLSv1.2`"));
            }
        }
        match on {
            true => (said.set, said.cleared) = (said.set.without(one), said.cleared.with(one)),
            false => (said.set, said.cleared) = (said.set.with(one), said.cleared.without(one)),
        }
    }
    Ok(())
}

/// `Options`: a word that has no effect here is a note, when all are read.
fn options(said: &mut Said, list: &str) -> Result<(), Fault> {
    let mut noted = None;
    for (name, on) in members(list) {
        let known = WORDS
            .iter()
            .find(|(word, ..)| word.eq_ignore_ascii_case(name));
        let Some((_, flag, inverse)) = known else {
            let fault = Fault::new(format!("`{name}` is not a value of OpenSSL's Options"));
            return Err(match nearest(name, WORDS.iter().map(|(word, ..)| *word)) {
                Some(meant) => fault.help(format!("did you mean `{meant}`?")),
                None => fault.help("as `config = Options:ServerPreference,-SessionTicket`"),
            });
        };
        let (mut one, mut back) = (TlsFlags::default(), TlsFlags::default());
        // What is as it is here in any case is not worth a word.
        let word = match on != *inverse {
            true => (*flag).to_owned(),
            false => format!("-{flag}"),
        };
        if let Err(fault) = tls_options::set(&mut one, &mut back, &word) {
            noted = noted.or(Some(fault));
        }
        said.set = said.set.without(back).with(one);
        said.cleared = said.cleared.without(one).with(back);
    }
    noted.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;

    fn read(values: &[&str]) -> (Said, Vec<Fault>) {
        let mut draft = Draft::blank();
        let faults = values
            .iter()
            .filter_map(|value| set(&mut draft, value).err());
        let faults = faults.collect();
        (draft.commands, faults)
    }

    #[test]
    fn commands_with_an_equal_are_done() {
        let (said, faults) = read(&[
            "MinProtocol:TLSv1.3",
            "maxprotocol:None",
            "CipherString:HIGH",
            "Ciphersuites:A:B",
            "Groups:X25519:P-256",
            "Options:ServerPreference, -SessionTicket,-Compression",
        ]);
        assert!(faults.is_empty(), "{faults:?}");
        let mut service = Service::blank();
        service.tls.version_max = Some(TlsVersion::V1_3);
        let flags = said.apply(&mut service, TlsFlags::default());
        let tls = &service.tls;
        assert_eq!(tls.version_min, Some(TlsVersion::V1_3));
        assert_eq!(tls.version_max, None);
        assert_eq!(tls.ciphers.as_deref(), Some("HIGH"));
        assert_eq!(tls.ciphersuites.as_deref(), Some("A:B"));
        assert_eq!(tls.curves.as_deref(), Some("X25519:P-256"));
        assert!(flags.has(TlsFlags::NO_TICKET) && flags.has(TlsFlags::SERVER_PREFERENCE));
        let back = read(&["Options:SessionTicket"]).0;
        let left = back.apply(&mut service, TlsFlags::NO_TICKET);
        assert_eq!(left, TlsFlags::default());
    }

    #[test]
    fn versions_are_switched_in_their_order() {
        for (list, expected) in [
            ("ALL,-TLSv1.2", TlsFlags::NO_TLS1_2),
            ("-TLSv1.3,-SSLv3", TlsFlags::NO_TLS1_3),
            ("-TLSv1.2,+TLSv1.2", TlsFlags::default()),
            ("-ALL,TLSv1.3,TLSv1,TLSv1.1", TlsFlags::NO_TLS1_2),
        ] {
            let (said, faults) = read(&[&format!("Protocol:{list}")]);
            assert!(faults.is_empty(), "{list}: {faults:?}");
            let flags = said.apply(&mut Service::blank(), TlsFlags::default());
            assert_eq!(flags, expected, "{list}");
        }
    }

    #[test]
    fn what_has_no_equal_is_told_with_what_to_do() {
        for (value, severity, text, help) in [
            (
                "Foo:bar",
                Severity::Error,
                "\"Foo\" was not recognised",
                "these are served",
            ),
            (
                "MinProtocl:TLSv1.2",
                Severity::Error,
                "was not recognised",
                "`MinProtocol`",
            ),
            (
                "MinProtocol",
                Severity::Error,
                "requires a parameter",
                "`config = MinProtocol:VALUE`",
            ),
            (
                "MinProtocol:all",
                Severity::Error,
                "Invalid protocol version",
                "None",
            ),
            (
                "MinProtocol:SSLv3",
                Severity::Warning,
                "adit never speaks SSLv3",
                "",
            ),
            ("MaxProtocol:SSLv3", Severity::Error, "never speaks it", ""),
            (
                "VerifyMode:Require",
                Severity::Error,
                "does not serve OpenSSL's config command VerifyMode",
                "`requireCert`",
            ),
            (
                "Certificate:/f",
                Severity::Error,
                "command Certificate",
                "`cert = FILE`",
            ),
            (
                "Protocol:TLSv9",
                Severity::Error,
                "`TLSv9` is no version",
                "ALL,-TLSv1.2",
            ),
            (
                "Options:ServerPreferences",
                Severity::Error,
                "not a value",
                "`ServerPreference`",
            ),
            (
                "Options:KTLS",
                Severity::Note,
                "`ENABLE_KTLS` has no effect",
                "",
            ),
        ] {
            let fault = read(&[value]).1.remove(0);
            assert_eq!(fault.severity, severity, "{value}");
            assert!(fault.text.contains(text), "{value}: {}", fault.text);
            let said = fault.help.unwrap_or_default();
            assert!(said.contains(help), "{value}: {said}");
        }
    }
}
