//! Whether every service can be reached, and reaches a server: what a health check is told, and why not.

use std::fmt;

use super::exposition::Boards;
use super::picture::Picture;

/// What is wrong, in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ill {
    /// No service is served.
    NotServing(String),
    /// Services have no server that answers; clients are accepted all the same.
    CutOff(String),
}

impl fmt::Display for Ill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Ill::NotServing(why) | Ill::CutOff(why)) = self;
        f.write_str(why)
    }
}

/// `Err`: what is wrong.
pub(super) fn check(picture: &Picture, boards: &Boards) -> Result<(), Ill> {
    let Some(serving) = picture.generations.iter().find(|g| g.serves) else {
        let others: Vec<String> = picture
            .generations
            .iter()
            .map(|g| format!("generation {} is {}", g.number, g.state))
            .collect();
        return Err(Ill::NotServing(match others.is_empty() {
            true => "no master serves".to_owned(),
            false => format!("no master serves: {}", others.join(", ")),
        }));
    };
    let number = serving.number;
    let Some(board) = boards.get(&number) else {
        let why = format!("the counts of generation {number} cannot be read");
        return Err(Ill::NotServing(why));
    };
    if (0..board.workers()).all(|index| board.worker(index).pid == 0) {
        let why = format!("no worker of generation {number} is alive");
        return Err(Ill::NotServing(why));
    }
    let services = serving.services.iter().enumerate();
    let cut_off: Vec<String> = services
        .filter(|(index, _)| board.tally(*index).none_left())
        .map(|(_, name)| format!("[{}]", name.escape_debug()))
        .collect();
    match cut_off.is_empty() {
        true => Ok(()),
        false => Err(Ill::CutOff(format!(
            "no server answers probes: {}",
            cut_off.join(", ")
        ))),
    }
}
