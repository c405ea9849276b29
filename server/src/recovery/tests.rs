//! Recovery on a disk in memory, for each row of its table.

use moji_proto::PublicKey;

use super::*;
use crate::core::leases::Record;
use crate::core::view::Decision;
use crate::disk::memory::Memory;

/// Puts a committed result into `repo/`.
pub(crate) fn put_result(disk: &Memory, folders: &Folders, folder: &str, lease: LeaseId, srpm: &str) {
    let result = ResultJson {
        lease: lease.to_string(),
        srpm: srpm.into(),
        source: "a".into(),
        nvr: folder.into(),
        verdict: "success".into(),
        builder: "b1".into(),
        arch: "x86_64".into(),
        backend: "mock".into(),
        exit: "exit 0".into(),
        seconds: 1,
        committed_unix_s: 1,
        ..ResultJson::default()
    };
    let dir = folders.repo.join(folder);
    disk.create_dir(&dir).unwrap();
    disk.put(dir.join(result_json::FILE_NAME), &serde_json::to_vec(&result).unwrap());
}

fn id(counter: u32) -> LeaseId {
    LeaseId { incarnation: 7, counter }
}

fn grant(counter: u32, srpm: &str) -> Record {
    let srpm = FileName::new(srpm).unwrap();
    Record::Grant { lease: id(counter), srpm, builder: PublicKey([1; 32]), beside: None }
}

struct Site {
    disk: Memory,
    folders: Folders,
}

impl Site {
    fn with(records: &[Record]) -> Site {
        let (disk, folders) = Memory::with_folders();
        Journal::create(Arc::new(disk.clone()), folders.working.clone(), 7, records).unwrap();
        Site { disk, folders }
    }

    fn recover(&self, unix_s: u64) -> Recovered {
        let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
        recover(&shared, &self.folders, unix_s).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.disk.exists(Path::new(path)).unwrap()
    }
}

#[test]
fn a_lease_lives_while_its_srpm_is_in_working() {
    let site = Site::with(&[grant(1, "a.src.rpm"), grant(2, "b.src.rpm"), grant(3, "c.src.rpm")]);
    site.disk.put("working/a.src.rpm", b"x");
    site.disk.put("source/b.src.rpm", b"x");
    for lease in [1, 2, 9] {
        site.disk.create_dir(Path::new(&format!("working/.stage-7-{lease}"))).unwrap();
    }
    let past = site.recover(8).past;
    assert_eq!(past.live.keys().copied().collect::<Vec<_>>(), [id(1)]);
    assert!(past.ended[&id(2)].revivable && past.ended[&id(3)].revivable);
    assert!(past.orphans.is_empty());
    let stages = [1, 2, 9].map(|lease| site.has(&format!("working/.stage-7-{lease}")));
    assert_eq!(stages, [true, false, false], "only the stage of the live lease stays");
}

#[test]
fn a_committed_lease_is_finished_wherever_the_crash_came() {
    for srpm_at in ["working", "finished"] {
        for ended in [false, true] {
            let mut records = vec![grant(1, "a.src.rpm")];
            records.extend(ended.then_some(Record::End { lease: id(1), revivable: false }));
            let site = Site::with(&records);
            site.disk.put(format!("{srpm_at}/a.src.rpm"), b"x");
            put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
            let found = site.recover(8);
            assert!(site.has("finished/a.src.rpm") && !site.has("working/a.src.rpm"));
            assert!(found.past.live.is_empty() && found.past.orphans.is_empty());
            assert!(found.past.committed.contains(&id(1)) && !found.past.ended[&id(1)].revivable);
            assert_eq!(found.results.len(), 1);
        }
    }
}

#[test]
fn a_result_of_an_earlier_lease_does_not_finish_a_rebuild() {
    let records =
        [grant(1, "a.src.rpm"), Record::End { lease: id(1), revivable: false }, grant(2, "a.src.rpm")];
    let site = Site::with(&records);
    site.disk.put("working/a.src.rpm", b"x");
    put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
    assert_eq!(site.recover(8).past.live.keys().copied().collect::<Vec<_>>(), [id(2)]);
}

#[test]
fn both_leases_of_a_package_live_on_unless_one_is_committed() {
    let beside = |lease, main| match grant(lease, "a.src.rpm") {
        Record::Grant { lease, srpm, builder, .. } => {
            Record::Grant { lease, srpm, builder, beside: Some(id(main)) }
        }
        Record::End { .. } => unreachable!("it is a grant"),
    };
    for committed in [None, Some(1), Some(2)] {
        let site = Site::with(&[grant(1, "a.src.rpm"), beside(2, 1)]);
        site.disk.put("working/a.src.rpm", b"x");
        for lease in [1, 2] {
            site.disk.create_dir(Path::new(&format!("working/.stage-7-{lease}"))).unwrap();
        }
        if let Some(lease) = committed {
            put_result(&site.disk, &site.folders, "a-1-1", id(lease), "a.src.rpm");
        }
        // A second start finds what the first one wrote.
        let first = site.recover(8).past;
        let past = site.recover(9).past;
        assert_eq!((&first.live, &first.ended), (&past.live, &past.ended), "{committed:?}");
        let is_there = committed.is_none();
        let live: Vec<_> = past.live.iter().map(|(lease, grant)| (*lease, grant.beside)).collect();
        let want = if is_there { vec![(id(1), None), (id(2), Some(id(1)))] } else { Vec::new() };
        assert_eq!(live, want, "{committed:?}");
        assert_eq!((site.has("working/a.src.rpm"), site.has("finished/a.src.rpm")), (is_there, !is_there));
        for lease in [1, 2] {
            assert_eq!(site.has(&format!("working/.stage-7-{lease}")), is_there);
        }
    }
}

#[test]
fn files_without_a_lease_are_orphans_and_foreign_files_are_left_alone() {
    let site = Site::with(&[]);
    for file in ["a.src.rpm", "README", ".hidden.src.rpm"] {
        site.disk.put(Path::new("working").join(file), b"x");
    }
    let orphans = site.recover(8).past.orphans;
    assert_eq!(orphans.iter().map(FileName::as_str).collect::<Vec<_>>(), ["a.src.rpm"]);
    assert!(site.has("working/README"));
}

#[test]
fn a_name_in_both_folders_stays_twice_unless_it_is_one_file() {
    let site = Site::with(&[grant(1, "a.src.rpm")]);
    site.disk.put("source/a.src.rpm", b"new");
    site.disk.put("working/a.src.rpm", b"old");
    assert_eq!(site.recover(8).past.live.len(), 1);
    assert!(site.has("source/a.src.rpm") && site.has("working/a.src.rpm"));

    for lives in [true, false] {
        let records = [grant(1, "a.src.rpm")];
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let folders = Folders {
            source: at("source"),
            working: at("working"),
            finished: at("finished"),
            repo: at("repo"),
            state: at("state"),
        };
        for path in [&folders.source, &folders.working, &folders.finished, &folders.repo] {
            std::fs::create_dir(path).unwrap();
        }
        let disk: Arc<dyn Disk> = Arc::new(crate::disk::Real);
        let records = if lives { &records[..] } else { &[] };
        Journal::create(disk.clone(), folders.working.clone(), 7, records).unwrap();
        std::fs::write(folders.source.join("a.src.rpm"), "x").unwrap();
        std::fs::hard_link(folders.source.join("a.src.rpm"), folders.working.join("a.src.rpm")).unwrap();
        let past = recover(&disk, &folders, 8).unwrap().past;
        assert_eq!((past.live.len(), past.orphans.len()), (usize::from(lives), 0));
        assert_eq!(folders.working.join("a.src.rpm").exists(), lives);
        assert_eq!(folders.source.join("a.src.rpm").exists(), !lives);
    }
}

#[test]
fn the_incarnation_grows_whatever_the_clock_says_and_whatever_is_lost() {
    let site = Site::with(&[]);
    assert_eq!(site.recover(100).past.incarnation, 100);
    assert_eq!(site.recover(50).past.incarnation, 101, "the clock went back");
    let later = LeaseId { incarnation: 400, counter: 1 };
    put_result(&site.disk, &site.folders, "a-1-1", later, "a.src.rpm");
    site.disk.take("working/.leases");
    assert_eq!(site.recover(50).past.incarnation, 401, "the journal was deleted");
    let stored = journal::load(&site.disk, &site.folders.working).unwrap().incarnation;
    assert_eq!(stored, 401, "it is durable before it is used");
}

#[test]
fn results_that_nobody_can_read_are_somebody_elses() {
    let site = Site::with(&[]);
    put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
    for folder in ["repodata", "b-1-1", "c-1-1"] {
        site.disk.create_dir(&site.folders.repo.join(folder)).unwrap();
    }
    site.disk.put("repo/c-1-1/result.json", b"{");
    site.disk.put("repo/file", b"");
    let results = site.recover(8).results;
    assert_eq!(results.iter().map(|found| found.folder.as_str()).collect::<Vec<_>>(), ["a-1-1"]);
}

#[test]
fn recovery_cut_short_at_any_call_ends_the_same() {
    for calls in 0..40 {
        let site = Site::with(&[grant(1, "a.src.rpm"), grant(2, "b.src.rpm")]);
        site.disk.put("working/a.src.rpm", b"x");
        site.disk.put("working/b.src.rpm", b"x");
        put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
        site.disk.fail_after(calls);
        let shared: Arc<dyn Disk> = Arc::new(site.disk.clone());
        let _ = recover(&shared, &site.folders, 8);
        site.disk.crash(|n| (calls % 3).min(n - 1));
        let found = site.recover(8);
        assert!(site.has("finished/a.src.rpm") && !site.has("working/a.src.rpm"), "after {calls} calls");
        assert_eq!(found.past.live.keys().copied().collect::<Vec<_>>(), [id(2)]);
        assert!(found.past.orphans.is_empty());
    }
}

#[test]
fn what_an_operator_decided_has_the_last_word_over_the_result() {
    use crate::core::queue::Msg;
    use Decision::{Accepted, Refused, Retracted};
    let result = |folder: &str, held: bool, decided: Option<Decision>| {
        let site = Site::with(&[]);
        put_result(&site.disk, &site.folders, folder, id(1), "a-1-1.src.rpm");
        let dir = site.folders.repo.join(folder);
        if held {
            let file = dir.join(result_json::FILE_NAME);
            let json = String::from_utf8(site.disk.bytes(&file).unwrap()).unwrap();
            let json = json.replacen('{', "{\"held\":\"why\",", 1);
            site.disk.put(&file, json.as_bytes());
        }
        if let Some(decision) = decided {
            let decided = Decided { decision, who: "ann".into(), unix_s: 50, delete: !held };
            decision::write(&site.disk, &dir, &decided).unwrap();
        }
        site.recover(100).results.pop().unwrap()
    };
    for (held, decided, published) in [
        (false, None, true),
        (true, None, false),
        (true, Some(Accepted), true),
        (true, Some(Refused), false),
        (false, Some(Retracted), false),
        (true, Some(Retracted), false),
    ] {
        let found = result("a-1-1@2", held, decided);
        assert_eq!(found.published().is_some(), published, "{held} {decided:?}");
        assert_eq!(found.known().is_some(), published, "{held} {decided:?}");
        assert_eq!(found.since_unix_s(), if decided.is_some() { 50 } else { 1 });
        let is_to_delete = !held && decided == Some(Retracted);
        assert_eq!(found.to_delete().is_some(), is_to_delete, "{held} {decided:?}");
        let past = found.past(100);
        assert!(matches!(past, Some(Msg::Past { result, .. }) if result.folder == "a-1-1@2"));
    }
    // One that cannot be read decides nothing.
    let site = Site::with(&[]);
    put_result(&site.disk, &site.folders, "a-1-1", id(1), "a-1-1.src.rpm");
    site.disk.put(site.folders.repo.join("a-1-1").join(decision::FILE_NAME), b"{");
    assert_eq!(site.recover(100).results[0].decision, None);
}

#[test]
fn one_call_that_fails_is_told_or_changes_nothing_of_what_is_found() {
    let site = || {
        let site = Site::with(&[grant(1, "a.src.rpm"), grant(2, "b.src.rpm"), grant(3, "c.src.rpm")]);
        for srpm in ["a.src.rpm", "b.src.rpm", "d.src.rpm"] {
            site.disk.put(site.folders.working.join(srpm), b"x");
        }
        for lease in [2, 3] {
            site.disk.create_dir(&site.folders.working.join(format!("{STAGE_PREFIX}7-{lease}"))).unwrap();
        }
        put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
        put_result(&site.disk, &site.folders, "e-1-1", id(4), "e.src.rpm");
        let decided = Decided { decision: Decision::Retracted, who: "ann".into(), unix_s: 50, delete: false };
        decision::write(&site.disk, &site.folders.repo.join("e-1-1"), &decided).unwrap();
        site
    };
    let told = |found: &Recovered| {
        let Past { live, ended, committed, orphans, .. } = &found.past;
        (live.clone(), ended.clone(), committed.clone(), orphans.clone(), found.results.clone())
    };
    let want = told(&site().recover(8));
    assert_eq!((want.0.len(), want.3.len(), want.4.len()), (1, 1, 2));
    let mut failed = 0;
    for call in 0.. {
        let site = site();
        site.disk.fail_one(call);
        let shared: Arc<dyn Disk> = Arc::new(site.disk.clone());
        let found = recover(&shared, &site.folders, 8);
        let is_over = !site.disk.has_failed();
        site.disk.heal();
        match found {
            Ok(found) => assert_eq!(told(&found), want, "call {call}"),
            Err(_) => failed += 1,
        }
        // The next start finds the same, whatever this one did.
        let again = told(&site.recover(9));
        assert_eq!((&again.0, &again.3, &again.4), (&want.0, &want.3, &want.4), "call {call}");
        assert!(site.has("finished/a.src.rpm") && !site.has("working/a.src.rpm"));
        assert_eq!((site.has("working/.stage-7-2"), site.has("working/.stage-7-3")), (true, false));
        if is_over {
            break;
        }
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn result_that_is_too_large_is_nobodys() {
    let site = Site::with(&[]);
    put_result(&site.disk, &site.folders, "a-1-1", id(1), "a.src.rpm");
    let path = site.folders.repo.join("a-1-1").join(result_json::FILE_NAME);
    let mut bytes = site.disk.bytes(&path).unwrap();
    for (size, found) in [(RESULT_JSON_BYTES_MAX, 1), (RESULT_JSON_BYTES_MAX + 1, 0)] {
        bytes.resize(size as usize, b' ');
        site.disk.put(&path, &bytes);
        assert_eq!(site.recover(8).results.len(), found, "{size}");
    }
}

#[test]
fn attempts_are_read_by_lease_and_what_is_unreadable_is_left_out() {
    let site = Site::with(&[]);
    let state = &site.folders.state;
    assert_eq!(read_attempts(&site.disk, state), []);
    for folder in ["", "7-1", "7-2", "7-3", ".making-7-4", "else"] {
        site.disk.create_dir(&state.join("attempts").join(folder)).unwrap();
    }
    let json = |lease: &str| {
        let result = ResultJson { lease: lease.into(), ..ResultJson::default() };
        serde_json::to_vec(&result).unwrap()
    };
    for (folder, bytes) in
        [("7-1", json("7-1")), ("7-2", b"{".to_vec()), (".making-7-4", json("7-4")), ("else", json("7-5"))]
    {
        site.disk.put(state.join("attempts").join(folder).join(result_json::FILE_NAME), &bytes);
    }
    let read = read_attempts(&site.disk, state);
    assert_eq!(read.iter().map(|attempt| attempt.lease.as_str()).collect::<Vec<_>>(), ["7-1"]);
}

#[test]
fn queue_and_repo_are_told_what_a_result_says() {
    use crate::core::queue::{Msg, PastResult};
    use crate::result_json::ResultFile;
    use moji_proto::message::Verdict;
    let file = |name: &str, package: Option<&str>, is_source| ResultFile {
        name: name.into(),
        package: package.map(str::to_owned),
        is_source,
        ..ResultFile::default()
    };
    let result = ResultJson {
        srpm: "a-1-1.src.rpm".into(),
        source: "a".into(),
        verdict: "success".into(),
        reason: "why".into(),
        builder: "b1".into(),
        committed_unix_s: 40,
        files: vec![
            file("a-1-1.src.rpm", Some("a"), true),
            file("a-1-1.noarch.rpm", Some("a"), false),
            file("a-doc-1-1.noarch.rpm", Some("a-doc"), false),
            file("build.log", None, false),
        ],
        ..ResultJson::default()
    };
    let found = RepoResult { folder: "a-1-1@2".into(), result, decision: None };
    let published = found.published().unwrap();
    assert_eq!(published.folder, "a-1-1@2");
    let rpms: Vec<&str> = published.rpms.iter().map(FileName::as_str).collect();
    assert_eq!(rpms, ["a-1-1.src.rpm", "a-1-1.noarch.rpm", "a-doc-1-1.noarch.rpm"]);
    let Some(Msg::Known { folder, source, binaries }) = found.known() else { panic!("it is published") };
    assert_eq!((folder.as_str(), source.as_str()), ("a-1-1@2", "a"));
    assert_eq!(binaries, ["a", "a-doc"]);
    let Some(Msg::Past { srpm, result: past }) = found.past(100) else { panic!("a hub wrote it") };
    assert_eq!(srpm.as_str(), "a-1-1.src.rpm");
    let PastResult { folder, builder, verdict, reason, held, decision, ago_s } = past;
    assert_eq!((folder.as_str(), verdict, reason.as_str(), ago_s), ("a-1-1@2", Verdict::Success, "why", 60));
    assert_eq!((builder.unwrap().as_str(), held, decision), ("b1", None, None));

    let failed = ResultJson { verdict: "failed".into(), ..found.result.clone() };
    let failed = RepoResult { result: failed, ..found.clone() };
    assert!(failed.published().is_none() && failed.known().is_none());
    assert!(matches!(failed.past(40), Some(Msg::Past { result, .. }) if result.verdict == Verdict::Failed));
    let strange = ResultJson { verdict: "else".into(), ..found.result.clone() };
    assert!(RepoResult { result: strange, ..found }.past(40).is_none());
}

#[test]
fn results_come_in_the_order_of_what_they_are_and_builds_in_that_of_their_commits() {
    use crate::core::queue::Msg;
    let found = |folder: &str, committed_unix_s, decided: Option<u64>| RepoResult {
        folder: folder.into(),
        result: ResultJson {
            srpm: "a-1-1.src.rpm".into(),
            verdict: "success".into(),
            committed_unix_s,
            ..ResultJson::default()
        },
        decision: decided.map(|unix_s| Decided {
            decision: Decision::Accepted,
            who: "ann".into(),
            unix_s,
            delete: false,
        }),
    };
    let results = [
        found("a-1-1@10", 20, None),
        found("a-1-1@9", 20, None),
        found("a-1-1", 10, Some(30)),
        found("a-1-1@11", 25, Some(5)),
    ];
    let order: Vec<&str> = in_order(&results).iter().map(|found| found.folder.as_str()).collect();
    assert_eq!(order, ["a-1-1@9", "a-1-1@10", "a-1-1@11", "a-1-1"]);
    let told: Vec<(bool, String)> = for_queue(&results, 100)
        .into_iter()
        .map(|msg| match msg {
            Msg::Known { folder, .. } => (true, folder),
            Msg::Past { result, .. } => (false, result.folder),
            other => panic!("{other:?}"),
        })
        .collect();
    let known = order.iter().map(|folder| (true, (*folder).to_owned()));
    let past = ["a-1-1", "a-1-1@9", "a-1-1@10", "a-1-1@11"].map(|folder| (false, folder.to_owned()));
    assert_eq!(told, known.chain(past).collect::<Vec<_>>());
}
