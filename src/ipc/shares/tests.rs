use super::*;
use std::time::Duration;

fn shares(workers: usize) -> Shares {
    let words = SharedWords::new(16 + length(workers)).unwrap();
    draw(&words, 16).unwrap();
    Shares::on(words, 16, workers)
}

/// One of as many as are needed, as evenly spread as the hash makes them (splitmix64).
fn any(number: u64) -> Key {
    let mut bits = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    Key(NonZeroU64::new(bits ^ (bits >> 31)).unwrap_or(NonZeroU64::MIN))
}

fn v4(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(number).into()
}

#[test]
fn connections_are_counted_by_service_and_address_in_all_workers_and_end_with_their_worker() {
    let all = shares(2);
    let key = all.key("imap", v4(1));
    for worker in [0, 1, 1] {
        all.enter(worker, key);
    }
    assert_eq!(all.open(key), 3);
    for (service, address, same) in [
        ("imap", "::ffff:0.0.0.1", true),
        ("pop3", "0.0.0.1", false),
        ("imap", "0.0.0.2", false),
    ] {
        let other = all.key(service, address.parse().unwrap());
        assert_eq!(
            all.open(other),
            if same { 3 } else { 0 },
            "{service}, {address}"
        );
    }
    let network = |text: &str| all.key("imap", text.parse().unwrap());
    assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::"));
    assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    all.leave(1, key);
    assert_eq!(all.open(key), 2);
    all.clear(1);
    assert_eq!(all.open(key), 1);
    all.leave(0, key);
    // More than there were.
    all.leave(0, key);
    assert_eq!(all.open(key), 0);
    assert!(
        all.open_in(0)
            .unwrap()
            .iter()
            .all(|word| word.load(Relaxed) == 0)
    );
}

#[test]
fn counts_are_exact_until_a_table_is_three_quarters_full_and_none_is_too_high_beyond() {
    let all = shares(1);
    let keys: Vec<Key> = (0..TABLE as u64 * 3 / 2).map(any).collect();
    let most = TABLE * 3 / 4;
    for key in &keys[..most] {
        all.enter(0, *key);
    }
    let lost = keys[..most]
        .iter()
        .filter(|key| all.open(**key) != 1)
        .count();
    assert!(lost * 10_000 < most, "{lost} of {most} are not counted");
    keys[most..].iter().for_each(|key| all.enter(0, *key));
    assert!(keys.iter().all(|key| all.open(*key) <= 1));
    keys.iter().for_each(|key| all.leave(0, *key));
    assert!(keys.iter().all(|key| all.open(*key) == 0));
}

#[test]
fn threads_count_together() {
    let all = shares(1);
    let keys: Vec<Key> = (0..4).map(|n| all.key("s", v4(n))).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..4000 {
                    all.enter(0, keys[n % 4]);
                    if n % 8 >= 4 {
                        all.leave(0, keys[n % 4]);
                    }
                }
            });
        }
    });
    let open: u64 = keys.iter().map(|key| all.open(*key)).sum();
    assert_eq!(open, 4 * 2000);
}

fn pace(count: u32, seconds: u64) -> Pace {
    Pace {
        count,
        period: Duration::from_secs(seconds),
    }
}

#[test]
fn an_address_may_make_so_many_at_once_and_then_as_time_goes_on() {
    let all = shares(1);
    let (key, other) = (all.key("s", v4(1)), all.key("s", v4(2)));
    let pace = pace(10, 60);
    let mut now = 1000 * SECOND;
    let taken = |key, now, tries: usize| {
        let tried = (0..tries).filter(|_| all.paces_out(key, pace, Moment(now)));
        tried.count()
    };
    assert_eq!(taken(key, now, 100), 10);
    assert_eq!(taken(other, now, 5), 5, "another address has its own");
    now += 6 * SECOND;
    assert_eq!(taken(key, now, 100), 1);
    now += 30 * SECOND;
    assert_eq!(taken(key, now, 100), 5);
    // What was refused costs nothing.
    now += 60 * SECOND;
    assert_eq!(taken(key, now, 100), 10);
    assert_eq!(taken(other, now, 100), 10);
}

#[test]
fn what_a_longer_period_has_left_is_forgotten() {
    let all = shares(1);
    let key = all.key("s", v4(1));
    let now = Moment(1000 * SECOND);
    assert!((0..2).all(|_| all.paces_out(key, pace(2, 3600), now)));
    assert!(!all.paces_out(key, pace(2, 3600), now));
    let taken = (0..5).filter(|_| all.paces_out(key, pace(2, 10), now));
    assert_eq!(taken.count(), 2);
    // Another thread looked at the clock a little earlier.
    let earlier = Moment(now.0 - SECOND);
    assert!(!all.paces_out(key, pace(2, 10), earlier));
}

#[test]
fn a_million_addresses_free_none_that_has_had_its_share() {
    let all = shares(1);
    let pace = pace(10, 60);
    let mut now = 1000 * SECOND;
    let offender = all.key("s", v4(u32::MAX));
    assert_eq!(
        (0..20)
            .filter(|_| all.paces_out(offender, pace, Moment(now)))
            .count(),
        10
    );
    for n in 0..200_000 {
        // 20 000 a second.
        now += 5;
        let honest = all.paces_out(any(n), pace, Moment(now));
        assert!(honest, "an honest one is refused");
    }
    // Ten seconds have passed.
    assert_eq!(
        (0..20)
            .filter(|_| all.paces_out(offender, pace, Moment(now)))
            .count(),
        1
    );
}

#[test]
fn a_generation_goes_on_with_the_paces_of_the_one_before() {
    let (before, after) = (shares(1), shares(3));
    let now = Moment::now();
    let key = before.key("s", v4(1));
    assert!((0..5).all(|_| before.paces_out(key, pace(5, 3600), now)));
    before.enter(0, key);
    let after = after.follow(&[&before]);
    assert_eq!(after.key("s", v4(1)), key);
    assert!(!after.paces_out(key, pace(5, 3600), now));
    after.enter(2, key);
    assert_eq!((after.open(key), after.alone().open(key)), (2, 1));
    // And so does the next.
    let next = shares(1).follow(&[&after]);
    assert_eq!(next.open(key), 2);
    before.leave(0, key);
    assert_eq!(next.open(key), 1);
    before.clear(0);
    assert_eq!(shares(1).follow(&[&after]).older.len(), 1);
}
