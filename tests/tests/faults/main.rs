//! `kill -9` and I/O errors at every system call that changes files, and at random moments: nothing is lost, doubled or
//! half published.
//!
//! Owns the suites, a module each. `MOJI_CASES` says how many cases of a kind are run: a few by default, 0 for all;
//! `MOJI_KILLS` how many kills at random moments, `MOJI_SEED` which cases and moments, `MOJI_LANES` how many farms
//! share the cases. strace counts a process's calls first ([`moji_tests::faults::calls`]); then each of them is one case.

mod builder;
mod errors;
mod hub;
mod lanes;
mod merge;
mod orders;
mod random;
mod recovery;
mod world;
