//! The side that asks: the master when the configuration loads, relay threads when they connect.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};

use super::message::{Answer, MAX_MESSAGE, Request, Want, is_host};
use super::{ResolveError, literal};
use crate::helper::{Contacts, Kind};
use crate::log::Reason;

/// Questions and answers that are known, by the question's number.
type Told = (u64, Result<Vec<SocketAddr>, ResolveError>);

/// One client's socket to the resolver. Nothing but [`Client::resolve_blocking`] and
/// [`Client::wait_for`] waits.
#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    next: u64,
    /// What was asked and not answered, so that no session waits for a resolver that is gone, and
    /// an answer without a question is not listened to.
    asked: HashMap<u64, String>,
    /// Answers that came while another was waited for.
    early: Vec<Told>,
    gone: bool,
}

impl Client {
    /// Is introduced to the resolver.
    ///
    /// # Errors
    /// As [`Contacts::introduce`].
    pub(crate) fn introduced(contacts: &Contacts) -> io::Result<Self> {
        Ok(Self::new(contacts.introduce(Kind::Resolver)?))
    }

    /// `socket` is SOCK_SEQPACKET; its other end is, or is on its way to be, the resolver's.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            next: 1,
            asked: HashMap::new(),
            early: Vec::new(),
            gone: false,
        }
    }

    /// Asks for all addresses of `host`, to be told with `port`; gives the question's number.
    /// Addresses in text need not be asked for, see [`literal`].
    ///
    /// # Errors
    /// `InvalidInput`: no name is like this. `WouldBlock`: too many questions under way.
    /// Others: the resolver is gone.
    pub(crate) fn ask(&mut self, host: &str, port: u16) -> io::Result<u64> {
        self.ask_for(host, port, Want::Any)
    }

    /// As [`Client::ask`], for the addresses of one family.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn ask_for(&mut self, host: &str, port: u16, want: Want) -> io::Result<u64> {
        if !is_host(host) {
            let text = "a host name has 1 to 255 characters";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let id = self.next;
        let host = host.to_owned();
        let packet = Request {
            id,
            host: host.clone(),
            port,
            want,
        }
        .encode();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        loop {
            match send(self.socket.as_raw_fd(), &packet, flags) {
                Ok(_) => break,
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.next += 1;
        self.asked.insert(id, host);
        Ok(id)
    }

    /// What was answered by now, without waiting. When the resolver is gone every open question
    /// is answered with an error.
    pub(crate) fn answers(&mut self) -> Vec<Told> {
        let mut told = std::mem::take(&mut self.early);
        let mut packet = [0; MAX_MESSAGE];
        while !self.gone {
            match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => (),
                Err(Errno::EAGAIN) => return told,
                Ok(0) | Err(_) => self.gone = true,
                Ok(length) => match Answer::decode(&packet[..length]) {
                    Some(answer) => {
                        if let Entry::Occupied(entry) = self.asked.entry(answer.id) {
                            entry.remove();
                            told.push((answer.id, answer.result));
                        }
                    }
                    // The packet is no answer; no other from there is worth more.
                    None => self.gone = true,
                },
            }
        }
        told.extend(self.asked.drain().map(|(id, host)| {
            let reason = "the resolver process is gone".to_owned();
            (id, Err(ResolveError { host, reason }))
        }));
        told
    }

    /// Waits for the addresses of `host` for at most `deadline`. An address in text is given
    /// back without asking.
    ///
    /// # Errors
    /// getaddrinfo's, the resolver is gone, or it did not answer in time.
    pub(crate) fn resolve_blocking(
        &mut self,
        host: &str,
        port: u16,
        deadline: Duration,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Some(ip) = literal(host) {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let id = self.ask(host, port).map_err(|error| ResolveError {
            host: host.to_owned(),
            reason: Reason(&error).to_string(),
        })?;
        self.wait_for(id, host, Instant::now() + deadline)
    }

    /// Waits until `end` at most for the answer to a question about `host` that was asked.
    ///
    /// # Errors
    /// As [`Client::resolve_blocking`].
    pub(crate) fn wait_for(
        &mut self,
        id: u64,
        host: &str,
        end: Instant,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let failed = |reason: String| ResolveError {
            host: host.to_owned(),
            reason,
        };
        loop {
            for told in self.answers() {
                self.early.push(told);
            }
            if let Some(at) = self.early.iter().position(|(other, _)| *other == id) {
                return self.early.swap_remove(at).1;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.asked.remove(&id);
                return Err(failed("no answer in time".to_owned()));
            }
            // A millisecond more, so that the last wait is not a loop of empty ones.
            let wait = left.saturating_add(Duration::from_millis(1));
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, wait) {
                Ok(_) | Err(Errno::EINTR) => (),
                Err(errno) => return Err(failed(Reason(&errno.into()).to_string())),
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::Lookups;
    use super::*;
    use crate::helper::pool::support::Served;
    use crate::ipc::channel::Channel;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn pair() -> (OwnedFd, OwnedFd) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours.into(), theirs.into())
    }

    /// Clients of a resolver in a thread of this process.
    fn clients<const N: usize>(resolver: &Served) -> [Client; N] {
        resolver.clients().map(Client::new)
    }

    #[test]
    fn each_client_is_told_what_it_asked_for() {
        let resolver = Served::start::<Lookups>();
        let mut three = clients::<3>(&resolver);
        for (port, client) in (25..).zip(&mut three) {
            let found = client
                .resolve_blocking("localhost", port, DEADLINE)
                .unwrap();
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
        let id = client.ask_for(host, 1, Want::V6).unwrap();
        let mut fds = [PollFd::new(client.socket.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
        let told = client.answers();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, id);
        told[0].1.clone().unwrap_err().to_string()
    }

    #[test]
    fn answers_for_others_are_kept_while_one_is_waited_for() {
        let resolver = Served::start::<Lookups>();
        let [mut client] = clients(&resolver);
        let ids: Vec<u64> = (0..200)
            .map(|port| client.ask("localhost", port).unwrap())
            .collect();
        client.resolve_blocking("localhost", 7, DEADLINE).unwrap();
        let end = Instant::now() + DEADLINE;
        let mut told = Vec::new();
        while told.len() < ids.len() {
            assert!(Instant::now() < end, "{} told", told.len());
            let mut fds = [PollFd::new(client.socket.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(10_u16));
            told.extend(client.answers());
        }
        told.sort_by_key(|(id, _)| *id);
        for ((id, result), (port, asked)) in told.into_iter().zip((0..).zip(ids)) {
            assert_eq!(id, asked);
            assert!(result.unwrap().iter().all(|address| address.port() == port));
        }
    }

    #[test]
    fn a_resolver_ends_with_its_supervisor_or_its_control_and_nobody_waits_for_it() {
        for by_leash in [true, false] {
            let resolver = Served::start::<Lookups>();
            let [mut client] = clients(&resolver);
            client.resolve_blocking("localhost", 1, DEADLINE).unwrap();
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
            let error = client
                .resolve_blocking("localhost", 1, DEADLINE)
                .unwrap_err();
            assert_eq!(error.host, "localhost");
            assert!(client.answers().is_empty());
            drop((control, leash));
        }
    }

    #[test]
    fn an_open_question_fails_when_the_resolver_goes() {
        let (ours, theirs) = pair();
        let mut client = Client::new(ours);
        let id = client.ask("mail.example", 25).unwrap();
        assert!(client.answers().is_empty());
        drop(theirs);
        let told = client.answers();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, id);
        assert_eq!(
            told[0].1.clone().unwrap_err().to_string(),
            "Error resolving \"mail.example\": the resolver process is gone"
        );
        assert!(client.ask("mail.example", 25).is_err());
    }

    #[test]
    fn a_silent_resolver_is_waited_for_until_the_deadline() {
        let (ours, _theirs) = pair();
        let mut client = Client::new(ours);
        let error = client
            .resolve_blocking("mail.example", 25, Duration::from_millis(20))
            .unwrap_err();
        assert_eq!(error.reason, "no answer in time");
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_not_told() {
        let (ours, theirs) = pair();
        let mut client = Client::new(ours);
        let id = client.ask("mail.example", 25).unwrap();
        for number in [id + 1, id, id] {
            let result = Ok(vec!["192.0.2.1:25".parse().unwrap()]);
            let packet = Answer { id: number, result }.encode();
            send(theirs.as_raw_fd(), &packet, MsgFlags::empty()).unwrap();
        }
        let told = client.answers();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, id);
    }
}
