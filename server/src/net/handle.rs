//! How actors reach the reactor.
//!
//! Owns the command channel and the waking. Never blocks: a command waits in the channel until the
//! reactor's next turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use moji_proto::message::{ToBuilder, ToOperator};
use moji_proto::refusal::RejectCode;

use super::Secrets;
use crate::core::types::{BuilderId, SessionId};

/// What the reactor is asked to do.
#[derive(Debug)]
pub enum Command {
    /// Say this to a builder.
    Send(SessionId, ToBuilder),
    /// Say this to an operator.
    Answer(SessionId, ToOperator),
    /// End a session with this code.
    Close(SessionId, RejectCode),
    /// So many bytes of this session's messages are dealt with.
    Consumed(SessionId, u32),
    /// The list of builders changed (SIGHUP): only these may stay; None means anybody.
    Builders(Option<Vec<BuilderId>>),
    /// The secrets changed (SIGHUP): for connections from now on.
    Secrets(Secrets),
    /// Tell all builders that the hub shuts down, write what can be written within a second, end.
    Shutdown,
}

/// The token of the waker among the reactor's.
pub(super) const WAKER: mio::Token = mio::Token(0);

/// The reactor's end of a [`Handle`], for [`super::Reactor::new`].
pub struct Inbox {
    pub(super) poll: mio::Poll,
    pub(super) commands: Receiver<Command>,
    pub(super) woken: Woken,
}

/// Whether the reactor was woken and has not looked at its commands since: a piece of a file each would
/// otherwise cost a system call each.
#[derive(Clone, Default)]
pub(super) struct Woken(Arc<AtomicBool>);

impl Woken {
    /// The reactor looks at its commands from now on: what is sent later must wake it again.
    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Makes a handle before there is a reactor: actors need it first.
///
/// # Errors
/// What the system says when it has no descriptor left.
pub fn wire() -> io::Result<(Handle, Inbox)> {
    let poll = mio::Poll::new()?;
    let waker = mio::Waker::new(poll.registry(), WAKER)?;
    let (handle, commands) = Handle::new(Arc::new(waker));
    let woken = handle.woken.clone();
    Ok((handle, Inbox { poll, commands, woken }))
}

/// Reaches the reactor from any thread.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    waker: Arc<mio::Waker>,
    woken: Woken,
}

impl Handle {
    /// A handle and the reactor's end of it.
    #[must_use]
    pub fn new(waker: Arc<mio::Waker>) -> (Handle, Receiver<Command>) {
        let (commands, inbox) = unbounded();
        (Handle { commands, waker, woken: Woken::default() }, inbox)
    }

    /// Says `msg` to a builder. A session that is gone is ignored: its end was told already.
    pub fn send(&self, session: SessionId, msg: ToBuilder) {
        self.command(Command::Send(session, msg));
    }

    /// Says `msg` to an operator. A session that is gone is ignored: its end was told already.
    pub fn answer(&self, session: SessionId, msg: ToOperator) {
        self.command(Command::Answer(session, msg));
    }

    /// Ends a session.
    pub fn close(&self, session: SessionId, code: RejectCode) {
        self.command(Command::Close(session, code));
    }

    /// Lets the reactor read on.
    pub fn consumed(&self, session: SessionId, bytes: u32) {
        self.command(Command::Consumed(session, bytes));
    }

    /// Gives the reactor any command.
    pub fn command(&self, command: Command) {
        // Only after shutdown is there no reactor; then nobody listens either.
        if self.commands.send(command).is_ok()
            && !self.woken.0.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            log::error!("failed to wake the reactor: {error}");
        }
    }
}
