//! Whether every service can be reached, and reaches a server: what a health check is told, and why not.

use super::exposition::Boards;
use super::picture::Picture;

/// `Err`: what is wrong, in a line.
pub(super) fn check(picture: &Picture, boards: &Boards) -> Result<(), String> {
    let Some(serving) = picture.generations.iter().find(|g| g.serves) else {
        let others: Vec<String> = picture
            .generations
            .iter()
            .map(|g| format!("generation {} is {}", g.number, g.state))
            .collect();
        return Err(match others.is_empty() {
            true => "no master serves".to_owned(),
            false => format!("no master serves: {}", others.join(", ")),
        });
    };
    let number = serving.number;
    let Some(board) = boards.get(&number) else {
        return Err(format!("the counts of generation {number} cannot be read"));
    };
    if (0..board.workers()).all(|index| board.worker(index).pid == 0) {
        return Err(format!("no worker of generation {number} is alive"));
    }
    let services = serving.services.iter().enumerate();
    let cut_off: Vec<String> = services
        .filter(|(index, _)| board.tally(*index).none_left())
        .map(|(_, name)| format!("[{}]", name.escape_debug()))
        .collect();
    match cut_off.is_empty() {
        true => Ok(()),
        false => Err(format!("no server answers probes: {}", cut_off.join(", "))),
    }
}
