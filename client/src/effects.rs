//! The traits between the core and the world, and the one function that carries effects out.
//!
//! Owns no policy: each effect becomes one call. The real world is in [`crate::shell`]; a simulator
//! brings its own.

use std::io;

use moji_proto::message::{FromBuilder, Which};
use moji_proto::{FileName, LeaseId, Time};

use crate::core::{Effect, Event, JobRecord, Level, Measured, Released, Repos};

/// Time.
pub trait Clock {
    /// Monotonic time of this run.
    fn now(&self) -> Time;
}

/// The connection to the hub.
pub trait Link {
    /// Begins to resolve, connect and shake hands; what becomes of it comes as an event.
    fn connect(&mut self);
    /// Closes the connection and drops what waits to be sent.
    fn disconnect(&mut self);
    /// Queues a message.
    fn send(&mut self, message: &FromBuilder);
    /// Queues a piece of a file, to be read when the socket has room.
    fn send_piece(&mut self, piece: PieceOf);
    /// Drops the queued pieces of this lease.
    fn drop_pieces(&mut self, lease: LeaseId);
}

/// A piece of a result file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceOf {
    /// The lease.
    pub lease: LeaseId,
    /// Number of the file.
    pub file: u32,
    /// Its name in the result folder.
    pub name: FileName,
    /// Where the piece begins.
    pub offset: u64,
    /// Its length, bytes.
    pub length: u32,
}

/// The state folder.
pub trait Store {
    /// Makes the job's folder with its record, durably.
    ///
    /// # Errors
    /// Any error of the file system.
    fn store_job(&mut self, record: &JobRecord) -> io::Result<()>;
    /// Writes a piece of the SRPM; offset 0 truncates.
    ///
    /// # Errors
    /// Any error of the file system.
    fn write_srpm(&mut self, lease: LeaseId, srpm: &FileName, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Replaces the list of releases, durably.
    ///
    /// # Errors
    /// Any error of the file system.
    fn store_releases(&mut self, released: &[Released]) -> io::Result<()>;
    /// Remembers or forgets a drain.
    ///
    /// # Errors
    /// Any error of the file system.
    fn store_drain(&mut self, draining: bool) -> io::Result<()>;
    /// Reads a piece of a growing log; what is not there yet is left out.
    ///
    /// # Errors
    /// Any error of the file system.
    fn read_log(&mut self, lease: LeaseId, which: Which, offset: u64, length: u32) -> io::Result<Vec<u8>>;
    /// Deletes the job's folder; where that fails, it is said and tried again until it is done.
    fn forget(&mut self, lease: LeaseId);
    /// Looks at the machine.
    fn measure(&mut self) -> Measured;
}

/// Shims and what they started.
pub trait Children {
    /// Starts the shim of a job whose SRPM is whole, and throws away what the job built before. Looks at its length: the last piece may just have
    /// failed to be written.
    ///
    /// # Errors
    /// Whatever keeps it from starting, an SRPM of another length among it.
    fn start(&mut self, record: &JobRecord, repos: &Repos) -> io::Result<()>;
    /// Begins to kill what runs of a job; the end comes as [`Event::Killed`].
    fn kill(&mut self, now: Time, lease: LeaseId, clean: bool);
}

/// Everything an effect may need.
pub trait World: Clock + Link + Store + Children {
    /// Writes a log line.
    fn log(&mut self, level: Level, text: &str);
}

/// Carries one effect out; an answer that is there at once is returned. [`Effect::Exit`] is the
/// caller's to obey.
pub fn perform<W: World>(world: &mut W, effect: Effect) -> Option<Event> {
    match effect {
        Effect::Connect => world.connect(),
        Effect::Disconnect => world.disconnect(),
        Effect::Send(message) => world.send(&message),
        Effect::SendPiece { lease, file, name, offset, length } => {
            world.send_piece(PieceOf { lease, file, name, offset, length });
        }
        Effect::SendLog { lease, which, offset, length } => {
            match world.read_log(lease, which, offset, length) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    let bytes = moji_proto::Bytes(bytes);
                    world.send(&FromBuilder::Log { lease, which, offset, bytes });
                }
                // A log is a service while it grows; the whole of it comes with the result.
                Err(error) => {
                    world.log(
                        Level::Warn,
                        &format!("lease={lease} failed to read {}: {error}", which.file_name()),
                    );
                }
            }
        }
        Effect::Measure => return Some(Event::Measured(world.measure())),
        Effect::StoreJob(record) => {
            let lease = record.lease;
            return failed(lease, "store the job", world.store_job(&record));
        }
        Effect::WriteSrpm { lease, srpm, offset, bytes } => {
            return failed(lease, "store the SRPM", world.write_srpm(lease, &srpm, offset, &bytes));
        }
        Effect::StoreReleases(released) => {
            let stored = world.store_releases(&released);
            complain(world, "store the releases", stored);
        }
        Effect::StoreDrain(draining) => {
            let stored = world.store_drain(draining);
            complain(world, "store the drain", stored);
        }
        Effect::Start { record, repos } => {
            return failed(record.lease, "start the build", world.start(&record, &repos));
        }
        Effect::Kill { lease, clean } => {
            world.drop_pieces(lease);
            let now = world.now();
            world.kill(now, lease, clean);
        }
        Effect::Forget { lease } => {
            world.drop_pieces(lease);
            world.forget(lease);
        }
        Effect::Log(level, text) => world.log(level, &text),
        Effect::Exit(_) => {}
    }
    None
}

fn failed(lease: LeaseId, what: &str, result: io::Result<()>) -> Option<Event> {
    result.err().map(|error| Event::JobFailed { lease, why: format!("{what}: {error}") })
}

fn complain<W: World>(world: &mut W, what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        world.log(Level::Error, &format!("failed to {what}: {error}"));
    }
}
