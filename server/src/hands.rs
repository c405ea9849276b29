//! Noticing what people do in `repo/`: RPMs they put there, RPMs and folders they take away.
//!
//! Owns the inotify descriptor on `repo/` and what was seen there last. What happens at the top is heard of at once;
//! folders are told by their time of change, every few seconds, because a watch on each of thousands would take what
//! other programs need. Tells repo, decides nothing, and never writes. Links to files count, links to folders do not.
//!
//! | in `repo/` | is |
//! |---|---|
//! | a folder with a `result.json` | a hub's: only its RPMs' being there is told |
//! | any other folder, also inside another; the top itself | people's: all its whole RPMs are told |
//! | `repodata`, and what begins with a dot | nobody's |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, Sender, unbounded};
use inotify::{Inotify, WatchMask};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};

use crate::actors::{spawn, tell};
use crate::core::repo::{Found, Msg, Seen, Stamp};
use crate::result_json;
use crate::rpmfile::expected_file_len;

/// How often folders' times of change are looked at, seconds: 8,000 of them take some milliseconds.
const LOOK_EVERY_S: u64 = 10;
/// How often, while something is still changing, seconds.
const LOOK_SOON_S: u64 = 2;
/// What changed less than so many seconds ago may change again without getting another time.
const SETTLED_S: u64 = 2;
/// What was there at the start and may still be changing is waited for so long before an index without it may take the
/// place of an old one that has it.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(5);
/// A file that is shorter than it says and has not grown for so long is truncated, seconds.
const TRUNCATED_AFTER_S: u64 = 60;
/// Folders inside folders are looked into so deep.
const DEPTH_MAX: usize = 8;
/// Folders told of in one message.
const SEEN_MAX: usize = 256;
/// Bytes of events read at once: some 60 of the longest names.
const EVENT_BYTES: usize = 16 * 1024;
const INOTIFY: Token = Token(0);
const WAKER: Token = Token(1);

/// Reaches the thread from any other.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

enum Command {
    LookAgain,
    Stop,
}

impl Handle {
    /// Has everything looked at again (SIGHUP).
    pub fn look_again(&self) {
        self.command(Command::LookAgain);
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: Command) {
        tell(&self.commands, command);
        if let Err(error) = self.waker.wake() {
            log::error!("failed to wake who looks at the repository: {error}");
        }
    }
}

/// Starts to look at `repo`; begins with all of it.
///
/// # Errors
/// Those of inotify(7) and epoll(7).
///
/// # Panics
/// If the system has no thread left.
pub fn start(repo: PathBuf, to: Sender<Msg>) -> io::Result<(Handle, JoinHandle<()>)> {
    let inotify = Inotify::init()?;
    let moves = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
    inotify.watches().add(&repo, moves | WatchMask::CLOSE_WRITE)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&inotify.as_raw_fd()), INOTIFY, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, commands) = unbounded();
    let thread = spawn("hands", move || {
        let hands = Hands::new(repo);
        if let Err(error) = run(hands, inotify, &mut poll, &commands, &to) {
            log::error!("failed to look at the repository: what people do there is not noticed: {error}");
        }
    });
    Ok((Handle { commands: sender, waker }, thread))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn run(
    mut hands: Hands,
    mut inotify: Inotify,
    poll: &mut Poll,
    commands: &Receiver<Command>,
    to: &Sender<Msg>,
) -> io::Result<()> {
    let mut ready = mio::Events::with_capacity(2);
    hands.look(now_s(), to);
    let started = Instant::now();
    let (mut looked, mut is_all_seen) = (started, false);
    loop {
        if !is_all_seen && (!hands.changing || started.elapsed() >= FIRST_LOOK_MAX) {
            tell(to, Msg::AllSeen);
            is_all_seen = true;
        }
        let pause = Duration::from_secs(if hands.changing { LOOK_SOON_S } else { LOOK_EVERY_S });
        match poll.poll(&mut ready, Some(pause.saturating_sub(looked.elapsed()))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        while let Ok(command) = commands.try_recv() {
            match command {
                Command::LookAgain => {
                    tell(to, Msg::LookAgain);
                    hands.forget();
                    hands.look(now_s(), to);
                }
                Command::Stop => return Ok(()),
            }
        }
        let mut all = looked.elapsed() >= pause;
        match changed_names(&mut inotify)? {
            Some(names) => all |= hands.look_at(&names, now_s(), to),
            None => all = true,
        }
        if all {
            hands.look(now_s(), to);
            looked = Instant::now();
        }
    }
}

/// Names at the top that something happened to; None if too much did.
fn changed_names(inotify: &mut Inotify) -> io::Result<Option<BTreeSet<String>>> {
    let mut buffer = [0; EVENT_BYTES];
    let mut names = BTreeSet::new();
    let mut all = true;
    loop {
        let events = match inotify.read_events(&mut buffer) {
            Ok(events) => events,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(all.then_some(names)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for event in events {
            match event.name.and_then(|name| name.to_str()) {
                Some(name) => names.extend((!name.starts_with('.')).then(|| name.to_owned())),
                None => all = false,
            }
        }
    }
}

/// What a file was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    len: u64,
    modified_ns: u64,
    /// Since when it is like that, unix seconds.
    since_s: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As long as it says.
    Whole,
    /// Not yet.
    Growing,
    /// Nothing to index; it has been named.
    Bad,
}

/// A folder as it was seen last.
#[derive(Debug, Default)]
struct Folder {
    /// When its names changed last, nanoseconds since 1970; None if they must be read again.
    modified_ns: Option<u64>,
    is_result: bool,
    /// Of people's: their RPMs.
    files: BTreeMap<String, Seat>,
    /// Of people's: folders in it.
    inside: BTreeSet<String>,
    /// What was told of it.
    told: Vec<Found>,
}

/// Looks at `repo/`.
struct Hands {
    repo: PathBuf,
    folders: BTreeMap<String, Folder>,
    /// Something may change again soon.
    changing: bool,
    seen: Vec<Seen>,
}

fn modified_ns(metadata: &Metadata) -> u64 {
    let seconds = metadata.mtime().max(0).unsigned_abs();
    seconds.saturating_mul(1_000_000_000) + metadata.mtime_nsec().unsigned_abs()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The path of what is in a folder, relative to `repo/`.
fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

impl Hands {
    fn new(repo: PathBuf) -> Hands {
        Hands { repo, folders: BTreeMap::new(), changing: false, seen: Vec::new() }
    }

    /// Everything counts as new.
    fn forget(&mut self) {
        for folder in self.folders.values_mut() {
            folder.modified_ns = None;
            folder.files.clear();
        }
    }

    /// Looks at all folders and tells what changed.
    fn look(&mut self, now_s: u64, to: &Sender<Msg>) {
        self.changing = false;
        self.folder("", 0, now_s, to);
        self.flush(to);
    }

    /// Looks at these names at the top. True if everything must be looked at, because something lies at the top
    /// itself.
    fn look_at(&mut self, names: &BTreeSet<String>, now_s: u64, to: &Sender<Msg>) -> bool {
        let mut files = false;
        for name in names {
            match fs::symlink_metadata(self.repo.join(name)) {
                Ok(metadata) if metadata.is_dir() && is_folder_name(name) => {
                    if let Some(top) = self.folders.get_mut("") {
                        top.inside.insert(name.clone());
                    }
                    self.folder(name, 1, now_s, to);
                }
                _ if self.folders.contains_key(name) => self.folder(name, 1, now_s, to),
                _ => files |= name.ends_with(".rpm"),
            }
        }
        self.flush(to);
        files
    }

    fn flush(&mut self, to: &Sender<Msg>) {
        if !self.seen.is_empty() {
            tell(to, Msg::ByHand(std::mem::take(&mut self.seen)));
        }
    }

    fn tell(&mut self, seen: Seen, to: &Sender<Msg>) {
        self.seen.push(seen);
        if self.seen.len() >= SEEN_MAX {
            self.flush(to);
        }
    }

    /// Looks at a folder and at those in it.
    fn folder(&mut self, name: &str, depth: usize, now_s: u64, to: &Sender<Msg>) {
        let path = self.repo.join(name);
        let modified = match fs::metadata(&path) {
            Ok(metadata) => modified_ns(&metadata),
            Err(error) if is_absent(&error) => return self.gone(name, to),
            Err(error) => return log::warn!("failed to look at '{}': {error}", path.display()),
        };
        let mut folder = self.folders.remove(name).unwrap_or_default();
        let is_new = folder.modified_ns != Some(modified);
        let inside_before = folder.inside.clone();
        if is_new {
            if let Err(error) = list(&path, depth, &mut folder) {
                log::warn!("failed to list '{}': {error}", path.display());
            } else {
                let settled = now_s.saturating_sub(modified / 1_000_000_000) >= SETTLED_S;
                folder.modified_ns = settled.then_some(modified);
                self.changing |= !settled;
            }
        }
        let found = if folder.is_result {
            folder.files.keys().map(|name| Found { name: name.clone(), stamp: Stamp::default() }).collect()
        } else {
            self.files(&path, &mut folder, now_s)
        };
        if found != folder.told || folder.is_result && is_new {
            folder.told.clone_from(&found);
            let seen = Seen { folder: name.to_owned(), is_result: folder.is_result, rpms: found };
            self.tell(seen, to);
        }
        if folder.is_result {
            // Thousands of them: what is not needed to tell a change is not kept.
            (folder.files, folder.told) = Default::default();
        }
        let gone: Vec<String> =
            inside_before.difference(&folder.inside).map(|sub| inside(name, sub)).collect();
        let below: Vec<String> = folder.inside.iter().map(|sub| inside(name, sub)).collect();
        self.folders.insert(name.to_owned(), folder);
        for sub in gone {
            self.gone(&sub, to);
        }
        for sub in below {
            self.folder(&sub, depth + 1, now_s, to);
        }
    }

    /// A folder is not there any more, nor what was in it.
    fn gone(&mut self, name: &str, to: &Sender<Msg>) {
        let below = format!("{name}/");
        let all: Vec<String> = self
            .folders
            .range(name.to_owned()..)
            .map(|(known, _)| known)
            .take_while(|known| known.starts_with(name))
            .filter(|known| *known == name || known.starts_with(&below))
            .cloned()
            .collect();
        for known in all {
            self.folders.remove(&known);
            self.tell(Seen { folder: known, is_result: false, rpms: Vec::new() }, to);
        }
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", name));
        if let Some(parent) = self.folders.get_mut(parent) {
            parent.inside.remove(last);
        }
    }

    /// Looks at people's RPMs; gives those that are whole.
    fn files(&mut self, path: &Path, folder: &mut Folder, now_s: u64) -> Vec<Found> {
        let mut found = Vec::new();
        for (name, seat) in &mut folder.files {
            let path = path.join(name);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let (len, modified_ns) = (metadata.len(), modified_ns(&metadata));
            if (seat.len, seat.modified_ns) != (len, modified_ns) {
                *seat = Seat { len, modified_ns, since_s: now_s, state: State::Growing };
            }
            let modified_unix_s = modified_ns / 1_000_000_000;
            let settled = now_s.saturating_sub(modified_unix_s) >= SETTLED_S;
            if seat.state == State::Growing && settled {
                seat.state = judge(&path, &metadata, now_s.saturating_sub(seat.since_s));
            }
            self.changing |= seat.state == State::Growing;
            if seat.state == State::Whole {
                found.push(Found { name: name.clone(), stamp: Stamp { size: len, modified_unix_s } });
            }
        }
        found
    }
}

fn is_folder_name(name: &str) -> bool {
    !name.starts_with('.') && name != "repodata"
}

/// Reads the names in a folder.
fn list(path: &Path, depth: usize, folder: &mut Folder) -> io::Result<()> {
    let mut files = BTreeSet::new();
    let mut inside = BTreeSet::new();
    folder.is_result = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            log::warn!("'{}' is not indexed: its name is no text", entry.path().display());
            continue;
        };
        if entry.file_type()?.is_dir() {
            inside.extend((is_folder_name(&name) && depth < DEPTH_MAX).then_some(name));
        } else if name == result_json::FILE_NAME {
            folder.is_result = depth > 0;
        } else if name.ends_with(".rpm") && !name.starts_with('.') {
            files.insert(name);
        }
    }
    if folder.is_result {
        inside.clear();
    }
    folder.files.retain(|name, _| files.contains(name));
    let new = Seat { len: 0, modified_ns: 0, since_s: 0, state: State::Growing };
    for name in files {
        folder.files.entry(name).or_insert_with(|| new.clone());
    }
    folder.inside = inside;
    Ok(())
}

/// What is to be thought of a file that has not changed for a while.
fn judge(path: &Path, metadata: &Metadata, unchanged_s: u64) -> State {
    let bad = |why: &str| {
        log::warn!("'{}' is not indexed: {why}", path.display());
        State::Bad
    };
    // A pipe would block whoever opens it.
    if !metadata.is_file() {
        return bad("it is no file");
    }
    let want = match File::open(path) {
        Ok(file) => expected_file_len(&file),
        Err(error) => return bad(&error.to_string()),
    };
    match want {
        Ok(Some(want)) if metadata.len() >= want => State::Whole,
        Ok(want) if unchanged_s >= TRUNCATED_AFTER_S => {
            let want = want.map_or("more".to_owned(), |want| format!("{want} bytes"));
            bad(&format!("it is truncated: it has {} bytes and says that it has {want}", metadata.len()))
        }
        Ok(_) => State::Growing,
        Err(error) => bad(&error.to_string()),
    }
}

#[cfg(test)]
mod tests;
