//! The pages as people see them, in a real browser: they follow the farm without moving under the reader, in light and dark,
//! on a phone and without a mouse, and nothing in them complains or leaves the hub.
//!
//! Owns the scenario, and the pictures that a run leaves in `target/screens/`. What a page says is tested where it is
//! written, in `server/src/web/pages/`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use moji_tests::{Browser, Farm, Outcome, SOON, rpms_from_spec, simple_spec, srpm_from_spec};
use serde_json::json;

/// All kinds of pages, with a name for their pictures.
const PAGES: [(&str, &str); 10] = [
    ("/", "overview"),
    ("/builders", "builders"),
    ("/builders/cubox", "builder"),
    ("/packages", "packages"),
    ("/packages/dropbear", "package"),
    ("/packages/curl", "waits"),
    ("/packages/dropbear/log", "log"),
    ("/history", "history"),
    ("/repository", "repository"),
    ("/none", "nowhere"),
];

/// Drops a package whose build ends so.
fn drop_planned(farm: &Farm, name: &str, version: &str, more: &str, outcome: Outcome) -> String {
    let folder = farm.path().join("made");
    fs::create_dir_all(&folder).expect("a folder");
    let srpm = srpm_from_spec(&folder, &simple_spec(name, version, more));
    let file = format!("{name}-{version}-1.src.rpm");
    farm.outcome(&file, outcome);
    farm.drop_file(&srpm);
    file
}

/// One whose build succeeds.
fn drop_good(farm: &Farm, name: &str, version: &str) -> String {
    let folder = farm.path().join("made");
    fs::create_dir_all(&folder).expect("a folder");
    let spec = simple_spec(name, version, "");
    let (srpm, rpm) = (srpm_from_spec(&folder, &spec), rpms_from_spec(&folder, &spec).remove(0));
    let name_of = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    let outcome = Outcome::exit(0).log("build.log", "+ exit 0\n");
    let outcome = outcome.file(&name_of(&srpm), &srpm).file(&name_of(&rpm), &rpm);
    drop_planned(farm, name, version, "", outcome)
}

/// A farm with one of each: built, failed, waiting for what is not there, building, not yet begun.
fn farm() -> Farm {
    // However full this machine is: no warning comes in between.
    let mut farm = Farm::plan().builders(0).hub_args(["--min-free", "1M"]).start();
    farm.start_builder_as(0, &["--name", "cubox"]);
    for (name, version) in [("zlib", "1.3.1"), ("bash", "5.2.37"), ("ncurses", "6.5")] {
        let file = drop_good(&farm, name, version);
        farm.wait_finished(&file);
    }
    let bad = "checking for strlcpy... \x1b[33mno\x1b[0m\n<script>alert(1)</script><img src=x onerror=alert(1)>\n\
               main.c:114:9: \x1b[1;31merror:\x1b[0m implicit declaration of function 'strlcpy'\n\
               make: *** [Makefile:31: main.o] Error 1\n\
               error: Bad exit status from /var/tmp/rpm-tmp.eR3yqD (%build)\n";
    let file = drop_planned(&farm, "dropbear", "2025.88", "", Outcome::exit(1).log("build.log", bad));
    farm.wait_finished(&file);
    let lacks = "No matching package to install: 'pkgconfig(openssl) >= 3'\n";
    let needs = "BuildRequires: pkgconfig(openssl) >= 3\n";
    drop_planned(&farm, "curl", "8.11.0", needs, Outcome::exit(30).log("root.log", lacks));
    farm.wait_hub_says("pkgconfig(openssl)");
    let begun = Outcome::exit(0).log("build.log", "Configuring OpenSSL version 3.4.0 for linux-armv4\n");
    drop_planned(&farm, "openssl", "3.4.0", "", begun.gate(&farm.gate("openssl")));
    farm.wait_until("the build", SOON, |farm| farm.mocks().len() == 1);
    farm.start_builder_as(1, &["--name", "sheeva"]);
    let begun = Outcome::exit(0).log("build.log", "gcc -c -O2 -o perl.o perl.c\n");
    drop_planned(&farm, "perl", "5.40.0", "", begun.gate(&farm.gate("perl")));
    farm.wait_until("both builds", SOON, |farm| farm.mocks().len() == 2);
    for (name, version) in [("gcc", "14.2.0"), ("glibc", "2.40"), ("python3", "3.13.0")] {
        drop_planned(&farm, name, version, "", Outcome::exit(1));
    }
    farm.wait_until("all to be known", SOON, |farm| {
        let found = farm.http("/api/v1/overview", &[]).text();
        serde_json::from_str::<serde_json::Value>(&found).is_ok_and(|farm| farm["total"] == 10)
    });
    farm
}

/// The hub's own address, as pages have it.
fn base(farm: &Farm) -> String {
    farm.repo_url().trim_end_matches("/repo/").to_owned()
}

/// What is written on the terminal of the build of builder 0.
fn live_log(farm: &Farm) -> PathBuf {
    let mut found = None;
    farm.wait_until("the log of the build", SOON, |farm| {
        let jobs = fs::read_dir(farm.builder_state(0).join("jobs"));
        found = jobs
            .into_iter()
            .flatten()
            .flatten()
            .map(|job| job.path().join("result/build.log"))
            .find(|log| log.exists());
        found.is_some()
    });
    found.expect("it was waited for")
}

fn write(log: &PathBuf, text: &str) {
    let mut file = OpenOptions::new().append(true).open(log).expect("mock's log");
    file.write_all(text.as_bytes()).expect("it grows");
}

/// Nothing complained, and nothing was asked of anybody but the hub.
fn assert_quiet(browser: &Browser, base: &str, page: &str) {
    let mut complaints = browser.complaints();
    if page == "/none" {
        complaints.retain(|line| !line.contains("404"));
    }
    assert!(complaints.is_empty(), "{page}: {complaints:#?}");
    let elsewhere: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|url| !url.starts_with(&format!("{base}/")) && !url.starts_with("data:"))
        .collect();
    assert!(elsewhere.is_empty(), "{page} asks others: {elsewhere:?}");
    assert!(!browser.requests().is_empty(), "{page}: requests are seen");
}

#[test]
fn every_page_is_quiet_fits_a_phone_and_names_what_it_shows() {
    let farm = farm();
    let base = base(&farm);
    let mut browser = Browser::start();
    let mut wrong = Vec::new();
    for (page, name) in PAGES {
        for (width, height, dark) in
            [(1280, 800, false), (1280, 800, true), (360, 740, false), (360, 740, true)]
        {
            browser.resize(width, height);
            browser.prefer_dark(dark);
            browser.open(&format!("{base}{page}"));
            browser.wait_for("document.readyState === 'complete'");
            let look = if dark { "dark" } else { "light" };
            let size = if width < 500 { "phone" } else { "wide" };
            browser.picture(&format!("{name}-{size}-{look}"));
            assert_quiet(&browser, &base, page);
            let wide = browser.eval("document.documentElement.scrollWidth");
            if wide.as_u64() > Some(u64::from(width)) {
                wrong.push(format!("{page} is {wide} wide in a window of {width}"));
            }
            let light = browser.eval(
                "(c => c[0]*.3 + c[1]*.6 + c[2]*.1)(getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number))",
            );
            if (light.as_f64() < Some(100.0)) != dark {
                wrong.push(format!("{page} has a ground of {light} when {look} is wanted"));
            }
        }
        for (role, name) in browser.accessible() {
            let must = ["image", "img", "link", "button", "searchbox", "textbox", "combobox", "navigation"];
            if must.contains(&role.as_str()) && name.trim().is_empty() {
                wrong.push(format!("{page} has a {role} without a name"));
            }
        }
        let heads = browser.eval("document.querySelectorAll('h1').length");
        if heads != json!(1) {
            wrong.push(format!("{page} has {heads} main headings"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pages_follow_the_farm_and_nothing_moves_under_the_reader() {
    let farm = farm();
    let base = base(&farm);
    let log = live_log(&farm);
    let mut browser = Browser::start();

    browser.open(&format!("{base}/"));
    let fixed = ["nav a", "main h2", "thead th", "#progress"];
    let places = |browser: &mut Browser| fixed.map(|selector| browser.boxes(selector));
    let before = places(&mut browser);
    assert!(before.iter().all(|boxes| !boxes.is_empty()), "{before:?}");
    // A line so long that it would push everything aside.
    write(&log, &format!("gcc -c -O2 {} -o apps/speed.o apps/speed.c\n", "-DNAME=value ".repeat(60)));
    browser.wait_for("document.querySelector('#building').innerText.includes('-DNAME=value')");
    assert_eq!(places(&mut browser), before, "a longer last line");
    browser.picture("overview-followed");

    let results = "document.querySelector('#results').innerText";
    let old = browser.eval(results);
    let before = browser.boxes("nav a, thead th");
    let good = drop_good(&farm, "sed", "4.9");
    farm.outcome("gcc-14.2.0-1.src.rpm", Outcome::exit(1).log("build.log", "gcc.c:1:1: error: no\n"));
    farm.open_gate("perl");
    browser.wait_for(&format!("{results} !== {old}"));
    browser.wait_for(&format!("{results}.includes('perl')"));
    let after = browser.boxes("nav a, thead th");
    let sides = |boxes: &[[f64; 4]]| boxes.iter().map(|one| (one[0], one[2])).collect::<Vec<_>>();
    assert_eq!(sides(&after), sides(&before), "columns stay where they are when rows come: {good}");
    assert_quiet(&browser, &base, "/");

    browser.open(&format!("{base}/packages/openssl/log"));
    browser.wait_for("document.querySelector('#log').textContent.includes('Configuring OpenSSL')");
    let lines: String = (0..200).map(|number| format!("gcc -c crypto/part{number}.c\n")).collect();
    write(&log, &lines);
    browser.wait_for("document.querySelector('#log').textContent.includes('crypto/part199.c')");
    browser.wait_for("innerHeight + scrollY >= document.documentElement.scrollHeight - 80");
    browser.picture("log-followed");
    browser.eval("scrollTo(0, 0)");
    browser.wait_for("scrollY === 0");
    write(&log, "ld: last words\n");
    browser.wait_for("document.querySelector('#log').textContent.includes('last words')");
    assert_eq!(browser.eval("scrollY"), json!(0), "who reads further up is left there");
    assert_quiet(&browser, &base, "a log");
}

#[test]
fn a_log_that_grows_by_thousands_of_lines_a_second_is_followed_and_the_page_does_not_freeze() {
    const PIECES: usize = 40;
    const LINES: usize = 300;
    let farm = farm();
    let log = live_log(&farm);
    let mut browser = Browser::start();
    browser.open(&format!("{}/packages/openssl/log", base(&farm)));
    browser.wait_for("document.querySelector('#log').textContent.includes('Configuring OpenSSL')");
    // How often the page is drawn, and the longest pause between two times.
    browser.eval(
        "(() => { let at = performance.now(); window.drawn = 0; window.pause = 0;
          const draw = now => { drawn++; pause = Math.max(pause, now - at); at = now; requestAnimationFrame(draw); };
          requestAnimationFrame(draw); })()",
    );
    let began = Instant::now();
    for piece in 0..PIECES {
        let from = piece * LINES;
        let lines =
            (from..from + LINES).map(|number| format!("gcc -c -O2 -o part{number}.o part{number}.c\n"));
        write(&log, &lines.collect::<String>());
        std::thread::sleep(
            Duration::from_millis(100).saturating_mul(piece as u32 + 1).saturating_sub(began.elapsed()),
        );
    }
    let wrote = began.elapsed().as_secs_f64();
    let last = PIECES * LINES - 1;
    browser.wait_for(&format!("document.querySelector('#log').textContent.includes('part{last}.c')"));
    browser.wait_for("innerHeight + scrollY >= document.documentElement.scrollHeight - 80");
    let shown = began.elapsed().as_secs_f64();
    let number = |browser: &mut Browser, what: &str| browser.eval(what).as_f64().expect("a number");
    let (drawn, pause) = (number(&mut browser, "drawn"), number(&mut browser, "pause"));
    let kept = number(&mut browser, "document.querySelectorAll('#log p').length");
    let lines = PIECES * LINES;
    eprintln!(
        "{lines} lines in {wrote:.1} s, all shown after {shown:.1} s; drawn {drawn} times, longest pause {pause:.0} ms"
    );
    // A page that is busy with lines only is not drawn at all meanwhile.
    assert!(drawn >= PIECES as f64 / 2.0, "drawn {drawn} times in {shown:.1} s");
    assert!((1_000.0..=6_000.0).contains(&kept), "{kept} lines are on the page");
    browser.picture("log-fast");
}

#[test]
fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let farm = farm();
    let base = base(&farm);
    let mut browser = Browser::start();
    browser.open(&format!("{base}/"));
    let script = "(e => { const s = getComputedStyle(e); const b = e.getBoundingClientRect(); return [e.getAttribute('href') \
                  ?? e.localName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2, b.width > 2 && b.height > 2] \
                  })(document.activeElement)";
    let mut reached = Vec::new();
    for _ in 0..60 {
        browser.press("Tab");
        let focus = browser.eval(script);
        let href = focus[0].as_str().unwrap_or_default().to_owned();
        if href == "body" {
            break;
        }
        assert_eq!(
            (&focus[1], &focus[2]),
            (&json!(true), &json!(true)),
            "{href} does not show that it has the focus"
        );
        reached.push(href);
    }
    assert_eq!(
        reached.first().map(String::as_str),
        Some("#main"),
        "first, a way past the navigation: {reached:?}"
    );
    for want in ["/", "/packages", "/builders", "/history", "/repository", "/api/"] {
        assert!(reached.iter().any(|href| href == want), "no {want} in {reached:?}");
    }
    assert!(reached.iter().any(|href| href.contains("openssl")), "{reached:?}");
    browser.open(&format!("{base}/"));
    while browser.eval(script)[0] != json!("/packages") {
        browser.press("Tab");
    }
    browser.press("Enter");
    browser.wait_for("location.pathname === '/packages' && document.readyState === 'complete'");
}

#[test]
fn pages_say_everything_without_scripts() {
    let farm = farm();
    let base = base(&farm);
    let mut browser = Browser::start();
    browser.allow_scripts(false);
    for (page, words) in [
        ("/", ["openssl", "cubox", "dropbear"]),
        ("/packages", ["zlib", "curl", "glibc"]),
        ("/packages/dropbear/log", ["strlcpy", "<script>", "Makefile:31"]),
        ("/builders", ["cubox", "sheeva", "openssl"]),
    ] {
        browser.open(&format!("{base}{page}"));
        let text = browser.text();
        for word in words {
            assert!(text.contains(word), "{page}: no {word} in {text}");
        }
        assert_quiet(&browser, &base, page);
    }
}
