//! `login` and `loginProtocol`: whether a mail program's login passes through, or is made for it. Never in here: a name or
//! a password.

use super::accepted::{self, MailProtocol};
use super::admission;
use super::checks::{Faults, Meant};
use super::diagnostic::Severity;
use super::dialogue::{Authentication, Protocol};
use super::option::{Fault, one_of};
use super::program::Front;
use super::service::{Draft, Service};

/// `login = pass | translate | oauth2`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LoginWay {
    /// It passes through.
    #[default]
    Pass,
    /// adit takes it, and makes it with the server in another way.
    Translate,
    /// The same, by OAuth2.
    OAuth2,
}

/// How programs log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Login {
    /// `login`
    way: LoginWay,
    /// `loginProtocol`
    given: Option<MailProtocol>,
    /// In which protocol adit logs in for them; `None`: it does not.
    pub mail: Option<MailProtocol>,
}

impl Login {
    /// Whether that is by OAuth2, so that the keeper is asked for tokens.
    pub(crate) fn is_by_token(self) -> bool {
        self.way == LoginWay::OAuth2
    }

    /// As `login` gives it.
    fn name(self) -> &'static str {
        match self.way {
            LoginWay::Pass => "pass",
            LoginWay::Translate => "translate",
            LoginWay::OAuth2 => "oauth2",
        }
    }
}

/// Reads `login`.
pub(super) fn set_way(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    let words = [
        ("pass", LoginWay::Pass),
        ("translate", LoginWay::Translate),
        ("oauth2", LoginWay::OAuth2),
    ];
    draft.service.login.way = one_of(value, &words)?;
    Ok(())
}

/// Reads `loginProtocol`.
pub(super) fn set_protocol(draft: &mut Draft, value: &str) -> Result<(), Fault> {
    draft.service.login.given = Some(accepted::mail_protocol("loginProtocol", value)?);
    Ok(())
}

/// Whether adit logs in for its programs, as far as the lines say; in which protocol is another question.
pub(super) fn is_asked_for(service: &Service) -> bool {
    let authentication = service.dialogue.authentication;
    let by_others = matches!(
        authentication,
        Some(Authentication::CramMd5 | Authentication::ScramSha256)
    );
    let own = match service.protocol {
        Some(Protocol::Imap | Protocol::Pop3) => true,
        Some(Protocol::Smtp) => by_others,
        None => service.login.given.is_some(),
        // The account is the proxy's.
        _ => false,
    };
    let account = own && service.dialogue.account().is_some();
    service.client && (service.login.way != LoginWay::Pass || account)
}

/// The protocol of a service that logs in.
pub(super) fn spoken(service: &Service) -> Option<MailProtocol> {
    match service.protocol {
        Some(Protocol::Connect) => service.login.given.or_else(|| {
            let (_, port) = service.dialogue.destination()?;
            MailProtocol::at(port)
        }),
        Some(protocol) => MailProtocol::of(protocol),
        None => service.login.given.or_else(|| accepted::spoken(service)),
    }
}

/// Decides in which protocol adit logs in, if it does.
pub(super) fn judge(
    service: &mut Service,
    own: &dyn Fn(&str) -> bool,
    meant: &Meant,
    faults: &mut Faults,
) {
    if ["client", "protocol", "login"]
        .iter()
        .any(|option| meant.contains(option))
    {
        return;
    }
    if !is_asked_for(service) {
        idle(service, own, faults);
        return;
    }
    let known = spoken(service);
    // Its value may have been refused.
    let misspelt = meant.contains("loginProtocol") || service.origins.has("loginProtocol");
    // As a default for every service it counts where it has a use.
    let asked = own("login") || own("loginProtocol") || service.login.way == LoginWay::Pass;
    match (known, service.protocol) {
        (Some(mail), _) => {
            if let Some(given) = service.login.given.filter(|given| *given != mail) {
                let (given, mail) = (Protocol::from(given).name(), Protocol::from(mail).name());
                let text = format!("`loginProtocol = {given}`, but what is spoken here is {mail}");
                let help = "leave it out: `protocol` says so already";
                faults.error("loginProtocol", &text, help);
            }
            service.login.mail = Some(mail);
            relays(service, meant, faults);
        }
        (None, None | Some(Protocol::Connect)) if asked && !misspelt => {
            faults.error(
                "login",
                "adit cannot tell which protocol the program logs in with: the port in `connect` is none of mail's",
                "`loginProtocol = smtp`, `pop3` or `imap`",
            );
        }
        (None, Some(protocol)) if asked && protocol != Protocol::Connect => {
            let text = format!(
                "`login = {}` is for mail, and not for `protocol = {}`",
                service.login.name(),
                protocol.name()
            );
            faults.error("login", &text, "leave `login` out");
        }
        (None, _) => {}
    }
}

/// What has no use here.
fn idle(service: &Service, own: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    if own("login") && service.login.way != LoginWay::Pass {
        let name = service.login.name();
        faults.error(
            "login",
            &format!("`login = {name}` is for client mode, where the server speaks TLS"),
            "`client = yes`, or leave `login` out",
        );
    }
    if own("loginProtocol") && service.hold.is_none() {
        faults.push(
            Severity::Warning,
            "loginProtocol",
            "`loginProtocol` has no effect without `login = translate` or `oauth2`, or `protocolUsername` and `protocolPassword`",
            "leave it out",
        );
    }
}

/// What a login has a use for that is made for a program.
pub(super) fn uses(
    service: &Service,
    own: &dyn Fn(&str) -> bool,
    meant: &Meant,
    faults: &mut Faults,
) {
    let options = ["protocolUsername", "protocolPassword"];
    let half = options.iter().any(|option| meant.contains(option));
    if service.dialogue.account().is_none() && !half {
        for option in options.into_iter().filter(|option| own(option)) {
            faults.push(
                Severity::Warning,
                option,
                "this has no effect without `protocolUsername` and `protocolPassword`",
                "give both, or none: then the program's own login counts",
            );
        }
    }
    let of_a_proxy = matches!(
        service.dialogue.authentication,
        Some(Authentication::Basic | Authentication::Ntlm)
    );
    if of_a_proxy && own("protocolAuthentication") {
        faults.push(
            Severity::Warning,
            "protocolAuthentication",
            "this has no effect: it is for `protocol = connect`, and adit takes the best way that the server offers",
            "leave it out",
        );
    }
}

/// Refuses to give an account to whatever connects.
fn relays(service: &Service, meant: &Meant, faults: &mut Faults) {
    let misspelt = ["accept", "acceptFrom"]
        .iter()
        .any(|option| meant.contains(option));
    let at_home = service.front == Front::Program
        || !service.accept.is_empty() && service.accept.iter().all(admission::is_of_this_machine);
    let listed = service.admission.accepts_listed_alone();
    if service.dialogue.account().is_some() && !at_home && !listed && !misspelt {
        faults.error(
            "protocolUsername",
            "an open relay: every machine that reaches this port would use the account in `protocolUsername`",
            "`acceptFrom = ADDRESSES` of the machines that may, or `accept` on 127.0.0.1",
        );
    }
}
