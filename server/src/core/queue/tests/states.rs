//! Every pair of states.

use super::*;
use crate::core::queue::package::{Hold, Leased};
use crate::testshare::share_of;

fn all() -> Vec<(&'static str, State)> {
    let builder = key(1);
    let leased = Leased::of(lease(1), builder, Time(0));
    vec![
        ("gone", State::Gone),
        ("unusable", State::Unusable { why: String::new() }),
        ("waiting", State::Waiting),
        ("held", State::Held(Hold::Duplicate { of: file("a") })),
        ("claimed", State::Claimed { builder }),
        ("leased", State::Leased(leased)),
        ("retiring", State::Retiring),
        ("finished", State::Finished),
        ("returning", State::Returning { until: Time(1) }),
    ]
}

#[test]
fn a_package_goes_only_where_it_may() {
    // One line a state; a cross a state it may become, in the order of `all`.
    let table = [
        "gone      x x x x . x x x .",
        "unusable  x x x x . x x x .",
        "waiting   x x x x x x x x .",
        "held      x x x x . x x x .",
        "claimed   x . x x . x x x .",
        "leased    x . x x . x x x .",
        "retiring  x x x x . x x x .",
        "finished  x x x x . x . x x",
        "returning x x x x . x x x .",
    ];
    for (row, (name, from)) in table.iter().zip(all()) {
        let mut cells = row.split_whitespace();
        assert_eq!(cells.next(), Some(name));
        for (cell, (to_name, to)) in cells.zip(all()) {
            assert_eq!(from.may_become(&to), cell == "x", "{name} to {to_name}");
        }
    }
}

/// All that can be said about one package, whatever state it is in.
fn messages() -> Vec<Msg> {
    let (srpm_name, builder, lease) = (file("a"), key(1), lease(1));
    let mut replaced = srpm("a");
    replaced.size += 1;
    let ended = |end| Msg::Ended { srpm: file("a"), lease, builder, end };
    let failed = |why| Msg::ClaimFailed { srpm: file("a"), builder, why };
    let mut all = vec![
        Msg::Appeared { srpm: srpm_name.clone(), facts: srpm("a") },
        Msg::Appeared { srpm: srpm_name.clone(), facts: replaced },
        Msg::Unusable { srpm: srpm_name.clone(), why: "no".to_owned() },
        Msg::Vanished { srpm: srpm_name.clone() },
        Msg::FinishedChanged { srpm: srpm_name.clone(), present: true },
        Msg::FinishedChanged { srpm: srpm_name.clone(), present: false },
        Msg::Granted { srpm: srpm_name.clone(), lease, builder, beside: false },
        Msg::Granted { srpm: srpm_name.clone(), lease: self::lease(2), builder: key(2), beside: true },
        Msg::Charged { srpm: srpm_name.clone(), attempts: vec![(Verdict::Lost, String::new()); 5] },
        failed(ClaimFailure::NoSuchFile),
        failed(ClaimFailure::Leased),
        failed(ClaimFailure::NoBuilder),
        ended(finished(Verdict::Success)),
        ended(End::Cancelled),
        ended(End::Taken),
        Msg::BuilderUp { session: SessionId(1), info: info(1) },
        Msg::Ready { builder },
        Msg::BuilderDown { builder },
        Msg::Published(News::default()),
        news("x"),
        Msg::FilesFound(Vec::new()),
        Msg::Mainline(std::sync::Arc::default()),
        Msg::Tick,
    ];
    for verdict in [Verdict::Infra, Verdict::Memory, Verdict::Deps, Verdict::Lost, Verdict::Released] {
        all.push(ended(End::Returned(verdict)));
    }
    for verdict in [Verdict::Success, Verdict::Infra, Verdict::Memory, Verdict::Deps, Verdict::Failed] {
        let report = report("a", verdict);
        all.push(Msg::Judge { srpm: file("a"), lease, builder, report });
    }
    all
}

#[test]
fn every_message_is_safe_after_every_two_others() {
    // `go` asserts that only listed states follow each other.
    let all = messages();
    let count = all.len();
    let triples = count.pow(3);
    let step = triples / share_of(triples as u64) as usize;
    for triple in (0..triples).step_by(step) {
        let mut rig = Rig::new();
        for number in [triple / count / count, triple / count % count, triple % count] {
            rig.tell(all[number].clone());
        }
    }
}
