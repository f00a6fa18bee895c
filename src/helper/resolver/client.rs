//! The side that asks: the master when the configuration loads, relay threads when they connect.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{Request, Want, is_host};
use super::{ResolveError, Resolved};
use crate::helper::asker::Asker;
use crate::helper::{Contacts, Kind};
use crate::log::Reason;

/// What was answered, by the question's number; `None`: the resolver is gone.
type Told = (u64, Option<Resolved>);

/// One client's socket to the resolver. Nothing but [`Client::resolve`] and [`Client::wait_for`] waits.
#[derive(Debug)]
pub(crate) struct Client {
    asker: Asker<Resolved>,
    /// Answers that came while another was waited for.
    early: Vec<Told>,
}

impl Client {
    /// Is introduced to the resolver.
    ///
    /// # Errors
    /// As [`Contacts::introduce`].
    pub(crate) fn introduced(contacts: &Contacts) -> io::Result<Self> {
        Ok(Self::new(contacts.introduce(Kind::Resolver)?, 1))
    }

    /// As [`Asker::new`].
    pub(crate) fn new(socket: OwnedFd, first: u64) -> Self {
        Self {
            asker: Asker::new(socket, first),
            early: Vec::new(),
        }
    }

    /// The number that the next question gets.
    pub(crate) fn next(&self) -> u64 {
        self.asker.next()
    }

    /// Asks for all addresses of `host`, to be told with `port`, for the service of that number; gives the question's
    /// number. Addresses in text need not be asked for, see [`super::literal`].
    ///
    /// # Errors
    /// `InvalidInput`: no name is like this. Others: as [`Asker::ask`].
    pub(crate) fn ask(&mut self, service: usize, host: &str, port: u16) -> io::Result<u64> {
        self.ask_for(service, host, port, Want::Any)
    }

    /// As [`Client::ask`], for the addresses of one family.
    fn ask_for(&mut self, service: usize, host: &str, port: u16, want: Want) -> io::Result<u64> {
        if !is_host(host) {
            let text = "a host name has 1 to 255 characters";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        self.asker.ask(|id| {
            let request = Request {
                id,
                host: host.to_owned(),
                port,
                want,
                service: u32::try_from(service).unwrap_or(u32::MAX),
            };
            request.encode()
        })
    }

    /// What was answered by now, without waiting; `None`: the resolver is gone, with every open question.
    pub(crate) fn answers(&mut self) -> Vec<Told> {
        let mut told = std::mem::take(&mut self.early);
        told.extend(self.asker.answers());
        told
    }

    /// Asks, and waits until `end` at most for the answer.
    ///
    /// # Errors
    /// As [`Client::wait_for`].
    pub(crate) fn resolve(
        &mut self,
        service: usize,
        host: &str,
        port: u16,
        end: Instant,
    ) -> Resolved {
        let id = self.ask(service, host, port).map_err(|error| {
            let reason = Reason(&error).to_string();
            unanswered(host, reason)
        })?;
        self.wait_for(id, host, end)
    }

    /// Waits until `end` at most for the answer to a question about `host` that was asked.
    ///
    /// # Errors
    /// getaddrinfo's, the resolver is gone, or it did not answer in time.
    pub(crate) fn wait_for(&mut self, id: u64, host: &str, end: Instant) -> Resolved {
        loop {
            let told = self.asker.answers();
            self.early.extend(told);
            if let Some(at) = self.early.iter().position(|(other, _)| *other == id) {
                let (_, answer) = self.early.swap_remove(at);
                let gone = || Err(unanswered(host, GONE.to_owned()));
                return answer.unwrap_or_else(gone);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.asker.forget(id);
                return Err(unanswered(host, "no answer in time".to_owned()));
            }
            // A millisecond more, so that the last wait is not a loop of empty ones.
            let wait = left.saturating_add(Duration::from_millis(1));
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => (),
                Err(errno) => {
                    let reason = Reason(&errno.into()).to_string();
                    return Err(unanswered(host, reason));
                }
            }
        }
    }
}

/// What is said where the process has died.
const GONE: &str = "the resolver process is gone";

/// DNS was not heard.
fn unanswered(host: &str, reason: String) -> ResolveError {
    ResolveError {
        host: host.to_owned(),
        reason,
        answered: false,
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.asker.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, send};

    use super::super::server::Lookups;
    use super::*;
    use crate::helper::asker::Answer;
    use crate::helper::pool::support::Served;
    use crate::ipc::channel::Channel;

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours.into(), theirs.into())
    }

    /// Clients of a resolver in a thread of this process.
    fn clients<const N: usize>(resolver: &Served) -> [Client; N] {
        resolver.clients().map(|socket| Client::new(socket, 1))
    }

    #[test]
    fn each_client_is_told_what_it_asked_for() {
        let resolver = Served::start::<Lookups>();
        let mut three = clients::<3>(&resolver);
        for (port, client) in (25..).zip(&mut three) {
            let found = client.resolve(0, "localhost", port, deadline()).unwrap();
            assert!(found.contains(&SocketAddr::new("127.0.0.1".parse().unwrap(), port)));
            assert!(found.contains(&SocketAddr::new("::1".parse().unwrap(), port)));
        }
        // One that goes takes no other with it.
        let [gone, mut other, _] = three;
        drop(gone);
        let error = client_error(&mut other, "192.0.2.7");
        assert_eq!(
            error,
            "Error resolving \"192.0.2.7\": Address family for hostname not supported"
        );
    }

    /// What an address of the wrong family gives: an error that needs no network.
    fn client_error(client: &mut Client, host: &str) -> String {
        let id = client.ask_for(0, host, 1, Want::V6).unwrap();
        let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
        let told = client.answers();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, id);
        told[0].1.clone().unwrap().unwrap_err().to_string()
    }

    #[test]
    fn answers_for_others_are_kept_while_one_is_waited_for() {
        let resolver = Served::start::<Lookups>();
        let [mut client] = clients(&resolver);
        let ids: Vec<u64> = (0..200)
            .map(|port| client.ask(0, "localhost", port).unwrap())
            .collect();
        client.resolve(0, "localhost", 7, deadline()).unwrap();
        let end = deadline();
        let mut told = Vec::new();
        while told.len() < ids.len() {
            assert!(Instant::now() < end, "{} told", told.len());
            let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(10_u16));
            told.extend(client.answers());
        }
        told.sort_by_key(|(id, _)| *id);
        for ((id, result), (port, asked)) in told.into_iter().zip((0..).zip(ids)) {
            assert_eq!(id, asked);
            let addresses = result.unwrap().unwrap();
            assert!(addresses.iter().all(|address| address.port() == port));
        }
    }

    #[test]
    fn a_resolver_ends_with_its_supervisor_or_its_control_and_nobody_waits_for_it() {
        for by_leash in [true, false] {
            let resolver = Served::start::<Lookups>();
            let [mut client] = clients(&resolver);
            client.resolve(0, "localhost", 1, deadline()).unwrap();
            let Served {
                control,
                leash,
                thread,
            } = resolver;
            let (mut control, mut leash) = (Some(control), Some(leash));
            match by_leash {
                true => drop(leash.take()),
                false => drop(control.take()),
            }
            thread.join().unwrap().unwrap();
            let error = client.resolve(0, "localhost", 1, deadline()).unwrap_err();
            assert_eq!((&*error.host, error.answered), ("localhost", false));
            assert!(client.answers().is_empty());
            drop((control, leash));
        }
    }

    #[test]
    fn an_open_question_fails_when_the_resolver_goes() {
        let (ours, theirs) = pair();
        let mut client = Client::new(ours, 1);
        let id = client.ask(0, "mail.example", 25).unwrap();
        assert!(client.answers().is_empty());
        drop(theirs);
        assert_eq!(client.answers(), [(id, None)]);
        assert!(client.ask(0, "mail.example", 25).is_err());
        let (ours, theirs) = pair();
        let mut client = Client::new(ours, 1);
        let id = client.ask(0, "mail.example", 25).unwrap();
        drop(theirs);
        let error = client.wait_for(id, "mail.example", deadline()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Error resolving \"mail.example\": the resolver process is gone"
        );
    }

    #[test]
    fn a_silent_resolver_is_waited_for_until_the_deadline() {
        let (ours, _theirs) = pair();
        let mut client = Client::new(ours, 1);
        let end = Instant::now() + Duration::from_millis(20);
        let error = client.resolve(0, "mail.example", 25, end).unwrap_err();
        assert_eq!(error.reason, "no answer in time");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_not_told() {
        let (ours, theirs) = pair();
        let mut client = Client::new(ours, 1);
        let id = client.ask(0, "mail.example", 25).unwrap();
        for number in [id + 1, id, id] {
            let answer: Resolved = Ok(vec!["192.0.2.1:25".parse().unwrap()]);
            let packet = answer.encode(number);
            send(theirs.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
        }
        let told = client.answers();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, id);
    }
}
