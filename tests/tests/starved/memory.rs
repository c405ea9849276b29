//! No memory left.

use std::fs;

use moji_tests::faults::Tally;
use moji_tests::{Farm, SOON, poll_until};

use crate::{at_gate, drop_in, finished, limit, plan};

/// How much more than it has a process may take, KiB: nothing, and enough to begin something.
const MORE_KIB: [u64; 2] = [0, 1024];

/// Size of the address space of a process, KiB.
fn size_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let number = line.and_then(|text| text.split_whitespace().next()?.parse().ok());
    number.expect("a process that lives has a size")
}

fn squeeze(pid: u32, more_kib: u64) {
    limit(pid, &format!("--as={}:", (size_kib(pid) + more_kib) * 1024));
}

#[test]
fn a_daemon_without_memory_copes_or_dies_and_nothing_is_lost() {
    let mut tally = Tally::new(
        2,
        "starved-memory",
        "hub or builder get no more memory than they have, or a little: while a result of 12 MB is taken and committed",
        "it copes or it dies; started again, everything is finished once",
        "cargo test -p moji-tests --test starved memory",
    );
    for is_hub in [true, false] {
        for more_kib in MORE_KIB {
            let mut farm =
                Farm::plan().hub_args(["--min-free", "0"]).builder_args(["--min-free", "0"]).start();
            let what = format!("{} with {more_kib} KiB more", if is_hub { "hub" } else { "builder" });
            let package = plan(&farm, "heavy", 6, 2_000_000);
            drop_in(&farm, &package);
            at_gate(&farm, 0, &package);
            let daemon = if is_hub { farm.hub() } else { farm.builder(0) };
            let pid = daemon.pid();
            squeeze(pid, more_kib);
            farm.open_gate("heavy");
            // It ends, or copes; whichever comes first is the case. One that does neither is set free.
            let mut died = false;
            poll_until(SOON / 6, || {
                died = !(if is_hub { farm.hub() } else { farm.builder(0) }).is_running();
                died || farm.places(&package.srpm) == ["finished"]
            });
            if died && is_hub {
                farm.start_hub();
            } else if died {
                farm.start_builder(0);
            } else {
                limit(pid, "--as=unlimited:");
            }
            finished(&farm, &package, &what, &mut tally);
            tally.figure(format!("{what}: {}", if died { "died" } else { "coped" }));
            tally.case();
        }
    }
    tally.end();
}
