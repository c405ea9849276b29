//! Connections: bytes that move, ends that close.
//!
//! Owns the table of connections. Knows nothing of what the bytes mean.

use super::*;
use crate::sim::board::Socket;

impl World {
    pub(super) fn conn_pipe(&mut self, conn: u64, to: Side) -> Option<&mut Pipe> {
        let conn = self.conns.get_mut(&conn)?;
        Some(match to {
            Side::Hub => &mut conn.up,
            Side::Board => &mut conn.down,
        })
    }

    /// Writes towards an end; says how many bytes were taken.
    pub(in crate::sim) fn pipe_write(&mut self, conn: u64, to: Side, bytes: &[u8]) -> usize {
        let net = self.network();
        let now = self.now_ms;
        let Some(it) = self.conns.get_mut(&conn) else { return bytes.len() };
        let (pipe, closed, blocked) = match to {
            Side::Hub => (&mut it.up, it.hub_closed, &mut it.board_blocked),
            Side::Board => (&mut it.down, it.board_closed, &mut it.hub_blocked),
        };
        if closed && !pipe.is_hole() {
            return bytes.len();
        }
        let (taken, times) = pipe.write(now, bytes, &net, &mut self.dice);
        *blocked |= taken < bytes.len();
        for at in times {
            self.at(at, Ev::Deliver(conn, to));
        }
        taken
    }

    /// Whether the board of this connection has a wrong secret.
    pub(in crate::sim) fn is_stranger(&self, conn: u64) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.stranger)
    }

    /// What has arrived at an end and was not read.
    pub(in crate::sim) fn pipe_arrived(&mut self, conn: u64, at: Side) -> Vec<u8> {
        let now = self.now_ms;
        self.conn_pipe(conn, at).map(|pipe| pipe.arrived(now).to_vec()).unwrap_or_default()
    }

    /// So many bytes were read at an end.
    pub(in crate::sim) fn pipe_read(&mut self, conn: u64, at: Side, count: usize) {
        if let Some(pipe) = self.conn_pipe(conn, at) {
            pipe.read(count);
        }
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let (blocked, writer) = match at {
            Side::Hub => (&mut it.board_blocked, Side::Board),
            Side::Board => (&mut it.hub_blocked, Side::Hub),
        };
        if std::mem::take(blocked) {
            self.at(self.now_ms, Ev::Room(conn, writer));
        }
    }

    /// An end closes the connection; the other one hears of it after all that was written.
    pub(in crate::sim) fn hang_up(&mut self, conn: u64, by: Side) {
        let now = self.now_ms;
        let latency = self.network().latency_ms;
        let way = self.dice.within(latency.0, latency.1);
        let Some(it) = self.conns.get_mut(&conn) else { return };
        let (pipe, closed, other) = match by {
            Side::Hub => (&it.down, &mut it.hub_closed, Side::Board),
            Side::Board => (&it.up, &mut it.board_closed, Side::Hub),
        };
        if !std::mem::replace(closed, true) && !pipe.is_hole() {
            let at = (now + way).max(pipe.last_ms());
            self.at(at, Ev::Fin(conn, other));
        }
        self.forget(conn);
    }

    /// Forgets a connection that both ends have closed.
    pub(super) fn forget(&mut self, conn: u64) {
        if self.conns.get(&conn).is_some_and(|it| it.hub_closed && it.board_closed) {
            // Fin events that are under way find nothing, which is all they would do.
            let hub_knows = self.hub.as_ref().is_some_and(|hub| hub.connections().contains(&conn));
            if !hub_knows {
                self.conns.remove(&conn);
            }
        }
    }

    pub(super) fn connect(&mut self, board: usize, attempt: u64) {
        if self.attempts[board] != attempt || !matches!(self.boards[board].around.socket, Socket::Connecting)
        {
            return;
        }
        if self.now_ms < self.outage_until_ms {
            return;
        }
        if self.hub.is_none() {
            self.boards[board].around.fail("connection refused");
            return self.board_run(board);
        }
        self.last_conn += 1;
        self.stats.connections += 1;
        let conn = self.last_conn;
        let [full, wrong_secret] = self.opt.refused;
        let (full, stranger) = (self.chance(full), self.chance(wrong_secret));
        self.conns.insert(
            conn,
            Conn {
                board,
                stranger,
                up: Pipe::default(),
                down: Pipe::default(),
                hub_closed: false,
                board_closed: false,
                hub_blocked: false,
                board_blocked: false,
            },
        );
        let it = &mut self.boards[board];
        let dial = Connect {
            role: Role::Builder,
            versions: Versions::OURS,
            key: &it.key,
            psk: if stranger { hub::wrong_psk() } else { hub::psk() },
            hub_key: Some(self.hub_key),
        };
        it.around.out.clear();
        let channel = Channel::connect(dial, &mut it.around.out);
        it.around.socket = Socket::Open(conn, Box::new(channel));
        self.with_hub(self.hub_gen, |hub, world| hub.accept(world, conn, full));
        self.board_run(board);
    }
}
