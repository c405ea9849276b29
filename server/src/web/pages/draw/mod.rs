//! Drawings: SVG that stands in a page.
//!
//! Owns shapes and coordinates, nothing else: no clock, no request. Colours are classes of the stylesheet, sizes are
//! numbers in attributes (the policy of pages forbids styles in the markup). Every drawing has a text that says the same.

pub(super) mod bar;
pub(super) mod graph;
pub(super) mod plot;
