//! Text at a place, and colours.
//!
//! Owns the only way from a text to a cell: it is made safe here, and nothing is drawn outside. Colours are the sixteen
//! that every terminal has, those of `moji`'s other screens; without colours only weight is left.

use moji_client::operator::print::{Paint, columns, safe};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};

/// What is drawn on.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    colour: bool,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, colour: bool) -> Canvas<'a> {
        let area = *buffer.area();
        Canvas { buffer, area, colour }
    }

    pub(super) fn rows(&self) -> usize {
        self.area.height.into()
    }

    pub(super) fn width(&self) -> usize {
        self.area.width.into()
    }

    /// How a paint looks here.
    fn style(&self, paint: Paint) -> Style {
        let plain = Style::default();
        let colour = |colour| if self.colour { plain.fg(colour) } else { plain };
        match paint {
            Paint::Plain => plain,
            Paint::Bold => plain.add_modifier(Modifier::BOLD),
            Paint::Dim => plain.add_modifier(Modifier::DIM),
            Paint::Red if !self.colour => plain.add_modifier(Modifier::BOLD),
            Paint::Red => colour(Color::Red),
            Paint::Yellow => colour(Color::Yellow),
            Paint::Green => colour(Color::Green),
            Paint::Cyan => colour(Color::Cyan),
        }
    }

    /// Writes at a column of a row; gives the column behind it. What is too wide is cut.
    pub(super) fn put(&mut self, column: usize, row: usize, text: &str, paint: Paint) -> usize {
        let room = self.width().saturating_sub(column);
        if row >= self.rows() || room == 0 {
            return column;
        }
        let text = safe(text);
        let (x, y) = (self.area.x + column as u16, self.area.y + row as u16);
        let (end, _) = self.buffer.set_stringn(x, y, &text, room, self.style(paint));
        usize::from(end - self.area.x)
    }

    /// Writes so that it ends at the right edge, unless it would stand before `from`.
    pub(super) fn put_right(&mut self, from: usize, row: usize, text: &str, paint: Paint) {
        let wide = columns(&safe(text));
        if from + wide <= self.width() {
            self.put(self.width() - wide, row, text, paint);
        }
    }

    /// The row as a whole is the one that is looked at.
    pub(super) fn choose(&mut self, row: usize) {
        self.mark(row, Style::default().add_modifier(Modifier::REVERSED));
    }

    /// The row as a whole is a heading.
    pub(super) fn head(&mut self, row: usize, is_chosen: bool) {
        let weight = if is_chosen { Modifier::BOLD | Modifier::UNDERLINED } else { Modifier::UNDERLINED };
        self.mark(row, Style::default().add_modifier(weight));
    }

    fn mark(&mut self, row: usize, style: Style) {
        if row < self.rows() {
            let y = self.area.y + row as u16;
            self.buffer.set_style(Rect { y, height: 1, ..self.area }, style);
        }
    }
}
