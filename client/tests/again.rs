//! The whole builder, told that the repository of a build was not enough: it builds again at once.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, Hub, kill_9, lease, now_unix_s};
use moji_proto::message::{Exit, FromBuilder, ToBuilder, Verdict, Which};
use moji_proto::{LeaseId, Line};

/// Lacks something until the third run, and says what it was run with.
const BUILD: &str = "echo run $(wc -l < $B/runs) >> $R/root.log\n\
                     if [ $(wc -l < $B/runs) -lt 3 ]; then\n\
                       echo \"Error: No matching package to install: 'x'\" >> $R/root.log; touch $R/old; exit 30\n\
                     fi\n\
                     echo built > $R/a.rpm";

fn again(lease: LeaseId, place: &str) -> ToBuilder {
    ToBuilder::Again { lease, place: Line::lossy(place) }
}

fn adopted(lease: LeaseId) -> ToBuilder {
    ToBuilder::Adopted { lease, logs: [0; 4] }
}

#[test]
fn what_lacked_something_is_built_again_with_the_place_alone_and_then_with_all() {
    let bench = Bench::new(BUILD);
    let (hub, lease) = (Hub::new(), lease(1));
    let _client = bench.start(&hub.address(), &[]);
    let mut session = hub.accept();
    let FromBuilder::Register { setup, weak, .. } = session.recv() else { panic!("no Register") };
    assert_eq!((setup.as_str(), weak), ("install bash", false));
    session.send(&ToBuilder::Registered { time_unix_s: now_unix_s(), ping_s: 20, http_port: 6780, repos: 1 });
    session.send(&ToBuilder::Repo { place: Line::lossy("/repo/") });
    session.give(lease, b"an SRPM", &[]);
    for place in ["/thin/0f2e/", ""] {
        let results = session.results();
        assert_eq!(results.exit, Exit::Code(30));
        assert_eq!(results.evidence, ["Error: No matching package to install: 'x'"]);
        session.logs = Default::default();
        session.send(&again(lease, place));
    }
    let results = session.results();
    assert_eq!(results.exit, Exit::Code(0));
    let names: Vec<&str> = results.files.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["a.rpm", "mock.log", "root.log"], "nothing is left of the earlier builds");
    assert_eq!(session.logs[Which::Root as usize], b"run 3\n");
    let runs = bench.read("runs");
    let runs: Vec<&str> = runs.lines().collect();
    let alone =
        "--addrepo=http://127.0.0.1:6780/thin/0f2e/ --disablerepo=* --enablerepo=1270016780_thin_0f2e_ ";
    assert!(runs[1].contains(alone), "{runs:?}");
    for run in [runs[0], runs[2]] {
        assert!(run.contains("--addrepo=http://127.0.0.1:6780/repo/ --rebuild "), "{run}");
    }
    session.send(&ToBuilder::Accepted { lease, verdict: Verdict::Success });
    assert_eq!(session.recv(), FromBuilder::Ready);
}

#[test]
fn a_client_that_is_killed_on_the_way_to_another_build_comes_to_the_same_end() {
    for kill_after_ms in [0, 2, 5, 10, 20, 50] {
        let bench = Bench::new(BUILD);
        let (hub, lease) = (Hub::new(), lease(1));
        let client = bench.start(&hub.address(), &[]);
        let (mut session, _) = hub.registered(adopted);
        session.give(lease, b"an SRPM", &[]);
        session.results();
        session.send(&again(lease, "/thin/0f2e/"));
        std::thread::sleep(std::time::Duration::from_millis(kill_after_ms));
        kill_9(client.0.id() as i32);
        drop((client, session));

        let _client = bench.start(&hub.address(), &[]);
        let (mut session, held) = hub.registered(adopted);
        assert!(matches!(held[..], [FromBuilder::Held { .. }]), "{held:?}");
        // Until it succeeds it may say the former result once more, fetch the SRPM again, or go on building.
        loop {
            match session.recv() {
                FromBuilder::Fetch { offset, .. } => {
                    let bytes = moji_proto::Bytes(b"an SRPM".to_vec());
                    session.send(&ToBuilder::Data { lease, offset, bytes });
                }
                FromBuilder::Results { exit, files, evidence, .. } => {
                    (0..files + u32::from(evidence)).for_each(|_| drop(session.recv()));
                    if exit == Exit::Code(0) {
                        break;
                    }
                    assert_eq!(exit, Exit::Code(30), "after {kill_after_ms} ms");
                    session.logs = Default::default();
                    session.send(&again(lease, "/thin/0f2e/"));
                }
                other => panic!("{other:?} after {kill_after_ms} ms"),
            }
        }
        let last = bench.read("runs").lines().last().unwrap().to_owned();
        assert!(last.contains("--disablerepo=* --enablerepo="), "{last}");
        session.send(&ToBuilder::Accepted { lease, verdict: Verdict::Success });
        assert_eq!(session.recv(), FromBuilder::Ready);
        assert_eq!(bench.jobs(), Vec::<String>::new());
    }
}
