//! A generated distribution, built from nothing by a farm of four with real dnf.
//!
//! Owns the packages: chains, a diamond, a cycle, requirements that nobody meets or only a newer version does, in every
//! form that dnf knows, some of them in the SRPM's header and some only where it is built. Each run is another
//! distribution; the seed is printed, and `MOJI_SEED=N` makes it again. What the order is worth on thousands of packages is
//! the simulator's business (`sim --schedule`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moji_tests::{Farm, SOON, srpm_from_spec};
use serde_json::Value;

/// Longest time for some 45 packages on two cores that others use too: a minute when nobody does.
const LIMIT: Duration = Duration::from_secs(300);
/// Packages without a part in the story, each with a few BuildRequires among those before it.
const OTHERS: usize = 24;
/// Packages of the long chain.
const CHAIN: usize = 7;

/// In the chroots, and there only, this macro is defined: what hangs on it is in no header that the hub reads.
const MACRO: &str = "config_opts['macros']['%farm'] = '1'";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).for_each(|n| all.swap(n, self.below(n + 1)));
    }
}

/// The distribution that is drawn unless `MOJI_SEED` says another.
const SEED: u64 = 354_984;

/// How a BuildRequires names what it needs.
#[derive(Clone, Copy, Debug)]
enum Form {
    Name,
    Devel,
    Version,
    PkgConfig,
    Virtual,
    /// Of the primary index.
    Program,
    /// Of filelists only.
    Data,
}

impl Form {
    const ALL: [Form; 7] =
        [Form::Name, Form::Devel, Form::Version, Form::PkgConfig, Form::Virtual, Form::Program, Form::Data];

    /// What is required of that package, and a file that is there then.
    fn of(self, name: &str) -> (String, String) {
        let (program, header) = (format!("/usr/bin/{name}"), format!("/usr/include/{name}.h"));
        match self {
            Form::Name => (name.to_owned(), program),
            Form::Devel => (format!("{name}-devel"), header),
            Form::Version => (format!("{name}-devel >= 1"), header),
            Form::PkgConfig => (format!("pkgconfig({name})"), header),
            Form::Virtual => (format!("{name}(api) = 1"), program),
            Form::Program => (program.clone(), program),
            Form::Data => (format!("/usr/share/{name}/data"), format!("/usr/share/{name}/data")),
        }
    }
}

/// One BuildRequires.
struct Need {
    text: String,
    /// What the build looks for, where it can be met.
    file: Option<String>,
    /// How it is written: 0 plainly, 1 and 2 so that no header has it.
    hiding: usize,
}

/// A source package.
struct Source {
    name: String,
    version: u32,
    needs: Vec<Need>,
}

impl Source {
    fn file(&self) -> String {
        format!("{}-{}-1.src.rpm", self.name, self.version)
    }

    fn spec(&self) -> String {
        let Source { name, version, needs } = self;
        let requires: String = needs.iter().map(Need::line).collect();
        let checks: String = needs
            .iter()
            .filter_map(|need| need.file.as_ref())
            .map(|file| format!("test -e {file}\n"))
            .collect();
        format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: made by a test\nLicense: MIT\nBuildArch: noarch\n\
             Provides: {name}(api) = 1\n{requires}\n%description\nMade by a test.\n\
             %package devel\nSummary: made by a test\nProvides: pkgconfig({name}) = {version}\n\
             %description devel\nMade by a test.\n%build\n{checks}%install\n\
             install -d %{{buildroot}}/usr/bin %{{buildroot}}/usr/include %{{buildroot}}/usr/share/{name}\n\
             echo {version} > %{{buildroot}}/usr/bin/{name}\necho {version} > %{{buildroot}}/usr/include/{name}.h\n\
             echo {version} > %{{buildroot}}/usr/share/{name}/data\n\
             %files\n/usr/bin/{name}\n/usr/share/{name}\n%files devel\n/usr/include/{name}.h\n"
        )
    }
}

impl Need {
    fn line(&self) -> String {
        let text = &self.text;
        match self.hiding {
            0 => format!("BuildRequires: {text}\n"),
            1 => format!("%{{?farm:BuildRequires: {text}}}\n"),
            _ => format!("%if 0%{{?farm:1}}\nBuildRequires: {text}\n%endif\n"),
        }
    }
}

/// All of it.
struct Distribution {
    dice: Dice,
    /// Ways to write a BuildRequires that are still to be used before all are used again.
    forms: Vec<(Form, usize)>,
    /// Names that are free.
    names: Vec<String>,
    sources: Vec<Source>,
    /// What can never be built, and what it lacks.
    stuck: BTreeMap<String, BTreeSet<String>>,
}

impl Distribution {
    fn draw(seed: u64) -> Distribution {
        let mut dice = Dice(seed);
        // The order of names has nothing to do with that of builds.
        let mut names: Vec<String> = (10..100).map(|n| format!("pkg{n}")).collect();
        dice.shuffle(&mut names);
        let (forms, sources, stuck) = Default::default();
        let mut all = Distribution { dice, forms, names, sources, stuck };
        all.chain();
        all.diamond();
        for _ in 0..OTHERS {
            let wanted = all.dice.below(4);
            let needs = (0..wanted).map(|_| all.dice.below(all.sources.len())).collect::<BTreeSet<usize>>();
            let needs: Vec<String> = needs.iter().map(|n| all.sources[*n].name.clone()).collect();
            all.add(&needs);
        }
        all.never();
        all
    }

    /// A package that needs these, each in another form; its name.
    fn add(&mut self, needs: &[String]) -> String {
        let needs = needs.iter().map(|name| self.need(name)).collect();
        self.add_with(needs)
    }

    fn add_with(&mut self, needs: Vec<Need>) -> String {
        let name = self.names.pop().expect("there are names enough");
        self.sources.push(Source { name: name.clone(), version: 1, needs });
        name
    }

    fn need(&mut self, name: &str) -> Need {
        if self.forms.is_empty() {
            // Half of them in headers.
            self.forms =
                Form::ALL.iter().flat_map(|form| [0, 1, 0, 2].map(|hiding| (*form, hiding))).collect();
            self.dice.shuffle(&mut self.forms);
        }
        let (form, hiding) = self.forms.pop().expect("it was filled");
        let (text, file) = form.of(name);
        Need { text, file: Some(file), hiding }
    }

    fn chain(&mut self) {
        let mut last = self.add(&[]);
        for _ in 1..CHAIN {
            last = self.add(&[last]);
        }
    }

    fn diamond(&mut self) {
        let top = self.add(&[]);
        let sides = [self.add(std::slice::from_ref(&top)), self.add(&[top])];
        self.add(&sides);
    }

    /// A cycle, what nobody provides, what nobody provides new enough, and what needs something that needs that.
    fn never(&mut self) {
        let there = self.sources[0].name.clone();
        let plain = |text: String, hiding| Need { text, file: None, hiding };
        let absent = vec![self.need(&there), plain("nobody-devel".to_owned(), self.dice.below(3))];
        let absent = self.add_with(absent);
        self.stuck.insert(absent.clone(), ["nobody-devel".to_owned()].into());
        let newer = format!("{there}-devel >= 9");
        let needs = vec![plain(newer.clone(), self.dice.below(3))];
        let old = self.add_with(needs);
        self.stuck.insert(old, [newer].into());
        let behind = self.need(&absent);
        let lacks = behind.text.clone();
        let behind = self.add_with(vec![behind]);
        self.stuck.insert(behind, [lacks].into());
        // The second one's name is that of the next package.
        let next = self.names[self.names.len() - 2].clone();
        let needs_next = self.need(&next);
        let lacks_next = needs_next.text.clone();
        let first = self.add_with(vec![needs_next]);
        self.stuck.insert(first.clone(), [lacks_next].into());
        let needs_first = self.need(&first);
        let lacks_first = needs_first.text.clone();
        let second = self.add_with(vec![needs_first]);
        assert_eq!(second, next);
        self.stuck.insert(second, [lacks_first].into());
    }
}

/// The JSON objects that a command wrote.
fn objects(farm: &Farm, words: &[&str]) -> Vec<Value> {
    let ended = farm.moji(&[&["--json"], words].concat());
    assert_eq!(ended.code, 0, "moji {words:?}: {}{}\n{}", ended.stdout, ended.stderr, farm.diagnosis());
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
}

/// What waits for BuildRequires, with what.
fn stuck(farm: &Farm) -> BTreeMap<String, BTreeSet<String>> {
    let rows = objects(farm, &["list", "deps"]);
    let wants = |row: &Value| {
        let file = row["srpm"].as_str().expect("a name").to_owned();
        let shown = objects(farm, &["show", &file]).remove(0);
        let wants = shown["wants"].as_array().expect("a list").iter();
        let wants = wants.map(|want| want.as_str().expect("a text").to_owned()).collect();
        (file.strip_suffix("-1-1.src.rpm").unwrap_or(&file).to_owned(), wants)
    };
    rows.iter().map(wants).collect()
}

/// How often each package was leased.
fn attempts(farm: &Farm) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for event in objects(farm, &["history", "-n", "1000"]) {
        if event["kind"] == "leased" {
            *count.entry(event["srpm"].as_str().expect("a name").to_owned()).or_insert(0) += 1;
        }
    }
    count
}

#[test]
fn a_distribution_dropped_in_any_order_is_built_and_what_cannot_be_says_what_it_lacks() {
    let seed = std::env::var("MOJI_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED);
    eprintln!("MOJI_SEED={seed}");
    let mut all = Distribution::draw(seed);
    // The first version comes with the rest, the second when that is published, and what needs the second before it.
    let old = all.add(&[]);
    let newer =
        Need { text: format!("{old}-devel >= 2"), file: Some(format!("/usr/include/{old}.h")), hiding: 0 };
    let user = all.add_with(vec![newer]);
    let new = Source { name: old.clone(), version: 2, needs: Vec::new() };
    all.dice.shuffle(&mut all.sources);
    let farm = Farm::plan().builders(4).cfg(MACRO).start();
    let made = tempfile::tempdir_in(farm.path()).expect("a folder");
    let srpms: Vec<_> = all.sources.iter().map(|one| srpm_from_spec(made.path(), &one.spec())).collect();
    assert!(srpms.len() >= 40, "{}", srpms.len());
    srpms.iter().for_each(|srpm| drop(farm.drop_file(srpm)));
    farm.wait_until("the first version to be built", LIMIT, |farm| {
        farm.places(&format!("{old}-1-1.src.rpm")) == ["finished"]
    });
    assert_ne!(farm.places(&format!("{user}-1-1.src.rpm")), ["finished"]);
    farm.drop_file(&srpm_from_spec(made.path(), &new.spec()));
    let buildable: BTreeSet<String> = all
        .sources
        .iter()
        .chain([&new])
        .filter(|one| !all.stuck.contains_key(&one.name))
        .map(Source::file)
        .collect();
    farm.wait_until("all that can be built", LIMIT, |farm| {
        buildable.iter().all(|file| farm.places(file) == ["finished"])
    });
    farm.wait_until("the rest to say what it lacks", LIMIT, |farm| stuck(farm) == all.stuck);
    check(&farm, &all, &buildable);
    explained(&farm, &all);
    farm.wait_until("dnf to install the last of them", SOON, |farm| {
        farm.install(&[&user, &format!("{old}-devel = 2")]).is_ok()
    });
}

/// `moji why` names what a package lacks, and `moji blocked` all that is missing and the cycle.
fn explained(farm: &Farm, all: &Distribution) {
    let blocked = objects(farm, &["blocked"]);
    for (name, lacks) in &all.stuck {
        let why = farm.moji(&["why", name]).stdout;
        for lack in lacks {
            assert!(why.contains(lack), "{name} lacks {lack}:\n{why}");
            let row = blocked.iter().find(|row| row["capability"] == lack.as_str());
            assert!(row.is_some_and(|row| row["holds"].as_u64() >= Some(1)), "{lack}: {blocked:?}");
        }
    }
    let lacks = |name: &String| all.stuck[name].first().map(String::as_str).unwrap_or_default();
    let hints = |name: &String, of: &String| {
        [format!("{of}-devel"), format!("pkgconfig({of})"), of.clone()].iter().any(|text| lacks(name) == text)
    };
    // Of files nobody knows whose they are before they are built.
    for (one, other) in all.stuck.keys().flat_map(|one| all.stuck.keys().map(move |other| (one, other))) {
        if one < other && hints(one, other) && hints(other, one) {
            let is_named = |row: &Value| {
                row["cycle"].as_array().is_some_and(|of| {
                    let named = |name: &String| {
                        of.iter().any(|it| it.as_str().unwrap_or("").starts_with(&format!("{name}-1")))
                    };
                    named(one) && named(other)
                })
            };
            assert!(blocked.iter().any(is_named), "{one} and {other}: {blocked:?}");
            eprintln!("{one} and {other} wait for each other, as moji blocked says");
        }
    }
}

/// All is built with success, once if it could be known and once more at most if not; what is stuck was tried once.
fn check(farm: &Farm, all: &Distribution, buildable: &BTreeSet<String>) {
    for file in buildable {
        let nvr = file.trim_end_matches(".src.rpm");
        assert_eq!(farm.results(nvr), [nvr]);
        assert_eq!(farm.result_json(nvr)["verdict"], "success", "{nvr}");
    }
    let attempts = attempts(farm);
    for file in buildable {
        let count = attempts.get(file).copied().unwrap_or(0);
        assert!((1..=2).contains(&count), "{file}: leased {count} times\n{}", farm.diagnosis());
    }
    for name in all.stuck.keys() {
        let count = attempts.get(&format!("{name}-1-1.src.rpm")).copied();
        assert_eq!(count, Some(1), "{name}\n{}", farm.diagnosis());
    }
    let vain = attempts.values().sum::<usize>() - buildable.len();
    eprintln!("{} packages, {} can be built, {vain} builds in vain", attempts.len(), buildable.len());
}
