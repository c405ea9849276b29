//! A terminal: its size, its keys, a screen of its own, and the signals meanwhile.
//!
//! Owns what must be undone: the screen and the keyboard are as before once [`Screen`] is dropped, also
//! after SIGINT, SIGTERM and SIGHUP, which are read here as if they were keys.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};

/// Cursor to the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears what is right of the cursor.
const CLEAR_LINE: &str = "\x1b[K";
/// Clears what is below the cursor.
const CLEAR_BELOW: &str = "\x1b[J";
/// The terminal's other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Columns and rows of the terminal behind `fd`; none if it is no terminal or does not know.
pub(super) fn size(fd: impl AsFd) -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time is over.
    Time,
    /// The other descriptor has something to read.
    Ready,
    /// The terminal has another size.
    Resized,
    /// q, Ctrl-C, or a signal that means the same.
    Quit,
    /// The signal that should end this program, once the terminal is as before.
    Signal(Signal),
}

/// The terminal as a screen that is drawn again and again.
pub(super) struct Screen {
    before: Option<Termios>,
    signals: SignalFd,
    mask: SigSet,
    drawn: String,
}

impl Screen {
    /// Takes stdout's terminal, and the keys of stdin if that is one too.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open() -> io::Result<Screen> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGWINCH, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
            mask.add(signal);
        }
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        mask.thread_block()?;
        let stdin = io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            // Ctrl-C stays a signal. Ctrl-Z would leave the shell with this screen: it does nothing.
            raw.control_chars[SpecialCharacterIndices::VSUSP as usize] = 0;
            raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
            raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
            raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
            tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        }
        let screen = Screen { before, signals, mask, drawn: String::new() };
        screen.write(ENTER);
        Ok(screen)
    }

    fn write(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        // A terminal that is gone says so by SIGHUP.
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Draws `text` over what was there.
    pub(super) fn draw(&mut self, text: &str) {
        let mut screen = String::with_capacity(text.len() + 256);
        screen.push_str(HOME);
        let text = text.strip_suffix('\n').unwrap_or(text);
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                screen.push_str("\r\n");
            }
            // First: behind a line that fills its row, terminals differ in whether its last character goes too.
            screen.push_str(CLEAR_LINE);
            screen.push_str(line);
        }
        screen.push_str(CLEAR_BELOW);
        if screen != self.drawn {
            self.write(&screen);
            self.drawn = screen;
        }
    }

    /// Waits for keys, signals, `other` and the time.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn wait(&mut self, other: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<Woken> {
        loop {
            while let Some(signal) = self.signals.read_signal()? {
                match Signal::try_from(signal.ssi_signo as i32) {
                    Ok(Signal::SIGWINCH) => {
                        self.drawn.clear();
                        return Ok(Woken::Resized);
                    }
                    Ok(Signal::SIGINT) => return Ok(Woken::Quit),
                    Ok(signal) => return Ok(Woken::Signal(signal)),
                    Err(_) => {}
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let stdin = io::stdin();
            let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if self.before.is_some() {
                polled.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            polled.extend(other.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            match poll(&mut polled, timeout(left)) {
                Ok(0) if left.is_zero() => return Ok(Woken::Time),
                Ok(0) | Err(Errno::EINTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = |i: usize| polled.get(i).is_some_and(|fd| fd.any().unwrap_or(true));
            let (key, ready) =
                if self.before.is_some() { (is_ready(1), is_ready(2)) } else { (false, is_ready(1)) };
            if key && self.is_quit()? {
                return Ok(Woken::Quit);
            }
            if ready {
                return Ok(Woken::Ready);
            }
        }
    }

    /// Whether one of the keys that were pressed is q; a terminal that is gone (it is ready and has no key)
    /// counts as one.
    fn is_quit(&self) -> io::Result<bool> {
        let mut keys = [0; 64];
        match nix::unistd::read(io::stdin(), &mut keys) {
            Ok(0) | Err(Errno::EIO) => Ok(true),
            Ok(count) => Ok(keys[..count].iter().any(|key| b"qQ\x03\x04".contains(key))),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.write(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
        let _ = self.mask.thread_unblock();
    }
}

/// Rounded up, so that a wait does not end just before its time.
fn timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX)
}
