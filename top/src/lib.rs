//! `moji-top`: a farm live in a terminal.
//!
//! A program of its own, because `moji` has to stay small: a table of cells, what of it changed, and keys cost more
//! than all of `moji`'s other commands. It asks as `moji` does, by the same code, and changes nothing.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`] | the command line, and the loop that everything meets in |
//! | [`link`] | threads that talk to the hub |
//! | [`model`] | what is known of the farm: rows and events in, what is shown out; pure |
//! | [`keys`], [`ui`] | what a key does: where somebody looks; pure |
//! | [`screen`] | model and place in, cells out; pure |
//! | [`terminal`] | the terminal: what must be undone, bytes for cells |

pub mod cli;
pub mod keys;
pub mod link;
pub mod model;
pub mod screen;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod ui;
