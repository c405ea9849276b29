//! A file while it comes, and after: who reads it waits for the byte that is next.
//!
//! Owns how far a file is and who is told. One thread writes, any number of readers read what is there already. The last
//! byte is shown to nobody before all were checked, so that no reader takes a damaged file for a whole one.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::watch;

use super::name::Name;
use super::shelf::Hold;

/// Why there are no bytes, or no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The mirror has them not, or not as its index says: a line that names it.
    Mirror(Arc<str>),
    /// The cache cannot keep them: whoever asks may go to the mirror.
    NoRoom,
    /// Too many wait already.
    Busy,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Mirror(text) => f.write_str(text),
            Trouble::NoRoom => f.write_str("the cache has no room"),
            Trouble::Busy => f.write_str("too many packages wait to be fetched"),
        }
    }
}

/// How far a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    /// The mirror has not said anything.
    Asked,
    /// So many bytes may be read.
    Bytes(u64),
    /// All of them, checked.
    Whole,
    /// It ends here.
    Broken(Trouble),
}

/// A file that comes.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) name: Name,
    pub(super) size: u64,
    /// Where it comes from.
    pub(super) url: String,
    /// The mirror that is, for what is remembered of it.
    pub(super) mirror: usize,
    source: Arc<Source>,
    progress: watch::Sender<Progress>,
}

/// Its bytes.
#[derive(Debug, Default)]
struct Source {
    file: OnceLock<File>,
    hold: Hold,
}

impl Coming {
    pub(super) fn new(name: Name, size: u64, url: String, mirror: usize) -> Coming {
        let progress = watch::Sender::new(Progress::Asked);
        Coming { name, size, url, mirror, source: Arc::default(), progress }
    }

    /// One that will read it.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            size: self.size,
            etag: format!("\"{}\"", self.name),
            source: self.source.clone(),
            progress: self.progress.subscribe(),
        }
    }

    /// The file that the bytes are written to.
    pub(super) fn begin(&self, file: File) -> &File {
        self.source.file.get_or_init(|| file)
    }

    /// The mirror has it: so many bytes are there.
    pub(super) fn came(&self, bytes: u64) {
        let shown = bytes.min(self.size.saturating_sub(1));
        self.progress.send_replace(Progress::Bytes(shown));
    }

    /// About how many bytes are still to be written.
    pub(super) fn rest(&self) -> u64 {
        match *self.progress.borrow() {
            Progress::Bytes(bytes) => self.size - bytes,
            _ => self.size,
        }
    }

    /// Keeps the file from being removed.
    pub(super) fn hold(&self) -> Hold {
        self.source.hold.clone()
    }

    /// All is there and right. From here on only readers hold the file.
    pub(super) fn is_whole(self: Arc<Coming>) {
        let progress = self.progress.clone();
        drop(self);
        progress.send_replace(Progress::Whole);
    }

    /// Nothing more comes.
    pub(super) fn is_broken(&self, trouble: Trouble) {
        self.progress.send_replace(Progress::Broken(trouble));
    }
}

/// One reader of a file. While there is one, the file stays.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Its length, bytes.
    pub(crate) size: u64,
    /// Its checksum as an `ETag`.
    pub(crate) etag: String,
    source: Arc<Source>,
    progress: watch::Receiver<Progress>,
}

impl Reading {
    /// Of a file that is there.
    pub(super) fn whole(name: &Name, size: u64, file: File, hold: Hold) -> Reading {
        let (_, progress) = watch::channel(Progress::Whole);
        let source = Arc::new(Source { file: OnceLock::from(file), hold });
        Reading { size, etag: format!("\"{name}\""), source, progress }
    }

    /// Returns once there is an answer: the mirror has it, or says no.
    ///
    /// # Errors
    /// Why it does not come.
    pub(crate) async fn is_there(&mut self) -> Result<(), Trouble> {
        self.see(|progress| match progress {
            Progress::Asked => None,
            Progress::Bytes(_) | Progress::Whole => Some(()),
            Progress::Broken(_) => None,
        })
        .await
    }

    /// Returns once there is a byte behind the first `at` of them; says how many there are.
    ///
    /// # Errors
    /// Why no more come.
    pub(crate) async fn beyond(&mut self, at: u64) -> Result<u64, Trouble> {
        let size = self.size;
        self.see(|progress| match progress {
            Progress::Bytes(bytes) if *bytes > at => Some(*bytes),
            Progress::Whole => Some(size),
            Progress::Asked | Progress::Bytes(_) | Progress::Broken(_) => None,
        })
        .await
    }

    /// Waits until this says something, or nothing more comes.
    async fn see<T>(&mut self, mut seen: impl FnMut(&Progress) -> Option<T>) -> Result<T, Trouble> {
        loop {
            {
                let progress = self.progress.borrow_and_update();
                if let Some(seen) = seen(&progress) {
                    return Ok(seen);
                }
                if let Progress::Broken(trouble) = &*progress {
                    return Err(trouble.clone());
                }
            }
            // Whoever fetched it is gone: the hub ends.
            self.progress.changed().await.map_err(|_| Trouble::Busy)?;
        }
    }

    /// Reads at most `max` bytes at `at`, which are there. Blocks.
    ///
    /// # Errors
    /// Those of pread(2).
    pub(crate) fn read(&self, at: u64, max: usize) -> io::Result<Bytes> {
        let file = self.source.file.get().ok_or(io::ErrorKind::NotFound)?;
        let mut buf = vec![0; max];
        let n = loop {
            match file.read_at(&mut buf, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.truncate(n);
        Ok(buf.into())
    }
}
