//! Writing what operators decide about results, and deleting what they withdrew.
//!
//! Owns `decision.json` as it is written, and the end of retracted RPMs. `result.json` never changes.

use moji_proto::FileName;
use moji_proto::message::{NoCode, Verdict};

use super::logs::is_absent;
use super::{Outcome, Worker, failed, no};
use crate::core::desk::{Decided, Done, Verdictable};
use crate::core::queue::glob;
use crate::core::view::{Decision, Reply};
use crate::decision;
use crate::result_json::ResultJson;

/// Folders that are named when a name means several.
const NAMED_MAX: usize = 20;

impl Worker {
    /// Accepts or refuses results that wait for it.
    pub(super) fn decide(&self, results: &[Verdictable], decision: Decision, who: &str) -> Done {
        let (mut done, mut replies) = (Vec::new(), Vec::new());
        for Verdictable { target, folder } in results {
            match self.decide_one(target, folder, decision, false, who) {
                Ok(decided) => done.push(decided),
                Err(reply) => replies.push(reply),
            }
        }
        Done::Decided(done, replies)
    }

    fn decide_one(
        &self,
        target: &str,
        folder: &str,
        wanted: Decision,
        delete: bool,
        who: &str,
    ) -> Result<Decided, Reply> {
        let refuse = |code, text: String| Err(no(code, target, text));
        let Ok(name) = FileName::new(folder) else {
            return refuse(NoCode::NotFound, "has no result".to_owned());
        };
        let path = self.folders.repo.join(&name);
        let (json, known) = match self.read_result(&name) {
            Ok(Some(found)) => found,
            Ok(None) => return refuse(NoCode::NotFound, format!("there is no result {folder}")),
            Err(why) => return refuse(NoCode::Failed, why),
        };
        let is_held = json.held.is_some() && known.is_none();
        let fits = match wanted {
            Decision::Accepted | Decision::Refused => is_held,
            Decision::Retracted => is_published(&json, known),
        };
        if !fits {
            let state = match known {
                Some(known) => decision::word(known).to_owned(),
                None if is_held => "in review".to_owned(),
                None => json.verdict.clone(),
            };
            return refuse(NoCode::Refused, format!("is {state} and cannot be {}", decision::word(wanted)));
        }
        let Ok(srpm) = FileName::new(json.srpm.as_str()) else {
            return refuse(NoCode::Failed, format!("{folder}/result.json names no SRPM"));
        };
        let unix_s = self.clock.unix_s();
        let record = decision::Decided { decision: wanted, who: who.to_owned(), unix_s, delete };
        if let Err(error) = decision::write(&*self.disk, &path, &record) {
            return refuse(NoCode::Failed, failed("write decision.json in", &path)(error));
        }
        let rpms = json.files.iter().filter(|file| file.package.is_some());
        Ok(Decided {
            srpm,
            folder: folder.to_owned(),
            decision: wanted,
            source: json.source.clone(),
            binaries: rpms
                .clone()
                .filter(|file| !file.is_source)
                .filter_map(|file| file.package.clone())
                .collect(),
            rpms: rpms.filter_map(|file| FileName::new(file.name.as_str()).ok()).collect(),
            delete,
            who: who.to_owned(),
        })
    }

    /// A result and what was decided about it; None if there is none of that name.
    fn read_result(&self, folder: &FileName) -> Result<Option<(ResultJson, Option<Decision>)>, String> {
        let path = self.folders.repo.join(folder);
        let json = path.join(crate::result_json::FILE_NAME);
        if !self
            .disk
            .exists(&json)
            .or_else(|error| if is_absent(&error) { Ok(false) } else { Err(error) })
            .map_err(failed("look at", &json))?
        {
            return Ok(None);
        }
        let json = self.read_json(&path)?;
        let known = decision::read(&*self.disk, &path).map_err(failed("read decision.json in", &path))?;
        Ok(Some((json, known.map(|known| known.decision))))
    }

    /// Takes published results out.
    pub(super) fn retract(&self, target: &str, delete: bool, who: &str) -> Outcome {
        let folders = match self.results_called(target)? {
            Ok(folders) => folders,
            Err(reply) => return Ok(Done::Decided(Vec::new(), vec![reply])),
        };
        let (mut done, mut replies) = (Vec::new(), Vec::new());
        for folder in folders {
            match self.decide_one(&folder, &folder, Decision::Retracted, delete, who) {
                Ok(decided) => done.push(decided),
                Err(reply) => replies.push(reply),
            }
        }
        Ok(Done::Decided(done, replies))
    }

    /// The folders that a name means: itself, or published ones whose name or package fits.
    fn results_called(&self, target: &str) -> Result<Result<Vec<String>, Reply>, String> {
        let is_there = |name: &FileName| self.disk.exists(&self.folders.repo.join(name)).unwrap_or(false);
        if FileName::new(target).is_ok_and(|name| is_there(&name)) {
            return Ok(Ok(vec![target.to_owned()]));
        }
        let repo = &self.folders.repo;
        let is_glob = target.contains(['*', '?', '[']);
        let mut found = Vec::new();
        for name in self.disk.list(repo).map_err(failed("list", repo))? {
            let Some(name) = name.to_str().and_then(|name| FileName::new(name).ok()) else { continue };
            let nvr = name.as_str().split('@').next().unwrap_or_default();
            let package = nvr.rsplitn(3, '-').nth(2).unwrap_or(nvr);
            let fits = if is_glob {
                [name.as_str(), nvr, package].iter().any(|text| glob::matches(target, text))
            } else {
                package == target
            };
            if fits
                && let Some((json, known)) = self.read_result(&name)?
                && is_published(&json, known)
            {
                found.push(name.to_string());
            }
        }
        Ok(match found.len() {
            0 => Err(no(NoCode::NotFound, target, format!("there is no published result {target}"))),
            1 => Ok(found),
            _ if is_glob => Ok(found),
            count => {
                found.truncate(NAMED_MAX);
                let text = format!("{count} results are called so, say which: {}", found.join(" "));
                Err(no(NoCode::Ambiguous, target, text))
            }
        })
    }

    /// Deletes a folder's RPMs, which no live index has.
    pub(super) fn delete(&self, folder: &str, rpms: &[FileName]) -> Outcome {
        let path = self.folders.repo.join(folder);
        for rpm in rpms {
            let file = path.join(rpm);
            match self.disk.remove_file(&file) {
                Err(error) if !is_absent(&error) => {
                    log::warn!("failed to remove {}: {error}", file.display())
                }
                _ => {}
            }
        }
        log::info!("result={folder} its {} RPMs are deleted", rpms.len());
        Ok(Done::Deleted)
    }
}

/// Whether a result is in the index.
fn is_published(json: &ResultJson, known: Option<Decision>) -> bool {
    json.verdict == Verdict::Success.as_str()
        && match known {
            None => json.held.is_none(),
            Some(Decision::Accepted) => true,
            Some(Decision::Refused | Decision::Retracted) => false,
        }
}
