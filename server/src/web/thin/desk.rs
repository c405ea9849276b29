//! Which lease has which repository.
//!
//! Owns when a repository is made: when somebody reads it, once, on a thread that may block, while all who ask wait for it.
//! Those that were not read for the longest time are forgotten when they take too much, and made again when somebody asks.
//! Knows nothing of how one is made, and promises nothing after a restart: whoever leases offers again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moji_proto::LeaseId;
use tokio::sync::watch;

use crate::core::types::BuilderId;
use crate::thin::write::Thin;

/// Most leases: more than one hub has boards.
const LEASES_MAX: usize = 16_384;
/// Most that all repositories take in memory, bytes: four hundred of a usual size, and each is read within a few minutes.
const BYTES_MAX: usize = 128 << 20;
/// What a package takes in memory beside its texts, bytes.
const PAYLOAD_BYTES: usize = 200;
/// How long it counts that one cannot be made.
const FAILED_FRESH: Duration = Duration::from_secs(2);

/// Makes the repository of a lease, or says in a line why it cannot be made yet. Blocks for as long as it likes.
pub type Ask = Box<dyn Fn() -> Result<Thin, String> + Send + Sync>;

/// The repositories of all leases; clones are the same.
#[derive(Clone)]
pub struct Thins {
    state: Arc<Mutex<State>>,
    bytes_max: usize,
}

/// What changes.
#[derive(Default)]
struct State {
    needs: HashMap<LeaseId, Need>,
    turn: u64,
}

/// What a lease needs.
struct Need {
    /// Whose lease it is: the digits that paths have.
    builder: String,
    /// When it was offered: a larger number is later.
    offered: u64,
    /// When it was read last, likewise.
    used: u64,
    making: Arc<Making>,
}

/// One repository.
struct Making {
    ask: Ask,
    made: watch::Sender<Made>,
}

/// How far it is.
enum Made {
    Not,
    Now,
    /// With what it takes in memory, bytes.
    Done(Arc<Thin>, usize),
    Failed(Instant, String),
}

/// Why there is no repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// There is no such lease.
    Unknown,
    /// It cannot be made yet.
    NotYet(String),
}

impl Default for Thins {
    fn default() -> Thins {
        Thins { state: Arc::default(), bytes_max: BYTES_MAX }
    }
}

impl Thins {
    /// From here on the lease has a repository, and so has its builder.
    pub fn offer(&self, lease: LeaseId, builder: &BuilderId, ask: Ask) {
        let mut state = self.lock();
        state.turn += 1;
        let turn = state.turn;
        let making = Making::new(ask);
        state.needs.insert(lease, Need { builder: builder.fingerprint(), offered: turn, used: turn, making });
        if state.needs.len() > LEASES_MAX {
            let oldest = state.needs.iter().min_by_key(|(_, need)| need.offered).map(|(lease, _)| *lease);
            oldest.and_then(|lease| state.needs.remove(&lease));
        }
    }

    /// The lease has another repository from here on: the one before lacked something. Whoever reads that one keeps it.
    pub fn widen(&self, lease: LeaseId, ask: Ask) {
        if let Some(need) = self.lock().needs.get_mut(&lease) {
            need.making = Making::new(ask);
        }
    }

    /// The lease is over.
    pub fn end(&self, lease: LeaseId) {
        self.lock().needs.remove(&lease);
    }

    /// The repository of a lease, or of the newest lease of a builder. Makes it if nobody has; returns when it is there.
    pub(super) async fn thin(&self, which: &str) -> Result<Arc<Thin>, Miss> {
        let (lease, making) = self.find(which).ok_or(Miss::Unknown)?;
        let mut seen = making.made.subscribe();
        loop {
            // It may be forgotten between the moment that it is there and the moment that this reader looks.
            if making.begin() {
                self.make(lease, &making);
            }
            match &*seen.borrow_and_update() {
                Made::Done(thin, _) => return Ok(Arc::clone(thin)),
                Made::Failed(_, why) => return Err(Miss::NotYet(why.clone())),
                Made::Not | Made::Now => {}
            }
            seen.changed().await.map_err(|_| Miss::NotYet("the hub is ending".to_owned()))?;
        }
    }

    /// Makes a repository, in a task of its own: who asked first may go away, and all others wait.
    fn make(&self, lease: LeaseId, making: &Arc<Making>) {
        let (thins, making) = (self.clone(), Arc::clone(making));
        tokio::spawn(async move {
            let maker = Arc::clone(&making);
            let made = match tokio::task::spawn_blocking(move || (maker.ask)()).await {
                Ok(Ok(thin)) => {
                    let bytes = weight(&thin);
                    Made::Done(Arc::new(thin), bytes)
                }
                Ok(Err(why)) => Made::Failed(Instant::now(), why),
                Err(error) => Made::Failed(Instant::now(), error.to_string()),
            };
            making.made.send_replace(made);
            thins.trim(lease);
        });
    }

    fn find(&self, which: &str) -> Option<(LeaseId, Arc<Making>)> {
        let mut state = self.lock();
        let lease = match lease(which) {
            Some(lease) => lease,
            None => {
                let of_builder = state.needs.iter().filter(|(_, need)| need.builder == which);
                *of_builder.max_by_key(|(_, need)| need.offered)?.0
            }
        };
        state.turn += 1;
        let turn = state.turn;
        let need = state.needs.get_mut(&lease)?;
        need.used = turn;
        Some((lease, Arc::clone(&need.making)))
    }

    /// Forgets what was not read for the longest time, if all together take too much. The newest stays.
    fn trim(&self, newest: LeaseId) {
        let state = self.lock();
        let bytes = |need: &Need| match &*need.making.made.borrow() {
            Made::Done(_, bytes) => *bytes,
            _ => 0,
        };
        let mut sum: usize = state.needs.values().map(bytes).sum();
        let mut others: Vec<_> = state.needs.iter().filter(|(lease, _)| **lease != newest).collect();
        others.sort_by_key(|(_, need)| need.used);
        for (_, need) in others {
            if sum <= self.bytes_max {
                return;
            }
            let gone = bytes(need);
            if gone > 0 {
                sum -= gone;
                need.making.made.send_replace(Made::Not);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Making {
    fn new(ask: Ask) -> Arc<Making> {
        Arc::new(Making { ask, made: watch::Sender::new(Made::Not) })
    }

    /// Whether it is to be made now, by whoever is told so.
    fn begin(&self) -> bool {
        self.made.send_if_modified(|made| {
            let is_wanted = match made {
                Made::Not => true,
                Made::Failed(at, _) => at.elapsed() >= FAILED_FRESH,
                Made::Now | Made::Done(..) => false,
            };
            if is_wanted {
                *made = Made::Now;
            }
            is_wanted
        })
    }
}

/// A lease as it is written.
fn lease(text: &str) -> Option<LeaseId> {
    let (incarnation, counter) = text.split_once('-')?;
    let lease = LeaseId { incarnation: incarnation.parse().ok()?, counter: counter.parse().ok()? };
    (lease.to_string() == text).then_some(lease)
}

/// What a repository takes in memory, bytes.
fn weight(thin: &Thin) -> usize {
    let files: usize = thin.files.iter().map(|(name, bytes)| name.len() + bytes.len()).sum();
    let payload = |(path, payload): (&String, &crate::thin::write::Payload)| {
        PAYLOAD_BYTES + path.len() + payload.href.len() + payload.checksum.1.len()
    };
    thin.repomd.len() + files + thin.payloads.iter().map(payload).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use moji_proto::PublicKey;

    use super::*;

    fn id(counter: u32) -> LeaseId {
        LeaseId { incarnation: 7, counter }
    }

    /// A repository of so many bytes that counts how often it is made.
    fn ask(bytes: usize, made: &Arc<AtomicUsize>) -> Ask {
        let made = Arc::clone(made);
        Box::new(move || {
            made.fetch_add(1, Ordering::Relaxed);
            Ok(Thin { repomd: vec![b'x'; bytes], ..Thin::default() })
        })
    }

    fn block<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_repository_is_made_once_when_it_is_read_and_found_by_lease_and_by_builder() {
        let (thins, made) = (Thins::default(), Arc::<AtomicUsize>::default());
        let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
        thins.offer(id(1), &one, ask(1, &made));
        thins.offer(id(2), &one, ask(2, &made));
        thins.offer(id(3), &other, ask(3, &made));
        assert_eq!(made.load(Ordering::Relaxed), 0);
        block(async {
            let len = async |which: &str| thins.thin(which).await.map(|thin| thin.repomd.len());
            let many: Vec<_> = (0..60)
                .map(|_| {
                    let thins = thins.clone();
                    tokio::spawn(async move { thins.thin("7-1").await.map(|thin| thin.repomd.len()) })
                })
                .collect();
            for asker in many {
                assert_eq!(asker.await.unwrap(), Ok(1));
            }
            assert_eq!(made.load(Ordering::Relaxed), 1);
            assert_eq!(len(&one.fingerprint()).await, Ok(2));
            assert_eq!(len(&other.fingerprint()).await, Ok(3));
            for unknown in ["7-4", "07-1", "7-1-1", "", "-", "7", &one.to_string(), &"0".repeat(16)] {
                assert_eq!(len(unknown).await, Err(Miss::Unknown), "{unknown}");
            }
            let kept = thins.thin("7-2").await.unwrap();
            thins.widen(id(2), ask(20, &made));
            thins.widen(id(9), ask(20, &made));
            assert_eq!(len("7-2").await, Ok(20));
            thins.end(id(2));
            assert_eq!(len("7-2").await, Err(Miss::Unknown));
            assert_eq!(len(&one.fingerprint()).await, Ok(1));
            assert_eq!(kept.repomd.len(), 2);
            assert_eq!(len("7-9").await, Err(Miss::Unknown));
        });
    }

    #[test]
    fn what_cannot_be_made_yet_is_asked_for_again_after_a_moment() {
        let (thins, made) = (Thins::default(), Arc::<AtomicUsize>::default());
        let asked = Arc::clone(&made);
        let ask = move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err("mainline is not known yet".to_owned()),
            _ => Ok(Thin::default()),
        };
        thins.offer(id(1), &PublicKey([1; 32]), Box::new(ask));
        block(async {
            let no = Err(Miss::NotYet("mainline is not known yet".to_owned()));
            assert_eq!(thins.thin("7-1").await.map(|_| ()), no);
            assert_eq!(thins.thin("7-1").await.map(|_| ()), no);
            assert_eq!(made.load(Ordering::Relaxed), 1);
            let (_, making) = thins.find("7-1").unwrap();
            making.made.send_modify(|made| {
                if let Made::Failed(at, _) = made {
                    *at -= FAILED_FRESH;
                }
            });
            assert!(thins.thin("7-1").await.is_ok());
            assert_eq!(made.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn too_many_bytes_are_forgotten_the_longest_unread_first_and_made_again() {
        let thins = Thins { bytes_max: 2_500, ..Thins::default() };
        let counts: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
        for (at, made) in (1..).zip(&counts) {
            thins.offer(id(at), &PublicKey([1; 32]), ask(1_000, made));
        }
        let made = || counts.iter().map(|made| made.load(Ordering::Relaxed)).collect::<Vec<_>>();
        block(async {
            for which in ["7-1", "7-2", "7-1", "7-3", "7-3", "7-1"] {
                thins.thin(which).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(made(), [1, 1, 1]);
            thins.thin("7-2").await.unwrap();
            assert_eq!(made(), [1, 2, 1]);
        });
    }
}
