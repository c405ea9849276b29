//! createrepo_c, called as moji called it before it had a publisher of its own.
//!
//! Owns its index, which is beside the repository and not in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::site::Site;
use crate::table::Runs;

/// How often an update is measured.
const UPDATES: usize = 3;

/// An index that createrepo_c keeps.
pub(super) struct Peer {
    repo: PathBuf,
    /// Its `repodata` is in here.
    pub(super) out: PathBuf,
    /// What the first index took, seconds.
    pub(super) first_s: f64,
}

impl Peer {
    /// Makes the first one, which reads every RPM.
    pub(super) fn first_index(site: &Site) -> Peer {
        let out = site.path().join("peer");
        fs::create_dir(&out).expect("a folder can be made");
        let mut peer = Peer { repo: site.publisher.repo(), out, first_s: 0.0 };
        peer.first_s = peer.update_s();
        peer
    }

    /// Brings it up to date; how long that took, seconds.
    pub(super) fn update_s(&self) -> f64 {
        let began = Instant::now();
        let status = Command::new("createrepo_c")
            .args(["-q", "--update", "--no-database", "--general-compress-type=gz", "--outputdir"])
            .arg(&self.out)
            .arg(&self.repo)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "createrepo_c makes an index");
        began.elapsed().as_secs_f64()
    }

    /// What an update takes after each of some results, milliseconds.
    pub(super) fn updates(&self, site: &mut Site) -> Runs {
        let mut runs = Runs::default();
        for _ in 0..UPDATES {
            site.next_result().write(&self.repo).expect("a result can be written");
            runs.push(self.update_s() * 1e3);
        }
        runs
    }
}
