//! The start of a hub over what its disk holds, as the daemon's own does it.
//!
//! Owns the order of recovery, history and the first look at the folders. Decides nothing.

use super::*;

/// How long the first board is believed to take for any package, seconds; each other one half as long as the one before.
const BELIEVED_S: u32 = 100_000;

impl Hub {
    /// Starts a hub over what the disk holds, as `run.rs` does. None if it could not start.
    pub(in crate::sim) fn start(world: &mut World, unix_off_s: i64) -> Option<Hub> {
        let clock = Arc::new(SimClock::default());
        let now_unix = unix(world.now_ms, unix_off_s);
        clock.set(0, now_unix);
        let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
        let Recovered { mut past, results, journal } = match recover(&disk, &world.folders, now_unix) {
            Ok(recovered) => recovered,
            Err(error) => {
                world.say(|| format!("hub: failed to put the folders right: {error}"));
                return None;
            }
        };
        if world.disk.is_off() {
            return None;
        }
        if world.planted == Some(Planted::ReuseId) {
            past.incarnation = UNIX_S;
        }
        let layout = Layout { repo: world.folders.repo.clone(), index: world.folders.state.join("index") };
        let tiers = !world.opt.foreign_url;
        let config =
            Config { tiers, recent_packages_max: world.opt.recent_packages_max, ..Config::default() };
        let mut recent = Recent::new(disk.clone(), clock.clone(), layout.clone(), config.clone());
        if recent.ensure_exists().is_err() || world.disk.is_off() {
            return None;
        }
        let read = ReadConfig { compression: config.compression, threads: 1 };
        let reader = Arc::new(Reader::new(disk.clone(), clock.clone(), layout.clone(), read));
        let repo_config = repo::Config { tiers, recent_packages_max: config.recent_packages_max };
        let mut slow = Slow::new(disk.clone(), clock.clone(), layout, config, reader.clone());
        if slow.ensure_exists().is_err() || world.disk.is_off() {
            return None;
        }
        let limits = transfers::Limits::default();
        let queue_config = queue::Config {
            attempts: 5,
            confirm_failures: 1 + (world.opt.seed % 2) as usize,
            duplicate_last: world.opt.duplicate_last,
            retry_pause_ms: world.opt.retry_pause_ms,
            limits: Default::default(),
            rebuild_dependents: false,
            target: None,
            started: Time(0),
        };
        let mut first = Vec::new();
        let config = leases::Config { grace_ms: world.opt.grace_ms };
        let leases = Leases::new(config, past, Time(0), &mut first);
        let in_order = recovery::in_order(&results).into_iter();
        let published = in_order.filter_map(recovery::RepoResult::published).collect();
        let mut hub = Hub {
            started_ms: world.now_ms,
            unix_off_s,
            began_off_s: unix_off_s,
            present: BTreeMap::new(),
            holders: BTreeMap::new(),
            gone_ms: BTreeMap::new(),
            leases,
            store: Store::new(disk.clone(), world.folders.clone(), journal),
            queue: Queue::new(queue_config),
            transfers: Transfers::new(limits).with_thin(world.opt.thin > 0),
            repo: Repo::new(published, repo_config),
            intake: Intake::new(intake::TRUNCATED_AFTER_MS),
            intake_at: None,
            worker: Worker::new(disk, clock.clone(), world.folders.clone())
                .with_thin(Some(Arc::new(ThinStandIn::new(world.opt.seed)))),
            fast: Fast::new(recent, reader.clone()),
            slow,
            reader,
            clock,
            for_leases: VecDeque::new(),
            for_queue: VecDeque::new(),
            for_transfers: VecDeque::new(),
            for_repo: VecDeque::new(),
            for_net: VecDeque::new(),
            order: VecDeque::new(),
            conns: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            builders: BTreeMap::new(),
            last_session: 0,
            looked_ms: None,
            armed_ms: None,
            stopped: false,
            reported: BTreeMap::new(),
            forged: Vec::new(),
            srpms: BTreeMap::new(),
        };
        hub.remember(world, &results);
        world.check.hub_started();
        world.check.after_recovery(&world.disk);
        for effect in first {
            hub.leases_effect(world, effect, true);
        }
        let _ = world.disk.take_changes();
        hub.intake(world, intake::Msg::Rescan);
        let ms = world.dice.below(3_000);
        world.hub_after(ms, |run| Ev::Hands(run, true));
        Some(hub)
    }

    /// Tells the queue of builds that nobody made: boards differ, and what is built takes long.
    fn believe_in_speeds(&mut self, world: &World) {
        let took =
            |source: String, builder, seconds| queue::Msg::Took { source, builder, seconds, silent_s: 0 };
        for (number, builder) in world.board_keys().into_iter().enumerate() {
            self.tell_queue(took("all".to_owned(), builder, BELIEVED_S >> number));
            for package in 0..world.opt.packages.len() {
                self.tell_queue(took(format!("p{package}"), builder, BELIEVED_S >> number));
            }
        }
    }

    pub(super) fn remember(&mut self, world: &World, results: &[recovery::RepoResult]) {
        for (srpm, attempts) in &world.memory.charged {
            self.tell_queue(queue::Msg::Charged { srpm: srpm.clone(), attempts: attempts.clone() });
        }
        if let Some(arch) = world.memory.target.clone() {
            self.tell_queue(queue::Msg::Target { arch });
        }
        if world.opt.duplicate_last {
            self.believe_in_speeds(world);
        }
        let now_unix = unix(world.now_ms, self.unix_off_s);
        recovery::for_queue(results, now_unix).into_iter().for_each(|msg| self.tell_queue(msg));
    }
}
