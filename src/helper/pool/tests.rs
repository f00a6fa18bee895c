//! The pool with work of the tests' own: what is shared, what finds no room, and what never ends.

use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Instant;

use super::support::Served;
use super::threads::QUEUE;
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// Says again what it is asked, with the ticket of the first that asked it and the waiter's own, which is a
/// request's last byte. What starts with `!` is no request.
#[derive(Default)]
struct Echo;

/// Where `same` is met as it starts, and again before it goes on.
static GATE: Barrier = Barrier::new(2);

impl Work for Echo {
    const THREADS: usize = 1;
    const KEPT: usize = 1;
    const SHARE: usize = 1;
    const PATIENCE: Duration = Duration::MAX;
    const THREAD: &'static str = "echo";
    const MAX_PACKET: usize = 8 + 1;

    type Key = Vec<u8>;
    type Terms = u8;
    type Lane = ();
    type Ticket = u8;
    type Outcome = Vec<u8>;

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let (ticket, key) = packet.split_last()?;
        (packet.len() < Self::MAX_PACKET && !key.starts_with(b"!")).then(|| Asked {
            key: key.to_vec(),
            terms: *ticket,
            lane: (),
            ticket: *ticket,
        })
    }

    fn perform(&self, key: &Vec<u8>, first: u8) -> Vec<u8> {
        if key == b"same" {
            GATE.wait();
            GATE.wait();
        }
        [key.as_slice(), &[b' ', first]].concat()
    }

    fn overloaded(key: &Vec<u8>) -> Vec<u8> {
        [key.as_slice(), b" no"].concat()
    }

    fn encode(outcome: &Vec<u8>, ticket: u8) -> Vec<u8> {
        [outcome.as_slice(), &[b' ', ticket]].concat()
    }
}

fn say(client: &OwnedFd, packet: &[u8]) {
    send(client.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL).unwrap();
}

/// The next answer; empty at the end.
fn heard(client: &OwnedFd) -> String {
    let mut fds = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
    let mut packet = [0; 64];
    let length = recv(client.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT).unwrap();
    String::from_utf8(packet[..length].to_vec()).unwrap()
}

#[test]
fn those_that_ask_the_same_share_one_piece_of_work_and_what_finds_no_room_is_told() {
    let served = Served::start::<Echo>();
    let [one, other] = served.clients();
    say(&one, b"same1");
    GATE.wait();
    // Its one thread is at work; the supervisor is told that it does not stand still.
    let mut asked = words::ask(&served.control).unwrap();
    let mut fds = [PollFd::new(asked.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1));
    assert_eq!(io::Read::read(&mut asked, &mut [0]).unwrap(), 0);
    for number in 0..=QUEUE {
        say(&one, format!("{number:04}n").as_bytes());
    }
    assert_eq!(heard(&one), format!("{QUEUE} no n"));
    // For the same there is room. That no more finds any says that what came before it was taken.
    for (client, same) in [(&one, b"same2"), (&other, b"same3")] {
        say(client, same);
        say(client, b"morem");
        assert_eq!(heard(client), "more no m");
    }
    GATE.wait();
    assert_eq!(heard(&one), "same 1 1");
    assert_eq!(heard(&one), "same 1 2");
    assert_eq!(heard(&other), "same 1 3");
    for number in 0..QUEUE {
        assert_eq!(heard(&one), format!("{number:04} n n"));
    }
}

#[test]
fn a_client_that_sends_nonsense_is_let_go_of_and_the_others_are_not() {
    let served = Served::start::<Echo>();
    let [bad, long, good] = served.clients();
    for (client, nonsense) in [(&bad, b"!1".as_slice()), (&long, b"longer than one")] {
        say(client, nonsense);
        assert_eq!(heard(client), "");
    }
    say(&good, b"good1");
    assert_eq!(heard(&good), "good 1 1");
}

#[test]
fn it_ends_with_its_supervisor_or_its_control() {
    for by_leash in [true, false] {
        let Served {
            control,
            leash,
            thread,
        } = Served::start::<Echo>();
        let (mut control, mut leash) = (Some(control), Some(leash));
        match by_leash {
            true => drop(leash.take()),
            false => drop(control.take()),
        }
        let (done, waits) = mpsc::channel();
        thread::spawn(move || done.send(thread.join()));
        waits.recv_timeout(DEADLINE).unwrap().unwrap().unwrap();
        drop((control, leash));
    }
}

/// Never answers, unless it is asked for `quick`. The lane is a request's first byte.
#[derive(Default)]
struct Never<const SHARE: usize, const SECONDS: u64>;

impl<const SHARE: usize, const SECONDS: u64> Work for Never<SHARE, SECONDS> {
    const THREADS: usize = 8;
    const KEPT: usize = 1;
    const SHARE: usize = SHARE;
    const PATIENCE: Duration = Duration::from_secs(SECONDS);
    const THREAD: &'static str = "never";
    const MAX_PACKET: usize = 8;

    type Key = Vec<u8>;
    type Terms = ();
    type Lane = u8;
    type Ticket = ();
    type Outcome = ();

    fn decode(packet: &[u8]) -> Option<Asked<Self>> {
        let (lane, key) = packet.split_first()?;
        Some(Asked {
            key: key.to_vec(),
            terms: (),
            lane: *lane,
            ticket: (),
        })
    }

    fn perform(&self, key: &Vec<u8>, (): ()) {
        if key != b"quick" {
            loop {
                thread::park();
            }
        }
    }

    fn overloaded(_: &Vec<u8>) {}

    fn encode((): &(), (): ()) -> Vec<u8> {
        b"done".to_vec()
    }
}

#[test]
fn what_never_ends_in_one_lane_delays_no_other_that_asks_for_the_same_or_for_something_else() {
    let served = Served::start::<Never<2, 3600>>();
    let [client] = served.clients();
    for number in 0..20 {
        say(&client, format!("a{number}").as_bytes());
    }
    // It waits in a's queue as well.
    for packet in [b"aquick", b"bquick"] {
        say(&client, packet);
    }
    assert_eq!(heard(&client), "done");
    assert_eq!(heard(&client), "done");
    say(&client, b"cquick");
    assert_eq!(heard(&client), "done");
}

#[test]
fn it_ends_when_nothing_of_what_is_waited_for_ever_ends() {
    let served = Served::start::<Never<2, 0>>();
    let [client] = served.clients();
    let end = Instant::now() + DEADLINE;
    // The two that never end must have begun.
    for number in 0.. {
        let packet = format!("a{number}");
        let sent = send(
            client.as_raw_fd(),
            packet.as_bytes(),
            MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
        );
        // The threads that never end hold the other end: it may be full for good.
        if sent.is_err_and(|errno| errno != Errno::EAGAIN) || served.thread.is_finished() {
            break;
        }
        assert!(Instant::now() < end, "{number}");
        thread::yield_now();
    }
    let error = served.thread.join().unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "no never of those that others wait for has ended for 0 s"
    );
}
