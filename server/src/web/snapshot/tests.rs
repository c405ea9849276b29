//! When a look is taken, and what counts as a change.

use crossbeam_channel::{Receiver, unbounded};
use moji_proto::message::EventKind;

use super::*;
use crate::core::desk::{Desk as Core, Done, Effect, Job, Msg, sample_package};
use crate::core::view::{Event, View};
use crate::web::desk::Bridge;

/// Whatever the machine does meanwhile, a look serves, or does not.
const ALWAYS: Duration = Duration::MAX;
const NEVER: Duration = Duration::ZERO;

fn bench(fresh: Duration) -> (Snapshots, Bridge, Receiver<Msg>) {
    let (to, inbox) = unbounded();
    let bridge = Bridge::default();
    (Snapshots { fresh, ..Snapshots::new(Desk::new(to, bridge.clone())) }, bridge, inbox)
}

/// What a desk shows at this time after so many events.
fn glance(ms: u64, events: usize) -> Arc<Glance> {
    let mut core = Core::default();
    core.set_clock(1_000_000_000 + ms);
    let mut effects = Vec::new();
    let mut tell = |msg| {
        core.handle(Time(ms), msg, &mut effects);
        std::mem::take(&mut effects)
    };
    for _ in 0..events {
        tell(Msg::Event(Event::new(EventKind::Ordered, "")));
    }
    tell(Msg::Glance);
    let view = View { packages: vec![sample_package("a-1-1.src.rpm")], ..View::default() };
    let counts = tell(Msg::View(Arc::new(view)));
    let [Effect::Work { run, job: Job::Counts }] = counts[..] else { panic!("{counts:?}") };
    match &tell(Msg::Done { run, done: Done::Counts(BTreeMap::new()) })[..] {
        [Effect::Glance(glance)] => Arc::clone(glance),
        other => panic!("{other:?}"),
    }
}

/// Starts all, waits until nothing moves, answers what was asked; how often that was.
fn ask(
    snapshots: &Snapshots,
    bridge: &Bridge,
    inbox: &Receiver<Msg>,
    count: usize,
) -> (usize, Vec<Arc<Snapshot>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let pages: Vec<_> = (0..count)
        .map(|_| {
            let snapshots = snapshots.clone();
            runtime.spawn(async move { snapshots.now().await })
        })
        .collect();
    let mut asked = 0;
    runtime.block_on(async {
        while !pages.iter().all(tokio::task::JoinHandle::is_finished) {
            // All that can move does, before it is answered.
            for _ in 0..=count {
                tokio::task::yield_now().await;
            }
            while let Ok(msg) = inbox.try_recv() {
                assert!(matches!(msg, Msg::Glance), "{msg:?}");
                asked += 1;
                bridge.glance(&glance(5_000, 1));
            }
        }
        let mut all = Vec::new();
        for page in pages {
            all.push(page.await.unwrap().unwrap_or_else(|problem| panic!("{problem}")));
        }
        (asked, all)
    })
}

#[test]
fn all_who_ask_at_once_share_one_look() {
    let (snapshots, bridge, inbox) = bench(ALWAYS);
    let (asked, all) = ask(&snapshots, &bridge, &inbox, 50);
    assert!(asked == 1 && all.iter().all(|one| Arc::ptr_eq(one, &all[0])), "{asked} looks");
    let (asked, later) = ask(&snapshots, &bridge, &inbox, 1);
    assert!(asked == 0 && Arc::ptr_eq(&later[0], &all[0]), "it serves for a while");
    assert_eq!(later[0].taken, 1);
}

#[test]
fn a_look_that_is_too_old_is_taken_again() {
    let (snapshots, bridge, inbox) = bench(NEVER);
    for taken in 1..=3 {
        let (asked, all) = ask(&snapshots, &bridge, &inbox, 1);
        assert_eq!((asked, all[0].taken), (1, taken));
    }
}

#[test]
fn nothing_but_time_is_no_change_and_times_that_are_shown_stand_still() {
    let first = Snapshot::new(glance(5_000, 1), None, 1);
    let later = Snapshot::new(glance(9_700, 1), Some(&first), 2);
    assert_eq!((first.change, later.change), (1, 1));
    let since = |snapshot: &Snapshot| snapshot.package(&snapshot.packages()[0]).since;
    assert_eq!(since(&first), since(&later));
    let event = Snapshot::new(glance(9_800, 2), Some(&later), 3);
    assert_eq!(event.change, 2);
}

#[test]
fn a_clock_that_is_set_is_believed_and_rounding_is_not() {
    for (before, new, want) in
        [(None, 7, 7), (Some(7_000), 7_900, 7_000), (Some(7_000), 5_000, 7_000), (Some(7_000), 9_001, 9_001)]
    {
        assert_eq!(steady(before, new), want, "{before:?} {new}");
    }
}
