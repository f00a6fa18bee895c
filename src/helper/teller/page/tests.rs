use super::*;
use crate::helper::teller::exposition::{Boards, Totals};
use crate::helper::teller::picture::{Generation, Listening, Picture};
use crate::incidents::{Cause, Incident};
use crate::ipc::scoreboard::{ReadOnlyBoard, Scoreboard};
use crate::sys::queues::Queue;

use std::sync::atomic::Ordering::Relaxed;

const NOW: u64 = 1_795_513_570;
const DAY: u64 = 24 * 3600;

/// Two services of one generation; the second's certificates end when `ends` says.
fn shown(ends: [u64; 2], health: Result<(), Ill>, waiting: u32) -> String {
    shown_with(
        ends,
        health,
        waiting,
        [Ledger::default(), Ledger::default()],
    )
}

/// With what failed, of the first service and of adit itself.
fn shown_with(
    ends: [u64; 2],
    health: Result<(), Ill>,
    waiting: u32,
    [failed, own]: [Ledger; 2],
) -> String {
    let (board, memory) = Scoreboard::transferable(2, 2, false).unwrap();
    board.worker(0).pid().store(7, Relaxed);
    board.worker(0).active().store(3, Relaxed);
    board.worker(1).starts().store(3, Relaxed);
    board.service(0, 1).active().store(3, Relaxed);
    board.service(0, 1).accepted().store(41, Relaxed);
    board.service(0, 1).failed_protocol().store(2, Relaxed);
    board.shared(1).ends_to_clients().store(ends[0], Relaxed);
    board.shared(1).ends_to_servers().store(ends[1], Relaxed);
    let names = vec!["mail".to_owned(), "<script>\"&'".to_owned()];
    let picture = Picture {
        version: "1.2.3".to_owned(),
        services: names.clone(),
        leads_to: vec!["mail.example:993".to_owned(), String::new()],
        generations: vec![Generation {
            number: 4,
            state: "serving".to_owned(),
            serves: true,
            since: NOW - 60,
            services: names,
        }],
        listening: vec![Listening {
            service: "mail".to_owned(),
            address: "127.0.0.1:143".to_owned(),
            inode: 9,
        }],
        own_incidents: own,
        helpers: vec![("resolver".to_owned(), 0), ("teller".to_owned(), 1)],
        ..Picture::default()
    };
    let board = ReadOnlyBoard::of(&memory, 2, 2).unwrap();
    let boards = Boards::from([(4, board)]);
    let mut totals = Totals::default();
    totals.update(&picture, &boards);
    let seen = Seen {
        picture: &picture,
        boards: &boards,
        totals: &totals,
        healthy: true,
    };
    let mut history = History::default();
    let start = Instant::now();
    for second in 0..3 {
        note(
            &mut history,
            &seen,
            start + std::time::Duration::from_secs(second),
        );
    }
    let queues = Queues::from([(9, Queue { waiting, most: 5 })]);
    page(&View {
        seen,
        health,
        failures: BTreeMap::from([("mail".to_owned(), failed)]),
        own_failures: picture.own_incidents.clone(),
        queues: Some(&queues),
        history: &history,
        now: NOW,
    })
}

#[test]
fn it_says_first_whether_all_is_well() {
    let well = shown([NOW + 90 * DAY, 0], Ok(()), 5);
    assert!(well.contains("<title>All is well · adit</title>"), "{well}");
    assert!(well.contains("✓ All is well.</h1><p>2 services, 3 open connections."));
    assert!(well.contains("in 90 days"), "{well}");
    let soon = shown([NOW + 2 * DAY, NOW + 90 * DAY], Ok(()), 0);
    assert!(
        soon.contains("! adit works; one thing needs a look.</h1>"),
        "{soon}"
    );
    assert!(
        soon.contains("shows to clients ends in 2 days, on 2026-"),
        "{soon}"
    );
    let past = shown([NOW + 2 * DAY, NOW], Ok(()), 6);
    assert!(past.contains("✗ 2 things do not work.</h1>"), "{past}");
    let ended = past
        .find("shows to servers ended on 2026-11-")
        .expect("it is told");
    assert!(
        ended < past.find("ends in 2 days").expect("it is told"),
        "the worst first"
    );
    assert!(past.contains("[mail] has more clients waiting at 127.0.0.1:143"));
    let why = "no <master> serves".to_owned();
    let ill = shown([0, 0], Err(Ill::NotServing(why)), 0);
    assert!(ill.contains("✗ Something does not work.</h1>"), "{ill}");
    assert!(ill.contains("adit takes no connections now: no &lt;master&gt; serves."));
    assert!(
        !ill.contains("<h2>Certificates</h2>"),
        "there are none: {ill}"
    );
    let why = "no server answers probes: [mail]".to_owned();
    let cut_off = shown([0, 0], Err(Ill::CutOff(why)), 0);
    assert!(
        cut_off.contains(
            "adit takes connections, and some lead nowhere: no server answers probes: [mail]."
        ),
        "{cut_off}"
    );
}

#[test]
fn what_fails_of_late_is_told_first_and_again_and_again_does_not_work() {
    let incident = |cause, ago: u64| Incident {
        cause,
        at: (NOW - ago) * 1000,
        peer: Some("192.0.2.9:1042".parse().unwrap()),
        reason: "it <expired> on Monday".to_owned(),
        remedy: "tell the provider, or `adit add --force`".to_owned(),
    };
    let page = |incidents: &[Incident], own: &[Incident]| {
        let mut ledgers = [Ledger::default(), Ledger::default()];
        for (ledger, of) in ledgers.iter_mut().zip([incidents, own]) {
            of.iter().for_each(|one| ledger.note(one.clone()));
        }
        shown_with([0, 0], Ok(()), 0, ledgers)
    };
    let expired = |ago| incident(Cause::ServerCertificateExpired, ago);
    let once = page(&[expired(60)], &[]);
    let told = "[mail] The server&#39;s certificate has expired, or is not valid yet: it &lt;expired&gt; on Monday.\
                </em><small>Tell the provider, or <code>adit add --force</code>.</small>";
    assert!(
        once.contains("one thing needs a look") && once.contains(told),
        "{once}"
    );
    assert!(once.contains("<small>192.0.2.9:1042</small>"), "{once}");
    let often = page(&[expired(60), expired(50), expired(40)], &[]);
    assert!(
        often.contains("Something does not work") && often.contains(told),
        "{often}"
    );
    assert_eq!(often.matches("What failed last").count(), 1);
    let long_ago = page(&[expired(3600)], &[]);
    assert!(long_ago.contains("All is well") && long_ago.contains("What failed last"));
    let stranger = page(&[incident(Cause::ClientCertificateMissing, 1)], &[]);
    assert!(stranger.contains("All is well"), "{stranger}");
    let limited = page(&[2, 1, 0].map(|ago| incident(Cause::Limit, ago)), &[]);
    assert!(limited.contains("one thing needs a look"), "{limited}");
    // Renewed since, as what is shown now tells.
    let renewed = page(&[incident(Cause::CertificateEnds, 1)], &[]);
    assert!(renewed.contains("All is well"), "{renewed}");
    // What is adit's own is of no service.
    let died = page(&[], &[incident(Cause::Process, 30)]);
    assert!(
        died.contains("one thing needs a look")
            && died.contains("<em>A process of adit&#39;s has died, or stood still: it"),
        "{died}"
    );
    // The generation that serves is a minute old.
    let refused = page(&[], &[incident(Cause::Reload, 30)]);
    assert!(refused.contains("The configuration was changed and is not in force: it &lt;"));
    assert!(page(&[], &[incident(Cause::Reload, 90)]).contains("All is well"));
}

#[test]
fn what_is_not_ours_is_escaped_and_every_number_is_there() {
    let page = shown([NOW + 90 * DAY, 0], Ok(()), 0);
    assert!(!page.contains("<script>\""), "{page}");
    assert_eq!(page.matches("<script>").count(), 1, "our own");
    assert!(page.contains("&lt;script&gt;&quot;&amp;&#39;"), "{page}");
    for part in [
        "127.0.0.1:143 → mail.example:993",
        "class=\"n t\" data-is=\"Connections\">41",
        "class=\"n t\" data-is=\"Failures\">2",
        "<polyline points=\"570,1 580,1 590,1 \"/>",
        "<b>4</b> serving",
        "data-is=\"Workers\">1 of 2<small>2 restarts</small>",
        "Helpers: resolver, teller (1 restart).",
        "<time datetime=\"2026-11-24T09:46:10Z\">2026-11-24 09:46:10 UTC</time>",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[test]
fn a_browser_may_use_the_pages_own_style_and_script_alone() {
    assert!(FRAME.len() < 25_000);
    for element in ["style", "script"] {
        assert_eq!(FRAME.matches(&format!("<{element}>")).count(), 1);
        assert_eq!(FRAME.matches(&format!("<{element}")).count(), 1);
        assert!(HEADERS.contains(&format!("{element}-src '{}'", hash(element))));
    }
    // Nothing from elsewhere, and nothing that the policy would forbid.
    for part in [
        "http:", "https:", "//cdn", " style=", " on", "@import", "url(",
    ] {
        let markup = FRAME.split("<script>").next().unwrap();
        assert!(!markup.contains(part), "{part}");
    }
    assert!(HEADERS.lines().all(|line| !line.is_empty()) && HEADERS.ends_with("\r\n"));
}
