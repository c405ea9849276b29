//! Layers, closures and repositories of packages in few words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::Arc;

use super::*;
use crate::core::capabilities::Requirement;
use crate::mainline::{repomd, unpack};

mod figures;

/// Lines of a package: `requires a >= 1`, `file /usr/bin/a`, `arch aarch64`. It is `NAME-VERSION`, its release 1.
pub(super) fn package(nv: &str, lines: &[&str]) -> String {
    let (name, version) = nv.rsplit_once('-').unwrap();
    let (mut arch, mut files, mut sections) = ("noarch", String::new(), BTreeMap::<&str, String>::new());
    for line in lines {
        let (what, text) = line.split_once(' ').unwrap();
        match what {
            "arch" => arch = text,
            "file" => writeln!(files, "    <file>{}</file>", quick_xml::escape::escape(text)).unwrap(),
            section => sections.entry(section).or_default().push_str(&entry(text)),
        }
    }
    // One of each: of several, dnf takes the last.
    let section = |(name, entries): (&str, String)| format!("    <rpm:{name}>\n{entries}    </rpm:{name}>\n");
    let own = format!("{name} = {version}-1");
    let provides = entry(&own) + &sections.remove("provides").unwrap_or_default();
    let sections: String = [("provides", provides)].into_iter().chain(sections).map(section).collect();
    let digest = format!("{:016x}", super::table::key(nv)).repeat(4);
    format!(
        "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  \
         <version epoch=\"0\" ver=\"{version}\" rel=\"1\"/>\n  \
         <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  <summary>{name} &amp; more</summary>\n  \
         <description/>\n  <size package=\"77\" installed=\"1\" archive=\"1\"/>\n  \
         <location href=\"Packages/{nv}.rpm\"/>\n  <format>\n{sections}{files}  </format>\n</package>\n"
    )
}

/// A dependency.
fn entry(text: &str) -> String {
    match Requirement::parse(text) {
        Requirement::One(one) if one.flags != 0 => {
            let flags = match one.flags {
                2 => "LT",
                4 => "GT",
                8 => "EQ",
                10 => "LE",
                _ => "GE",
            };
            let (version, release) = one.evr.split_once('-').unwrap_or((&one.evr, ""));
            let release = if release.is_empty() { "" } else { &format!(" rel=\"{release}\"") };
            let name = quick_xml::escape::escape(&one.name);
            let evr = format!("epoch=\"0\" ver=\"{version}\"{release}");
            format!("      <rpm:entry name=\"{name}\" flags=\"{flags}\" {evr}/>\n")
        }
        rich => format!("      <rpm:entry name=\"{}\"/>\n", quick_xml::escape::escape(rich.to_string())),
    }
}

pub(super) fn document(packages: &[String]) -> String {
    let header = String::from_utf8(crate::repodata::header(crate::repodata::Part::Primary, packages.len()));
    format!("{}{}</metadata>", header.unwrap(), packages.concat())
}

pub(super) fn read(document: &str, target: Option<&str>, groups: Option<&str>) -> Result<Layer, ReadError> {
    let texts = tempfile::tempfile().unwrap();
    Layer::read(document.as_bytes(), texts, target, groups.map(str::as_bytes))
}

fn layer(packages: &[String]) -> Arc<Layer> {
    Arc::new(read(&document(packages), None, None).unwrap())
}

fn want(setup: &str, requires: &[&str]) -> Want {
    let requires = requires.iter().map(|text| Requirement::parse(text)).collect();
    Want { setup: setup.to_owned(), requires, ..Want::default() }
}

/// What is picked, as `LAYER:NAME-VERSION`.
fn picked(layers: &[Arc<Layer>], want: &Want) -> Vec<String> {
    let picked = close(layers, want);
    let one = |(at, package): &(usize, u32)| {
        let layer = &layers[*at];
        format!("{at}:{}-{}", layer.name(*package), layer.evr(*package).trim_end_matches("-1"))
    };
    picked.packages.iter().map(one).collect()
}

#[track_caller]
fn check(packages: &[String], of: &Want, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|nv| format!("0:{nv}")).collect();
    assert_eq!(picked(&[layer(packages)], of), expected);
}

#[test]
fn all_providers_of_fitting_versions_come_with_what_they_require() {
    let all = [
        package("a-1", &["requires b >= 2", "requires c(d)"]),
        package("b-1", &["requires only-of-old"]),
        package("b-2", &[]),
        package("bb-1", &["provides b = 3"]),
        package("bbb-1", &["provides b = 1"]),
        package("c-1", &["provides c(d)"]),
        package("cc-1", &["provides c(d) = 7", "requires e"]),
        package("e-1", &[]),
        package("only-of-old-1", &[]),
        package("other-1", &["requires a"]),
    ];
    // All versions of a name that counts, too old ones also: dnf says why it does not take one.
    check(&all, &want("", &["a"]), &["a-1", "b-1", "b-2", "bb-1", "c-1", "cc-1", "e-1", "only-of-old-1"]);
    check(&all, &want("", &["b < 2"]), &["b-1", "b-2", "bbb-1", "only-of-old-1"]);
    check(&all, &want("", &[]), &[]);
    let mut more = want("", &["e"]);
    more.more = vec![Requirement::parse("c(d) = 7")];
    check(&all, &more, &["c-1", "cc-1", "e-1"]);
}

#[test]
fn names_come_from_all_layers_with_what_replaces_them() {
    let base = layer(&[
        package("a-1", &["requires lib"]),
        package("lib-1", &[]),
        package("new-2", &["obsoletes lib < 2", "requires x"]),
        package("newer-2", &["obsoletes lib < 1"]),
        package("x-1", &[]),
    ]);
    let recent = layer(&[package("lib-3", &["requires y"]), package("y-1", &[]), package("z-1", &[])]);
    let layers = [base, recent];
    let all = ["0:a-1", "0:lib-1", "0:new-2", "0:x-1", "1:lib-3", "1:y-1"];
    assert_eq!(picked(&layers, &want("", &["a"])), all);
    // In the other order nothing else is in.
    let [base, recent] = layers;
    assert_eq!(picked(&[recent, base], &want("a", &[])).len(), all.len());
}

#[test]
fn all_that_stands_in_a_rich_dependency_is_taken() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let mut all: Vec<String> = names.map(|name| package(&format!("{name}-1"), &[])).into();
    let rich = "requires ((a or b) and (c if d else e) and (f unless g) and (h without i))";
    all.push(package("z-1", &[rich]));
    let whole: Vec<String> = names.iter().map(|name| format!("{name}-1")).chain(["z-1".to_owned()]).collect();
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    check(&all, &want("", &["z"]), &whole);
    check(&all, &want("", &["(a if b)", "(c >= 1 with c < 2)"]), &["a-1", "b-1", "c-1"]);
}

#[test]
fn what_is_recommended_and_supplemented_comes_where_dnf_installs_weak_dependencies() {
    let all = [
        package("a-1", &["recommends r", "suggests s", "requires glibc"]),
        package("de-1", &["supplements (glibc and lang-de)", "requires never"]),
        package("either-1", &["supplements (lang-de or glibc)"]),
        package("en-1", &["supplements (glibc and a = 1)", "requires words"]),
        package("enh-1", &["enhances a"]),
        package("glibc-2", &[]),
        package("lang-de-1", &[]),
        package("never-1", &[]),
        package("old-1", &["supplements glibc < 2"]),
        package("r-1", &[]),
        package("s-1", &[]),
        package("then-1", &["supplements words"]),
        package("without-1", &["supplements (a if lang-de)"]),
        package("words-1", &[]),
    ];
    check(&all, &want("", &["a"]), &["a-1", "glibc-2"]);
    let weak = Want { weak: true, ..want("", &["a"]) };
    let with = ["a-1", "either-1", "en-1", "glibc-2", "r-1", "then-1", "without-1", "words-1"];
    check(&all, &weak, &with);
}

#[test]
fn files_are_provided_and_those_of_filelists_when_they_are_found() {
    let all = [
        package("a-1", &["requires /usr/bin/x", "requires /usr/lib/y&z", "conflicts /usr/lib/w"]),
        package("x-1", &["file /usr/bin/x"]),
        package("y-1", &[]),
        package("yy-1", &[]),
    ];
    let mut layer = read(&document(&all), None, None).unwrap();
    let lacking = |layer: Layer| {
        let layer = [Arc::new(layer)];
        let paths = lacking_paths(&layer);
        (Arc::into_inner(layer.into_iter().next().unwrap()).unwrap(), paths)
    };
    let (there, paths) = lacking(layer);
    layer = there;
    assert_eq!(paths, BTreeSet::from(["/usr/lib/w".to_owned(), "/usr/lib/y&z".to_owned()]));
    let digest = |nv: &str| format!("{:016x}", super::table::key(nv)).repeat(4);
    let filelists = format!(
        "<filelists><package pkgid=\"{}\" name=\"y\" arch=\"noarch\"><version ver=\"1\"/><file>/usr/lib/y&amp;z</file>\
         <file type=\"dir\">/usr/lib/y</file></package><package pkgid=\"{}\"><file>/usr/bin/x</file></package>\
         <package pkgid=\"unknown\"><file>/usr/lib/w</file></package></filelists>",
        digest("y-1"),
        digest("x-1"),
    );
    let mut asked = paths.clone();
    asked.insert("/usr/bin/x".to_owned());
    assert_eq!(layer.add_files(filelists.as_bytes(), &asked).unwrap(), 1);
    let (there, paths) = lacking(layer);
    assert_eq!(paths, BTreeSet::from(["/usr/lib/w".to_owned()]));
    let layers = [Arc::new(there)];
    assert_eq!(picked(&layers, &want("", &["a"])), ["0:a-1", "0:x-1", "0:y-1"]);
    let text = primary_of(&write(&layers, &close(&layers, &want("", &["a"]))).unwrap());
    assert_eq!(text.matches("<file>/usr/lib/y&amp;z</file>\n  </format>").count(), 1);
    for end in 0..filelists.len() {
        assert!(super::layer::find_files(&filelists.as_bytes()[..end], &asked).is_err(), "{end}");
    }
}

const COMPS: &str = "<comps><group><id>build</id><name>Build Tools</name><packagelist>\
    <packagereq type=\"mandatory\">a</packagereq><packagereq type=\"default\">b</packagereq>\
    <packagereq type=\"optional\">c</packagereq><packagereq type=\"conditional\" requires=\"e\">d</packagereq>\
    <packagereq type=\"conditional\" requires=\"nobody\">f</packagereq></packagelist></group>\
    <environment><id>env</id><name>E</name><grouplist><groupid>build</groupid></grouplist></environment></comps>";

#[test]
fn what_a_setup_command_names_is_taken() {
    let names = ["a-1", "b-1", "c-1", "d-1", "e-1", "f-1", "lib-x-2", "lib-y-2"];
    let mut all: Vec<String> = names.map(|nv| package(nv, &[])).into();
    all.push(package("tool-1", &["file /usr/bin/tool", "provides tool(x)"]));
    let with_groups = Arc::new(read(&document(&all), None, Some(COMPS)).unwrap());
    let layers = [with_groups, layer(&[package("a-2", &[])])];
    let check = |setup: &str, expected: &[&str], missing: &[&str]| {
        let of = want(setup, &[]);
        let bare: Vec<String> = picked(&layers, &of).iter().map(|one| one.replace("0:", "")).collect();
        assert_eq!(bare, expected, "{setup}");
        assert_eq!(close(&layers, &of).missing, missing, "{setup}");
    };
    let group = ["a-1", "b-1", "d-1", "1:a-2"];
    for setup in
        ["install @build", "groupinstall build", "group install build", "install @^env -y --setopt=x=1"]
    {
        check(setup, &group, &[]);
    }
    check("groupinstall other", &[], &["other"]);
    check("install c lib-x-2 e.noarch nothing a", &["a-1", "c-1", "e-1", "lib-x-2", "1:a-2"], &["nothing"]);
    check("install lib-x-2-1.noarch lib-y-3", &["lib-x-2"], &["lib-y-3"]);
    check("install lib-* no*", &["lib-x-2", "lib-y-2"], &["no*"]);
    check("install /usr/bin/tool", &["tool-1"], &[]);
    check("install tool(x) /usr/bin/other", &["tool-1"], &["/usr/bin/other"]);
    check("", &[], &[]);
}

#[test]
fn what_nobody_provides_is_said_once_and_nothing_else() {
    let all = [package("a-1", &["requires nobody"]), package("b-1", &[])];
    let missing = |requires: &[&str]| close(&[layer(&all)], &want("x x a", requires)).missing;
    assert_eq!(
        missing(&["b", "rpmlib(A) <= 1", "(x or a)", "(a if x)", "(x if nobody)", "(a unless x)"]),
        ["x"]
    );
    assert_eq!(
        missing(&["b > 1", "(a and y)", "(y or z)", "(b without a)"]),
        ["x", "b > 1", "(a and y)", "(y or z)"]
    );
}

#[test]
fn packages_of_other_machines_and_places_are_not_there() {
    let all = [
        package("a-1", &["arch aarch64"]),
        package("b-1", &["arch x86_64"]),
        package("c-1", &["arch src"]),
        package("d-1", &[]),
        package("e-1", &[]).replace("Packages/", "../"),
    ];
    let target = |target| read(&document(&all), target, None).unwrap().len();
    assert_eq!((target(Some("aarch64")), target(Some("armv7hl")), target(None)), (2, 1, 3));
}

fn unpacked(file: &[u8]) -> String {
    let mut text = String::new();
    unpack::open(file).unwrap().read_to_string(&mut text).unwrap();
    text
}

fn primary_of(thin: &Thin) -> String {
    let named = repomd::files(&thin.repomd).unwrap().primary.href;
    unpacked(&thin.files.iter().find(|(name, _)| *name == named).unwrap().1)
}

#[test]
fn a_thin_repository_has_the_texts_as_they_were_but_for_their_locations() {
    let one = package("a-1", &["requires b", "file /usr/bin/a&b"]);
    let odd = package("b-1", &[]).replace(
        "<location href=\"Packages/b-1.rpm\"/>",
        "<location\n   xml:base='http://elsewhere/'  href = 'P/b&amp;1&#43;.rpm' ></location>",
    );
    let layers = [layer(&[package("z-1", &[])]), layer(&[one.clone(), odd.clone()])];
    let thin = write(&layers, &close(&layers, &want("a", &["nobody"]))).unwrap();
    assert_eq!((thin.packages, thin.files.len(), &thin.missing[..]), (2, 1, &["nobody".to_owned()][..]));
    let want_one = one.replace("href=\"Packages", "href=\"1/Packages");
    let (before, after) = odd.split_once("<location").unwrap();
    let after = after.split_once("</location>").unwrap().1;
    let want_odd = format!("{before}<location href=\"1/P/b&amp;1+.rpm\"/>{after}");
    assert_eq!(primary_of(&thin), document(&[want_one, want_odd]));
    let mut paths: Vec<&String> = thin.payloads.keys().collect();
    paths.sort();
    assert_eq!(paths, ["1/P/b&1+.rpm", "1/Packages/a-1.rpm"]);
    let Payload { layer: at, href, size, checksum } = &thin.payloads["1/Packages/a-1.rpm"];
    assert_eq!((*at, &**href, *size, &*checksum.0), (1, "Packages/a-1.rpm", 77, "sha256"));
    assert!(one.contains(&format!(">{}<", checksum.1)));
    // It is a repository like any other: its own reader takes it, and makes the same of it.
    let again = [Arc::new(read(&primary_of(&thin), None, None).unwrap())];
    assert_eq!(picked(&again, &want("a", &[])), ["0:a-1", "0:b-1"]);
    assert_eq!(write(&layers, &close(&layers, &want("a", &["nobody"]))).unwrap().repomd, thin.repomd);
}

#[test]
fn files_are_named_after_their_digests_and_groups_are_among_them() {
    use sha2::{Digest as _, Sha256};
    let layers = [Arc::new(read(&document(&[package("a-1", &[])]), None, Some(COMPS)).unwrap())];
    let thin = write(&layers, &close(&layers, &want("install @build", &[]))).unwrap();
    assert_eq!(thin.files.len(), 2);
    for (name, bytes) in &thin.files {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(name.starts_with(&format!("repodata/{digest}-")), "{name}");
    }
    let found = repomd::files(&thin.repomd).unwrap();
    let group = found.group.unwrap();
    let (name, bytes) = &thin.files[1];
    assert_eq!((&group.href, group.bytes), (name, Some(bytes.len() as u64)));
    assert!(name.contains(&group.digest) && unpacked(bytes).contains("<id>build</id>"));
    // Without a group nothing of groups, without anything an empty list.
    let thin = write(&layers, &close(&layers, &want("", &[]))).unwrap();
    assert_eq!((thin.files.len(), primary_of(&thin)), (1, document(&[])));
}

#[test]
fn what_is_wrong_with_a_list_is_said() {
    let check = |document: &str, groups: Option<&str>, word: &str| {
        let error = read(document, None, groups).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    };
    let good = document(&[package("a-1", &[])]);
    check("<html/>", None, "its list of packages: it begins with <html>");
    check(&good, Some("<html/>"), "its list of groups: it begins with <html>");
    check(&good.replace("</package>", ""), None, "its list of packages");
    // One text of a file that was cut is an error, no panic.
    let texts = tempfile::tempfile().unwrap();
    let short = Layer::read(good.as_bytes(), texts.try_clone().unwrap(), None, None).unwrap();
    texts.set_len(short.disk_bytes() - 1).unwrap();
    let layers = [Arc::new(short)];
    assert!(write(&layers, &close(&layers, &want("a", &[]))).is_err());
}

#[test]
fn the_hubs_own_repositories_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let other = [layer(&[package("a-1", &["requires /usr/share/x"])])];
    let thin = write(&other, &close(&other, &want("a", &[]))).unwrap();
    std::fs::create_dir(folder.path().join("repodata")).unwrap();
    assert!(of_repodata(folder.path(), None, tempfile::tempfile().unwrap()).is_err());
    for (name, bytes) in thin.files.iter().chain([&("repodata/repomd.xml".to_owned(), thin.repomd.clone())]) {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut layer = of_repodata(folder.path(), None, tempfile::tempfile().unwrap()).unwrap();
    assert_eq!(layer.len(), 1);
    // This one has no filelists.
    let paths = ["/usr/share/x".to_owned()].into();
    assert_eq!(find_files_of_repodata(&mut layer, folder.path(), &paths).unwrap(), 0);
}

#[test]
fn whatever_the_bytes_are_there_is_an_answer_and_what_is_read_can_be_written() {
    let all = [
        package("a-1", &["requires (b or c)", "supplements d", "obsoletes e < 2", "file /usr/bin/a"]),
        package("b-1", &["requires a >= 0"]),
    ];
    let text = document(&all).into_bytes();
    let pieces: [&[u8]; 6] = [b"<", b"</package>", b"<location/>", b"</format>", b"<![CDATA[", b"\xff"];
    let mut dice = 1_u64;
    let mut roll = |below: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).unwrap() % below
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..3_000 {
        let mut text = text.clone();
        for _ in 0..=roll(3) {
            let at = roll(text.len());
            match roll(4) {
                0 => text[at] = u8::try_from(roll(256)).unwrap(),
                1 => drop(text.splice(at..at, pieces[roll(pieces.len())].iter().copied())),
                2 => drop(text.drain(at..text.len().min(at + roll(40)))),
                _ => text.copy_within(at / 2..at, 0),
            }
        }
        match Layer::read(&text[..], tempfile::tempfile().unwrap(), None, None) {
            Ok(layer) => {
                let layers = [Arc::new(layer)];
                let of = Want { weak: true, ..want("a b", &["c"]) };
                write(&layers, &close(&layers, &of)).unwrap();
                good += 1;
            }
            Err(error) => {
                assert!(!error.to_string().contains('\n'));
                bad += 1;
            }
        }
    }
    assert!(good > 100 && bad > 100, "{good} {bad}");
}
