//! The hub's page and API on a real farm: what they show while packages build, and that the API is what its description
//! says.
//!
//! Owns what a browser, a script or Prometheus meets on the wire. The words of refusals are the hub's own tests'.

#[path = "web/contract.rs"]
mod contract;
#[allow(dead_code, reason = "not every file of tests uploads it itself")]
mod quick;

use std::collections::BTreeMap;
use std::thread;

use moji_tests::{Farm, Outcome, Response, SOON};
use serde_json::Value;

use quick::quick;

fn get(farm: &Farm, path: &str) -> Value {
    let response = farm.http(path, &[]);
    assert_eq!(response.status, 200, "{path}: {}\n{}", response.text(), farm.diagnosis());
    serde_json::from_slice(&response.body).expect("JSON")
}

/// A package whose build stands behind a gate of its name.
fn gated(farm: &Farm, name: &str) -> String {
    let package = quick(farm, name, "1");
    let built = Outcome::exit(0)
        .file(&package.file, &package.srpm)
        .file(&format!("{name}-1-1.noarch.rpm"), &package.rpm)
        .log("build.log", "the build's own words\n")
        .gate(&farm.gate(name));
    farm.outcome(&package.file, built);
    farm.drop_file(&package.srpm);
    package.file
}

fn wait_state(farm: &Farm, file: &str, state: &str) {
    farm.wait_until(&format!("{file} to be {state}"), SOON, |farm| {
        get(farm, &format!("/api/v1/packages?q={file}"))["rows"][0]["state"] == state
    });
}

/// Values of all samples of a family, by what stands between the braces.
fn samples(metrics: &str, family: &str) -> BTreeMap<String, f64> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    let parts = lines.filter_map(|line| line.rsplit_once(' '));
    let named = parts.filter_map(|(name, value)| {
        let rest = name.strip_prefix(family)?;
        let labels = if rest.is_empty() { "" } else { rest.strip_prefix('{')?.strip_suffix('}')? };
        Some((labels.to_owned(), value.parse().expect("a number")))
    });
    named.collect()
}

#[test]
fn the_overview_follows_a_build_from_lease_to_result() {
    let farm = Farm::plan().start();
    let file = gated(&farm, "slow");
    farm.wait_until("a build in the overview", SOON, |farm| {
        get(farm, "/api/v1/overview")["building"][0]["srpm"] == *file
    });
    let overview = get(&farm, "/api/v1/overview");
    let build = &overview["building"][0];
    assert_eq!((&overview["packages"]["building"], &overview["total"]), (&1.into(), &1.into()), "{overview}");
    assert_eq!(build["state"], "building");
    assert!(
        build["builder"].is_string() && build["lease"].is_string() && build["since"].is_string(),
        "{build}"
    );
    let builder = &get(&farm, "/api/v1/builders")[0];
    assert_eq!((&builder["srpm"], &builder["backend"]), (&file.clone().into(), &"mock".into()), "{builder}");
    let text = farm.http("/metrics", &[]).text();
    assert_eq!(samples(&text, "moji_leases")[""], 1.0, "{text}");
    farm.open_gate("slow");
    wait_state(&farm, &file, "success");
    let overview = get(&farm, "/api/v1/overview");
    assert_eq!(overview["done"], 1, "{overview}");
    assert_eq!(overview["results"][0]["verdict"], "success", "{overview}");
    farm.wait_until("the history to have it", SOON, |farm| {
        get(farm, "/api/v1/packages/slow")["attempts"][0]["verdict"] == "success"
    });
    let detail = get(&farm, "/api/v1/packages/slow");
    let attempt = &detail["attempts"][0];
    assert_eq!(detail["package"]["srpm"], *file);
    assert!(detail["why"][0].as_str().is_some_and(|why| why.contains("built and published")), "{detail}");
    let files = attempt["files"].as_array().expect("a list");
    let rpm = files.iter().filter_map(Value::as_str).find(|path| path.ends_with(".noarch.rpm"));
    let rpm = rpm.unwrap_or_else(|| panic!("no RPM in {attempt}"));
    assert_eq!(farm.http(rpm, &[]).status, 200, "{rpm}");
    for log in attempt["logs"].as_array().expect("a list") {
        assert_eq!(farm.http(log["path"].as_str().expect("a path"), &[]).status, 200, "{log}");
    }
    let builder = overview["results"][0]["builder"].as_str().expect("a name").to_owned();
    assert_eq!(get(&farm, &format!("/api/v1/builders/{builder}"))["attempts"][0]["srpm"], *file);
    assert_eq!(get(&farm, "/api/v1/history")["days"][0]["attempts"]["success"], 1);
}

#[test]
fn a_log_is_read_on_by_offset_while_it_grows() {
    let farm = Farm::plan().start();
    let file = farm.drop_srpm("hello");
    farm.outcome(&file, Outcome::build_behind(&farm.gate("on")));
    let part = |which: &str, offset: u64| -> (Response, u64) {
        let path = format!("/api/v1/packages/{file}/log?which={which}&offset={offset}");
        let response = farm.http(&path, &[]);
        let next = response.header("moji-next-offset").map_or(offset, |next| next.parse().expect("a number"));
        (response, next)
    };
    farm.wait_until("the log to have begun", SOON, |_| {
        let (response, next) = part("root", 0);
        response.status == 200 && next > 0 && response.header("moji-live") == Some("true")
    });
    let (mut whole, mut next) = (Vec::new(), 0);
    let read_on = |whole: &mut Vec<u8>, next: &mut u64| {
        let (response, new) = part("build", *next);
        assert_eq!(new - *next, response.body.len() as u64);
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        whole.extend(response.body.clone());
        *next = new;
    };
    read_on(&mut whole, &mut next);
    let before = next;
    farm.open_gate("on");
    wait_state(&farm, &file, "success");
    read_on(&mut whole, &mut next);
    assert!(next > before, "it grew");
    let (all, end) = part("build", 0);
    assert_eq!((all.body, end), (whole, next));
    assert_eq!(
        all.headers.iter().find(|(name, _)| name == "moji-live").map(|(_, live)| &**live),
        Some("false")
    );
    let path = format!("/api/v1/packages/{file}/log?offset=1&length=3");
    assert_eq!(farm.http(&path, &[]).header("moji-next-offset"), Some("4"));
}

#[test]
fn who_has_an_answer_is_told_304_until_it_changes() {
    let farm = Farm::plan().builders(0).start();
    let file = farm.drop_srpm("hello");
    wait_state(&farm, &file, "waiting");
    for path in ["/api/v1/overview", "/api/v1/packages", "/api/v1/packages/hello", "/api/v1/openapi.json"] {
        let tag = farm.http(path, &[]).header("etag").expect("a tag").to_owned();
        let again = farm.http(path, &[&format!("If-None-Match: {tag}")]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("cache-control"), Some("no-cache"));
    }
    let tag = farm.http("/api/v1/packages", &[]).header("etag").expect("a tag").to_owned();
    quick(&farm, "other", "1");
    farm.drop_file(&farm.path().join("made/other-1/other-1-1.src.rpm"));
    farm.wait_until("another answer", SOON, |farm| {
        farm.http("/api/v1/packages", &[&format!("If-None-Match: {tag}")]).status == 200
    });
}

#[test]
fn health_tells_why_nothing_is_leased() {
    let sound = Farm::plan().builders(0).start();
    assert_eq!((sound.http("/healthz", &[]).status, &*sound.http("/healthz", &[]).text()), (200, "ok\n"));
    let full = Farm::plan().builders(0).hub_args(["--min-free", "1000000000000000"]).start();
    full.wait_until("the hub to see that its disk is full", SOON, |farm| {
        farm.http("/healthz", &[]).status == 503
    });
    let health = full.http("/healthz", &[]);
    assert!(health.text().contains("free") && health.text().lines().count() == 1, "{}", health.text());
    let overview = get(&full, "/api/v1/overview");
    assert_eq!(overview["concerns"][0]["kind"], "blocked", "{overview}");
    assert_eq!(samples(&full.http("/metrics", &[]).text(), "moji_leasing")[""], 0.0);
}

#[test]
fn two_hundred_pages_cost_the_queue_about_one_look_a_second() {
    /// Pages that look at once, and how often each looks.
    const PAGES: usize = 200;
    const LOOKS: usize = 5;
    let farm = Farm::plan().builders(0).start();
    let file = farm.drop_srpm("hello");
    wait_state(&farm, &file, "waiting");
    let taken = || samples(&farm.http("/metrics", &[]).text(), "moji_web_snapshots_total")[""];
    let (before, begin) = (taken(), std::time::Instant::now());
    let paths = ["/api/v1/overview", "/api/v1/packages?limit=10", "/api/v1/builders", "/metrics", "/healthz"];
    let addr = farm.repo_url().to_owned();
    let addr = addr
        .trim_start_matches("http://")
        .split('/')
        .next()
        .expect("an address")
        .parse()
        .expect("an address");
    thread::scope(|scope| {
        for page in 0..PAGES {
            scope.spawn(move || {
                for look in 0..LOOKS {
                    let path = paths[(page + look) % paths.len()];
                    let status = moji_tests::http_get(addr, path, &[]).map(|response| response.status);
                    assert_eq!(status.expect("an answer"), 200, "{path}");
                }
            });
        }
    });
    // However fast or slow this machine is: one for each second that began, and no page has one of its own.
    let most = begin.elapsed().as_secs_f64().ceil() + 2.0;
    let looks = taken() - before;
    assert!(looks <= most, "{looks} looks for {} answers in {most} s", PAGES * LOOKS);
}

#[test]
fn the_api_is_what_its_description_says() {
    let farm = Farm::plan().start();
    let built = quick(&farm, "built", "1");
    farm.drop_file(&built.srpm);
    let failed = quick(&farm, "failed", "1");
    farm.outcome(&failed.file, Outcome::exit(1).log("build.log", "error: Bad exit status from x (%build)\n"));
    farm.drop_file(&failed.srpm);
    let lacking = quick(&farm, "lacking", "1");
    let missing = "No matching package to install: 'ghost(api) >= 2'\n";
    farm.outcome(&lacking.file, Outcome::exit(30).log("root.log", missing));
    farm.drop_file(&lacking.srpm);
    wait_state(&farm, &built.file, "success");
    wait_state(&farm, &failed.file, "failed");
    wait_state(&farm, &lacking.file, "deps");
    let building = gated(&farm, "building");
    wait_state(&farm, &building, "building");
    let files = [&*built.file, &failed.file, &lacking.file, &building];
    let asked = contract::check(&farm, &files);
    assert!(asked > 100, "{asked} questions were asked");
    for (path, text) in [
        ("/api/v1/packages/buil", "did you mean building, building-1-1, built"),
        ("/api/v1/builders/nobody", "there is no builder nobody"),
        ("/api/v1/none", "there is no such path"),
        ("/api/v1/packages/built/log?attempt=9", "there is no attempt 9"),
    ] {
        let response = farm.http(path, &[]);
        assert!(response.status == 404 && response.text().contains(text), "{path}: {}", response.text());
    }
    farm.open_gate("building");
}

#[test]
fn metrics_keep_prometheus_conventions() {
    let farm = Farm::plan().start();
    let package = quick(&farm, "one", "1");
    farm.drop_file(&package.srpm);
    wait_state(&farm, &package.file, "success");
    farm.wait_until("the history to count it", SOON, |farm| {
        samples(&farm.http("/metrics", &[]).text(), "moji_builds_total")["verdict=\"success\""] == 1.0
    });
    let response = farm.http("/metrics", &[]);
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = response.text();
    lint(&text);
    for (family, labels, value) in [
        ("moji_packages", "state=\"success\"", 1.0),
        ("moji_builders", "state=\"idle\"", 1.0),
        ("moji_build_duration_seconds_bucket", "le=\"+Inf\"", 1.0),
        ("moji_build_duration_seconds_count", "", 1.0),
        ("moji_index_packages", "", 2.0),
        ("moji_leasing", "", 1.0),
    ] {
        assert_eq!(samples(&text, family).get(labels), Some(&value), "{family}{{{labels}}} in {text}");
    }
    for family in
        ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds", "moji_free_bytes"]
    {
        assert!(samples(&text, family)[""] > 0.0, "{family} in {text}");
    }
    assert!(!text.contains("one-1-1"), "no package is named: {text}");
}

/// What `promtool check metrics` looks at, and that histograms add up.
fn lint(text: &str) {
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut current, mut helped, mut seen) = ("", "", std::collections::BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.is_empty(), "{line}");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, helped, "help comes before the type");
            assert!(families.insert(name, kind).is_none(), "{name} stands in two places");
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(word), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(
                !["_count", "_sum", "_bucket", "_info_total"].iter().any(|end| name.ends_with(end)),
                "{name}"
            );
            for unit in ["_ms", "_milliseconds", "_minutes", "_kib", "_mib", "_kilobytes", "_percent"] {
                assert!(!name.contains(unit), "{name} is not in a base unit");
            }
            current = name;
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series), "{series} stands there twice");
            let name = series.split('{').next().expect("a name");
            let suffix = name.strip_prefix(current).unwrap_or_else(|| panic!("{line} is not of {current}"));
            let allowed: &[&str] =
                if families[current] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line}");
        }
    }
    assert!(text.ends_with('\n') && !families.is_empty());
    let buckets: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("moji_build_duration_seconds_bucket"))
        .map(|line| line.rsplit_once(' ').expect("a sample").1.parse().expect("a number"))
        .collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
}
