//! Everything of a made mainline that is no core: libraries, programs, modules of four languages, styles, data, and
//! families of alternatives.
//!
//! Owns what the source package of a number is. What others say of it is a function of its number too (its
//! [`Identity`]), so that nothing is kept. It requires what has a lower number, the lowest most often; a few pairs
//! require each other.

use super::package::{Kind, Package};
use super::{Source, own_names};
use crate::synthetic::words::Words;

/// The first numbers are families of alternatives: so many, of so many members.
const FAMILIES: usize = 40;
const MEMBERS: usize = 3;
/// Families of which only one member can be installed: the first ones.
const EXCLUSIVE_FAMILIES: usize = 13;
/// How strongly low numbers are preferred: the exponent of an even draw.
const PREFERENCE: f64 = 3.0;
/// Capabilities of the long packages: styles and modules.
const MANY: u64 = 200;
/// Longest walk to a number of the right sort.
const WALK: usize = 400;
/// What every program of C requires.
const LIBC: [&str; 3] = ["libc.so.6(GLIBC_2.34)(64bit)", "libc.so.6()(64bit)", "rtld(GNU_HASH)"];

/// What a source package is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// One of a family that all provide the same.
    Alternative,
    Library,
    Program,
    Python,
    Perl,
    Crate,
    Style,
    Data,
}

/// What others need to know of a source package.
#[derive(Clone, Debug)]
struct Identity {
    number: usize,
    sort: Sort,
    name: String,
    /// In one word, with capitals: modules and files of CMake.
    title: String,
    epoch: u32,
    version: [u64; 3],
    release: u64,
    /// Of its library.
    so: u64,
    /// Its library is there for i686 too.
    is_multilib: bool,
}

impl Identity {
    fn of(seed: u64, number: usize) -> Identity {
        let mut words = Words::of(seed ^ 0x1de4_717e, number as u64);
        let sort = match words.below(100) {
            _ if number < FAMILIES * MEMBERS => Sort::Alternative,
            0..=37 => Sort::Library,
            38..=52 => Sort::Program,
            53..=69 => Sort::Python,
            70..=80 => Sort::Perl,
            81..=88 => Sort::Crate,
            89..=93 => Sort::Style,
            _ => Sort::Data,
        };
        let (one, other) = (words.word(), words.word());
        let name = if sort == Sort::Alternative {
            format!("alt{}-{one}{}", number / MEMBERS, number % MEMBERS)
        } else {
            format!("{one}{other}{number}")
        };
        let mut title = format!("{one}{number}");
        title[..1].make_ascii_uppercase();
        let epoch = if words.below(20) == 0 { 1 + words.below(3) as u32 } else { 0 };
        let version = [1 + words.below(6), words.below(30), words.below(12)];
        Identity {
            number,
            sort,
            name,
            title,
            epoch,
            version,
            release: 1 + words.below(20),
            so: words.below(12) + 1,
            is_multilib: words.below(5) == 0,
        }
    }

    fn version(&self) -> String {
        let [a, b, c] = self.version;
        match self.number % 50 {
            7 => format!("{a}.{b}.{c}~rc1"),
            8 => format!("{a}.{b}.{c}^git20250101.abc"),
            _ => format!("{a}.{b}.{c}"),
        }
    }

    /// A version that it has at least.
    fn at_least(&self) -> String {
        let [a, b, _] = self.version;
        format!("{a}.{}", b / 2)
    }

    fn soname(&self) -> String {
        format!("lib{}.so.{}", self.name, self.so)
    }

    /// A version in its library's symbols.
    fn symbols(&self, n: u64) -> String {
        format!("{}({}_{}.{n})(64bit)", self.soname(), self.name.to_uppercase(), self.version[0])
    }

    fn source(&self) -> Source {
        Source {
            name: self.name.clone(),
            evr: (self.epoch, self.version(), self.release.to_string()),
            ..Source::default()
        }
    }
}

/// All that source package `number` is: itself, and sometimes an older version of it before.
pub(super) fn source(seed: u64, number: usize) -> Vec<Source> {
    let it = Identity::of(seed, number);
    let is_twofold = it.sort != Sort::Alternative && Words::of(seed ^ 0x0_1d, number as u64).below(20) == 0;
    let old = is_twofold.then(|| {
        let [major, minor, patch] = it.version;
        Maker::of(seed, Identity { version: [major - 1, minor, patch], so: it.so - 1, ..it.clone() })
    });
    old.into_iter().chain([Maker::of(seed, it)]).map(Maker::make).collect()
}

/// It with a higher version.
pub(super) fn newer(seed: u64, number: usize, by: u64) -> Source {
    let it = Identity::of(seed, number);
    let [major, minor, patch] = it.version;
    Maker::of(seed, Identity { version: [major, minor + by, patch], ..it }).make()
}

struct Maker {
    seed: u64,
    words: Words,
    it: Identity,
    source: Source,
}

impl Maker {
    fn of(seed: u64, it: Identity) -> Maker {
        Maker { seed, words: Words::of(seed ^ 0x7a11, it.number as u64), source: it.source(), it }
    }

    fn make(mut self) -> Source {
        match self.it.sort {
            Sort::Alternative => self.alternative(),
            Sort::Library => self.library(),
            Sort::Program => self.program(),
            Sort::Python => self.python(),
            Sort::Perl => self.perl(),
            Sort::Crate => self.crates(),
            Sort::Style => self.style(),
            Sort::Data => self.data(),
        }
        self.build_requires();
        self.source
    }

    // --- others ---

    /// Another one of this sort with a lower number; None where there is none near.
    fn other(&mut self, sort: Sort) -> Option<Identity> {
        let share = (self.words.next() >> 11) as f64 / (1u64 << 53) as f64;
        let drawn = (share.powf(PREFERENCE) * self.it.number as f64) as usize;
        let low = drawn.saturating_sub(WALK);
        let fits = |number: &usize| Identity::of(self.seed, *number).sort == sort;
        let found = (low..=drawn).rev().find(fits).or_else(|| (drawn..drawn + WALK).find(fits));
        found.filter(|number| *number < self.it.number).map(|number| Identity::of(self.seed, number))
    }

    fn others(&mut self, sort: Sort, most: u64) -> Vec<Identity> {
        let count = self.words.below(most + 1);
        (0..count).filter_map(|_| self.other(sort)).collect()
    }

    /// The neighbour with which it forms a pair.
    fn twin(&self) -> Identity {
        Identity::of(self.seed, self.it.number ^ 1)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.words.below(times) == 0
    }

    fn family(&mut self) -> u64 {
        self.words.below(FAMILIES as u64)
    }

    // --- packages ---

    fn package(&mut self, name: &str, arch: &'static str) -> Package {
        let mut package = self.source.package(name, arch);
        package.text = format!("{}\n{}", self.words.text(50).replace('\n', " "), self.words.text(300));
        package.files.push(format!("/usr/share/doc/{name}/"));
        package.files.push(format!("/usr/share/doc/{name}/README"));
        package
    }

    fn add(&mut self, package: Package) {
        self.source.packages.push(own_names(package));
    }

    fn evr(&self) -> String {
        self.source.package("", "noarch").evr()
    }

    /// What every program of C says, and the libraries that it is linked with.
    fn linked(&mut self, package: &mut Package, libraries: &[Identity]) {
        LIBC.iter().for_each(|text| package.says(Kind::Requires, text));
        for library in libraries {
            package.says(Kind::Requires, &format!("{}()(64bit)", library.soname()));
            if self.one_in(2) {
                package.says(Kind::Requires, &library.symbols(self.words.below(3)));
            }
        }
        match self.words.below(12) {
            0..=2 => {
                for text in [
                    "libstdc++.so.6()(64bit)",
                    "libstdc++.so.6(GLIBCXX_3.4)(64bit)",
                    "libgcc_s.so.1()(64bit)",
                ] {
                    package.says(Kind::Requires, text);
                }
            }
            3 => package.says(Kind::Requires, "libz.so.1()(64bit)"),
            4 => package.says(Kind::Requires, "libcurl.so.4()(64bit)"),
            5 => package.says(Kind::Requires, &format!("libalt{}.so.1()(64bit)", self.family())),
            _ => {}
        }
    }

    fn alternative(&mut self) {
        let (family, member) = (self.it.number / MEMBERS, self.it.number % MEMBERS);
        let name = self.it.name.clone();
        let mut package = self.package(&name, "x86_64");
        self.linked(&mut package, &[]);
        package.says(Kind::Provides, &format!("alt({family}) = 1.{member}"));
        package.says(Kind::Provides, &format!("libalt{family}.so.1()(64bit)"));
        package.files.push(format!("/usr/bin/alt{family}"));
        if family < EXCLUSIVE_FAMILIES {
            // "Conflicts" of one's own capability means the other ones.
            package.says(Kind::Conflicts, &format!("alt({family})"));
        }
        if member == 1 && family.is_multiple_of(3) {
            package.says(Kind::Obsoletes, &format!("oldalt{family} < 2"));
            package.says(Kind::Provides, &format!("oldalt{family} = 2"));
        }
        if member == 2 {
            package.says(Kind::Requires, &format!("{name}-data = {}", self.evr()));
            package.says(Kind::Enhances, "gdb");
            let mut data = self.package(&format!("{name}-data"), "noarch");
            if family.is_multiple_of(4) {
                data.says(Kind::Requires, "nobody-provides-this");
            }
            self.add(data);
        }
        self.add(package);
        if member == 0 && family.is_multiple_of(3) {
            let mut old = self.package(&format!("oldalt{family}"), "x86_64");
            (old.epoch, old.version) = (0, "1.5".into());
            self.add(old);
        }
    }

    fn library(&mut self) {
        let (name, evr) = (self.it.name.clone(), self.evr());
        let linked = self.others(Sort::Library, 7);
        let mut libs = self.package(&format!("{name}-libs"), "x86_64");
        libs.says(Kind::Provides, &format!("{}()(64bit)", self.it.soname()));
        (0..3).for_each(|n| libs.says(Kind::Provides, &self.it.symbols(n)));
        libs.files.push(format!("/usr/lib64/{}", self.it.soname()));
        self.linked(&mut libs, &linked);
        if self.one_in(15) {
            libs.says(Kind::Obsoletes, &format!("{name}-compat < {evr}"));
        }
        if self.it.is_multilib {
            self.other_architecture(&libs, &linked);
        }
        if self.one_in(60) {
            self.add(Package { arch: "aarch64", ..libs.clone() });
        }
        self.add(libs);
        self.devel(&linked);
        let mut main = self.package(&name, "x86_64");
        main.says(Kind::Requires, &format!("{name}-libs(x86-64) = {evr}"));
        main.says(Kind::Requires, &format!("{}()(64bit)", self.it.soname()));
        main.files.push(format!("/usr/bin/{name}"));
        main.files.push(format!("/etc/{name}.conf"));
        main.says(Kind::Provides, &format!("config({name}) = {evr}"));
        main.says(Kind::Requires, &format!("config({name}) = {evr}"));
        self.linked(&mut main, &linked);
        self.extras(&mut main);
        self.add(main);
        if self.one_in(3) {
            let mut doc = self.package(&format!("{name}-doc"), "noarch");
            doc.says(Kind::Supplements, &format!("({name}-devel and docs-wanted)"));
            self.add(doc);
        }
        if self.one_in(8) {
            let mut fixed = self.package(&format!("{name}-static"), "x86_64");
            fixed.says(Kind::Requires, &format!("{name}-devel(x86-64) = {evr}"));
            self.add(fixed);
        }
        if self.one_in(6) {
            self.langpacks();
        }
    }

    /// The library for i686: of what it is linked with, what is there for i686 too.
    fn other_architecture(&mut self, libs: &Package, linked: &[Identity]) {
        let mut other = Package { arch: "i686", deps: Vec::new(), ..libs.clone() };
        other.says(Kind::Provides, &self.it.soname());
        other.says(Kind::Requires, "libc.so.6(GLIBC_2.34)");
        for library in linked.iter().filter(|library| library.is_multilib) {
            other.says(Kind::Requires, &library.soname());
        }
        self.add(other);
        let mut devel = self.package(&format!("{}-devel", self.it.name.clone()), "i686");
        devel.says(Kind::Requires, &format!("{}-libs(x86-32) = {}", self.it.name, self.evr()));
        devel.says(Kind::Provides, &format!("pkgconfig({}) = {}", self.it.name, self.it.version()));
        self.add(devel);
    }

    fn devel(&mut self, linked: &[Identity]) {
        let (name, evr) = (self.it.name.clone(), self.evr());
        let mut devel = self.package(&format!("{name}-devel"), "x86_64");
        devel.says(Kind::Provides, &format!("pkgconfig({name}) = {}", self.it.version()));
        let base = if self.it.number.is_multiple_of(2) { "(x86-64)" } else { "" };
        devel.says(Kind::Requires, &format!("{name}-libs{base} = {evr}"));
        devel.says(Kind::Requires, "/usr/bin/pkg-config");
        devel.says(Kind::Requires, &format!("{}()(64bit)", self.it.soname()));
        devel.files.push(format!("/usr/include/{name}/{name}.h"));
        devel.files.push(format!("/usr/lib64/pkgconfig/{name}.pc"));
        if self.one_in(3) {
            devel.says(Kind::Provides, &format!("cmake({}) = {}", self.it.title, self.it.version()));
            devel.says(Kind::Requires, "cmake-filesystem(x86-64)");
        }
        for library in linked {
            match self.words.below(5) {
                0 => {}
                1 => devel.says(Kind::Requires, &format!("{}-devel", library.name)),
                2 => devel.says(Kind::Requires, &format!("pkgconfig({})", library.name)),
                3 => devel.says(Kind::Requires, &format!("{}-devel(x86-64)", library.name)),
                _ => devel
                    .says(Kind::Requires, &format!("pkgconfig({}) >= {}", library.name, library.at_least())),
            }
        }
        if self.one_in(25) {
            devel.says(Kind::Requires, &format!("({name} if {})", self.twin().name));
        }
        self.add(devel);
    }

    /// What a program says beside what it is linked with: a little of everything.
    fn extras(&mut self, package: &mut Package) {
        if self.one_in(3) {
            package.says(Kind::Requires, "/bin/sh");
            package.says_pre("/usr/sbin/useradd");
        }
        for _ in 0..self.words.below(3) {
            self.extra(package);
        }
    }

    fn extra(&mut self, package: &mut Package) {
        let family = self.family();
        let (Some(one), Some(two)) = (self.other(Sort::Library), self.other(Sort::Program)) else { return };
        let (one, two, twin) = (one.name, two.name, self.twin());
        match self.words.below(22) {
            0 => package.says(Kind::Requires, &format!("alt({family})")),
            1 => package.says(Kind::Requires, &format!("alt({family}) >= 1.1")),
            2 => package.says(Kind::Requires, &format!("(alt({family}) >= 1 with alt({family}) < 1.2)")),
            3 => package.says(Kind::Requires, &format!("/usr/bin/{one}")),
            4 => package.says(Kind::Requires, &format!("/usr/share/{two}/data")),
            5 => package.says(Kind::Requires, &format!("({one} or {two})")),
            6 => package.says(Kind::Requires, &format!("({one}-libs if {two})")),
            7 => package.says(Kind::Requires, &format!("({one} if {two} else {one}-libs)")),
            8 => package.says(Kind::Requires, &format!("(({one}-libs and {two}) or nobody-has-this)")),
            9 => package.says(Kind::Requires, &format!("({one} unless {two})")),
            10 => {
                package.says(Kind::Requires, &format!("((nobody-has-this or {one}-libs) if ({two} or bash))"))
            }
            11 => package.says(Kind::Recommends, &two),
            12 => package.says(Kind::Recommends, &format!("({one}-devel if gcc)")),
            13 => package.says(Kind::Suggests, &one),
            14 => package.says(Kind::Supplements, &format!("({one} and {two})")),
            15 => package.says(Kind::Supplements, &one),
            16 => package.says(Kind::Conflicts, &format!("{two} < 1")),
            17 => package.says(Kind::Conflicts, &format!("(alt({family}) with alt({family}) = 1.0)")),
            // The other half of a pair requires this one when its number says so.
            18 if twin.sort == Sort::Library => package.says(Kind::Requires, &twin.name),
            19 => package.says(Kind::Obsoletes, &format!("{}-old < {}", self.it.name, self.it.version())),
            20 => package.says(Kind::Requires, "MTA"),
            _ => package.says(Kind::Recommends, &format!("/usr/bin/{one}")),
        }
    }

    fn langpacks(&mut self) {
        let (name, evr) = (self.it.name.clone(), self.evr());
        for language in ["de", "en", "fr"] {
            let mut pack = self.package(&format!("{name}-langpack-{language}"), "noarch");
            pack.says(Kind::Requires, &format!("{name} = {evr}"));
            pack.says(Kind::Supplements, &format!("({name} and langpacks-{language})"));
            self.add(pack);
        }
    }

    fn program(&mut self) {
        let (name, evr) = (self.it.name.clone(), self.evr());
        let linked = self.others(Sort::Library, 9);
        let mut main = self.package(&name, "x86_64");
        main.says(Kind::Requires, &format!("{name}-data = {evr}"));
        self.linked(&mut main, &linked);
        main.files.push(format!("/usr/bin/{name}"));
        main.files.push(format!("/usr/libexec/{name}/helper"));
        for _ in 0..2 {
            self.extras(&mut main);
        }
        if self.one_in(120) {
            main.says(Kind::Requires, "nobody-provides-this");
        }
        if let Some(old) = linked.first().filter(|_| self.it.number.is_multiple_of(97)) {
            main.says(Kind::Requires, &format!("{}-libs < {}", old.name, old.version[0]));
        }
        self.add(main);
        let mut data = self.package(&format!("{name}-data"), "noarch");
        data.files.extend([format!("/usr/share/{name}/"), format!("/usr/share/{name}/data")]);
        if self.it.number.is_multiple_of(2) {
            data.says(Kind::Requires, &format!("{name} = {evr}"));
        }
        self.add(data);
        if self.one_in(5) {
            let mut service = self.package(&format!("{name}-service"), "x86_64");
            service.says(Kind::Requires, &format!("{name}(x86-64) = {evr}"));
            service.says(Kind::Requires, "systemd");
            service.says_pre("systemd-sysusers");
            service.says(Kind::Recommends, &format!("{name}-extra"));
            self.add(service);
        }
    }

    fn python(&mut self) {
        let (it, evr) = (self.it.clone(), self.evr());
        let name = format!("python3-{}", it.name);
        let mut main = self.package(&name, "noarch");
        main.says(Kind::Requires, "python(abi) = 3.13");
        main.says(Kind::Provides, &format!("python-{} = {evr}", it.name));
        main.says(Kind::Provides, &format!("python3.13-{} = {evr}", it.name));
        for dist in ["python3dist", "python3.13dist"] {
            main.says(Kind::Provides, &format!("{dist}({}) = {}", it.name, plain(&it)));
        }
        for other in self.others(Sort::Python, 5) {
            let dist = format!("python3.13dist({})", other.name);
            let [major, ..] = other.version;
            main.says(
                Kind::Requires,
                &match self.words.below(5) {
                    0 => format!("({dist} >= {major} with {dist} < {})", major + 1),
                    1 => format!("(({dist} < {major}.99 or {dist} > {major}.99) with {dist} >= {major})"),
                    2 => format!("{dist} >= {}", other.at_least()),
                    _ => dist,
                },
            );
        }
        main.files.push(format!("/usr/lib/python3.13/site-packages/{}/__init__.py", it.name));
        self.extras(&mut main);
        self.add(main);
        if self.one_in(4) {
            let mut extra = self.package(&format!("{name}+extra"), "noarch");
            extra.says(Kind::Provides, &format!("python3dist({}[extra]) = {}", it.name, plain(&it)));
            extra.says(Kind::Provides, &format!("python3.13dist({}[extra]) = {}", it.name, plain(&it)));
            extra.says(Kind::Requires, &format!("{name} = {evr}"));
            if let Some(other) = self.other(Sort::Python) {
                extra.says(Kind::Requires, &format!("python3.13dist({})", other.name));
            }
            self.add(extra);
        }
    }

    fn perl(&mut self) {
        let it = self.it.clone();
        let mut main = self.package(&format!("perl-{}", it.title), "noarch");
        main.says(Kind::Requires, "perl-libs");
        main.says(Kind::Requires, "perl(:VERSION) >= 5.8.1");
        for n in 0..1 + self.words.below(12) {
            let module =
                if n == 0 { it.title.clone() } else { format!("{}::{}", it.title, self.words.word()) };
            main.says(Kind::Provides, &format!("perl({module}) = {}.{:02}", it.version[0], it.version[1]));
        }
        for core in ["strict", "warnings", "Exporter", "Carp", "File::Spec", "Data::Dumper"] {
            if self.one_in(2) {
                main.says(Kind::Requires, &format!("perl({core})"));
            }
        }
        for other in self.others(Sort::Perl, 4) {
            let at_least = if self.one_in(3) { format!(" >= {}", other.version[0]) } else { String::new() };
            main.says(Kind::Requires, &format!("perl({}){at_least}", other.title));
        }
        main.files.push(format!("/usr/share/perl5/{}.pm", it.title));
        self.add(main);
        if self.one_in(4) {
            let mut tests = self.package(&format!("perl-{}-tests", it.title), "noarch");
            tests.says(Kind::Requires, &format!("perl-{} = {}", it.title, self.evr()));
            tests.says(Kind::Requires, "perl(Test::More)");
            self.add(tests);
        }
    }

    fn crates(&mut self) {
        let (it, evr) = (self.it.clone(), self.evr());
        let base = format!("rust-{}-devel", it.name);
        let mut main = self.package(&base, "noarch");
        main.says(Kind::Provides, &format!("crate({}) = {}", it.name, plain(&it)));
        main.says(Kind::Requires, "cargo");
        let others = self.others(Sort::Crate, 4);
        for other in &others {
            main.says(Kind::Requires, &crate_range(other, "default"));
        }
        self.add(main);
        for feature in ["default", "std", "serde"] {
            let mut part = self.package(&format!("rust-{}+{feature}-devel", it.name), "noarch");
            part.says(Kind::Provides, &format!("crate({}/{feature}) = {}", it.name, plain(&it)));
            part.says(Kind::Requires, &format!("crate({}) = {}", it.name, plain(&it)));
            part.says(Kind::Requires, &format!("{base} = {evr}"));
            if let Some(other) = others.first().filter(|_| feature == "std") {
                part.says(Kind::Requires, &crate_range(other, "std"));
            }
            self.add(part);
        }
    }

    fn style(&mut self) {
        let it = self.it.clone();
        let mut main = self.package(&format!("texlive-{}", it.name), "noarch");
        for n in 0..MANY {
            main.says(Kind::Provides, &format!("tex({}{n}.sty)", it.name));
        }
        for other in self.others(Sort::Style, 3) {
            main.says(Kind::Requires, &format!("tex({}{}.sty)", other.name, self.words.below(MANY)));
        }
        main.files.extend((0..MANY).map(|n| format!("/usr/share/texlive/{}/{}{n}.sty", it.name, it.name)));
        self.add(main);
    }

    fn data(&mut self) {
        let name = self.it.name.clone();
        let mut main = self.package(&format!("{name}-fonts"), "noarch");
        for language in ["de", "en", "fr", "ja"].iter().take(self.words.below(5) as usize) {
            main.says(Kind::Provides, &format!("font(:lang={language})"));
        }
        main.says(Kind::Provides, &format!("font({name})"));
        main.says(Kind::Requires, "filesystem");
        main.files.extend((0..20).map(|n| format!("/usr/share/fonts/{name}/{n}.otf")));
        self.add(main);
        if self.one_in(3) {
            let mut icons = self.package(&format!("{name}-icons"), "noarch");
            icons.says(Kind::Requires, &format!("font({name})"));
            icons.files.extend((0..60).map(|n| format!("/usr/share/icons/{name}/{n}.svg")));
            self.add(icons);
        }
    }

    // --- what building it requires ---

    fn build_requires(&mut self) {
        let basics: &[&str] = match (self.it.sort, self.words.below(4)) {
            (Sort::Python, _) => &["python3-devel", "python3dist(setuptools)", "pyproject-rpm-macros"],
            (Sort::Perl, _) => {
                &["perl-generators", "perl-interpreter", "perl(ExtUtils::MakeMaker) >= 6.76", "make"]
            }
            (Sort::Crate, _) => &["cargo-rpm-macros >= 24"],
            (Sort::Style | Sort::Data, _) => &["python3"],
            (_, 0) => &["gcc-c++", "cmake", "ninja-build"],
            (_, 1) => &["gcc", "meson >= 0.50"],
            (_, 2) => &["gcc", "make", "autoconf", "automake", "libtool"],
            (_, _) => &["gcc", "make", "gettext", "/usr/bin/perl"],
        };
        let mut all: Vec<String> = basics.iter().map(|&text| text.to_owned()).collect();
        let most = 1 + self.words.below(15);
        for library in self.others(Sort::Library, most) {
            all.push(match self.words.below(6) {
                0 => format!("{}-devel", library.name),
                1 => format!("pkgconfig({}) >= {}", library.name, library.at_least()),
                2 => format!("{}-devel(x86-64) >= {}", library.name, library.at_least()),
                3 => format!("({}-devel or nobody-has-this)", library.name),
                _ => format!("pkgconfig({})", library.name),
            });
        }
        let (family, sort) = (self.family(), self.it.sort);
        for python in self.others(Sort::Python, if sort == Sort::Python { 6 } else { 1 }) {
            all.push(format!("python3dist({})", python.name));
        }
        for perl in self.others(Sort::Perl, if sort == Sort::Perl { 6 } else { 1 }) {
            all.push(format!("perl({})", perl.title));
        }
        for other in self.others(Sort::Crate, if sort == Sort::Crate { 6 } else { 0 }) {
            all.push(crate_range(&other, "default"));
        }
        for program in self.others(Sort::Program, 2) {
            all.push(match self.words.below(4) {
                0 => format!("/usr/bin/{}", program.name),
                1 => format!("/usr/share/{}/data", program.name),
                2 => format!("({} if gcc)", program.name),
                _ => program.name,
            });
        }
        match self.words.below(12) {
            0 => all.push(format!("alt({family})")),
            1 => all.push(format!("(alt({family}) >= 1.1 or nobody-has-this)")),
            2 => all.push(format!("/usr/bin/alt{family}")),
            3 => all.push("java-devel".into()),
            4 => all.push("font(:lang=de)".into()),
            5 => all.extend(self.other(Sort::Style).map(|style| format!("tex({}7.sty)", style.name))),
            6 => all.push(format!("oldalt{}", family / 3 * 3)),
            7 => all.push("java-headless >= 1:21".into()),
            _ => {}
        }
        if self.one_in(60) {
            all.push("nobody-provides-this".into());
        }
        self.source.build_requires = all;
    }
}

/// A version without what stands behind `~` or `^`.
fn plain(it: &Identity) -> String {
    it.version.map(|n| n.to_string()).join(".")
}

/// A requirement on a crate as the macros write it.
fn crate_range(other: &Identity, feature: &str) -> String {
    let [major, ..] = other.version;
    let name = format!("crate({}/{feature})", other.name);
    format!("({name} >= {major}.0 with {name} < {}~)", major + 1)
}
