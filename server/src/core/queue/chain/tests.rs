//! Chains, against a model that follows every way.

use std::collections::BTreeSet;

use moji_proto::PublicKey;

use super::*;
use crate::rpmfile::{Capability, Kind, Nevra};

fn facts(name: &str, requires: &[&str]) -> Facts {
    let [name, version, release, arch] = [name, "1", "1", "src"].map(str::to_owned);
    let capability = |name: &&str| Capability { name: (*name).to_owned(), flags: 0, evr: String::new() };
    Facts {
        kind: Kind::Source,
        nevra: Nevra { name, epoch: 0, version, release, arch },
        source_rpm: None,
        requires: requires.iter().map(capability).collect(),
        provides: Vec::new(),
        exclusive_arch: Vec::new(),
        exclude_arch: Vec::new(),
    }
}

fn file(name: &str) -> FileName {
    FileName::new(format!("{name}-1-1.src.rpm")).unwrap()
}

/// A graph of these packages, all of which take as many seconds as said.
fn chain(packages: &[(&str, u32, &[&str])], owners: &Owners) -> (Chain, Times) {
    let (mut chain, mut times) = (Chain::default(), Times::default());
    for (name, seconds, requires) in packages {
        chain.enter(&file(name), &facts(name, requires), 100, owners);
        if *seconds > 0 {
            times.built(name, PublicKey([1; 32]), *seconds, 0);
        }
    }
    chain.look(Time(0), &times);
    (chain, times)
}

fn place(chain: &Chain, name: &str) -> (u64, u64, u32) {
    let Place { chain_s, own_s, blocked, .. } = chain.place(&file(name));
    (chain_s, own_s, blocked)
}

#[test]
fn a_source_is_guessed_from_what_it_provides() {
    for (capability, want) in [
        ("foo", "foo"),
        ("foo-bar-devel", "foo-bar-devel foo-bar foo"),
        ("a-b-c-d-e-f", "a-b-c-d-e-f a-b-c-d-e a-b-c-d a-b-c a-b"),
        ("-devel", "-devel"),
        ("/usr/bin/make", "make"),
        ("foo(x86-64)", "foo"),
        ("pkga(api)", "pkga"),
        ("pkgconfig(glib-2.0)", "glib-2.0 libglib-2.0 glib libglib glib-2.0 glib-2.0 glib"),
        ("perl(Foo::Bar)", "perl-Foo-Bar"),
        ("python3dist(six)", "python-six python3-six six"),
        ("python3.9dist(a.b)", "python-a-b python3-a-b a-b"),
        ("rubygem(rake)", "rubygem-rake"),
        ("libfoo.so.1()(64bit)", "libfoo foo"),
        ("", ""),
        ("(", ""),
    ] {
        assert_eq!(sources_of(capability).join(" "), want, "{capability}");
    }
}

#[test]
fn what_others_wait_for_comes_before_them_with_all_their_time() {
    let mut owners = Owners::default();
    owners.add("tool-1-1", "kit", ["hammer".to_owned()]);
    let packages: [(&str, u32, &[&str]); 7] = [
        ("base", 10, &["nowhere"]),
        ("kit", 20, &["base-devel"]),
        ("lib", 30, &["pkgconfig(base) >= 1"]),
        ("app", 40, &["hammer", "lib-devel", "kit"]),
        // A circle, and one behind it that nobody has built.
        ("egg", 1, &["hen"]),
        ("hen", 2, &["egg", "egg-devel"]),
        ("chick", 0, &["(egg or zzz)"]),
    ];
    let (mut chain, times) = chain(&packages, &owners);
    let places = packages.map(|(name, ..)| place(&chain, name));
    let unknown = 40;
    let circle = 3 + unknown;
    let want = [
        (80, 10, 0),
        (60, 20, 1),
        (70, 30, 1),
        (40, 40, 2),
        (circle, 1, 1),
        (circle, 2, 1),
        (unknown, unknown, 1),
    ];
    assert_eq!(places, want);
    // The way of the longest chain, once around a circle at most; and what is in the way.
    let names = |of: Vec<&FileName>| -> Vec<String> {
        of.iter().map(|one| one.as_str().split('-').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names(chain.longest(&file("base"))), ["base", "lib", "app"]);
    assert_eq!(names(chain.longest(&file("egg"))), ["egg", "hen"]);
    assert_eq!(names(chain.longest(&file("nobody"))), [""; 0]);
    assert_eq!(names(chain.first(&file("app"))), ["kit", "lib"]);
    assert_eq!(names(chain.first(&file("base"))), [""; 0]);
    // What is built blocks no longer, at once.
    assert_eq!(chain.leave(&file("base")), [file("kit"), file("lib")]);
    assert_eq!(chain.leave(&file("kit")), [] as [FileName; 0]);
    assert_eq!(chain.leave(&file("kit")), [] as [FileName; 0]);
    assert_eq!(chain.leave(&file("lib")), [file("app")]);
    assert_eq!(place(&chain, "app"), (40, 40, 0));
    // What a log missed blocks too.
    chain.missed(&file("app"), &["chick(api) = 2".to_owned()], &owners);
    chain.look(Time(3), &times);
    assert_eq!([place(&chain, "app"), place(&chain, "chick")], [(40, 40, 1), (80, unknown, 1)]);
    assert_eq!(chain.look(Time(1_000), &times), [] as [FileName; 0], "nothing changed");
}

#[test]
fn many_packages_are_not_looked_at_all_the_time() {
    let (mut chain, times) = (Chain::default(), Times::default());
    for n in 0..1_000 {
        chain.enter(&file(&format!("p{n}")), &facts(&format!("p{n}"), &[]), 100, &Owners::default());
    }
    assert_eq!(chain.look(Time(5), &times).len(), 1_000);
    chain.enter(&file("late"), &facts("late", &[]), 100, &Owners::default());
    assert_eq!(chain.look(Time(1_604), &times).len(), 0);
    assert_eq!(chain.look(Time(1_605), &times), [file("late")]);
}

#[test]
fn chains_are_those_that_a_look_along_every_way_finds() {
    let mut dice = 7_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    for round in 0..300 {
        let count = 1 + roll(9);
        let names: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
        let own: Vec<u32> = (0..count).map(|_| 1 + roll(20) as u32).collect();
        let needs: Vec<BTreeSet<usize>> =
            (0..count).map(|_| (0..roll(3)).map(|_| roll(count)).collect()).collect();
        let (mut chain, mut times) = (Chain::default(), Times::default());
        for n in 0..count {
            let requires: Vec<&str> = needs[n].iter().map(|need| names[*need].as_str()).collect();
            chain.enter(&file(&names[n]), &facts(&names[n], &requires), 100, &Owners::default());
            times.built(&names[n], PublicKey([1; 32]), own[n], 0);
        }
        chain.look(Time(0), &times);
        // Whom each reaches, itself too.
        let mut reach: Vec<BTreeSet<usize>> = (0..count).map(|n| BTreeSet::from([n])).collect();
        for _ in 0..count {
            for behind in 0..count {
                for first in &needs[behind] {
                    let all = reach[behind].clone();
                    reach[*first].extend(all);
                }
            }
        }
        let circle = |n: usize| {
            (0..count).filter(|m| reach[n].contains(m) && reach[*m].contains(&n)).collect::<Vec<_>>()
        };
        fn longest(
            n: usize,
            circle: &dyn Fn(usize) -> Vec<usize>,
            needs: &[BTreeSet<usize>],
            own: &[u32],
        ) -> u32 {
            let together = circle(n);
            let behind = (0..own.len())
                .filter(|m| !together.contains(m) && needs[*m].iter().any(|one| together.contains(one)));
            together.iter().map(|m| own[*m]).sum::<u32>()
                + behind.map(|m| longest(m, circle, needs, own)).max().unwrap_or(0)
        }
        for n in 0..count {
            let want = (u64::from(longest(n, &circle, &needs, &own)), u64::from(own[n]));
            let blocked = needs[n].iter().filter(|need| **need != n).count() as u32;
            assert_eq!(
                place(&chain, &names[n]),
                (want.0, want.1, blocked),
                "round {round}, {n}: {needs:?} {own:?}"
            );
        }
    }
}

#[test]
fn a_look_in_pieces_comes_to_the_same_whatever_comes_and_goes_meanwhile() {
    let mut dice = 11_u64;
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    for round in 0..200 {
        let (mut chain, mut times) = (Chain::default(), Times::default());
        // What is there, and where the order has it: only that the look tells.
        let mut there: BTreeMap<String, Facts> = BTreeMap::new();
        let mut order: BTreeMap<FileName, (u64, bool)> = BTreeMap::new();
        let of = |chain: &Chain, name: &FileName| {
            let Place { chain_s, blocked, .. } = chain.place(name);
            (chain_s, blocked == 0)
        };
        let mut pieces = 0;
        for _ in 0..300 {
            let told = match roll(4) {
                0 => {
                    let name = format!("p{}", roll(12));
                    let needs: Vec<String> = (0..roll(4)).map(|_| format!("p{}", roll(12))).collect();
                    let facts = facts(&name, &needs.iter().map(String::as_str).collect::<Vec<_>>());
                    chain.enter(&file(&name), &facts, 100, &Owners::default());
                    there.entry(name.clone()).or_insert(facts);
                    vec![file(&name)]
                }
                1 => {
                    let name = format!("p{}", roll(12));
                    there.remove(&name);
                    order.remove(&file(&name));
                    chain.leave(&file(&name))
                }
                2 => {
                    times.built(&format!("p{}", roll(12)), PublicKey([1; 32]), 1 + roll(50) as u32, 0);
                    chain.touch();
                    Vec::new()
                }
                _ => {
                    chain.begin_if_due(Time(u64::MAX), &times);
                    pieces += 1;
                    chain.go_on(&times, 1 + roll(60))
                }
            };
            order.extend(told.into_iter().map(|name| (name.clone(), of(&chain, &name))));
        }
        assert!(pieces > 10);
        while chain.is_under_way() {
            let told = chain.go_on(&times, 1 + roll(60));
            order.extend(told.into_iter().map(|name| (name.clone(), of(&chain, &name))));
        }
        // Whatever was told is all that has moved.
        let want: BTreeMap<FileName, (u64, bool)> =
            there.keys().map(|name| (file(name), of(&chain, &file(name)))).collect();
        assert_eq!(order, want, "round {round}");
        // Once nothing changes any more, it is what one look finds that was there from the start.
        chain.touch();
        chain.hurry();
        chain.look(Time(0), &times);
        let mut fresh = Chain::default();
        for (name, facts) in &there {
            fresh.enter(&file(name), facts, 100, &Owners::default());
        }
        fresh.look(Time(0), &times);
        for name in there.keys() {
            assert_eq!(chain.place(&file(name)), fresh.place(&file(name)), "round {round}: {name}");
            assert_eq!(
                chain.circle(&file(name)).len(),
                fresh.circle(&file(name)).len(),
                "round {round}: {name}"
            );
        }
        assert!(chain.nodes.len() < 60, "numbers are given again: {}", chain.nodes.len());
    }
}

/// `cargo test --release -p moji-server --lib queue::chain::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn figures() {
    use std::time::Instant;
    let (mut chain, mut times) = (Chain::default(), Times::default());
    let timed = |what: &str, times: u32, run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        println!("{what}: {:?} each", start.elapsed() / times);
    };
    let names: Vec<String> = (0..25_000).map(|n| format!("package-{n}")).collect();
    // Fifteen BuildRequires each, the half of them on what comes before, some of them in two words more.
    let requires = |n: usize| -> Vec<String> {
        let need = |i: usize| match i % 3 {
            0 => format!("package-{}-libs-devel", n.saturating_sub(1 + i * i * 7)),
            1 => format!("pkgconfig(package-{})", (n / (i + 1)).saturating_sub(1)),
            _ => format!("mainline-{i}-devel"),
        };
        (0..15).map(need).collect()
    };
    let all: Vec<Facts> = (0..names.len())
        .map(|n| {
            let requires = requires(n);
            facts(&names[n], &requires.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    timed("a package enters", 25_000, &mut || {
        for (name, facts) in names.iter().zip(&all) {
            chain.enter(&file(name), facts, 100, &Owners::default());
        }
    });
    names.iter().for_each(|name| times.built(name, PublicKey([1; 32]), 300, 0));
    timed("a look at 25,000", 1, &mut || drop(chain.look(Time(0), &times)));
    println!(
        "  {} packages are behind another, longest chain {} s",
        chain.places.iter().filter(|place| place.blocked > 0).count(),
        chain.places.iter().map(|place| place.chain_s).max().unwrap()
    );
    timed("a package leaves", 1_000, &mut || {
        names[..1_000].iter().for_each(|name| drop(chain.leave(&file(name))));
    });
    timed("the next look", 1, &mut || drop(chain.look(Time(40_000), &times)));
    chain.touch();
    let (mut now, mut pieces, mut longest) = (Time(100_000), 0, std::time::Duration::ZERO);
    loop {
        let start = Instant::now();
        drop(chain.piece(now, &times));
        (pieces, longest) = (pieces + 1, longest.max(start.elapsed()));
        chain.plan(now);
        match chain.again() {
            Some(at) => now = at,
            None => break,
        }
    }
    println!("a look in {pieces} pieces, the longest {longest:?}");
}
