//! A service while its options are read. Never in here: a judgement on the service as a whole; that is for
//! `checks`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Failover, LogId, Service, Timeouts, TlsOptions};
use crate::config::accepted;
use crate::config::admission::{self, Admission};
use crate::config::balancers::{self, Balancers};
use crate::config::commands::{self, Decided};
use crate::config::dialogue::DialogueOptions;
use crate::config::endpoint::Ports;
use crate::config::login::Login;
use crate::config::option::OptionDef;
use crate::config::program::{self, Front};
use crate::config::quota::Quota;
use crate::config::tls_options::TlsFlags;
use crate::config::transparent::Transparent;
use crate::config::value::{Origin, Origins};
use crate::config::versions::Asked;

/// A service while its options are read: what is before the first section is one too, and each
/// section begins as a copy of it.
#[derive(Debug, Clone)]
pub(in crate::config) struct Draft {
    pub(in crate::config) service: Service,
    /// What `acceptTLS` and its like say.
    pub(in crate::config) accept: accepted::Given,
    /// What `acceptFrom` and its like say.
    pub(in crate::config) admission: admission::Given,
    /// What `acceptProxy` says.
    pub(in crate::config) balancers: balancers::Given,
    /// What `exec` and its like say.
    pub(in crate::config) program: program::Given,
    /// This is the part before the first section.
    pub(in crate::config) defaults: bool,
    /// What this system calls its ports.
    pub(in crate::config) ports: Ports,
    /// What the section itself gave, and did not inherit.
    pub(in crate::config) own: BTreeSet<&'static str>,
    /// Options that unknown names were probably meant to be: they count as given.
    pub(in crate::config) meant: BTreeSet<&'static str>,
    /// Options that adit does not serve, given with a value.
    pub(in crate::config) asked: BTreeSet<&'static str>,
    /// Those that may ask for nothing, with their values: only the whole service tells.
    pub(in crate::config) undecided: Vec<(&'static OptionDef, String, Origin)>,
    /// What `config` says.
    pub(in crate::config) commands: commands::Said,
    /// `options` that were set, and those taken back.
    pub(in crate::config) flags: TlsFlags,
    pub(in crate::config) flags_cleared: TlsFlags,
    /// These three, as they stand before the first section.
    pub(in crate::config) general: (commands::Said, TlsFlags, TlsFlags),
}

impl Draft {
    /// Before the defaults of the table are put in.
    pub(in crate::config) fn blank() -> Self {
        let service = Service {
            name: String::new(),
            accept: Vec::new(),
            connect: Vec::new(),
            redirect: Vec::new(),
            program: None,
            front: Front::Listener,
            client: false,
            failover: Failover::Priority,
            delay: false,
            local: None,
            transparent: Transparent::default(),
            socket: Vec::new(),
            reset: true,
            log_id: LogId::Sequential,
            debug: 0,
            timeouts: Timeouts {
                busy: Duration::ZERO,
                close: Duration::ZERO,
                handshake: None,
                connect: Duration::ZERO,
                idle: Duration::ZERO,
                ocsp: Duration::ZERO,
            },
            protocol: None,
            dialogue: DialogueOptions::default(),
            login: Login::default(),
            hold: None,
            probe: None,
            setuid: None,
            setgid: None,
            accept_anywhere: false,
            admission: Admission::default(),
            balancers: Balancers::default(),
            quota: Quota::default(),
            tls: TlsOptions::default(),
            accept_tls: None,
            virtual_host: None,
            secondaries: Vec::new(),
            asked: Asked::default(),
            origins: Origins::new(),
        };
        Draft {
            service,
            accept: accepted::Given::default(),
            admission: admission::Given::default(),
            balancers: balancers::Given::default(),
            program: program::Given::default(),
            defaults: true,
            ports: |_| None,
            own: BTreeSet::new(),
            meant: BTreeSet::new(),
            asked: BTreeSet::new(),
            undecided: Vec::new(),
            commands: commands::Said::default(),
            flags: TlsFlags::default(),
            flags_cleared: TlsFlags::default(),
            general: Default::default(),
        }
    }

    /// What a section begins with, where this is what stands before the first one.
    pub(in crate::config) fn for_section(&self) -> Self {
        let mut draft = self.clone();
        draft.defaults = false;
        draft.general = (
            std::mem::take(&mut draft.commands),
            std::mem::take(&mut draft.flags),
            std::mem::take(&mut draft.flags_cleared),
        );
        draft
    }

    /// What the section itself decides.
    fn decides(&self) -> Decided {
        let own = |names: &[&str]| names.iter().any(|name| self.own.contains(name));
        let said = self.commands.decides();
        Decided {
            min: said.min || own(&["sslVersion", "sslVersionMin"]),
            max: said.max || own(&["sslVersion", "sslVersionMax"]),
            ciphers: said.ciphers || own(&["ciphers"]),
            ciphersuites: said.ciphersuites || own(&["ciphersuites"]),
            curves: said.curves || own(&["curves"]),
            flags: said.flags.with(self.flags).with(self.flags_cleared),
        }
    }

    /// Puts what `config` and `options` say, here and before the first section, in its place. Returns the
    /// flags that hold, and what the section itself decides.
    pub(in crate::config) fn apply_commands(&mut self) -> (TlsFlags, Decided) {
        let decided = self.decides();
        let (commands, set, cleared) = std::mem::take(&mut self.general);
        let cleared = cleared.with(self.flags_cleared);
        let flags = set.with(self.flags).without(cleared);
        let commands = std::mem::take(&mut self.commands).over(commands);
        (commands.apply(&mut self.service, flags), decided)
    }
}
