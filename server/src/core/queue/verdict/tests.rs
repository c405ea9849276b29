//! One row for every row of MOCK.md and of DESIGN's table of verdicts.

use moji_proto::message::{Phase, Which};
use moji_proto::{Digest, FileName, Line};

use super::*;
use crate::core::types::StagedFile;
use crate::rpmfile::Nevra;

const BUILD: Which = Which::Build;
const ROOT: Which = Which::Root;
const STATE: Which = Which::State;
const MOCK: Which = Which::Mock;

fn nevra(name: &str, epoch: u32, release: &str, arch: &str) -> Nevra {
    let [name, version, release, arch] = [name, "1", release, arch].map(str::to_owned);
    Nevra { name, epoch, version, release, arch }
}

fn facts(kind: Kind, nevra: Nevra, source_rpm: Option<&str>) -> Facts {
    Facts {
        kind,
        nevra,
        source_rpm: source_rpm.map(str::to_owned),
        requires: Vec::new(),
        provides: Vec::new(),
        exclusive_arch: Vec::new(),
        exclude_arch: Vec::new(),
    }
}

fn staged(facts: Facts) -> StagedFile {
    let name = FileName::new(facts.nevra.file_name(facts.kind)).unwrap();
    StagedFile { name, size: 1, digest: Digest::of(b""), rpm: Some(facts), sha256: None }
}

fn source(release: &str) -> StagedFile {
    staged(facts(Kind::Source, nevra("a", 0, release, "src"), None))
}

fn binary(name: &str, arch: &str) -> StagedFile {
    staged(facts(Kind::Binary, nevra(name, 0, "1.dist", arch), Some("a-1-1.dist.src.rpm")))
}

fn log_file() -> StagedFile {
    let name = FileName::new("build.log").unwrap();
    StagedFile { name, size: 1, digest: Digest::of(b""), rpm: None, sha256: None }
}

fn report(exit: Exit, evidence: &[(Which, &str)]) -> Report {
    Report {
        source: nevra("a", 0, "1", "src"),
        exit,
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 7,
        oom_kills: 0,
        silence_s: 0,
        peak: Default::default(),
        evidence: evidence.iter().map(|(which, line)| (*which, Line::lossy(line))).collect(),
        files: vec![log_file()],
        defect: None,
    }
}

fn with(owners: &Owners, report: &Report, target: Option<&str>) -> Judgement {
    judge(report, &Context { target, builder_arch: "armv5tel", srpm: None, owners })
}

fn ruling(report: &Report) -> Ruling {
    with(&Owners::default(), report, Some("armv5tel")).ruling
}

fn verdict(ruling: &Ruling) -> Verdict {
    match ruling {
        Ruling::Publish { .. } => Verdict::Success,
        Ruling::Keep { verdict, .. } | Ruling::Return { verdict, .. } => *verdict,
        Ruling::Reject { .. } => Verdict::Failed,
    }
}

/// Exit, evidence and the verdict.
type Row = (Exit, &'static [(Which, &'static str)], Verdict);

const fn code(code: u8) -> Exit {
    Exit::Code(code)
}

const ROWS: &[Row] = &[
    // MOCK.md, the table, from top to bottom.
    (code(0), &[(STATE, "Finish: run")], Verdict::Failed),
    (code(1), &[(BUILD, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)")], Verdict::Failed),
    (code(10), &[(BUILD, "error: Bad exit status from /var/tmp/rpm-tmp.x (%check)")], Verdict::Failed),
    (code(1), &[(BUILD, "error: line 12: Unknown tag: Foo")], Verdict::Failed),
    (code(1), &[(BUILD, "error: Architecture is not included: armv5tel")], Verdict::Excluded),
    (code(1), &[(BUILD, "error: Architecture is excluded: armv5tel")], Verdict::Excluded),
    (code(1), &[(BUILD, "error: No compatible architectures found for build")], Verdict::Excluded),
    (code(247), &[(ROOT, "Child return code was: -9")], Verdict::Memory),
    (code(247), &[], Verdict::Memory),
    (code(30), &[(ROOT, "Error: No matching package to install: 'pkga(api) >= 1'")], Verdict::Deps),
    (code(30), &[(ROOT, " - nothing provides libx.so.1 needed by y-1-1.armv5tel")], Verdict::Deps),
    (code(30), &[(ROOT, "Error: Failed to download metadata for repo 'base'")], Verdict::Infra),
    (code(30), &[(ROOT, "Error: Error downloading packages:")], Verdict::Infra),
    (code(30), &[(ROOT, "At least 12MB more space needed on the / filesystem.")], Verdict::Infra),
    (code(30), &[(ROOT, "something nobody has seen")], Verdict::Infra),
    (Exit::Silent(60), &[(BUILD, "cc1: Cannot allocate memory")], Verdict::Timeout),
    (Exit::TooLong(60), &[(BUILD, "x: No space left on device")], Verdict::Timeout),
    (code(11), &[(MOCK, "ERROR: Timeout(8) expired for command: rpmbuild")], Verdict::Timeout),
    (code(1), &[(MOCK, "ERROR: Cannot find/open srpm: /x/a.src.rpm. Error: [Errno 2]")], Verdict::Infra),
    (code(50), &[], Verdict::Infra),
    (code(3), &[(MOCK, "ERROR: Could not find required config file")], Verdict::Infra),
    (code(70), &[], Verdict::Infra),
    (code(60), &[(MOCK, "Build root is locked by another process.")], Verdict::Infra),
    (code(10), &[(MOCK, "ERROR: builddep command missing.")], Verdict::Infra),
    (code(7), &[(BUILD, "error: interrupted")], Verdict::Infra),
    (code(129), &[], Verdict::Infra),
    (code(143), &[(BUILD, "error: Bad exit status from /var/tmp/x (%build)")], Verdict::Infra),
    (Exit::Signal(15), &[], Verdict::Infra),
    // What running out of memory looks like.
    (code(1), &[(BUILD, "gcc: fatal error: Killed signal terminated program cc1")], Verdict::Memory),
    (code(1), &[(BUILD, "g++: fatal error: Killed signal terminated program cc1plus")], Verdict::Memory),
    (code(1), &[(BUILD, "collect2: fatal error: ld terminated with signal 9 [Killed]")], Verdict::Memory),
    (code(1), &[(BUILD, "make[1]: *** [Makefile:10: x.o] Killed")], Verdict::Memory),
    (code(1), &[(BUILD, "/var/tmp/rpm-tmp.X: line 40: 13088 Killed  sleep 30")], Verdict::Memory),
    (code(1), &[(BUILD, "virtual memory exhausted: Cannot allocate memory")], Verdict::Memory),
    (code(1), &[(BUILD, "cc1: out of memory allocating 65536 bytes")], Verdict::Memory),
    (code(1), &[(BUILD, "x.so: failed to map segment from shared object")], Verdict::Memory),
    (code(30), &[(ROOT, "Child return code was: -9")], Verdict::Memory),
    (code(30), &[(ROOT, "Out of memory allocating 1048576 bytes!")], Verdict::Memory),
    // DESIGN's table: what goes before what, and the codes that MOCK.md has no row for.
    (
        code(1),
        &[
            (BUILD, "ld: final link failed: No space left on device"),
            (BUILD, "error: Bad exit status from x"),
        ],
        Verdict::Infra,
    ),
    (code(10), &[(BUILD, "cp: error writing 'x': Input/output error")], Verdict::Infra),
    (code(1), &[(ROOT, "OSError: [Errno 30] Read-only file system: '/x'")], Verdict::Infra),
    (
        code(30),
        &[(ROOT, "Cannot download x.rpm: All mirrors were tried"), (ROOT, "nothing provides y needed by z")],
        Verdict::Infra,
    ),
    (code(20), &[], Verdict::Infra),
    (code(40), &[], Verdict::Infra),
    (code(80), &[], Verdict::Infra),
    (code(90), &[], Verdict::Infra),
    (code(2), &[(BUILD, "error: x")], Verdict::Infra),
    (code(1), &[], Verdict::Infra),
    (code(1), &[(ROOT, "No matching package to install: 'x'")], Verdict::Infra),
    (Exit::NotStarted, &[(MOCK, "mock: No such file or directory")], Verdict::Infra),
];

#[test]
fn every_row_of_the_tables_ends_in_the_verdict_they_name() {
    for (exit, evidence, want) in ROWS {
        assert_eq!(verdict(&ruling(&report(*exit, evidence))), *want, "{exit:?} {evidence:?}");
    }
}

#[test]
fn only_what_nobody_knows_has_a_signature() {
    for (exit, evidence, known) in [
        (code(143), &[][..], false),
        (code(1), &[(MOCK, "ERROR: Cannot find/open srpm")], false),
        (code(30), &[(ROOT, "riddle")], false),
        (code(30), &[(ROOT, "Curl error (7)")], true),
        (code(60), &[], true),
        (code(1), &[(BUILD, "error: x")], true),
    ] {
        let judgement = with(&Owners::default(), &report(exit, evidence), None);
        assert_eq!(judgement.signature.is_none(), known, "{exit:?} {evidence:?}");
    }
}

#[test]
fn a_signature_is_the_same_wherever_the_same_thing_happens() {
    let of = |line| with(&Owners::default(), &report(code(50), &[(MOCK, line)]), None).signature;
    assert_eq!(
        of("cannot open /var/lib/b1/job-17/x.spec at 0x7f01"),
        of("cannot open /home/j/9/x.spec at 0x7f22")
    );
    assert_ne!(of("cannot open x"), of("cannot close x"));
}

#[test]
fn the_unknown_is_shown_with_its_last_twenty_lines() {
    let lines: Vec<String> = (0..30).map(|n| format!("line-{n}.")).collect();
    let lines: Vec<(Which, &str)> = lines.iter().map(|line| (MOCK, line.as_str())).collect();
    let Ruling::Return { reason, .. } = ruling(&report(code(2), &lines)) else { panic!("not returned") };
    assert!(
        reason.contains("line-10.") && reason.contains("line-29.") && !reason.contains("line-9."),
        "{reason}"
    );
}

#[test]
fn missing_names_are_read_from_the_log() {
    for (line, want) in [
        ("Error: No matching package to install: 'pkga(api) >= 1'", &["pkga(api) >= 1"][..]),
        ("No match for argument: libfoo-devel", &["libfoo-devel"]),
        ("  - nothing provides libx.so.1(V 1) needed by y-1-1.noarch from base", &["libx.so.1(V 1)"]),
        ("package a requires b, but none of the providers can be installed", &[]),
    ] {
        let judgement = with(&Owners::default(), &report(code(30), &[(ROOT, line), (ROOT, line)]), None);
        assert_eq!(verdict(&judgement.ruling), Verdict::Deps, "{line}");
        let nothing_provides = line.contains("nothing provides");
        let want: Vec<String> = want.iter().map(|&name| name.to_owned()).collect();
        let (all, any) = if nothing_provides { (&[][..], &want[..]) } else { (&want[..], &[][..]) };
        assert_eq!((&judgement.wants.all[..], &judgement.wants.any[..]), (all, any), "{line}");
    }
}

#[test]
fn rpmbuild_without_mock_has_codes_of_its_own() {
    let needed =
        [(BUILD, "error: Failed build dependencies:"), (BUILD, "\tpkga(api) >= 1 is needed by b-1-1.src")];
    for (exit, evidence, want) in [
        (code(1), &needed[..], Verdict::Deps),
        (code(11), &needed, Verdict::Deps),
        (code(11), &[], Verdict::Deps),
        (Exit::TooLong(8), &needed[1..], Verdict::Timeout),
        (code(1), &[(BUILD, "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)")], Verdict::Failed),
        (code(1), &[(BUILD, "error: Architecture is not included: armv5tel")], Verdict::Excluded),
        (Exit::Signal(9), &[], Verdict::Memory),
        (code(60), &[(BUILD, "x")], Verdict::Infra),
        (Exit::NotStarted, &[], Verdict::Infra),
    ] {
        let report = Report { backend: Backend::Rpmbuild, ..report(exit, evidence) };
        let judgement = with(&Owners::default(), &report, None);
        assert_eq!(verdict(&judgement.ruling), want, "{exit:?} {evidence:?}");
        if evidence == &needed[..] {
            assert_eq!(judgement.wants.all, ["pkga(api) >= 1"]);
        }
    }
}

#[test]
fn a_reason_says_which_script_failed_in_the_same_words_and_what_it_said() {
    let bad = |script: &str| format!("error: Bad exit status from /var/tmp/rpm-tmp.eR3yqD ({script})");
    let (build, check) = (bad("%build"), bad("%check"));
    for (exit, lines, want) in [
        (1, &[&*build][..], "%build failed"),
        (
            1,
            &["make: *** [main.o] Error 1", "main.c:14:9: error: no such thing", &build, "RPM build errors:"],
            "%build failed: main.c:14:9: error: no such thing",
        ),
        (10, &["make: *** [check] Error 2", &check], "%check failed: make: *** [check] Error 2"),
        (1, &["error: Bad file: x: No such file"], "exit 1: error: Bad file: x: No such file"),
        (1, &["error: Bad exit status from x"], "exit 1: error: Bad exit status from x"),
        (1, &["error: Bad exit status from x (y)"], "exit 1: error: Bad exit status from x (y)"),
    ] {
        let evidence: Vec<_> = lines.iter().map(|line| (BUILD, *line)).collect();
        let Ruling::Keep { reason, .. } = ruling(&report(code(exit), &evidence)) else { panic!("{lines:?}") };
        assert_eq!(reason, want);
    }
}

#[test]
fn a_grown_oom_kill_counter_is_memory_unless_the_build_succeeded() {
    let failed = report(code(1), &[(BUILD, "error: Bad exit status from x (%build)")]);
    assert_eq!(verdict(&ruling(&Report { oom_kills: 1, ..failed })), Verdict::Memory);
    let good =
        Report { oom_kills: 1, files: vec![source("1.dist"), binary("a", "noarch")], ..report(code(0), &[]) };
    assert_eq!(ruling(&good), Ruling::Publish { held: None });
}

#[test]
fn a_header_that_rules_the_architecture_out_explains_a_silent_stop_only() {
    let mut header = facts(Kind::Source, nevra("a", 0, "1", "src"), None);
    header.exclusive_arch = vec!["x86_64".to_owned()];
    let owners = Owners::default();
    let context = Context { target: None, builder_arch: "armv5tel", srpm: Some(&header), owners: &owners };
    let silent = judge(&report(code(1), &[]), &context).ruling;
    assert_eq!(verdict(&silent), Verdict::Excluded);
    let own = report(code(1), &[(BUILD, "error: Bad exit status from x (%build)")]);
    assert_eq!(verdict(&judge(&own, &context).ruling), Verdict::Failed);
    let other = judge(&report(code(1), &[]), &Context { builder_arch: "x86_64", ..context });
    assert_eq!(verdict(&other.ruling), Verdict::Infra);
    header.exclusive_arch.clear();
    assert!(header_allows(&header, "armv5tel"));
    header.exclude_arch = vec!["armv5tel".to_owned()];
    assert!(!header_allows(&header, "armv5tel"));
}

#[test]
fn a_success_holds_only_what_belongs_to_the_leased_package() {
    let foreign = staged(facts(Kind::Binary, nevra("x", 0, "1", "noarch"), Some("x-1-1.src.rpm")));
    let orphan = staged(facts(Kind::Binary, nevra("x", 0, "1", "noarch"), None));
    let mut epoch = source("1.dist");
    let mut version = source("1.dist");
    epoch.rpm.as_mut().unwrap().nevra.epoch = 1;
    version.rpm.as_mut().unwrap().nevra.version = "2".to_owned();
    let arm = || binary("a", "armv5tel");
    let good = source("1.dist");
    for (files, want) in [
        (vec![good.clone(), arm(), log_file()], None),
        (vec![good.clone(), arm(), binary("a-doc", "noarch")], None),
        (vec![arm()], Some(RejectedWhy::Foreign)),
        (vec![epoch, arm()], Some(RejectedWhy::Foreign)),
        (vec![version, arm()], Some(RejectedWhy::Foreign)),
        (vec![good.clone(), good.clone(), arm()], Some(RejectedWhy::Duplicate)),
        (vec![good.clone(), arm(), foreign], Some(RejectedWhy::Foreign)),
        (vec![good.clone(), arm(), orphan], Some(RejectedWhy::Foreign)),
        (vec![good.clone(), arm(), arm()], Some(RejectedWhy::Duplicate)),
        (vec![good.clone(), binary("a", "x86_64")], Some(RejectedWhy::Arch)),
        (vec![source("2.dist"), arm()], Some(RejectedWhy::Foreign)),
    ] {
        let names: Vec<String> = files.iter().map(|file| file.name.to_string()).collect();
        let got = match ruling(&Report { files, ..report(code(0), &[]) }) {
            Ruling::Publish { held: None } => None,
            Ruling::Reject { why, .. } => Some(why),
            other => panic!("{names:?}: {other:?}"),
        };
        assert_eq!(got, want, "{names:?}");
    }
}

#[test]
fn without_a_target_the_first_result_fixes_one_and_must_not_be_of_two() {
    let owners = Owners::default();
    let of = |files: Vec<StagedFile>| with(&owners, &Report { files, ..report(code(0), &[]) }, None);
    assert_eq!(of(vec![source("1.dist"), binary("a", "armv7hl")]).arch.as_deref(), Some("armv7hl"));
    assert_eq!(of(vec![source("1.dist"), binary("a", "noarch")]).arch, None);
    let two = of(vec![source("1.dist"), binary("a", "armv7hl"), binary("b", "armv5tel")]);
    assert!(matches!(two.ruling, Ruling::Reject { why: RejectedWhy::Arch, .. }));
}

#[test]
fn a_binary_that_another_source_package_has_published_is_held() {
    let files = vec![source("1.dist"), binary("liba", "noarch")];
    let report = Report { files, ..report(code(0), &[]) };
    let owned_by = |source: &str| {
        let mut owners = Owners::default();
        owners.add("x-1-1", source, ["liba".to_owned()]);
        owners
    };
    let held = with(&owned_by("b"), &report, None).ruling;
    assert!(matches!(held, Ruling::Publish { held: Some(why) } if why.contains("liba from b")));
    assert_eq!(with(&owned_by("a"), &report, None).ruling, Ruling::Publish { held: None });
}

#[test]
fn a_defect_refuses_a_success_and_is_beside_the_point_of_a_failure() {
    let defect = Some((RejectedWhy::BadRpm, "a.rpm is damaged".to_owned()));
    let good = Report { defect: defect.clone(), files: vec![], ..report(code(0), &[]) };
    assert!(matches!(ruling(&good), Ruling::Reject { why: RejectedWhy::BadRpm, .. }));
    let bad = Report { defect, ..report(code(1), &[(BUILD, "error: x")]) };
    assert_eq!(verdict(&ruling(&bad)), Verdict::Failed);
}
