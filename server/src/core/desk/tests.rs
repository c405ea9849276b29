//! The desk's core with a clock of its own.

use moji_proto::message::{Backend, BuilderRow, BuilderState, Health, PackageRow, PackageState};
use moji_proto::{FileName, Line, PublicKey};

use crate::core::view::PackageView;

pub(super) fn package(srpm: &str, nevr: &str) -> PackageView {
    let row = PackageRow {
        srpm: FileName::new(srpm).unwrap(),
        nevr: Line::lossy(nevr),
        state: PackageState::Waiting,
        why: Line::default(),
        age_s: 0,
        size: 0,
        priority: 0,
        charged: 0,
        lease: None,
        builder: None,
        phase: None,
        phase_age_s: 0,
        line: Line::default(),
        place: Line::default(),
    };
    PackageView { row, wants: Vec::new(), options: Vec::new() }
}

pub(super) fn builder(name: &str, key: u8) -> BuilderRow {
    BuilderRow {
        name: Line::lossy(name),
        key: PublicKey([key; 32]),
        peer: Line::default(),
        state: BuilderState::Idle,
        why: Line::default(),
        until_s: 0,
        age_s: 0,
        arch: Line::default(),
        version: Line::default(),
        cfg: Line::default(),
        backend: Backend::Mock,
        cpus: 1,
        memory_mib: 1,
        health: Health { disk_free_mib: 0, memory_free_mib: 0, load_centi: 0, trouble: None },
        srpm: None,
        phase: None,
        faults: 0,
        built: 0,
        failed: 0,
    }
}
