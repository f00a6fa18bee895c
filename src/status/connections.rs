//! The list of open connections, for `adit connections`. What it says of one comes from a worker.
#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fit::{Column, Width, lines, say};
use super::services::bytes;
use crate::ipc::inquiry::{Asked, Connection};

/// What the workers have told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listed {
    /// Open connections, by number.
    pub connections: Vec<Connection>,
    /// Connections of workers that could not be asked: their master is dead, or of an older version.
    pub unreached: u64,
    /// Whether every other worker has answered.
    pub complete: bool,
    /// Those that have not, where that is known.
    pub unanswered: Vec<Asked>,
}

impl Listed {
    /// For people, in lines of that width.
    pub(crate) fn text(&self, width: Width) -> String {
        let all = &self.connections;
        let names = all.iter().map(|one| one.service.escape_debug().to_string());
        let names: Vec<String> = names.collect();
        let column = |head, weight, cell: &dyn Fn(&Connection) -> String| Column {
            head,
            weight,
            cells: all.iter().map(cell).collect(),
        };
        let address = |known: &Option<String>| match known {
            Some(known) => known.escape_debug().to_string(),
            None => "-".to_owned(),
        };
        let mut columns = vec![
            column("number", 9, &|one| one.number.to_string()),
            column("client", 8, &|one| address(&one.peer)),
            column("upstream", 4, &|one| address(&one.upstream)),
            column("age", 6, &|one| age(one.age)),
            column("to back", 3, &|one| bytes(one.bytes_to_back)),
            column("to front", 3, &|one| bytes(one.bytes_to_front)),
            column("state", 7, &|one| one.state.escape_debug().to_string()),
        ];
        if all.iter().any(|one| one.log_id.is_some()) {
            columns.push(column("in the log", 5, &|one| address(&one.log_id)));
        }
        let mut text = lines("service", &names, columns, width).join("\n");
        text.push('\n');
        if self.unreached > 0 {
            let unreached = self.unreached;
            say(
                &mut text,
                0,
                &format!(
                    "{unreached} more connection(s): their workers cannot be asked, since their master is dead or of an \
                     older version"
                ),
                width,
            );
        }
        if !self.complete {
            let who = self.who_is_silent();
            say(
                &mut text,
                0,
                &format!("{who} not answered: there may be more (see the log)"),
                width,
            );
        }
        text
    }
}

impl Listed {
    /// The subject of a sentence of what these have not done.
    pub(crate) fn who_is_silent(&self) -> String {
        let named: Vec<String> = self.unanswered.iter().map(ToString::to_string).collect();
        match &*named {
            [] => "A worker has".to_owned(),
            [one] => format!("{one} has"),
            [all @ .., last] => format!("{} and {last} have", all.join(", ")),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked {
            generation,
            worker,
            pid,
        } = self;
        write!(f, "worker {worker} of generation {generation} (PID {pid})")
    }
}

/// A connection's age in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A list with a value in every field.
    pub(in crate::status) fn example() -> Listed {
        Listed {
            connections: vec![Connection {
                number: 4711,
                log_id: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
                service: "smtp".into(),
                peer: Some("192.0.2.7:1042".into()),
                upstream: Some("[2001:db8::1]:465".into()),
                state: "open".into(),
                age: 130,
                bytes_to_back: 1023,
                bytes_to_front: 4096,
            }],
            unreached: 3,
            complete: false,
            unanswered: vec![Asked {
                generation: 7,
                worker: 1,
                pid: 1042,
            }],
        }
    }

    #[test]
    fn people_get_a_table_and_what_it_lacks() {
        let mut list = example();
        let wide = list.text(None);
        let rows: Vec<&str> = wide.lines().collect();
        assert_eq!(
            rows[0],
            "  service  number          client           upstream    age  to back  to front  state              in the log"
        );
        assert_eq!(
            rows[1],
            "  smtp       4711  192.0.2.7:1042  [2001:db8::1]:465  2 min   1023 B   4.0 KiB   open  AAAAAAAAAAAAAAAAAAAAAA"
        );
        assert!(rows[2].starts_with("3 more connection(s)"), "{wide}");
        assert_eq!(
            rows[3],
            "worker 1 of generation 7 (PID 1042) has not answered: there may be more (see the log)"
        );
        list.unanswered.push(list.unanswered[0]);
        assert!(list.who_is_silent().ends_with(" (PID 1042) have"));
        list.unanswered.clear();
        assert_eq!(list.who_is_silent(), "A worker has");
        list.connections[0].log_id = None;
        list.connections[0].service = "name\n\u{1b}[2J".into();
        for width in [80, 60, 45] {
            let text = list.text(Some(width));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width), "{width}: {text}");
            assert!(!text.contains('\u{1b}'));
        }
    }
}
