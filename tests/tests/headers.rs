//! Damaged input without libFuzzer, and headers of sound packages as rpm itself reads them.
//!
//! Owns two comparisons: every seed and every kept case of the fuzz targets (`tests/fuzz`) goes through its target, and
//! headers through all of them; and what the hub takes from the headers of some hundred packages equals what
//! `rpm -qp` says of the same files. How an index tells it is compared with createrepo_c in `repodata.rs`.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moji_server::rpmfile::{Capability, Facts, Kind, Tags, read_facts, read_tags};
use moji_tests::faults::Tally;
use moji_tests::varied::Varied;
use moji_tests::{mini_folder, run_to_end};

use targets::{PLANTED, TARGETS, Target};

/// Packages made in memory, beside all of the mini distribution.
const PACKAGES: u64 = 300;
/// One query of all files takes a second.
const LIMIT: Duration = Duration::from_secs(120);
/// Digits of a finding that are told.
const TOLD_BYTES: usize = 200;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The kept cases of a target, by name, and its seeds.
fn cases(target: &Target) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(corpus().join(target.name)).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let name = format!("corpus/{}/{}", target.name, entry.file_name().to_string_lossy());
        (name, fs::read(entry.path()).expect("a case is readable"))
    };
    let mut all: Vec<_> = files.map(read).collect();
    all.sort();
    let seeds = (target.seeds)().into_iter().enumerate();
    all.extend(seeds.map(|(number, seed)| (format!("seed {number} of {}", target.name), seed)));
    all
}

/// Whether `target` takes these bytes without a panic.
fn survives(target: &Target, bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.body)(bytes))).is_ok()
}

#[test]
fn every_kept_case_and_every_seed_of_the_fuzz_targets_has_an_answer() {
    let mut tally = Tally::new(
        6,
        "fuzz-cases",
        "each kept case of the fuzz targets, headers of 100 bytes with giant counts and offsets among them, to its parser, \
         headers to all",
        "an answer or an error: no panic, no abort, no answer that contradicts another",
        "cargo test -p moji-tests --test headers",
    );
    for target in TARGETS.iter().filter(|target| target.name != PLANTED) {
        let cases = cases(target);
        assert!(!cases.is_empty(), "{} starts from nothing", target.name);
        for (name, bytes) in &cases {
            // Whoever reads packages, keys or messages may be handed anybody's header.
            let all = TARGETS.iter().filter(|other| other.name != PLANTED);
            for other in all.filter(|other| other.name == target.name || target.name == "headers") {
                tally.case();
                tally.holds(survives(other, bytes), || {
                    let hex: String =
                        bytes.iter().take(TOLD_BYTES).map(|byte| format!("{byte:02x}")).collect();
                    format!("{}: {name}: {hex}", other.name)
                });
            }
        }
    }
    tally.end();
}

#[test]
fn what_a_target_does_not_survive_is_noticed() {
    let planted = TARGETS.iter().find(|target| target.name == PLANTED).expect("there is one");
    assert!(survives(planted, b"mojo\xed"));
    assert!(!survives(planted, b"moji\xed"));
}

/// What is compared beside facts: the tag, rpm's name of it, and what it is.
const TAGS: [(u32, &str, What); 46] = [
    (1000, "NAME", What::Text),
    (1001, "VERSION", What::Text),
    (1002, "RELEASE", What::Text),
    (1003, "EPOCH", What::Number),
    (1004, "SUMMARY", What::Text),
    (1005, "DESCRIPTION", What::Text),
    (1006, "BUILDTIME", What::Number),
    (1007, "BUILDHOST", What::Text),
    (1009, "SIZE", What::Number),
    (1011, "VENDOR", What::Text),
    (1014, "LICENSE", What::Text),
    (1015, "PACKAGER", What::Text),
    (1016, "GROUP", What::Text),
    (1020, "URL", What::Text),
    (1022, "ARCH", What::Text),
    (1044, "SOURCERPM", What::Text),
    (1028, "FILESIZES", What::Numbers),
    (1030, "FILEMODES", What::Numbers),
    (1034, "FILEMTIMES", What::Numbers),
    (1037, "FILEFLAGS", What::Numbers),
    (1116, "DIRINDEXES", What::Numbers),
    (1117, "BASENAMES", What::Texts),
    (1118, "DIRNAMES", What::Texts),
    (1047, "PROVIDENAME", What::Texts),
    (1112, "PROVIDEFLAGS", What::Numbers),
    (1113, "PROVIDEVERSION", What::Texts),
    (1049, "REQUIRENAME", What::Texts),
    (1048, "REQUIREFLAGS", What::Numbers),
    (1050, "REQUIREVERSION", What::Texts),
    (1054, "CONFLICTNAME", What::Texts),
    (1053, "CONFLICTFLAGS", What::Numbers),
    (1055, "CONFLICTVERSION", What::Texts),
    (1090, "OBSOLETENAME", What::Texts),
    (1114, "OBSOLETEFLAGS", What::Numbers),
    (1115, "OBSOLETEVERSION", What::Texts),
    (5046, "RECOMMENDNAME", What::Texts),
    (5048, "RECOMMENDFLAGS", What::Numbers),
    (5047, "RECOMMENDVERSION", What::Texts),
    (5049, "SUGGESTNAME", What::Texts),
    (5052, "SUPPLEMENTNAME", What::Texts),
    (5055, "ENHANCENAME", What::Texts),
    (1080, "CHANGELOGTIME", What::Numbers),
    (1081, "CHANGELOGNAME", What::Texts),
    (1082, "CHANGELOGTEXT", What::Texts),
    (1059, "EXCLUDEARCH", What::Texts),
    (1061, "EXCLUSIVEARCH", What::Texts),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text,
    Texts,
    Number,
    Numbers,
}

/// Ends an element, a tag and a package; in no text.
const ENDS: [char; 3] = ['\u{1}', '\u{2}', '\u{3}'];
/// What rpm says of a tag that is not there.
const NONE: &str = "(none)";

/// What rpm says of these files: of each, of each tag of [`TAGS`], the elements.
fn asked(files: &[PathBuf]) -> Vec<Vec<Vec<String>>> {
    let [element, tag, package] = ENDS;
    let one = |(_, name, what): &(u32, &str, What)| match what {
        What::Text | What::Number => format!("%{{{name}}}{element}{tag}"),
        What::Texts | What::Numbers => format!("[%{{{name}}}{element}]{tag}"),
    };
    let format = TAGS.iter().map(one).collect::<String>() + package.encode_utf8(&mut [0; 4]);
    let mut command = Command::new("rpm");
    command
        .args(["-qp", "--nosignature", "--nodigest", "--nomanifest", "--qf", &format])
        .args(files)
        .env("LC_ALL", "C");
    let ended = run_to_end(command, LIMIT);
    assert_eq!(ended.code, 0, "rpm: {}", ended.stderr);
    let parts =
        |text: &str, end: char| -> Vec<String> { text.split_terminator(end).map(str::to_owned).collect() };
    let answers: Vec<_> = parts(&ended.stdout, package);
    assert_eq!(answers.len(), files.len(), "rpm answers for every file: {}", ended.stderr);
    let tags = |answer: &String| parts(answer, tag).iter().map(|values| parts(values, element)).collect();
    answers.iter().map(tags).collect()
}

/// The same as the hub reads it.
fn ours(tags: &Tags, (tag, _, what): &(u32, &str, What)) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match what {
        What::Text => tags.text(*tag).map(text).into_iter().collect(),
        What::Texts => tags.texts(*tag).into_iter().flatten().map(text).collect(),
        What::Number => tags.number(*tag).map(|number| number.to_string()).into_iter().collect(),
        What::Numbers => tags.numbers(*tag).into_iter().flatten().map(|number| number.to_string()).collect(),
    }
}

/// The values that rpm gave for this tag; none where it has none.
fn told<'a>(answer: &'a [Vec<String>], name: &str) -> &'a [String] {
    let at = TAGS.iter().position(|(_, one, _)| *one == name).expect("it is asked for");
    match &answer[at][..] {
        [one] if one == NONE => &[],
        all => all,
    }
}

/// Facts as they follow from what rpm told.
fn facts(answer: &[Vec<String>], is_nosrc: bool) -> Facts {
    let one = |name| told(answer, name).first().cloned().unwrap_or_default();
    let capabilities = |kind: &str| -> Vec<Capability> {
        let [names, flags, versions] =
            ["NAME", "FLAGS", "VERSION"].map(|part| told(answer, &format!("{kind}{part}")));
        let comparison = |flags: &str| flags.parse::<u64>().map_or(0, |bits| (bits & 14) as u32);
        let all = names.iter().zip(flags).zip(versions);
        all.map(|((name, flags), evr)| Capability {
            name: name.clone(),
            flags: comparison(flags),
            evr: evr.clone(),
        })
        .filter(|capability| kind == "PROVIDE" || !capability.name.starts_with("rpmlib("))
        .collect()
    };
    let source_rpm = told(answer, "SOURCERPM").first().cloned();
    let kind = if source_rpm.is_some() { Kind::Binary } else { Kind::Source };
    let arch = match kind {
        Kind::Binary => one("ARCH"),
        Kind::Source if is_nosrc => "nosrc".to_owned(),
        Kind::Source => "src".to_owned(),
    };
    Facts {
        kind,
        nevra: moji_server::rpmfile::Nevra {
            name: one("NAME"),
            epoch: one("EPOCH").parse().unwrap_or(0),
            version: one("VERSION"),
            release: one("RELEASE"),
            arch,
        },
        source_rpm,
        requires: capabilities("REQUIRE"),
        provides: capabilities("PROVIDE"),
        exclusive_arch: told(answer, "EXCLUSIVEARCH").to_vec(),
        exclude_arch: told(answer, "EXCLUDEARCH").to_vec(),
    }
}

/// All RPMs and SRPMs of the mini distribution and of the tests, and [`PACKAGES`] that are made in `folder`.
fn packages(folder: &Path) -> Vec<PathBuf> {
    let cache = mini_folder().parent().expect("the cache").to_owned();
    let mut all = Vec::new();
    for place in [mini_folder().join("mini-x86_64"), cache.join("srpms")] {
        let files = fs::read_dir(&place).into_iter().flatten().flatten().map(|entry| entry.path());
        all.extend(files.filter(|path| path.extension().is_some_and(|end| end == "rpm")));
    }
    assert!(all.len() >= 20, "tests/setup has made packages: {}", all.len());
    for seed in 0..PACKAGES {
        let varied = Varied::new(seed);
        let path = folder.join(&varied.file_name);
        fs::write(&path, varied.bytes()).expect("a package is written");
        all.push(path);
    }
    all.sort();
    all
}

#[test]
fn what_the_hub_reads_in_headers_is_what_rpm_reads() {
    let mut tally = Tally::new(
        6,
        "headers-differential",
        "real and generated RPMs and SRPMs to the hub's own reader of headers and to rpm -qp",
        "the same names, versions, dependencies with flags, files, sizes, times and texts, tag by tag",
        "cargo test -p moji-tests --test headers",
    );
    let folder = tempfile::tempdir().expect("a folder");
    let files = packages(folder.path());
    let mut values = 0;
    for (path, answer) in files.iter().zip(asked(&files)) {
        tally.case();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(path).expect("readable");
        let tags = match read_tags(&bytes[..]) {
            Ok(tags) => tags,
            Err(error) => {
                tally.violation(format!("{name}: rpm reads it, the hub does not: {error}"));
                continue;
            }
        };
        for asked in &TAGS {
            let (ours, theirs) = (ours(&tags, asked), told(&answer, asked.1));
            values += theirs.len();
            // rpm gives nothing for a text that is there and empty where it stands alone.
            let same = ours == theirs || (theirs == [String::new()] && ours.is_empty());
            tally.holds(same, || format!("{name}: {}: the hub reads {ours:?}, rpm {theirs:?}", asked.1));
        }
        let theirs = facts(&answer, name.ends_with(".nosrc.rpm"));
        let ours = read_facts(&bytes[..]).ok();
        tally.holds(ours.as_ref() == Some(&theirs), || {
            format!("{name}: the hub has {ours:?}, rpm {theirs:?}")
        });
        tally.holds(theirs.nevra.file_name(theirs.kind) == name, || format!("{name} would be {theirs:?}"));
    }
    tally.figure(format!("{values} values"));
    tally.end();
}
