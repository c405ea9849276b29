//! Everything a test can order, and what came of it.
//!
//! Owns the state that the proxy's threads share, and what may pass at a moment. Must never read or write a connection.

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::fate::{Direction, Fate, Fault, Script, Strike};
use crate::varied::Chance;

/// Longest that a connection waits for a later one: a hub gives a handshake 20 s.
const WAITS_MAX: Duration = Duration::from_secs(10);

/// What holds for one direction of all connections.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Bytes let through since the proxy began.
    pub(super) passed: u64,
    /// The connection that would carry the byte after this many is cut instead.
    pub(super) trip_at: Option<u64>,
}

/// All orders.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) upstream: SocketAddr,
    lanes: [Lane; 2],
    pub(super) stalled: bool,
    pub(super) refusing: bool,
    pub(super) closing: bool,
    pub(super) delay: Duration,
    pub(super) piece: usize,
    pub(super) accepted: usize,
    pub(super) trips: usize,
    pub(super) live: Vec<Pair>,
    pub(super) script: Option<Script>,
    /// How often each fault struck.
    pub(super) struck: BTreeMap<&'static str, u64>,
    chance: Chance,
}

/// Both sockets of one connection.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) id: usize,
    pub(super) builder: TcpStream,
    pub(super) hub: TcpStream,
    pub(super) fate: Fate,
    /// Bytes that were to pass, in each direction.
    passed: [u64; 2],
    /// What became of each direction.
    lost: [Option<Loss>; 2],
    /// Directions whose pump has ended although the connection has not.
    ended: usize,
}

/// How a direction of a connection ended before the connection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Nothing comes through; a reset when it is this late.
    Swallowed(Option<Instant>),
    /// The builder is gone; what it sent is on its way still.
    Late,
}

/// What a pump is to do with bytes it has read.
#[derive(Debug)]
pub(super) struct Passage {
    /// So many of them are written.
    pub(super) allowed: usize,
    /// One of those has this bit flipped.
    pub(super) flip: Option<(usize, u8)>,
    /// What follows.
    pub(super) next: Next,
}

/// What a pump does after it has written what was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Asks again for the rest.
    Ask,
    /// Drops the rest.
    Drop,
    /// Ends.
    End,
}

fn index(way: Direction) -> usize {
    match way {
        Direction::ToHub => 0,
        Direction::ToBuilder => 1,
    }
}

impl Pair {
    pub(super) fn new(id: usize, builder: TcpStream, hub: TcpStream, fate: Fate) -> Pair {
        Pair { id, builder, hub, fate, passed: [0; 2], lost: [None; 2], ended: 0 }
    }

    pub(super) fn cut(&self) {
        // Fails only when the other side has gone already.
        let _ = self.builder.shutdown(Shutdown::Both);
        let _ = self.hub.shutdown(Shutdown::Both);
    }

    /// Wakes both pumps without a word to anybody: as they end and the last copies are closed, resets go out.
    fn reset(&self) {
        for stream in [&self.builder, &self.hub] {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

impl Rules {
    pub(super) fn new(upstream: SocketAddr) -> Rules {
        Rules {
            upstream,
            lanes: Default::default(),
            stalled: false,
            refusing: false,
            closing: false,
            delay: Duration::ZERO,
            piece: 0,
            accepted: 0,
            trips: 0,
            live: Vec::new(),
            script: None,
            struck: BTreeMap::new(),
            chance: Chance(1),
        }
    }

    pub(super) fn lane(&mut self, way: Direction) -> &mut Lane {
        &mut self.lanes[index(way)]
    }

    pub(super) fn cut_all(&mut self) {
        for pair in self.live.drain(..) {
            pair.cut();
        }
    }

    pub(super) fn reset_all(&mut self) {
        for pair in self.live.drain(..) {
            pair.reset();
        }
    }

    /// How a connection that is accepted now is treated.
    pub(super) fn fate(&mut self) -> Fate {
        let number = self.accepted;
        self.script.as_mut().map_or_else(Fate::default, |script| (script.0)(number))
    }

    fn find(&mut self, id: usize) -> Option<&mut Pair> {
        self.live.iter_mut().find(|pair| pair.id == id)
    }

    fn remove(&mut self, id: usize) -> Option<Pair> {
        let at = self.live.iter().position(|pair| pair.id == id)?;
        Some(self.live.remove(at))
    }

    /// From now on this strikes the connection, counted from its next byte.
    pub(super) fn strike(&mut self, id: usize, strike: Strike) -> bool {
        let Some(pair) = self.find(id) else { return false };
        if strike.after == 0 && !matches!(strike.fault, Fault::Flip(_) | Fault::Late(_)) {
            *self.struck.entry(strike.fault.name()).or_default() += 1;
            match strike.fault {
                Fault::Cut => self.cut_one(id),
                Fault::Reset => self.reset_one(id),
                fault => _ = self.do_strike(id, index(strike.way), fault),
            }
            return true;
        }
        let after = pair.passed[index(strike.way)] + strike.after;
        pair.fate.strike = Some(Strike { after, ..strike });
        true
    }

    /// Most bytes written at once on this connection.
    pub(super) fn piece(&mut self, id: usize) -> usize {
        let own = self.find(id).map_or(0, |pair| pair.fate.piece);
        [self.piece, own].into_iter().filter(|piece| *piece > 0).min().unwrap_or(0)
    }

    /// When a pump of this connection is to look up from reading, if ever.
    pub(super) fn reset_at(&mut self, id: usize) -> Option<Instant> {
        let lost = self.find(id)?.lost;
        lost.into_iter().flatten().find_map(|loss| match loss {
            Loss::Swallowed(at) => at,
            Loss::Late => None,
        })
    }

    /// The connection's reset is due, if it has not been ended meanwhile.
    pub(super) fn reset_one(&mut self, id: usize) {
        if let Some(pair) = self.remove(id) {
            pair.reset();
        }
    }

    /// A pump came to the end of what it read from. A half-close ends both directions, since the protocol does not use
    /// it, unless this direction is lost and the end with it.
    pub(super) fn end_of(&mut self, id: usize, way: Direction) {
        let Some(pair) = self.find(id) else { return };
        pair.ended += 1;
        if (pair.lost[index(way)].is_none() && !pair.lost.contains(&Some(Loss::Late))) || pair.ended == 2 {
            self.cut_one(id);
        }
    }

    pub(super) fn cut_one(&mut self, id: usize) {
        if let Some(pair) = self.remove(id) {
            pair.cut();
        }
    }

    /// Whether this connection waits until a later one has sent enough.
    fn waits_for_next(&self, id: usize, bytes: u64, since: Instant) -> bool {
        let sent = |pair: &Pair| pair.id > id && pair.passed[0] >= bytes;
        since.elapsed() < WAITS_MAX && !self.live.iter().any(sent)
    }

    /// What may pass of `length` bytes, and what then.
    fn passage(&mut self, id: usize, way: Direction, length: usize) -> Passage {
        let at = index(way);
        let Some(pair) = self.live.iter_mut().find(|pair| pair.id == id) else {
            return Passage { allowed: 0, flip: None, next: Next::End };
        };
        match pair.lost[at] {
            Some(Loss::Swallowed(_)) => return Passage { allowed: 0, flip: None, next: Next::Drop },
            // Nobody is there to take it.
            _ if at == 1 && pair.lost[0] == Some(Loss::Late) => {
                return Passage { allowed: 0, flip: None, next: Next::Drop };
            }
            _ => {}
        }
        let lane = &mut self.lanes[at];
        let room = lane.trip_at.map_or(u64::MAX, |at| at - lane.passed);
        let allowed = length.min(usize::try_from(room).unwrap_or(usize::MAX));
        let trip = allowed < length;
        let struck = pair.fate.strike.filter(|strike| strike.way == way);
        let struck = struck.filter(|strike| strike.after < pair.passed[at] + allowed as u64);
        if let Some(Strike { after, fault, .. }) = struck {
            let before = usize::try_from(after.saturating_sub(pair.passed[at])).unwrap_or(0);
            pair.fate.strike = None;
            *self.struck.entry(fault.name()).or_default() += 1;
            let allowed = if let Fault::Flip(_) = fault { before + 1 } else { before };
            pair.passed[at] += allowed as u64;
            lane.passed += allowed as u64;
            let flip = if let Fault::Flip(bit) = fault { Some((before, bit)) } else { None };
            return Passage { allowed, flip, next: self.do_strike(id, at, fault) };
        }
        pair.passed[at] += allowed as u64;
        lane.passed += allowed as u64;
        if trip {
            lane.trip_at = None;
            self.trips += 1;
        }
        Passage { allowed, flip: None, next: if trip { Next::End } else { Next::Ask } }
    }

    fn do_strike(&mut self, id: usize, at: usize, fault: Fault) -> Next {
        let Some(pair) = self.find(id) else { return Next::End };
        let later =
            |after: Option<Duration>| Some(Loss::Swallowed(after.map(|after| Instant::now() + after)));
        match fault {
            // The bytes before it are still to be written: the pump ends the connection after that.
            Fault::Cut => return Next::End,
            Fault::Late(_) if at == 1 => return Next::End,
            Fault::Reset => {
                pair.lost = [later(Some(Duration::ZERO)); 2];
                return Next::Drop;
            }
            Fault::Flip(_) => return Next::Ask,
            Fault::HalfOpen(after) => pair.lost[at] = later(after),
            Fault::BlackHole(after) => pair.lost = [later(after); 2],
            Fault::Late(bytes) => {
                pair.lost[0] = Some(Loss::Late);
                pair.fate.after_next = Some(bytes);
                let _ = pair.builder.shutdown(Shutdown::Both);
                return Next::Ask;
            }
        }
        Next::Drop
    }
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    rules: Mutex<Rules>,
    pub(super) changed: Condvar,
}

impl Shared {
    pub(super) fn new(rules: Rules) -> Shared {
        Shared { rules: Mutex::new(rules), changed: Condvar::new() }
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("no thread panics while it holds the rules")
    }

    /// Waits as the rules demand for bytes that arrived at `arrived`; what may pass then.
    pub(super) fn admit(&self, way: Direction, id: usize, length: usize, arrived: Instant) -> Passage {
        let mut rules = self.rules();
        let mut due = None;
        loop {
            let pair = rules.live.iter().find(|pair| pair.id == id).map(|pair| pair.fate);
            let Some(fate) = pair.filter(|_| !rules.closing) else {
                return Passage { allowed: 0, flip: None, next: Next::End };
            };
            let jitter = u64::try_from(fate.jitter.as_micros()).unwrap_or(0) as usize;
            let due = *due.get_or_insert_with(|| {
                let more = rules.chance.below(jitter + 1);
                arrived + fate.delay + Duration::from_micros(more as u64)
            });
            let rest = due.max(arrived + rules.delay).saturating_duration_since(Instant::now());
            let waits = fate.after_next.is_some_and(|bytes| rules.waits_for_next(id, bytes, arrived));
            let rest = if waits { rest.max(Duration::from_millis(100)) } else { rest };
            rules = if rules.stalled {
                self.changed.wait(rules).expect("no thread panics while it holds the rules")
            } else if rest > Duration::ZERO {
                let woken = self.changed.wait_timeout(rules, rest);
                woken.expect("no thread panics while it holds the rules").0
            } else {
                break;
            };
        }
        let passage = rules.passage(id, way, length);
        drop(rules);
        self.changed.notify_all();
        passage
    }
}
