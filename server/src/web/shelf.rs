//! What is told of the repository's indexes.
//!
//! Owns reading `repomd.xml` and the lengths of the files beside it, on a thread that may block, and keeping what was
//! read for a few seconds. Never reads the lists themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moji_proto::message::FarmRow;

use super::model::{Index, Repository, When, text};
use super::problem::Problem;
use super::repo::{BASE_PATH, RECENT_PATH, REPO_PATH, repo_file};
use super::serve::Setup;
use crate::repodata::named_files;
use crate::signing::REPOMD_BYTES_MAX;

/// How long what was read serves: the complete index changes once a second at most.
const FRESH: Duration = Duration::from_secs(2);

/// Tells of the indexes; clones share what was read.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Inner>);

struct Inner {
    repo: PathBuf,
    index: PathBuf,
    repo_url: Option<String>,
    signed: bool,
    /// `http` or `https`.
    scheme: &'static str,
    kept: tokio::sync::Mutex<Option<(Instant, Vec<Index>)>>,
}

impl Shelf {
    pub(super) fn new(setup: &Setup, scheme: &'static str) -> Shelf {
        Shelf(Arc::new(Inner {
            repo: setup.folders.repo.clone(),
            index: setup.folders.state.join("index"),
            repo_url: setup.repo_url.clone(),
            signed: setup.signatures.is_some(),
            scheme,
            kept: tokio::sync::Mutex::default(),
        }))
    }

    /// The repository, for somebody who calls this hub `host`.
    pub(super) async fn repository(&self, host: &str, farm: &FarmRow) -> Result<Repository, Problem> {
        let inner = &self.0;
        let start = format!("{}://{host}", inner.scheme);
        let url = format!("{start}{REPO_PATH}");
        let tiers = [RECENT_PATH, BASE_PATH].map(|path| format!("{start}{path}"));
        let repos = inner.repo_url.as_ref().map_or_else(|| tiers.to_vec(), |url| vec![url.clone()]);
        let mut indexes = self.indexes().await?;
        indexes[0].packages = Some(farm.rpms);
        Ok(Repository {
            target: text(&farm.target),
            signed: inner.signed,
            rpms: farm.rpms,
            repo_file: repo_file(&url, inner.signed),
            mock_arguments: repos.iter().map(|url| format!("--addrepo={url}")).collect(),
            url,
            indexes,
        })
    }

    /// The complete one first.
    async fn indexes(&self) -> Result<Vec<Index>, Problem> {
        let mut kept = self.0.kept.lock().await;
        if let Some((at, indexes)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(indexes.clone());
        }
        let at = Instant::now();
        let inner = Arc::clone(&self.0);
        let read = move || {
            let tier = |name: &str| inner.index.join(name).join("repodata");
            let mut all = vec![index("complete", REPO_PATH, &inner.repo.join("repodata"))];
            // With a repository elsewhere nobody reads tiers.
            if inner.repo_url.is_none() {
                all.push(index("recent", RECENT_PATH, &tier("recent")));
                all.push(index("base", BASE_PATH, &tier("base")));
            }
            all
        };
        let indexes = tokio::task::spawn_blocking(read).await;
        let indexes = indexes.map_err(|_| Problem::later("the hub is stopping"))?;
        *kept = Some((at, indexes.clone()));
        Ok(indexes)
    }
}

/// The text of `<revision>`.
fn revision(repomd: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(repomd).ok()?;
    let (_, rest) = text.split_once("<revision>")?;
    Some(rest.split_once("</revision>")?.0.trim().to_owned())
}

/// What there is of one index. A file that goes meanwhile is not counted.
fn index(name: &str, path: &str, folder: &Path) -> Index {
    let repomd = folder.join("repomd.xml");
    let meta = std::fs::metadata(&repomd).ok().filter(|meta| meta.len() <= REPOMD_BYTES_MAX);
    let text = meta.as_ref().and_then(|_| std::fs::read(&repomd).ok()).unwrap_or_default();
    let live = named_files(&text).unwrap_or_default();
    let published = meta.and_then(|meta| meta.modified().ok()).and_then(|at| {
        let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
        When::of_s(since.as_secs())
    });
    let (mut bytes, mut files, mut files_bytes) = (0, 0u32, 0);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(length) = entry.metadata().ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
        else {
            continue;
        };
        files = files.saturating_add(1);
        files_bytes += length;
        let file = entry.file_name();
        if file == "repomd.xml" || file.to_str().is_some_and(|file| live.contains(file)) {
            bytes += length;
        }
    }
    Index {
        name: name.to_owned(),
        path: path.to_owned(),
        published,
        revision: revision(&text),
        bytes,
        files,
        files_bytes,
        packages: None,
    }
}
