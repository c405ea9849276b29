//! Comparing a new build with the one before it, and finding what was built against it.
//!
//! Owns when the slow thread is asked: after what somebody waits for, before anything else. Decides nothing about what is
//! built again.

use super::*;

/// A build that is to be compared with earlier ones of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Its folder in `repo/`.
    pub folder: String,
    /// Folders of what was published of that source before, in that order.
    pub earlier: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The build's folder.
    pub folder: String,
    /// None if nothing that counts is different, or a later version is published already.
    pub change: Option<Changed>,
}

/// A build changed what others can be built against.
#[derive(Clone, Debug)]
pub struct Changed {
    /// In words.
    pub what: String,
    /// All that this build or the one before it provides.
    pub offered: Box<Capabilities>,
    /// Folders of other published results whose source package, of these the latest version, needs something of that, or
    /// whose binary packages do.
    pub dependents: Vec<String>,
}

impl Repo {
    /// True if it was ordered.
    pub(super) fn order_compare(&mut self, now: Time, out: &mut Vec<Effect>) -> bool {
        if self.to_compare.is_empty() || self.pauses(self.compare_retry.until(now)) {
            return false;
        }
        let builds = std::mem::take(&mut self.to_compare);
        self.slow = Slow::Comparing(builds.clone());
        out.push(Effect::Compare { builds, recent: self.groups.clone() });
        true
    }

    pub(super) fn compared(
        &mut self,
        now: Time,
        compared: Result<Vec<Compared>, String>,
        out: &mut Vec<Effect>,
    ) {
        let Slow::Comparing(builds) = std::mem::replace(&mut self.slow, Slow::Idle) else { return };
        match compared {
            Ok(compared) => {
                self.compare_retry.succeeded();
                out.push(Effect::Queue(queue::Msg::Compared(compared)));
            }
            Err(why) => {
                self.to_compare.splice(0..0, builds);
                complain(&mut self.compare_retry, now, "find what was built against a package", &why, out);
            }
        }
    }
}
