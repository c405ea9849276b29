//! The repository of what one build can need.
//!
//! Owns its `repomd.xml`, the list of packages and the list of groups that it names, and which file of which repository is meant
//! by a path in it. Each package's text stays as it was but for its location, which gets the number of its repository before it,
//! and files that only `filelists` had. The same packages make the same bytes.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::Arc;

use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};

use super::closure::Picked;
use super::layer::Layer;
use crate::repodata::{DataFile, Part, footer, header, repomd};

/// Level of gzip: a board waits for it, and it is read once. Everything that reads yum repositories reads gzip.
const GZIP_LEVEL: u32 = 1;
/// What stands for the time in `repomd.xml`, unix seconds: names of files tell what is new.
const UNIX_S: u64 = 1;

/// A package's file in its own repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which repository, as in the layers that were handed over.
    pub layer: usize,
    /// Where it is there.
    pub href: String,
    /// How long it is, bytes; 0 if that is not known.
    pub size: u64,
    /// What kind of digest it has (`sha256`), and that in hexadecimal digits.
    pub checksum: (String, String),
}

/// A thin repository.
#[derive(Clone, Debug, Default)]
pub struct Thin {
    /// `repodata/repomd.xml`.
    pub repomd: Vec<u8>,
    /// The other files: `repodata/<digest>-primary.xml.gz`, and `repodata/<digest>-comps.xml.gz` if the setup names groups.
    pub files: Vec<(String, Vec<u8>)>,
    /// What is meant by each path of a package, which is `<layer>/<path in its own repository>`.
    pub payloads: HashMap<String, Payload>,
    /// How many packages it has.
    pub packages: usize,
    /// What nobody provides.
    pub missing: Vec<String>,
}

/// Makes a repository of what was picked from these layers.
///
/// # Errors
/// If the texts of packages cannot be read.
pub fn write(layers: &[Arc<Layer>], picked: &Picked) -> io::Result<Thin> {
    let mut thin =
        Thin { packages: picked.packages.len(), missing: picked.missing.clone(), ..Thin::default() };
    let (mut xml, mut buf) = (header(Part::Primary, thin.packages), Vec::new());
    for (at, package) in &picked.packages {
        let layer = &layers[*at];
        let (about, text) = layer.text(*package, &mut buf)?;
        let href = format!("{at}/{}", about.href);
        let (start, end) = about.location;
        xml.extend_from_slice(&text[..start]);
        write!(xml, "<location href=\"{}\"/>", quick_xml::escape::escape(&href))?;
        match about.format_end {
            None => xml.extend_from_slice(&text[end..]),
            Some(format_end) => {
                xml.extend_from_slice(&text[end..format_end]);
                for file in layer.found(*package) {
                    writeln!(xml, "  <file>{}</file>", quick_xml::escape::escape(file))?;
                }
                xml.extend_from_slice(&text[format_end..]);
            }
        }
        xml.push(b'\n');
        let payload = Payload { layer: *at, href: about.href, size: about.size, checksum: about.checksum };
        thin.payloads.insert(href, payload);
    }
    xml.extend(footer(Part::Primary));
    let (name, packed) = pack(&xml, "primary")?;
    let primary = DataFile {
        part: Part::Primary,
        name: name.clone(),
        sha256: Sha256::digest(&packed).into(),
        bytes: packed.len() as u64,
        open_sha256: None,
        open_bytes: xml.len() as u64,
        unix_s: UNIX_S,
    };
    thin.files.push((format!("repodata/{name}"), packed));
    let mut foreign = Vec::new();
    if !picked.comps.is_empty() {
        let text = picked.comps.write();
        let (name, packed) = pack(text.as_bytes(), "comps")?;
        let digest = &name[..2 * size_of::<[u8; 32]>()];
        foreign.push(format!(
            "<data type=\"group\">\n    <checksum type=\"sha256\">{digest}</checksum>\n    \
             <location href=\"repodata/{name}\"/>\n    <timestamp>{UNIX_S}</timestamp>\n    \
             <size>{}</size>\n    <open-size>{}</open-size>\n  </data>",
            packed.len(),
            text.len(),
        ));
        thin.files.push((format!("repodata/{name}"), packed));
    }
    thin.repomd = repomd(UNIX_S, &[primary], &foreign);
    Ok(thin)
}

/// A file that is compressed and named after its digest.
fn pack(text: &[u8], what: &str) -> io::Result<(String, Vec<u8>)> {
    let room = Vec::with_capacity(text.len() / 4 + 1_024);
    let mut gzip = GzBuilder::new().write(room, Compression::new(GZIP_LEVEL));
    gzip.write_all(text)?;
    let packed = gzip.finish()?;
    let digest: String = Sha256::digest(&packed).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((format!("{digest}-{what}.xml.gz"), packed))
}
