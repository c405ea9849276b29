//! What one build can need.
//!
//! Owns following requirements to all that could meet them. Solves nothing: of alternatives it takes all, so that what dnf
//! would install from the whole repositories is there, and what dnf would choose among is there, too.
//!
//! Each package brings: all versions of its name from all layers, and what obsoletes it, because dnf takes the highest
//! version and the successor; all providers of all that it requires; where dnf installs weak dependencies, all providers of what
//! it recommends, and what supplements it. Suggestions only choose among alternatives, which are there.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::comps::{Comps, MemberKind};
use super::layer::Layer;
use super::table::key;
use crate::core::capabilities::Requirement;
use crate::rpmfile::Capability;

/// What rpm has itself, no package.
const OF_RPM: &str = "rpmlib(";
/// Most paths that are looked for in `filelists`. Distributions have some hundred.
const PATHS_MAX: usize = 20_000;
/// Longest path that is looked for, bytes.
const PATH_BYTES_MAX: usize = 4_096;

/// What a build begins with.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// mock's `chroot_setup_cmd`: `install @buildsys-build bash glibc`, `groupinstall buildsys-build`.
    pub setup: String,
    /// What the SRPM requires.
    pub requires: Vec<Requirement>,
    /// What was missing the last time.
    pub more: Vec<Requirement>,
    /// Whether dnf installs weak dependencies there.
    pub weak: bool,
}

/// What a build can need.
#[derive(Clone, Debug, Default)]
pub struct Picked {
    /// Layer and package, in their order.
    pub packages: Vec<(usize, u32)>,
    /// What of [`Want`] nobody provides.
    pub missing: Vec<String>,
    /// The groups of packages that the setup names.
    pub(super) comps: Comps,
}

/// Paths that packages of these layers want, and that none of them is known to have: only `filelists` would tell.
#[must_use]
pub fn lacking_paths(layers: &[Arc<Layer>]) -> BTreeSet<String> {
    let is_lacking =
        |path: &&str| !layers.iter().any(|layer| layer.providers(key(path), 0, "").next().is_some());
    let all = layers.iter().flat_map(|layer| layer.wanted_paths());
    let all = all.filter(|path| path.len() <= PATH_BYTES_MAX).filter(is_lacking);
    all.take(PATHS_MAX).map(str::to_owned).collect()
}

/// Takes all that a build can need.
#[must_use]
pub fn close(layers: &[Arc<Layer>], want: &Want) -> Picked {
    let mut closure = Closure::new(layers, want.weak);
    let mut missing = closure.set_up(&want.setup);
    for requirement in want.requires.iter().chain(&want.more) {
        if !closure.require(requirement) {
            missing.push(requirement.to_string());
        }
    }
    closure.follow();
    let mut seen = HashSet::new();
    missing.retain(|text| seen.insert(text.clone()));
    let packages = |(layer, picked): (usize, &Vec<bool>)| {
        let numbers = picked.iter().enumerate().filter(|(_, is_picked)| **is_picked);
        let numbers = numbers.map(|(number, _)| u32::try_from(number).expect("packages have numbers"));
        numbers.map(move |number| (layer, number)).collect::<Vec<_>>()
    };
    let packages = closure.picked.iter().enumerate().flat_map(packages).collect();
    Picked { packages, missing, comps: closure.comps }
}

struct Closure<'a> {
    layers: &'a [Arc<Layer>],
    weak: bool,
    /// Whether a package is in, by layer and number.
    picked: Vec<Vec<bool>>,
    /// Packages that are in and whose needs are not.
    open: Vec<(usize, u32)>,
    /// Atoms that have been followed, by layer and number.
    followed: Vec<Vec<bool>>,
    /// Names whose versions are in.
    names: HashSet<u64>,
    comps: Comps,
}

impl<'a> Closure<'a> {
    fn new(layers: &'a [Arc<Layer>], weak: bool) -> Closure<'a> {
        Closure {
            layers,
            weak,
            picked: layers.iter().map(|layer| vec![false; layer.len()]).collect(),
            open: Vec::new(),
            followed: layers.iter().map(|layer| vec![false; layer.atoms()]).collect(),
            names: HashSet::new(),
            comps: Comps::default(),
        }
    }

    fn pick(&mut self, layer: usize, package: u32) {
        let is_picked = &mut self.picked[layer][package as usize];
        if !std::mem::replace(is_picked, true) {
            self.open.push((layer, package));
        }
    }

    /// Takes all that provide something. Says whether anything does.
    fn provide(&mut self, key: u64, flags: u32, evr: &str) -> bool {
        let layers = self.layers;
        let mut is_there = false;
        for (at, layer) in layers.iter().enumerate() {
            for package in layer.providers(key, flags, evr) {
                is_there = true;
                self.pick(at, package);
            }
        }
        is_there
    }

    fn provide_one(&mut self, one: &Capability) -> bool {
        self.provide(key(&one.name), one.flags, &one.evr)
    }

    /// Takes all that have a part in meeting a requirement. Says whether they can meet it.
    fn require(&mut self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::One(one) => one.name.starts_with(OF_RPM) || self.provide_one(one),
            // Not `all`: each is to be taken.
            Requirement::And(of) | Requirement::With(of) => {
                of.iter().fold(true, |is_met, one| self.require(one) & is_met)
            }
            Requirement::Or(of) => of.iter().fold(false, |is_met, one| self.require(one) | is_met),
            Requirement::Without(a, b) => {
                self.require(b);
                self.require(a)
            }
            Requirement::If(a, b, c) | Requirement::Unless(a, b, c) => {
                let is_known = self.require(b);
                let is_met = self.require(a);
                let otherwise = c.as_ref().is_none_or(|c| self.require(c));
                match requirement {
                    // Without `b`, what it is a condition for cannot come to pass.
                    Requirement::If(..) if !is_known => otherwise,
                    Requirement::If(..) => is_met || otherwise,
                    _ => is_met || (is_known && otherwise),
                }
            }
        }
    }

    /// Takes what the words of a setup command name. Gives back those that name nothing.
    fn set_up(&mut self, setup: &str) -> Vec<String> {
        let mut missing = Vec::new();
        let mut are_groups = false;
        for word in setup.split_whitespace().map(|word| word.trim_matches(['"', '\''])) {
            match word {
                "" | "install" | "-y" => {}
                "groupinstall" | "group" | "groups" | "environment" => are_groups = true,
                _ if word.starts_with('-') => {}
                _ => {
                    let is_there = match word.strip_prefix('@') {
                        Some(group) => self.group(group.trim_start_matches('^')),
                        None if are_groups => self.group(word),
                        None => self.spec(word),
                    };
                    if !is_there {
                        missing.push(word.to_owned());
                    }
                }
            }
        }
        missing
    }

    /// Takes a group, or a group of groups. Says whether there is one.
    fn group(&mut self, name: &str) -> bool {
        let is_it = |id: &str, title: &str| id == name || title.eq_ignore_ascii_case(name);
        let layers = self.layers;
        let mut groups: Vec<String> = vec![name.to_owned()];
        for environment in layers.iter().flat_map(|layer| &layer.comps().environments) {
            if is_it(&environment.id, &environment.name) {
                self.comps.add_environment(environment);
                groups.extend(environment.groups.iter().cloned());
            }
        }
        let mut is_there = groups.len() > 1;
        for group in layers.iter().flat_map(|layer| &layer.comps().groups) {
            if !is_it(&group.id, &group.name) && !groups[1..].contains(&group.id) {
                continue;
            }
            is_there = true;
            self.comps.add(group);
            for member in &group.members {
                // A condition is one whether it is installed or not; without its package the member stays out by itself.
                if let MemberKind::Conditional(with) = &member.kind
                    && !layers.iter().any(|layer| !layer.named(key(with)).is_empty())
                {
                    continue;
                }
                self.name(key(&member.name));
            }
        }
        is_there
    }

    /// Takes all packages of a name. Says whether there is one.
    fn name(&mut self, key: u64) -> bool {
        let layers = self.layers;
        let mut is_there = false;
        for (at, layer) in layers.iter().enumerate() {
            for package in layer.named(key) {
                is_there = true;
                self.pick(at, *package);
            }
        }
        is_there
    }

    /// Takes what dnf could understand by a word: a name, with version and architecture or without, a pattern of names, a
    /// capability, a path. Says whether there is anything.
    fn spec(&mut self, word: &str) -> bool {
        let mut is_there = self.name(key(word));
        is_there |= self.require(&Requirement::parse(word));
        if word.contains(['*', '?', '[']) {
            is_there |= self.pattern(word);
        }
        // `name.arch`, `name-version`, `name-version-release`, `name-version-release.arch`.
        let ends = word.char_indices().filter(|(_, c)| matches!(c, '-' | '.')).map(|(at, _)| at);
        for at in ends {
            let (name, rest) = (key(&word[..at]), &word[at + 1..]);
            let layers = self.layers;
            let is_meant = |(layer, package): (&Arc<Layer>, u32)| {
                let evr = layer.evr(package);
                let without_epoch = evr.split_once(':').map_or(evr, |(_, rest)| rest);
                let version = without_epoch.split('-').next().unwrap_or(without_epoch);
                let said = rest.split_once(':').map_or(rest, |(_, rest)| rest);
                rest == layer.arch(package) || said.starts_with(version)
            };
            let mut all =
                layers.iter().flat_map(|layer| layer.named(name).iter().map(move |one| (layer, *one)));
            if all.any(is_meant) {
                is_there |= self.name(name);
            }
        }
        is_there
    }

    /// Takes packages whose names match a pattern. Says whether there is one.
    fn pattern(&mut self, pattern: &str) -> bool {
        let layers = self.layers;
        let mut is_there = false;
        for (at, layer) in layers.iter().enumerate() {
            for package in 0..u32::try_from(layer.len()).expect("packages have numbers") {
                if matches(pattern.as_bytes(), layer.name(package).as_bytes()) {
                    is_there = true;
                    self.pick(at, package);
                }
            }
        }
        is_there
    }

    /// Takes all that what is in brings, until nothing is new.
    fn follow(&mut self) {
        loop {
            while let Some((layer, package)) = self.open.pop() {
                self.follow_one(layer, package);
            }
            if !self.weak {
                return;
            }
            self.supplement();
            if self.open.is_empty() {
                return;
            }
        }
    }

    fn follow_one(&mut self, at: usize, package: u32) {
        let layers = self.layers;
        let layer = &layers[at];
        let name = key(layer.name(package));
        if self.names.insert(name) {
            self.name(name);
        }
        for (other, there) in layers.iter().enumerate() {
            for obsoleter in there.obsoleters(name, layer.evr(package)) {
                self.pick(other, obsoleter);
            }
        }
        let recommends: &[u32] = if self.weak { layer.recommends(package) } else { &[] };
        for number in layer.requires(package).iter().chain(recommends) {
            if !std::mem::replace(&mut self.followed[at][*number as usize], true) {
                let atom = layer.atom(*number);
                self.provide(atom.key, atom.version.flags(), layer.evr_of(atom.version));
            }
        }
    }

    /// Takes packages that supplement what is in.
    fn supplement(&mut self) {
        let layers = self.layers;
        for (at, layer) in layers.iter().enumerate() {
            for (package, of) in layer.supplements() {
                if !self.picked[at][package as usize] && self.could_hold(&of) {
                    self.pick(at, package);
                }
            }
        }
    }

    /// Whether a condition could hold when some of what is in is installed.
    fn could_hold(&self, requirement: &Requirement) -> bool {
        match requirement {
            Requirement::One(one) => self.layers.iter().zip(&self.picked).any(|(layer, picked)| {
                let mut providers = layer.providers(key(&one.name), one.flags, &one.evr);
                providers.any(|package| picked[package as usize])
            }),
            Requirement::And(of) | Requirement::With(of) => of.iter().all(|one| self.could_hold(one)),
            Requirement::Or(of) => of.iter().any(|one| self.could_hold(one)),
            Requirement::Without(a, _) | Requirement::Unless(a, _, None) => self.could_hold(a),
            // Where `b` is not installed, this holds.
            Requirement::If(_, _, None) => true,
            Requirement::If(a, _, Some(c)) | Requirement::Unless(a, _, Some(c)) => {
                self.could_hold(a) || self.could_hold(c)
            }
        }
    }
}

/// Whether a name matches a pattern with `*`, `?` and `[ab]` (fnmatch(3)), in time of both lengths' product.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star is, and how much of the name it took.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) => {
                if let Some(next) = one_matches(&pattern[p..], name[n]) {
                    (p, n) = (p + next, n + 1);
                    continue;
                }
            }
            None => {}
        }
        let Some((at, taken)) = star else { return false };
        star = Some((at, taken + 1));
        (p, n) = (at + 1, taken + 1);
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// How long the first part of a pattern is, if it matches a byte.
fn one_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().skip(2).position(|b| *b == b']')? + 2;
            let set = &pattern[1..end];
            let (is_other, set) = match set {
                [b'!' | b'^', rest @ ..] => (true, rest),
                set => (false, set),
            };
            let is_in = set.contains(&byte)
                || set.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&byte));
            (is_in != is_other).then_some(end + 1)
        }
        plain => (plain == byte).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name, want) in [
            ("a*", "abc", true),
            ("*", "", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdf", false),
            ("a?c", "abc", true),
            ("a[bx]c", "abc", true),
            ("a[!b]c", "abc", false),
            ("a[a-c]c", "abc", true),
            ("a[", "a[", false),
            ("", "a", false),
            ("abc", "abc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
        let hard = "*a".repeat(30);
        assert!(!matches(hard.as_bytes(), &b"a".repeat(29)));
    }
}
