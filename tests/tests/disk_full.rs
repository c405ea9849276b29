//! Disks that fill up, on the hub and on a builder: work waits or goes elsewhere, nothing is lost.
//!
//! Owns the scenarios on small file systems that the tests mount themselves. What a disk does in
//! between two system calls is for the unit tests of stage and transfers.

mod quick;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use moji_tests::{Farm, Outcome, SOON, poll_until, rpms_from_spec, run_to_end, simple_spec, srpm_from_spec};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;
use quick::quick;

/// A file system of its own that goes when the test ends.
struct Small(PathBuf);

impl Small {
    /// So many MiB at `at`, which is made.
    fn new(at: &Path, mib: u32) -> Small {
        fs::create_dir_all(at).expect("a mount point");
        let options = format!("size={mib}m,mode=755");
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*options)).expect("a tmpfs");
        Small(at.to_owned())
    }

    fn free(&self) -> u64 {
        let stat = statvfs(&self.0).expect("a mounted file system");
        stat.blocks_available() * stat.fragment_size()
    }

    /// Fills it until so many bytes are left.
    fn fill(&self, leave: u64) {
        let mut file = File::create(self.0.join("filler")).expect("a file");
        let page = [7; 4096];
        while self.free() > leave {
            if file.write_all(&page).is_err() {
                return;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("it was filled");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // It may be gone with the farm already.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A package whose binary RPM has some 3 MB, made outside of the farm; mock waits for `gate`.
fn large(farm: &Farm, made: &Path, name: &str, gate: Option<&str>) -> PathBuf {
    let spec = simple_spec(name, "1", "").replace("echo 1 >", "head -c 3000000 /dev/urandom >");
    let srpm = srpm_from_spec(made, &spec);
    let rpm = rpms_from_spec(made, &spec).remove(0);
    let file = format!("{name}-1-1.src.rpm");
    let mut built = Outcome::exit(0)
        .file(&file, &srpm)
        .file(&format!("{name}-1-1.noarch.rpm"), &rpm)
        .log("build.log", "large\n");
    if let Some(gate) = gate {
        built = built.gate(&farm.gate(gate));
    }
    farm.outcome(&file, built);
    srpm
}

/// The pid of the farm's hub is still that one.
fn hub_lives(farm: &mut Farm, pid: u32) {
    assert!(farm.hub().is_running(), "{}", farm.hub().log_text());
    assert_eq!(farm.hub().pid(), pid);
}

#[test]
fn an_upload_waits_while_the_hubs_disk_is_full_and_goes_on_when_there_is_space() {
    let base = tempfile::tempdir().expect("a folder");
    let made = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let disk = Small::new(&base.path().join("small"), 24);
    let mut farm = Farm::plan()
        .builders(0)
        .base(&disk.0)
        .builder_args(["--min-free", "0"])
        .hub_args(["--min-free", "0"])
        .start();
    let pid = farm.hub().pid();
    // The builder's own disk is another one.
    let state = farm.builder_state(0);
    fs::create_dir(&state).expect("a folder");
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(elsewhere.path()), &state, none, bind, none).expect("a bind mount");
    let srpm = large(&farm, made.path(), "heavy", Some("heavy"));
    let name = farm.drop_file(&srpm);
    farm.add_builder();
    farm.wait_builder_says(0, "builds");
    disk.fill(600_000);
    farm.open_gate("heavy");
    farm.wait_hub_says("uploads and commits wait, everything is kept");
    assert_eq!(farm.places(&name), ["working"]);
    assert!(!farm.repo().join("heavy-1-1").exists());
    let jobs = fs::read_dir(state.join("jobs")).expect("the builder's jobs");
    assert_eq!(jobs.count(), 1, "the spool is kept");
    hub_lives(&mut farm, pid);
    disk.empty();
    farm.wait_finished(&name);
    assert_eq!(farm.result_json("heavy-1-1")["verdict"], "success");
    assert_eq!(farm.results("heavy-1-1"), ["heavy-1-1"]);
    hub_lives(&mut farm, pid);
    let hub = farm.hub();
    assert_eq!(hub.log_count("everything is kept"), 1, "{}", hub.log_text());
    assert_eq!(hub.log_count("the disk takes writes again"), 1);
    assert_eq!(hub.log_count(" leased"), 1, "one lease was enough");
    assert_eq!(farm.builder(0).log_count("next attempt"), 0, "the session lived on");
    // It is published although the disk was full in between.
    farm.wait_until("it to be indexed", SOON, |farm| farm.install(&["heavy"]).is_ok());
}

#[test]
fn a_hub_killed_while_its_disk_is_full_loses_nothing() {
    let base = tempfile::tempdir().expect("a folder");
    let made = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let disk = Small::new(&base.path().join("small"), 24);
    let mut farm = Farm::plan()
        .builders(0)
        .base(&disk.0)
        .builder_args(["--min-free", "0"])
        .hub_args(["--min-free", "0"])
        .start();
    let state = farm.builder_state(0);
    fs::create_dir(&state).expect("a folder");
    let (none, bind) = (None::<&str>, MsFlags::MS_BIND);
    mount(Some(elsewhere.path()), &state, none, bind, none).expect("a bind mount");
    let srpm = large(&farm, made.path(), "heavy", Some("heavy"));
    let name = farm.drop_file(&srpm);
    farm.add_builder();
    farm.wait_builder_says(0, "builds");
    disk.fill(600_000);
    farm.open_gate("heavy");
    farm.wait_hub_says("uploads and commits wait, everything is kept");
    farm.hub().kill9();
    assert_eq!(farm.places(&name), ["working"]);
    // Not a byte is left: a start says so in one line and moves nothing.
    disk.fill(0);
    let mut again = farm.hub_command();
    again.args([farm.source(), farm.working(), farm.finished(), farm.repo()]);
    again.args(["--listen", "127.0.0.1:0", "--http", "off"]).arg("--state").arg(farm.state());
    let ended = run_to_end(again, SOON);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("moji-server: ") && last.contains("No space left on device"),
        "{}",
        ended.stderr
    );
    assert_eq!(farm.places(&name), ["working"]);
    disk.empty();
    farm.start_hub();
    farm.wait_finished(&name);
    assert_eq!(farm.results("heavy-1-1"), ["heavy-1-1"]);
    assert_eq!(farm.result_json("heavy-1-1")["verdict"], "success");
}

#[test]
fn below_the_floor_nothing_is_leased_and_the_reason_is_said_once() {
    let base = tempfile::tempdir().expect("a folder");
    let disk = Small::new(&base.path().join("small"), 32);
    // Before the hub starts: it looks at most once a second.
    disk.fill(10 << 20);
    let mut farm =
        Farm::plan().base(&disk.0).builder_args(["--min-free", "0"]).hub_args(["--min-free", "16M"]).start();
    let (one, two) = (quick(&farm, "one", "1"), quick(&farm, "two", "1"));
    let line = "nothing is leased: ";
    farm.drop_file(&one.srpm);
    farm.wait_hub_says(line);
    farm.drop_file(&two.srpm);
    // The hub saw the second, too: priority.txt is read after it.
    fs::write(farm.source().join("priority.txt"), "two-1-1\n").expect("a list");
    farm.wait_hub_says("priority.txt: 1 lines");
    for package in [&one, &two] {
        assert_eq!(farm.places(&package.file), ["source"]);
    }
    assert_eq!(farm.hub().log_count(line), 1, "{}", farm.hub().log_text());
    assert!(farm.hub().logs_contain(" 16 are needed"));
    disk.empty();
    farm.wait_finished(&one.file);
    farm.wait_finished(&two.file);
    assert_eq!(farm.hub().log_count("leasing again"), 1);
}

#[test]
fn a_builder_whose_disk_is_too_full_takes_no_work_until_there_is_space() {
    let base = tempfile::tempdir().expect("a folder");
    let mut farm = Farm::plan().builders(0).builder_args(["--min-free", "8"]).start();
    let disk = Small::new(&farm.builder_state(0), 16);
    disk.fill(2 << 20);
    let package = quick(&farm, "patient", "1");
    farm.add_builder();
    farm.drop_file(&package.srpm);
    farm.wait_builder_says(0, "takes no work: ");
    let said = "of disk free, below 8 MiB: free some, or lower --min-free";
    assert_eq!(farm.builder(0).log_count(said), 1);
    farm.wait_hub_says("takes no work: its disk is too full, ");
    assert_eq!(farm.places(&package.file), ["source"]);
    disk.empty();
    farm.wait_finished(&package.file);
    assert_eq!(farm.builder(0).log_count("takes work again"), 1);
    assert_eq!(farm.builder(0).log_count("takes no work"), 1);
    drop(base);
}

#[test]
fn a_package_goes_to_another_builder_when_a_disk_fills_up_under_it() {
    let made = tempfile::tempdir().expect("a folder");
    let mut farm = Farm::plan().builders(0).builder_args(["--min-free", "0"]).start();
    // Not enough for the result of a build, ...
    let build = Small::new(&farm.builder_state(0), 2);
    let heavy = farm.drop_file(&large(&farm, made.path(), "heavy", None));
    farm.add_builder();
    farm.wait_hub_says(&format!("pkg={heavy} lease="));
    farm.wait_until("the build to fail for space", SOON, |farm| says(farm, &heavy, "infra"));
    assert_eq!(farm.places(&heavy), ["source"]);
    farm.builder(0).term(SOON);
    // ... and not even enough for the SRPM.
    let fetch = Small::new(&farm.builder_state(1), 2);
    farm.add_builder();
    farm.wait_until("the heavy one to fail there, too", SOON, |farm| {
        poll_until(SOON, || farm.is_in("source", &heavy))
            && says(farm, "builder=", "up from")
            && fs::read_to_string(farm.path().join("hub.log"))
                .is_ok_and(|text| text.matches(" infra").count() >= 2)
    });
    fetch.fill(0);
    let light = quick(&farm, "light", "1");
    farm.drop_file(&light.srpm);
    farm.wait_until("the fetch to fail for space", SOON, |farm| {
        says(farm, &light.file, "infra") || says(farm, &light.file, "released")
    });
    assert_eq!(farm.places(&light.file), ["source"]);
    assert!(farm.builder(1).is_running());
    // A third with space builds both.
    farm.add_builder();
    farm.wait_finished(&light.file);
    farm.wait_finished(&heavy);
    for nvr in ["light-1-1", "heavy-1-1"] {
        assert_eq!(farm.result_json(nvr)["verdict"], "success");
        assert_eq!(farm.results(nvr), [nvr]);
    }
    let hub = farm.hub();
    assert!(!hub.logs_contain("panicked"));
    assert!(hub.log_count("canary") == 0, "a full disk is one builder's fault");
    drop((build, fetch));
}

/// Whether a line of the hub's log has both texts.
fn says(farm: &Farm, one: &str, other: &str) -> bool {
    let text = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
    text.lines().any(|line| line.contains(one) && line.contains(other))
}
