//! Stand-ins for what `repodata` will have: the document around the texts, and `repomd.xml`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::repodata::Part;

pub(super) fn header(part: Part, packages: usize) -> Vec<u8> {
    let ns = match part {
        Part::Primary => {
            "metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\""
        }
        Part::Filelists => "filelists xmlns=\"http://linux.duke.edu/metadata/filelists\"",
        Part::Other | Part::Provides => "otherdata xmlns=\"http://linux.duke.edu/metadata/other\"",
    };
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{ns} packages=\"{packages}\">\n").into_bytes()
}

pub(super) fn footer(part: Part) -> Vec<u8> {
    match part {
        Part::Primary => b"</metadata>".to_vec(),
        Part::Filelists => b"</filelists>".to_vec(),
        Part::Other | Part::Provides => b"</otherdata>".to_vec(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    pub part: Part,
    pub name: String,
    pub sha256: [u8; 32],
    pub bytes: u64,
    pub open_sha256: Option<[u8; 32]>,
    pub open_bytes: u64,
    pub unix_s: u64,
}

fn hex(digest: &[u8; 32]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn repomd(revision: u64, files: &[DataFile], foreign: &[String]) -> Vec<u8> {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n",
    );
    let _ = writeln!(text, "  <revision>{revision}</revision>");
    for file in files {
        let _ = writeln!(text, "  <data type=\"{}\">", file.part.name());
        let _ = writeln!(text, "    <checksum type=\"sha256\">{}</checksum>", hex(&file.sha256));
        if let Some(open) = &file.open_sha256 {
            let _ = writeln!(text, "    <open-checksum type=\"sha256\">{}</open-checksum>", hex(open));
        }
        let _ = writeln!(text, "    <location href=\"repodata/{}\"/>", file.name);
        let _ = writeln!(text, "    <timestamp>{}</timestamp>", file.unix_s);
        let _ = writeln!(text, "    <size>{}</size>", file.bytes);
        let _ = writeln!(text, "    <open-size>{}</open-size>", file.open_bytes);
        text.push_str("  </data>\n");
    }
    for element in foreign {
        let _ = writeln!(text, "  {element}");
    }
    text.push_str("</repomd>\n");
    text.into_bytes()
}

pub(super) fn named_files(repomd: &[u8]) -> Option<BTreeSet<String>> {
    let text = std::str::from_utf8(repomd).ok()?;
    let mut names = BTreeSet::new();
    for rest in text.split("<location ").skip(1) {
        let name = rest.split_once("href=\"repodata/")?.1.split_once('"')?.0;
        if name.contains('/') {
            return None;
        }
        names.insert(name.to_owned());
    }
    Some(names)
}

pub(super) fn foreign_data(repomd: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(repomd);
    let elements = text.split("<data ").skip(1).filter_map(|rest| {
        let element = format!("<data {}</data>", rest.split_once("</data>")?.0);
        let kind = rest.split_once("type=\"")?.1.split_once('"')?.0;
        let ours = ["primary", "filelists", "other", "primary_db", "filelists_db", "other_db"];
        (!ours.contains(&kind)).then_some(element)
    });
    elements.collect()
}
