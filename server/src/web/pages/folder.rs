//! `/repo/NVR/`: what lies in a folder of the repository, for who looks with a browser.
//!
//! Owns that list. Names that begin with a dot are nobody's business, here as everywhere on this port. Never lists
//! `/repo/` itself, which may have tens of thousands of folders: `/packages` does, page by page.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use askama::Template;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::say::{self, Markup};
use super::target::unescape;
use super::{Look, Shell, fill, html};
use crate::web::model::{When, in_path};
use crate::web::problem::Problem;
use crate::web::repo::REPO_PATH;

/// More files than any build leaves.
const FILES_MAX: usize = 10_000;

#[derive(Template)]
#[template(path = "folder.html")]
struct Page<'a> {
    shell: Shell,
    name: String,
    files: &'a [File],
}

/// A line of the list.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) path: String,
    /// Empty for a folder.
    pub(super) size: String,
    pub(super) changed: Option<Markup>,
}

/// The list of the folder at `path` below `/repo/`, as the reader wrote it; None if there is no such folder.
pub(in crate::web) async fn answer(repo: &Path, path: &str) -> Option<Response> {
    let mut folder = repo.to_owned();
    let parts: Vec<String> = path.trim_end_matches('/').split('/').map(unescape).collect::<Option<_>>()?;
    if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || part.contains(['/', '\0'])) {
        return None;
    }
    folder.extend(&parts);
    let files = tokio::task::spawn_blocking(move || list(&folder)).await.ok()??;
    if !path.ends_with('/') {
        // The names in the list are relative to it.
        let place = HeaderValue::from_str(&format!("{REPO_PATH}{path}/")).ok()?;
        return Some((StatusCode::PERMANENT_REDIRECT, [(LOCATION, place)]).into_response());
    }
    let body =
        shown(Shell::new(parts.join("/"), "/repository", Look::once(When(0))), &parts.join("/"), &files);
    Some(body.map_or_else(
        |problem| (problem.status, problem.text).into_response(),
        |body| html(StatusCode::OK, body),
    ))
}

pub(super) fn shown(shell: Shell, name: &str, files: &[File]) -> Result<String, Problem> {
    fill(&Page { shell, name: format!("repo/{name}/"), files })
}

fn list(folder: &Path) -> Option<Vec<File>> {
    let mut files: Vec<File> =
        fs::read_dir(folder).ok()?.flatten().take(FILES_MAX).filter_map(file).collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Some(files)
}

/// None for what is not shown, or went meanwhile.
fn file(entry: fs::DirEntry) -> Option<File> {
    let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
    let meta = fs::metadata(entry.path()).ok()?;
    let since = meta.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let slash = if meta.is_dir() { "/" } else { "" };
    Some(File {
        path: format!("{}{slash}", in_path(&name)),
        name: format!("{name}{slash}"),
        size: if meta.is_dir() { String::new() } else { say::size(meta.len()) },
        changed: since.and_then(|since| When::of_s(since.as_secs())).map(say::moment),
    })
}
