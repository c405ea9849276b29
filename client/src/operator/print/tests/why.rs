//! `moji why` and `moji blocked`, exactly.

use serde_json::Value;

use super::super::json;
use super::screens::marked;
use super::*;

fn lack(capability: &str, from: Option<(&str, PackageState)>, text: &str) -> LackRow {
    let (from, state) = from.map(|(nvr, state)| (file(&format!("{nvr}.src.rpm")), state)).unzip();
    let (capability, text) = (line(capability), line(text));
    LackRow { capability, there: false, any: false, holds: 1, holds_all: 1, chain_s: 0, from, state, text }
}

/// A package that waits for three capabilities, one of which is published.
fn waits(style: &Style) -> String {
    let openssl = Some(("openssl-3.4.0-1", PackageState::Failed));
    let words = "perhaps from openssl-3.4.0-1, which failed 2 h ago (moji why openssl-3.4.0-1)";
    let lacks = [
        LackRow { holds: 17, ..lack("pkgconfig(openssl) >= 3", openssl, words) },
        LackRow { any: true, holds: 2, ..lack("a-devel", None, "nothing known would provide it") },
        LackRow { there: true, any: true, ..lack("b-devel", None, "is published in b-1-1/b-1-1.noarch.rpm") },
    ];
    let texts = [
        text(Topic::Why, "its log names what is missing; it goes on at once when that is published"),
        text(Topic::Next, "tried again all the same in 20 h; moji retry curl-8.11.0-1 tries it at once"),
    ];
    let mut deps = attempt(3, Some(Verdict::Deps));
    deps.reason = line("BuildRequires missing: pkgconfig(openssl) >= 3");
    let mut lost = attempt(4, Some(Verdict::Lost));
    lost.place = line("attempts/1795370190-7");
    why(style, &package("curl-8.11.0-1", PackageState::Deps), &texts, &lacks, &[deps, lost])
}

#[test]
fn why_says_what_is_lacked_who_would_provide_it_and_what_was_tried() {
    check(
        &waits(&terminal()),
        r"
curl-8.11.0-1
  state     waits for what no repository has yet, for 3 h 05 m
  why       its log names what is missing; it goes on at once when that is
            published
  lacks     pkgconfig(openssl) >= 3: perhaps from openssl-3.4.0-1, which failed
            2 h ago (moji why openssl-3.4.0-1); 16 others wait for it, too
            or a-devel: nothing known would provide it; 1 other waits for it,
            too
            or b-devel: is published in b-1-1/b-1-1.noarch.rpm
  attempts  3: deps on board7 after 12 m: BuildRequires missing:
            pkgconfig(openssl) >= 3
            4: lost on board7 after 12 m (logs in attempts/1795370190-7)
            2 attempts before: moji show curl-8.11.0-1
  next      tried again all the same in 20 h; moji retry curl-8.11.0-1 tries it
            at once
",
    );
    let colours = marked(&waits(&coloured()));
    for part in ["<bold>curl", "<green>or b-devel", "<yellow>4: lost on", "<dim>2 attempts before"] {
        assert!(colours.contains(part), "{part} in\n{colours}");
    }
}

#[test]
fn why_says_its_place_and_who_was_passed_over() {
    let texts = [
        text(Topic::Order, "number 12 of 300: line 3 of priority.txt"),
        text(Topic::Passed, "6 builders are at work, 2 of them may have it"),
        text(Topic::Passed, "b1, b2: its header rules armv5tel out"),
    ];
    let mut running = attempt(1, None);
    (running.ended_unix_s, running.seconds) = (0, 0);
    check(
        &why(&terminal(), &package("a-1-1", PackageState::Waiting), &texts, &[], &[running]),
        r"
a-1-1
  state     waits for a builder, for 3 h 05 m
  order     number 12 of 300: line 3 of priority.txt
  builders  6 builders are at work, 2 of them may have it
            b1, b2: its header rules armv5tel out
  attempts  1: runs on board7
",
    );
    let built = building("zlib-1.3-1", "board7", Phase::Build, 720, "gcc");
    check(
        &why(&terminal(), &built, &[], &[], &[attempt(2, Some(Verdict::Infra))]),
        r"
zlib-1.3-1
  state     being built on board7, build for 6 m, for 12 m
  attempts  2: infra on board7 after 12 m
            1 attempt before: moji show zlib-1.3-1
",
    );
}

fn cycle(members: &[&str], imports: &[&str], exact: bool, sure: bool) -> Cycle {
    let of = |topic, names: &[&str]| names.iter().map(|name| text(topic, name)).collect::<Vec<_>>();
    let row = CycleRow { members: members.len() as u32, imports: imports.len() as u32, exact, sure };
    Cycle { row, texts: [of(Topic::Member, members), of(Topic::Import, imports)].concat() }
}

fn scene() -> (BlockedRow, Vec<LackRow>, Vec<Cycle>) {
    let openssl = Some(("openssl-3.4.0-1", PackageState::Deps));
    let lacks = vec![
        LackRow {
            holds: 17,
            holds_all: 2_300,
            chain_s: 18_300,
            ..lack("pkgconfig(openssl) >= 3", openssl, "")
        },
        lack("perl(Foo::Bar)", None, ""),
    ];
    let cycles = vec![
        cycle(&["openssl-3.4.0-1", "perl-5.40-1"], &["perl-5.40-1"], true, true),
        cycle(&["ghc-9.8-1"], &["ghc-9.8-1"], true, true),
        cycle(&["a-1-1", "b-1-1"], &["a-1-1"], false, false),
    ];
    (BlockedRow { packages: 30, unnamed: 2, capabilities: 9, cycles: 4 }, lacks, cycles)
}

#[test]
fn blocked_is_a_table_of_what_is_missing_and_the_cycles_below_it() {
    let (row, lacks, cycles) = scene();
    check(
        &blocked(&terminal(), &row, &lacks, &cycles),
        r"
30 packages wait for 9 capabilities; of 2 no log names what is missing

CAPABILITY               HOLDS  IN ALL     CHAIN  PERHAPS FROM     WHICH IS
pkgconfig(openssl) >= 3     17    2300  5 h 05 m  openssl-3.4.0-1  deps
perl(Foo::Bar)               1       1            nothing known
and 7 more: moji blocked -n 9

cycle of 2 packages: each lacks another, as their logs say
  members   openssl-3.4.0-1, perl-5.40-1
  import    perl-5.40-1
            builds of these from elsewhere, put into repo/, break it; no fewer
            would

cycle of 1 package: it lacks what it builds itself, as its log says
  members   ghc-9.8-1
  import    ghc-9.8-1
            builds of these from elsewhere, put into repo/, break it; no fewer
            would

cycle of 2 packages: their headers look as if each needed another; not all were…
  members   a-1-1, b-1-1
  import    a-1-1
            builds of these from elsewhere, put into repo/, break it; fewer may
            do

and 1 more cycle
",
    );
    let none = BlockedRow { packages: 0, unnamed: 0, capabilities: 0, cycles: 0 };
    check(&blocked(&terminal(), &none, &[], &[]), "no package waits for a capability\n");
    let one = BlockedRow { packages: 1, unnamed: 0, capabilities: 1, cycles: 0 };
    assert!(blocked(&terminal(), &one, &lacks[1..], &[]).starts_with("1 package waits for 1 capability\n\n"));
}

#[test]
fn a_large_cycle_shows_its_first_members_on_a_terminal_and_all_to_a_program() {
    let names: Vec<String> = (0..40).map(|n| format!("p{n}-1-1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row = BlockedRow { packages: 40, unnamed: 0, capabilities: 0, cycles: 1 };
    let cycles = [cycle(&names, &names[..2], false, true)];
    let short = blocked(&terminal(), &row, &[], &cycles);
    assert!(short.contains("p29-1-1, and 10 more") && !short.contains("p30"), "{short}");
    assert!(blocked(&piped(), &row, &[], &cycles).contains("p38-1-1, p39-1-1\n"));
}

#[test]
fn as_json_all_of_it_has_stable_names() {
    let texts =
        [text(Topic::Why, "w"), text(Topic::Order, "o"), text(Topic::Passed, "p"), text(Topic::Next, "n")];
    let from = Some(("x-1-1", PackageState::Failed));
    let row = package("a-1-1", PackageState::Deps);
    let said = json::why(&row, &texts, &[lack("x(y)", from, "t"), lack("z", None, "")], &[attempt(1, None)]);
    assert_eq!(said.lines().count(), 1);
    let got: Value = serde_json::from_str(&said).unwrap();
    for (name, want) in [("why", "w"), ("order", "o"), ("passed_over", "p"), ("next", "n")] {
        assert_eq!(got[name], Value::from(vec![want]), "{name}");
    }
    assert_eq!((&got["package"]["state"], &got["attempts"][0]["number"]), (&"deps".into(), &1.into()));
    let want = r#"{"any":false,"capability":"x(y)","chain_s":0,"from":"x-1-1.src.rpm","holds":1,"holds_all":1,"state":"failed","text":"t","there":false}"#;
    assert_eq!(got["lacks"][0], serde_json::from_str::<Value>(want).unwrap());
    assert_eq!((&got["lacks"][1]["from"], &got["lacks"][1]["state"]), (&Value::Null, &Value::Null));
    let (row, _, cycles) = scene();
    check(&json::blocked(&row), "{\"packages\":30,\"unnamed\":2,\"capabilities\":9,\"cycles\":4}\n");
    check(
        &json::cycle(&cycles[0]),
        r#"
{"cycle":["openssl-3.4.0-1","perl-5.40-1"],"import":["perl-5.40-1"],"members":2,"imports":1,"exact":true,"sure":true}
"#,
    );
    assert!(json::lack(&lack("z", None, "")).starts_with("{\"capability\":\"z\",\"there\":false,"));
}
