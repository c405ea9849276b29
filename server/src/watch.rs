//! The watch's thread: inotify on the three source folders.
//!
//! Owns the inotify descriptor and reading the heads of files in `source/`. Decides nothing: what counts
//! is for [`crate::core::intake`] to say. Blocks until something happens, so it costs nothing when nothing
//! does. Follows links and never writes.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
use mio::unix::SourceFd;
use mio::{Interest, Poll, Token, Waker};
use moji_proto::Time;

use crate::actors::{spawn_behind, tell};
use crate::clock::Clock;
use crate::core::intake::{Effect, Intake, List, Msg, Seen, Stamp, What};
use crate::core::leases::{self, Place};
use crate::core::queue;
use crate::core::types::Srpm;
use crate::disk::is_short_of_descriptors;
use crate::lists::LIST_BYTES_MAX;
use crate::rpmfile::{Kind, RpmError, expected_file_len, read_facts, verify_header};

/// Bytes of events read at once: some 60 of the longest names.
const EVENT_BYTES: usize = 16 * 1024;
/// Pause before what could not be opened for want of a descriptor is opened again, milliseconds: nobody touches a file a
/// second time because the hub could not read it.
const LOOK_AGAIN_MS: u64 = 2_000;
/// How long a start waits for the first look at everything: who asks before it would hear of a part of the farm only.
/// Builders should not wait for many thousands of files on a slow disk.
const FIRST_LOOK: Duration = Duration::from_secs(2);
const INOTIFY: Token = Token(0);
const WAKER: Token = Token(1);

/// Where the watch looks, and whom it tells.
pub struct Setup {
    /// `source/`.
    pub source: PathBuf,
    /// `working/`.
    pub working: PathBuf,
    /// `finished/`.
    pub finished: PathBuf,
    /// To the queue.
    pub queue: Sender<queue::Msg>,
    /// To leases.
    pub leases: Sender<leases::Msg>,
    /// After how long a short file is truncated, milliseconds:
    /// [`crate::core::intake::TRUNCATED_AFTER_MS`] but in tests.
    pub truncated_after_ms: u64,
}

/// Reaches the watch from any thread.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
}

enum Command {
    Rescan,
    Stop,
}

impl Handle {
    /// Has everything in the folders looked at again (SIGHUP).
    pub fn rescan(&self) {
        self.command(Command::Rescan);
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.command(Command::Stop);
    }

    fn command(&self, command: Command) {
        tell(&self.commands, command);
        if let Err(error) = self.waker.wake() {
            log::error!("failed to wake the watch: {error}");
        }
    }
}

/// Starts the watch; it begins with a look at everything, which is told when this returns, but for what takes longer than
/// two seconds.
///
/// # Errors
/// Those of inotify(7) and epoll(7), with the folder's name: no watches left, or no such folder.
///
/// # Panics
/// If the system has no thread left.
pub fn start(setup: Setup, clock: impl Clock + 'static) -> io::Result<(Handle, JoinHandle<()>)> {
    let (mut watch, handle) = Watch::new(setup, Box::new(clock))?;
    let (looked, first_look) = bounded::<()>(1);
    let thread = spawn_behind("watch", move || {
        watch.handle(Msg::Rescan);
        drop(looked);
        if let Err(error) = watch.run() {
            // Without it, files dropped in would wait for ever and nobody would know.
            panic!("failed to watch the folders: {error}");
        }
    });
    let _ = first_look.recv_timeout(FIRST_LOOK);
    Ok((handle, thread))
}

struct Watch {
    setup: Setup,
    clock: Box<dyn Clock>,
    intake: Intake,
    inotify: Inotify,
    places: Vec<(WatchDescriptor, Place)>,
    poll: Poll,
    commands: Receiver<Command>,
    /// Looks for which there was no descriptor.
    again: Vec<Effect>,
    /// When they are done again.
    again_at: Option<Time>,
    /// Whether that was logged.
    is_short: bool,
}

impl Watch {
    fn new(setup: Setup, clock: Box<dyn Clock>) -> io::Result<(Watch, Handle)> {
        let inotify = Inotify::init()?;
        let moves = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
        let writes = WatchMask::CLOSE_WRITE | WatchMask::MODIFY | WatchMask::ATTRIB;
        let mut places = Vec::new();
        for (path, place, mask) in [
            (&setup.source, Place::Source, moves | writes),
            (&setup.working, Place::Working, moves),
            (&setup.finished, Place::Finished, moves),
        ] {
            let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            places.push((inotify.watches().add(path, mask).map_err(named)?, place));
        }
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&inotify.as_raw_fd()), INOTIFY, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, commands) = unbounded();
        let intake = Intake::new(setup.truncated_after_ms);
        let (again, again_at, is_short) = Default::default();
        Ok((
            Watch { setup, clock, intake, inotify, places, poll, commands, again, again_at, is_short },
            Handle { commands: sender, waker },
        ))
    }

    /// Waits and works until it is told to stop.
    fn run(&mut self) -> io::Result<()> {
        let mut ready = mio::Events::with_capacity(2);
        loop {
            let now = self.clock.now();
            let next = self.intake.deadline().into_iter().chain(self.again_at).min();
            let left = next.map(|at| Duration::from_millis(at.since_ms(now)));
            match self.poll.poll(&mut ready, left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Rescan => self.handle(Msg::Rescan),
                    Command::Stop => return Ok(()),
                }
            }
            self.drain()?;
            if self.intake.deadline().is_some_and(|at| at <= self.clock.now()) {
                self.handle(Msg::Tick);
            }
            if self.again_at.take_if(|at| *at <= self.clock.now()).is_some() {
                let again = std::mem::take(&mut self.again);
                let answers: Vec<Msg> = again.into_iter().filter_map(|look| self.carry_out(look)).collect();
                answers.into_iter().for_each(|answer| self.handle(answer));
                self.is_short = !self.again.is_empty();
            }
        }
    }

    /// Takes all events that wait.
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; EVENT_BYTES];
        loop {
            let events: Vec<_> = match self.inotify.read_events(&mut buffer) {
                Ok(events) => events.map(|event| event.to_owned()).collect(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    log::warn!("more happened in the folders than was told: looking at everything");
                    self.handle(Msg::Rescan);
                    continue;
                }
                let place = self.places.iter().find(|(wd, _)| *wd == event.wd).map(|(_, place)| *place);
                match (place, what(event.mask), event.name) {
                    (Some(place), Some(what), Some(name)) => self.handle(Msg::Event { place, name, what }),
                    (Some(place), ..) if event.mask.contains(EventMask::IGNORED) => {
                        log::error!(
                            "{} is gone: what is dropped there is not seen",
                            self.path(place).display()
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    /// Tells intake, and does what it wants; each answer is worked off before the next effect.
    fn handle(&mut self, msg: Msg) {
        let mut effects = Vec::new();
        self.intake.handle(self.clock.now(), msg, &mut effects);
        for effect in effects {
            if let Some(answer) = self.carry_out(effect) {
                self.handle(answer);
            }
        }
    }

    /// Keeps a look for which there is no descriptor now.
    fn later(&mut self, look: Effect) {
        self.again_at = Some(self.clock.now().plus_ms(LOOK_AGAIN_MS));
        if !std::mem::replace(&mut self.is_short, true) {
            log::warn!(
                "no descriptor is left to look into the folders: trying again; raise the hub's limit of open files"
            );
        }
        self.again.push(look);
    }

    fn carry_out(&mut self, effect: Effect) -> Option<Msg> {
        match effect {
            Effect::List(place) => return self.list(place),
            Effect::Look(name) => match look(&self.setup.source.join(&name)) {
                Some(seen) => return Some(Msg::Looked { name, seen }),
                None => self.later(Effect::Look(name)),
            },
            Effect::Read(list) => return self.read(list),
            Effect::Queue(msg) => tell(&self.setup.queue, msg),
            Effect::Leases(msg) => tell(&self.setup.leases, msg),
            Effect::Log(level, text) => log::log!(level, "{text}"),
        }
        None
    }

    fn path(&self, place: Place) -> &Path {
        match place {
            Place::Source => &self.setup.source,
            Place::Working => &self.setup.working,
            Place::Finished => &self.setup.finished,
        }
    }

    fn list(&mut self, place: Place) -> Option<Msg> {
        let names = fs::read_dir(self.path(place))
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        match names {
            Ok(names) => Some(Msg::Listed { place, names }),
            Err(error) if is_short_of_descriptors(&error) => {
                self.later(Effect::List(place));
                None
            }
            Err(error) => {
                log::error!("failed to list {}: {error}", self.path(place).display());
                None
            }
        }
    }

    /// A list that cannot be read stays as it was.
    fn read(&mut self, list: List) -> Option<Msg> {
        let path = self.setup.source.join(list.file_name());
        match read_list(&path) {
            Ok(bytes) => Some(Msg::Read { list, bytes: Some(bytes) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Msg::Read { list, bytes: None }),
            Err(error) if is_short_of_descriptors(&error) => {
                self.later(Effect::Read(list));
                None
            }
            Err(error) => {
                log::warn!("failed to read {}: {error}", path.display());
                None
            }
        }
    }
}

fn what(mask: EventMask) -> Option<What> {
    if mask.intersects(EventMask::CREATE | EventMask::MOVED_TO | EventMask::CLOSE_WRITE) {
        Some(What::Arrived)
    } else if mask.intersects(EventMask::MOVED_FROM | EventMask::DELETE) {
        Some(What::Left)
    } else if mask.intersects(EventMask::MODIFY | EventMask::ATTRIB) {
        Some(What::Written)
    } else {
        None
    }
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIST_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("longer than {LIST_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

/// What is at `path` now; None if there is no descriptor to tell.
fn look(path: &Path) -> Option<Seen> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Some(match fs::symlink_metadata(path) {
                Ok(_) => Seen::Bad { stamp: None, why: "a link to nowhere".to_owned() },
                Err(_) => Seen::Gone,
            });
        }
        Err(error) => return Some(Seen::Bad { stamp: None, why: error.to_string() }),
    };
    let stamp = stamp(&metadata);
    // A pipe would block whoever opens it.
    if !metadata.is_file() {
        return Some(Seen::Bad { stamp: Some(stamp), why: "not a file".to_owned() });
    }
    match inspect(path, stamp) {
        Ok(seen) => Some(seen),
        Err(RpmError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Some(Seen::Gone),
        Err(RpmError::Io(error)) if is_short_of_descriptors(&error) => None,
        Err(error) => Some(Seen::Bad { stamp: Some(stamp), why: error.to_string() }),
    }
}

fn inspect(path: &Path, stamp: Stamp) -> Result<Seen, RpmError> {
    let file = File::open(path)?;
    let want = expected_file_len(&file)?;
    if want.is_none_or(|want| stamp.len < want) {
        return Ok(Seen::Short { stamp, want });
    }
    match read_facts(&file) {
        Ok(facts) if facts.kind == Kind::Source => {
            verify_header(&file)?;
            Ok(Seen::Whole { stamp, srpm: Srpm { size: stamp.len, facts } })
        }
        Ok(_) => {
            Ok(Seen::Bad { stamp: Some(stamp), why: "a binary package, not a source package".to_owned() })
        }
        // It was replaced between two calls; the event that says so is on its way.
        Err(RpmError::Truncated { .. }) => Ok(Seen::Short { stamp, want }),
        Err(error) => Err(error),
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    let seconds = u128::from(metadata.mtime().unsigned_abs()) * 1_000_000_000;
    let modified_ns = seconds + u128::from(metadata.mtime_nsec().unsigned_abs());
    Stamp { len: metadata.len(), modified_ns, inode: metadata.ino() }
}

#[cfg(test)]
mod tests;
