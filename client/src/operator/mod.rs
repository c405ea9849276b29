//! `moji`, the operator's command: asks the hub, and shows what it says.
//!
//! Single-threaded, blocking sockets: a command has nothing else to do than to wait. Nothing here is
//! part of the builder.
//!
//! | module | owns |
//! |---|---|
//! | [`cli`], [`help`] | the command line and the text of `--help` |
//! | [`settings`], [`whereabouts`] | which hub, and with which secret |
//! | [`known`] | the keys of hubs that were seen before |
//! | [`dial`], [`link`] | a connection, and requests on it |
//! | [`retry`] | what to do while the hub is away |
//! | [`ask`] | a request from its first row to its end, with every no in it |
//! | [`output`], [`terminal`] | stdout and stderr; the size, the keys and the signals of a terminal |
//! | [`look`], [`watch`] | `status`, `list`, `show`, `why`, `blocked`, `builders`, `history` |
//! | [`top`] | `top`, which is a program of its own |
//! | [`change`] | all that changes something but `submit` |
//! | [`submit`], [`srpm`] | `submit` |
//! | [`log`], [`events`], [`wait`], [`idle`] | what goes on until something ends |
//! | [`complete`] | `completion` and what its scripts call |
//! | [`print`](mod@print) | rows as text |

mod ask;
mod change;
mod cli;
mod complete;
mod dial;
mod events;
mod help;
mod idle;
mod known;
mod link;
mod log;
mod look;
mod output;
pub mod print;
mod retry;
mod settings;
mod srpm;
mod submit;
mod terminal;
mod top;
mod wait;
mod watch;
mod whereabouts;

pub use cli::main;
/// What a program beside `moji` needs to ask the hub as `moji` does.
pub mod hub {
    pub use super::dial::{Patience, open};
    pub use super::link::{Lost, Next, Session};
    pub use super::settings::{Access, Given, Machine, access};
}

/// Exit codes, as `--help` says.
pub mod code {
    /// Done.
    pub const OK: u8 = 0;
    /// The answer is no.
    pub const NO: u8 = 1;
    /// The command line is wrong, or a file that it names.
    pub const USAGE: u8 = 2;
    /// The hub cannot be reached, or does not let us in.
    pub const HUB: u8 = 3;
    /// Nobody reads stdout any more: what a shell shows of a program that SIGPIPE ended.
    pub const PIPE: u8 = 141;
}
