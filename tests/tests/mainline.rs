//! `--mainline`: what createrepo_c writes of packages of every shape is what the hub knows of them, and a hub with the
//! option reads it.
//!
//! Owns the comparison with the packages' own headers; it is left out, and said so, where createrepo_c is not installed.
//! Mirrors that are away or wrong are tested beside the reader, and what the queue makes of it beside the queue; here is
//! one package that is held.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use moji_server::core::capabilities::{Capabilities, Requirement};
use moji_server::repodata::{About, Part, Provided, decode_provided, describe};
use moji_server::rpmfile::Capability;
use moji_server::{clock, disk, mainline};
use moji_tests::varied::Varied;
use moji_tests::{Farm, Outcome, SOON, run_to_end, simple_spec, srpm_from_spec};

/// Packages that are compared.
const PACKAGES: u64 = 300;
/// Longest run of createrepo_c, which takes a second, and longest time until the reader is through.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether createrepo_c is there.
fn able() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = std::env::split_paths(&path).any(|folder| folder.join("createrepo_c").exists());
    if !has {
        eprintln!("LEFT OUT: it needs createrepo_c");
    }
    has
}

fn createrepo(folder: &Path, compression: &str) {
    let mut command = Command::new("createrepo_c");
    command.args(["-q", "--no-database", "--general-compress-type", compression]).arg(folder);
    let ended = run_to_end(command, LIMIT);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
}

/// A capability as createrepo_c lists it: not at all if its epoch is no number, and without a version if it has none or
/// compares it in a way that has no name.
fn as_listed(mut one: Capability) -> Option<Capability> {
    let epoch = one.evr.split_once(':').map_or("", |(epoch, _)| epoch);
    let is_number = epoch.is_empty() || epoch.trim_start().parse::<i128>().is_ok();
    if one.name.is_empty() || !is_number {
        return None;
    }
    let is_version = one.evr.strip_prefix("0:").unwrap_or(&one.evr).chars().any(|c| !matches!(c, ':' | '-'));
    if !matches!(one.flags, 2 | 4 | 8 | 10 | 12) || !is_version {
        (one.flags, one.evr) = (0, String::new());
    }
    Some(one)
}

/// Writes packages into a folder; says what their headers provide.
fn packages(folder: &Path) -> Vec<Provided> {
    fs::create_dir(folder).expect("scratch files can be written and read");
    let package = |seed| {
        let varied = Varied::new(seed);
        let bytes = varied.bytes();
        fs::write(folder.join(&varied.file_name), &bytes).expect("scratch files can be written and read");
        let about = About { href: "x", sha256: [0; 32], size: bytes.len() as u64, modified_unix_s: 0 };
        let described = describe(&bytes[..], &about).expect("scratch files can be written and read");
        let mut provided = decode_provided(&described.texts[Part::Provides as usize])
            .expect("scratch files can be written and read");
        provided.provides = provided.provides.into_iter().filter_map(as_listed).collect();
        provided
    };
    (0..PACKAGES).map(package).collect()
}

/// What the reader makes of a repository.
fn read(place: &Path, state: &Path) -> Arc<Capabilities> {
    let setup = mainline::Setup {
        places: vec![
            place.to_str().expect("scratch files can be written and read").parse().expect("it works"),
        ],
        state: state.to_owned(),
        target: None,
        disk: Arc::new(disk::Real),
        clock: Arc::new(clock::Real::default()),
    };
    let (_stop, stopped) = crossbeam_channel::bounded(0);
    let (said, heard) = mpsc::channel();
    let _handle = mainline::start(setup, stopped, move |there| {
        said.send(there).expect("scratch files can be written and read")
    });
    heard.recv_timeout(LIMIT).expect("it can be read").capabilities
}

#[test]
fn what_createrepo_c_writes_is_what_the_headers_provide() {
    if !able() {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-mainline-").tempdir().unwrap();
    let folder = scratch.path().join("os");
    let all = packages(&folder);
    let binaries: Vec<&Provided> = all.iter().filter(|package| package.source.is_some()).collect();
    assert!(binaries.len() > 100 && binaries.len() < all.len(), "both kinds: {}", binaries.len());
    let mut want = Capabilities::default();
    for (n, package) in binaries.iter().enumerate() {
        want.add(&n.to_string(), &package.nevra, &package.provides, &package.files);
    }
    for compression in ["gz", "xz"] {
        createrepo(&folder, compression);
        let there = read(&folder, scratch.path());
        assert_eq!(there.len(), binaries.len(), "{compression}");
        let mut asked = 0;
        for package in &binaries {
            let files = package.files.iter().map(|file| Requirement::parse(file));
            let itself = Requirement::parse(&format!("{} = {}", package.nevra.name, package.nevra.version));
            for one in package.provides.iter().map(Requirement::of).chain(files).chain([itself]) {
                let (there, want) = (there.who_provides(&one).len(), want.who_provides(&one).len());
                assert_eq!(there, want, "{compression}: {one}");
                asked += 1;
            }
        }
        assert!(asked > 1_000, "{asked}");
    }
}

#[test]
fn a_hub_reads_mainline_at_its_start_and_on_sighup_and_says_what_it_cannot_read() {
    if !able() {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-mainline-").tempdir().unwrap();
    let folder = scratch.path().join("os");
    packages(&folder);
    createrepo(&folder, "bz2");
    let farm = Farm::plan().hub_args(["--mainline", folder.to_str().unwrap()]).builders(0);
    let mut farm = farm.start();
    farm.wait_hub_says("compressed with bzip2: moji reads gzip, zstd and xz");
    createrepo(&folder, "gz");
    farm.hub().signal(nix::sys::signal::Signal::SIGHUP);
    farm.wait_hub_says("mainline: 1 repository, ");
    farm.wait_hub_says("can be read again");
}

#[test]
fn what_neither_mainline_nor_the_hub_provides_waits_while_there_is_other_work_and_is_tried_when_there_is_none()
 {
    if !able() {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-mainline-").tempdir().unwrap();
    let folder = scratch.path().join("os");
    packages(&folder);
    createrepo(&folder, "gz");
    let mut farm = Farm::plan().hub_args(["--mainline", folder.to_str().unwrap()]).builders(0).start();
    farm.wait_hub_says("mainline: 1 repository, ");
    farm.prioritise(&["needer-1-1", "other-1-1"]);
    let needer = simple_spec("needer", "1", "BuildRequires: nobody-has-this >= 2\n");
    let other = simple_spec("other", "1", "");
    for spec in [&needer, &other] {
        farm.drop_file(&srpm_from_spec(farm.path(), spec));
    }
    let missing =
        Outcome::exit(30).log("root.log", "No matching package to install: 'nobody-has-this >= 2'\n");
    farm.outcome("needer-1-1.src.rpm", missing);
    farm.outcome(
        "other-1-1.src.rpm",
        Outcome::exit(1).log("build.log", "error: Bad exit status from x (%build)\n"),
    );
    farm.add_builder();
    farm.wait_hub_says(
        "pkg=needer-1-1.src.rpm is held: neither mainline nor this hub provides nobody-has-this >= 2",
    );
    farm.wait_finished("other-1-1.src.rpm");
    // Nothing else is left, and a header may be wrong.
    farm.wait_hub_says("pkg=needer-1-1.src.rpm lease=");
    farm.wait_until("it to wait for what its log says", SOON, |farm| {
        let log = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
        log.contains("deps: ") && farm.places("needer-1-1.src.rpm") == ["source"]
    });
    let log = fs::read_to_string(farm.path().join("hub.log")).unwrap();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text} is not in the log"));
    assert!(at("pkg=needer-1-1.src.rpm is held") < at("pkg=other-1-1.src.rpm lease="));
    assert!(at("pkg=other-1-1.src.rpm lease=") < at("pkg=needer-1-1.src.rpm lease="));
}
