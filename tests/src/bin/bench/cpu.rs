//! What encryption and digests alone cost a byte: the floor under every transfer.
//!
//! Owns that measurement: the real channel and the real digest, from memory to memory, in one thread.

use moji_proto::Hasher;
use moji_proto::channel::{Accept, Channel, Connect, Event};
use moji_proto::hello::{Role, Versions};
use moji_proto::limits::CHUNK_BYTES_MAX;
use moji_proto::secret::{Psk, SecretKey};
use sha2::{Digest as _, Sha256};

use crate::hub::cpu_s;
use crate::table::{Runs, Table};

const RUNS: usize = 5;
/// Pieces of one run: 256 MiB of them.
const PIECES: usize = (256 << 20) / CHUNK_BYTES_MAX;

/// Measures and prints it.
pub(crate) fn run() {
    let (mut alone, _unheard) = pair();
    let (mut out, mut input) = pair();
    let piece = vec![7; CHUNK_BYTES_MAX];
    let (mut seal, mut open, mut digest, mut sha256) = <(Runs, Runs, Runs, Runs)>::default();
    for _ in 0..RUNS {
        let sealed = spent(|records| alone.seal(&piece, records).expect("a piece fits a record"));
        let both = spent(|records| {
            out.seal(&piece, records).expect("a piece fits a record");
            let (taken, _) = input.receive(records, &mut Vec::new()).expect("a whole record");
            assert_eq!(taken, records.len(), "one record is one event");
        });
        let mut hasher = Hasher::default();
        digest.push(spent(|_| hasher.update(&piece)));
        std::hint::black_box(hasher.finish());
        let mut hasher = Sha256::new();
        sha256.push(spent(|_| hasher.update(&piece)));
        std::hint::black_box(hasher.finalize());
        seal.push(sealed);
        open.push(both - sealed);
    }
    let mut table = Table::new(
        "What the CPU must do for every byte, from memory to memory; median of 5 runs (smallest to largest)",
        &["what", "CPU-s/GB"],
    );
    for (what, runs) in [
        ("encrypt (ChaCha20-Poly1305 in records)", seal),
        ("decrypt", open),
        ("digest (BLAKE2s)", digest),
        ("of RPMs, on the hub, besides (SHA-256)", sha256),
    ] {
        table.row([what.to_owned(), runs.text(2)]);
    }
    table.print();
}

/// CPU that `step` takes for a run's pieces, seconds a GB; it may use a buffer, which is emptied each time.
fn spent(mut step: impl FnMut(&mut Vec<u8>)) -> f64 {
    let (before, mut buffer) = (cpu_s(std::process::id()), Vec::new());
    for _ in 0..PIECES {
        buffer.clear();
        step(&mut buffer);
    }
    (cpu_s(std::process::id()) - before) / (PIECES * CHUNK_BYTES_MAX) as f64 * 1e9
}

/// Both ends of an established channel.
fn pair() -> (Channel, Channel) {
    let (ours, theirs) = (SecretKey::generate(), SecretKey::generate());
    let versions = Versions::OURS;
    let mut to_hub = Vec::new();
    let connect = Connect { role: Role::Builder, versions, key: &ours, psk: Psk::NONE, hub_key: None };
    let mut builder = Channel::connect(connect, &mut to_hub);
    let mut hub = Channel::accept(Accept {
        versions,
        key: &theirs,
        builder_secrets: &[Psk::NONE],
        operator_secrets: &[],
    });
    let mut to_builder = Vec::new();
    hub.receive(&to_hub, &mut to_builder).expect("a handshake");
    to_hub.clear();
    builder.receive(&to_builder, &mut to_hub).expect("a handshake");
    let (_, event) = hub.receive(&to_hub, &mut to_builder).expect("a handshake");
    assert!(matches!(event, Some(Event::Established { .. })), "the handshake is three messages");
    (builder, hub)
}
