//! The test world of moji: a whole farm of the real binaries in a temporary folder, and what a
//! test does to it.
//!
//! This crate owns starting, watching, hurting and stopping the daemons, the stand-in for mock
//! and its planned outcomes, a proxy that breaks connections, and the makers of good and
//! hostile RPMs. It must never build a binary (`tests/run` does, so does `cargo build
//! --workspace`), use a fixed port, talk to anything but loopback, or leave a process or a mount
//! behind. It needs root and what `tests/setup` makes.
//!
//! # A scenario in a few lines
//!
//! ```no_run
//! use moji_tests::{Farm, Outcome, SOON};
//!
//! let mut farm = Farm::plan().builders(2).hub_args(["--lease-grace", "5"]).start();
//! farm.outcome("failbuild", Outcome::exit(247).log("root.log", "Child return code was: -9\n").once());
//! farm.drop_srpm("hello");
//! farm.drop_srpm("failbuild");
//! farm.wait_finished("hello");
//! farm.builder(0).kill9();
//! farm.start_builder(0);
//! farm.wait_until("the second attempt to fail", SOON, |farm| farm.is_in("finished", "failbuild"));
//! assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
//! assert!(farm.install(&["hello"]).expect("dnf installs").has("/usr/bin/hello"));
//! farm.assert_one_place("hello");
//! ```
//!
//! # What is where
//!
//! | wanted | is |
//! |---|---|
//! | a farm | [`Farm::plan`], then `start`; the `Farm` kills and removes everything when dropped |
//! | one of the daemons | [`Farm::hub`], [`Farm::builder`]: `kill9`, `term`, `logs_contain`, `wait_exit` |
//! | a condition that comes true later | [`Farm::wait_until`]: panics with all logs and folders when it does not |
//! | an outcome of mock without a build | [`Farm::outcome`] with [`Outcome`]; `gate` holds a build until [`Farm::open_gate`] |
//! | a broken network | `plan().through_proxy()`, then [`Farm::proxy`]: `cut`, `stall`, `delay`, `cut_after` |
//! | SRPMs of `tests/mini/specs` | [`Farm::drop_srpm`] by name |
//! | any other SRPM or RPM | [`srpm_from_spec`], [`rpms_from_spec`], [`simple_spec`] |
//! | hundreds of RPMs of every shape, in memory | [`varied`] |
//! | a hostile one | [`truncated`], [`foreign`], [`damaged`], [`patched`] |
//! | a repository of thousands of packages | [`synthetic`] |
//! | a distribution of any size that hangs together, as metadata | [`dense`] |
//! | a machine with little memory | [`SmallMachine`] |
//! | what dnf makes of thin repositories and of the whole ones | [`thin`] |
//! | what the hub says over HTTP | [`Farm::http`] |
//! | an index, held against itself | [`read_index`] |
//! | the hub's publisher without a hub | [`Publisher`] |
//! | folders over HTTP, and how much of them was fetched | [`FileServer`] |
//! | what dnf says | [`Farm::install`]; with signatures [`install_with`]; [`Dnf`] keeps its cache and says what a run cost |
//! | what a stop left behind | [`Farm::processes`], [`Farm::mounts`] |
//! | what an operator's command answers | [`Farm::moji`] piped, [`Farm::moji_pty`] on a terminal ([`Pty`]) |
//! | what a person sees of the pages | [`Browser`] |
//! | builders that are ARM programs | [`Armv5`], and `plan().armv5(&it)` |
//! | a farm hurt on purpose, and a row in the table of faults | [`faults`] |
//! | a farm without any process, a thousand a minute | [`sim`] |
//! | one run of a program that must end | [`Farm::hub_command`], [`Farm::client_command`] with [`run_to_end`] |
//!
//! Polling every few milliseconds up to a deadline is the only waiting there is; a test never
//! sleeps for a time it hopes is long enough.

mod armv5;
mod browser;
mod daemon;
pub mod dense;
mod dnf;
mod farm;
pub mod faults;
mod http;
mod mock;
mod plan;
mod processes;
mod proxy;
mod pty;
mod published;
mod publisher;
mod rpms;
pub mod sim;
pub mod synthetic;
pub mod thin;
mod thin_cgroup;
pub mod varied;
mod watch;
mod world;

pub use armv5::Armv5;
pub use browser::{Browser, screens};
pub use daemon::{Daemon, Finished, run_to_end};
pub use dnf::{Dnf, DnfCost, Installed, install_with};
pub use farm::Farm;
pub use http::{FileServer, Response, get as http_get};
pub use mock::{FakeMock, Outcome, Run};
pub use plan::FarmPlan;
pub use processes::Process;
pub use proxy::{Direction, Fate, Fault, Proxy, Strike};
pub use pty::{COLUMNS, Pty, ROWS};
pub use published::{Published, read_index};
pub use publisher::{Publisher, Started, Verified, paths};
pub use rpms::{Damage, damaged, foreign, patched, rpms_from_spec, simple_spec, srpm_from_spec, truncated};
pub use thin_cgroup::SmallMachine;
pub use world::{cached_srpm, fake_mock, mini_folder, poll_until, program};

use std::time::Duration;

/// How long a test waits for what takes a build or two: a minute, because machines that run
/// the tests share two cores between several chroots.
pub const SOON: Duration = Duration::from_secs(60);
