//! `repomd.xml`: which files are the index.
//!
//! Owns writing it as createrepo_c does (`xml_dump_repomd.c`), and reading of any such file which files it names and what
//! in it is not about packages.

use std::collections::BTreeSet;
use std::fmt::Write;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::group::Part;

/// A file of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// What it is.
    pub part: Part,
    /// Its name in `repodata/`.
    pub name: String,
    /// Digest of it as it is.
    pub sha256: [u8; 32],
    /// Its length, bytes.
    pub bytes: u64,
    /// Digest of what it expands to, if that was computed: no reader of XML looks at it.
    pub open_sha256: Option<[u8; 32]>,
    /// Length of what it expands to, bytes.
    pub open_bytes: u64,
    /// When it was made, unix seconds.
    pub unix_s: u64,
}

/// The text of `repomd.xml`, with `foreign` elements after the packages' own.
#[must_use]
pub fn repomd(revision: u64, files: &[DataFile], foreign: &[String]) -> Vec<u8> {
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  \
         <revision>{revision}</revision>\n"
    );
    for file in files {
        let DataFile { part, name, sha256, bytes, open_sha256, open_bytes, unix_s } = file;
        let digest = hex(sha256);
        let open = open_sha256
            .as_ref()
            .map(|open| format!("    <open-checksum type=\"sha256\">{}</open-checksum>\n", hex(open)));
        write!(
            xml,
            "  <data type=\"{part}\">\n    <checksum type=\"sha256\">{digest}</checksum>\n{open}    \
             <location href=\"repodata/{name}\"/>\n    <timestamp>{unix_s}</timestamp>\n    \
             <size>{bytes}</size>\n    <open-size>{open_bytes}</open-size>\n  </data>\n",
            part = part.name(),
            open = open.unwrap_or_default(),
        )
        .expect("memory takes all");
    }
    for element in foreign {
        writeln!(xml, "  {element}").expect("memory takes all");
    }
    xml.push_str("</repomd>\n");
    xml.into_bytes()
}

/// A `<data>` element.
#[derive(Debug, Default)]
struct Data {
    kind: String,
    /// The element as it stands in the file.
    verbatim: String,
    /// Where its file is, relative to the repository.
    href: String,
}

/// The names of all files in `repodata/` that a `repomd.xml` names; None if it is none.
#[must_use]
pub fn named_files(repomd: &[u8]) -> Option<BTreeSet<String>> {
    let in_repodata = |data: Data| data.href.strip_prefix("repodata/").map(str::to_owned);
    Some(read(repomd)?.into_iter().filter_map(in_repodata).collect())
}

/// Its `<data>` elements that do not list packages: comps, updateinfo, modules. None where it cannot be read.
#[must_use]
pub fn foreign_data(repomd: &[u8]) -> Vec<String> {
    let is_foreign = |data: &Data| {
        // primary, primary_db, primary_zck, filelists_ext and so on.
        let ours = Part::PUBLISHED.map(Part::name);
        !ours.iter().any(|part| data.kind == *part || data.kind.starts_with(&format!("{part}_")))
    };
    let all = read(repomd).unwrap_or_default().into_iter();
    all.filter(is_foreign).map(|data| data.verbatim).collect()
}

fn read(repomd: &[u8]) -> Option<Vec<Data>> {
    let text = std::str::from_utf8(repomd).ok()?;
    let mut reader = Reader::from_str(text);
    let (mut all, mut data) = (Vec::new(), None::<(usize, Data)>);
    let mut is_whole = false;
    loop {
        let start = usize::try_from(reader.buffer_position()).ok()?;
        match reader.read_event().ok()? {
            Event::Start(e) if e.local_name().as_ref() == "data" => {
                data = Some((start, Data { kind: attribute(&e, "type")?, ..Data::default() }));
            }
            Event::Start(e) | Event::Empty(e) if e.local_name().as_ref() == "location" => {
                if let Some((_, data)) = &mut data {
                    data.href = attribute(&e, "href")?;
                }
            }
            Event::End(e) if e.local_name().as_ref() == "data" => {
                let (start, mut data) = data.take()?;
                let end = usize::try_from(reader.buffer_position()).ok()?;
                data.verbatim = text.get(start..end)?.to_owned();
                all.push(data);
            }
            Event::End(e) if e.local_name().as_ref() == "repomd" => is_whole = true,
            Event::Eof => return is_whole.then_some(all),
            _ => {}
        }
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let value = element.try_get_attribute(name).ok()??.value;
    quick_xml::escape::unescape(&value).ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(part: Part, open: bool) -> DataFile {
        DataFile {
            part,
            name: format!("ab-{}.xml.gz", part.name()),
            sha256: [0xab; 32],
            bytes: 7,
            open_sha256: open.then_some([1; 32]),
            open_bytes: 9,
            unix_s: 3,
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_foreign_elements_stay() {
        let foreign = "<data type=\"group\">\n    <location href=\"repodata/a&amp;b-comps.xml\"/>\n  </data>";
        let files = [file(Part::Primary, true), file(Part::Other, false)];
        let text = repomd(5, &files, &[foreign.to_owned()]);
        let names: Vec<String> = named_files(&text).unwrap().into_iter().collect();
        assert_eq!(names, ["a&b-comps.xml", "ab-other.xml.gz", "ab-primary.xml.gz"]);
        assert_eq!(foreign_data(&text), [foreign]);
        let again = repomd(5, &files, &foreign_data(&text));
        assert_eq!(again, text);
        let whole = String::from_utf8(text).unwrap();
        assert_eq!(whole.matches("<open-checksum").count(), 1);
        for end in 0..whole.trim_end().len() {
            assert_eq!(named_files(&whole.as_bytes()[..end]), None, "{end}");
        }
    }

    #[test]
    fn files_of_createrepo_c_are_not_foreign() {
        let kinds =
            ["primary", "primary_db", "filelists_zck", "filelists_ext", "other_db", "others", "modules"];
        let all: String =
            kinds.map(|kind| format!("<data type=\"{kind}\"><location href=\"x\"/></data>")).concat();
        let kept = foreign_data(format!("<repomd>{all}</repomd>").as_bytes());
        assert_eq!(kept.len(), 2);
        assert!(kept[0].contains("others") && kept[1].contains("modules"), "{kept:?}");
        assert_eq!(named_files(b"<html>no</html>"), None);
        assert_eq!(foreign_data(b"\xff"), Vec::<String>::new());
    }
}
