//! What is published and who waits for it, against a model that looks at everything every time.

use std::collections::BTreeMap;

use moji_proto::FileName;

use super::requirement::{EQUAL, GREATER, LESS};
use super::*;

fn nevra(name: &str) -> Nevra {
    let [name, version, release, arch] = [name, "1", "1", "noarch"].map(str::to_owned);
    Nevra { name, epoch: 0, version, release, arch }
}

fn capability(text: &str) -> Capability {
    match Requirement::parse(text) {
        Requirement::One(one) => one,
        rich => panic!("{rich}"),
    }
}

fn capabilities(texts: &[&str]) -> Vec<Capability> {
    texts.iter().map(|text| capability(text)).collect()
}

fn add(there: &mut Capabilities, name: &str, provides: &[&str], files: &[&str]) {
    let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
    there.add(&format!("{name}/{name}.rpm"), &nevra(name), &capabilities(provides), &files);
}

fn srpm(name: &str) -> FileName {
    FileName::new(format!("{name}-1-1.src.rpm")).unwrap()
}

#[test]
fn names_versions_files_and_rich_dependencies_are_answered() {
    let mut there = Capabilities::default();
    add(&mut there, "a", &["a = 1-1", "api(a) = 2", "liba.so.1(V 1)"], &["/usr/bin/a", "/etc/a.conf"]);
    add(&mut there, "b", &["any", "api(a) = 3"], &["/usr/share/b/told"]);
    use Answer::{AskFilelists, No, Yes};
    for (text, want, who) in [
        ("a", Yes, "a"),
        ("a = 1", Yes, "a"),
        ("a >= 2", No, ""),
        // No line of its own, but every package is itself.
        ("b = 1-1", Yes, "b"),
        ("api(a)", Yes, "a b"),
        ("api(a) >= 3", Yes, "b"),
        ("any = 7", Yes, "b"),
        ("liba.so.1(V 1)", Yes, "a"),
        ("liba.so.1(V 2)", No, ""),
        ("/usr/bin/a", Yes, "a"),
        ("/usr/bin/b", No, ""),
        ("/etc/b", No, ""),
        ("/usr/lib/sendmail", No, ""),
        ("/usr/share/b/told", Yes, "b"),
        ("/usr/share/b/other", AskFilelists, ""),
        ("/usr/share/b/other = 1", No, ""),
        ("(c or a)", Yes, "a"),
        ("(c or /usr/share/x)", AskFilelists, ""),
        ("(c and a)", No, "a"),
        ("(b and a)", Yes, "a b"),
        ("(a and /usr/share/x)", AskFilelists, "a"),
        ("(a if c)", Yes, "a"),
        ("(c if a)", No, ""),
        ("(a if c else d)", No, "a"),
        ("(a unless c else b)", Yes, "a b"),
        ("(api(a) >= 2 with api(a) < 3)", Yes, "a"),
        ("(a with any)", No, ""),
        ("(a with /usr/share/x)", AskFilelists, ""),
        ("(api(a) without any)", Yes, "a"),
        ("(any without api(a))", No, ""),
        ("(c without a)", No, ""),
        ("(c or", No, ""),
    ] {
        let requirement = Requirement::parse(text);
        assert_eq!(there.answer(&requirement), want, "{text}");
        let paths = there.who_provides(&requirement);
        let found: Vec<&str> = paths.iter().map(|path| path.split_once('/').unwrap().0).collect();
        assert_eq!(found.join(" "), who, "{text}");
    }
}

#[test]
fn what_is_removed_or_replaced_is_there_no_longer() {
    let mut there = Capabilities::default();
    let has = |there: &Capabilities, text: &str| there.provides(&Requirement::parse(text));
    add(&mut there, "a", &["x = 1"], &["/usr/bin/x"]);
    add(&mut there, "a", &["y = 1"], &[]);
    assert_eq!(
        (there.len(), has(&there, "x"), has(&there, "/usr/bin/x"), has(&there, "y = 1")),
        (1, false, false, true)
    );
    // Enough to be cleaned up several times, with others' versions staying what they were.
    for n in 0..1_000 {
        let name = format!("p{n}");
        add(&mut there, &name, &[&format!("v{n} = {n}-1"), "many"], &["/usr/bin/many"]);
        assert!(n % 3 == 0 || there.remove(&format!("{name}/{name}.rpm")));
        assert!(!there.remove("p/p.rpm"));
    }
    assert_eq!(there.len(), 335);
    for n in 0..1_000 {
        let exact = format!("v{n} = {n}");
        assert_eq!(has(&there, &exact), n % 3 == 0, "{exact}");
        assert!(!has(&there, &format!("v{n} > {n}-1")));
    }
    assert_eq!(there.who_provides(&Requirement::parse("/usr/bin/many")).len(), 334);
    assert!(there.gone.len() < GONE_MIN && there.files.len() <= 334 + GONE_MIN, "{there:?}");
}

#[test]
fn a_package_is_woken_by_what_completes_its_condition_and_once() {
    let mut farm = Farm::default();
    let requirements = |texts: &[&str]| texts.iter().map(|text| Requirement::parse(text)).collect::<Vec<_>>();
    let wait = |farm: &mut Farm, name, all: &[&str], any: &[&str]| {
        farm.waits.wait(&farm.there, srpm(name), requirements(all), requirements(any))
    };
    assert!(wait(&mut farm, "nothing", &[], &[]));
    assert!(!wait(&mut farm, "both", &["a", "b >= 2"], &["c", "d"]));
    assert!(!wait(&mut farm, "any", &[], &["c", "d"]));
    assert!(!wait(&mut farm, "file", &["/usr/share/f"], &[]));
    assert!(!wait(&mut farm, "rich", &["(mainline and r >= 2)"], &[]));
    assert!(!wait(&mut farm, "gone", &["d"], &[]));
    farm.waits.forget(&srpm("gone"));
    assert_eq!(farm.waits.files().collect::<Vec<_>>(), ["/usr/share/f"]);
    let check = |farm: &mut Farm, name: &str, provides: &[&str], files: &[&str], want: &[&str]| {
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let woken = farm.add(name, &capabilities(provides), &files);
        assert_eq!(woken, want.iter().map(|name| srpm(name)).collect::<Vec<_>>(), "{name}");
    };
    check(&mut farm, "a", &[], &[], &[]);
    check(&mut farm, "d", &[], &[], &["any"]);
    check(&mut farm, "b1", &["b = 1"], &[], &[]);
    check(&mut farm, "b2", &["b = 2"], &["/usr/share/f"], &["both", "file"]);
    check(&mut farm, "b3", &["b = 3"], &[], &[]);
    check(&mut farm, "r1", &["r = 1"], &[], &[]);
    check(&mut farm, "r2", &["r = 2"], &[], &["rich"]);
    assert!(farm.waits.is_empty() && farm.waits.by_name.is_empty());
    // There already: nobody waits.
    assert!(wait(&mut farm, "late", &["a"], &["zzz", "c", "b > 2"]));
    assert!(farm.waits.is_empty());
}

/// What the repo actor does.
#[derive(Default)]
struct Farm {
    there: Capabilities,
    waits: Waits,
}

impl Farm {
    fn add(&mut self, name: &str, provides: &[Capability], files: &[String]) -> Vec<FileName> {
        self.there.add(&format!("{name}/{name}.rpm"), &nevra(name), provides, files);
        self.waits.arrived(&self.there, &nevra(name), provides, files)
    }
}

/// A small generator (xorshift64*): the same seed tells the same story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}

/// Everything by name, looked at from the start for every question.
#[derive(Default)]
struct Model {
    packages: BTreeMap<String, (Vec<Capability>, Vec<String>)>,
    waiting: BTreeMap<FileName, (Vec<Requirement>, Vec<Requirement>)>,
}

impl Model {
    fn has(&self, wanted: &Capability) -> bool {
        self.packages.iter().any(|(name, (provides, files))| {
            let itself = own(&nevra(name));
            provides
                .iter()
                .chain([&itself])
                .any(|one| one.name == wanted.name && meets(wanted, one.flags, &one.evr))
                || (wanted.flags == 0 && files.contains(&wanted.name))
        })
    }

    fn is_over(&self, srpm: &FileName) -> bool {
        let (all, any) = &self.waiting[srpm];
        let has = |one: &Requirement| self.has(one.atoms()[0]);
        all.iter().all(has) && (any.is_empty() || any.iter().any(has))
    }
}

fn random_capability(dice: &mut Dice) -> Capability {
    let name = match dice.roll(4) {
        0 => ["/usr/bin/x", "/usr/share/y", "/etc/z"][dice.roll(3)].to_owned(),
        1 => format!("p{}", dice.roll(6)),
        _ => format!("c({})", dice.roll(10)),
    };
    let flags = [0, LESS, GREATER, EQUAL, LESS | EQUAL, GREATER | EQUAL][dice.roll(6)];
    let evr =
        if flags == 0 { String::new() } else { ["1", "2-1", "2-2", "1:1", "3~a"][dice.roll(5)].to_owned() };
    Capability { name, flags, evr }
}

#[test]
fn exactly_those_are_woken_whose_condition_has_become_true() {
    let mut woken_in_all = 0;
    for seed in 1..=60 {
        let mut dice = Dice(seed);
        let (mut farm, mut model) = (Farm::default(), Model::default());
        for step in 0..400 {
            let name = format!("p{}", dice.roll(40));
            let say = || format!("seed {seed}, step {step}, {name}");
            match dice.roll(10) {
                0..5 => {
                    let provides: Vec<Capability> =
                        (0..dice.roll(4)).map(|_| random_capability(&mut dice)).collect();
                    let files: Vec<String> = (0..dice.roll(3))
                        .map(|n| ["/usr/bin/x", "/usr/share/y", "/etc/z"][n].to_owned())
                        .collect();
                    model.packages.insert(name.clone(), (provides.clone(), files.clone()));
                    let woken = farm.add(&name, &provides, &files);
                    let over: Vec<FileName> =
                        model.waiting.keys().filter(|srpm| model.is_over(srpm)).cloned().collect();
                    assert_eq!(woken, over, "{}", say());
                    over.iter().for_each(|srpm| drop(model.waiting.remove(srpm)));
                    woken_in_all += woken.len();
                }
                5 | 6 => {
                    let was = model.packages.remove(&name).is_some();
                    assert_eq!(farm.there.remove(&format!("{name}/{name}.rpm")), was, "{}", say());
                }
                7 => {
                    farm.waits.forget(&srpm(&name));
                    model.waiting.remove(&srpm(&name));
                }
                _ => {
                    let mut some = |most| {
                        (0..dice.roll(most))
                            .map(|_| Requirement::One(random_capability(&mut dice)))
                            .collect::<Vec<_>>()
                    };
                    let (all, any) = (some(3), some(4));
                    model.waiting.insert(srpm(&name), (all.clone(), any.clone()));
                    let over = model.is_over(&srpm(&name));
                    assert_eq!(farm.waits.wait(&farm.there, srpm(&name), all, any), over, "{}", say());
                    if over {
                        model.waiting.remove(&srpm(&name));
                    }
                }
            }
            assert_eq!((farm.there.len(), farm.waits.len()), (model.packages.len(), model.waiting.len()));
            let wanted = random_capability(&mut dice);
            assert_eq!(
                farm.there.provides(&Requirement::One(wanted.clone())),
                model.has(&wanted),
                "{wanted:?} {}",
                say()
            );
        }
    }
    assert!(woken_in_all > 500, "{woken_in_all}");
}

/// A distribution's worth of packages, `n` of them, as long as real ones: 8 provides and 10 files each.
fn synthetic(n: usize) -> (String, Nevra, Vec<Capability>, Vec<String>) {
    let (source, name) = (n / 3, format!("package{n}-subpackage"));
    let version = format!("{}.{}.{}", source % 17, source % 101, n % 7);
    let itself = Nevra {
        name: name.clone(),
        epoch: 0,
        version: version.clone(),
        release: "12.el9".to_owned(),
        arch: "aarch64".to_owned(),
    };
    let evr = format!("{version}-12.el9");
    let versioned =
        [format!("{name}(aarch-64)"), format!("pkgconfig({name})"), name.clone(), format!("config({name})")];
    let plain =
        ["", "-plugin", "-core", "-extra"].map(|part| format!("lib{name}{part}.so.{}()(64bit)", n % 9));
    let mut provides: Vec<Capability> =
        versioned.into_iter().map(|name| Capability { name, flags: EQUAL, evr: evr.clone() }).collect();
    provides.extend(plain.into_iter().map(|name| Capability { name, flags: 0, evr: String::new() }));
    let files = (0..10).map(|file| format!("/usr/bin/{name}-tool-number-{file}")).collect();
    let path = format!("package{source}-{evr}/{}", itself.file_name(crate::rpmfile::Kind::Binary));
    (path, itself, provides, files)
}

#[test]
fn twenty_five_thousand_packages_take_less_than_nine_megabytes() {
    let mut there = Capabilities::default();
    for n in 0..25_000 {
        let (path, nevra, provides, files) = synthetic(n);
        there.add(&path, &nevra, &provides, &files);
    }
    assert_eq!((there.provides.len(), there.files.len()), (200_000, 250_000));
    let bytes = there.heap_bytes();
    assert!((5_000_000..9_000_000).contains(&bytes), "{bytes}");
    // Nor does it grow when all of it is replaced.
    for n in 0..25_000 {
        let (path, nevra, provides, files) = synthetic(n);
        there.add(&path, &nevra, &provides, &files);
    }
    assert!(there.heap_bytes() < bytes * 5 / 4, "{bytes}, then {}", there.heap_bytes());
}

/// `cargo test --release -p moji-server --lib capabilities::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn figures() {
    use std::time::Instant;
    let all: Vec<_> = (0..25_000).map(synthetic).collect();
    let mut there = Capabilities::default();
    let timed = |what: &str, times: usize, run: &mut dyn FnMut()| {
        let start = Instant::now();
        run();
        let each = start.elapsed() / u32::try_from(times).unwrap();
        println!("{what}: {each:?} each");
    };
    timed("add a package, from none to 25,000", all.len(), &mut || {
        for (path, nevra, provides, files) in &all {
            there.add(path, nevra, provides, files);
        }
    });
    println!("heap: {} bytes", there.heap_bytes());
    let questions: Vec<Requirement> =
        all.iter().map(|(_, _, provides, _)| Requirement::One(provides[1].clone())).collect();
    timed("is a versioned capability there", all.len(), &mut || {
        assert!(questions.iter().all(|one| there.provides(one)));
    });
    timed("parse and ask", all.len(), &mut || {
        assert!(all.iter().all(|(_, nevra, ..)| there.provides(&Requirement::parse(&nevra.name))));
    });
    let mut waits = Waits::default();
    timed("wait", all.len(), &mut || {
        for (n, (_, _, provides, _)) in all.iter().enumerate() {
            let next =
                Capability { name: format!("{}-next", provides[1].name), flags: 0, evr: String::new() };
            waits.wait(&there, srpm(&format!("w{n}")), vec![Requirement::One(next)], Vec::new());
        }
    });
    timed("arrive, with 25,000 waiting for other things", all.len(), &mut || {
        for (_, nevra, provides, files) in &all {
            assert!(waits.arrived(&there, nevra, provides, files).is_empty());
        }
    });
    timed("remove", all.len(), &mut || {
        for (path, ..) in &all {
            there.remove(path);
        }
    });
    let mut there = there.clone();
    all.iter().for_each(|(path, nevra, provides, files)| there.add(path, nevra, provides, files));
    timed("clean up everything", 1, &mut || there.clean_up());
}
