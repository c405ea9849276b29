//! moji's hub.
//!
//! | room | owns |
//! |---|---|
//! | [`core`] | what the hub decides: pure state machines without I/O, clock, thread or randomness |
//! | [`actors`] | a thread for each core: receive one thing, handle it, run its effects |
//! | [`net`] | the reactor: sockets, handshakes, records |
//! | [`disk`], [`clock`] | every touch of the file system and of the time, behind traits |
//! | [`stage`], [`index`] | the file work of transfers and of repo |
//! | [`repodata`] | the texts of a yum repository |
//! | [`web`] | HTTP, read-only |
//! | [`folders`], [`journal`], [`recovery`] | what is checked, read and put right before the port opens |
//! | [`watch`], [`lists`] | what people do in the source folders |
//! | [`hands`] | what people do in `repo/` |
//! | [`history`] | attempts and builders in SQLite: memory, never on the path of a grant or a commit |
//! | [`mainline`] | what repositories of other people have |
//! | [`thin`] | of all packages, those that one build can need |
//! | [`decision`] | what operators decided about results |
//! | [`rpmfile`] | reading RPM files that nobody vouches for |
//! | [`signing`] | signatures over what is published |

pub mod actors;
pub mod cli;
pub mod clock;
pub mod control;
pub mod core;
pub mod daemon;
pub mod decision;
pub mod desk;
pub mod disk;
pub mod folders;
pub mod hands;
pub mod history;
pub mod hooks;
pub mod index;
pub mod journal;
pub mod keys;
pub mod lists;
pub mod logging;
pub mod mainline;
pub mod net;
pub mod recovery;
pub mod repodata;
pub mod result_json;
pub mod rpmfile;
pub mod run;
pub mod signing;
pub mod stage;
pub mod thin;
pub mod watch;
pub mod web;
pub mod whereabouts;
