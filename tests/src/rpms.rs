//! RPMs made on the fly: good ones from spec texts, hostile ones from good ones.
//!
//! Owns running `rpmbuild` on the host for tests and knowing where in an RPM file what lies.
//! Must never write outside the folder it was given.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::daemon::run_to_end;

/// A trivial rpmbuild takes a tenth of a second; this is for a machine in distress.
const RPMBUILD_LIMIT: Duration = Duration::from_secs(120);

/// Bytes of the lead, with which every RPM file begins (rpm's `lib/rpmlead.c`).
const LEAD_BYTES: usize = 96;
/// Bytes of a header's intro: magic, version, reserved, index count, store length.
const INTRO_BYTES: usize = 16;

/// The text of a noarch spec that builds in a moment and installs `/usr/share/NAME/data`.
/// `extra` is put into the preamble, as in `"BuildRequires: x\n"`.
pub fn simple_spec(name: &str, version: &str, extra: &str) -> String {
    format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: made by a test\nLicense: MIT\n\
         BuildArch: noarch\n{extra}\n%description\nMade by a test.\n%install\n\
         install -d %{{buildroot}}/usr/share/{name}\n\
         echo {version} > %{{buildroot}}/usr/share/{name}/data\n%files\n/usr/share/{name}/data\n"
    )
}

/// Makes an SRPM from a spec text with the real rpmbuild, in `folder`; its path.
///
/// # Panics
/// When rpmbuild refuses the spec, with what it said.
pub fn srpm_from_spec(folder: &Path, spec: &str) -> PathBuf {
    let mut made = rpmbuild(folder, spec, "-bs");
    assert_eq!(made.len(), 1, "one SRPM of a spec");
    made.remove(0)
}

/// Makes the binary RPMs of a spec text on the host, in `folder`; their paths, sorted.
///
/// # Panics
/// When rpmbuild fails, with what it said.
pub fn rpms_from_spec(folder: &Path, spec: &str) -> Vec<PathBuf> {
    rpmbuild(folder, spec, "-bb")
}

fn rpmbuild(folder: &Path, spec: &str, action: &str) -> Vec<PathBuf> {
    let top = tempfile::tempdir_in(folder).expect("a folder for rpmbuild");
    let file = top.path().join("test.spec");
    fs::write(&file, spec).expect("the spec can be written");
    let made = top.path().join("made");
    let mut command = Command::new("rpmbuild");
    command.arg(action).arg("--quiet").arg("--nodeps");
    for (name, value) in [
        ("_topdir", top.path().display().to_string()),
        ("_srcrpmdir", made.display().to_string()),
        ("_rpmdir", made.display().to_string()),
        ("_rpmfilename", "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()),
        ("dist", "%{nil}".to_owned()),
        ("debug_package", "%{nil}".to_owned()),
    ] {
        command.arg("--define").arg(format!("{name} {value}"));
    }
    let finished = run_to_end(
        {
            command.arg(&file);
            command
        },
        RPMBUILD_LIMIT,
    );
    assert_eq!(finished.code, 0, "rpmbuild failed:\n{}", finished.stderr);
    let mut paths: Vec<PathBuf> = fs::read_dir(&made)
        .expect("rpmbuild made a folder")
        .map(|entry| entry.expect("a folder can be listed").path())
        .map(|path| {
            let target = folder.join(path.file_name().expect("a file has a name"));
            fs::rename(&path, &target).expect("a rename within one folder");
            target
        })
        .collect();
    paths.sort();
    paths
}

/// A copy of `rpm` in `folder` under its own name that ends after `keep` bytes, as an
/// interrupted `scp` leaves it.
pub fn truncated(rpm: &Path, folder: &Path, keep: u64) -> PathBuf {
    rewrite(rpm, folder, |bytes| {
        bytes.truncate(usize::try_from(keep).expect("a length in memory"));
    })
}

/// A file called `name` in `folder` that is no RPM at all.
pub fn foreign(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, "<html>404 not found</html>\n".repeat(40)).expect("a file can be written");
    path
}

/// Ways to damage an RPM; each is caught by another check of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The first byte of the file.
    LeadMagic,
    /// The magic of the signature header.
    SignatureMagic,
    /// The signature header claims two thousand million index entries.
    SignatureCount,
    /// The magic of the main header.
    HeaderMagic,
    /// The main header claims a store of four thousand million bytes.
    HeaderLength,
    /// An index entry of the main header points far outside its store.
    HeaderOffset,
    /// One bit in the middle of the main header's store, of the same length as before.
    HeaderBit,
    /// One bit in the middle of the payload.
    PayloadBit,
}

impl Damage {
    /// Every way.
    pub const ALL: [Self; 8] = [
        Self::LeadMagic,
        Self::SignatureMagic,
        Self::SignatureCount,
        Self::HeaderMagic,
        Self::HeaderLength,
        Self::HeaderOffset,
        Self::HeaderBit,
        Self::PayloadBit,
    ];
}

/// A copy of `rpm` in `folder` under its own name, as long as it was, damaged that way.
pub fn damaged(rpm: &Path, folder: &Path, damage: Damage) -> PathBuf {
    rewrite(rpm, folder, |bytes| {
        let parts = Parts::of(bytes);
        let (signature, header) = (LEAD_BYTES, parts.header);
        match damage {
            Damage::LeadMagic => bytes[0] ^= 0xff,
            Damage::SignatureMagic => bytes[signature] ^= 0xff,
            Damage::SignatureCount => put(bytes, signature + 8, 0x7fff_ffff),
            Damage::HeaderMagic => bytes[header] ^= 0xff,
            Damage::HeaderLength => put(bytes, header + 12, 0xffff_fff0),
            // The second entry: the first is the immutable region's.
            Damage::HeaderOffset => put(bytes, header + INTRO_BYTES + 16 + 8, 0x7fff_ff00),
            Damage::HeaderBit => bytes[usize::midpoint(parts.store, parts.payload)] ^= 1,
            Damage::PayloadBit => {
                let middle = usize::midpoint(parts.payload, bytes.len());
                bytes[middle] ^= 1;
            }
        }
    })
}

/// A copy of `rpm` in `folder` called `name`, every `from` in it replaced by `to` of the same
/// length: a header that says something else. Its digests are not made right again.
///
/// # Panics
/// When the lengths differ or `from` does not occur.
pub fn patched(rpm: &Path, folder: &Path, name: &str, from: &[u8], to: &[u8]) -> PathBuf {
    assert_eq!(from.len(), to.len(), "a patch keeps every offset");
    let mut bytes = fs::read(rpm).expect("an RPM can be read");
    let places: Vec<usize> =
        (0..bytes.len().saturating_sub(from.len())).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "what is to be patched occurs");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file can be written");
    path
}

fn rewrite(rpm: &Path, folder: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(rpm).expect("an RPM can be read");
    change(&mut bytes);
    let path = folder.join(rpm.file_name().expect("an RPM has a name"));
    assert_ne!(path, rpm, "the good one is kept");
    fs::write(&path, bytes).expect("a file can be written");
    path
}

/// Offsets of the parts of an RPM file.
struct Parts {
    header: usize,
    store: usize,
    payload: usize,
}

impl Parts {
    fn of(bytes: &[u8]) -> Self {
        let extent = |at: usize| {
            let entries = number(bytes, at + 8) * 16;
            (at + INTRO_BYTES + entries, at + INTRO_BYTES + entries + number(bytes, at + 12))
        };
        // The signature header is padded to eight bytes, the main header is not.
        let header = extent(LEAD_BYTES).1.next_multiple_of(8);
        let (store, payload) = extent(header);
        Self { header, store, payload }
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    let raw: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(raw) as usize
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `rpm` says of a file: its exit code, and `name-version source?`.
    fn query(path: &Path) -> (i32, String) {
        let mut command = Command::new("rpm");
        command.args(["-qp", "--qf", "%{NAME}-%{VERSION} %{SOURCEPACKAGE}"]).arg(path);
        let finished = run_to_end(command, RPMBUILD_LIMIT);
        (finished.code, finished.stdout)
    }

    fn check(path: &Path) -> i32 {
        let mut command = Command::new("rpm");
        command.arg("-K").arg(path);
        run_to_end(command, RPMBUILD_LIMIT).code
    }

    #[test]
    fn a_spec_text_becomes_an_srpm_and_rpms() {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = simple_spec("made", "2.5", "Provides: made(api) = 3\n");
        let srpm = srpm_from_spec(folder.path(), &spec);
        assert_eq!(srpm, folder.path().join("made-2.5-1.src.rpm"));
        assert_eq!(query(&srpm), (0, "made-2.5 1".to_owned()));
        let rpms = rpms_from_spec(folder.path(), &spec);
        assert_eq!(rpms, [folder.path().join("made-2.5-1.noarch.rpm")]);
        assert_eq!(query(&rpms[0]), (0, "made-2.5 (none)".to_owned()));
        assert_eq!(check(&rpms[0]), 0);
    }

    #[test]
    fn every_damage_keeps_the_length_and_is_seen_by_rpm() {
        let (folder, bad) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let srpm = srpm_from_spec(folder.path(), &simple_spec("hurt", "1", ""));
        let length = fs::metadata(&srpm).expect("there").len();
        assert_eq!(check(&srpm), 0);
        for damage in Damage::ALL {
            let path = damaged(&srpm, bad.path(), damage);
            assert_eq!(fs::metadata(&path).expect("there").len(), length);
            assert_ne!(check(&path), 0, "{damage:?} goes unnoticed");
        }
    }

    #[test]
    fn truncated_foreign_and_patched_files_are_what_they_say() {
        let (folder, bad) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
        let srpm = srpm_from_spec(folder.path(), &simple_spec("aabb", "1", ""));
        let short = truncated(&srpm, bad.path(), 500);
        assert_eq!(fs::metadata(&short).expect("there").len(), 500);
        assert_ne!(query(&short).0, 0);
        assert_ne!(query(&foreign(bad.path(), "x-1-1.src.rpm")).0, 0);
        let trick = patched(&srpm, bad.path(), "trick-1-1.src.rpm", b"\0aabb\0", b"\0../x\0");
        assert!(fs::read(trick).expect("there").windows(5).any(|window| window == b"../x\0"));
    }
}
