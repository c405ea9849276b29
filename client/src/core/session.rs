//! One session with the hub: registration, adoption, pings, and the dispatch of what it says.
//!
//! Owns who is allowed to say what in which state of the link; whatever comes at the wrong moment
//! ends the session, as the hub does with us.

use moji_proto::limits::{HELD_MAX, PING_EVERY_MS, SILENCE_MAX_MS};
use moji_proto::message::{FromBuilder, Phase, ToBuilder};
use moji_proto::refusal::RejectCode;
use moji_proto::{LeaseId, Line, Time};

use super::job::{Options, Stage};
use super::link::State;
use super::{Builder, Effect, JobRecord, Level, Mode, ONCE_REACH_MAX_MS, Repos};
use crate::exit;

impl Builder {
    pub(super) fn connected(&mut self, out: &mut Vec<Effect>) {
        if let State::Connecting { give_up } = self.link.state {
            self.link.state = State::Greeting { give_up };
            out.push(Effect::Measure);
        }
    }

    /// Says who we are and what we hold.
    #[inline(never)]
    pub(super) fn register(&mut self, now: Time, out: &mut Vec<Effect>) {
        let mut held: Vec<FromBuilder> = Vec::new();
        for job in self.jobs.values() {
            if let Some(phase) = job.phase() {
                let record = &job.record;
                held.push(held_message(record.lease, &record.srpm, record.digest, phase));
            }
        }
        // A stored release is first reported as held, so that the hub is asked for nothing that it
        // no longer knows; the release follows when it says `Adopted`.
        for released in &self.released {
            held.push(held_message(released.lease, &released.srpm, released.digest, Phase::Fetch));
        }
        held.truncate(usize::from(HELD_MAX));
        let mut unanswered: Vec<LeaseId> = Vec::new();
        for message in &held {
            if let FromBuilder::Held { lease, .. } = message
                && !unanswered.contains(lease)
            {
                unanswered.push(*lease);
            }
        }
        let config = &self.config;
        out.push(Effect::Send(FromBuilder::Register {
            name: config.name.clone(),
            instance: config.instance,
            arch: config.arch.clone(),
            version: config.version.clone(),
            cfg: config.cfg.clone(),
            cfg_digest: config.cfg_digest,
            backend: config.backend,
            cpus: config.cpus,
            memory_mib: config.memory_mib,
            disk_free_mib: self.measured.disk_free_mib,
            clock_unix_s: self.measured.unix_s,
            setup: config.setup.clone(),
            weak: config.weak,
            held: held.len() as u8,
        }));
        out.extend(held.into_iter().map(Effect::Send));
        self.link.open(now, unanswered);
    }

    pub(super) fn disconnected(&mut self, now: Time, why: &str, out: &mut Vec<Effect>) {
        if matches!(self.link.state, State::Down { .. }) {
            return;
        }
        self.lose_session();
        // The shell's side may be down already; what it has queued for this session must go too.
        out.push(Effect::Disconnect);
        let ms = self.link.fail(now);
        out.push(Effect::Log(Level::Warn, format!("hub: {why}; next attempt in {} s", ms.div_ceil(1000))));
        let late = now.since_ms(self.began) + ms >= ONCE_REACH_MAX_MS;
        if self.config.once && !self.link.reached && late && self.jobs.is_empty() {
            self.once_gives_up(now, exit::UNREACHABLE);
        }
    }

    pub(super) fn refused(&mut self, now: Time, why: &str, code: u8, out: &mut Vec<Effect>) {
        if matches!(self.link.state, State::Down { .. }) {
            return;
        }
        self.lose_session();
        self.link.pause_long(now);
        out.push(Effect::Disconnect);
        out.push(Effect::Log(Level::Error, why.to_owned()));
        if self.config.once && self.jobs.is_empty() {
            self.once_gives_up(now, code);
        }
    }

    fn once_gives_up(&mut self, now: Time, code: u8) {
        if self.mode == Mode::Serving {
            self.mode = Mode::Leaving { until: now, code };
        }
    }

    /// Ends the session because of what the hub did.
    pub(super) fn fault(&mut self, now: Time, why: &str, out: &mut Vec<Effect>) {
        self.disconnected(now, why, out);
    }

    pub(super) fn lose_session(&mut self) {
        self.past.clear();
        for released in &mut self.released {
            released.pinged = None;
        }
        // A job whose options did not all come was never begun; the hub's lease times out or is
        // offered again.
        self.jobs.retain(|job| !matches!(job.stage, Stage::Options(_)));
        for (_, job) in self.jobs.iter_mut() {
            job.lose_session();
        }
    }

    #[inline(never)]
    pub(super) fn timer(&mut self, now: Time, out: &mut Vec<Effect>) {
        match &mut self.link.state {
            State::Down { retry_at: Some(at) } if now >= *at => self.link.connect(now, out),
            State::Connecting { give_up } | State::Greeting { give_up } if now >= *give_up => {
                self.fault(now, "no answer", out);
            }
            State::Registering(session) | State::Up(session) => {
                if now >= session.heard.plus_ms(SILENCE_MAX_MS) {
                    self.fault(now, "silent for 60 s", out);
                } else if now >= session.ping_at {
                    session.ping_at = now.plus_ms(session.ping_every_ms);
                    session.measuring = true;
                    out.push(Effect::Measure);
                }
            }
            _ => {}
        }
    }

    #[inline(never)]
    pub(super) fn message(&mut self, now: Time, message: ToBuilder, out: &mut Vec<Effect>) {
        let Some(session) = self.link.session() else { return };
        session.heard = now;
        match message {
            ToBuilder::Registered { time_unix_s, ping_s, http_port, repos } => {
                self.registered(now, time_unix_s, ping_s, http_port, repos, out);
            }
            ToBuilder::Repo { place } => match session.repos_left {
                Some(left) if left > 0 => {
                    session.repos_left = Some(left - 1);
                    session.repos.push(place);
                    self.rise_if_complete(out);
                }
                _ => self.fault(now, "sent a repository out of order", out),
            },
            ToBuilder::Adopted { lease, logs } => {
                if self.answered(now, lease, out) {
                    self.adopted(lease, logs, out);
                    self.rise_if_complete(out);
                }
            }
            ToBuilder::Done { lease } => {
                if self.answered(now, lease, out) {
                    self.drop_release(lease, out);
                    self.over(lease, "done already", Some(exit::OK), out);
                    self.rise_if_complete(out);
                }
            }
            ToBuilder::Gone { lease } => {
                if self.answered(now, lease, out) {
                    self.drop_release(lease, out);
                    self.over(lease, "the lease is over", None, out);
                    self.rise_if_complete(out);
                }
            }
            ToBuilder::Pong => session.pongs += 1,
            ToBuilder::Drain => session.drained = true,
            ToBuilder::Undrain => session.drained = false,
            ToBuilder::Exit => self.drain(out),
            ToBuilder::Reject { code } => self.rejected(now, code, out),
            other => self.job_message(now, other, out),
        }
    }

    #[inline(never)]
    fn registered(
        &mut self,
        now: Time,
        time_unix_s: u64,
        ping_s: u16,
        http_port: u16,
        repos: u8,
        out: &mut Vec<Effect>,
    ) {
        let Some(session) = self.link.session() else { return };
        if session.repos_left.is_some() {
            self.fault(now, "sent Registered twice", out);
            return;
        }
        session.repos_left = Some(repos);
        session.http_port = http_port;
        session.ping_every_ms = (u64::from(ping_s.max(1)) * 1000).min(PING_EVERY_MS);
        session.ping_at = now.plus_ms(session.ping_every_ms);
        self.link.hub_clock = Some((time_unix_s, now));
        // The clock is judged again now that the hub's is known, and the hub hears of it.
        let again = self.measured;
        self.rise_if_complete(out);
        self.measured(now, again, out);
        if self.trouble.is_some() && self.link.pings() == Some(0) {
            self.ping(out);
        }
    }

    /// Takes one answer to a `Held` off the list; false if none was due.
    fn answered(&mut self, now: Time, lease: LeaseId, out: &mut Vec<Effect>) -> bool {
        let due =
            self.link.session().filter(|session| session.repos_left == Some(0)).is_some_and(|session| {
                let at = session.unanswered.iter().position(|due| *due == lease);
                at.map(|at| session.unanswered.swap_remove(at)).is_some()
            });
        if !due {
            // `Done` and `Gone` may also come later, when something ended behind our back.
            let known = self.link.is_up() && (self.jobs.get(lease).is_some() || self.is_past(lease));
            if !known {
                self.fault(now, "answered for a lease that was not asked about", out);
            }
            return known;
        }
        true
    }

    fn rise_if_complete(&mut self, out: &mut Vec<Effect>) {
        let complete = |session: &mut super::link::Session| {
            session.repos_left == Some(0) && session.unanswered.is_empty()
        };
        if self.link.is_up() || !self.link.session().is_some_and(complete) {
            return;
        }
        self.link.rise();
        out.push(Effect::Log(Level::Info, "registered with the hub".to_owned()));
        if self.mode == Mode::Draining {
            self.link.send(FromBuilder::Draining, out);
            self.say_ping(out);
        }
    }

    fn rejected(&mut self, now: Time, code: RejectCode, out: &mut Vec<Effect>) {
        match code {
            RejectCode::NotListed | RejectCode::Cloned => {
                self.refused(now, &format!("the hub ended the session: {code}"), exit::REFUSED, out);
            }
            _ => self.fault(now, &format!("ended the session: {code}"), out),
        }
    }

    /// `Ready`, once, if everything is in order for a job.
    pub(super) fn say_ready(&mut self, out: &mut Vec<Effect>) {
        if !self.jobs.is_empty() || self.trouble.is_some() || self.once_over {
            return;
        }
        if let State::Up(session) = &mut self.link.state
            && !session.ready
            && !session.drained
        {
            session.ready = true;
            out.push(Effect::Send(FromBuilder::Ready));
        }
    }

    /// A `Job` came: its options follow.
    #[inline(never)]
    pub(super) fn job_offered(&mut self, now: Time, record: JobRecord, options: u8, out: &mut Vec<Effect>) {
        let ready = match &mut self.link.state {
            State::Up(session) => std::mem::take(&mut session.ready),
            _ => false,
        };
        if !ready || !self.jobs.is_empty() {
            self.fault(now, "sent a job that was not asked for", out);
            return;
        }
        let text = format!("pkg={} lease={} {} bytes", record.srpm, record.lease, record.size);
        out.push(Effect::Log(Level::Info, text));
        let lease = record.lease;
        self.jobs.insert(lease, super::Job::offered(record, Options { left: options }));
        self.job_complete(lease, out);
    }

    /// The repositories of a build: `place` alone, or those that `Registered` named where it is empty.
    pub(super) fn repos(&mut self, place: &Line) -> Repos {
        let host = self.config.hub_host.clone();
        let none = Repos { urls: Vec::new(), alone: false };
        let Some(session) = self.link.session() else { return none };
        let port = session.http_port;
        let url = |place: &Line| {
            let place = place.as_str();
            if !place.starts_with('/') {
                Some(place.to_owned()).filter(|url| !url.is_empty())
            } else if port == 0 {
                None
            } else {
                Some(format!("http://{host}:{port}{place}"))
            }
        };
        match url(place) {
            Some(url) => Repos { urls: vec![url], alone: true },
            None => Repos { urls: session.repos.iter().filter_map(url).collect(), ..none },
        }
    }
}

fn held_message(
    lease: LeaseId,
    srpm: &moji_proto::FileName,
    digest: moji_proto::Digest,
    phase: Phase,
) -> FromBuilder {
    FromBuilder::Held { lease, srpm: srpm.clone(), digest, phase }
}
