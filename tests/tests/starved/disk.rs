//! No space, and no writing at all.

use std::fs;
use std::path::{Path, PathBuf};

use moji_tests::faults::{Kind, LoopDisk, Tally};
use moji_tests::{Farm, SOON};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{at_gate, drop_in, finished, is_calm, plan, status_ends, status_says};

/// A file system in memory that goes when the test ends.
struct Small(PathBuf);

impl Small {
    /// Over what is there, which it then holds.
    fn over(at: &Path, mib: u32) -> Small {
        let kept: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(at)
            .expect("a folder")
            .flatten()
            .map(|entry| (entry.path(), fs::read(entry.path()).expect("a file")))
            .collect();
        let options = format!("size={mib}m,mode=755");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*options)).expect("a tmpfs");
        for (path, bytes) in kept {
            fs::write(path, bytes).expect("a file");
        }
        Small(at.to_owned())
    }

    /// Not a byte is left.
    fn fill(&self) {
        let page = vec![7; 4096];
        let mut file = fs::File::create(self.0.join("filler")).expect("a file");
        while std::io::Write::write_all(&mut file, &page).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_state_folder_or_journal_loses_nothing() {
    let mut tally = Tally::new(
        2,
        "starved-disk",
        "not a byte is left: in a state folder on a file system of its own, where history and attempts are; and where \
         the journal and all folders are, when a package is granted",
        "the hub waits, idle, or says in status that it must be restarted; with space everything is finished once",
        "cargo test -p moji-tests --test starved full",
    );
    let what = "state folder";
    let mut farm = Farm::plan().hub_args(["--min-free", "0"]).nothing_started().start();
    let small = Small::over(&farm.state(), 4);
    farm.start_hub();
    farm.add_builder();
    let package = plan(&farm, "state", 3, 20_000);
    drop_in(&farm, &package);
    at_gate(&farm, 0, &package);
    small.fill();
    farm.open_gate("state");
    let pid = farm.hub().pid();
    is_calm(pid, what, &mut tally);
    let lives = farm.hub().is_running();
    tally.holds(lives, || format!("{what}: the hub ended\n{}", farm.diagnosis()));
    small.empty();
    finished(&farm, &package, what, &mut tally);
    // It is as good as new.
    let next = plan(&farm, "next", 1, 500);
    farm.open_gate("next");
    drop_in(&farm, &next);
    finished(&farm, &next, what, &mut tally);
    tally.case();
    drop((farm, small));

    let what = "journal";
    let mut farm = Farm::plan().builders(0).hub_args(["--min-free", "0"]).nothing_started().start();
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("disk");
    fs::create_dir(&at).expect("a folder");
    let small = Small::over(&at, 16);
    for name in ["source", "working", "finished", "repo"] {
        fs::create_dir(at.join(name)).expect("a folder");
        fs::remove_dir(farm.path().join(name)).expect("an empty folder");
        std::os::unix::fs::symlink(at.join(name), farm.path().join(name)).expect("a link");
    }
    farm.start_hub();
    let all: Vec<_> = (0..4).map(|number| plan(&farm, &format!("j{number}"), 2, 20_000)).collect();
    for (number, package) in all.iter().enumerate() {
        farm.open_gate(&format!("j{number}"));
        drop_in(&farm, package);
    }
    farm.wait_until("all to be known", SOON, |farm| farm.moji(&["list"]).stdout.contains("j3"));
    small.fill();
    farm.add_builder();
    let pid = farm.hub().pid();
    farm.wait_until("it to wait", SOON, |farm| {
        let log = crate::log_of(&farm.path().join("hub.log"));
        log.contains("uploads and commits wait") || log.contains("nothing is leased until a restart")
    });
    is_calm(pid, what, &mut tally);
    let is_stopped = farm.hub().logs_contain("until a restart");
    status_says(&farm, if is_stopped { "restart the hub" } else { "free some space" }, what, &mut tally);
    tally.figure(format!("a full journal: {}", if is_stopped { "restart" } else { "goes on by itself" }));
    small.empty();
    if is_stopped {
        farm.hub().term(SOON);
        farm.start_hub();
    }
    for package in &all {
        finished(&farm, package, what, &mut tally);
    }
    status_ends(&farm, "uploads and commits wait", what, &mut tally);
    tally.case();
    drop((farm, small));
    tally.end();
}

#[test]
fn a_file_system_that_becomes_read_only_loses_nothing() {
    let skip = |why: String| eprintln!("\n*** SKIPPED: no file system can fail on this machine: {why} ***\n");
    let disk = match LoopDisk::new(Kind::Ext4, 64).and_then(|disk| disk.fail().map(|()| disk)) {
        Ok(disk) => disk,
        Err(why) => return skip(why),
    };
    drop(disk);
    let mut tally = Tally::new(
        2,
        "starved-readonly",
        "ext4 finds an error in itself and becomes read-only under all of the hub's folders: during a build, an upload \
         and while nothing happens",
        "nothing is accepted; the hub is idle, and status says that it must be restarted; mounted again, all is finished once",
        "cargo test -p moji-tests --test starved read_only",
    );
    for what in ["build", "upload", "rest"] {
        let disk = LoopDisk::new(Kind::Ext4, 64).expect("it could be made before");
        let mut farm = Farm::plan().through_proxy().hub_args(["--min-free", "0"]).nothing_started().start();
        disk.take_folders(&farm);
        farm.start_hub();
        farm.add_builder();
        disk.settle();
        let package = plan(&farm, "frozen", 3, if what == "upload" { 3_000_000 } else { 5_000 });
        if what != "rest" {
            drop_in(&farm, &package);
            // Whoever drops a package sees to it that it is on the disk.
            disk.settle();
            at_gate(&farm, 0, &package);
        }
        if what == "upload" {
            farm.proxy().delay(std::time::Duration::from_millis(10));
            let before = farm.proxy().bytes(moji_tests::Direction::ToHub);
            farm.open_gate("frozen");
            farm.wait_until("an upload", SOON, |farm| {
                farm.proxy().bytes(moji_tests::Direction::ToHub) > before + 500_000
            });
        }
        disk.fail().expect("it could fail before");
        farm.open_gate("frozen");
        let pid = farm.hub().pid();
        if what != "rest" {
            farm.wait_hub_says("nothing is leased until a restart");
            status_says(&farm, "restart the hub", what, &mut tally);
            tally.holds(!farm.builder(0).logs_contain("accepted"), || format!("{what}: it was accepted"));
        }
        is_calm(pid, what, &mut tally);
        let lives = farm.hub().is_running();
        tally.holds(lives, || format!("{what}: the hub ended\n{}", farm.diagnosis()));
        farm.hub().kill9();
        disk.plug_in_again();
        if what == "rest" {
            drop_in(&farm, &package);
        }
        farm.start_hub();
        finished(&farm, &package, what, &mut tally);
        tally.case();
        farm.hub().kill9();
        drop(farm);
    }
    tally.end();
}
