//! The shell of repo: its core, its three threads, and who looks at `repo/` for what people do there.
//!
//! Owns how long each order takes. Any effect may be the last one before a crash.

use super::*;
use moji_server::core::repo::{Effect, Found, Msg, Path as RpmPath, Read, Seen, Stamp};
use moji_server::index::work::{FastOrder, SlowOrder};

/// Recent goes live so long after it was ordered, milliseconds.
const FAST_MS: (u64, u64) = (1, 300);
/// What takes longer the larger the repository is, milliseconds.
const SLOW_MS: (u64, u64) = (10, 9_000);

impl Hub {
    pub(super) fn handle_repo(&mut self, world: &mut World, now: Time, msg: Msg) {
        if world.opt.no_index {
            if matches!(msg, Msg::Published(_)) {
                let ms = world.dice.within(SLOW_MS.0, SLOW_MS.1 / 3);
                world.hub_after(ms, Ev::NoIndex);
            }
            return;
        }
        let mut out = Vec::new();
        self.repo.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match Order::of(effect) {
                Ok(order) => {
                    let (least, most) = if matches!(order, Order::Fast(_)) { FAST_MS } else { SLOW_MS };
                    let ms = world.dice.within(least, most);
                    world.hub_after(ms, |run| Ev::Index(run, Box::new(order)));
                }
                Err(effect) => match *effect {
                    Effect::Queue(msg) => self.tell_queue(msg),
                    Effect::Log(_, text) => world.say(|| format!("repo: {text}")),
                    _ => {}
                },
            }
        }
    }

    /// What repo would have told, had it made an index.
    pub(in crate::sim) fn no_index(&mut self) {
        self.tell_queue(queue::Msg::Published(queue::News::default()));
    }

    /// One of repo's threads carries out an order.
    pub(in crate::sim) fn index(&mut self, world: &mut World, order: Order) {
        self.tick_clock(world);
        world.say(|| format!("index: {}", name_of(&order)));
        let fails = world.chance(world.opt.index_fails).then(|| "the simulation says so".to_owned());
        let done = match (order, fails) {
            (Order::Fast(FastOrder::Publish { .. }), Some(why)) => Msg::RecentLive(Err(why)),
            (Order::Slow(SlowOrder::Open), Some(why)) => Msg::Opened(Err(why)),
            (Order::Slow(SlowOrder::Merge { .. }), Some(why)) => Msg::Merged(Err(why)),
            (Order::Slow(SlowOrder::Find { .. }), Some(why)) => Msg::Found(Err(why)),
            (Order::Slow(SlowOrder::Complete(_)), Some(why)) => Msg::CompleteLive(Err(why)),
            (Order::Read(_), failed @ Some(_)) => Msg::Read(Read { failed, ..Read::default() }),
            (Order::Fast(order), _) => self.fast.run(order),
            (Order::Slow(order), _) => self.slow.run(order),
            (Order::Read(paths), _) => Msg::Read(self.reader.read(paths)),
        };
        world.check_indexes();
        if !world.dies() {
            self.tell_repo(done);
        }
    }

    /// Somebody looks at what people did in `repo/`; `first` if that is the first look.
    pub(in crate::sim) fn hands(&mut self, world: &mut World, first: bool) {
        let seen: Vec<Seen> = world
            .disk
            .names("repo")
            .into_iter()
            .filter(|folder| folder != "repodata" && !folder.starts_with('.'))
            .map(|folder| {
                let names = world.disk.names(&format!("repo/{folder}"));
                let is_result = names.iter().any(|name| name == "result.json");
                let rpms = names.into_iter().filter(|name| name.ends_with(".rpm"));
                let found = |name: String| {
                    let (size, _) = world.disk.look(&format!("repo/{folder}/{name}"))?;
                    Some(Found { name, stamp: Stamp { size, modified_unix_s: 0 } })
                };
                Seen { is_result, rpms: rpms.filter_map(found).collect(), folder }
            })
            .collect();
        self.tell_repo(Msg::ByHand(seen));
        if first {
            self.tell_repo(Msg::AllSeen);
        }
    }

    /// An operator takes a result out of the index.
    pub(in crate::sim) fn withdraw(&mut self, folder: &str) {
        self.tell_repo(Msg::Withdraw { folder: folder.to_owned() });
    }
}

fn name_of(order: &Order) -> String {
    let paths = |paths: &[RpmPath]| paths.join(" ");
    match order {
        Order::Fast(FastOrder::Publish { add, gone, merged }) => {
            format!("recent: {} sources, gone {gone:?}, merged {merged:?}", add.len())
        }
        Order::Fast(FastOrder::Sweep) => "sweep recent".to_owned(),
        Order::Slow(SlowOrder::Open) => "open".to_owned(),
        Order::Slow(SlowOrder::Merge { add, gone }) => format!("merge: {} sources, gone {gone:?}", add.len()),
        Order::Slow(SlowOrder::Complete(groups)) => format!("complete: {} groups of recent", groups.len()),
        Order::Slow(SlowOrder::Find { .. }) => "find files".to_owned(),
        Order::Slow(SlowOrder::Compare { builds, .. }) => format!("compare {} builds", builds.len()),
        Order::Slow(SlowOrder::Sweep) => "sweep".to_owned(),
        Order::Read(read) => format!("read {}", paths(read)),
    }
}
