//! The last row: keys, or the filter while it is written.
//!
//! Owns no state.

use moji_client::operator::print::Paint;

use super::canvas::Canvas;
use crate::ui::{Page, Ui};

pub(super) fn draw(ui: &Ui, canvas: &mut Canvas<'_>, row: usize) {
    let mut at = 0;
    if ui.is_paused {
        at = canvas.put(at, row, "paused: space goes on", Paint::Yellow) + 2;
    }
    if ui.is_typing {
        let at = canvas.put(at, row, &format!("/{}", ui.filter), Paint::Bold);
        let at = canvas.put(at, row, "_", Paint::Bold);
        canvas.put(at + 2, row, "Enter keeps it, Esc drops it", Paint::Dim);
        return;
    }
    if !ui.filter.is_empty() {
        at = canvas.put(at, row, &format!("/{}", ui.filter), Paint::Yellow) + 2;
    }
    let keys: &[(&str, &str)] = match ui.pages.last() {
        None => &[
            ("q", "quit"),
            ("?", "help"),
            ("Tab", "pane"),
            ("Enter", "why"),
            ("l", "log"),
            ("p", "packages"),
            ("/", "filter"),
            ("space", "pause"),
        ],
        Some(Page::Packages(_)) => &[
            ("Esc", "back"),
            ("← →", "state"),
            ("Enter", "why"),
            ("l", "log"),
            ("/", "filter"),
            ("?", "help"),
            ("q", "quit"),
        ],
        Some(Page::Why(_)) => &[("Esc", "back"), ("l", "log"), ("↑ ↓", "scroll"), ("q", "quit")],
        Some(Page::Log(_)) => &[("Esc", "back"), ("↑ ↓", "scroll"), ("f", "follow"), ("q", "quit")],
        Some(Page::Text(..) | Page::Help(_)) => &[("Esc", "back"), ("↑ ↓", "scroll"), ("q", "quit")],
    };
    for (key, what) in keys {
        let room = canvas.width().saturating_sub(at);
        if key.chars().count() + what.chars().count() + 1 > room {
            break;
        }
        let behind = canvas.put(at, row, key, Paint::Bold);
        at = canvas.put(behind + 1, row, what, Paint::Dim) + 2;
    }
}
