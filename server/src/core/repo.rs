//! Repo: the index over what is published.
//!
//! Owns which results are indexed, and batches: results that arrive while an index is being made go
//! into the next one. Never knows builders, never forgets a result: an index that failed is made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use moji_proto::message::EventKind;
use moji_proto::{FileName, Time};

use super::view::Event;
use super::{desk, queue};

/// Pause after an index that failed, milliseconds. It doubles with every further failure up to
/// [`RETRY_MS_MAX`].
const RETRY_MS: u64 = 5_000;
/// Longest such pause, milliseconds: a person who made room need not wait long.
const RETRY_MS_MAX: u64 = 300_000;
/// When superseded files of the index are looked at for deletion, milliseconds after an index went
/// live: as long as they stay, and a second for rounding.
const SWEEP_MS: u64 = crate::index::KEEP_OLD_MS + 1_000;

/// A result that may be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Folder in `repo/`.
    pub folder: String,
    /// Its RPM files.
    pub rpms: Vec<FileName>,
}

/// What repo is told.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A result was committed. (transfers)
    Published(Published),
    /// A result is no longer to be indexed. (desk)
    Withdraw {
        /// Its folder.
        folder: String,
    },
    /// The index that was being made is live, or could not be made. (shell)
    Indexed(Result<(), String>),
    /// Time passed. (shell)
    Tick,
}

/// What repo wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make and publish an index over exactly these files (paths relative to `repo/`), and say `Indexed`.
    Index(Vec<String>),
    /// Delete files of superseded indexes that have been kept long enough.
    Sweep,
    /// Tell the queue.
    Queue(queue::Msg),
    /// Tell the desk: an index is live.
    Desk(desk::Msg),
    /// A state change an operator reads about.
    Log(log::Level, String),
}

/// Whether an index is being made, and whether it is the last one needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The index says all.
    Clean,
    /// It does not; a new one is made at this time.
    Due(Time),
    /// A new one is being made; true if yet another will be needed.
    Running(bool),
}

/// The repo core.
#[derive(Debug)]
pub struct Repo {
    /// The folders that each RPM is published in, in that order: it is indexed from the last.
    rpms: BTreeMap<FileName, Vec<Arc<str>>>,
    state: State,
    /// How many RPMs the index that is being made holds.
    indexing: usize,
    /// Failures since the last index that went live.
    failures: u32,
    sweep_at: Option<Time>,
}

impl super::Core for Repo {
    type Msg = Msg;
    type Effect = Effect;

    fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        self.handle(now, msg, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.deadline()
    }

    fn tick() -> Msg {
        Msg::Tick
    }
}

impl Repo {
    /// Starts from what `repo/` holds, in the order in which it was committed. A commit just before a
    /// crash may be missing from the index, so the first tick, due at once, makes a new one.
    #[must_use]
    pub fn new(published: Vec<Published>) -> Repo {
        let mut repo = Repo {
            rpms: BTreeMap::new(),
            state: State::Due(Time(0)),
            indexing: 0,
            failures: 0,
            sweep_at: None,
        };
        published.into_iter().for_each(|published| repo.add(published));
        repo
    }

    /// A rebuild takes the place of what it rebuilds: dnf would take either of two with one name.
    fn add(&mut self, published: Published) {
        let Published { folder, rpms } = published;
        let folder: Arc<str> = folder.into();
        for rpm in rpms {
            let folders = self.rpms.entry(rpm).or_insert_with(|| Vec::with_capacity(1));
            folders.retain(|there| *there != folder);
            folders.push(folder.clone());
        }
    }

    /// What it rebuilt takes its place again, if that is still published.
    fn withdraw(&mut self, folder: &str) {
        self.rpms.retain(|_, folders| {
            folders.retain(|there| &**there != folder);
            !folders.is_empty()
        });
    }

    /// The index does not say all.
    fn is_due(&mut self, now: Time) {
        self.state = match self.state {
            State::Clean => State::Due(now),
            State::Running(_) => State::Running(true),
            // After a failure it waits for the pause to end with the others.
            due @ State::Due(_) => due,
        };
    }

    /// When it wants a `Tick`.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let due = match self.state {
            State::Due(at) => Some(at),
            State::Clean | State::Running(_) => None,
        };
        [due, self.sweep_at].into_iter().flatten().min()
    }

    /// Takes one message.
    pub fn handle(&mut self, now: Time, msg: Msg, out: &mut Vec<Effect>) {
        match msg {
            Msg::Withdraw { folder } => {
                self.withdraw(&folder);
                self.is_due(now);
            }
            Msg::Published(published) => {
                self.add(published);
                self.is_due(now);
            }
            Msg::Indexed(Ok(())) => {
                self.failures = 0;
                self.sweep_at = Some(now.plus_ms(SWEEP_MS));
                let again = self.state == State::Running(true);
                self.state = if again { State::Due(now) } else { State::Clean };
                out.push(Effect::Queue(queue::Msg::Published));
                let rpms = u32::try_from(self.indexing).unwrap_or(u32::MAX);
                out.push(Effect::Desk(desk::Msg::Indexed { rpms }));
                let text = format!("a new index is live: {} RPMs", self.indexing);
                out.push(Effect::Desk(desk::Msg::Event(Event::new(EventKind::Published, text))));
            }
            Msg::Indexed(Err(why)) => {
                let pause_ms = (RETRY_MS << self.failures.min(16)).min(RETRY_MS_MAX);
                self.failures += 1;
                self.state = State::Due(now.plus_ms(pause_ms));
                let seconds = pause_ms / 1_000;
                let text = format!("failed to publish the index: {why}; trying again in {seconds} s");
                out.push(Effect::Log(log::Level::Error, text));
            }
            Msg::Tick => {}
        }
        self.settle(now, out);
    }

    fn settle(&mut self, now: Time, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Due(at) if at <= now) {
            self.state = State::Running(false);
            self.indexing = self.rpms.len();
            let path = |(rpm, folders): (&FileName, &Vec<Arc<str>>)| {
                let folder = folders.last().expect("what is in no folder was taken out");
                format!("{folder}/{rpm}")
            };
            out.push(Effect::Index(self.rpms.iter().map(path).collect()));
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep_at = None;
            out.push(Effect::Sweep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(folder: &str) -> Published {
        Published { folder: folder.into(), rpms: vec![FileName::new(format!("{folder}.rpm")).unwrap()] }
    }

    fn step(repo: &mut Repo, at_ms: u64, msg: Msg) -> Vec<Effect> {
        let mut out = Vec::new();
        repo.handle(Time(at_ms), msg, &mut out);
        out
    }

    fn indexes(effects: &[Effect]) -> Vec<Vec<String>> {
        let index = |effect: &Effect| match effect {
            Effect::Index(paths) => Some(paths.clone()),
            _ => None,
        };
        effects.iter().filter_map(index).collect()
    }

    #[test]
    fn results_that_arrive_while_an_index_is_made_go_into_one_more() {
        let mut repo = Repo::new(vec![published("a-1-1")]);
        assert_eq!(repo.deadline(), Some(Time(0)));
        assert_eq!(indexes(&step(&mut repo, 0, Msg::Tick)), [["a-1-1/a-1-1.rpm"]]);
        for folder in ["b-1-1", "c-1-1@2"] {
            assert_eq!(indexes(&step(&mut repo, 1, Msg::Published(published(folder)))).len(), 0);
        }
        let out = step(&mut repo, 2, Msg::Indexed(Ok(())));
        assert!(matches!(out[0], Effect::Queue(queue::Msg::Published)));
        assert_eq!(indexes(&out), [["a-1-1/a-1-1.rpm", "b-1-1/b-1-1.rpm", "c-1-1@2/c-1-1@2.rpm"]]);
        let out = step(&mut repo, 3, Msg::Indexed(Ok(())));
        assert_eq!(indexes(&out).len(), 0);
        assert_eq!(repo.deadline(), Some(Time(3 + SWEEP_MS)));
        assert!(matches!(step(&mut repo, 3 + SWEEP_MS, Msg::Tick)[..], [Effect::Sweep]));
        assert_eq!(repo.deadline(), None);
    }

    #[test]
    fn rebuild_is_indexed_in_the_place_of_what_it_rebuilds() {
        let rpm = |name: &str| FileName::new(name).unwrap();
        let folder = |folder: &str, rpms: &[&str]| Published {
            folder: folder.into(),
            rpms: rpms.iter().copied().map(rpm).collect(),
        };
        let mut repo =
            Repo::new(vec![folder("a-1-1", &["a.rpm", "a-doc.rpm"]), folder("a-1-1@2", &["a.rpm"])]);
        let out = step(&mut repo, 0, Msg::Tick);
        assert_eq!(indexes(&out), [["a-1-1/a-doc.rpm", "a-1-1@2/a.rpm"]]);
        step(&mut repo, 0, Msg::Published(folder("a-1-1@3", &["a.rpm", "a-doc.rpm"])));
        let out = step(&mut repo, 0, Msg::Indexed(Ok(())));
        assert_eq!(indexes(&out), [["a-1-1@3/a-doc.rpm", "a-1-1@3/a.rpm"]]);
    }

    #[test]
    fn what_a_withdrawn_result_rebuilt_is_indexed_again() {
        let rpm = |name: &str| FileName::new(name).unwrap();
        let folder = |folder: &str, rpms: &[&str]| Published {
            folder: folder.into(),
            rpms: rpms.iter().copied().map(rpm).collect(),
        };
        let withdraw = |folder: &str| Msg::Withdraw { folder: folder.into() };
        let mut repo = Repo::new(vec![
            folder("a-1-1", &["a.rpm"]),
            folder("a-1-1@2", &["a.rpm", "a-doc.rpm"]),
            folder("a-1-1@3", &["a.rpm"]),
        ]);
        assert_eq!(indexes(&step(&mut repo, 0, Msg::Tick)), [["a-1-1@2/a-doc.rpm", "a-1-1@3/a.rpm"]]);
        // While an index is made it asks for one more, and a folder in the middle is nobody's loss.
        assert_eq!(indexes(&step(&mut repo, 0, withdraw("a-1-1@2"))).len(), 0);
        assert_eq!(indexes(&step(&mut repo, 0, Msg::Indexed(Ok(())))), [["a-1-1@3/a.rpm"]]);
        step(&mut repo, 0, Msg::Indexed(Ok(())));
        assert_eq!(indexes(&step(&mut repo, 0, withdraw("a-1-1@3"))), [["a-1-1/a.rpm"]]);
        step(&mut repo, 0, Msg::Indexed(Ok(())));
        let none: [[&str; 0]; 1] = [[]];
        assert_eq!(indexes(&step(&mut repo, 0, withdraw("a-1-1"))), none);
    }

    #[test]
    fn an_index_that_fails_is_made_again_after_growing_pauses_and_nothing_is_forgotten() {
        let mut repo = Repo::new(Vec::new());
        step(&mut repo, 0, Msg::Tick);
        step(&mut repo, 0, Msg::Published(published("a-1-1")));
        let mut now = 0;
        for pause_ms in [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000] {
            let out = step(&mut repo, now, Msg::Indexed(Err("no".into())));
            assert!(matches!(&out[..], [Effect::Log(log::Level::Error, _)]), "{out:?}");
            assert_eq!(repo.deadline(), Some(Time(now + pause_ms)));
            assert_eq!(indexes(&step(&mut repo, now + 1, Msg::Published(published("b-1-1")))).len(), 0);
            now += pause_ms;
            let out = step(&mut repo, now, Msg::Tick);
            assert_eq!(indexes(&out), [["a-1-1/a-1-1.rpm", "b-1-1/b-1-1.rpm"]]);
        }
        let out = step(&mut repo, now, Msg::Indexed(Ok(())));
        assert!(
            matches!(
                out[..],
                [
                    Effect::Queue(queue::Msg::Published),
                    Effect::Desk(desk::Msg::Indexed { rpms: 2 }),
                    Effect::Desk(_)
                ]
            ),
            "{out:?}"
        );
    }
}
