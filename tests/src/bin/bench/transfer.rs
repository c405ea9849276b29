//! Bytes to and from builders: one of them, and 32 at once, beside what people would use instead.
//!
//! Owns this benchmark: which files move how often, and the table. The peers are in [`crate::peers`].

use std::path::Path;
use std::time::{Duration, Instant};

use moji_proto::limits::CHUNK_BYTES_MAX;
use moji_proto::message::{FromBuilder, ToBuilder};
use moji_proto::{Digest, Hasher, LeaseId};

use crate::builds::{Content, Upload};
use crate::hub::{Hub, cpu_s};
use crate::peers::{Direction, Iperf, Nginx, Rsync, Sample};
use crate::srpm;
use crate::swarm::Swarm;
use crate::table::{RUNS, Runs, Summary, Table, runs};

/// No new run of a figure begins after so long.
const ENOUGH: Duration = Duration::from_secs(25);
/// What moves in one run, all builders together, bytes: long enough for a second or so.
const RUN_BYTES: u32 = 256 << 20;
/// The share of iperf3 that one builder is to have.
const EXPECTED_SHARE: f64 = 0.2;
/// How many builders.
const BUILDERS: [usize; 2] = [1, 32];
/// What a builder asks for at a time, twice over, as the client does.
const FETCH_BYTES: u64 = 4 * CHUNK_BYTES_MAX as u64;
const LIMIT: Duration = Duration::from_secs(120);
/// How long the hub may take to come to rest between runs.
const REST: Duration = Duration::from_secs(20);

/// The figures of one way to move bytes.
#[derive(Default)]
struct Figures {
    mb_s: Runs,
    hub_cpu: Runs,
    builder_cpu: Runs,
}

impl Figures {
    fn push(&mut self, sample: Sample) {
        self.mb_s.push(sample.bytes / sample.seconds / 1e6);
        self.hub_cpu.push(sample.hub_cpu_s / sample.bytes * 1e9);
        self.builder_cpu.push(sample.builder_cpu_s / sample.bytes * 1e9);
    }
}

/// Runs it, with all folders in `base`.
pub(crate) fn run(base: &Path, summary: &mut Summary) {
    crate::cpu::run();
    let mut table = Table::new(
        "Moving 256 MiB over loopback; median of 3 to 5 runs (smallest to largest); CPU-seconds a GB on the hub's side and on the builder's",
        &["builders", "direction", "by", "MB/s", "moji is", "CPU-s/GB hub", "CPU-s/GB builder"],
    );
    for builders in BUILDERS {
        for direction in [Direction::Download, Direction::Upload] {
            both(base, builders, direction, &mut table, summary);
        }
    }
    table.print();
}

fn both(base: &Path, builders: usize, direction: Direction, table: &mut Table, summary: &mut Summary) {
    let file_bytes = RUN_BYTES / builders as u32;
    let mut moji = Moji::new(base, builders, file_bytes);
    let folder = tempfile::Builder::new().prefix("moji-bench-").tempdir_in(base).expect("a folder");
    let iperf = Iperf::start();
    let nginx = Nginx::start(folder.path(), builders, file_bytes);
    let rsync = Rsync::start(folder.path());
    let names = [
        "moji",
        "iperf3 (plain, no disk)",
        "nginx, TLS 1.3, AES-GCM",
        "nginx, TLS 1.3, ChaCha20",
        "rsync (plain)",
    ];
    let mut figures: [Figures; 5] = Default::default();
    // In turns, so that whatever else the machine does hits all alike.
    for _ in runs(ENOUGH) {
        figures[0].push(match direction {
            Direction::Download => moji.download(),
            Direction::Upload => moji.upload(),
        });
        figures[1].push(iperf.run(direction, builders));
        figures[2].push(nginx.run(direction, false));
        figures[3].push(nginx.run(direction, true));
        figures[4].push(rsync.run(direction, nginx.files()));
    }
    let own = figures[0].mb_s.median();
    let wanted = (builders == 1).then(|| ("> 0.2", own / figures[1].mb_s.median() > EXPECTED_SHARE));
    for (number, peer) in [(1, "iperf3"), (2, "nginx"), (4, "rsync")] {
        let name = format!("{builders} {direction}");
        let wanted = wanted.filter(|_| number == 1);
        summary.add(&name, (&figures[0].mb_s, 0, "MB/s"), Some((peer, &figures[number].mb_s)), wanted);
    }
    summary.add("  CPU of the hub for it", (&figures[0].hub_cpu, 2, "s/GB"), None, None);
    for (name, figures) in names.into_iter().zip(&figures) {
        let ratio = format!("{:.2} of it", own / figures.mb_s.median());
        table.row([
            builders.to_string(),
            direction.to_string(),
            name.to_owned(),
            figures.mb_s.text(0),
            if name == "moji" { String::new() } else { ratio },
            figures.hub_cpu.text(2),
            figures.builder_cpu.text(2),
        ]);
    }
}

/// A hub with builders that each hold a lease.
struct Moji {
    hub: Hub,
    swarm: Swarm,
    movers: Vec<Mover>,
    content: Content,
}

struct Mover {
    lease: Option<(LeaseId, u64, Digest)>,
    /// Bytes of the SRPM that came, and that were asked for.
    got: u64,
    asked: u64,
    hasher: Hasher,
    upload: Upload,
    is_done: bool,
}

impl Moji {
    fn new(base: &Path, builders: usize, file_bytes: u32) -> Moji {
        let hub = Hub::start(base, |source| {
            for number in 0..builders {
                srpm::write(source, &format!("a{number:02}"), file_bytes).expect("a package can be written");
            }
            for number in 0..builders * RUNS {
                srpm::write(source, &format!("b{number:03}"), 64).expect("a package can be written");
            }
        });
        let mut swarm = Swarm::new(&hub, builders);
        let mover = |_| Mover {
            lease: None,
            got: 0,
            asked: 0,
            hasher: Hasher::default(),
            upload: Upload::default(),
            is_done: false,
        };
        swarm.connect_and_wait(LIMIT);
        let content = Content::new("data.bin", u64::from(file_bytes));
        let mut moji = Moji { hub, swarm, movers: (0..builders).map(mover).collect(), content };
        moji.take_jobs();
        moji
    }

    fn take_jobs(&mut self) {
        let Moji { swarm, movers, .. } = self;
        (0..movers.len()).for_each(|i| swarm.say(i, &FromBuilder::Ready));
        swarm.run_until(LIMIT, "every builder to have a job", |_, news| {
            if let Some((i, ToBuilder::Job { lease, size, digest, .. })) = news {
                movers[i].lease = Some((lease, size, digest));
            }
            movers.iter().all(|mover| mover.lease.is_some())
        });
    }

    fn measure(&mut self, bytes: u64, body: impl FnOnce(&mut Moji)) -> Sample {
        self.swarm.rest(&self.hub, REST);
        let (began, hub, own) = (Instant::now(), self.hub.cpu_s(), cpu_s(std::process::id()));
        body(self);
        Sample {
            bytes: bytes as f64,
            seconds: began.elapsed().as_secs_f64(),
            hub_cpu_s: self.hub.cpu_s() - hub,
            builder_cpu_s: cpu_s(std::process::id()) - own,
        }
    }

    /// Every builder fetches its SRPM once, as the client does, and checks it.
    fn download(&mut self) -> Sample {
        let bytes = self.movers.iter().filter_map(|mover| mover.lease).map(|(_, size, _)| size).sum();
        self.measure(bytes, |moji| {
            let Moji { swarm, movers, .. } = moji;
            for (i, mover) in movers.iter_mut().enumerate() {
                (mover.got, mover.asked) = (0, 0);
                (mover.is_done, mover.hasher) = (false, Hasher::default());
                fetch(swarm, i, mover);
            }
            swarm.run_until(LIMIT, "every builder to have its SRPM", |swarm, news| {
                if let Some((i, ToBuilder::Data { offset, bytes, .. })) = news {
                    let mover = &mut movers[i];
                    assert_eq!(offset, mover.got, "pieces come in order");
                    mover.hasher.update(&bytes.0);
                    mover.got += bytes.0.len() as u64;
                    let (_, size, digest) = mover.lease.expect("it has a job");
                    if mover.got == size {
                        assert!(std::mem::take(&mut mover.hasher).finish() == digest, "the SRPM is whole");
                        mover.is_done = true;
                    } else {
                        fetch(swarm, i, mover);
                    }
                }
                movers.iter().all(|mover| mover.is_done)
            });
        })
    }

    /// Every builder uploads its file; it is done when the hub has accepted it: all there, synced, its digest
    /// checked and its folder in `repo/`. Everybody's next job is outside of what is measured.
    fn upload(&mut self) -> Sample {
        let bytes = self.content.size * self.movers.len() as u64;
        let sample = self.measure(bytes, |moji| {
            let Moji { swarm, movers, content, .. } = moji;
            for (i, mover) in movers.iter_mut().enumerate() {
                mover.is_done = false;
                let (lease, ..) = mover.lease.take().expect("it has a job");
                content.results(lease).iter().for_each(|message| swarm.say(i, message));
            }
            swarm.run_until(LIMIT, "the hub to accept every file", |swarm, news| {
                let Some((i, said)) = news else { return movers.iter().all(|mover| mover.is_done) };
                let mover = &mut movers[i];
                let (lease, is_want, offset) = match said {
                    ToBuilder::Want { lease, offset, .. } => (lease, true, offset),
                    ToBuilder::Ack { lease, offset, .. } => (lease, false, offset),
                    ToBuilder::Accepted { .. } => {
                        mover.is_done = true;
                        return false;
                    }
                    other => panic!("the hub said {other:?}"),
                };
                mover.upload.heard(is_want, offset);
                while let Some(piece) = mover.upload.next_piece(lease, content) {
                    swarm.say(i, &piece);
                }
                false
            });
        });
        self.take_jobs();
        sample
    }
}

/// Asks as the client does: two pieces are outstanding.
fn fetch(swarm: &mut Swarm, i: usize, mover: &mut Mover) {
    let (lease, size, _) = mover.lease.expect("it has a job");
    while mover.asked < size && mover.asked - mover.got <= FETCH_BYTES {
        let length = (size - mover.asked).min(FETCH_BYTES);
        swarm.say(i, &FromBuilder::Fetch { lease, offset: mover.asked, length: length as u32 });
        mover.asked += length;
    }
}
