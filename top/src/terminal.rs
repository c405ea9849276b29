//! The terminal: what must be undone, and bytes for cells.
//!
//! Owns raw keys and the other screen, which are as before once [`Screen`] is dropped, also after a panic. Writes what
//! changed only, in the sixteen colours that every terminal has, and nothing that waits for an answer of the terminal.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal as modes;
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::{Color, Modifier, Style};

/// The terminal's other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// What a terminal has that does not say how large it is.
const SIZE_UNKNOWN: (u16, u16) = (80, 24);

/// Whether the terminal is to be given back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Columns and rows.
#[must_use]
pub fn size() -> (u16, u16) {
    let known = modes::size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0);
    known.unwrap_or(SIZE_UNKNOWN)
}

/// The terminal is ours while this lives.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes it. A panic of any thread gives it back and ends the program.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open() -> io::Result<Screen> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
            // The others would go on drawing where a shell is now.
            std::process::exit(101);
        }));
        modes::enable_raw_mode()?;
        IS_TAKEN.store(true, Ordering::SeqCst);
        let screen = Screen(());
        write(ENTER)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = write(LEAVE);
        let _ = modes::disable_raw_mode();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Cells as bytes for stdout.
#[derive(Debug, Default)]
pub struct Ansi {
    out: String,
    /// Where the terminal's cursor is, if that is known.
    at: Option<Position>,
    /// How the terminal writes now.
    style: Style,
}

impl Ansi {
    fn dress(&mut self, style: Style) {
        let worn = |style: Style| (style.fg.filter(|colour| *colour != Color::Reset), style.add_modifier);
        if worn(style) == worn(self.style) {
            return;
        }
        self.style = style;
        self.out.push_str("\x1b[0");
        for (modifier, code) in [
            (Modifier::BOLD, ";1"),
            (Modifier::DIM, ";2"),
            (Modifier::UNDERLINED, ";4"),
            (Modifier::REVERSED, ";7"),
        ] {
            if style.add_modifier.contains(modifier) {
                self.out.push_str(code);
            }
        }
        self.out.push_str(match style.fg {
            Some(Color::Red) => ";31",
            Some(Color::Green) => ";32",
            Some(Color::Yellow) => ";33",
            Some(Color::Cyan) => ";36",
            _ => "",
        });
        self.out.push('m');
    }
}

impl Backend for Ansi {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        for (x, y, cell) in content {
            if self.at != Some(Position { x, y }) {
                let _ = write!(self.out, "\x1b[{};{}H", y + 1, x + 1);
            }
            self.dress(cell.style());
            self.out.push_str(cell.symbol());
            // Behind what is not ASCII terminals do not agree where they are.
            self.at = cell.symbol().is_ascii().then_some(Position { x: x + 1, y });
        }
        // Nor behind the last column.
        self.at = None;
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.at.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, _: P) -> io::Result<()> {
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.dress(Style::default());
        self.out.push_str("\x1b[2J");
        Ok(())
    }

    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = size();
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() { Ok(()) } else { write(&out) }
    }
}

#[cfg(test)]
mod tests {
    use ratatui_core::buffer::Buffer;
    use ratatui_core::layout::Rect;

    use super::*;

    fn bytes(from: &Buffer, to: &Buffer) -> String {
        let mut ansi = Ansi::default();
        ansi.draw(from.diff(to).into_iter()).unwrap();
        ansi.out
    }

    #[test]
    fn only_what_changed_is_written_and_sixteen_colours_are_enough() {
        let area = Rect::new(0, 0, 20, 2);
        let mut old = Buffer::empty(area);
        old.set_string(0, 0, "12:00:01 calm", Style::default());
        let mut new = old.clone();
        new.set_string(0, 0, "12:00:02", Style::default());
        assert_eq!(bytes(&old, &new), "\x1b[1;8H2");
        new.set_string(0, 1, "bad", Style::default().fg(Color::Red).add_modifier(Modifier::BOLD));
        new.set_string(3, 1, "ok", Style::default());
        assert_eq!(bytes(&old, &new), "\x1b[1;8H2\x1b[2;1H\x1b[0;1;31mbad\x1b[0mok");
        assert_eq!(bytes(&new, &new), "");
        let mut wide = Buffer::empty(area);
        wide.set_string(0, 0, "包x", Style::default());
        assert_eq!(bytes(&Buffer::empty(area), &wide), "\x1b[1;1H包\x1b[1;3Hx");
    }
}
