//! What the repository will say of a result is made before its commit, and names the folder that it really has.

use super::*;

const NAMES: [&str; 3] = ["hello-1.0-1.noarch.rpm", "hello-1.0-1.src.rpm", "hello-lib-1.0-1.noarch.rpm"];

/// A lease whose result is whole and waits for a ruling.
fn sealed(hub: &mut Hub, id: LeaseId, session: SessionId, built: &Built) {
    hub.open(id, session, built);
    hub.take_sent();
    let mut builder = Builder::new(id, session, built.all());
    builder.announce(hub);
    builder.upload(hub);
    assert_eq!(hub.report().defect, None);
}

#[test]
fn each_rebuild_is_described_in_its_own_folder_also_when_it_waits_for_the_operator() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    for (counter, folder) in [(1, "hello-1.0-1"), (2, "hello-1.0-1@2"), (3, "hello-1.0-1@3")] {
        sealed(&mut hub, lease(counter), S1, &built);
        let held = (counter == 2).then(|| "look at it".to_owned());
        hub.rule(lease(counter), Ruling::Publish { held });
        hub.take_sent();
        assert_eq!(hub.described(folder), NAMES);
    }
}

#[test]
fn two_results_of_one_name_take_two_folders_whichever_is_committed_first() {
    let built = build("hello", "1.0");
    for order in [[1, 2], [2, 1]] {
        let mut hub = Hub::new();
        sealed(&mut hub, lease(1), S1, &built);
        sealed(&mut hub, lease(2), S2, &built);
        for counter in order {
            hub.rule(lease(counter), publish());
        }
        for (counter, folder) in [(1, "hello-1.0-1"), (2, "hello-1.0-1@2")] {
            assert_eq!(hub.json(folder).lease, lease(counter).to_string());
            assert_eq!(hub.described(folder), NAMES);
        }
    }
}

#[test]
fn name_of_a_result_that_came_to_nothing_is_free_again() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    sealed(&mut hub, lease(1), S1, &built);
    hub.rule(lease(1), Ruling::Return { verdict: Verdict::Infra, reason: "its disk".into() });
    assert_eq!(hub.list("repo"), Vec::<String>::new());
    sealed(&mut hub, lease(2), S1, &built);
    hub.tell(Msg::Close { lease: lease(2), why: "cancelled".into() });
    hub.work();
    sealed(&mut hub, lease(3), S1, &built);
    hub.rule(lease(3), publish());
    assert_eq!(hub.described("hello-1.0-1"), NAMES);
}

/// Somebody puts something of the name into `repo/` between the check and the commit.
#[test]
fn what_appears_under_its_name_is_left_alone_and_the_result_described_again_at_any_fault() {
    let built = build("hello", "1.0");
    let put: [fn(&std::path::Path); 3] = [
        |path| fs::create_dir(path).unwrap(),
        |path| fs::write(path, b"mine").unwrap(),
        |path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
    ];
    for put in put {
        for step in 0.. {
            let mut hub = Hub::new();
            sealed(&mut hub, lease(1), S1, &built);
            let theirs = hub.folders.repo.join("hello-1.0-1");
            put(&theirs);
            hub.faults.full_after.store(step, Ordering::Relaxed);
            hub.rule(lease(1), publish());
            let failed = !matches!(hub.leases.last(), Some(leases::Msg::Settled { .. }));
            hub.faults.full_after.store(u64::MAX, Ordering::Relaxed);
            if failed {
                // Before it is tried again, the next name is taken as well.
                put(&hub.folders.repo.join("hello-1.0-1@2"));
                hub.wait();
                hub.work();
            }
            let folder = if failed { "hello-1.0-1@3" } else { "hello-1.0-1@2" };
            assert_eq!(hub.described(folder), NAMES, "step {step}");
            let there = fs::symlink_metadata(&theirs).unwrap();
            assert!(!there.is_dir() || list(theirs).is_empty());
            assert_eq!(hub.published.last().map(|published| published.folder.as_str()), Some(folder));
            if !failed {
                assert!(step > 6, "the fault was never met");
                break;
            }
        }
    }
}
