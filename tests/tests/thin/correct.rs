//! The same packages: on a made mainline with dense dependencies, and on the mini distribution.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use moji_tests::dense::{self, Dense, SETUP_GROUP, Source};
use moji_tests::thin::{Answer, Build, Layers, Question, Resolved, Whole, root_with, store};
use moji_tests::{cached_srpm, mini_folder, run_to_end};

use super::{able, number};

/// Packages around the mini distribution that it does not need.
const AROUND: usize = 3_000;
/// The chroot of `mini.cfg.in`.
const MINI_SETUP: &str = "mini-filesystem bash coreutils sed grep tar gzip diffutils findutils make rpm debianutils mawk \
                          libc-bin passwd";
/// Its source packages, in `tests/mini/specs`. Some require what nobody has.
const MINI_SOURCES: [&str; 12] = [
    "archonly",
    "badreq",
    "dynreq",
    "failbuild",
    "hello",
    "helloc",
    "libfoo",
    "nettest",
    "noresult",
    "pkga",
    "pkgb",
    "usefoo",
];
/// Longest run of rpm on one file.
const LIMIT: Duration = Duration::from_secs(60);

/// Tells this mainline from others.
const SEED: u64 = 1;

/// Repositories of a distribution: itself, its updates, and a hub's with rebuilds of the same versions and with newer
/// ones.
fn wholes(folder: &Path, dense: Dense) -> Vec<Whole> {
    let made = |name: &str, sources: Vec<Source>| {
        let at = folder.join(name);
        dense::write(&at, sources, false).expect("a repository is written");
        at
    };
    let whole = |id: &str, folder, cost| Whole { id: id.to_owned(), folder, cost };
    vec![
        whole("hub", made("hub", dense.newer(41, 0).chain(dense.newer(23, 2)).collect()), 1),
        whole("os", dense.cached(), 1000),
        whole("updates", made("updates", dense.newer(20, 1).collect()), 1000),
    ]
}

/// So many of the mainline's sources, evenly spread.
fn picked(dense: Dense, count: usize) -> Vec<Source> {
    let all: Vec<Source> = dense.sources().filter(|source| !source.build_requires.is_empty()).collect();
    let all_count = all.len();
    let mut next = 0;
    let chosen = all.into_iter().enumerate().filter(|(number, _)| {
        let is_next = number * count >= next * all_count;
        next += usize::from(is_next);
        is_next
    });
    chosen.map(|(_, source)| source).collect()
}

/// The RPMs of these packages (`NEVRA REPOSITORY`).
fn rpms(dense: Dense, wanted: &BTreeSet<String>) -> BTreeMap<String, Vec<u8>> {
    let nevras: BTreeSet<&str> = wanted.iter().filter_map(|text| text.split(' ').next()).collect();
    let mut found = BTreeMap::new();
    for package in dense.sources().flat_map(|source| source.packages) {
        if nevras.contains(&*package.nevra()) {
            let rpm = package.rpm();
            found.insert(rpm.name, rpm.bytes);
        }
        if found.len() == nevras.len() {
            break;
        }
    }
    assert_eq!(found.len(), nevras.len(), "the chroot is of the core");
    found
}

/// Asks dnf about all builds; how they differ.
fn differences(question: &Question<'_>, layers: &Layers, sources: &[(String, Vec<String>)]) -> Vec<String> {
    let mut bytes = 0;
    let mut packages = 0;
    let builds: Vec<Build> = sources
        .iter()
        .enumerate()
        .map(|(number, (name, requires))| {
            let thin = question.folder.join(format!("repo-{number}"));
            let made = layers.thin(question.setup, requires, question.weak);
            packages += made.packages;
            bytes += store(&made, &thin);
            Build { name: name.clone(), requires: requires.clone(), thin }
        })
        .collect();
    let (setup, answers) = question.ask(&builds);
    let installs: Vec<usize> = answers.iter().map(|answer| answer.full.installs().len()).collect();
    let refused = |resolved: fn(&Answer) -> &Resolved| {
        answers.iter().filter(|answer| matches!(resolved(answer), Resolved::Refused(_))).count()
    };
    let differences: Vec<String> = answers.iter().filter_map(|answer| answer.difference(&setup)).collect();
    println!(
        "weak={}: {} builds, {} packages in the chroot, {} to {} more for a build; refused from full {}, from thin {}; \
         a thin repository has {} packages in {} kB; {} differ",
        question.weak,
        builds.len(),
        setup.installs().len(),
        installs.iter().min().unwrap_or(&0),
        installs.iter().max().unwrap_or(&0),
        refused(|answer| &answer.full),
        refused(|answer| &answer.thin),
        packages / builds.len().max(1),
        bytes / 1024 / builds.len().max(1) as u64,
        differences.len(),
    );
    differences
}

#[test]
fn dnf_installs_the_same_from_a_thin_repository_as_from_the_whole_ones() {
    if !able() {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-thin-").tempdir().expect("a scratch folder");
    let dense = Dense { seed: SEED, packages: number("MOJI_PACKAGES", 6_000) };
    let wholes = wholes(scratch.path(), dense);
    let sources: Vec<(String, Vec<String>)> = picked(dense, number("MOJI_SOURCES", 40))
        .into_iter()
        .map(|source| (source.name, source.build_requires))
        .collect();
    let paths = sources.iter().flat_map(|(_, requires)| requires).filter(|text| text.starts_with('/'));
    let layers = Layers::read(&wholes, &paths.cloned().collect());
    let setup = [format!("@{SETUP_GROUP}")];
    let root = scratch.path().join("root");
    let mut differ = Vec::new();
    for weak in [false, true] {
        let folder = scratch.path().join(format!("weak-{weak}"));
        let question = Question { folder: &folder, wholes: &wholes, setup: &setup, weak, root: Some(&root) };
        if !weak {
            let (setup, _) = Question { root: None, ..question }.ask(&[]);
            assert!(setup.installs().len() > 50, "{setup:?}");
            root_with(&root, &rpms(dense, &setup.installs()));
        }
        differ.extend(differences(&question, &layers, &sources));
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), 2 * sources.len(), differ.join("\n"));
}

/// What the source RPM `name` of the mini distribution requires.
fn requires(name: &str) -> (String, Vec<String>) {
    let mut command = Command::new("rpm");
    command.args(["-qp", "--nosignature", "--requires"]).arg(cached_srpm(name));
    let ended = run_to_end(command, LIMIT);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines =
        ended.stdout.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("rpmlib("));
    (name.to_owned(), lines.map(str::to_owned).collect())
}

#[test]
fn dnf_installs_the_same_of_the_mini_distribution_too() {
    if !able() {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-thin-").tempdir().expect("a scratch folder");
    let mini = mini_folder().join("mini-x86_64");
    let around = Dense { seed: SEED, packages: AROUND }.cached_tail();
    let whole = |id: &str, folder: &Path| Whole { id: id.to_owned(), folder: folder.to_owned(), cost: 1000 };
    let wholes = [whole("mini", &mini), whole("around", &around)];
    let sources = MINI_SOURCES.map(requires);
    let layers = Layers::read(&wholes, &BTreeSet::new());
    let setup: Vec<String> = MINI_SETUP.split_whitespace().map(str::to_owned).collect();
    let root = scratch.path().join("root");
    let mut differ = Vec::new();
    for weak in [false, true] {
        let folder = scratch.path().join(format!("weak-{weak}"));
        let question = Question { folder: &folder, wholes: &wholes, setup: &setup, weak, root: Some(&root) };
        if !weak {
            let (setup, _) = Question { root: None, ..question }.ask(&[]);
            let installs = setup.installs();
            assert!(installs.len() > 20, "{setup:?}");
            let file = |text: &String| {
                let (nevra, _) = text.split_once(' ').expect("a repository behind it");
                let (name, evr) = nevra.split_once(':').map_or((nevra, ""), |(before, after)| {
                    (before.rsplit_once('-').expect("an epoch behind the name").0, after)
                });
                let name = if evr.is_empty() { format!("{name}.rpm") } else { format!("{name}-{evr}.rpm") };
                (name.clone(), std::fs::read(mini.join(name)).expect("an RPM of the mini distribution"))
            };
            root_with(&root, &installs.iter().map(file).collect());
        }
        differ.extend(differences(&question, &layers, &sources));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
