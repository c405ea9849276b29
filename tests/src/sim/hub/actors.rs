//! The shells of the hub's actors: leases, queue, transfers, repo.
//!
//! Owns who is told what, and where the checker listens. Any effect may be the last one before a crash.

use super::*;

/// Planted: whoever was outdone by another builder of the same package is not told.
fn forget_outdone(effects: &mut Vec<leases::Effect>) {
    let outdone = |effect: &leases::Effect| match effect {
        leases::Effect::Queue(queue::Msg::Ended {
            lease, end: LeaseEnd::Beside(Fate::Outdone(_)), ..
        }) => Some(*lease),
        _ => None,
    };
    let all: Vec<LeaseId> = effects.iter().filter_map(outdone).collect();
    effects.retain(|effect| match effect {
        leases::Effect::Send(_, ToBuilder::Cancel { lease }) => !all.contains(lease),
        _ => true,
    });
}

impl Hub {
    pub(super) fn run_leases(&mut self, world: &mut World, now: Time) {
        let count = world.dice.within(1, BATCH_MAX) as usize;
        let batch: Vec<leases::Msg> = (0..count).filter_map(|_| self.for_leases.pop_front()).collect();
        self.handle_leases(world, now, batch);
    }

    pub(super) fn handle_leases(&mut self, world: &mut World, now: Time, batch: Vec<leases::Msg>) {
        let now = self.leases_now(world, now);
        batch.iter().for_each(|msg| self.note_presence(world.now_ms, msg));
        let mut msgs = batch;
        msgs.retain(|msg| match msg {
            // What a forged ruling came to is not for leases, which know better.
            leases::Msg::Settled { lease, .. } | leases::Msg::Unsealed { lease } => {
                !self.forged.contains(lease)
            }
            _ => true,
        });
        let mut effects = self.store.run(&mut self.leases, now, msgs);
        if world.planted == Some(Planted::ForgetOutdone) {
            forget_outdone(&mut effects);
        }
        for effect in effects {
            if world.dies() {
                return;
            }
            self.leases_effect(world, effect, false);
        }
    }

    /// Remembers which builders are there, by the hub's own time that nobody sets.
    fn note_presence(&mut self, now_ms: u64, msg: &leases::Msg) {
        match msg {
            leases::Msg::Connected { session, info, .. } => {
                self.present.insert(*session, info.id);
                self.gone_ms.remove(&info.id);
            }
            leases::Msg::Disconnected { session } => {
                let Some(key) = self.present.remove(session) else { return };
                if !self.present.values().any(|other| *other == key) {
                    self.gone_ms.insert(key, now_ms);
                }
            }
            _ => {}
        }
    }

    /// A lease whose builder is gone is not lost before its grace is over.
    fn check_grace(&mut self, world: &mut World, lease: LeaseId, end: &LeaseEnd) {
        let Some(holder) = self.holders.remove(&lease) else { return };
        let lost = matches!(
            end,
            LeaseEnd::Returned(Verdict::Lost) | LeaseEnd::Beside(Fate::Returned(Verdict::Lost))
        );
        let is_there = self.present.values().any(|key| *key == holder);
        let since = self.gone_ms.get(&holder).copied().unwrap_or(self.started_ms);
        let for_ms = world.now_ms - since;
        if lost && !is_there && for_ms < world.opt.grace_ms {
            let grace_ms = world.opt.grace_ms;
            world.check.fail(format!(
                "lease {lease} was lost {for_ms} ms after its builder was, before {grace_ms} ms"
            ));
        }
    }

    pub(super) fn leases_effect(&mut self, world: &mut World, effect: leases::Effect, found: bool) {
        match effect {
            leases::Effect::Welcome(session) => {
                let registered = ToBuilder::Registered {
                    time_unix_s: self.clock.unix_s(),
                    ping_s: 20,
                    http_port: 6780,
                    repos: 1,
                };
                self.command(Command::Send(session, registered));
                self.command(Command::Send(session, ToBuilder::Repo { place: Line::lossy("/repo") }));
            }
            leases::Effect::Log(_, text) => world.say(|| format!("leases: {text}")),
            leases::Effect::Send(session, msg) => {
                if let ToBuilder::Done { lease } = msg {
                    world.check.done(&world.disk, lease);
                }
                if let ToBuilder::Gone { lease } = msg
                    && world.planted == Some(Planted::AcceptStale)
                    && let Some((held, builder)) = self.reported.remove(&lease)
                {
                    let HeldLease { lease, srpm, digest, phase } = held;
                    let options = Vec::new();
                    return self.tell_transfers(transfers::Msg::Adopt {
                        lease,
                        session,
                        builder,
                        srpm,
                        digest,
                        phase,
                        options,
                    });
                }
                self.command(Command::Send(session, msg));
            }
            leases::Effect::Close(session, code) => self.command(Command::Close(session, code)),
            leases::Effect::Queue(msg) => self.leases_to_queue(world, msg, found),
            leases::Effect::Transfers(msg) => self.leases_to_transfers(world, msg),
            leases::Effect::Journal(_)
            | leases::Effect::JournalLater(_)
            | leases::Effect::Move { .. }
            | leases::Effect::Inspect { .. } => unreachable!("the store ran it"),
        }
    }

    pub(super) fn leases_to_queue(&mut self, world: &mut World, msg: queue::Msg, found: bool) {
        match &msg {
            queue::Msg::Granted { srpm, lease, builder, beside } => {
                self.srpms.insert(*lease, srpm.clone());
                let beside = *beside && world.opt.duplicate_last;
                self.holders.insert(*lease, *builder);
                world.check.granted(*lease, srpm, *builder, found, beside);
                world.count_copy(beside && !found);
            }
            queue::Msg::Ended { lease, end, .. } => {
                self.check_grace(world, *lease, end);
                world.check.ended(*lease);
                let returned = matches!(end, LeaseEnd::Returned(_));
                if returned && world.planted == Some(Planted::ForgetRequeue) && world.dice.chance(500_000) {
                    return;
                }
            }
            queue::Msg::StopLeasing { .. } => self.stopped = true,
            _ => {}
        }
        self.tell_queue(msg);
    }

    pub(super) fn leases_to_transfers(&mut self, world: &mut World, msg: transfers::Msg) {
        match &msg {
            transfers::Msg::Open { lease, .. } => world.check.opened(*lease),
            transfers::Msg::Adopt { lease, builder, .. } => world.check.adopted(*lease, builder.id),
            transfers::Msg::Stale { lease } if world.planted == Some(Planted::AcceptStale) => {
                self.forged.push(*lease);
                let ruling = Ruling::Publish { held: None };
                return self.tell_transfers(transfers::Msg::Ruling { lease: *lease, ruling });
            }
            _ => {}
        }
        self.tell_transfers(msg);
    }

    pub(super) fn run_queue(&mut self, world: &mut World, now: Time) {
        if self.looked_ms.is_none_or(|at| now.0 - at >= SPACE_EVERY_MS) {
            self.looked_ms = Some(now.0);
            if let Ok((free_bytes, total)) = world.disk.space(Path::new("repo")) {
                let floor_bytes = queue::space_floor(total);
                self.handle_queue(world, now, queue::Msg::Space { free_bytes, floor_bytes });
            }
        }
        if !world.dying
            && let Some(msg) = self.for_queue.pop_front()
        {
            self.handle_queue(world, now, msg);
        }
    }

    pub(super) fn handle_queue(&mut self, world: &mut World, now: Time, msg: queue::Msg) {
        world.check.told_queue(&msg);
        let mut out = Vec::new();
        self.queue.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match effect {
                queue::Effect::Leases(msg) => {
                    if let leases::Msg::Claim { srpm, beside: false, .. } = &msg {
                        world.check.claimed(srpm);
                    }
                    self.tell_leases(msg);
                }
                queue::Effect::Transfers(msg) => self.tell_transfers(msg),
                queue::Effect::Send(session, msg) => self.command(Command::Send(session, msg)),
                queue::Effect::Repo(msg) => self.tell_repo(msg),
                queue::Effect::Desk(_) => {}
                queue::Effect::History(note) => {
                    if let Note::Ended { srpm, lease, verdict, charged, .. } = &note {
                        world.check.verdict(srpm, *lease, *verdict, *charged, now.0);
                    }
                    world.memory.note(&note);
                }
                queue::Effect::Log(_, text) if text.contains(" quarantined for ") => {
                    world.check.quarantined();
                    world.say(|| format!("queue: {text}"));
                }
                queue::Effect::Log(_, text) => world.say(|| format!("queue: {text}")),
            }
        }
    }

    pub(super) fn handle_transfers(&mut self, world: &mut World, now: Time, msg: transfers::Msg) {
        if let transfers::Msg::Done { lease, done: Done::Committed(outcome) } = &msg {
            let srpm = self.srpms.get(lease).cloned();
            world.check.committed(&world.disk, *lease, srpm, outcome);
        }
        let mut out = Vec::new();
        self.transfers.handle(now, msg, &mut out);
        for effect in out {
            if world.dies() {
                return;
            }
            match effect {
                transfers::Effect::Io { lease, op } => {
                    if let Op::Commit(sealed) = &op {
                        world.check.commits(lease, sealed.about.builder.as_ref().map(|b| b.id));
                        world.check.rules(lease, &sealed.manifest);
                    }
                    let slow = world.chance(20_000);
                    let ms = if slow { world.dice.within(1_000, 20_000) } else { world.dice.below(6) };
                    world.hub_after(ms, |run| Ev::Io(run, lease, Box::new(op)));
                }
                transfers::Effect::Send(session, msg) => {
                    let conn = self.conns.get(&session);
                    let to = conn.and_then(|conn| conn.builder);
                    match &msg {
                        ToBuilder::Job { lease, .. } => {
                            let stranger = if conn.is_some() { To::Stranger } else { To::Nobody };
                            world.check.job(*lease, to.map_or(stranger, To::Builder));
                        }
                        ToBuilder::Again { .. } => world.count_again(),
                        ToBuilder::Accepted { lease, .. } => world.check.accepted(&world.disk, *lease, to),
                        _ => {}
                    }
                    self.command(Command::Send(session, msg));
                }
                transfers::Effect::Consumed(session, bytes) => {
                    self.command(Command::Consumed(session, bytes))
                }
                transfers::Effect::Close(session, code) => self.command(Command::Close(session, code)),
                transfers::Effect::EndThin(lease) => self.worker.end_thin(lease),
                transfers::Effect::Leases(msg) => self.tell_leases(msg),
                transfers::Effect::Queue(msg) => {
                    self.stopped |= matches!(msg, queue::Msg::StopLeasing { .. });
                    self.tell_queue(msg);
                }
                transfers::Effect::Desk(_) => {}
                transfers::Effect::Repo(msg) => self.tell_repo(msg),
                transfers::Effect::Log(_, text) => world.say(|| format!("transfers: {text}")),
            }
        }
    }

    /// A worker does an operation.
    pub(in crate::sim) fn io(&mut self, world: &mut World, lease: LeaseId, op: Op) {
        self.tick_clock(world);
        let done = self.worker.run(lease, op);
        if !world.dies() {
            self.tell_transfers(transfers::Msg::Done { lease, done });
        }
    }
}
