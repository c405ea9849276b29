//! Results that are not what was leased, or too large, or nothing at all.
//!
//! Owns the verdict of each; must never break the order of messages.

use std::fs;

use moji_proto::message::{FromBuilder, RejectedWhy, ToBuilder, Verdict};
use moji_proto::{Digest, FileName};
use moji_tests::{Damage, Farm, Outcome, SOON, damaged, rpms_from_spec, simple_spec, srpm_from_spec};

use crate::quick::quick;
use crate::rogue::{Rogue, Upload};
use crate::{honest_builder_goes_on, indexed};

fn no_rpm_of(farm: &Farm, nvr: &str) {
    for folder in farm.results(nvr) {
        let files = farm.files_of(&folder);
        assert!(files.iter().all(|name| !name.ends_with(".rpm")), "{folder}: {files:?}");
    }
}

#[test]
fn a_result_that_is_not_what_was_leased_is_rejected_and_nothing_of_it_is_published() {
    let mut farm = Farm::plan().builders(0).start();
    let pid = farm.hub().pid();
    let made = tempfile::tempdir().expect("a folder");
    let spec = simple_spec("evil", "1", "");
    let evil = rpms_from_spec(made.path(), &spec).remove(0);
    let evil_srpm = srpm_from_spec(made.path(), &spec);
    let other = |name: &str, version: &str| {
        let folder = made.path().join(format!("{name}-{version}"));
        fs::create_dir(&folder).expect("a folder");
        srpm_from_spec(&folder, &simple_spec(name, version, ""))
    };
    // A package with the leased one's name, but built from another source package.
    let disguise = |name: &str| {
        let folder = made.path().join(format!("disguise-{name}"));
        fs::create_dir(&folder).expect("a folder");
        let sub = format!("%package -n {name}\nSummary: x\n%description -n {name}\nx\n%files -n {name}\n");
        let spec = simple_spec("evil2", "1", "").replace("%install", &format!("{sub}%install"));
        let rpms = rpms_from_spec(&folder, &spec);
        let own = format!("{name}-1-1.noarch.rpm");
        rpms.into_iter().find(|path| path.ends_with(&own)).expect("the disguised one")
    };
    type Make<'a> = Box<dyn Fn(&str, Upload, Upload) -> Vec<Upload> + 'a>;
    let mut cases: Vec<(String, RejectedWhy, Make<'_>)> = vec![
        ("another".into(), RejectedWhy::Foreign, Box::new(|_, s, r| vec![s, r, Upload::of(&evil)])),
        ("source".into(), RejectedWhy::Foreign, Box::new(|_, _, r| vec![Upload::of(&evil_srpm), r])),
        ("nosrpm".into(), RejectedWhy::Foreign, Box::new(|_, _, r| vec![r])),
        ("version".into(), RejectedWhy::Foreign, Box::new(|n, _, r| vec![Upload::of(&other(n, "2")), r])),
        ("disguise".into(), RejectedWhy::Foreign, Box::new(|n, s, _| vec![s, Upload::of(&disguise(n))])),
        (
            "sources".into(),
            RejectedWhy::Duplicate,
            Box::new(|n, s, r| vec![s, r, Upload::of(&other(n, "3"))]),
        ),
        (
            "twice".into(),
            RejectedWhy::Duplicate,
            Box::new(|_, s, r| {
                let again = Upload { name: FileName::new("again.rpm").expect("safe"), ..r.clone() };
                vec![s, r, again]
            }),
        ),
        ("srpms".into(), RejectedWhy::Duplicate, Box::new(|_, s, r| vec![s.clone(), s, r])),
        (
            "text".into(),
            RejectedWhy::BadRpm,
            Box::new(|_, s, r| vec![s, r, Upload::new("trick-1-1.noarch.rpm", b"#!/bin/sh\n".to_vec())]),
        ),
        (
            "cut".into(),
            RejectedWhy::BadRpm,
            Box::new(|_, s, r| vec![s, Upload::new("cut.rpm", r.bytes[..r.bytes.len() - 9].to_vec())]),
        ),
    ];
    for damage in Damage::ALL {
        let folder = made.path();
        cases.push((
            format!("{damage:?}").to_lowercase(),
            RejectedWhy::BadRpm,
            Box::new(move |n, s, r| {
                let good = folder.join(format!("{n}-good.rpm"));
                fs::write(&good, &r.bytes).expect("a file");
                let bad = tempfile::tempdir_in(folder).expect("a folder");
                vec![s, Upload::of(&damaged(&good, bad.path(), damage))]
            }),
        ));
    }
    let mut rogue = Rogue::ready(&farm, 1);
    for (case, why, make) in &cases {
        let name = format!("bad-{case}");
        let package = quick(&farm, &name, "1");
        let (source, binary) = (Upload::of(&package.srpm), Upload::of(&package.rpm));
        let files = make(&name, source, binary);
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        let said = rogue.upload(lease, &files);
        assert_eq!(said, ToBuilder::Rejected { lease, why: *why }, "{case}\n{}", farm.hub().log_text());
        farm.wait_finished(&package.file);
        no_rpm_of(&farm, &format!("{name}-1-1"));
        rogue.send(&FromBuilder::Ready);
    }
    assert!(rogue.is_alive());
    for (case, ..) in &cases {
        let package = format!("pkg=bad-{case}-1-1.src.rpm");
        farm.wait_until(&format!("the log to say why {case} was rejected"), SOON, |farm| {
            let text = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
            text.lines().any(|line| line.contains(&package) && line.contains("rejected: "))
        });
    }
    drop(rogue);
    honest_builder_goes_on(&mut farm, pid);
    let index = indexed(&farm);
    assert!(!index.contains("<name>bad-") && !index.contains("<name>evil"), "{index}");
}

#[test]
fn a_package_for_another_architecture_is_rejected() {
    let mut farm = Farm::plan().builders(0).hub_args(["--target", "armv7hl"]).start();
    let package = quick(&farm, "arched", "1");
    let folder = farm.path().join("made");
    let spec = simple_spec("arched", "1", "").replace("BuildArch: noarch\n", "");
    let native = rpms_from_spec(&folder, &spec).remove(0);
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready_for(&farm, 1, "armv7hl");
    let lease = rogue.job();
    let said = rogue.upload(lease, &[Upload::of(&package.srpm), Upload::of(&native)]);
    assert_eq!(said, ToBuilder::Rejected { lease, why: RejectedWhy::Arch });
    farm.wait_finished(&package.file);
    no_rpm_of(&farm, "arched-1-1");
    farm.wait_hub_says("is not for armv7hl");
    assert!(farm.hub().is_running());
}

#[test]
fn a_success_without_packages_counts_as_failed() {
    let mut farm = Farm::plan().builders(0).start();
    let mut rogue = Rogue::ready(&farm, 1);
    for (name, files) in [
        ("nothing", vec![]),
        ("onlylog", vec![Upload::new("build.log", b"done\n".to_vec())]),
        ("onlysrpm", vec![]),
    ] {
        let package = quick(&farm, name, "1");
        let files = if name == "onlysrpm" { vec![Upload::of(&package.srpm)] } else { files };
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        let said = rogue.upload(lease, &files);
        assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Failed }, "{name}");
        farm.wait_finished(&package.file);
        assert_eq!(farm.result_json(&format!("{name}-1-1"))["verdict"], "failed");
        rogue.send(&FromBuilder::Ready);
    }
    assert!(!indexed(&farm).contains("<name>onlysrpm"));
    assert!(farm.hub().is_running());
}

#[test]
fn names_a_builder_gives_never_reach_the_repository() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "named", "1");
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready(&farm, 1);
    let lease = rogue.job();
    let named = |name: &str, upload: Upload| Upload { name: FileName::new(name).expect("safe"), ..upload };
    let lie = br#"{"verdict":"success","lease":"1-1"}"#.to_vec();
    let long = format!("{}.log", "x".repeat(251));
    let files = [
        named("repomd.xml", Upload::of(&package.rpm)),
        named("result.json", Upload::of(&package.srpm)),
        Upload::new("f0", lie.clone()),
        Upload::new("repodata", lie.clone()),
        Upload::new("result.json", lie),
        Upload::new("-.log", b"dash".to_vec()),
        Upload::new(&long, b"long".to_vec()),
        Upload::new("%{evil} $(x) <b>.log", b"signs".to_vec()),
    ]
    .into_iter()
    .collect::<Vec<_>>();
    let said = rogue.upload(lease, &files);
    assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Success });
    farm.wait_finished(&package.file);
    let json = farm.result_json("named-1-1");
    assert_eq!((&json["verdict"], &json["lease"]), (&"success".into(), &lease.to_string().into()));
    let mut found = farm.files_of("named-1-1");
    for want in ["named-1-1.noarch.rpm", "named-1-1.src.rpm", "result.json"] {
        assert!(found.iter().any(|name| name == want), "{found:?}");
    }
    // The hub's own.
    found.retain(|name| name != ".repodata");
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    assert!(found.iter().all(plain), "{found:?}");
    assert!(found.iter().all(|name| !name.contains("repo") && name != "f0"), "{found:?}");
    assert!(farm.hub().is_running());
}

#[test]
fn a_file_that_arrives_damaged_three_times_ends_the_result() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "mangled", "1");
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready(&farm, 1);
    let lease = rogue.job();
    let mut bad = Upload::of(&package.rpm);
    bad.digest = Digest::of(b"something else");
    let said = rogue.upload(lease, &[Upload::of(&package.srpm), bad]);
    assert_eq!(said, ToBuilder::Rejected { lease, why: RejectedWhy::Damaged });
    assert_eq!(farm.hub().log_count("arrived damaged, asking for it again"), 2);
    farm.wait_finished(&package.file);
    no_rpm_of(&farm, "mangled-1-1");
}

#[test]
fn a_result_over_the_hubs_limits_is_rejected_before_a_byte_is_sent() {
    let limits = ["--max-files", "4", "--max-file-size", "100k", "--max-result-size", "150k"];
    let mut farm = Farm::plan().builders(0).hub_args(limits).start();
    let mut rogue = Rogue::ready(&farm, 1);
    let log = |n: usize, size: u64| {
        let name = FileName::new(format!("{n}.log")).expect("safe");
        Upload { name, size, digest: Digest::of(b""), bytes: Vec::new() }
    };
    for (name, files, word) in [
        ("many", (0..5).map(|n| log(n, 1)).collect::<Vec<_>>(), "5 files"),
        ("large", vec![log(0, 100 * 1024 + 1)], "0.log has 102401 bytes"),
        ("endless", vec![log(0, u64::MAX), log(1, u64::MAX)], "0.log has 18446744073709551615 bytes"),
        ("sum", vec![log(0, 90_000), log(1, 90_000)], "180000 bytes in all files"),
    ] {
        let package = quick(&farm, name, "1");
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        rogue.announce(lease, &files);
        let why = RejectedWhy::TooLarge;
        assert_eq!(rogue.serve(lease, &[]), ToBuilder::Rejected { lease, why }, "{name}");
        farm.wait_finished(&package.file);
        farm.wait_hub_says(word);
        rogue.send(&FromBuilder::Ready);
    }
    assert!(farm.hub().is_running());
}

#[test]
fn a_binary_name_of_another_source_package_is_held_unindexed() {
    let mut farm = Farm::plan().builders(0).start();
    let pid = farm.hub().pid();
    let make = |name: &str| {
        let folder = farm.path().join("made").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let sub = "%package -n shared\nSummary: x\n%description -n shared\nx\n%files -n shared\n";
        let spec = simple_spec(name, "1", "").replace("%install", &format!("{sub}%install"));
        let mut files = rpms_from_spec(&folder, &spec);
        let srpm = srpm_from_spec(&folder, &spec);
        files.push(srpm.clone());
        let mut outcome = Outcome::exit(0).log("build.log", "x\n");
        for path in &files {
            outcome = outcome.file(&path.file_name().expect("a name").to_string_lossy(), path);
        }
        let file = format!("{name}-1-1.src.rpm");
        farm.outcome(&file, outcome);
        (file, srpm)
    };
    let (first, first_srpm) = make("aaa");
    let (second, second_srpm) = make("bbb");
    farm.drop_file(&first_srpm);
    farm.add_builder();
    farm.wait_finished(&first);
    farm.wait_until("the first to be indexed", SOON, |farm| indexed(farm).contains("<name>aaa<"));
    farm.drop_file(&second_srpm);
    farm.wait_finished(&second);
    let held = "the repository has shared from aaa, this one is from bbb";
    let json = farm.result_json("bbb-1-1");
    assert_eq!(json["held"], held, "{json}");
    assert!(farm.files_of("bbb-1-1").iter().any(|name| name == "shared-1-1.noarch.rpm"));
    farm.wait_hub_says(held);
    honest_builder_goes_on(&mut farm, pid);
    assert!(!indexed(&farm).contains("<name>bbb<"), "a held result is not indexed");
    // Nor after a restart, when the index is derived from the folders.
    farm.hub().term(SOON);
    farm.start_hub();
    let last = quick(&farm, "last", "1");
    farm.drop_file(&last.srpm);
    farm.wait_finished(&last.file);
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>last<"));
    assert!(!indexed(&farm).contains("<name>bbb<"), "a held result is not indexed");
}
