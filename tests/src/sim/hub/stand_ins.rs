//! What stands for the world around the hub: its clock, `createrepo_c`, `history.db`.
//!
//! Owns no decision and no chance.

use super::*;

/// The hub's clock.
#[derive(Default)]
pub(super) struct SimClock {
    now_ms: AtomicU64,
    unix_s: AtomicU64,
}

impl SimClock {
    pub(super) fn set(&self, now_ms: u64, unix_s: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.unix_s.store(unix_s, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        Time(self.now_ms.load(Ordering::Relaxed))
    }

    fn unix_s(&self) -> u64 {
        self.unix_s.load(Ordering::Relaxed)
    }
}

/// Stands for `createrepo_c`: the index is the list itself.
pub(super) struct FakeCreaterepo {
    pub(super) disk: SimDisk,
    pub(super) fails: Arc<Mutex<bool>>,
}

impl Program for FakeCreaterepo {
    fn make(&self, _: &Path, out: &Path, list: &Path) -> Result<(), IndexError> {
        if *self.fails.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(IndexError::Failed("the simulation says so".to_owned()));
        }
        let list = self.disk.bytes(list.to_str().expect("text")).unwrap_or_default();
        let name = format!("{}-primary.xml", moji_proto::Digest::of(&list));
        let out = out.to_str().expect("text");
        let write = |name: &str, bytes: &[u8]| -> io::Result<()> {
            self.disk.create(Path::new(&format!("{out}/repodata/{name}")))?.write_at(bytes, 0)
        };
        let made = self
            .disk
            .create_dir(Path::new(&format!("{out}/repodata")))
            .and_then(|()| write(&name, &list))
            .and_then(|()| write("repomd.xml", format!("<location href=\"repodata/{name}\"/>").as_bytes()));
        made.map_err(|error| IndexError::Failed(error.to_string()))
    }
}

/// What the hub remembers in `history.db`.
#[derive(Debug, Default)]
pub(in crate::sim) struct Memory {
    pub(super) charged: BTreeMap<FileName, Vec<(Verdict, String)>>,
    pub(super) target: Option<String>,
}

impl Memory {
    pub(super) fn note(&mut self, note: &Note) {
        match note {
            Note::Ended { srpm, verdict, reason, charged: true, .. } => {
                self.charged.entry(srpm.clone()).or_default().push((*verdict, reason.clone()));
            }
            Note::Ended { srpm, verdict: Verdict::Success | Verdict::Failed | Verdict::Excluded, .. }
            | Note::Afresh { srpm } => {
                self.charged.remove(srpm);
            }
            Note::Target { arch } => self.target = Some(arch.clone()),
            // For operators only, and there are none here.
            Note::EndedAs { .. } | Note::Told { .. } | Note::Event(_) => {}
            Note::Ended { .. } | Note::Began { .. } | Note::Builder(_) => {}
        }
    }
}
