//! The hub's connections, as the reactor has them.
//!
//! Owns sessions and whom leases believe to be connected. The bytes' way is the world's.

use super::*;

/// Writes into a pipe.
struct Wire<'a> {
    world: &'a mut World,
    conn: u64,
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.world.pipe_write(self.conn, Side::Board, bytes) {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Hub {
    /// A connection comes in.
    pub(in crate::sim) fn accept(&mut self, world: &mut World, conn: u64, full: bool) {
        self.last_session += 1;
        let id = SessionId(self.last_session);
        let accept = Accept {
            versions: Versions::OURS,
            key: &key(),
            builder_secrets: &[psk()],
            operator_secrets: &[],
        };
        let peer = IpAddr::from([127, 0, 0, 1]);
        let session = Session::new(id, peer, accept, Clocks::default(), self.now(world));
        self.conns.insert(id, HubConn { session, conn, builder: None, left: false, shut: false });
        self.by_conn.insert(conn, id);
        if full && let Some(it) = self.conns.get_mut(&id) {
            let now = Time(world.now_ms - self.started_ms);
            it.session.refuse(now, Refusal::Full);
            self.left(world, id, End::Refused(Refusal::Full));
            self.flush(world, now, id);
        }
    }

    /// All its connections.
    #[must_use]
    pub(in crate::sim) fn connections(&self) -> Vec<u64> {
        self.by_conn.keys().copied().collect()
    }

    /// Bytes have arrived on a connection, or there is room in it.
    pub(in crate::sim) fn ready(&mut self, world: &mut World, conn: u64) {
        let Some(id) = self.by_conn.get(&conn).copied() else { return };
        let now = self.now(world);
        loop {
            let Some(it) = self.conns.get_mut(&id) else { return };
            if !it.session.wants_read() {
                break;
            }
            let input = world.pipe_arrived(conn, Side::Hub);
            if input.is_empty() {
                break;
            }
            let (taken, event) = it.session.receive(now, &input);
            world.pipe_read(conn, Side::Hub, taken);
            if let Some(event) = event {
                self.on_event(world, now, id, event);
            }
        }
        self.flush(world, now, id);
    }

    /// The peer closed a connection, and all that it sent has arrived.
    pub(in crate::sim) fn closed(&mut self, world: &mut World, conn: u64, why: End) {
        let Some(id) = self.by_conn.get(&conn).copied() else { return };
        self.ready(world, conn);
        let now = self.now(world);
        if self.conns.contains_key(&id) {
            self.remove(world, now, id, why);
        }
    }

    pub(super) fn run_net(&mut self, world: &mut World, now: Time) {
        match self.for_net.pop_front() {
            Some(Command::Send(id, message)) => {
                world.say(|| format!("hub to {}: {message:?}", id.0));
                let event = self.conns.get_mut(&id).and_then(|conn| conn.session.send(now, message));
                if let Some(event) = event {
                    self.on_event(world, now, id, event);
                }
                self.flush(world, now, id);
            }
            Some(Command::Close(id, code)) => {
                world.say(|| format!("hub closes {}: {code}", id.0));
                self.reject(world, now, id, code);
            }
            Some(Command::Consumed(id, bytes)) => {
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.session.consumed(now, bytes);
                    let conn = conn.conn;
                    self.ready(world, conn);
                }
            }
            None => {}
        }
    }

    pub(super) fn session_tick(&mut self, world: &mut World, now: Time, id: SessionId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let was_closing = conn.session.is_closing();
        let event = conn.session.tick(now);
        let closing = conn.session.is_closing();
        if let Some(Event::Ended(end)) = event {
            if closing && !was_closing {
                self.left(world, id, end);
            } else {
                return self.remove(world, now, id, end);
            }
        }
        self.flush(world, now, id);
    }

    fn on_event(&mut self, world: &mut World, now: Time, id: SessionId, event: Event) {
        match event {
            Event::Leases(msg) => {
                let release = matches!(msg, leases::Msg::Release { .. });
                if release && let Some(key) = self.conns.get(&id).and_then(|conn| conn.builder) {
                    world.check.heard_of(key);
                }
                if !(release && world.planted == Some(Planted::LoseRelease)) {
                    self.tell_leases(msg);
                }
            }
            Event::Transfers(msg) => self.tell_transfers(msg),
            Event::Desk(_) | Event::Established { .. } => {}
            Event::Registered { info, held } => {
                let key = info.id;
                if self.conns.get(&id).is_some_and(|conn| world.is_stranger(conn.conn)) {
                    world.check.fail(format!("{} registers without the secret", info.name));
                }
                if let Some(old) = self.builders.get(&key).copied() {
                    self.reject(world, now, old, RejectCode::Replaced);
                }
                self.builders.insert(key, id);
                world.check.heard_of(key);
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.builder = Some(key);
                }
                world.say(|| format!("hub: {} registers in session {} with {held:?}", info.name, id.0));
                if world.planted == Some(Planted::AcceptStale) {
                    self.reported.extend(held.iter().map(|it| (it.lease, (it.clone(), info.clone()))));
                }
                self.tell_leases(leases::Msg::Connected { session: id, info, held });
            }
            Event::Ended(end) => self.left(world, id, end),
        }
    }

    fn reject(&mut self, world: &mut World, now: Time, id: SessionId, code: RejectCode) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.session.reject(now, code);
        self.left(world, id, End::Rejected(code));
        self.flush(world, now, id);
    }

    /// The hub stops: everybody is told, and no more is heard of them.
    pub(super) fn end_sessions(&mut self, world: &mut World, now: Time) {
        let all: Vec<SessionId> = self.conns.keys().copied().collect();
        for id in all {
            self.reject(world, now, id, RejectCode::ShuttingDown);
        }
    }

    fn left(&mut self, world: &mut World, id: SessionId, end: End) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::replace(&mut conn.left, true) {
            return;
        }
        world.say(|| format!("hub: session {} is over: {end}", id.0));
        if matches!(end, End::Rejected(RejectCode::Order | RejectCode::NotYours | RejectCode::Limit)) {
            world.rejected = Some(format!("session {} was {end}", id.0));
        }
        if let Some(key) = conn.builder {
            if self.builders.get(&key) == Some(&id) {
                self.builders.remove(&key);
            }
            // As the reactor has it: a hub that stops leaves its leases as a crash would.
            if !world.is_stopping() {
                world.check.heard_of(key);
                self.tell_leases(leases::Msg::Disconnected { session: id });
            }
        }
    }

    fn remove(&mut self, world: &mut World, _: Time, id: SessionId, end: End) {
        self.left(world, id, end);
        if let Some(conn) = self.conns.remove(&id) {
            self.by_conn.remove(&conn.conn);
            world.hang_up(conn.conn, Side::Hub);
        }
    }

    fn flush(&mut self, world: &mut World, now: Time, id: SessionId) {
        let mut scratch = Vec::new();
        loop {
            let Some(it) = self.conns.get_mut(&id) else { return };
            let conn = it.conn;
            match it.session.flush(now, &mut Wire { world, conn }, &mut scratch) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => return self.remove(world, now, id, end),
            }
        }
        let Some(it) = self.conns.get_mut(&id) else { return };
        if it.session.is_closing() && !it.session.wants_write() && !it.shut {
            it.shut = true;
            let conn = it.conn;
            world.hang_up(conn, Side::Hub);
        }
    }
}
