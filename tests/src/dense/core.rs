//! The core of the made mainline, read from `core.txt`.
//!
//! Owns the meaning of that file's lines.

use super::package::{Kind, Package};
use super::{RELEASE_SUFFIX, Source, own_names};

const TEXT: &str = include_str!("core.txt");

/// All its sources, in order.
pub(super) fn sources() -> Vec<Source> {
    let mut sources: Vec<Source> = Vec::new();
    let mut evr = (0, String::new(), String::new());
    let mut twins: Vec<&'static str> = Vec::new();
    for line in TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        match mark {
            "==" => {
                finish(&mut sources, &twins);
                let (name, text) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                evr = parse_evr(text);
                sources.push(Source { name: name.to_owned(), evr: evr.clone(), ..Source::default() });
                twins.clear();
            }
            "--" => {
                finish(&mut sources, &twins);
                let mut words = rest.split(' ');
                let name = words.next().unwrap_or_default();
                let archs: Vec<&'static str> = words.map(arch).collect();
                let source = sources.last_mut().expect("a source stands before its packages");
                let package = source.package(name, archs.first().copied().unwrap_or("x86_64"));
                source.packages.push(package);
                twins = archs.into_iter().skip(1).collect();
            }
            _ => {
                let package = sources.last_mut().and_then(|source| source.packages.last_mut());
                let package = package.unwrap_or_else(|| panic!("{line}: of which package"));
                let (epoch, version, release) = &evr;
                let whole = format!("{}{version}-{release}{RELEASE_SUFFIX}", epoch_text(*epoch));
                say(package, mark, &rest.replace("%E", &whole).replace("%V", version));
            }
        }
    }
    finish(&mut sources, &twins);
    sources
}

/// The package that was read last gets its own names, and its twins of other architectures.
fn finish(sources: &mut [Source], twins: &[&'static str]) {
    let Some(source) = sources.last_mut() else { return };
    let Some(package) = source.packages.pop() else { return };
    for arch in twins {
        source.packages.push(own_names(twin(&package, arch)));
    }
    source.packages.push(own_names(package));
}

/// The same for another architecture, with what `()(64bit)` is there.
fn twin(package: &Package, arch: &'static str) -> Package {
    let mut twin = Package { arch, deps: Vec::new(), ..package.clone() };
    for kind in [Kind::Provides, Kind::Conflicts, Kind::Obsoletes] {
        for text in package.said(kind) {
            twin.says(
                kind,
                &text.replace("()(64bit)", "").replace(")(64bit)", ")").replace("(x86-64)", "(x86-32)"),
            );
        }
    }
    for text in package.said(Kind::Requires).filter(|text| !text.contains("64")) {
        twin.says(Kind::Requires, &text);
    }
    twin
}

fn say(package: &mut Package, mark: &str, text: &str) {
    let kind = match mark {
        "R" => Kind::Requires,
        "P" => Kind::Provides,
        "C" => Kind::Conflicts,
        "O" => Kind::Obsoletes,
        "r" => Kind::Recommends,
        "s" => Kind::Suggests,
        "S" => Kind::Supplements,
        "E" => Kind::Enhances,
        "F" => return package.files.push(text.to_owned()),
        "W" => return package.says_pre(text),
        _ => panic!("core.txt: what is {mark} {text}"),
    };
    package.says(kind, text);
}

fn arch(word: &str) -> &'static str {
    ["x86_64", "noarch", "i686"].into_iter().find(|known| *known == word).unwrap_or_else(|| panic!("{word}"))
}

fn epoch_text(epoch: u32) -> String {
    if epoch == 0 { String::new() } else { format!("{epoch}:") }
}

fn parse_evr(text: &str) -> (u32, String, String) {
    let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
    let (version, release) = rest.split_once('-').unwrap_or_else(|| panic!("{text}"));
    (epoch.parse().unwrap_or_else(|_| panic!("{text}")), version.to_owned(), release.to_owned())
}
