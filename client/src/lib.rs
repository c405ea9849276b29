//! moji's builder: takes a source RPM from the hub, builds it, sends back what came out. And `moji`, the
//! operator's command, of which the builder uses nothing.
//!
//! | module | owns |
//! |---|---|
//! | [`core`] | every decision, without any I/O |
//! | [`effects`] | the traits through which decisions reach the world |
//! | [`shell`] | the mio loop: socket, children, signals |
//! | [`shim`] | one build, waited for in a process of its own |
//! | [`launch`] | what is run for a job, and the layout of its folder |
//! | [`state`] | the state folder |
//! | `options`, [`settings`], [`cli`] | the command line and what must be right before the start |
//! | [`control`], [`daemon`] | `disable`, `stop`, `status`; the parent of `--daemon` |
//! | [`operator`] | the operator's command, `moji` |
//! | [`proc`], [`files`], [`logger`], [`exit`] | `/proc`, durable files, log lines, exit codes |
//! | [`jobmap`] | a small ordered map by lease |

pub mod cli;
pub mod control;
pub mod core;
pub mod daemon;
pub mod effects;
pub mod exit;
pub mod files;
pub mod jobmap;
pub mod launch;
pub mod logger;
pub mod operator;
mod options;
pub mod proc;
pub mod settings;
pub mod setup;
pub mod shell;
pub mod shim;
pub mod state;
