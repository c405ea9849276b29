//! `publisher FOLDER start|merge|publish NVR`: a start, one step of the hub's publication and a complete index, for tests that kill it in the middle.
//!
//! Owns nothing but the choice of the step; [`moji_tests::Publisher`] takes it.

use std::collections::BTreeSet;
use std::path::Path;

use moji_server::index::RecentChange;
use moji_server::repodata::Group;
use moji_tests::{Publisher, Started, paths};

/// A file that is never there: that it is removed shows in a trace.
const MARK: &str = "started";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (folder, step) = words.split_first().expect("a folder");
    let publisher = Publisher::new(Path::new(folder)).expect("folders can be made");
    let Started { mut recent, mut shelves } = publisher.start().expect("the indexes can be opened");
    mark(folder);
    match step {
        ["start"] => {}
        ["publish", nvr] => {
            let add = publisher.staged(nvr).and_then(|result| publisher.commit(&result)).expect("a commit");
            recent.publish(RecentChange { add, ..RecentChange::default() }).expect("a publication");
        }
        ["merge"] => {
            let groups = recent.groups();
            let mut add = groups.iter().map(|group| Ok(Group::clone(group)));
            shelves.merge(&mut add, &BTreeSet::new()).expect("a merge");
            let merged = paths(groups.iter().map(|group| &**group));
            recent.publish(RecentChange { merged, ..RecentChange::default() }).expect("a publication");
        }
        _ => panic!("publisher FOLDER start|merge|publish NVR, not {words:?}"),
    }
    shelves.complete(&recent.groups()).expect("a complete index");
}

/// Tells who traces this program that it has started.
fn mark(folder: &str) {
    let none = std::fs::remove_file(Path::new(folder).join(MARK));
    assert!(none.is_err(), "nobody makes a file of this name");
}
