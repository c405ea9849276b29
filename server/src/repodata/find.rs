//! Finding files in `filelists`.
//!
//! Owns how a path looks there. Reads no other markup: a path stands between a tag's end and `</file>`, escaped.

use std::collections::BTreeSet;

use super::xml::Xml;

/// Path of a package, and which of the files that are looked for it has.
pub type Holder = (Box<str>, Vec<String>);

/// Files that are looked for.
#[derive(Clone, Debug)]
pub struct Finder {
    /// Each path, and what stands in the text where it is.
    needles: Vec<(String, String)>,
}

impl Finder {
    /// Looks for these paths.
    #[must_use]
    pub fn new(files: &BTreeSet<String>) -> Finder {
        let needle = |file: &String| {
            let mut xml = Xml::default();
            xml.raw(">");
            xml.text(file.as_bytes());
            xml.raw("</file>");
            let text = xml.finish().and_then(|text| String::from_utf8(text).ok())?;
            Some((file.clone(), text))
        };
        Finder { needles: files.iter().filter_map(needle).collect() }
    }

    /// Which of them a package's text in `filelists` names.
    #[must_use]
    pub fn find(&self, text: &[u8]) -> Vec<String> {
        let Ok(text) = std::str::from_utf8(text) else { return Vec::new() };
        let named = self.needles.iter().filter(|(_, needle)| text.contains(needle.as_str()));
        named.map(|(file, _)| file.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_paths_are_found_however_they_are_escaped() {
        let text =
            br#"<package><file type="dir">/a</file><file>/a/b</file><file>/a&amp;&lt;b</file></package>"#;
        let wanted = ["/a", "/a/b", "/a/", "/b", "a/b", "/a&<b", "/a&amp;&lt;b"];
        let finder = Finder::new(&wanted.map(str::to_owned).into());
        assert_eq!(finder.find(text), ["/a", "/a&<b", "/a/b"]);
    }
}
