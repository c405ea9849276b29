//! The operator's command: asks the hub, and shows what it says.

pub mod print;
