//! One end of a service that speaks TLS, as the configuration has it, and a look at its files. Never in here:
//! what is made of them; that is for [`Context`](super::Context).

use std::path::Path;

use super::own::certified_key;
use super::trusting::{algorithms, trusted};
use crate::config::{Endpoint, Service, TlsOptions};
use crate::log::{Id, Log};
use crate::tls::backend::OptionNames;
use crate::tls::revocation::SharedLists;
use crate::tls::{PassPhrases, Problem, psk};

/// One end of a service that speaks TLS, as the configuration has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(super) service: &'a Service,
    pub(super) options: &'a TlsOptions,
    /// It is the one that connects.
    pub(super) client: bool,
}

impl<'a> Wanted<'a> {
    /// TLS on accepted connections, if there is to be any.
    pub(crate) fn accepted(service: &'a Service) -> Option<Self> {
        service.accepted_tls().map(|options| Self {
            service,
            options,
            client: false,
        })
    }

    /// TLS on the connections to `connect`, if there is to be any.
    pub(crate) fn connected(service: &'a Service) -> Option<Self> {
        service.connected_tls().map(|options| Self {
            service,
            options,
            client: true,
        })
    }

    /// What its `securityLevel` leaves, in words; `None`: it is not above the default.
    pub(crate) fn leaves(&self) -> Option<String> {
        let level = self.options.security_level;
        let leaves = level.leaves()?;
        Some(format!(
            "securityLevel = {level} leaves {}; {leaves}",
            level.keys()
        ))
    }

    /// What is wrong with the files that it names, each by itself; opens them. Keys that take
    /// a pass phrase stay closed. `jail` is the folder of chroot.
    pub(crate) fn look_at_files(&self, jail: Option<&Path>) -> Vec<Problem> {
        let silent = Log {
            level: 0,
            id: Id::Ui,
            from: None,
        };
        let mut problems = Vec::new();
        trusted(self.options, jail, &mut problems);
        let mut lists = SharedLists::default();
        lists.load(self.options, jail, algorithms(self), &silent, &mut problems);
        let unasked = PassPhrases::unasked("there are other errors");
        certified_key(self.options, &unasked, &mut problems, &silent);
        psk::load(self.options, self.client, &mut problems, &silent);
        self.name_options(problems)
    }

    /// The same problems, of the options that this end has: a client's other end has options of its own.
    pub(crate) fn name_options(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        if self.option_names() == OptionNames::Accepted {
            for problem in &mut problems {
                problem.option = match problem.option {
                    "cert" => "acceptCert",
                    "key" => "acceptKey",
                    "CAfile" => "acceptCAfile",
                    "ciphers" => "acceptCiphers",
                    "sslVersion" | "sslVersionMin" => "acceptSSLVersionMin",
                    "verifyChain" => "acceptVerifyChain",
                    "verifyPeer" => "acceptVerifyPeer",
                    other => other,
                };
            }
        }
        problems
    }

    pub(in crate::tls) fn options(&self) -> &'a TlsOptions {
        self.options
    }

    pub(in crate::tls) fn is_client(&self) -> bool {
        self.client
    }

    /// What its options are called.
    pub(in crate::tls) fn option_names(&self) -> OptionNames {
        match self.service.client && !self.client {
            true => OptionNames::Accepted,
            false => OptionNames::Usual,
        }
    }

    /// Whether every `connect` entry, or `sni`, gives verifyServer something to compare with.
    pub(super) fn has_name(&self) -> bool {
        let sni = self.options.sni.as_deref();
        let (dialogue, protocol) = (&self.service.dialogue, self.service.protocol);
        sni.is_some_and(|sni| !sni.is_empty())
            // `connect` is the proxy then.
            || dialogue.behind_proxy(protocol).is_some()
            || self
                .service
                .connect
                .iter()
                .all(|endpoint| matches!(endpoint, Endpoint::Tcp { host: Some(_), .. }))
    }
}
