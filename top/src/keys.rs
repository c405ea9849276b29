//! Keys, as a terminal names them and as they are meant here.
//!
//! Owns that translation. Says nothing about what a key does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter, digit or sign.
    Char(char),
    /// One up.
    Up,
    /// One down.
    Down,
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the beginning.
    Home,
    /// To the end.
    End,
    /// To the next pane.
    Tab,
    /// To the one before.
    BackTab,
    /// Yes.
    Enter,
    /// Back.
    Escape,
    /// Takes the last letter away.
    Backspace,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-L: draw all of it again.
    Redraw,
}

impl Key {
    /// What a terminal's key means here; none if nothing.
    #[must_use]
    pub fn of(event: &KeyEvent) -> Option<Key> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        Some(match event.code {
            KeyCode::Char('c' | 'd' | '\\') if control => Key::Interrupt,
            KeyCode::Char('l') if control => Key::Redraw,
            KeyCode::Char('f') if control => Key::PageDown,
            KeyCode::Char('b') if control => Key::PageUp,
            KeyCode::Char('h') if control => Key::Backspace,
            KeyCode::Char(_) if control || event.modifiers.contains(KeyModifiers::ALT) => return None,
            KeyCode::Char(letter) => Key::Char(letter),
            KeyCode::Up => Key::Up,
            KeyCode::Down => Key::Down,
            KeyCode::Left => Key::Left,
            KeyCode::Right => Key::Right,
            KeyCode::PageUp => Key::PageUp,
            KeyCode::PageDown => Key::PageDown,
            KeyCode::Home => Key::Home,
            KeyCode::End => Key::End,
            KeyCode::Tab => Key::Tab,
            KeyCode::BackTab => Key::BackTab,
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            KeyCode::Backspace => Key::Backspace,
            _ => return None,
        })
    }
}
