//! Chooses the worker that gets the next connection.

/// The least loaded worker, the lowest index among equals. If clients `return` to session state that
/// only one worker has, a single connection counts as none: a client that reconnects at once finds its
/// last connection still closing.
pub(super) fn least_loaded(
    mut loads: impl Iterator<Item = (usize, usize)> + Clone,
    returns: bool,
) -> Option<usize> {
    let (least, total) = loads
        .clone()
        .fold((usize::MAX, 0), |(least, total), (_, load)| {
            (least.min(load), total + load)
        });
    let slack = usize::from(returns && total == 1);
    loads
        .find(|(_, load)| *load <= least.saturating_add(slack))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least_loaded_of(loads: &[usize]) -> Option<usize> {
        least_loaded(loads_of(loads), true)
    }

    fn loads_of(loads: &[usize]) -> impl Iterator<Item = (usize, usize)> + Clone {
        loads.iter().copied().enumerate()
    }

    #[test]
    fn a_quiet_service_stays_with_the_lowest_worker_and_a_busy_one_spreads() {
        assert_eq!(least_loaded_of(&[]), None);
        assert_eq!(least_loaded_of(&[0, 0]), Some(0));
        assert_eq!(
            least_loaded_of(&[1, 0]),
            Some(0),
            "its last connection is ending"
        );
        assert_eq!(least_loaded(loads_of(&[1, 0]), false), Some(1));
        assert_eq!(least_loaded_of(&[2, 0]), Some(1));
        assert_eq!(least_loaded_of(&[7, 6, 5]), Some(2));
        assert_eq!(least_loaded_of(&[2, 1]), Some(1));
        let mut loads = [0; 4];
        for _ in 0..400 {
            let Some(index) = least_loaded_of(&loads) else {
                panic!("nobody");
            };
            loads[index] += 1;
        }
        assert_eq!(loads, [100; 4]);
    }
}
