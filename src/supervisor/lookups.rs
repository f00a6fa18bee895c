//! The names of the configuration in force, asked of the resolver again while it serves. Never in here: a wait; a name
//! that a client has chosen.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::config::{Config, Endpoint};
use crate::helper::{self, KnownNames, NameClient, ResolveError, Resolved};

/// How long the resolver may take for all of them before it is asked anew.
const PATIENCE: Duration = Duration::from_mins(1);

/// A round of questions, and what came of all rounds.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    round: Option<Round>,
    /// What has changed since the configuration came into force.
    changed: KnownNames,
}

#[derive(Debug)]
struct Round {
    client: NameClient,
    until: Instant,
    /// Names that are still to be asked for, and a service that has them.
    left: Vec<(String, usize)>,
    asked: HashMap<u64, String>,
}

/// What an answer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// What was known.
    Nothing,
    /// Other addresses than these, which it had before.
    Moved(Vec<SocketAddr>),
    /// DNS does not answer any more: these are kept.
    Kept(ResolveError, Vec<SocketAddr>),
    /// DNS answers again as before.
    Answered,
    /// There is no such name any more.
    Gone(ResolveError),
}

/// The names that services connect to as the configuration says it, each once, with one of the services.
pub(super) fn names(config: &Config) -> Vec<(String, usize)> {
    let mut names = BTreeMap::new();
    let services = config.services.iter().enumerate();
    for (number, service) in services.filter(|(_, service)| !service.delay) {
        for endpoint in service.connect.iter().chain(&service.redirect) {
            if let Endpoint::Tcp {
                host: Some(host), ..
            } = endpoint
                && helper::literal(host).is_none()
            {
                names.entry(host.clone()).or_insert(number);
            }
        }
    }
    names.into_iter().collect()
}

impl Lookups {
    /// Whether a round is under way that may still be answered.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        self.round.as_ref().is_some_and(|round| now < round.until)
    }

    /// Asks the resolver behind this socket for these names.
    pub(super) fn begin(&mut self, names: Vec<(String, usize)>, resolver: OwnedFd, now: Instant) {
        let mut round = Round {
            client: NameClient::new(resolver, 1),
            until: now + PATIENCE,
            left: names,
            asked: HashMap::new(),
        };
        round.ask();
        self.round = Some(round);
    }

    /// Where answers come, while there are questions.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.round.as_ref().map(|round| round.client.as_fd())
    }

    /// What was answered by now.
    pub(super) fn answers(&mut self) -> Vec<(String, Resolved)> {
        let Some(round) = &mut self.round else {
            return Vec::new();
        };
        let (mut answers, mut gone) = (Vec::new(), false);
        for (id, answer) in round.client.answers() {
            gone |= answer.is_none();
            let host = round.asked.remove(&id);
            answers.extend(host.zip(answer));
        }
        round.ask();
        // What a resolver that died was asked for is asked for in the next round.
        if gone || round.is_over() {
            self.round = None;
        }
        answers
    }

    /// What has changed since the configuration came into force: no address where there is no such name any more.
    pub(super) fn changed(&self) -> &KnownNames {
        &self.changed
    }

    /// Takes note of what has changed.
    pub(super) fn add(&mut self, changed: KnownNames) {
        self.changed.add(changed);
    }
}

impl Round {
    /// Asks for as many as the resolver takes now; each answer makes room.
    fn ask(&mut self) {
        while let Some((host, service)) = self.left.last() {
            match self.client.ask(*service, host, 0) {
                Ok(id) => {
                    let asked = self.left.pop();
                    self.asked.extend(asked.map(|(host, _)| (id, host)));
                }
                // It is no name, which was told when the configuration was loaded.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                    self.left.pop();
                }
                Err(_) => return,
            }
        }
    }

    /// Where nothing was asked, nothing will be answered.
    fn is_over(&self) -> bool {
        self.asked.is_empty()
    }
}

/// Takes note of an answer. The order of the same addresses does not count: name servers change it at each question.
pub(super) fn judge(host: &str, answer: Resolved, known: &mut KnownNames) -> News {
    let before = known.of(host, 0).unwrap_or_default();
    let was_kept = known.is_kept(host);
    match answer {
        Ok(addresses) => {
            let same = addresses.len() == before.len()
                && addresses.iter().all(|address| before.contains(address));
            if !same {
                known.learn(host, &addresses, false);
                return News::Moved(before);
            }
            known.learn(host, &before, false);
            match was_kept {
                true => News::Answered,
                false => News::Nothing,
            }
        }
        Err(_) if before.is_empty() => News::Nothing,
        Err(error) if error.answered => {
            known.forget(host);
            News::Gone(error)
        }
        Err(error) => {
            known.learn(host, &before, true);
            match was_kept {
                true => News::Nothing,
                false => News::Kept(error, before),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        let address = |last: &u8| SocketAddr::from(([192, 0, 2, *last], 0));
        last.iter().map(address).collect()
    }

    #[test]
    fn what_a_name_has_is_kept_in_silence_and_goes_by_an_answer() {
        let mut known = KnownNames::default();
        let error = |answered| ResolveError {
            host: "a.example".to_owned(),
            reason: "for a reason".to_owned(),
            answered,
        };
        let [silence, no_such_name] = [false, true].map(error);
        let first = addresses(&[1, 2]);
        for (answer, news, left) in [
            (Err(silence.clone()), News::Nothing, None),
            (Ok(first.clone()), News::Moved(Vec::new()), Some(&first)),
            (Ok(addresses(&[2, 1])), News::Nothing, Some(&first)),
            (
                Err(silence.clone()),
                News::Kept(silence.clone(), first.clone()),
                Some(&first),
            ),
            (Err(silence), News::Nothing, Some(&first)),
            (Ok(first.clone()), News::Answered, Some(&first)),
            (
                Ok(addresses(&[3])),
                News::Moved(first.clone()),
                Some(&addresses(&[3])),
            ),
            (
                Err(no_such_name.clone()),
                News::Gone(no_such_name.clone()),
                None,
            ),
            (Err(no_such_name), News::Nothing, None),
        ] {
            let said = format!("{answer:?}");
            assert_eq!(judge("a.example", answer, &mut known), news, "{said}");
            assert_eq!(known.of("a.example", 0).as_ref(), left, "{said}");
        }
    }

    #[test]
    fn a_round_ends_with_its_answers_or_with_the_resolver() {
        use std::os::fd::AsRawFd;

        use nix::sys::socket::{MsgFlags, send};

        use crate::helper::resolver_says;
        use crate::ipc::channel::Channel;

        let now = Instant::now();
        let names = || vec![("a.example".to_owned(), 0), ("b.example".to_owned(), 1)];
        let mut lookups = Lookups::default();
        let (ours, theirs) = Channel::pair().unwrap();
        lookups.begin(names(), ours.into(), now);
        assert!(lookups.is_busy(now) && !lookups.is_busy(now + PATIENCE));
        for (id, host) in [(1, "b.example"), (2, "a.example")] {
            let said = Ok(addresses(&[1]));
            let packet = resolver_says(&said, id);
            send(theirs.as_fd().as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
            assert_eq!(lookups.answers(), [(host.to_owned(), said)]);
        }
        assert!(!lookups.is_busy(now) && lookups.fd().is_none());
        let (ours, theirs) = Channel::pair().unwrap();
        lookups.begin(names(), ours.into(), now);
        drop(theirs);
        assert_eq!(lookups.answers(), []);
        assert!(!lookups.is_busy(now));
    }
}
