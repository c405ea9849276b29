//! Peers that lie: what the hub does not believe of those it has let in, and of those it has not.
//!
//! Owns results that must not be published and peers that break the protocol. In each case the
//! verdict is DESIGN's, nothing is published, nobody else is disturbed, and the hub lives.

#[path = "../quick/mod.rs"]
mod quick;
#[path = "../rogue/mod.rs"]
mod rogue;

// Its minute of waiting begins first, since tests run in the order of their names.
mod broken_off;
mod few;
mod lies;
mod logs;
mod order;
mod protocol;
mod results;
mod scene;
mod strangers;
mod texts;

use std::fs;
use std::path::Path;
use std::process::Command;

use moji_tests::{Farm, SOON, run_to_end};
use quick::quick;

/// What all generations of the full index name, as text.
pub(crate) fn indexed(farm: &Farm) -> String {
    let mut zcat = Command::new("sh");
    zcat.args(["-c", "zcat \"$0\"/repodata/*primary.xml*"]).arg(farm.repo());
    let ended = run_to_end(zcat, SOON);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

/// The hub goes on: an honest builder builds something new.
pub(crate) fn honest_builder_goes_on(farm: &mut Farm, pid: u32) {
    let package = quick(farm, "honest", "1");
    farm.drop_file(&package.srpm);
    farm.add_builder();
    farm.wait_finished(&package.file);
    assert_eq!(farm.result_json("honest-1-1")["verdict"], "success");
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>honest</name>"));
    assert!(farm.hub().is_running());
    assert_eq!(farm.hub().pid(), pid);
    let text = farm.hub().log_text();
    assert!(!text.contains("panicked"), "{text}");
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: u32) -> usize {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    fs::read_dir(folder).expect("the hub runs").count()
}
