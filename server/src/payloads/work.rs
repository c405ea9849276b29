//! The threads that fetch.
//!
//! Owns making room, fetching, trying again, and checking. Each takes one file after the other. A mirror can have any of
//! them wait, for a time that is bounded; it never makes one write more than the index said, or end.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use moji_proto::Time;

use super::coming::{Coming, Trouble};
use super::{Scope, Shared, State, TROUBLE_MS, TROUBLES_MAX};
use crate::mainline::fetch::{FetchError, Part, Seal};

/// How often the cache looks whether the disk has become full, when there is nothing to fetch.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Pauses before a file that broke off is asked for again, milliseconds. After the last one without a new byte it is
/// given up; dnf asks again by itself.
const PAUSES_MS: [u64; 4] = [100, 500, 2_000, 5_000];
/// Time for a file, whatever its length, milliseconds …
const FILE_MS: u64 = 600_000;
/// … and more for each so many bytes: a mirror that is slower than 16 KB/s is not to keep a thread busy.
const BYTES_PER_MS: u64 = 16;
/// What is read at once, bytes.
const READ_BYTES: usize = 64 * 1024;
/// Beside what the hub wants to stay free, this part of it stays free too: it leases nothing otherwise, and the
/// cache is to go first.
const FLOOR_SHARE: u64 = 4;

/// Why a file did not come.
#[derive(Debug)]
enum Why {
    /// The mirror has another answer, or none.
    Fetch(FetchError),
    /// It stops coming.
    Stopped(io::Error),
    /// It is not what the index says.
    Other(&'static str),
    /// It is longer on its way than any mirror worth the name takes.
    TooSlow,
    /// The cache has no room.
    NoRoom,
    /// The state folder does not take it.
    Disk(io::Error),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Fetch(error) => error.fmt(f),
            Why::Stopped(error) => write!(f, "it stops coming: {error}"),
            Why::Other(what) => {
                write!(
                    f,
                    "it has another {what} than the index says: the mirror is being changed, or damaged"
                )
            }
            Why::TooSlow => f.write_str("it comes too slowly"),
            Why::NoRoom => f.write_str("the cache has no room for it"),
            Why::Disk(error) => write!(f, "the cache cannot write it: {error}"),
        }
    }
}

impl Why {
    /// Whether all files of that mirror would fail likewise; None if nothing is to be remembered.
    fn is_of_mirror(&self) -> Option<bool> {
        match self {
            Why::Fetch(FetchError::Status(status)) => {
                Some(status.is_server_error() || status.as_u16() == 429)
            }
            Why::Fetch(FetchError::Http(_)) | Why::TooSlow => Some(true),
            Why::Fetch(FetchError::Range | FetchError::Io(_)) | Why::Stopped(_) => Some(false),
            // The next who asks has it fetched anew.
            Why::Other(_) | Why::NoRoom | Why::Disk(_) => None,
        }
    }

    /// Whether the rest may come if it is asked for again.
    fn is_passing(&self) -> bool {
        match self {
            Why::Stopped(_) | Why::Fetch(FetchError::Http(_)) => true,
            Why::Fetch(FetchError::Status(status)) => status.is_server_error() || status.as_u16() == 429,
            _ => false,
        }
    }
}

/// Fetches what is asked for until nobody can ask any more.
pub(super) fn run(shared: &Shared, inbox: &Receiver<Arc<Coming>>) {
    loop {
        match inbox.recv_timeout(LOOK_EVERY) {
            Ok(coming) => shared.get(coming),
            Err(RecvTimeoutError::Timeout) => {
                shared.make_room(&mut shared.lock(), 0);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Shared {
    /// Fetches one file, and tells all who read it how that ended.
    fn get(&self, coming: Arc<Coming>) {
        let has_room = {
            let mut state = self.lock();
            let has_room = self.make_room(&mut state, coming.size);
            state.reserved_bytes += if has_room { coming.size } else { 0 };
            has_room
        };
        let path = self.lock().shelf.path_coming(&coming.name);
        let fetched = match has_room {
            true => Download::new(self, &coming, &path).and_then(Download::run),
            false => Err(Why::NoRoom),
        };
        let kept = fetched.and_then(|()| self.keep(&coming, &path));
        let mut state = self.lock();
        state.reserved_bytes -= if has_room { coming.size } else { 0 };
        state.coming.remove(&coming.name);
        match kept {
            Ok(()) => {
                state.shelf.put(coming.name.clone(), coming.size, self.clock.unix_s(), coming.hold());
                if std::mem::take(&mut state.away[coming.mirror]) {
                    log::info!("cache: {} gives packages again", self.places[coming.mirror]);
                }
                drop(state);
                coming.is_whole();
            }
            Err(why) => {
                let _ = fs::remove_file(&path);
                let trouble = self.failed(&mut state, &coming, &why);
                drop(state);
                coming.is_broken(trouble);
            }
        }
    }

    /// Gives a file that is whole its name. Its bytes survive a power cut before it has it.
    fn keep(&self, coming: &Coming, path: &Path) -> Result<(), Why> {
        let name = self.lock().shelf.path(&coming.name);
        fs::rename(path, name).map_err(Why::Disk)
    }

    /// Remembers what failed, and says so once.
    fn failed(&self, state: &mut State, coming: &Coming, why: &Why) -> Trouble {
        let line = format!("{}: {why}", coming.url);
        let is_news = match why.is_of_mirror() {
            Some(true) => !std::mem::replace(&mut state.away[coming.mirror], true),
            _ => true,
        };
        if matches!(why, Why::NoRoom) {
            log::debug!("cache: {line}: the board is sent there");
            return Trouble::NoRoom;
        }
        state.stats.failures += 1;
        log::log!(
            if is_news { log::Level::Warn } else { log::Level::Debug },
            "cache: failed to fetch {line}"
        );
        if matches!(why, Why::Disk(_)) {
            return Trouble::NoRoom;
        }
        let line: Arc<str> = line.into();
        if let Some(of_mirror) = why.is_of_mirror()
            && state.troubles.len() < TROUBLES_MAX
        {
            let scope =
                if of_mirror { Scope::Mirror(coming.mirror) } else { Scope::File(coming.name.clone()) };
            state.troubles.insert(scope, (self.clock.now().plus_ms(TROUBLE_MS), line.clone()));
        }
        Trouble::Mirror(line)
    }

    /// Removes files until there is room for so many bytes more; says whether there is.
    fn make_room(&self, state: &mut State, bytes: u64) -> bool {
        // A disk that does not tell is not known to be full.
        let (free, floor) = (self.space)().unwrap_or((u64::MAX, 0));
        let rest: u64 = state.coming.values().map(|coming| coming.rest()).sum();
        let rest = rest.min(state.reserved_bytes).saturating_add(bytes);
        let mut lacking = floor.saturating_add(floor / FLOOR_SHARE).saturating_add(rest).saturating_sub(free);
        let most = state.reserved_bytes.saturating_add(bytes);
        if bytes > 0 && (lacking > state.shelf.bytes() || most > self.bytes_max) {
            // All that goes would go for nothing, but for what the hub itself needs.
            self.make_room(state, 0);
            return false;
        }
        loop {
            let taken = state.shelf.bytes().saturating_add(state.reserved_bytes).saturating_add(bytes);
            if taken <= self.bytes_max && lacking == 0 {
                return true;
            }
            match state.shelf.evict() {
                Some(gone) => {
                    state.stats.evictions += 1;
                    lacking = lacking.saturating_sub(gone);
                }
                None => return false,
            }
        }
    }
}

/// A file that is being fetched.
struct Download<'a> {
    shared: &'a Shared,
    coming: &'a Coming,
    file: &'a File,
    hasher: Box<dyn sha2::digest::DynDigest>,
    /// So many bytes are written.
    at: u64,
    seal: Seal,
    until: Time,
}

impl<'a> Download<'a> {
    fn new(shared: &'a Shared, coming: &'a Coming, path: &Path) -> Result<Download<'a>, Why> {
        let file = create(path).map_err(Why::Disk)?;
        let until = shared.clock.now().plus_ms(FILE_MS + coming.size / BYTES_PER_MS);
        let (file, hasher) = (coming.begin(file), coming.name.hasher());
        Ok(Download { shared, coming, file, hasher, at: 0, seal: Seal::default(), until })
    }

    /// Fetches all of it, in as many pieces as it takes.
    fn run(mut self) -> Result<(), Why> {
        let mut in_vain = 0;
        loop {
            let before = self.at;
            let why = match self.once() {
                Ok(()) => return self.check(),
                Err(why) => why,
            };
            // Who was never reached is not waited for: dnf is told, and asks again when it likes.
            let is_begun = self.at > 0 || matches!(why, Why::Stopped(_));
            if self.at > before {
                in_vain = 0;
            }
            let pause_ms = PAUSES_MS.get(in_vain).filter(|_| is_begun && why.is_passing());
            let Some(pause_ms) = pause_ms else { return Err(why) };
            log::debug!("cache: {} at {}: {why}: once more", self.coming.url, self.at);
            in_vain += 1;
            std::thread::sleep(Duration::from_millis(*pause_ms));
        }
    }

    /// Asks for the rest, and writes what comes.
    fn once(&mut self) -> Result<(), Why> {
        let part = self.shared.fetcher.part(&self.coming.url, self.at, &self.seal).map_err(Why::Fetch)?;
        let Part { mut body, at: mut from, whole, seal } = part;
        if whole.is_some_and(|whole| whole != self.coming.size) {
            return Err(Why::Other("size"));
        }
        self.seal = seal;
        self.coming.came(self.at);
        let mut buf = vec![0; READ_BYTES];
        loop {
            if self.shared.clock.now() > self.until {
                return Err(Why::TooSlow);
            }
            let n = match body.read(&mut buf) {
                Ok(0) if from == self.coming.size => return Ok(()),
                Ok(0) => return Err(Why::Stopped(ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Why::Stopped(error)),
            };
            self.shared.lock().stats.fetched_bytes += n as u64;
            // A server that begins anew sends what is there once more.
            let known = usize::try_from(self.at - from).map_or(n, |known| known.min(n));
            from += n as u64;
            if from > self.coming.size {
                return Err(Why::Other("size"));
            }
            let bytes = &buf[known..n];
            self.file.write_all_at(bytes, self.at).map_err(Why::Disk)?;
            self.hasher.update(bytes);
            self.at += bytes.len() as u64;
            self.coming.came(self.at);
        }
    }

    fn check(self) -> Result<(), Why> {
        if !self.coming.name.is(&self.hasher.finalize()) {
            return Err(Why::Other("checksum"));
        }
        self.file.sync_data().map_err(Why::Disk)
    }
}

/// A new file, in a folder that somebody may have deleted.
fn create(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Somebody may still read one that broke off.
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).write(true).create_new(true).open(path)
}
