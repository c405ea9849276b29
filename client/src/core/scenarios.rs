//! Scripted runs of the core: events in, effects out, on a clock of their own.

use moji_proto::message::{Backend, Exit, Limits, Phase, ToBuilder, Verdict, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, Hasher, LeaseId, Line};

use super::*;

mod again;
mod ends;

const HUB_S: u64 = 1_800_000_000;

fn lease(counter: u32) -> LeaseId {
    LeaseId { incarnation: 17, counter }
}

fn config() -> Config {
    let name = |text: &str| FileName::new(text).unwrap();
    Config {
        name: name("b1"),
        instance: 1,
        arch: name("armv5tel"),
        version: name("0"),
        cfg: Line::lossy("mini"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 128,
        setup: Line::lossy("install @buildsys-build"),
        weak: false,
        hub_host: "[::1]".to_owned(),
        once: false,
        disk_free_min_mib: 2048,
        seed: 7,
    }
}

fn measured() -> Measured {
    Measured { disk_free_mib: 9000, memory_free_mib: 90, load_centi: 0, celsius: None, unix_s: HUB_S }
}

fn srpm() -> Vec<u8> {
    vec![5; 300_000]
}

fn record(counter: u32) -> JobRecord {
    JobRecord {
        lease: lease(counter),
        srpm: FileName::new("a-1-1.src.rpm").unwrap(),
        size: srpm().len() as u64,
        digest: Digest::of(&srpm()),
        options: Vec::new(),
        limits: Limits { silence_s: 7, build_s: 0 },
        place: Line::default(),
    }
}

fn summary() -> Summary {
    let file = |name: &str, size| ResultFile {
        name: FileName::new(name).unwrap(),
        size,
        digest: Hasher::default().finish(),
    };
    Summary {
        exit: Exit::Code(0),
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 9,
        oom_kills: 0,
        files: vec![file("a.rpm", 1_000_000), file("build.log", 10)],
        evidence: vec![(Which::Build, Line::lossy("x"))],
        peak_memory_mib: 120,
        silence_s: 3,
    }
}

/// A builder on a clock, whose looks at the machine are answered at once.
struct Script {
    now: Time,
    builder: Builder,
    measured: Measured,
    /// Log lines are left out.
    did: Vec<Effect>,
}

impl Script {
    fn new(config: Config) -> Script {
        Script { now: Time(1000), builder: Builder::new(config), measured: measured(), did: Vec::new() }
    }

    fn on(&mut self, event: Event) -> &mut Script {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut out = Vec::new();
            self.builder.handle(self.now, event, &mut out);
            for effect in out {
                match effect {
                    Effect::Measure => events.push(Event::Measured(self.measured)),
                    Effect::Log(..) => {}
                    other => self.did.push(other),
                }
            }
        }
        self
    }

    /// Answers every `Ping`.
    fn pong(&mut self) -> &mut Script {
        while !self.builder.link.all_heard() {
            self.hear(ToBuilder::Pong);
        }
        self
    }

    fn hear(&mut self, message: ToBuilder) -> &mut Script {
        self.on(Event::Message(message))
    }

    /// What was done since the last look.
    fn did(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.did)
    }

    fn said(&mut self) -> Vec<FromBuilder> {
        self.did()
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Send(message) => Some(message),
                _ => None,
            })
            .collect()
    }

    /// Lets time pass until the next deadline, at most `ms`.
    fn pass(&mut self, ms: u64) -> &mut Script {
        let end = self.now.plus_ms(ms);
        while let Some(due) = self.builder.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.on(Event::Timer);
        }
        self.now = end;
        self
    }

    fn begin(&mut self, jobs: Vec<Found>, released: Vec<Released>) -> &mut Script {
        self.on(Event::Begin { jobs, released, draining: false })
    }

    /// Connects and hears `Registered`.
    fn connect(&mut self) -> Vec<FromBuilder> {
        self.did();
        self.on(Event::Connected);
        let said = self.said();
        let registered = ToBuilder::Registered { time_unix_s: HUB_S, ping_s: 20, http_port: 6780, repos: 2 };
        self.hear(registered);
        self.hear(ToBuilder::Repo { place: Line::lossy("/repo/") });
        self.hear(ToBuilder::Repo { place: Line::lossy("http://mirror/x/") });
        said
    }

    /// A builder that is connected and ready.
    fn ready() -> Script {
        let mut script = Script::new(config());
        script.begin(vec![], vec![]);
        script.connect();
        assert!(script.said().contains(&FromBuilder::Ready));
        script
    }

    fn offer(&mut self, counter: u32) -> &mut Script {
        self.offer_at(counter, "")
    }

    fn offer_at(&mut self, counter: u32, place: &str) -> &mut Script {
        let JobRecord { lease, srpm, size, digest, limits, .. } = record(counter);
        let place = Line::lossy(place);
        self.hear(ToBuilder::Job { lease, srpm, size, digest, limits, place, options: 0 })
    }

    fn data(&mut self, counter: u32, offset: u64, bytes: &[u8]) -> &mut Script {
        self.hear(ToBuilder::Data { lease: lease(counter), offset, bytes: Bytes(bytes.to_vec()) })
    }

    /// Sends all pieces that are asked for.
    fn fetch(&mut self, counter: u32) -> &mut Script {
        let srpm = srpm();
        while let Stage::Fetching { got, asked, .. } = self.builder.jobs[lease(counter)].stage {
            let end = asked.min(got + 32_000);
            self.data(counter, got, &srpm[got as usize..end as usize]);
        }
        self
    }

    /// A builder whose job is in this stage.
    fn in_stage(stage: &str) -> Script {
        let mut script = Script::ready();
        script.offer(1);
        if stage != "fetching" {
            script.fetch(1);
        }
        if stage == "collecting" {
            script.on(Event::PhaseSeen { lease: lease(1), phase: Phase::Collect });
        }
        if stage == "finished" {
            script.on(Event::Ended { lease: lease(1), summary: summary() });
        }
        script.did();
        script
    }

    /// Breaks the connection and comes back to the moment when `Held` was said.
    fn reconnect(&mut self) -> Vec<FromBuilder> {
        self.on(Event::Disconnected("broke".to_owned())).pass(2_000);
        assert!(self.did().contains(&Effect::Connect));
        self.connect()
    }
}

fn adopted(logs: [u64; 4]) -> ToBuilder {
    ToBuilder::Adopted { lease: lease(1), logs }
}

#[test]
fn pauses_between_attempts_grow_to_a_minute_and_a_refusal_waits_that_long() {
    let mut script = Script::new(config());
    script.begin(vec![], vec![]);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        script.on(Event::Disconnected("no".to_owned()));
        let due = script.builder.deadline().unwrap();
        pauses.push(due.since_ms(script.now));
        script.now = due;
        script.on(Event::Timer);
    }
    assert!(pauses.iter().all(|pause| (1_000..=60_000).contains(pause)), "{pauses:?}");
    assert!(pauses[0] == 1_000 && pauses[7..].iter().all(|pause| *pause >= 30_000), "{pauses:?}");
    assert!(pauses[7..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter: {pauses:?}");
    script.on(Event::Refused { why: "no".to_owned(), code: 5 });
    assert_eq!(script.builder.deadline(), Some(script.now.plus_ms(60_000)));
}

#[test]
fn a_silent_hub_is_left_after_a_minute_and_pings_come_every_20_seconds() {
    let mut script = Script::ready();
    script.pass(59_000);
    let pings = script.said().len();
    assert_eq!(pings, 2);
    script.pass(2_000);
    assert!(script.did().contains(&Effect::Disconnect));
}

#[test]
fn a_whole_job_goes_from_offer_to_ready_again() {
    let mut script = Script::ready();
    script.offer(1);
    let fetch = |offset, length| Effect::Send(FromBuilder::Fetch { lease: lease(1), offset, length });
    let (first, second) = (fetch(0, 130_048), fetch(130_048, 130_048));
    assert_eq!(script.did(), [Effect::StoreJob(record(1)), first, second]);
    let srpm = srpm();
    script.data(1, 0, &srpm[..30_000]);
    assert_eq!(script.did().len(), 1, "two pieces are outstanding at a time");
    script.data(1, 30_000, &srpm[30_000..130_048]);
    assert!(script.did().contains(&fetch(260_096, 300_000 - 260_096)));
    script.data(1, 130_048, &srpm[130_048..]);
    let urls = vec!["http://[::1]:6780/repo/".to_owned(), "http://mirror/x/".to_owned()];
    let repos = Repos { urls, alone: false };
    assert!(script.did().contains(&Effect::Start { record: record(1), repos }));

    script.on(Event::PhaseSeen { lease: lease(1), phase: Phase::Build });
    script.on(Event::LogGrown { lease: lease(1), which: Which::Build, size: 40_000 });
    let log = |offset, length| Effect::SendLog { lease: lease(1), which: Which::Build, offset, length };
    let phase = Effect::Send(FromBuilder::Phase { lease: lease(1), phase: Phase::Build });
    assert_eq!(script.did(), [phase, log(0, 32_512), log(32_512, 7_488)]);

    script.on(Event::Ended { lease: lease(1), summary: summary() });
    assert_eq!(script.said().len(), 4);
    script.hear(ToBuilder::Want { lease: lease(1), file: 0, offset: 0 });
    assert_eq!(script.did().len(), 8, "a window of pieces");
    script.hear(ToBuilder::Ack { lease: lease(1), file: 0, offset: 32_512 });
    assert_eq!(script.did().len(), 1);
    script.hear(ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success });
    assert_eq!(script.did(), [Effect::Forget { lease: lease(1) }, Effect::Send(FromBuilder::Ready)]);
}

#[test]
fn what_is_left_of_a_build_that_was_ended_is_cleaned_once_the_hub_has_its_result() {
    let ended = |exit| Summary { exit, ..summary() };
    let (accepted, gone) = (
        ToBuilder::Returned { lease: lease(1), verdict: Verdict::Timeout },
        ToBuilder::Rejected { lease: lease(1), why: moji_proto::message::RejectedWhy::Damaged },
    );
    let killed = [Exit::Signal(9), Exit::Code(7), Exit::Code(129), Exit::Code(143)];
    let killed = killed.map(|exit| (exit, accepted.clone()));
    let limits = [(Exit::Silent(7), accepted), (Exit::TooLong(9), gone)];
    for (exit, over) in limits.into_iter().chain(killed) {
        let mut script = Script::in_stage("building");
        script.on(Event::Ended { lease: lease(1), summary: ended(exit) });
        let said = script.said();
        let told =
            |m: &FromBuilder| matches!(m, FromBuilder::Results { exit: e, silence_s: 3, .. } if *e == exit);
        assert!(said.iter().any(told), "{said:?}");
        // The spool waits for the hub, whoever comes back.
        script.reconnect();
        script.hear(ToBuilder::Adopted { lease: lease(1), logs: [0; 4] });
        assert!(script.said().iter().any(told));
        script.hear(over);
        assert_eq!(script.did(), [Effect::Kill { lease: lease(1), clean: true }]);
        script.on(Event::Killed { lease: lease(1) });
        assert_eq!(script.said(), [FromBuilder::Ready]);
    }
}

#[test]
fn limits_go_with_the_job_into_its_record_and_its_build() {
    let mut script = Script::ready();
    script.offer(1).fetch(1);
    let did = script.did();
    let limits = record(1).limits;
    assert_eq!((limits.silence_s, limits.build_s), (7, 0));
    assert!(did.iter().any(|e| matches!(e, Effect::StoreJob(stored) if stored.limits == limits)));
    assert!(did.iter().any(|e| matches!(e, Effect::Start { record, .. } if record.limits == limits)));
}

#[test]
fn options_are_awaited_before_the_job_begins() {
    let mut script = Script::ready();
    let JobRecord { lease, srpm, size, digest, limits, place, .. } = record(1);
    script.hear(ToBuilder::Job { lease, srpm, size, digest, limits, place, options: 2 });
    script.hear(ToBuilder::JobOption { lease, word: Line::lossy("--with") });
    assert_eq!(script.did(), []);
    script.hear(ToBuilder::JobOption { lease, word: Line::lossy("x") });
    let options = vec![Line::lossy("--with"), Line::lossy("x")];
    assert_eq!(script.did()[0], Effect::StoreJob(JobRecord { options, ..record(1) }));
    script.hear(ToBuilder::JobOption { lease, word: Line::lossy("more") });
    assert!(script.did().contains(&Effect::Disconnect));
}

#[test]
fn a_reconnect_goes_on_where_each_stage_was() {
    let mut script = Script::in_stage("fetching");
    script.data(1, 0, &srpm()[..30_000]);
    let said = script.reconnect();
    assert!(matches!(said[1], FromBuilder::Held { phase: Phase::Fetch, .. }), "{said:?}");
    script.did();
    script.hear(adopted([0; 4]));
    let fetch = FromBuilder::Fetch { lease: lease(1), offset: 30_000, length: 130_048 };
    assert!(script.said().contains(&fetch));
    script.fetch(1);
    assert!(script.did().iter().any(|effect| matches!(effect, Effect::Start { .. })));

    let mut script = Script::in_stage("building");
    script.on(Event::LogGrown { lease: lease(1), which: Which::Root, size: 10 });
    script.on(Event::Disconnected("broke".to_owned()));
    script.did();
    script.on(Event::LogGrown { lease: lease(1), which: Which::Root, size: 20 });
    assert_eq!(script.did(), [], "no log while the hub is away");
    script.pass(2_000);
    script.connect();
    script.did();
    script.hear(adopted([0, 4, 0, 0]));
    script.on(Event::LogGrown { lease: lease(1), which: Which::Root, size: 20 });
    let log = Effect::SendLog { lease: lease(1), which: Which::Root, offset: 4, length: 16 };
    assert_eq!(script.did().last(), Some(&log));

    let mut script = Script::in_stage("finished");
    script.hear(ToBuilder::Want { lease: lease(1), file: 0, offset: 0 });
    let said = script.reconnect();
    assert!(matches!(said[1], FromBuilder::Held { phase: Phase::Upload, .. }), "{said:?}");
    script.did();
    script.hear(adopted([0; 4]));
    assert_eq!(script.said().len(), 4, "Results, two files, a line");
    script.hear(ToBuilder::Want { lease: lease(1), file: 0, offset: 900_000 });
    let pieces = script.did();
    assert!(matches!(pieces[0], Effect::SendPiece { file: 0, offset: 900_000, .. }));
    assert!(matches!(pieces.last(), Some(Effect::SendPiece { file: 0, offset: 997_536, .. })), "{pieces:?}");
    script.hear(ToBuilder::Want { lease: lease(1), file: 1, offset: 0 });
    assert!(matches!(script.did()[..], [Effect::SendPiece { file: 1, offset: 0, length: 10, .. }]));
}

#[test]
fn a_build_that_ends_while_the_hub_is_away_waits_as_a_spool() {
    let mut script = Script::in_stage("building");
    script.on(Event::Disconnected("broke".to_owned()));
    script.did();
    script.on(Event::Ended { lease: lease(1), summary: summary() });
    assert_eq!(script.did(), []);
    script.pass(2_000);
    script.connect();
    script.did();
    script.hear(adopted([0; 4]));
    assert_eq!(script.said().len(), 4);
}

#[test]
fn done_and_gone_after_a_reconnect_delete_the_spool_and_work_goes_on() {
    for answer in [ToBuilder::Done { lease: lease(1) }, ToBuilder::Gone { lease: lease(1) }] {
        let mut script = Script::in_stage("finished");
        script.reconnect();
        script.did();
        script.hear(answer);
        let did = script.did();
        assert_eq!(did, [Effect::Forget { lease: lease(1) }, Effect::Send(FromBuilder::Ready)]);
    }
}

#[test]
fn cancel_of_a_lease_that_is_not_answered_yet_is_no_answer_and_gone_after_it_is() {
    // The hub tells both: the cancel at once, the answer as soon as it knows that it will not be `Adopted`.
    let mut script = Script::in_stage("finished");
    script.reconnect();
    script.did();
    script.hear(ToBuilder::Cancel { lease: lease(1) });
    assert_eq!(script.did(), [Effect::Forget { lease: lease(1) }]);
    script.hear(ToBuilder::Gone { lease: lease(1) });
    assert_eq!(script.did(), [Effect::Send(FromBuilder::Ready)]);
}

#[test]
fn gone_while_building_kills_and_cleans_and_gives_nothing_back() {
    let mut script = Script::in_stage("building");
    script.reconnect();
    script.did();
    script.hear(ToBuilder::Gone { lease: lease(1) });
    assert_eq!(script.did(), [Effect::Kill { lease: lease(1), clean: true }]);
    script.on(Event::ShimDied { lease: lease(1) });
    assert_eq!(script.did(), []);
    script.on(Event::Killed { lease: lease(1) });
    assert_eq!(script.did(), [Effect::Send(FromBuilder::Ready)]);
}

#[test]
fn a_damaged_srpm_is_fetched_three_times_and_then_given_back() {
    let mut script = Script::ready();
    script.offer(1);
    for _ in 0..3 {
        script.data(1, 0, &vec![6; 260_096]);
        script.data(1, 260_096, &[6; 39_904]);
    }
    let did = script.did();
    let fetches =
        did.iter().filter(|effect| matches!(effect, Effect::Send(FromBuilder::Fetch { .. }))).count();
    assert_eq!(fetches, 9);
    let release = FromBuilder::Release { lease: lease(1), why: ReleaseWhy::BadSrpm };
    assert!(did.contains(&Effect::Send(release)));
    assert!(did.contains(&Effect::Forget { lease: lease(1) }));
    assert_eq!(did.last(), Some(&Effect::Send(FromBuilder::Ready)));
}

#[test]
fn a_release_is_stored_before_it_is_sent_and_kept_until_the_hub_confirmed_it() {
    let mut script = Script::in_stage("building");
    script.on(Event::ShimDied { lease: lease(1) });
    let did = script.did();
    let stored =
        did.iter().position(|effect| matches!(effect, Effect::StoreReleases(list) if list.len() == 1));
    let release = FromBuilder::Release { lease: lease(1), why: ReleaseWhy::ShimDied };
    let sent = did.iter().position(|effect| *effect == Effect::Send(release.clone()));
    assert!(stored.unwrap() < sent.unwrap());
    script.on(Event::Killed { lease: lease(1) });

    // The connection breaks before the hub confirms: it is held again, and given back again.
    let said = script.reconnect();
    assert!(matches!(said[1], FromBuilder::Held { .. }));
    script.did();
    script.hear(adopted([0; 4]));
    assert!(script.said().contains(&release));
    script.pong();
    assert_eq!(script.did(), [Effect::StoreReleases(vec![])]);
    assert_eq!(script.reconnect().len(), 1, "nothing is held");
}

#[test]
fn a_clock_minutes_off_takes_no_work_until_it_is_right() {
    let mut script = Script::new(config());
    script.measured.unix_s = HUB_S - u64::from(CLOCK_SKEW_MAX_S) - 1;
    script.begin(vec![], vec![]);
    script.connect();
    let said = script.said();
    assert!(!said.contains(&FromBuilder::Ready), "{said:?}");
    let trouble = |said: &[FromBuilder]| match said.last() {
        Some(FromBuilder::Ping { health }) => health.trouble,
        other => panic!("{other:?} instead of Ping"),
    };
    assert_eq!(trouble(&said), Some(Trouble::Clock));
    script.measured.unix_s = HUB_S + 20;
    script.pass(20_000);
    let said = script.said();
    assert!(said.contains(&FromBuilder::Ready), "{said:?}");
}

#[test]
fn what_a_build_took_of_the_disk_is_told_as_far_as_looks_at_it_saw() {
    let mut script = Script::ready();
    script.offer(1).fetch(1);
    let peak = |script: &mut Script| {
        let said = script.said();
        let peak = |message: &FromBuilder| match message {
            FromBuilder::Results { peak_disk_mib, .. } => Some(*peak_disk_mib),
            _ => None,
        };
        said.iter().find_map(peak)
    };
    // With each ping, and whenever a phase ends.
    script.measured.disk_free_mib = 8_000;
    script.pass(20_000);
    script.measured.disk_free_mib = 7_300;
    script.on(Event::PhaseSeen { lease: lease(1), phase: Phase::Build });
    script.measured.disk_free_mib = 8_900;
    script.pass(20_000);
    script.on(Event::Ended { lease: lease(1), summary: summary() });
    // What the disk loses to the upload is none of the build's.
    script.measured.disk_free_mib = 100;
    script.pass(20_000);
    assert_eq!(peak(&mut script), Some(1_700));
    let mut script = Script::new(config());
    script.begin(vec![Found { record: record(1), stage: FoundStage::Building }], vec![]);
    script.connect();
    script.hear(adopted([0; 4]));
    script.measured.disk_free_mib = 8_000;
    script.pass(20_000);
    script.on(Event::Ended { lease: lease(1), summary: summary() });
    assert_eq!(peak(&mut script), Some(0), "begun by an earlier process");
}

#[test]
fn a_hub_whose_clock_was_put_right_gets_its_builder_back_without_a_restart() {
    let mut script = Script::new(config());
    // The board is right and the hub is a day behind, up to now.
    script.measured.unix_s = HUB_S + 86_400;
    script.begin(vec![], vec![]);
    script.connect();
    assert!(!script.said().contains(&FromBuilder::Ready));
    for _ in 0..CLOCK_AGAIN_MS / 20_000 {
        script.pass(20_000).pong();
    }
    script.pass(2_000);
    assert_eq!(script.did().iter().filter(|did| **did == Effect::Connect).count(), 1);
    script.on(Event::Connected);
    let time_unix_s = script.measured.unix_s;
    script.hear(ToBuilder::Registered { time_unix_s, ping_s: 20, http_port: 6780, repos: 0 });
    assert!(script.said().contains(&FromBuilder::Ready));
}

#[test]
fn a_builder_that_builds_does_not_leave_to_ask_for_the_clock() {
    let mut script = Script::in_stage("building");
    script.measured.unix_s = HUB_S + 86_400;
    for _ in 0..2 * CLOCK_AGAIN_MS / 20_000 {
        script.pass(20_000).pong();
    }
    assert!(!script.did().contains(&Effect::Disconnect));
}

#[test]
fn a_full_disk_takes_no_work_and_gives_a_job_back_that_came_all_the_same() {
    let mut script = Script::ready();
    script.measured.disk_free_mib = 100;
    script.pass(20_000);
    script.did();
    script.offer(1);
    assert!(script.said().contains(&FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Disk }));
    assert!(script.builder.jobs.is_empty());
}

#[test]
fn a_job_that_cannot_be_stored_is_given_back() {
    let mut script = Script::ready();
    script.offer(1);
    script.on(Event::JobFailed { lease: lease(1), why: "store".to_owned() });
    let did = script.did();
    assert!(did.contains(&Effect::Kill { lease: lease(1), clean: true }));
    let release = FromBuilder::Release { lease: lease(1), why: ReleaseWhy::Disk };
    assert!(did.contains(&Effect::Send(release)));
}

#[test]
fn what_the_hub_sent_before_it_heard_of_a_release_is_passed_over_in_this_session() {
    // A disk that failed at the job: what the hub read for it came after the Pong.
    let mut script = Script::ready();
    script.offer(1);
    script.on(Event::JobFailed { lease: lease(1), why: "store".to_owned() });
    script.on(Event::Killed { lease: lease(1) });
    script.pong();
    assert!(script.builder.released.is_empty() && script.builder.jobs.is_empty());
    script.did();
    script.data(1, 0, b"late");
    script.hear(ToBuilder::Cancel { lease: lease(1) });
    assert!(!script.did().contains(&Effect::Disconnect));
    // In the next session nothing of it can be under way.
    script.reconnect();
    script.data(1, 0, b"late");
    assert!(script.did().contains(&Effect::Disconnect));
}

#[test]
fn a_job_that_fails_twice_is_given_back_once() {
    // Simulation, seed 497: the second release was never confirmed.
    let mut script = Script::ready();
    script.offer(1);
    script.on(Event::JobFailed { lease: lease(1), why: "store the SRPM".to_owned() });
    script.did();
    script.on(Event::JobFailed { lease: lease(1), why: "start the build".to_owned() });
    assert_eq!(script.did(), []);
    assert_eq!(script.builder.released.len(), 1);
}

#[test]
fn found_jobs_are_taken_up_or_cleaned() {
    let found = |counter, stage| Found { record: record(counter), stage };
    let mut script = Script::new(config());
    script.begin(
        vec![
            found(1, FoundStage::Building),
            found(2, FoundStage::Finished(summary())),
            found(3, FoundStage::Lost),
            found(4, FoundStage::Leftover),
        ],
        vec![],
    );
    let did = script.did();
    for counter in [3, 4] {
        assert!(did.contains(&Effect::Kill { lease: lease(counter), clean: true }));
    }
    let said = script.connect();
    let held: Vec<LeaseId> = said
        .iter()
        .filter_map(|message| match message {
            FromBuilder::Held { lease, .. } => Some(*lease),
            _ => None,
        })
        .collect();
    assert_eq!(held, [lease(1), lease(2), lease(3)], "the last is the release of the lost one");
}

#[test]
fn what_does_not_fit_ends_the_session() {
    let l = lease(1);
    let other = lease(9);
    for (stage, message) in [
        ("fetching", ToBuilder::Want { lease: l, file: 0, offset: 0 }),
        ("fetching", ToBuilder::Data { lease: l, offset: 7, bytes: Bytes(vec![1]) }),
        ("fetching", ToBuilder::Data { lease: other, offset: 0, bytes: Bytes(vec![1]) }),
        ("fetching", ToBuilder::Accepted { lease: other, verdict: Verdict::Success }),
        ("building", ToBuilder::Data { lease: l, offset: 0, bytes: Bytes(vec![1]) }),
        ("building", ToBuilder::Repo { place: Line::lossy("/") }),
        ("building", ToBuilder::Adopted { lease: other, logs: [0; 4] }),
        ("finished", ToBuilder::Want { lease: l, file: 2, offset: 0 }),
        ("finished", ToBuilder::Want { lease: l, file: 1, offset: 11 }),
        ("finished", ToBuilder::Registered { time_unix_s: 0, ping_s: 1, http_port: 0, repos: 0 }),
        ("finished", ToBuilder::Reject { code: RejectCode::Order }),
    ] {
        let mut script = Script::in_stage(stage);
        script.hear(message.clone());
        assert!(script.did().contains(&Effect::Disconnect), "{stage} {message:?}");
        assert_eq!(script.builder.jobs.len(), 1, "the job stays");
    }
    let mut script = Script::in_stage("building");
    script.offer(2);
    assert!(script.did().contains(&Effect::Disconnect), "a second job");
}

#[test]
fn once_ends_with_what_became_of_it() {
    let once = || {
        let mut script = Script::new(Config { once: true, ..config() });
        script.begin(vec![], vec![]);
        script
    };
    let mut script = once();
    script.on(Event::Refused { why: "no".to_owned(), code: exit::SECRET });
    assert_eq!(script.did().last(), Some(&Effect::Exit(exit::SECRET)));

    let mut script = once();
    script.on(Event::Disconnected("no".to_owned()));
    assert!(!script.did().contains(&Effect::Exit(exit::UNREACHABLE)), "a hub may be starting");
    script.pass(ONCE_REACH_MAX_MS).on(Event::Disconnected("no".to_owned()));
    assert_eq!(script.did().last(), Some(&Effect::Exit(exit::UNREACHABLE)));

    let mut script = once();
    script.connect();
    script.offer(1).fetch(1).on(Event::ShimDied { lease: lease(1) });
    script.on(Event::Killed { lease: lease(1) }).pong();
    assert_eq!(script.did().last(), Some(&Effect::Exit(exit::UNFINISHED)));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut script = Script::new(Config { seed, ..config() });
        script.begin(vec![], vec![]);
        (0..8)
            .map(|_| {
                script.on(Event::Disconnected("no".to_owned()));
                let due = script.builder.deadline().unwrap();
                script.now = due;
                script.on(Event::Timer);
                due
            })
            .collect::<Vec<Time>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn once_takes_no_second_job_when_the_lease_of_what_it_built_is_over() {
    // Simulation, seed 39: it built another package.
    for (stage, ends) in [("fetching", false), ("building", true), ("finished", true)] {
        let mut script = Script::in_stage(stage);
        script.builder.config.once = true;
        script.reconnect();
        script.hear(ToBuilder::Gone { lease: lease(1) });
        script.on(Event::Killed { lease: lease(1) }).pass(FAREWELL_MAX_MS);
        let did = script.did();
        assert_eq!(did.contains(&Effect::Exit(exit::UNFINISHED)), ends, "{stage}: {did:?}");
        assert_eq!(did.contains(&Effect::Send(FromBuilder::Ready)), !ends, "{stage}: {did:?}");
    }
}
