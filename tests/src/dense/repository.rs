//! The files of a made repository.
//!
//! Owns how they are written, in a stream, and where they are kept. The texts of packages are the hub's own, which
//! other tests hold against createrepo_c's; comps is in Fedora's form.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use moji_server::repodata::{About, Compression, DataFile, Part, describe, footer, header, repomd};
use sha2::{Digest, Sha256};

use super::Package;
use crate::synthetic::header::hex;
use crate::world::cache;

/// The group that a chroot is set up with.
pub const SETUP_GROUP: &str = "buildsys-build";
/// What is in it: Fedora's list.
const SETUP: [&str; 22] = [
    "bash",
    "bzip2",
    "coreutils",
    "cpio",
    "diffutils",
    "release",
    "findutils",
    "gawk",
    "glibc-minimal-langpack",
    "grep",
    "gzip",
    "info",
    "patch",
    "redhat-rpm-config",
    "rpm-build",
    "sed",
    "shadow-utils",
    "tar",
    "unzip",
    "util-linux",
    "which",
    "xz",
];
/// When all files of the repository were made, unix seconds.
const MADE_UNIX_S: u64 = 1_760_000_000;
/// Text that is compressed together.
const MEMBER_BYTES: usize = 4 << 20;

/// Writes a repository, package by package.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    packages: usize,
    parts: [PartFile; 3],
}

/// One of its files as it grows: the texts of packages, whose header comes when their number is known.
#[derive(Debug)]
struct PartFile {
    part: Part,
    file: File,
    text: Vec<u8>,
    open_bytes: u64,
}

impl PartFile {
    fn flush(&mut self) -> io::Result<()> {
        self.open_bytes += self.text.len() as u64;
        let member = Compression::Gzip.member(&self.text);
        self.text.clear();
        self.file.write_all(&member)
    }
}

impl Writer {
    /// Begins one in `folder`, which is made.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn start(folder: &Path) -> io::Result<Writer> {
        fs::create_dir_all(folder.join("repodata"))?;
        let start = |part: Part| {
            let file = File::create(folder.join("repodata").join(part.name()))?;
            Ok::<_, io::Error>(PartFile { part, file, text: Vec::new(), open_bytes: 0 })
        };
        let [primary, filelists, other] = Part::PUBLISHED.map(start);
        Ok(Writer { folder: folder.to_owned(), packages: 0, parts: [primary?, filelists?, other?] })
    }

    /// Adds a package; its RPM would lie in a folder with the first letter of its name.
    ///
    /// # Errors
    /// Those of the file system.
    ///
    /// # Panics
    /// When the hub cannot describe the package.
    pub fn add(&mut self, package: &Package) -> io::Result<()> {
        let rpm = package.rpm();
        let href = href(package);
        let about = About {
            href: &href,
            sha256: Sha256::digest(&rpm.bytes).into(),
            size: rpm.bytes.len() as u64,
            modified_unix_s: MADE_UNIX_S,
        };
        let described = describe(&rpm.bytes[..], &about).unwrap_or_else(|why| panic!("{href}: {why}"));
        self.packages += 1;
        for file in &mut self.parts {
            let text = &described.texts[file.part as usize];
            // The files are there as far as metadata go.
            let text = String::from_utf8_lossy(text).replace(" type=\"ghost\"", "");
            file.text.extend(text.as_bytes());
            if file.text.len() > MEMBER_BYTES {
                file.flush()?;
            }
        }
        Ok(())
    }

    /// Ends it, with or without groups.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self, groups: bool) -> io::Result<()> {
        let repodata = self.folder.join("repodata");
        let mut files = Vec::new();
        for file in &mut self.parts {
            file.text.extend(footer(file.part));
            file.flush()?;
            file.file.sync_data()?;
            let rough = repodata.join(file.part.name());
            let head = header(file.part, self.packages);
            let whole = [Compression::Gzip.member(&head), fs::read(&rough)?].concat();
            fs::remove_file(rough)?;
            let sha256: [u8; 32] = Sha256::digest(&whole).into();
            let name = format!("{}-{}.xml.gz", hex(&sha256), file.part.name());
            fs::write(repodata.join(&name), &whole)?;
            files.push(DataFile {
                part: file.part,
                name,
                sha256,
                bytes: whole.len() as u64,
                open_sha256: None,
                open_bytes: file.open_bytes + head.len() as u64,
                unix_s: MADE_UNIX_S,
            });
        }
        let mut foreign = Vec::new();
        if groups {
            let text = comps();
            let digest = hex(&Sha256::digest(&text));
            let name = format!("{digest}-comps.xml");
            fs::write(repodata.join(&name), &text)?;
            foreign.push(format!(
                "<data type=\"group\">\n    <checksum type=\"sha256\">{digest}</checksum>\n    \
                 <location href=\"repodata/{name}\"/>\n    <timestamp>{MADE_UNIX_S}</timestamp>\n    \
                 <size>{}</size>\n  </data>",
                text.len()
            ));
        }
        fs::write(repodata.join("repomd.xml"), repomd(MADE_UNIX_S, &files, &foreign))
    }
}

/// Where the RPM of a package would lie in its repository.
pub(crate) fn href(package: &Package) -> String {
    let first = package.name.chars().next().unwrap_or('_').to_ascii_lowercase();
    format!("Packages/{first}/{}", package.file_name())
}

fn comps() -> String {
    let packages: String = SETUP
        .iter()
        .map(|name| format!("      <packagereq type=\"mandatory\">{name}</packagereq>\n"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n<comps>\n  <group>\n    \
         <id>{SETUP_GROUP}</id>\n    <name>Buildsystem building group</name>\n    <description></description>\n    \
         <default>false</default>\n    <uservisible>false</uservisible>\n    <packagelist>\n{packages}    \
         </packagelist>\n  </group>\n  <group>\n    <id>other</id>\n    <name>Other</name>\n    \
         <description></description>\n    <default>true</default>\n    <uservisible>true</uservisible>\n    \
         <packagelist>\n      <packagereq type=\"default\">gdb</packagereq>\n    </packagelist>\n  </group>\n</comps>\n"
    )
}

/// The folder `NAME-DIGEST` of the tests' cache, made by `make` when it is not there. The digest is that of `generation`.
pub(crate) fn cached(name: &str, generation: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> PathBuf {
    let digest = hex(&Sha256::digest(generation));
    let folder = cache().join(format!("{name}-{}", &digest[..16]));
    if !folder.join("repodata/repomd.xml").exists() {
        // Two tests may make it at the same time: the second one's is thrown away.
        let rough =
            tempfile::Builder::new().prefix(".dense-").tempdir_in(cache()).expect("a folder in the cache");
        make(rough.path()).unwrap_or_else(|why| panic!("cannot make {name}: {why}"));
        if fs::rename(rough.path(), &folder).is_ok() {
            let _ = rough.keep();
        }
        forget(name, &folder);
    }
    folder
}

/// Removes what older versions of the tests left under this name days ago: what is newer may be in use.
fn forget(name: &str, now: &Path) {
    const OLD: std::time::Duration = std::time::Duration::from_secs(2 * 86_400);
    for entry in fs::read_dir(cache()).into_iter().flatten().flatten() {
        let is_ours =
            entry.file_name().to_string_lossy().strip_prefix(name).is_some_and(|rest| rest.len() == 17);
        let age = entry.metadata().and_then(|stat| stat.modified()).ok().and_then(|time| time.elapsed().ok());
        if is_ours && entry.path() != now && age.is_some_and(|age| age > OLD) {
            // Another test may have removed it first.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
