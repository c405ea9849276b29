//! `/repository`: what is published, and how to use it; `/repository/moji.repo` is the file for that.

use askama::Template;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};

use super::say::{self, Markup};
use super::{Pages, Shell, fill, missing};
use crate::signing::PUBLIC_KEY;
use crate::web::model::{Index, Repository};
use crate::web::problem::Problem;
use crate::web::repo::host;
use crate::web::site::Site;

#[derive(Template)]
#[template(path = "repository.html")]
struct Page {
    shell: Shell,
    url: String,
    target: String,
    rpms: String,
    key: Option<String>,
    repo_file: String,
    mock: String,
    indexes: Vec<Row>,
}

struct Row {
    name: String,
    path: String,
    published: Option<Markup>,
    revision: String,
    packages: String,
    live: String,
    older: String,
}

pub(super) async fn page(site: &Site, shell: Shell, host: &str) -> Result<String, Problem> {
    shown(shell, &site.repository(host).await?)
}

pub(super) fn shown(shell: Shell, repository: &Repository) -> Result<String, Problem> {
    fill(&Page::new(shell, repository))
}

impl Page {
    fn new(shell: Shell, repository: &Repository) -> Page {
        Page {
            url: repository.url.clone(),
            target: repository.target.clone().unwrap_or_default(),
            rpms: say::counted(repository.rpms, "RPM", "RPMs"),
            key: repository.signed.then(|| format!("{}{PUBLIC_KEY}", repository.url)),
            repo_file: repository.repo_file.clone(),
            mock: repository.mock_arguments.join(" \\\n     "),
            indexes: repository.indexes.iter().map(|index| row(&shell, index)).collect(),
            shell,
        }
    }
}

fn row(shell: &Shell, index: &Index) -> Row {
    let older = index.files_bytes.saturating_sub(index.bytes);
    Row {
        name: index.name.clone(),
        path: index.path.clone(),
        published: index.published.map(|at| shell.look.age(at)),
        revision: index.revision.clone().unwrap_or_default(),
        packages: index.packages.map(say::count).unwrap_or_default(),
        live: say::size(index.bytes),
        older: format!("{} in {}", say::size(older), say::counted(index.files, "file", "files")),
    }
}

/// `GET /repository/moji.repo`.
pub(super) async fn repo_file(State(pages): State<Pages>, uri: Uri, headers: HeaderMap) -> Response {
    match pages.site.repository(host(&headers)).await {
        Ok(repository) => {
            let head = [
                (CONTENT_TYPE, "text/plain; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"moji.repo\""),
                (CACHE_CONTROL, "no-cache"),
            ];
            (head, repository.repo_file).into_response()
        }
        Err(problem) => missing::answer(&pages.site, &uri, &problem).await,
    }
}
