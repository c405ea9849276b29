//! What a result in `repo/` is to queue, repo and history: published, in review, refused, retracted.
//!
//! Owns that `decision.json` has the last word over `result.json`. Reads nothing.

use moji_proto::FileName;
use moji_proto::message::Verdict;

use crate::core::view::Decision;
use crate::core::{queue, repo};
use crate::decision::Decided;
use crate::history::verdict_of;
use crate::result_json::ResultJson;

/// One folder of `repo/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepoResult {
    /// Its name: `NVR`, `NVR@2`, …
    pub folder: String,
    /// What it says of itself.
    pub result: ResultJson,
    /// What an operator decided about it.
    pub decision: Option<Decided>,
}

impl RepoResult {
    /// Whether its RPMs are in the index.
    #[must_use]
    pub fn was_published(&self) -> bool {
        let decision = self.decision.as_ref().map(|decided| decided.decision);
        self.result.verdict == Verdict::Success.as_str()
            && match decision {
                Some(Decision::Accepted) => true,
                Some(Decision::Refused | Decision::Retracted) => false,
                None => self.result.held.is_none(),
            }
    }

    /// When it became what it is, unix seconds: what was accepted late is younger than what was published
    /// meanwhile.
    #[must_use]
    pub fn since_unix_s(&self) -> u64 {
        let decided = self.decision.as_ref().map_or(0, |decided| decided.unix_s);
        self.result.committed_unix_s.max(decided)
    }

    /// What of it is indexed.
    #[must_use]
    pub fn published(&self) -> Option<repo::Published> {
        if !self.was_published() {
            return None;
        }
        Some(repo::Published { folder: self.folder.clone(), rpms: self.rpms() })
    }

    /// RPMs that an operator wanted deleted with it: a hub that was killed may have left them.
    #[must_use]
    pub fn to_delete(&self) -> Option<Vec<FileName>> {
        let decided = self.decision.as_ref()?;
        (decided.decision == Decision::Retracted && decided.delete).then(|| self.rpms())
    }

    fn rpms(&self) -> Vec<FileName> {
        let rpms = self.result.files.iter().filter(|file| file.package.is_some());
        rpms.filter_map(|file| FileName::new(file.name.clone()).ok()).collect()
    }

    /// Which source package its binary packages come from, if they are published.
    #[must_use]
    pub fn known(&self) -> Option<queue::Msg> {
        self.was_published().then(|| queue::Msg::Known {
            folder: self.folder.clone(),
            source: self.result.source.clone(),
            binaries: self.binaries(),
        })
    }

    /// Names of its binary packages.
    #[must_use]
    pub fn binaries(&self) -> Vec<String> {
        let files = self.result.files.iter().filter(|file| !file.is_source);
        files.filter_map(|file| file.package.clone()).collect()
    }

    /// How its package ended, for the queue at `unix_s`; None if the file was not written by a hub.
    #[must_use]
    pub fn past(&self, unix_s: u64) -> Option<queue::Msg> {
        let result = &self.result;
        let srpm = FileName::new(result.srpm.clone()).ok()?;
        let past = queue::PastResult {
            folder: self.folder.clone(),
            builder: FileName::new(result.builder.clone()).ok(),
            verdict: verdict_of(&result.verdict)?,
            reason: result.reason.clone(),
            held: result.held.clone(),
            decision: self.decision.as_ref().map(|decided| (decided.decision, decided.who.clone())),
            ago_s: unix_s.saturating_sub(self.since_unix_s()),
        };
        Some(queue::Msg::Past { srpm, result: past })
    }
}

/// Results as they came to be what they are; `NVR@10` after `NVR@9`, should the clock not tell.
#[must_use]
pub fn in_order(results: &[RepoResult]) -> Vec<&RepoResult> {
    let mut results: Vec<&RepoResult> = results.iter().collect();
    results.sort_by_key(|found| (found.since_unix_s(), found.folder.len()));
    results
}

/// What the queue is told of them at the start, at `unix_s`: what is published, and then how packages ended, each
/// in its order. How a package ended is a matter of its builds, not of when somebody decided about one.
#[must_use]
pub fn for_queue(results: &[RepoResult], unix_s: u64) -> Vec<queue::Msg> {
    let mut built: Vec<&RepoResult> = results.iter().collect();
    built.sort_by_key(|found| (found.result.committed_unix_s, found.folder.len()));
    let known = in_order(results).into_iter().filter_map(RepoResult::known);
    known.chain(built.into_iter().filter_map(|found| found.past(unix_s))).collect()
}
