//! `/metrics` for Prometheus, `/healthz` for whoever watches the hub.
//!
//! Owns which numbers are told and what they are called. The number of series is bounded: packages are counted by state,
//! never named; builders are named, the first [`BUILDERS_MAX`] of them.
//!
//! | file | owns |
//! |---|---|
//! | `text.rs` | the exposition format |
//! | `process.rs` | what the kernel tells of the hub's process |

mod process;
mod text;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use moji_proto::message::{BuilderRow, BuilderState, PackageState, Verdict};

use self::text::{Kind, Text};
use super::problem::Problem;
use super::site::Site;
use super::snapshot::Snapshot;
use crate::history::{BOUNDS_S, Totals};
use crate::payloads::Stats;

/// Builders that have series of their own: so many boards are one hub's farm, and a Prometheus has room for their series.
const BUILDERS_MAX: usize = 2_000;
/// The text format (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const MIB: u64 = 1 << 20;

/// The router of both.
pub(super) fn router(site: Site) -> Router {
    Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(site)
}

fn plain(status: StatusCode, kind: &'static str, body: String) -> Response {
    let fields: [(HeaderName, &'static str); 3] =
        [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, fields, body).into_response()
}

fn no(problem: &Problem) -> Response {
    plain(problem.status, "text/plain; charset=utf-8", format!("{problem}\n"))
}

/// `ok`, or why nothing is leased.
async fn healthz(State(site): State<Site>) -> Response {
    match site.snapshot().await {
        Ok(snapshot) if snapshot.glance.farm.blocked.as_str().is_empty() => {
            plain(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
        }
        Ok(snapshot) => no(&Problem::later(snapshot.glance.farm.blocked.as_str())),
        Err(problem) => no(&problem),
    }
}

async fn metrics(State(site): State<Site>) -> Response {
    match gather(&site).await {
        Ok(body) => plain(StatusCode::OK, FORMAT, body),
        Err(problem) => no(&problem),
    }
}

async fn gather(site: &Site) -> Result<String, Problem> {
    let snapshot = site.snapshot().await?;
    let totals = site.totals().await?;
    let process = tokio::task::spawn_blocking(process::read).await;
    let mut text = Text::default();
    farm(&mut text, &snapshot);
    builds(&mut text, &totals);
    builders(&mut text, &snapshot.glance.builders);
    if let Some(stats) = site.cache().await {
        cache(&mut text, &stats);
    }
    if let Ok(Some(process)) = process {
        process.tell(&mut text);
    }
    Ok(text.finish())
}

fn farm(text: &mut Text, snapshot: &Snapshot) {
    let farm = &snapshot.glance.farm;
    text.family(
        "moji_build_info",
        Kind::Gauge,
        "The hub's version of moji and the architecture of its repository.",
    );
    text.sample("", &[("version", farm.version.as_str()), ("target", farm.target.as_str())], 1.0);
    text.family("moji_packages", Kind::Gauge, "Packages in each state.");
    for (state, count) in PackageState::ALL.into_iter().zip(farm.packages) {
        text.sample("", &[("state", state.as_str())], f64::from(count));
    }
    text.family("moji_builders", Kind::Gauge, "Builders in each state.");
    for (state, count) in BuilderState::ALL.into_iter().zip(farm.builders) {
        text.sample("", &[("state", state.as_str())], f64::from(count));
    }
    let mut gauge = |name, help, value| {
        text.family(name, Kind::Gauge, help);
        text.sample("", &[], value);
    };
    let leases = f64::from(farm.packages[PackageState::Building as usize]);
    gauge("moji_leases", "Leases that live: packages that are being built.", leases);
    let goes = f64::from(u8::from(farm.blocked.as_str().is_empty()));
    gauge("moji_leasing", "Whether packages are leased and results taken; 0 if not, or one at a time.", goes);
    gauge("moji_free_bytes", "Free space of the hub's folders.", float(farm.free_bytes));
    gauge("moji_floor_bytes", "Below so much free space nothing is leased.", float(farm.floor_bytes));
    gauge("moji_index_packages", "Binary packages in the repository's index.", f64::from(farm.rpms));
    if let Some(end) = snapshot.expected_end() {
        let help = "When all is built that can be built, as far as it can be told.";
        gauge("moji_expected_end_timestamp_seconds", help, float(end.unix_s()));
    }
    text.family("moji_web_snapshots_total", Kind::Counter, "How often the queue was asked for all it has.");
    text.sample("", &[], float(snapshot.taken));
}

fn builds(text: &mut Text, totals: &Totals) {
    text.family("moji_builds_total", Kind::Counter, "Attempts that ended, by verdict.");
    use Verdict::{Deps, Excluded, Failed, Infra, Lost, Memory, Released, Success, Timeout};
    for verdict in [Success, Excluded, Infra, Memory, Deps, Failed, Lost, Released, Timeout] {
        let count = totals.verdicts.iter().find(|(one, _)| *one == verdict).map_or(0, |(_, count)| *count);
        text.sample("", &[("verdict", verdict.as_str())], float(count));
    }
    text.family("moji_build_duration_seconds", Kind::Histogram, "How long builds took that succeeded.");
    let mut sum = 0;
    for (at, count) in totals.durations.iter().enumerate() {
        sum += count;
        let bound = BOUNDS_S.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        text.sample("_bucket", &[("le", &bound)], float(sum));
    }
    text.sample("_sum", &[], float(totals.build_s));
    text.sample("_count", &[], float(sum));
}

fn cache(text: &mut Text, stats: &Stats) {
    text.family("moji_cache_requests_total", Kind::Counter, "Packages of mainline that boards asked for.");
    for (how, count) in [("kept", stats.hits), ("fetched", stats.misses), ("sent_away", stats.sent_away)] {
        text.sample("", &[("answer", how)], float(count));
    }
    let counters = [
        ("moji_cache_fetched_bytes_total", "What came from mirrors.", stats.fetched_bytes),
        ("moji_cache_given_bytes_total", "What boards were given.", stats.given_bytes),
        ("moji_cache_failures_total", "Packages that a mirror did not give.", stats.failures),
        ("moji_cache_evictions_total", "Packages that went to make room.", stats.evictions),
    ];
    let gauges = [
        ("moji_cache_files", "Packages in the cache.", stats.files),
        ("moji_cache_bytes", "Their length.", stats.bytes),
        ("moji_cache_max_bytes", "Most that they may have; 0 if nothing is kept.", stats.bytes_max),
    ];
    let all = counters.map(|row| (Kind::Counter, row)).into_iter();
    for (kind, (name, help, value)) in all.chain(gauges.map(|row| (Kind::Gauge, row))) {
        text.family(name, kind, help);
        text.sample("", &[], float(value));
    }
}

/// A series of each builder.
type Series = (&'static str, &'static str, fn(&BuilderRow) -> Option<f64>);

const SERIES: [Series; 6] = [
    ("moji_builder_up", "Whether the builder is connected.", |row| {
        Some(f64::from(u8::from(!matches!(row.state, BuilderState::Away | BuilderState::Unlisted))))
    }),
    ("moji_builder_busy", "Whether the builder has a package.", |row| {
        Some(f64::from(u8::from(row.srpm.is_some())))
    }),
    ("moji_builder_disk_free_bytes", "Free space where the builder builds.", |row| {
        told(row, u64::from(row.health.disk_free_mib) * MIB)
    }),
    ("moji_builder_memory_free_bytes", "Available memory of the builder.", |row| {
        told(row, u64::from(row.health.memory_free_mib) * MIB)
    }),
    ("moji_builder_load1", "Load average of the builder over one minute.", |row| {
        told(row, u64::from(row.health.load_centi)).map(|centi| centi / 100.0)
    }),
    ("moji_builder_temperature_celsius", "The hottest sensor of the builder.", |row| {
        row.health.celsius.map(f64::from)
    }),
];

/// What a builder that is connected told.
fn told(row: &BuilderRow, value: u64) -> Option<f64> {
    let is_up = !matches!(row.state, BuilderState::Away | BuilderState::Unlisted);
    is_up.then(|| float(value))
}

fn builders(text: &mut Text, rows: &[BuilderRow]) {
    for (name, help, value) in SERIES {
        text.family(name, Kind::Gauge, help);
        // Two boards may have one name; no two have one key.
        for row in rows.iter().take(BUILDERS_MAX) {
            if let Some(value) = value(row) {
                text.sample("", &[("builder", row.name.as_str()), ("key", &row.key.fingerprint())], value);
            }
        }
    }
}

/// A number as Prometheus has all of them; above 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "that is the format's own precision")]
fn float(n: u64) -> f64 {
    n as f64
}
