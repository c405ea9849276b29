//! What is fuzzed: for each target what is done with bytes that anybody may have written, and what it starts from.
//!
//! Owns the table. Used twice: by libFuzzer (`tests/fuzz/run`), and by `tests/tests/headers.rs`, which runs all seeds and
//! all cases of `corpus/` through it in an ordinary test. A body must be a function of its bytes alone, and end
//! within moments; a finding is a panic, an abort, a lot of memory or a lot of time. A finding's input is kept in
//! `corpus/TARGET/`.

mod hub;
mod packages;
mod seeds;
mod texts;
#[path = "../../src/varied.rs"]
#[allow(dead_code, unreachable_pub)]
mod varied;
#[allow(dead_code)] // `proto/tests/fuzz_smoke.rs` uses the rest.
mod wire;

/// One of them.
pub(crate) struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub(crate) name: &'static str,
    /// What is done with the bytes.
    pub(crate) body: fn(&[u8]),
    /// What it starts from beside `corpus/`.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them. The last is no part of moji: it shows that whoever runs it would find something.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "handshake", body: wire::handshake, seeds: seeds::handshake },
    Target { name: "records", body: wire::records, seeds: seeds::records },
    Target { name: "builder", body: wire::builder, seeds: seeds::builder },
    Target { name: "hub", body: wire::hub, seeds: seeds::hub },
    Target { name: "operator", body: wire::operator, seeds: seeds::operator },
    Target { name: "headers", body: packages::headers, seeds: seeds::headers },
    Target { name: "package", body: packages::package, seeds: seeds::package },
    Target { name: "lists", body: texts::lists, seeds: seeds::lists },
    Target { name: "logs", body: texts::logs, seeds: seeds::logs },
    Target { name: "config", body: texts::config, seeds: seeds::config },
    Target { name: "state", body: hub::state, seeds: seeds::state },
    Target { name: "mainline", body: hub::mainline, seeds: seeds::mainline },
    Target { name: "api", body: hub::api, seeds: seeds::api },
    Target { name: PLANTED, body: planted, seeds: Vec::new },
];

/// The name of what is no part of moji.
pub(crate) const PLANTED: &str = "planted";

/// Falls over bytes that only somebody finds who sees how far others got.
fn planted(data: &[u8]) {
    if let [b'm', b'o', b'j', b'i', rest @ ..] = data {
        assert!(rest.first() != Some(&0xed), "the planted bug");
    }
}
