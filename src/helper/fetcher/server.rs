//! What the process does for its clients: each thread of its pool talks to a responder.

use std::time::{Duration, Instant};

use super::exchange;
use super::message::{MAX_REQUEST_PACKET, Request};
use crate::helper::asker::Answer;
use crate::helper::pool::{Asked, Work};

/// Posts requests to responders.
#[derive(Default)]
pub(super) struct Posts;

impl Work for Posts {
    /// The same request by several clients is one.
    const THREADS: usize = 16;
    const KEPT: usize = 2;
    /// TIMEOUTocsp ends each.
    const SHARE: usize = 16;
    const PATIENCE: Duration = Duration::from_mins(10);
    const THREAD: &'static str = "fetch";
    const MAX_PACKET: usize = MAX_REQUEST_PACKET;

    /// The URL and the body.
    type Key = (String, Vec<u8>);
    /// Until when the first client waits.
    type Terms = Instant;
    type Lane = ();
    /// The request's number.
    type Ticket = u64;
    type Outcome = Result<Vec<u8>, String>;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let request = Request::decode(packet)?;
        Some(Asked {
            key: (request.url, request.body),
            terms: Instant::now() + request.patience,
            lane: (),
            ticket: request.id,
        })
    }

    fn perform(&self, (url, body): &Self::Key, deadline: Instant) -> Self::Outcome {
        // Its clients have given up.
        match deadline <= Instant::now() {
            true => Err("TIMEOUTocsp exceeded: other responders are too slow".to_owned()),
            false => exchange::post(url, body, deadline),
        }
    }

    fn overloaded(_: &Self::Key) -> Self::Outcome {
        Err("too many responders are being asked".to_owned())
    }

    fn encode(outcome: &Self::Outcome, id: u64) -> Vec<u8> {
        outcome.encode(id)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::super::Client;
    use super::super::client::Told;
    use super::*;
    use crate::helper::pool::support::Served;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Clients of a fetcher in a thread of this process.
    fn clients<const N: usize>(fetcher: &Served) -> [Client; N] {
        fetcher.clients().map(|socket| Client::new(socket, 1))
    }

    /// Waits for that many answers.
    fn told(client: &mut Client, count: usize) -> Vec<Told> {
        let end = Instant::now() + DEADLINE;
        let mut told = Vec::new();
        while told.len() < count {
            assert!(Instant::now() < end, "{told:?}");
            let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(10_u16));
            told.extend(client.answers());
        }
        told
    }

    fn request(stream: &mut TcpStream) {
        let mut heard = Vec::new();
        while !heard.ends_with(b"body") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
    }

    #[test]
    fn those_that_ask_the_same_share_one_request() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let fetcher = Served::start::<Posts>();
        let mut clients = clients::<2>(&fetcher);
        let ask = |client: &mut Client| client.ask(&url, b"body", DEADLINE).unwrap();
        let ids = [
            ask(&mut clients[0]),
            ask(&mut clients[0]),
            ask(&mut clients[1]),
        ];
        let (mut stream, _) = listener.accept().unwrap();
        request(&mut stream);
        // Another request is another connection; that it is there says that those before it were taken.
        let other = clients[1].ask(&url, b"a body", DEADLINE).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        request(&mut second);
        second.write_all(b"HTTP/1.0 200 OK\r\n\r\nother").unwrap();
        drop(second);
        assert_eq!(told(&mut clients[1], 1), [(other, Ok(b"other".to_vec()))]);
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nthe same")
            .unwrap();
        drop(stream);
        let same = |id| (id, Ok(b"the same".to_vec()));
        assert_eq!(told(&mut clients[0], 2), [same(ids[0]), same(ids[1])]);
        assert_eq!(told(&mut clients[1], 1), [same(ids[2])]);
    }

    #[test]
    fn what_gives_no_answer_is_told_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fetcher = Served::start::<Posts>();
        let [mut client] = clients(&fetcher);
        let mut why = |url: &str, patience| {
            client.ask(url, b"body", patience).unwrap();
            told(&mut client, 1).remove(0).1.unwrap_err()
        };
        let short = Duration::from_millis(50);
        // It is accepted by the kernel, and nothing comes.
        let said = why(&format!("http://{address}/"), short);
        assert!(said.contains("TIMEOUTocsp exceeded"), "{said}");
        let said = why(&format!("http://{address}/"), Duration::ZERO);
        assert!(said.contains("TIMEOUTocsp exceeded"), "{said}");
        drop(listener);
        let said = why(&format!("http://{address}/"), DEADLINE);
        assert!(said.contains("Connection refused (111)"), "{said}");
        let said = why("https://localhost/", DEADLINE);
        assert!(said.contains("TLS not supported for OCSP"), "{said}");
        why("ftp://x/", DEADLINE);
        let said = why("http://nowhere.invalid/", DEADLINE);
        assert!(said.contains("Failed to resolve"), "{said}");
    }
}
