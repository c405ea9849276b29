//! What every page must keep to, whatever is in the farm: no name and no text becomes markup, identifiers are unique,
//! regions are found, colours can be read.

use std::collections::{BTreeMap, BTreeSet};

use scraper::{Html, Selector};

use super::target::{BuildersAsked, PackagesAsked};
use super::*;
use crate::web::live::regions;
use crate::web::model::{
    Attempt, Backend, Builder, BuilderDays, BuilderDetail, BuilderState, Concern, ConcernKind, Day, Duration,
    Event, EventKind, FailureReason, History, Index, Lack, LogLink, Neighbour, Overview, Package,
    PackageDetail, PackageState, Page, Phase, Repository, Trouble, Try, Verdict, When, Which,
};

/// What a builder may say wherever it may say something.
const BAD: &str = "x'\"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;<!--/state--> data-live>";

fn bad() -> String {
    BAD.to_owned()
}

fn some() -> Option<String> {
    Some(bad())
}

const THEN: When = When(1_700_000_000_000);

fn package(state: PackageState) -> Package {
    Package {
        srpm: bad(),
        nevr: some(),
        state,
        why: some(),
        since: THEN,
        size_bytes: Some(7),
        priority: Some(1),
        charged: 1,
        lease: some(),
        builder: some(),
        phase: Some(Phase::Build),
        phase_since: Some(THEN),
        expected_s: Some(60),
        line: some(),
        place: some(),
    }
}

fn builder(state: BuilderState) -> Builder {
    Builder {
        name: bad(),
        key: bad(),
        peer: some(),
        state,
        why: some(),
        until: Some(THEN),
        since: Some(THEN),
        arch: some(),
        version: some(),
        cfg: some(),
        backend: Backend::Mock,
        cpus: Some(1),
        memory_mib: Some(1),
        memory_free_mib: Some(1),
        disk_free_mib: Some(1),
        load_centi: Some(105),
        celsius: Some(70),
        clock_off_s: -600,
        trouble: Some(Trouble::Disk),
        srpm: some(),
        phase: Some(Phase::Init),
        faults: 2,
        built: 1_000,
        failed: 3,
        suspect: some(),
    }
}

fn one_try() -> Try {
    Try {
        srpm: bad(),
        lease: bad(),
        builder: some(),
        began: Some(THEN),
        ended: Some(THEN),
        duration_s: Some(61),
        verdict: Some(Verdict::Infra),
        reason: some(),
    }
}

fn farm() -> Overview {
    let concern = |kind| Concern {
        kind,
        text: bad(),
        builder: some(),
        package: some().filter(|_| kind > ConcernKind::Suspect),
    };
    let event = Event {
        seq: 1,
        time: THEN,
        kind: EventKind::Ended,
        srpm: some(),
        lease: some(),
        builder: some(),
        verdict: Some(Verdict::Failed),
        phase: None,
        state: None,
        who: some(),
        text: some(),
    };
    Overview {
        version: bad(),
        started: THEN,
        target: some(),
        packages: PackageState::ALL.iter().map(|state| (*state, 3)).collect(),
        total: 33,
        done: 12,
        expected_end: Some(THEN),
        builders: BuilderState::ALL.iter().map(|state| (*state, 1)).collect(),
        building: vec![package(PackageState::Building)],
        concerns: vec![concern(ConcernKind::Blocked), concern(ConcernKind::Review)],
        results: vec![event],
        blocked: some(),
        idle: some(),
        free_bytes: 1 << 33,
        floor_bytes: 1,
        rpms: 25_000,
        last_event: 9,
    }
}

fn detail() -> PackageDetail {
    let lack = |from| Lack {
        capability: bad(),
        there: false,
        any: false,
        holds: 1,
        holds_all: None,
        chain_s: None,
        from,
        state: Some(PackageState::Failed),
        text: some(),
    };
    let attempt = Attempt {
        number: 1,
        lease: bad(),
        builder: some(),
        began: Some(THEN),
        ended: Some(THEN),
        duration_s: Some(9),
        verdict: None,
        reason: some(),
        charged: true,
        place: some(),
        evidence: vec![bad()],
        provenance: vec![bad()],
        files: vec![format!("/repo/{}", crate::web::model::in_path(BAD))],
        logs: vec![LogLink { which: Which::Build, path: "/api/".to_owned() }],
    };
    let near = || Neighbour { srpm: bad(), state: PackageState::Waiting };
    PackageDetail {
        package: package(PackageState::Building),
        options: vec![bad()],
        why: vec![bad()],
        order: vec![bad()],
        passed_over: vec![bad()],
        next: vec![bad()],
        lacks: vec![lack(None), lack(some())],
        waits_for: vec![near()],
        waited_for_by: vec![near()],
        attempts: vec![attempt],
    }
}

fn past() -> History {
    let attempts: BTreeMap<Verdict, u32> = Verdict::ALL.iter().map(|verdict| (*verdict, 2)).collect();
    History {
        days: vec![Day { date: bad(), attempts: attempts.clone(), build_s: 100 }],
        reasons: vec![FailureReason {
            verdict: Verdict::Failed,
            reason: bad(),
            attempts: 1,
            packages: 1,
            last: Some(THEN),
        }],
        durations: vec![Duration { at_most_s: Some(60), builds: 1 }, Duration { at_most_s: None, builds: 1 }],
        builders: vec![BuilderDays { builder: bad(), attempts, build_s: 5 }],
        newest: vec![one_try()],
    }
}

fn repository() -> Repository {
    Repository {
        url: bad(),
        target: some(),
        signed: true,
        rpms: 1,
        repo_file: bad(),
        mock_arguments: vec![bad()],
        indexes: vec![Index {
            name: bad(),
            path: "/repo/".to_owned(),
            published: Some(THEN),
            revision: some(),
            bytes: 1,
            files: 2,
            files_bytes: 3,
            packages: None,
        }],
    }
}

/// Every page, each field that is a text full of markup: name, markup, how many regions it has.
fn pages(look: Look) -> Vec<(&'static str, String, usize)> {
    let uri: Uri = "/packages?q=%22%3E%3Cscript%3E".parse().unwrap();
    let shell = || Shell::new(bad(), "/packages", look).following(&uri);
    let page = |name, html: Result<String, Problem>, regions| (name, html.unwrap(), regions);
    let states = || BuilderState::ALL.iter().map(|state| builder(*state)).collect();
    let asked = BuildersAsked { sort: bad(), ..BuildersAsked::default() };
    let rows = PackageState::ALL.iter().map(|state| package(*state)).collect();
    let rows = Page::new(250, 100, rows);
    let packages = PackagesAsked { q: bad(), sort: bad(), ..PackagesAsked::default() };
    let counts = farm().packages;
    let one = BuilderDetail { builder: builder(BuilderState::Quarantined), attempts: vec![one_try()] };
    let file = folder::File { name: bad(), path: bad(), size: bad(), changed: Some(say::moment(When(0))) };
    vec![
        page("overview", overview::shown(shell(), &farm()), 4),
        page("builders", builders::shown(shell(), states(), &past(), &asked), 3),
        page("builder", builder::shown(shell(), &one), 2),
        page("packages", packages::shown(shell(), &rows, &counts, &packages), 5),
        page("package", package::shown(shell(), &detail()), 4),
        page("history", history::shown(shell(), &past(), 30), 5),
        page("repository", repository::shown(shell(), &repository()), 2),
        page("folder", folder::shown(shell(), &bad(), &[file]), 0),
        page("problem", missing::shown(shell(), StatusCode::NOT_FOUND, bad(), vec![(bad(), bad())]), 0),
    ]
}

#[test]
fn nothing_from_elsewhere_becomes_markup_on_any_page() {
    for (name, html, _) in pages(Look::once(THEN)) {
        let page = Html::parse_document(&html);
        assert!(page.errors.is_empty(), "{name}: {:?}\n{html}", page.errors);
        let scripts = page.select(&Selector::parse("script").unwrap()).count();
        assert_eq!(scripts, 1, "{name}: {html}");
        for element in page.select(&Selector::parse("*").unwrap()) {
            let tag = element.value();
            assert_ne!(tag.name(), "img", "{name}: {html}");
            for (key, value) in tag.attrs() {
                assert!(!key.starts_with("on") && key != "style", "{name}: {key}={value}");
                let is_link = matches!(key, "href" | "src" | "action" | "data-events" | "data-stream");
                assert!(!is_link || value.starts_with(['/', '#', 'x']), "{name}: {key}={value}");
            }
        }
        let text: String = page.root_element().text().collect();
        assert!(text.contains("<script>alert(1)</script>"), "{name} shows none of it");
    }
}

#[test]
fn every_page_has_its_regions_and_no_identifier_twice() {
    for (name, html, want) in pages(Look::live()) {
        let page = Html::parse_document(&html);
        let mut seen = BTreeSet::new();
        for element in page.select(&Selector::parse("[id]").unwrap()) {
            assert!(
                seen.insert(element.value().id().unwrap_or_default()),
                "{name}: {:?} twice",
                element.value()
            );
        }
        let found = regions(&html);
        assert_eq!(found.len(), want, "{name}: {:?}", found.iter().map(|(id, _)| id).collect::<Vec<_>>());
        let live = page.select(&Selector::parse("[data-live]").unwrap()).count();
        assert_eq!(live, want, "{name}: each region has its end");
        let main = page.select(&Selector::parse("main h1").unwrap()).count();
        assert_eq!(main, 1, "{name}");
    }
}

#[test]
fn what_is_live_changes_only_when_the_farm_does() {
    let ages = |html: &str| html.matches("data-ago=").count() + html.matches("data-in=").count();
    for ((name, once, _), (_, live, _)) in pages(Look::once(THEN)).into_iter().zip(pages(Look::live())) {
        assert_eq!(ages(&once), ages(&live), "{name}");
        assert!(!live.contains(" value=\"0\""), "{name}");
        if ages(&live) > 0 {
            assert!(live.contains("\"></time>") || live.contains("></progress>"), "{name}");
        }
    }
    assert_eq!(pages(Look::live())[0].1, pages(Look::live())[0].1);
}

#[test]
fn no_template_switches_escaping_off() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for word in ["|safe", "| safe", "escape none", "|escape", "style=", "http://", "https://", " on"] {
            let found = text.contains(word);
            assert!(!found || word == " on" && !text.contains(" onclick"), "{word} in {text}");
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen} templates");
}

/// Variables of one colour scheme.
fn colours(css: &str) -> BTreeMap<&str, [f64; 3]> {
    let part = |hex: &str, at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
    let lines = css.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"));
    lines.map(|(name, hex)| (name, [part(hex, 0), part(hex, 2), part(hex, 4)])).collect()
}

/// Contrast of two colours (WCAG 2.2).
fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let light = |c: [f64; 3]| 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
    let (a, b) = (light(a), light(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn all_text_can_be_read_in_light_and_in_dark() {
    let css = include_str!("../../../static/moji.css");
    let (light, rest) = css.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let (dark, _) = rest.split_once("* { box-sizing").unwrap();
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 0.01);
    for (scheme, colours) in [("light", colours(light)), ("dark", colours(dark))] {
        assert!(colours.len() >= 28, "{scheme}: {}", colours.len());
        let check = |text: &str, ground: &str, least: f64| {
            let found = contrast(colours[text], colours[ground]);
            assert!(found >= least, "{scheme}: {text} on {ground} has {found:.2}, wants {least}");
        };
        for ground in ["card", "ground", "off-soft"] {
            for text in ["text", "dim", "link"] {
                check(text, ground, 4.5);
            }
        }
        for tone in ["ok", "bad", "run", "look", "wait", "next", "off"] {
            check(tone, &format!("{tone}-soft"), 4.5);
            check(tone, "card", 4.5);
        }
        check("text", "look-soft", 4.5);
        check("text", "next-soft", 4.5);
        // What is no text but tells something.
        for fill in ["ok-fill", "bad-fill", "run-fill", "look-fill", "wait-fill"] {
            check(fill, "card", 2.0);
        }
        check("focus", "card", 3.0);
    }
}
