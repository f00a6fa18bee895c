//! Fetches what servers staple to their certificates, in the worker's main thread, apart from all sessions. Of all
//! workers that find a response due one asks; when it dies, its time runs out, and another does. Never in here: a
//! wait; what a response is worth.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::helper::FetchClient;
use crate::log::{Log, Reason};
use crate::relay::ServiceContext;
use crate::tls::Staple;

/// Requests of one worker at a time: others have to be asked as well.
const AT_A_TIME: usize = 8;
/// What is added to `TIMEOUTocsp` until another worker may think that this one is dead, in seconds.
const GRACE: u64 = 2;
/// What is added to `TIMEOUTocsp` until an answer counts as lost: the fetcher drops those that nothing reads, as when
/// this process was stopped. Names may take their time to be resolved.
const LOST: Duration = Duration::from_mins(1);
/// The longest sleep, since the clock may be set.
const LONGEST: Duration = Duration::from_hours(1);

/// See the module.
pub(super) struct Stapler {
    services: Arc<[ServiceContext]>,
    /// The services with a certificate that something is stapled to.
    with_staple: Vec<usize>,
    client: Option<FetchClient>,
    /// The number of the next request: those of another fetcher's client must not come again.
    next: u64,
    under_way: HashMap<u64, Errand>,
    log: Log,
}

/// A request under way.
struct Errand {
    service: usize,
    /// Which of the certificate's responders.
    responder: usize,
    /// When its answer counts as lost.
    lost: Instant,
}

/// Makes room for other requests; whether any was lost.
fn forget_lost(under_way: &mut HashMap<u64, Errand>, now: Instant) -> bool {
    let before = under_way.len();
    under_way.retain(|_, errand| errand.lost > now);
    under_way.len() < before
}

impl Stapler {
    /// For the services of this worker; `None`: nothing is stapled.
    pub(super) fn of(
        services: &Arc<[ServiceContext]>,
        fetcher: Option<OwnedFd>,
        log: Log,
    ) -> Option<Self> {
        let with_staple: Vec<usize> = (0..services.len())
            .filter(|index| staple(services, *index).is_some())
            .collect();
        (!with_staple.is_empty()).then(|| Self {
            services: Arc::clone(services),
            with_staple,
            client: fetcher.map(|socket| FetchClient::new(socket, 0)),
            next: 0,
            under_way: HashMap::new(),
            log,
        })
    }

    /// There is another fetcher. What the last one was asked is due again when its time is over.
    pub(super) fn meet(&mut self, socket: OwnedFd) {
        self.next = self.client.take().map_or(self.next, |client| client.next());
        self.under_way.clear();
        self.client = Some(FetchClient::new(socket, self.next));
    }

    /// Where answers come.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(AsFd::as_fd)
    }

    /// How long there is nothing to ask; `None`: until there is another fetcher.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.client.as_ref()?;
        let now = now();
        let waits = self.with_staple.iter().filter_map(|index| {
            let staple = staple(&self.services, *index)?;
            staple.wait(now)
        });
        let soonest = waits.min().map(Duration::from_secs);
        let wait = soonest.unwrap_or(LONGEST).min(LONGEST);
        match self.under_way.len() < AT_A_TIME {
            true => Some(wait),
            // An answer makes room.
            false => Some(wait.max(Duration::from_secs(1))),
        }
    }

    /// Takes answers, and asks what is due. Whether the fetcher has left a request without an answer.
    pub(super) fn turn(&mut self) -> bool {
        let told = self.client.as_mut().map(FetchClient::answers);
        for (id, answer) in told.unwrap_or_default() {
            if let Some(errand) = self.under_way.remove(&id) {
                self.answered(&errand, answer);
            }
        }
        let lost = forget_lost(&mut self.under_way, Instant::now());
        if self.client.as_ref().is_some_and(FetchClient::is_gone) {
            // Another is on its way.
            self.next = self.client.take().map_or(self.next, |client| client.next());
        }
        let services = Arc::clone(&self.services);
        for at in 0..self.with_staple.len() {
            let index = self.with_staple[at];
            if self.client.is_none() || self.under_way.len() >= AT_A_TIME {
                return lost;
            }
            if let Some(staple) = staple(&services, index)
                && staple.claim(now(), self.patience(index).as_secs() + GRACE)
            {
                let why = "no responder is asked".to_owned();
                self.ask(staple, index, 0, why);
            }
        }
        lost
    }

    fn patience(&self, index: usize) -> Duration {
        self.services[index].config.timeouts.ocsp
    }

    /// Asks the responder of that number, or those behind it; none is left after the last failed, and why.
    fn ask(&mut self, staple: &Staple, service: usize, mut responder: usize, mut why: String) {
        let patience = self.patience(service);
        let lease = patience.as_secs() + GRACE;
        while let Some((url, body)) = staple.ask(responder, now(), lease, &self.log) {
            let Some(client) = &mut self.client else {
                return;
            };
            match client.ask(url, body, patience) {
                Ok(id) => {
                    let errand = Errand {
                        service,
                        responder,
                        lost: Instant::now() + patience + LOST,
                    };
                    self.under_way.insert(id, errand);
                    return;
                }
                Err(error) => {
                    why = format!("the fetcher process takes no request: {}", Reason(&error));
                }
            }
            responder += 1;
        }
        let name = &self.services[service].config.name;
        staple.fail(&why, name, now(), &self.log);
    }

    fn answered(&mut self, errand: &Errand, answer: Result<Vec<u8>, String>) {
        let services = Arc::clone(&self.services);
        let Some(staple) = staple(&services, errand.service) else {
            return;
        };
        let name = &services[errand.service].config.name;
        if let Err(why) = staple.answer(answer, name, now(), &self.log) {
            self.ask(staple, errand.service, errand.responder + 1, why);
        }
    }
}

fn staple(services: &[ServiceContext], index: usize) -> Option<&Staple> {
    Some(services.get(index)?.front.as_ref()?.staple()?)
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_never_come_take_no_room_for_ever() {
        let now = Instant::now();
        let later = |seconds| now + Duration::from_secs(seconds);
        let errand = |seconds| Errand {
            service: 0,
            responder: 0,
            lost: later(seconds),
        };
        let mut under_way: HashMap<u64, Errand> = [(1, errand(5)), (2, errand(9))].into();
        assert!(!forget_lost(&mut under_way, later(4)));
        assert_eq!(under_way.len(), 2);
        assert!(forget_lost(&mut under_way, later(5)));
        assert_eq!(under_way.keys().copied().collect::<Vec<_>>(), [2]);
    }
}
