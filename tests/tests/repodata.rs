//! The index's texts: the same bytes as createrepo_c's for packages of every shape, the same answers from dnf, and an
//! answer for whatever a header says.
//!
//! Owns the comparison with createrepo_c, which is left out, and said so, where it is not installed. How an index is
//! published is not tested here.
//!
//! Two differences are meant, so nothing here has them: a control character, for which createrepo_c refuses the
//! package and the hub leaves the character out; and `Requires(pretrans)` and `(posttrans)`, which createrepo_c marks
//! `pre` since 1.1.1 only.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use moji_server::repodata::{
    About, Class, Compression, DataFile, DescribeError, Described, Part, decode_provided, describe, footer,
    header, named_files, repomd,
};
use moji_tests::varied::{Chance, Value, Varied};
use moji_tests::{rpms_from_spec, run_to_end, simple_spec, srpm_from_spec};
use sha2::{Digest, Sha256};

/// Packages that are compared.
const PACKAGES: u64 = 400;
/// Headers that are made wrong.
const MUTANTS: u64 = 20_000;
/// Longest run of createrepo_c or dnf: they take a second.
const LIMIT: Duration = Duration::from_secs(120);

/// Whether these programs are there.
fn able(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let has = |program: &&&str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    let missing: Vec<_> = programs.iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() {
        eprintln!("LEFT OUT: it needs {programs:?}; missing: {missing:?}");
    }
    missing.is_empty()
}

fn run(program: &str, words: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(words).env("LC_ALL", "C.UTF-8");
    let ended = run_to_end(command, LIMIT);
    assert_eq!(ended.code, 0, "{program} {words:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

fn described(path: &Path, href: &str) -> Described {
    let (bytes, meta) = (fs::read(path).expect("readable"), fs::metadata(path).expect("there"));
    let about = About {
        href,
        sha256: Sha256::digest(&bytes).into(),
        size: meta.len(),
        modified_unix_s: meta.mtime() as u64,
    };
    describe(&bytes[..], &about).unwrap_or_else(|e| panic!("{href}: {e}"))
}

/// Packages that the real rpmbuild made, into `folder`.
fn real_packages(folder: &Path) {
    let extra = "Epoch: 3\nRequires(pre): coreutils\nRequires(post): /bin/sh\nRecommends: (a if b)\n\
                 Supplements: (c and d)\nSuggests: e\nEnhances: f\nConflicts: g < 2\nObsoletes: h <= 1:2-3\n\
                 Provides: i = %{version}, j\n";
    let changelog = "%changelog\n* Tue Jan 02 2024 Ä Ö <a@example.org> - 2-1\n- ü & \"x\"\n\
                     * Tue Jan 02 2024 B <b@example.org> - 1-1\n- first\n";
    let trigger = "%triggerin -- glibc\n:\n%transfiletriggerin -- /usr/lib\n:\n%post\n:\n";
    for (n, extra) in
        ["", extra, "Source: data\nNoSource: 0\n", "Requires: /usr/share/real3/data\n"].iter().enumerate()
    {
        let spec = simple_spec(&format!("real{n}"), "1.5~rc1", extra) + trigger + changelog;
        rpms_from_spec(folder, &spec);
        if !extra.contains("Source:") {
            srpm_from_spec(folder, &spec);
        }
    }
}

/// The elements of one part of a repository, sorted, with what stands before and after them.
fn elements(text: &str) -> (String, Vec<String>, String) {
    let first = text.find("<package ").unwrap_or(text.len());
    let end = text.rfind("</package>\n").map_or(first, |at| at + "</package>\n".len());
    let mut all: Vec<String> = text[first..end].split_inclusive("</package>\n").map(str::to_owned).collect();
    all.sort();
    (text[..first].to_owned(), all, text[end..].to_owned())
}

/// Writes an index of `packages` into `repo`.
fn publish(repo: &Path, packages: &[Described]) {
    let folder = repo.join("repodata");
    fs::create_dir_all(&folder).expect("a folder");
    let file = |part: Part| {
        let mut text = header(part, packages.len());
        packages.iter().for_each(|package| text.extend(&package.texts[part as usize]));
        text.extend(footer(part));
        let bytes = Compression::Gzip.member(&text);
        let sha256: [u8; 32] = Sha256::digest(&bytes).into();
        let name = format!("{}-{}.xml.gz", sha256.map(|byte| format!("{byte:02x}")).concat(), part.name());
        fs::write(folder.join(&name), &bytes).expect("a file is written");
        let (bytes, open_bytes) = (bytes.len() as u64, text.len() as u64);
        DataFile { part, name, sha256, bytes, open_sha256: None, open_bytes, unix_s: 1 }
    };
    let text = repomd(1, &Part::PUBLISHED.map(file), &[]);
    fs::write(folder.join("repomd.xml"), text).expect("a file is written");
}

#[test]
fn every_text_is_what_createrepo_c_writes_and_dnf_answers_the_same_from_both() {
    if !able(&["createrepo_c", "rpmbuild", "dnf"]) {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("moji-repodata-").tempdir().unwrap();
    let (theirs, ours) = (scratch.path().join("theirs"), scratch.path().join("ours"));
    let packages = theirs.join("a folder & more");
    fs::create_dir_all(&packages).unwrap();
    let made = scratch.path().join("made");
    fs::create_dir(&made).unwrap();
    real_packages(&made);
    for entry in fs::read_dir(&made).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::rename(entry.path(), packages.join(entry.file_name())).unwrap();
    }
    for seed in 0..PACKAGES {
        let package = Varied::new(seed);
        fs::write(packages.join(&package.file_name), package.bytes()).unwrap();
    }
    run("createrepo_c", &["-q", "--no-database", theirs.to_str().unwrap()]);
    let mut all: Vec<Described> = Vec::new();
    for entry in fs::read_dir(&packages).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        all.push(described(&path, &format!("a folder & more/{name}")));
    }
    assert!(all.len() as u64 > PACKAGES);
    assert!(
        all.iter().any(|package| package.texts[Part::Filelists as usize].len() > 200_000),
        "10,000 files"
    );
    for class in [Class::Main, Class::Extra] {
        assert!(all.iter().filter(|package| package.class == class).count() > 20);
    }
    all.iter().for_each(|package| assert!(decode_provided(&package.texts[Part::Provides as usize]).is_ok()));

    let md = fs::read(theirs.join("repodata/repomd.xml")).unwrap();
    for part in Part::PUBLISHED {
        let names = named_files(&md).unwrap();
        let name = names.iter().find(|name| name.ends_with(&format!("-{}.xml.gz", part.name()))).unwrap();
        let path = theirs.join("repodata").join(name);
        let theirs = elements(&run("zcat", &[path.to_str().unwrap()]));
        let texts = all.iter().map(|package| std::str::from_utf8(&package.texts[part as usize]).unwrap());
        let mut texts: Vec<String> = texts.map(str::to_owned).collect();
        texts.sort();
        assert_eq!(texts.len(), theirs.1.len());
        texts.iter().zip(&theirs.1).for_each(|(a, b)| assert!(a == b, "{a}\nis not\n{b}"));
        assert_eq!(theirs.0.as_bytes(), header(part, all.len()));
        assert_eq!(theirs.2.as_bytes(), footer(part));
    }
    publish(&ours, &all);
    same_answers(scratch.path(), &theirs, &ours);
}

fn same_answers(scratch: &Path, theirs: &Path, ours: &Path) {
    let ask = |repo: &Path, id: &str, query: &[&str]| {
        let from = format!("--repofrompath={id},file://{}", repo.display());
        let (cache, log) = (scratch.join(id), scratch.join("log"));
        let options = [
            from,
            format!("--repo={id}"),
            format!("--setopt=cachedir={}", cache.display()),
            format!("--setopt=logdir={}", log.display()),
        ];
        let mut words: Vec<&str> = options.iter().map(String::as_str).collect();
        words.extend(["-q", "--disableplugin=*", "--setopt=reposdir=/nonexistent", "repoquery"]);
        words.extend(query);
        run("dnf", &words).replace(id, "REPO")
    };
    let queries: [&[&str]; 6] = [
        &["--provides", "*"],
        &["--requires", "*"],
        &["--recommends", "*"],
        &["--list", "varied1*"],
        &["--whatprovides", "/usr/bin/plain0"],
        &["--changelogs", "varied2*"],
    ];
    for query in queries {
        let (a, b) = (ask(theirs, "theirs", query), ask(ours, "ours", query));
        assert_eq!(a, b, "{query:?}");
        assert!(!a.trim().is_empty(), "{query:?} has no answer");
    }
}

/// Makes one thing wrong in a header or in the whole file.
fn mutate(package: &mut Varied, chance: &mut Chance) {
    let at = chance.below(package.values.len());
    let tags: Vec<u32> = package.values.iter().map(|value| value.tag).collect();
    let value = &mut package.values[at];
    let byte = [0, 1, 9, 0x1b, b':', b'/', 0x7f, 0x80, 0xc3, 0xef, 0xff][chance.below(11)];
    match chance.below(8) {
        // Arrays of different lengths.
        0 => value.count = chance.below(value.count as usize + 2) as u32,
        1 => value.kind = chance.below(11) as u32,
        2 => value.tag = tags[chance.below(tags.len())],
        3 => drop(package.values.remove(at)),
        4 if value.data.len() > 1 => {
            let place = chance.below(value.data.len() - 1);
            value.data[place] = byte;
        }
        5 => value.data.insert(0, byte),
        6 => {
            let place = chance.below(value.data.len() + 1);
            value.data.truncate(place);
        }
        _ => {
            let more = value.data.clone();
            value.data.extend(more);
            value.count *= 2;
        }
    }
}

#[test]
fn whatever_a_header_says_there_is_an_answer() {
    let small = |package: &Varied| package.bytes().len() < 4_000;
    let packages: Vec<Varied> = (0..PACKAGES).map(Varied::new).filter(small).collect();
    let mut outcomes: BTreeMap<bool, u64> = BTreeMap::new();
    for mutant in 0..MUTANTS {
        let chance = &mut Chance(mutant);
        let mut package = packages[chance.below(packages.len())].clone();
        (0..=chance.below(2)).for_each(|_| mutate(&mut package, chance));
        let mut bytes = package.bytes();
        if chance.below(4) == 0 {
            let place = chance.below(bytes.len());
            bytes[place] ^= 1 << chance.below(8);
        }
        let answer = std::panic::catch_unwind(|| describe(&bytes[..], &ABOUT));
        let answer = answer.unwrap_or_else(|_| panic!("mutant {mutant} panicked"));
        if let Ok(described) = &answer {
            for part in Part::PUBLISHED {
                check_xml(
                    std::str::from_utf8(&described.texts[part as usize]).expect("texts are UTF-8"),
                    mutant,
                );
            }
            decode_provided(&described.texts[Part::Provides as usize]).expect("what was encoded is decoded");
        }
        *outcomes.entry(answer.is_ok()).or_default() += 1;
    }
    // Else the mutants are too wild or too tame to prove anything.
    assert!(outcomes.values().all(|&count| count > MUTANTS / 10) && outcomes.len() == 2, "{outcomes:?}");
}

/// A value of strings.
fn strings(tag: u32, all: &[&[u8]]) -> Value {
    let data = all.iter().flat_map(|text| [text, &[0][..]].concat()).collect();
    Value { tag, kind: 8, count: all.len() as u32, data }
}

/// A value of numbers of 32 bits.
fn numbers(tag: u32, all: &[u32]) -> Value {
    let data = all.iter().flat_map(|n| n.to_be_bytes()).collect();
    Value { tag, kind: 4, count: all.len() as u32, data }
}

/// A package with these values and no others that are not needed.
fn package_of(values: Vec<Value>) -> Vec<u8> {
    let mut package = Varied::new(1);
    package.values.retain(|value| [1000, 1001, 1002, 1022, 1044].contains(&value.tag));
    package.values.extend(values);
    package.bytes()
}

const ABOUT: About<'_> = About { href: "f/x.rpm", sha256: [7; 32], size: 1, modified_unix_s: 1 };

#[test]
fn what_createrepo_c_refuses_or_only_newer_ones_mark_is_in_the_index() {
    let bytes = package_of(vec![
        strings(1049, &[b"a\x1b", b"b", b"c", b"d"]),
        numbers(1048, &[1 << 5, 1 << 7, 1 << 11, 1 << 6]),
        strings(1050, &[b"", b"", b"", b""]),
        strings(1004, &[b"bell\x07 and \xef\xbf\xbe."]),
    ]);
    let texts = describe(&bytes[..], &ABOUT).unwrap().texts;
    let primary = String::from_utf8(texts[Part::Primary as usize].clone()).unwrap();
    assert!(primary.contains("<summary>bell and .</summary>"), "{primary}");
    for (name, pre) in [("a", " pre=\"1\""), ("b", " pre=\"1\""), ("c", ""), ("d", " pre=\"1\"")] {
        assert!(primary.contains(&format!("<rpm:entry name=\"{name}\"{pre}/>")), "{primary}");
    }
}

#[test]
fn files_that_would_make_terabytes_are_refused_in_no_time() {
    let (long, files) = (vec![b'd'; 1 << 20], 300_000);
    let bytes = package_of(vec![
        Value { tag: 1030, kind: 3, count: files, data: vec![0x81; 2 * files as usize] },
        numbers(1037, &vec![0; files as usize]),
        numbers(1116, &vec![0; files as usize]),
        strings(1117, &vec![&b"x"[..]; files as usize]),
        strings(1118, &[&long]),
    ]);
    let error = describe(&bytes[..], &ABOUT).unwrap_err();
    assert!(matches!(error, DescribeError::TooLong(Part::Filelists)), "{error}");
    assert_eq!(error.to_string(), "too large: filelists of it are more than 134217728 bytes");
}

/// No character that XML lacks, and every element closed.
fn check_xml(text: &str, mutant: u64) {
    let is_bad = |c: char| c < ' ' && !"\t\n\r".contains(c) || matches!(c, '\u{fffe}' | '\u{ffff}');
    assert!(!text.contains(is_bad), "mutant {mutant}: {text}");
    assert!(text.starts_with("<package ") && text.ends_with("</package>\n"), "mutant {mutant}: {text}");
    assert_eq!(text.matches("<file").count(), text.matches("</file>").count(), "mutant {mutant}: {text}");
}
