//! The hub's door: who comes in, and as what.
//!
//! Owns the way of a connection from accept to being known to leases (or to be turned away), with
//! the decisions of [`super::super::admission`] and [`super::super::clones`]. Never reads a socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mio::Interest;
use mio::net::TcpStream;
use moji_proto::channel::Accept;
use moji_proto::hello::{Role, Versions};
use moji_proto::refusal::{Refusal, RejectCode};
use moji_proto::secret::Psk;
use moji_proto::{PublicKey, Time};

use super::{ACCEPT_PAUSE_MS, Conn, Reactor, Secrets, Standing, listener_token, token};
use crate::actors::tell;
use crate::core::types::{BuilderInfo, HeldLease, SessionId};
use crate::core::{desk, leases};
use crate::net::admission::is_private;
use crate::net::clones::Host;
use crate::net::listen::{Accepted, farewell};
use crate::net::session::{End, Session};

/// Connections accepted in one turn while handshakes keep up: milliseconds, and as many as have room, so that the
/// kernel's queue, where nobody is served, does not overflow.
const ACCEPTS_PER_TURN: usize = 256;
/// Of them, those that are accepted although there is no more room for honest ones: whoever does not go on with his
/// handshake must not keep others out.
const ACCEPTS_BEYOND_ROOM: usize = 128;
/// How long those who do not go on hold up the others, ms: with the number above, 4,096 who wait in the kernel, which is
/// all that it lets wait, are through in less than a second, as long as handshakes leave the time.
const HOLD_MS: u64 = 25;

impl Reactor {
    pub(super) fn accept(&mut self, now: Time, i: usize) {
        let mut beyond = ACCEPTS_BEYOND_ROOM;
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.admission.has_room() {
                if beyond == 0 || !self.admission.admits(now) {
                    return self.hold(now);
                }
                beyond -= 1;
            }
            match self.reserve.accept(&self.listeners[i]) {
                Accepted::Peer(stream, addr) => self.arrive(now, stream, addr),
                Accepted::Nobody => {}
                Accepted::TurnedAway(addr) => {
                    if self.admission.may_complain(now, addr.ip(), End::Refused(Refusal::Full)) {
                        log::warn!("addr={addr} refused: the hub has no descriptor left");
                    }
                }
                Accepted::Empty => return,
                Accepted::Exhausted(error) => {
                    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                    if self.admission.may_complain(now, nobody, End::Io(error.kind())) {
                        log::error!("failed to accept connections: {error}");
                    }
                    self.accept_again = Some(now.plus_ms(ACCEPT_PAUSE_MS));
                    return;
                }
            }
        }
        // More may wait: have the poll say so again.
        let token = listener_token(i);
        if let Err(error) = self.poll.registry().reregister(&mut self.listeners[i], token, Interest::READABLE)
        {
            log::error!("failed to watch the port: {error}");
            self.accept_again = Some(now.plus_ms(ACCEPT_PAUSE_MS));
        }
    }

    /// Handshakes are slower than accepts: the next ones wait in the kernel, where nobody is turned away, until some
    /// are through. Whoever does not go on holds the others up this long at most.
    fn hold(&mut self, now: Time) {
        self.is_held = true;
        self.accept_again.get_or_insert(now.plus_ms(HOLD_MS));
    }

    fn arrive(&mut self, now: Time, stream: TcpStream, addr: SocketAddr) {
        let id = self.next_id();
        let peer = addr.ip().to_canonical();
        let addr = SocketAddr::new(peer, addr.port());
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("addr={addr} gone at once: {error}");
            return;
        }
        let Secrets { builder, operator } = &self.config.secrets;
        let none = [Psk::NONE];
        let accept = Accept {
            versions: Versions::OURS,
            key: &self.config.key,
            builder_secrets: if builder.is_empty() { &none } else { builder },
            operator_secrets: if builder.is_empty() && operator.is_empty() { &none } else { operator },
        };
        let mut session = Session::new(id, peer, accept, self.config.clocks, now);
        let stranger = builder.is_empty() && !is_private(peer);
        if stranger {
            session.refuse(now, Refusal::Address);
        }
        let conn = Conn {
            id,
            stream,
            addr,
            session,
            standing: Standing::Pending(None),
            watched: None,
            short: false,
            armed: None,
            marked: false,
            shut: false,
        };
        self.conns.insert(token(id), conn);
        self.mark(id);
        if let Some(victim) = self.admission.arrived(now, id, peer) {
            if let Some(conn) = self.conn(victim) {
                farewell(&mut conn.stream, Refusal::Full);
            }
            self.remove(now, victim, End::Refused(Refusal::Full));
        }
        if stranger {
            self.left(now, id, End::Refused(Refusal::Address));
        }
    }

    /// An id that was never used, whose token is free too where tokens have only 32 bits.
    fn next_id(&mut self) -> SessionId {
        loop {
            self.last_id += 1;
            let id = SessionId(self.last_id);
            if !self.conns.contains_key(&token(id)) {
                return id;
            }
        }
    }

    pub(super) fn on_established(&mut self, now: Time, id: SessionId, key: PublicKey, role: Role) {
        // Also an operator who has a secret: a hub without one for builders is one for trying out.
        let no_secret = self.config.secrets.builder.is_empty();
        let Some(conn) = self.conns.get_mut(&token(id)) else { return };
        let peer = conn.addr.ip();
        conn.standing = Standing::Pending(Some(key));
        match role {
            Role::Builder if !self.admission.lists(&key) => {
                self.turn_away(now, id, key, RejectCode::NotListed)
            }
            Role::Builder if self.clones.refuses(now, &key) => {
                self.turn_away(now, id, key, RejectCode::Cloned)
            }
            Role::Builder => self.admission.authenticated(now, id, peer),
            Role::Operator if no_secret && !peer.is_loopback() => {
                conn.session.refuse(now, Refusal::Address);
                self.left(now, id, End::Refused(Refusal::Address));
            }
            Role::Operator => {
                conn.standing = Standing::Operator { key };
                log::debug!("operator key={} addr={} connected", key.fingerprint(), conn.addr);
                self.admission.settled(id);
                self.admission.authenticated(now, id, peer);
                tell(&self.peers.desk, desk::Msg::Connected { session: id, peer });
            }
        }
    }

    /// Rejects a builder whose key is not wanted, and says which key that is: an operator who forgot
    /// to list it finds it in the log.
    fn turn_away(&mut self, now: Time, id: SessionId, key: PublicKey, code: RejectCode) {
        if let Some(conn) = self.conn(id) {
            let addr = conn.addr;
            if self.admission.may_complain(now, addr.ip(), End::Rejected(code)) {
                log::warn!("key={key} addr={addr} rejected: {code}");
            }
        }
        if let (RejectCode::NotListed, Some(peer)) = (code, self.conn(id).map(|conn| conn.addr.ip())) {
            tell(&self.peers.desk, desk::Msg::Unlisted { key, peer });
        }
        self.reject(now, id, code);
    }

    pub(super) fn on_registered(
        &mut self,
        now: Time,
        id: SessionId,
        info: BuilderInfo,
        held: Vec<HeldLease>,
    ) {
        let Some(conn) = self.conns.get(&token(id)) else { return };
        let (key, name, addr) = (info.id, info.name.clone(), conn.addr);
        // The list may have changed since the handshake.
        if !self.admission.lists(&key) {
            return self.turn_away(now, id, key, RejectCode::NotListed);
        }
        let old = self.builders.get(&key).copied();
        let host = Host { instance: info.instance, name: name.clone(), addr };
        if let Err(other) = self.clones.registered(now, key, host) {
            log::error!(
                "builder={name} key={} addr={addr} and builder={} addr={} use the same key: \
                 both are refused for ten minutes; delete identity.key on one of them",
                key.fingerprint(),
                other.name,
                other.addr,
            );
            old.into_iter().chain([id]).for_each(|id| self.reject(now, id, RejectCode::Cloned));
            return;
        }
        // Leases hear of the old session's end first.
        if let Some(old) = old {
            self.reject(now, old, RejectCode::Replaced);
        }
        log::debug!("builder={name} key={} addr={addr} connected", key.fingerprint());
        self.admission.settled(id);
        self.builders.insert(key, id);
        if let Some(conn) = self.conn(id) {
            conn.standing = Standing::Builder { key, name };
        }
        tell(&self.peers.leases, leases::Msg::Connected { session: id, info, held });
    }
}
