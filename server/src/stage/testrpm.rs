//! RPMs for tests: real ones, made by rpmbuild, and one whose index would have no end.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::core::types::Sha256;

/// One package as rpmbuild left it.
pub(crate) struct Built {
    /// File name and bytes of the SRPM.
    pub(crate) source: (String, Vec<u8>),
    /// Of the binary RPMs.
    pub(crate) binaries: Vec<(String, Vec<u8>)>,
}

impl Built {
    /// All files.
    pub(crate) fn all(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = vec![self.source.clone()];
        all.extend(self.binaries.clone());
        all
    }
}

/// Builds `NAME-VERSION-1` with the binaries `NAME` and `NAME-lib`.
pub(crate) fn build(name: &str, version: &str) -> Built {
    let dir = tempfile::tempdir().unwrap();
    let spec = format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: A test\nLicense: MIT\nBuildArch: noarch\n\
         %description\nA test.\n%package -n {name}-lib\nSummary: A part of it\n\
         %description -n {name}-lib\nA part.\n%files\n%files -n {name}-lib\n"
    );
    let path = dir.path().join("a.spec");
    fs::write(&path, spec).unwrap();
    let top = format!("_topdir {}/top", dir.path().display());
    let output = Command::new("rpmbuild").args(["-ba", "--define", &top]).arg(&path).output().unwrap();
    assert!(output.status.success(), "rpmbuild: {}", String::from_utf8_lossy(&output.stderr));
    let mut source = files(&dir.path().join("top/SRPMS"));
    let binaries = files(&dir.path().join("top/RPMS/noarch"));
    assert_eq!((source.len(), binaries.len()), (1, 2));
    Built { source: source.remove(0), binaries }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// A sound RPM of 200 kB with 1,000 files in one folder whose name is as long: 200 MB of paths.
pub(crate) fn endless() -> Vec<u8> {
    let text = |tag: u32, text: &str| (tag, 6, 1, [text.as_bytes(), &[0]].concat());
    let folder = format!("/{}/", "x".repeat(200_000));
    let names: Vec<u8> = (0..1_000).flat_map(|n| format!("{n}\0").into_bytes()).collect();
    let payload = b"nothing";
    let main = header(&[
        text(1000, "endless"),
        text(1001, "1.0"),
        text(1002, "1"),
        text(1022, "noarch"),
        (1030, 3, 1_000, vec![0; 2_000]),
        (1037, 4, 1_000, vec![0; 4_000]),
        text(1044, "hello-1.0-1.src.rpm"),
        (1116, 4, 1_000, vec![0; 4_000]),
        (1117, 8, 1_000, names),
        (1118, 8, 1, [folder.as_bytes(), &[0]].concat()),
        (5092, 8, 1, format!("{}\0", Sha256::of(payload)).into_bytes()),
        (5093, 4, 1, 8u32.to_be_bytes().to_vec()),
    ]);
    let size = (main.len() + payload.len()) as u32;
    let signature =
        header(&[text(273, &Sha256::of(&main).to_string()), (1000, 4, 1, size.to_be_bytes().to_vec())]);
    let mut rpm = vec![0; 96];
    rpm[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    rpm[79] = 5;
    rpm.extend(signature);
    rpm.resize(rpm.len().next_multiple_of(8), 0);
    [rpm, main, payload.to_vec()].concat()
}

/// The same RPM with so many more tags in its signature header, which mean nothing to anybody.
pub(crate) fn with_signature_tags(rpm: &[u8], more: u32) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(rpm[at..at + 4].try_into().unwrap());
    let (tags, store_bytes) = (number(96 + 8), number(96 + 12));
    let (index, store) = (96 + 16, 96 + 16 + tags as usize * 16);
    let end = store + store_bytes as usize;
    let mut all = rpm[..96 + 8].to_vec();
    all.extend((tags + more).to_be_bytes());
    all.extend((store_bytes + more).to_be_bytes());
    all.extend(&rpm[index..store]);
    // Behind the region, which says itself how many tags it spans.
    for n in 0..more {
        all.extend([2_000 + n, 7, store_bytes + n, 1].into_iter().flat_map(u32::to_be_bytes));
    }
    all.extend(&rpm[store..end]);
    all.resize(all.len() + more as usize, 0);
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend(&rpm[end.next_multiple_of(8)..]);
    all
}

/// A header of these values: tag, type, count, bytes.
fn header(values: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, kind, count, data) in values {
        if matches!(kind, 3 | 4) {
            store.resize(store.len().next_multiple_of(4), 0);
        }
        index.extend([*tag, *kind, store.len() as u32, *count].into_iter().flat_map(u32::to_be_bytes));
        store.extend(data);
    }
    let mut all = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    all.extend((values.len() as u32).to_be_bytes());
    all.extend((store.len() as u32).to_be_bytes());
    [all, index, store].concat()
}
