//! What a worker tells a client of the control socket: what each of its relay threads knows. Never in here: a wait for a
//! thread that stands still.

use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, unbounded};

use super::shared::Command;
use super::thread::ThreadHandle;
use crate::ipc::channel::Channel;
use crate::ipc::inquiry::{self, Inquiry, Told};
use crate::ipc::words::say_now;

/// Which worker this is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub generation: u64,
    pub worker: usize,
}

/// Tells the client that asks what every thread knows. None of them, nor the client, is waited for longer than that:
/// the master's next word waits.
pub(super) fn tell_all(
    threads: &[ThreadHandle],
    inquiry: Inquiry,
    place: Place,
    asker: &Channel,
    patience: Duration,
) {
    let (sender, receiver) = unbounded();
    for thread in threads {
        thread.command(Command::Inquire(inquiry, sender.clone()));
    }
    drop(sender);
    // A client that does not read, or is gone, is told nothing more.
    let _ = loop {
        match receiver.recv_timeout(patience) {
            Ok(connections) => {
                let told = inquiry::tell(asker, connections, patience);
                if told.is_err() {
                    break told;
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                let Place { generation, worker } = place;
                break inquiry::tell_end(asker, generation, worker, patience);
            }
            // A thread stands still: the list is not whole.
            Err(RecvTimeoutError::Timeout) => break say_now(asker, &Told::Missed, &[]),
        }
    };
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::ipc::inquiry::{Connection, Patience};

    const PLACE: Place = Place {
        generation: 7,
        worker: 1,
    };

    /// What a client is told while the first thread has this connection and the second one answers if it `turns`.
    fn told(turns: bool) -> Vec<Told> {
        let (asker, theirs) = inquiry::sockets().unwrap();
        let (one, its_commands) = ThreadHandle::that_stands_still();
        let (other, others_commands) = ThreadHandle::that_stands_still();
        let long = Duration::from_secs(30);
        let patience = if turns {
            long
        } else {
            // Long enough for the first thread, on any machine.
            Duration::from_secs(2)
        };
        let answering = std::thread::spawn(move || {
            let connection = Connection {
                number: 4711,
                ..Connection::default()
            };
            let mut left = Vec::new();
            for (commands, answers) in [(its_commands, true), (others_commands, turns)] {
                let Ok(Command::Inquire(Inquiry::List, reply)) = commands.recv() else {
                    panic!("it was not asked");
                };
                match answers {
                    true => reply.send(vec![connection.clone()]).unwrap(),
                    // It may answer some day.
                    false => left.push(reply),
                }
            }
            left
        });
        let theirs = Channel::from(theirs);
        tell_all(&[one, other], Inquiry::List, PLACE, &theirs, patience);
        drop(theirs);
        drop(answering.join().unwrap());
        let mut all = Vec::new();
        let patience = Patience {
            silence: long,
            whole: long,
        };
        inquiry::hear_all(&asker, patience, |told| {
            all.push(told);
            ControlFlow::Continue(())
        })
        .unwrap();
        all
    }

    #[test]
    fn a_thread_that_stands_still_is_missed_and_what_others_tell_is_not() {
        let is_one = |told: &Told| matches!(told, Told::Connections(all) if all.len() == 1);
        let all = told(false);
        assert!(all.len() == 2 && is_one(&all[0]), "{all:?}");
        assert_eq!(all[1], Told::Missed);
        let all = told(true);
        assert!(
            all.len() == 3 && is_one(&all[0]) && is_one(&all[1]),
            "{all:?}"
        );
        let over = Told::Over {
            generation: 7,
            worker: 1,
        };
        assert_eq!(all[2], over);
    }
}
