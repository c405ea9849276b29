//! Wall clocks that somebody sets while builds run, by decades; and a farm past January 2038, also of 32-bit builders.
//!
//! Owns clocks that are somewhere else for one program (`time/clock.c`, preloaded): nothing of the machine is changed and
//! nothing needs more than a C compiler. The machine's own clock is set only where MOJI_SET_CLOCK is 1, and put back. What
//! needs more than this machine has is skipped, and says so; with MOJI_TESTS_ARMV5 set, as in `tests/armv5.rs`.

mod pieces;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moji_tests::faults::Tally;
use moji_tests::{Armv5, Farm, FarmPlan, SOON, program, run_to_end};
use nix::time::{ClockId, clock_gettime, clock_settime};
use pieces::{assert_done_once, at_gate, builder_log, drop_planned, hub_log, leases, plan};

/// How long a compiler may take on a machine in distress.
const COMPILED: Duration = Duration::from_secs(60);
/// A year, seconds.
const YEAR_S: i64 = 365 * 86_400;
/// The second after which 32 bits with a sign do not suffice, unix seconds.
const END_OF_32_BITS_S: i64 = i32::MAX as i64;
/// `--lease-grace` of the farms here, seconds.
const GRACE_S: u64 = 5;

/// Says that something was not tested; no test harness swallows it.
fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {why}");
}

fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("this machine's clock is after 1970");
    i64::try_from(since.as_secs()).expect("seconds fit")
}

/// Clocks of programs, each as far off as its file says.
struct Clocks {
    folder: tempfile::TempDir,
    library: PathBuf,
}

impl Clocks {
    /// Compiles what is preloaded.
    fn new() -> Clocks {
        let folder = tempfile::Builder::new().prefix("moji-clocks-").tempdir().expect("a folder");
        let library = folder.path().join("clock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/time/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
        let ended = run_to_end(compiler, COMPILED);
        assert_eq!(ended.code, 0, "cc: {}", ended.stderr);
        Clocks { folder, library }
    }

    /// Sets the clock of that name, of programs that run too: so many seconds off.
    fn set(&self, name: &str, off_s: i64) {
        let path = self.folder.path().join(name);
        // In place: the programs have it mapped.
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let written = file.and_then(|mut file| file.write_all(&off_s.to_ne_bytes()));
        written.expect("a clock is set");
    }

    /// What a shell says before a program that is to have this clock.
    fn words(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        format!("MOJI_CLOCK={} LD_PRELOAD={}", path.display(), self.library.display())
    }

    /// One of our programs with this clock.
    fn program(&self, name: &str, clock: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}-by-{clock}"));
        let text = format!("#!/bin/sh\n{} exec {} \"$@\"\n", self.words(clock), program(name).display());
        // By a shell: see `Armv5`.
        let mut shell = Command::new("sh");
        shell.args(["-euc", "printf '%s' \"$1\" > \"$2\"", "sh", &text]).arg(&path);
        assert_eq!(run_to_end(shell, COMPILED).code, 0, "a program is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
        path
    }

    /// A farm's hub and builder with a clock each, `hub` and `board`, which are right so far.
    fn farm(&self) -> FarmPlan {
        self.set("hub", 0);
        self.set("board", 0);
        let plan = Farm::plan().hub_args(["--lease-grace", &GRACE_S.to_string()]);
        let plan = plan.program("moji-server", self.program("moji-server", "hub"));
        plan.program("moji-client", self.program("moji-client", "board"))
    }
}

/// Says whether anything of the farm fell over.
fn panicked(farm: &Farm) -> bool {
    hub_log(farm).contains("panicked") || builder_log(farm, 0).contains("panicked")
}

#[test]
fn no_lease_is_lost_and_none_lives_for_ever_when_wall_clocks_are_set_by_decades() {
    let mut tally = Tally::new(
        8,
        "clock-set",
        "hub's and board's wall clock set by 60 years, forth and back, to 2 s before January 2038 ends 32 bits, and to \
         before 1970, in builds whose board or hub is then killed",
        "each build is adopted and published once; a lease whose board is gone ends within its grace",
        "cargo test -p moji-tests --test time",
    );
    let clocks = Clocks::new();
    let mut farm = clocks.farm().start();
    let to_2038 = || END_OF_32_BITS_S - 2 - unix_s();
    let jumps = [
        ("to 2086", 60 * YEAR_S),
        ("to 1966", -60 * YEAR_S),
        ("into the end of 32 bits", to_2038()),
        ("right", 0),
    ];
    for (number, (what, off_s)) in jumps.into_iter().enumerate() {
        tally.case();
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("jump{number}"), 20, 40, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        clocks.set("hub", off_s);
        clocks.set("board", off_s);
        // Whoever comes back hears that it still holds its build, whatever the date is now.
        let adopted = hub_log(&farm).matches("adopted: its builder is back").count();
        if number % 2 == 0 {
            farm.builder(0).kill9();
            farm.start_builder(0);
        } else {
            farm.hub().kill9();
            farm.start_hub();
        }
        farm.wait_until("the build to be adopted", SOON, |farm| {
            hub_log(farm).matches("adopted: its builder is back").count() > adopted
        });
        farm.open_gate(&gate);
        assert_done_once(&farm, 0, &package);
        tally.holds(leases(&farm, &package.srpm) == 1, || {
            format!("{what}: leased again\n{}", farm.diagnosis())
        });
        tally.holds(!panicked(&farm), || format!("{what}: panicked\n{}", farm.diagnosis()));
    }
    // A lease that began its grace in the far future, or past, ends when it is over all the same.
    for (number, off_s) in [60 * YEAR_S, -60 * YEAR_S].into_iter().enumerate() {
        tally.case();
        clocks.set("hub", off_s);
        let package = plan(&farm, &format!("grace{number}"), 20, 40, Some(&format!("grace{number}")));
        clocks.set("board", off_s);
        farm.builder(0).kill9();
        farm.start_builder(0);
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        farm.builder(0).kill9();
        clocks.set("hub", 0);
        clocks.set("board", 0);
        farm.wait_until("the lease to end", SOON, |farm| farm.places(&package.srpm) == ["source"]);
        farm.start_builder(0);
        farm.open_gate(&format!("grace{number}"));
        assert_done_once(&farm, 0, &package);
        tally.holds(!panicked(&farm), || format!("{off_s} s: panicked\n{}", farm.diagnosis()));
    }
    tally.end();
}

#[test]
fn a_32_bit_builder_past_2038_builds_what_was_made_then() {
    let mut tally = Tally::new(
        8,
        "past-2038",
        "the static ARMv5 builder under qemu-user, its clock and its hub's in 2040 and over the end of 32 bits, with a \
         source package and files of that time",
        "it registers, builds, and its result is published",
        "tests/armv5 build && cargo test -p moji-tests --test time",
    );
    let clocks = Clocks::new();
    clocks.set("hub", 0);
    clocks.set("board", 0);
    let armv5 = match Armv5::with_environment(&clocks.words("board")) {
        Ok(armv5) => armv5,
        Err(why) => {
            let must = std::env::var_os("MOJI_TESTS_ARMV5").is_some() && !why.contains("binfmt_misc");
            assert!(!must, "{why}");
            return skipped("a 32-bit builder past 2038", &why);
        }
    };
    let hub = clocks.program("moji-server", "hub");
    let mut farm = Farm::plan().armv5(&armv5).program("moji-server", hub).start();
    for (number, at_s) in [END_OF_32_BITS_S - 2, END_OF_32_BITS_S + 2 * YEAR_S].into_iter().enumerate() {
        tally.case();
        let off_s = at_s - unix_s();
        clocks.set("hub", off_s);
        clocks.set("board", off_s);
        farm.builder(0).kill9();
        farm.start_builder(0);
        let package = plan(&farm, &format!("late{number}"), 20, 40, None);
        for file in
            fs::read_dir(farm.path().join(format!("made-late{number}"))).into_iter().flatten().flatten()
        {
            let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(at_s).expect("after 1970"));
            let opened = fs::File::open(file.path()).and_then(|file| file.set_modified(time));
            tally.holds(opened.is_ok(), || format!("{}: {opened:?}", file.path().display()));
        }
        drop_planned(&farm, &package);
        assert_done_once(&farm, 0, &package);
        tally.holds(!panicked(&farm), || format!("{at_s}: panicked\n{}", farm.diagnosis()));
        let status = farm.moji(&["status"]);
        tally.holds(status.code == 0, || format!("{at_s}: moji status: {status:?}"));
    }
    tally.end();
}

/// Puts the machine's clock back when it is dropped.
struct PutBack {
    wall: Duration,
    since_boot: Duration,
}

impl PutBack {
    fn now(clock: ClockId) -> Duration {
        clock_gettime(clock).expect("a clock of the machine").into()
    }

    fn new() -> PutBack {
        PutBack { wall: Self::now(ClockId::CLOCK_REALTIME), since_boot: Self::now(ClockId::CLOCK_BOOTTIME) }
    }

    fn set(&self, off_s: i64) -> nix::Result<()> {
        let right = self.wall + (Self::now(ClockId::CLOCK_BOOTTIME) - self.since_boot);
        let there = Duration::from_secs(right.as_secs().saturating_add_signed(off_s));
        clock_settime(ClockId::CLOCK_REALTIME, there.into())
    }
}

impl Drop for PutBack {
    fn drop(&mut self) {
        self.set(0).expect("the machine's clock is put back");
    }
}

#[test]
fn a_build_goes_on_when_the_machines_own_clock_is_set() {
    if std::env::var("MOJI_SET_CLOCK").as_deref() != Ok("1") {
        return skipped("setting the machine's own clock", "MOJI_SET_CLOCK is not 1");
    }
    let mut tally = Tally::new(
        8,
        "clock-of-the-machine",
        "the machine's clock set by 13 years, forth and back, in a build whose board is then killed",
        "the build is adopted and published once",
        "MOJI_SET_CLOCK=1 cargo test -p moji-tests --test time",
    );
    let mut farm = Farm::plan().hub_args(["--lease-grace", "30"]).start();
    let back = PutBack::new();
    for (number, off_s) in [13 * YEAR_S, -13 * YEAR_S].into_iter().enumerate() {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("set{number}"), 20, 40, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        if let Err(why) = back.set(off_s) {
            tally.case();
            tally.figure(format!("not set: {why}"));
            tally.end();
            return skipped("setting the machine's own clock", &why.to_string());
        }
        tally.case();
        farm.builder(0).kill9();
        farm.start_builder(0);
        farm.wait_hub_says("adopted: its builder is back");
        farm.open_gate(&gate);
        assert_done_once(&farm, 0, &package);
        back.set(0).expect("it was set before");
        tally.holds(leases(&farm, &package.srpm) == 1, || farm.diagnosis());
    }
    tally.end();
}
