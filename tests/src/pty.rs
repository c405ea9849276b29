//! A terminal with a person in front of it: a program runs in it, the person sees a screen and presses keys.
//!
//! Owns the pseudo-terminal, the program in it (killed when the `Pty` is dropped) and what the screen shows,
//! which a terminal emulator (`vt100`) makes of the program's output. Must never wait longer than it was told.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::ttyname;

use crate::daemon::run_to_end;
use crate::world::poll_until;

/// Rows of a terminal unless a test says otherwise.
pub const ROWS: u16 = 24;
/// Columns of a terminal unless a test says otherwise.
pub const COLUMNS: u16 = 80;
/// Rows that scrolled away and are kept: more than any test's output.
const SCROLLBACK_ROWS: usize = 2_000;
/// Bytes taken from the terminal at once: what the kernel keeps of it.
const PIECE_BYTES: usize = 4_096;
/// How long `stty` may take.
const STTY_LIMIT: Duration = Duration::from_secs(10);

/// A program in a terminal of its own.
pub struct Pty {
    child: Child,
    master: File,
    terminal: PathBuf,
    /// Kept so that the terminal's settings can be looked at once the program has ended.
    slave: OwnedFd,
    parser: vt100::Parser,
    raw: Vec<u8>,
}

impl Pty {
    /// Starts `command` in a terminal of 24 rows and 80 columns, which is also its controlling terminal.
    ///
    /// # Panics
    /// When the machine gives no terminal, or the program cannot be started.
    pub fn spawn(command: &Command) -> Pty {
        Pty::sized(command, ROWS, COLUMNS)
    }

    /// The same with another size.
    ///
    /// # Panics
    /// As [`Pty::spawn`].
    pub fn sized(command: &Command, rows: u16, columns: u16) -> Pty {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a pseudo-terminal");
        let terminal = ttyname(&pair.slave).expect("a terminal has a name");
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a flag can be set");
        let copy = || Stdio::from(pair.slave.try_clone().expect("a descriptor can be duplicated"));
        let mut command = in_session(command);
        command.stdin(copy()).stdout(copy()).stderr(copy());
        let child = command.spawn().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
        let parser = vt100::Parser::new(size_of(rows), size_of(columns), SCROLLBACK_ROWS);
        Pty { child, master: pair.master.into(), terminal, slave: pair.slave, parser, raw: Vec::new() }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The person drags the window's corner: the program gets SIGWINCH.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.pump();
        self.parser.screen_mut().set_size(size_of(rows), size_of(columns));
        let mut stty = Command::new("stty");
        stty.arg("-F").arg(&self.terminal);
        stty.args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
        assert_eq!(run_to_end(stty, STTY_LIMIT).code, 0, "a terminal can be resized");
    }

    /// The person types. Ctrl-C is `\x03`.
    pub fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    /// What the person sees: the rows without the blanks at their ends.
    pub fn screen(&mut self) -> Vec<String> {
        self.pump();
        let columns = self.parser.screen().size().1.get();
        self.parser.screen().rows(0, columns).map(|row| row.trim_end().to_owned()).collect()
    }

    /// The same as one text, empty rows at the end left out.
    pub fn text(&mut self) -> String {
        self.screen().join("\n").trim_end().to_owned()
    }

    /// Everything the program has written so far, as it came.
    pub fn raw(&mut self) -> String {
        self.pump();
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Whether anything on the screen has a colour.
    pub fn has_colour(&mut self) -> bool {
        self.pump();
        let screen = self.parser.screen();
        let (rows, columns) = screen.size();
        (0..rows.get()).any(|row| {
            let mut cells = (0..columns.get()).filter_map(|column| screen.cell(row, column));
            cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    }

    /// Rows that ran over the right edge: what is too wide for the terminal.
    pub fn wrapped(&mut self) -> Vec<String> {
        let rows = self.screen();
        let wrapped = |row: usize| u16::try_from(row).is_ok_and(|row| self.parser.screen().row_wrapped(row));
        let rows = rows.iter().enumerate().filter(|(row, _)| wrapped(*row));
        rows.map(|(_, text)| text.clone()).collect()
    }

    /// Whether the terminal is as a shell wants it: keys are echoed, lines are edited, the cursor is seen,
    /// and the screen is the ordinary one.
    pub fn is_restored(&mut self) -> bool {
        self.pump();
        let flags = tcgetattr(&self.slave).expect("a terminal has settings").local_flags;
        let screen = self.parser.screen();
        flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
            && !screen.hide_cursor()
            && !screen.alternate_screen()
    }

    /// Waits until the screen `holds`.
    ///
    /// # Panics
    /// When it does not within `limit`, with the screen as it is then.
    pub fn wait_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut(&str) -> bool) {
        if !poll_until(limit, || holds(&self.text())) {
            panic!("waited {limit:?} in vain for {what}; the screen:\n{}", self.text());
        }
    }

    /// Waits for the program's end; its exit code (a signal counts as its negative number).
    ///
    /// # Panics
    /// When it has not ended after `limit`, with the screen as it is then.
    pub fn wait_exit(&mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let mut status = None;
        poll_until(limit, || {
            self.pump();
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        let Some(status) = status else {
            panic!("it still runs after {limit:?}; the screen:\n{}", self.text());
        };
        self.pump();
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    /// Takes what the program has written.
    fn pump(&mut self) {
        let mut piece = [0; PIECE_BYTES];
        loop {
            match self.master.read(&mut piece) {
                Ok(0) => return,
                Ok(count) => {
                    self.parser.process(&piece[..count]);
                    self.raw.extend_from_slice(&piece[..count]);
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                // Nothing there; EIO once nobody has the terminal open.
                Err(_) => return,
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command as the leader of a session whose terminal is its stdin, in the same process. Ctrl-C works in
/// it, also where the tests themselves run in a shell's background and ignore it.
fn in_session(command: &Command) -> Command {
    let mut session = Command::new("setsid");
    session.args(["--ctty", "env", "--default-signal=INT,QUIT"]);
    session.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => session.env(name, value),
            None => session.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        session.current_dir(folder);
    }
    session
}

fn size_of(cells: u16) -> NonZeroU16 {
    NonZeroU16::new(cells).expect("a terminal has rows and columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Pty {
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        Pty::spawn(&command)
    }

    #[test]
    fn a_person_sees_what_is_left_on_the_screen_and_not_what_was_overwritten() {
        let mut pty = shell("printf 'one\\n\\033[2J\\033[Htwo\\033[31m red\\033[0m\\r\\n'; exit 3");
        assert_eq!(pty.wait_exit(LIMIT), 3);
        assert_eq!(pty.text(), "two red");
        assert!(pty.has_colour());
        assert!(pty.raw().contains("one"));
        assert_eq!(pty.wrapped(), Vec::<String>::new());
    }

    #[test]
    fn what_is_wider_than_the_terminal_is_found() {
        let mut pty = shell("printf '%081d\\n%080d\\n' 1 2");
        assert_eq!(pty.wait_exit(LIMIT), 0);
        assert_eq!(pty.wrapped().len(), 1, "{:?}", pty.screen());
    }

    #[test]
    fn a_program_gets_keys_its_size_and_its_resize() {
        // `stty` sets rows and columns one after the other: whoever looks at the first signal only may see half.
        let script = "trap 'told=yes' WINCH; stty size; read -r key; echo \"got $key\"; stty -echo; \
                      while :; do [ -z \"$told\" ] || stty size; read -t 0.05 -r _; done";
        let mut pty = shell(script);
        pty.wait_until("its size", LIMIT, |text| text.contains("24 80"));
        assert!(pty.is_restored(), "nothing was changed yet");
        pty.keys("x\n");
        pty.wait_until("the key", LIMIT, |text| text.contains("got x"));
        pty.resize(30, 100);
        pty.wait_until("the new size", LIMIT, |text| text.contains("30 100"));
        assert!(poll_until(LIMIT, || !pty.is_restored()), "without echo it is not as a shell wants it");
        pty.keys("\x03");
        assert_eq!(pty.wait_exit(LIMIT), -2);
    }
}
