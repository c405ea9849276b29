//! Packages for tests: real ones from rpmbuild, and hand-made ones whose every byte can be wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::super::header::{BIN, Header, MAGIC, REGION_HEADER, REGION_SIGNATURE, STRING, STRING_ARRAY};
use super::super::package::{Package, SIG_LONGSIZE, SIG_SIZE};

pub(super) const INT32: u32 = 4;
pub(super) const INT64: u32 = 5;

/// A tag with its value as it stands in a store.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) tag: u32,
    pub(super) kind: u32,
    pub(super) count: u32,
    pub(super) data: Vec<u8>,
}

pub(super) fn string(tag: u32, text: &str) -> Value {
    let data = [text.as_bytes(), &[0]].concat();
    value(tag, STRING, 1, data)
}

pub(super) fn strings(tag: u32, texts: &[&str]) -> Value {
    let data = texts.iter().flat_map(|t| [t.as_bytes(), &[0]].concat());
    value(tag, STRING_ARRAY, texts.len() as u32, data.collect())
}

pub(super) fn int32(tag: u32, n: u32) -> Value {
    value(tag, INT32, 1, n.to_be_bytes().to_vec())
}

pub(super) fn int64(tag: u32, n: u64) -> Value {
    value(tag, INT64, 1, n.to_be_bytes().to_vec())
}

pub(super) fn bin(tag: u32, data: &[u8]) -> Value {
    value(tag, BIN, data.len() as u32, data.to_vec())
}

pub(super) fn value(tag: u32, kind: u32, count: u32, data: Vec<u8>) -> Value {
    Value { tag, kind, count, data }
}

/// The values of a checked header, without its region.
pub(super) fn values_of(header: &Header) -> Vec<Value> {
    let all = header.values().filter(|(e, _)| e.tag >= 100);
    all.map(|(e, data)| value(e.tag, e.kind, e.count, data.to_vec())).collect()
}

/// A header of these values, with a region as rpm writes it or, as before rpm 4, without.
pub(super) fn header(region: Option<u32>, values: &[Value]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut store = Vec::new();
    for v in values {
        let align = match v.kind {
            3 => 2,
            INT32 => 4,
            INT64 => 8,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(align), 0);
        index.extend(entry(v.tag, v.kind, store.len() as u32, v.count));
        store.extend(&v.data);
    }
    if let Some(tag) = region {
        let first = entry(tag, BIN, store.len() as u32, 16);
        index.splice(0..0, first);
        let back = (index.len() as u32).wrapping_neg();
        store.extend(entry(tag, BIN, back, 16));
    }
    raw_header(index.len() as u32 / 16, store.len() as u32, &index, &store)
}

/// A header that declares what it likes.
pub(super) fn raw_header(tags: u32, bytes: u32, index: &[u8], store: &[u8]) -> Vec<u8> {
    let mut all = MAGIC.to_vec();
    all.extend(tags.to_be_bytes());
    all.extend(bytes.to_be_bytes());
    all.extend(index);
    all.extend(store);
    all
}

pub(super) fn entry(tag: u32, kind: u32, offset: u32, count: u32) -> Vec<u8> {
    [tag, kind, offset, count].iter().flat_map(|n| n.to_be_bytes()).collect()
}

pub(super) fn lead() -> Vec<u8> {
    let mut lead = vec![0; 96];
    lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    lead[79] = 5;
    lead
}

/// Lead and signature header, padded.
pub(super) fn start(signature: &[u8]) -> Vec<u8> {
    let mut all = lead();
    all.extend(signature);
    all.resize(all.len().next_multiple_of(8), 0);
    all
}

/// A package whose signature holds these values and the size.
pub(super) fn package(signature: &[Value], main: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut values = signature.to_vec();
    values.retain(|v| v.tag != SIG_SIZE && v.tag != SIG_LONGSIZE);
    values.push(int32(SIG_SIZE, (main.len() + payload.len()) as u32));
    let signature = header(Some(REGION_SIGNATURE), &values);
    [start(&signature), main.to_vec(), payload.to_vec()].concat()
}

/// What the main header of the smallest sensible binary package holds.
pub(super) fn tiny_values() -> Vec<Value> {
    vec![
        string(1000, "tiny"),
        string(1001, "1"),
        string(1002, "2"),
        string(1022, "noarch"),
        string(1044, "tiny-1-2.src.rpm"),
    ]
}

/// The tiny package, with values put in place of those with the same tag, or added.
pub(super) fn tiny_with(changes: &[Value]) -> Vec<u8> {
    let mut values = tiny_values();
    for change in changes {
        match values.iter_mut().find(|v| v.tag == change.tag) {
            Some(old) => *old = change.clone(),
            None => values.push(change.clone()),
        }
    }
    package(&[], &header(Some(REGION_HEADER), &values), b"payload")
}

/// The tiny package with a main header that is given as bytes.
pub(super) fn tiny_around(main: &[u8]) -> Vec<u8> {
    package(&[], main, b"payload")
}

/// `file`, taken apart and put together again with only those values that `keep` likes.
pub(super) fn strip(file: &[u8], keep: fn(u32) -> bool, region: bool) -> Vec<u8> {
    let parts = Package::read(file).unwrap();
    let kept = |header| {
        let mut values = values_of(header);
        values.retain(|v| keep(v.tag));
        values
    };
    let main = header(region.then_some(REGION_HEADER), &kept(&parts.main));
    package(&kept(&parts.signature), &main, &file[parts.payload_start as usize..])
}

/// A package from rpmbuild, under the name it got.
pub(super) struct Built {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Packages from rpmbuild.
pub(super) struct Real {
    /// A source package with epoch, BuildRequires and architectures.
    pub(super) source: Built,
    /// Its binary.
    pub(super) binary: Built,
    /// A source package with NoSource, without epoch and BuildRequires.
    pub(super) nosrc: Built,
}

const SAMPLE: &str = "\
Name: moji-sample
Epoch: 3
Version: 1.2~rc1
Release: 4.x+1
Summary: Grüße
License: MIT
BuildArch: noarch
ExclusiveArch: noarch sparc64 %{_build_arch}
ExcludeArch: s390x ia64
Source0: hello.txt
BuildRequires: gcc >= 4, pkgconfig(foo), make
BuildRequires: (clang if llvm)
Requires: bash > 3:2
Provides: sample(api) = 2:7-1, older < 5
%description
Grüße
%install
install -D -m644 %{SOURCE0} %{buildroot}/usr/share/moji-sample/hello.txt
%files
/usr/share/moji-sample
";

const NOSOURCE: &str = "\
Name: moji-nosrc
Version: 5
Release: 1
Summary: without its source
License: MIT
BuildArch: noarch
Source0: hello.txt
NoSource: 0
%description
x
%files
";

/// The real packages, built once a test run.
pub(super) fn real() -> &'static Real {
    static REAL: OnceLock<Real> = OnceLock::new();
    REAL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("SOURCES")).unwrap();
        fs::write(dir.path().join("SOURCES/hello.txt"), "hello\n".repeat(999)).unwrap();
        rpmbuild(dir.path(), "-ba", SAMPLE);
        rpmbuild(dir.path(), "-bs", NOSOURCE);
        let built = |folder: &str, name: &str| {
            let path = dir.path().join(folder).join(name);
            let bytes =
                fs::read(&path).unwrap_or_else(|e| panic!("rpmbuild did not make {}: {e}", path.display()));
            Built { name: name.to_owned(), bytes }
        };
        Real {
            source: built("SRPMS", "moji-sample-1.2~rc1-4.x+1.src.rpm"),
            binary: built("RPMS/noarch", "moji-sample-1.2~rc1-4.x+1.noarch.rpm"),
            nosrc: built("SRPMS", "moji-nosrc-5-1.nosrc.rpm"),
        }
    })
}

fn rpmbuild(dir: &Path, stage: &str, spec: &str) {
    let file = dir.join("x.spec");
    fs::write(&file, spec).unwrap();
    let mut command = Command::new("rpmbuild");
    command.arg(stage).arg("--nodeps").arg(file);
    let top = format!("_topdir {}", dir.display());
    command.args(["--define", &top]);
    run(command, dir);
}

/// What rpm prints with these options and a package, with an empty database.
pub(super) fn rpm(options: &[&str], package: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.rpm");
    fs::write(&file, package).unwrap();
    let mut command = Command::new("rpm");
    command.args(options).arg(file);
    run(command, dir.path())
}

fn run(mut command: Command, dir: &Path) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let db = format!("_dbpath {}", dir.join("db").display());
    let output = command
        .args(["--define", &db])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|e| panic!("these tests need {name} (install rpm and rpmbuild): {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
