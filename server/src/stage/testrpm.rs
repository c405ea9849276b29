//! Real RPMs for tests, made by rpmbuild.

use std::fs;
use std::path::Path;
use std::process::Command;

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
