//! `screens FILE`: puts what the operator's command shows of a real little farm into FILE.
//!
//! Owns the scenes and what of them is replaced because it is another every time: times, leases, addresses.
//! FILE marks each screen's place by a line `<!-- screen NAME -->` with a fenced block below it; nothing else
//! of it is touched.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use moji_tests::{Farm, Outcome, Pty, SOON, rpms_from_spec, simple_spec, srpm_from_spec};

/// The time that all screens show, as long as any other.
const TIME: &str = "2026-11-22 20:31:05";
/// Its clock alone, and that of an end.
const CLOCK: &str = "20:31:05";
const END: &str = " at 20:31";
/// The hub's address that all screens show.
const ADDRESS: &str = "127.0.0.1:67890";
/// The age that all screens show.
const AGE: &str = " 2 s";
/// The free space that all screens show.
const FREE: &str = " 50 GiB free";
/// The lease that all screens show; its number stays.
const LEASE: &str = "1795370190-";

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("screens: FILE is missing: the file with the marks, as in 'screens README.md'");
        return ExitCode::from(2);
    };
    let mut text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("screens: cannot read {}: {why}", file.display());
            return ExitCode::FAILURE;
        }
    };
    for (name, screen) in scenes() {
        match replaced(&text, name, &screen) {
            Some(new) => text = new,
            None => {
                eprintln!(
                    "screens: {} has no '<!-- screen {name} -->' with a block below it",
                    file.display()
                );
                return ExitCode::FAILURE;
            }
        }
    }
    if let Err(why) = fs::write(&file, text) {
        eprintln!("screens: cannot write {}: {why}", file.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Name and content of every screen.
fn scenes() -> Vec<(&'static str, String)> {
    let mut farm = Farm::plan().builders(0).hub_args(["--min-free", "2G"]).start();
    farm.start_builder_as(0, &["--name", "cubox"]);
    succeed(&farm, "zlib", "1.3.1");
    let line = "main.c:114:9: error: implicit declaration of function 'strlcpy'";
    let bad = format!(
        "{line}\nmake: *** [Makefile:31: main.o] Error 1\n\
         error: Bad exit status from /var/tmp/rpm-tmp.eR3yqD (%build)\n"
    );
    let failed = || Outcome::exit(1).log("build.log", &bad);
    drop_planned(&farm, "dropbear", "2025.88", failed().once());
    finish(&farm, "dropbear");
    farm.outcome("dropbear-2025.88-1.src.rpm", failed());
    run(&farm, &["retry", "dropbear"]);
    finish(&farm, "dropbear");
    let lacks = "No matching package to install: 'pkgconfig(openssl) >= 3'\n";
    drop_planned(&farm, "curl", "8.11.0", Outcome::exit(30).log("root.log", lacks));
    farm.wait_hub_says("pkgconfig(openssl)");
    let openssl =
        Outcome::exit(1).log("build.log", "Configuring OpenSSL version 3.4.0 for target linux-armv4\n");
    drop_planned(&farm, "openssl", "3.4.0", openssl.gate(&farm.gate("go")));
    farm.wait_until("the build", SOON, |farm| farm.mocks().len() == 1);
    farm.start_builder_as(1, &["--name", "sheeva"]);
    farm.wait_builder_says(1, "registered with the hub");
    let follow = followed(&farm);
    let mut scenes = vec![
        ("status", shown(&farm, &["status"])),
        ("top", top(&farm)),
        ("show", shown(&farm, &["show", "dropbear"])),
        ("why", shown(&farm, &["why", "curl"])),
        ("blocked", shown(&farm, &["blocked"])),
        ("log", follow),
        ("error", shown(&farm, &["retry", "drobpear"])),
    ];
    for (_, screen) in &mut scenes {
        *screen = stable(&farm, screen);
    }
    farm.open_gate("go");
    scenes
}

/// `log -f` of a build that says more while it is watched.
fn followed(farm: &Farm) -> String {
    let words = ["log", "openssl", "-f"];
    let mut pty = farm.moji_pty(&words);
    pty.wait_until("the log", SOON, |text| text.contains("Configuring"));
    let mut jobs = fs::read_dir(farm.builder_state(0).join("jobs")).expect("its jobs").flatten();
    let log = jobs.find_map(|job| Some(job.path().join("result/build.log")).filter(|log| log.exists()));
    let mut log = OpenOptions::new().append(true).open(log.expect("a build runs")).expect("its log");
    for line in ["Creating configdata.pm", "Running configdata.pm", "gcc -c -O2 -o apps/lib/app_rand.o"] {
        writeln!(log, "{line}").expect("written");
        pty.wait_until("the next line", SOON, |text| text.contains(line));
    }
    format!("$ moji {}\n{}", words.join(" "), pty.text())
}

/// `top`, until it is left.
fn top(farm: &Farm) -> String {
    let mut pty = Pty::sized(&farm.moji_with(&["top"]), 14, moji_tests::COLUMNS);
    pty.wait_until("the farm", SOON, |text| {
        ["openssl", "app_rand", "dropbear", "zlib"].iter().all(|part| text.contains(part))
    });
    let screen = pty.text();
    pty.keys("q");
    pty.wait_exit(SOON);
    format!("$ moji top\n{screen}")
}

/// What a command shows on a terminal, below the line that a person typed.
fn shown(farm: &Farm, words: &[&str]) -> String {
    let mut pty = Pty::sized(&farm.moji_with(words), 60, moji_tests::COLUMNS);
    pty.wait_exit(SOON);
    format!("$ moji {}\n{}", words.join(" "), pty.text())
}

fn run(farm: &Farm, words: &[&str]) {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "moji {words:?}: {}", ended.stderr);
}

fn finish(farm: &Farm, name: &str) {
    farm.wait_until("the package to be seen", SOON, |farm| farm.moji(&["show", name]).code == 0);
    // It ends with 1 when the package failed.
    let _ = farm.moji(&["wait", name]);
}

fn made(farm: &Farm, name: &str, version: &str) -> (PathBuf, PathBuf) {
    let folder = farm.path().join("made").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let srpm = srpm_from_spec(&folder, &simple_spec(name, version, ""));
    (folder, srpm)
}

fn drop_planned(farm: &Farm, name: &str, version: &str, outcome: Outcome) {
    let (_, srpm) = made(farm, name, version);
    farm.outcome(&file_name(&srpm), outcome);
    farm.drop_file(&srpm);
}

fn succeed(farm: &Farm, name: &str, version: &str) {
    let (folder, srpm) = made(farm, name, version);
    let mut outcome = Outcome::exit(0).log("build.log", "built\n").file(&file_name(&srpm), &srpm);
    for rpm in rpms_from_spec(&folder, &simple_spec(name, version, "")) {
        outcome = outcome.file(&file_name(&rpm), &rpm);
    }
    farm.outcome(&file_name(&srpm), outcome);
    farm.drop_file(&srpm);
    finish(farm, name);
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

/// The screen without what is another every time it is made; every replacement is as long as what it replaces.
fn stable(farm: &Farm, screen: &str) -> String {
    let text = screen.replace(&farm.path().display().to_string(), "/srv/moji");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let masks = [TIME, CLOCK, END, ADDRESS, LEASE, AGE, FREE];
        let taken = match masks.into_iter().find(|mask| fits(rest, mask)) {
            Some(mask) => {
                out.push_str(mask);
                mask.len()
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

/// Whether `text` begins with something of the shape of `pattern`, a digit where that has one, and the word
/// ends there if the pattern's does.
fn fits(text: &str, pattern: &str) -> bool {
    let alike = |(a, b): (u8, u8)| if b.is_ascii_digit() { a.is_ascii_digit() } else { a == b };
    let goes_on = text.as_bytes().get(pattern.len()).is_some_and(u8::is_ascii_alphabetic);
    let is_word = pattern.ends_with(|c: char| c.is_ascii_alphabetic());
    text.len() >= pattern.len() && text.bytes().zip(pattern.bytes()).all(alike) && !(is_word && goes_on)
}

/// `text` with this screen in the fenced block below its mark; None if there is no such place.
fn replaced(text: &str, name: &str, screen: &str) -> Option<String> {
    let mark = format!("<!-- screen {name} -->\n```text\n");
    let start = text.find(&mark)? + mark.len();
    let end = start + text[start..].find("```\n")?;
    Some(format!("{}{screen}\n{}", &text[..start], &text[end..]))
}
