//! The web actor: the hub's own HTTP port, read-only.
//!
//! Owns the HTTP port and the one thread with an async runtime (axum's; no other thread has one). Never changes
//! anything, and never blocks: it asks the desk over channels, reads the history and folders on threads for that, and
//! serves files.
//!
//! | room | owns |
//! |---|---|
//! | `serve.rs` | the listener: accepting, the thread |
//! | `access/` | the door: TLS, passwords, limits, nothing that changes anything |
//! | `site.rs` | what every handler is given, and the questions that pages and the API share |
//! | `repo.rs`, `pairs.rs` | the files of the repository |
//! | `thin/` | the repositories of single builds, and the packages that they name |
//! | `desk.rs` | asking the desk, as an operator would who may only read |
//! | `snapshot.rs` | the farm as it was at most a second ago, taken once for all who look |
//! | `turns.rs` | how often the queue itself is asked |
//! | `model/` | what pages and the API show: the types of the JSON |
//! | `past.rs` | what the history tells |
//! | `shelf.rs` | what is told of the repository's indexes |
//! | `problem.rs` | answers that are errors |
//! | `api/` | `/api/`: JSON, its description, its documentation |
//! | `metrics/` | `/metrics` and `/healthz` |
//! | `pages/` | the pages for people |
//! | `live.rs` | pages that follow the farm: `/events` |
//! | `fuzzing.rs` | the service without its listener, for fuzz targets |

mod access;
mod api;
mod desk;
#[doc(hidden)]
pub mod fuzzing;
mod live;
mod metrics;
pub mod model;
mod pages;
mod pairs;
mod past;
mod problem;
mod repo;
mod serve;
mod shelf;
mod site;
mod snapshot;
mod thin;
mod turns;

pub use access::{Access, AccessError};
pub use desk::Bridge;
pub use repo::{BASE_PATH, RECENT_PATH, REPO_PATH};
pub use serve::{Setup, Web, bind, start};
pub use thin::{Ask, Setup as ThinSetup, THIN_PATH, Thins};
