//! Model and place in, cells out.
//!
//! Owns the division of the screen: the farm's head, a page below it, a line of keys. Pure but for cursors, which are made
//! to fit what is shown. Every text is made safe in `canvas`, the only way onto the screen.
//!
//! | file | owns |
//! |---|---|
//! | `canvas.rs` | text at a place, and colours |
//! | `table.rs` | columns that fit |
//! | `head.rs` | hub, states, progress |
//! | `overview.rs` | trouble, builds, results |
//! | `pages.rs` | packages, reasons, logs, help |
//! | `foot.rs` | keys and what is being written |

mod canvas;
mod foot;
mod head;
mod overview;
mod pages;
mod table;

use moji_client::operator::print::{Style as Text, Zone};
use ratatui_core::buffer::Buffer;

use crate::model::Model;
use crate::ui::Ui;

use canvas::Canvas;

/// How to draw.
#[derive(Clone, Debug)]
pub struct Look {
    /// Whether in colours.
    pub colour: bool,
    /// What time it is here, unix seconds.
    pub now_unix_s: u64,
    /// The machine's time zone.
    pub zone: Zone,
    /// Whether somebody sits before it: then there are keys and a chosen line.
    pub is_live: bool,
}

impl Look {
    /// For texts that `moji` makes too.
    fn text(&self, width: usize) -> Text {
        Text { width: Some(width), colour: false, now_unix_s: self.now_unix_s, zone: self.zone.clone() }
    }
}

/// Draws all of it.
pub fn draw(look: &Look, model: &Model, ui: &mut Ui, buffer: &mut Buffer) {
    let mut canvas = Canvas::new(buffer, look.colour);
    let (rows, width) = (canvas.rows(), canvas.width());
    if rows == 0 || width == 0 {
        return;
    }
    let foot = usize::from(look.is_live && rows > 1);
    let from = head::draw(look, model, &mut canvas, rows - foot);
    let rest = from..rows - foot;
    match ui.pages.pop() {
        None => overview::draw(look, model, ui, &mut canvas, rest),
        Some(mut page) => {
            pages::draw(look, &mut page, &ui.filter, &mut canvas, rest);
            ui.pages.push(page);
        }
    }
    if foot > 0 {
        foot::draw(ui, &mut canvas, rows - 1);
    }
}
