//! What stands around the texts of a repository's files.
//!
//! Owns header and footer, byte for byte as createrepo_c writes them (`xml_file.c`).

use super::group::Part;

/// What a file of so many packages starts with. Nothing of a part that is never published.
#[must_use]
pub fn header(part: Part, packages: usize) -> Vec<u8> {
    let (element, namespaces) = match part {
        Part::Primary => (
            "metadata",
            "xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
        ),
        Part::Filelists => ("filelists", "xmlns=\"http://linux.duke.edu/metadata/filelists\""),
        Part::Other => ("otherdata", "xmlns=\"http://linux.duke.edu/metadata/other\""),
        Part::Provides => return Vec::new(),
    };
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    format!("{declaration}\n<{element} {namespaces} packages=\"{packages}\">\n").into_bytes()
}

/// What it ends with.
#[must_use]
pub fn footer(part: Part) -> Vec<u8> {
    let end: &[u8] = match part {
        Part::Primary => b"</metadata>",
        Part::Filelists => b"</filelists>",
        Part::Other => b"</otherdata>",
        Part::Provides => b"",
    };
    end.to_vec()
}
