//! What the kernel tells of the hub's process, under the names that all programs use for it.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};

use super::text::{Kind, Text};

/// The hub's process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    cpu_s: f64,
    start_unix_s: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    fds: f64,
    fds_max: f64,
}

/// Reads /proc; None where there is none.
pub(super) fn read() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let tick = system(SysconfVar::CLK_TCK)?;
    let page = system(SysconfVar::PAGE_SIZE)?;
    // proc_pid_stat(5): the name may have spaces and brackets in it; the first field behind it is the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (fds_max, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(Process {
        cpu_s: (field(14)? + field(15)?) / tick,
        start_unix_s: boot + field(22)? / tick,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
        fds: f64::from(u32::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?),
        fds_max: super::float(fds_max),
    })
}

fn system(what: SysconfVar) -> Option<f64> {
    let value = sysconf(what).ok()??;
    u64::try_from(value).ok().map(super::float)
}

impl Process {
    pub(super) fn tell(&self, text: &mut Text) {
        let rows = [
            ("process_cpu_seconds_total", Kind::Counter, "Time on processors, user and system.", self.cpu_s),
            (
                "process_start_time_seconds",
                Kind::Gauge,
                "When the process began, unix time.",
                self.start_unix_s,
            ),
            ("process_resident_memory_bytes", Kind::Gauge, "Memory that is in RAM.", self.resident_bytes),
            ("process_virtual_memory_bytes", Kind::Gauge, "Address space.", self.virtual_bytes),
            ("process_open_fds", Kind::Gauge, "Descriptors that are open.", self.fds),
            ("process_max_fds", Kind::Gauge, "Descriptors that may be open.", self.fds_max),
        ];
        for (name, kind, help, value) in rows {
            text.family(name, kind, help);
            text.sample("", &[], value);
        }
    }
}
