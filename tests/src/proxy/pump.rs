//! The proxy's threads: one that accepts, and two a connection that copy bytes, one a direction.
//!
//! Owns reading and writing. Must never decide what passes: [`Shared::admit`] does.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fate::Direction;
use super::rules::{Next, Pair, Shared};

/// Bytes read at once: some records of the protocol, so that a throughput test stays honest.
const CHUNK_BYTES: usize = 64 * 1024;
/// How often a pump looks up whose connection is to be reset.
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps: Vec<JoinHandle<()>> = Vec::new();
    for stream in listener.incoming() {
        // A soak has thousands of connections.
        pumps.retain(|pump| !pump.is_finished());
        let Ok(builder) = stream else { continue };
        let upstream = {
            let mut rules = shared.rules();
            if rules.closing {
                break;
            }
            rules.accepted += 1;
            (!rules.refusing).then_some(rules.upstream)
        };
        // A refused or failed connection ends as `builder` is dropped.
        let Some(Ok(hub)) = upstream.map(TcpStream::connect) else {
            continue;
        };
        pumps.extend(start(builder, hub, shared));
    }
    for pump in pumps {
        let _ = pump.join();
    }
}

fn start(builder: TcpStream, hub: TcpStream, shared: &Arc<Shared>) -> [JoinHandle<()>; 2] {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor can be duplicated");
    let id = {
        let mut rules = shared.rules();
        let (id, fate) = (rules.accepted, rules.fate());
        let pair = Pair::new(id, copy(&builder), copy(&hub), fate);
        if rules.closing {
            pair.cut();
        }
        rules.live.push(pair);
        id
    };
    let spawn = |from: TcpStream, to: TcpStream, way: Direction| {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            pump(from, to, way, id, &shared);
            shared.changed.notify_all();
        })
    };
    [spawn(copy(&builder), copy(&hub), Direction::ToHub), spawn(hub, builder, Direction::ToBuilder)]
}

/// Copies one direction until an end closes or the rules end it.
fn pump(mut from: TcpStream, mut to: TcpStream, way: Direction, id: usize, shared: &Shared) {
    let mut buffer = vec![0; CHUNK_BYTES];
    // Fails only on a connection that has gone already.
    let _ = to.set_nodelay(true);
    let _ = from.set_read_timeout(Some(Duration::from_secs(1)));
    loop {
        let reset_at = shared.rules().reset_at(id);
        if let Some(at) = reset_at {
            let rest = at.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return shared.rules().reset_one(id);
            }
            let _ = from.set_read_timeout(Some(rest.max(LOOK)));
        }
        let length = match from.read(&mut buffer) {
            Ok(length @ 1..) => length,
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Ok(_) | Err(_) => return shared.rules().end_of(id, way),
        };
        let arrived = Instant::now();
        let mut rest = &mut buffer[..length];
        while !rest.is_empty() {
            let passage = shared.admit(way, id, rest.len(), arrived);
            if let Some((at, bit)) = passage.flip {
                rest[at] ^= 1 << bit;
            }
            let piece = match shared.rules().piece(id) {
                0 => CHUNK_BYTES,
                piece => piece,
            };
            let (now, later) = rest.split_at_mut(passage.allowed);
            let failed = now.chunks(piece).any(|piece| to.write_all(piece).is_err());
            if failed || passage.next == Next::End {
                return shared.rules().cut_one(id);
            }
            rest = if passage.next == Next::Drop { &mut [] } else { later };
        }
    }
}
