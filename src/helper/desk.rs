//! Answers clients one after another, in one thread: for kinds that answer at once, and with a descriptor. Never in
//! here: a wait for a client, or what a request means.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::MsgFlags;

use super::words::{self, Heard};
use crate::ipc::channel::Channel;
use crate::sys::watch::{self, Interest, Watch};

/// Requests taken from one client before the next has its turn.
const TURN: usize = 16;

/// What is waited for; clients by their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Leash,
    Channel,
    Signals,
    Client(usize),
    /// Room for an answer to a client.
    Room(usize),
}

impl watch::Source for Source {
    fn key(self) -> usize {
        match self {
            Source::Leash => 0,
            Source::Channel => 1,
            Source::Signals => 2,
            Source::Client(number) => 3 + 2 * number,
            Source::Room(number) => 4 + 2 * number,
        }
    }

    fn of(key: usize) -> Source {
        match key {
            0 => Source::Leash,
            1 => Source::Channel,
            2 => Source::Signals,
            key if key % 2 == 1 => Source::Client((key - 3) / 2),
            key => Source::Room((key - 4) / 2),
        }
    }

    fn interest(self) -> Interest {
        match self {
            Source::Leash => Interest::End,
            Source::Channel | Source::Signals | Source::Client(_) => Interest::Read,
            Source::Room(_) => Interest::Write,
        }
    }
}

/// An answer.
pub(super) struct Reply {
    /// As it is sent.
    pub packet: Vec<u8>,
    /// The descriptor that comes with it, and what is said where none can be passed.
    pub passed: Option<(OwnedFd, Vec<u8>)>,
}

/// Those that ask.
pub(super) struct Desk {
    clients: HashMap<usize, Client>,
    next: usize,
    /// No client comes any more: another generation serves.
    left_alone: bool,
    packet: Box<[u8]>,
}

/// Nothing introduces a client again while this process lives, so one that is well must not be dropped.
struct Client {
    channel: Channel,
    /// What it has no room for yet. Until it has, no more of it is heard.
    unsaid: Option<Reply>,
}

/// The client is gone, or what it sends is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Broken;

impl Desk {
    /// Without a client yet. No request fills `longest` bytes.
    pub(super) fn new(longest: usize) -> Desk {
        Desk {
            clients: HashMap::new(),
            next: 0,
            left_alone: false,
            packet: vec![0; longest].into_boxed_slice(),
        }
    }

    /// Whether no client is there, nor will be.
    pub(super) fn is_deserted(&self) -> bool {
        self.left_alone && self.clients.is_empty()
    }

    /// Takes on the clients that are introduced.
    ///
    /// # Errors
    /// The channel fails.
    pub(super) fn hear(&mut self, channel: &Channel, watch: &Watch<Source>) -> io::Result<()> {
        match words::hear(channel)? {
            Heard::Clients(clients) => {
                for client in clients {
                    // Closed for want of memory, it is introduced again.
                    if watch.add(&client, Source::Client(self.next)).is_ok() {
                        let channel = client.into();
                        let unsaid = None;
                        self.clients.insert(self.next, Client { channel, unsaid });
                        self.next += 1;
                    }
                }
            }
            Heard::News(..) => self.left_alone = true,
            Heard::Nothing => {}
            Heard::End => {
                watch.remove(channel);
                self.left_alone = true;
            }
        }
        Ok(())
    }

    /// Answers a client's requests, or says what it has room for now. One that sends what `answer` knows for no
    /// request is broken, or worse: it is heard no more.
    pub(super) fn serve(
        &mut self,
        number: usize,
        watch: &Watch<Source>,
        mut answer: impl FnMut(&[u8]) -> Option<Reply>,
    ) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        for _ in 0..TURN {
            match client.turn(number, &mut self.packet, watch, &mut answer) {
                Ok(true) => {}
                Ok(false) => return,
                Err(Broken) => {
                    watch.remove(&client.channel);
                    self.clients.remove(&number);
                    return;
                }
            }
        }
    }
}

impl Client {
    /// Says what is unsaid, or else hears a request and answers it; whether there may be more to do.
    fn turn(
        &mut self,
        number: usize,
        packet: &mut [u8],
        watch: &Watch<Source>,
        answer: &mut impl FnMut(&[u8]) -> Option<Reply>,
    ) -> Result<bool, Broken> {
        let waited = self.unsaid.is_some();
        let unsaid = match self.unsaid.take() {
            Some(unsaid) => unsaid,
            None => match self.channel.receive(packet, MsgFlags::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(_) | Ok(None) => return Err(Broken),
                Ok(Some(received)) => {
                    let request = packet.get(..received.len).ok_or(Broken)?;
                    answer(request).ok_or(Broken)?
                }
            },
        };
        self.unsaid = self.say(unsaid)?;
        let now = match self.unsaid {
            Some(_) => Source::Room(number),
            None => Source::Client(number),
        };
        if waited != self.unsaid.is_some() {
            // Where it fails, the next request wakes this process, and the answer is tried first.
            let _ = watch.change(&self.channel, now);
        }
        Ok(self.unsaid.is_none())
    }

    /// Tells the client; what it has no room for comes back.
    fn say(&self, reply: Reply) -> Result<Option<Reply>, Broken> {
        let socket = reply.passed.as_ref().map(|(socket, _)| socket.as_fd());
        let flags = MsgFlags::MSG_DONTWAIT;
        match (
            self.channel.send(&reply.packet, socket.as_slice(), flags),
            reply,
        ) {
            (Ok(()), _) => Ok(None),
            (Err(error), reply) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(reply)),
            // Too many descriptors are on their way. No event tells when there are fewer, so it is kept back.
            (
                Err(error),
                Reply {
                    passed: Some((_, packet)),
                    ..
                },
            ) if Channel::is_busy(&error) => self.say(Reply {
                packet,
                passed: None,
            }),
            (Err(error), reply) if Channel::is_busy(&error) => Ok(Some(reply)),
            (Err(_), _) => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_found_by_its_key() {
        let numbered = (0..3).flat_map(|number| [Source::Client(number), Source::Room(number)]);
        let all = [Source::Leash, Source::Channel, Source::Signals].into_iter();
        for source in all.chain(numbered) {
            assert_eq!(
                <Source as watch::Source>::of(watch::Source::key(source)),
                source
            );
        }
    }

    #[test]
    fn a_client_that_reads_late_is_told_everything_and_heard_again() {
        let (near, far) = Channel::pair().unwrap();
        let watch = Watch::new().unwrap();
        watch.add(&far, Source::Client(0)).unwrap();
        let mut desk = Desk::new(16);
        let unsaid = None;
        let channel = far;
        desk.clients.insert(0, Client { channel, unsaid });
        let echo = |request: &[u8]| {
            let packet = request.to_vec();
            let socket = io::pipe().unwrap().0.into();
            let passed = Some((socket, b"none".to_vec()));
            Some(Reply { packet, passed })
        };
        let ask = |number: u32| {
            let packet = number.to_le_bytes();
            near.send(&packet, &[], MsgFlags::MSG_DONTWAIT)
        };
        let mut asked = 0;
        // Until both queues are full.
        while ask(asked).is_ok() {
            asked += 1;
            desk.serve(0, &watch, echo);
        }
        assert!(desk.clients[&0].unsaid.is_some());
        let now = Some(std::time::Instant::now());
        assert_eq!(watch.wait(now).unwrap(), [], "it waits for room");
        let mut buffer = [0; 16];
        let mut answered = 0;
        while answered < asked {
            while let Ok(Some(received)) = near.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
                let word = &buffer[..received.len];
                let whole = word == answered.to_le_bytes() && received.descriptors.len() == 1;
                assert!(whole || word == b"none" && received.descriptors.is_empty());
                answered += 1;
            }
            for source in watch.wait(now).unwrap() {
                assert!(matches!(source, Source::Client(0) | Source::Room(0)));
                desk.serve(0, &watch, echo);
            }
        }
        // Nothing is left to say, and the next request is heard.
        ask(asked).unwrap();
        assert_eq!(watch.wait(now).unwrap(), [Source::Client(0)]);
        desk.serve(0, &watch, echo);
        let received = near.receive(&mut buffer, MsgFlags::MSG_DONTWAIT).unwrap();
        assert_eq!(received.unwrap().len, 4);
        // What is no request ends the client.
        ask(asked).unwrap();
        desk.serve(0, &watch, |_| None);
        assert!(desk.clients.is_empty());
    }
}
