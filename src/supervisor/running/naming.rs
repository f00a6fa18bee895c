//! Names that are looked up again: the resolver is asked, the log told, and whatever has changed passed down.

use std::net::SocketAddr;
use std::time::Instant;

use super::Supervisor;
use crate::helper::{Kind, KnownNames, words};
use crate::ipc::words::{Heard, ToMaster, say_now};
use crate::remedy;
use crate::supervisor::decider::Event;
use crate::supervisor::lookups::{self, Lookups, News};

impl Supervisor {
    /// Another configuration is in force, with names that were resolved when it was loaded.
    pub(super) fn want_names(&mut self) -> Event {
        self.lookups = Lookups::default();
        let every = self.config.global.resolve_interval;
        Event::NamesWanted(every.filter(|_| !lookups::names(&self.config).is_empty()))
    }

    /// Asks the resolver for the names of the configuration in force.
    pub(super) fn look_up_names(&mut self) {
        let now = Instant::now();
        // Where there is no resolver just now, there is one when they are due again.
        if let Some(resolver) = self.helpers.channel(Kind::Resolver)
            && !self.lookups.is_busy(now)
            && let Ok(socket) = words::introduce(resolver)
        {
            let names = lookups::names(&self.config);
            self.lookups.begin(names, socket, now);
        }
    }

    /// Takes what the resolver has answered.
    pub(super) fn hear_names(&mut self) {
        let mut changed = KnownNames::default();
        for (host, answer) in self.lookups.answers() {
            let news = lookups::judge(&host, answer, &mut self.common.names);
            let now = self.common.names.of(&host, 0).unwrap_or_default();
            if matches!(news, News::Moved(_) | News::Gone(_)) {
                changed.learn(&host, &now, false);
            }
            self.tell_news(&host, &news, &now);
        }
        if changed.is_empty() {
            return;
        }
        let heard = self.pass_names(&changed);
        self.lookups.add(changed);
        if heard.missed {
            self.happen(Event::Missed);
        }
    }

    /// What has changed since the configuration came into force, once more.
    pub(super) fn pass_all_names(&self) -> Heard {
        self.pass_names(self.lookups.changed())
    }

    /// Tells the master that serves, and its spare. Generations that drain connect to nothing.
    fn pass_names(&self, names: &KnownNames) -> Heard {
        let mut heard = Heard::default();
        let Some(serving) = self.decider.serving() else {
            return heard;
        };
        for part in names.parts() {
            let word = ToMaster::Names(part);
            let master = self.masters.get(serving).map(|master| &master.channel);
            let spares = self.masters.channels_of_spares(|number| number == serving);
            for channel in master.into_iter().chain(spares) {
                heard.count(say_now(channel, &word, &[]));
            }
        }
        heard
    }

    fn tell_news(&self, host: &str, news: &News, now: &[SocketAddr]) {
        let log = self.log;
        match news {
            News::Nothing => {}
            News::Moved(before) => crate::info!(
                log,
                "Name \"{host}\" has other addresses: {} (before: {})",
                listed(now),
                listed(before)
            ),
            News::Kept(error, kept) => crate::warning!(
                log,
                "{error}: keeping the addresses that it had: {} ({})",
                listed(kept),
                remedy::RESOLVING
            ),
            News::Answered => crate::notice!(log, "Name \"{host}\" resolves again"),
            News::Gone(error) => crate::warning!(
                log,
                "{error}: its addresses count no more; each connection looks it up until it has some ({})",
                remedy::RESOLVING
            ),
        }
    }
}

fn listed(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
    match addresses.is_empty() {
        true => "none".to_owned(),
        false => addresses.join(", "),
    }
}
