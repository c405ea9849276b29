//! What a package needs, read back from its text in `primary`.
//!
//! Owns the reverse of [`super::dependency`] for requirements only: the hub itself wrote these texts, so nothing else is
//! understood, and what does not look as it should is left out.

use crate::rpmfile::Capability;

/// What a text in `primary` says of who needs what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Name of the package.
    pub name: String,
    /// Its `[epoch:]version-release`.
    pub evr: String,
    /// Whether it is a source package: then these are its BuildRequires.
    pub is_source: bool,
    /// What it requires.
    pub requires: Vec<Capability>,
}

/// Reads a package's text.
#[must_use]
pub fn needs(primary: &str) -> Option<Needs> {
    let arch = between(primary, "<arch>", "<")?;
    let (version, rest) = primary.split_once("<version ")?.1.split_once("/>")?;
    let requires = between(rest, "<rpm:requires>", "</rpm:requires>").unwrap_or_default();
    let entries = requires.split("<rpm:entry ").skip(1);
    Some(Needs {
        name: unescape(between(primary, "<name>", "<")?),
        evr: evr(version),
        is_source: matches!(arch, "src" | "nosrc"),
        requires: entries.filter_map(capability).collect(),
    })
}

fn capability(entry: &str) -> Option<Capability> {
    let name = unescape(attribute(entry, "name")?);
    let flags = match attribute(entry, "flags") {
        Some("LT") => 2,
        Some("GT") => 4,
        Some("EQ") => 8,
        Some("LE") => 10,
        Some("GE") => 12,
        _ => 0,
    };
    Some(Capability { name, flags, evr: if flags == 0 { String::new() } else { evr(entry) } })
}

/// `[epoch:]version[-release]` of attributes; an epoch of 0 is none.
fn evr(attributes: &str) -> String {
    let of = |name| attribute(attributes, name).map(unescape).unwrap_or_default();
    let (epoch, version, release) = (of("epoch"), of("ver"), of("rel"));
    let epoch = if matches!(&*epoch, "" | "0") { String::new() } else { format!("{epoch}:") };
    let release = if release.is_empty() { release } else { format!("-{release}") };
    format!("{epoch}{version}{release}")
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes.split('>').next()?;
    // Values hold neither quotes nor angle brackets.
    while let Some((before, after)) = rest.split_once("=\"") {
        let (value, more) = after.split_once('"')?;
        if before.trim_start() == name {
            return Some(value);
        }
        rest = more;
    }
    None
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    Some(text.split_once(from)?.1.split_once(to)?.0)
}

fn unescape(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, rest) = part.split_once(';').unwrap_or(("", part));
        let number = entity.strip_prefix("#x").map(|hex| (hex, 16));
        let number = number.or_else(|| entity.strip_prefix('#').map(|digits| (digits, 10)));
        out.extend(match (entity, number) {
            ("amp", _) => Some('&'),
            ("lt", _) => Some('<'),
            ("gt", _) => Some('>'),
            ("quot", _) => Some('"'),
            (_, Some((digits, radix))) => u32::from_str_radix(digits, radix).ok().and_then(char::from_u32),
            _ => None,
        });
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"<package type="rpm">
  <name>a&amp;b</name>
  <arch>src</arch>
  <version epoch="1" ver="2" rel="3"/>
  <summary>&lt;rpm:requires&gt;</summary>
  <format>
    <rpm:provides>
      <rpm:entry name="no"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="libx.so.1()(64bit)"/>
      <rpm:entry name="x-devel" flags="GE" epoch="0" ver="1" rel="2" pre="1"/>
      <rpm:entry name="(a or b &gt;= 1)"/>
      <rpm:entry name="w&#xFC;&#9;" flags="LT" epoch="4" ver="5"/>
    </rpm:requires>
    <rpm:conflicts>
      <rpm:entry name="no"/>
    </rpm:conflicts>
  </format>
</package>
"#;

    #[test]
    fn requirements_come_out_as_they_went_in_and_nothing_else_does() {
        let needs = needs(TEXT).unwrap();
        assert_eq!((&*needs.name, &*needs.evr, needs.is_source), ("a&b", "1:2-3", true));
        let all: Vec<(&str, u32, &str)> =
            needs.requires.iter().map(|one| (&*one.name, one.flags, &*one.evr)).collect();
        let want = [
            ("libx.so.1()(64bit)", 0, ""),
            ("x-devel", 12, "1-2"),
            ("(a or b >= 1)", 0, ""),
            ("wü\t", 2, "4:5"),
        ];
        assert_eq!(all, want);
    }

    #[test]
    fn a_package_that_requires_nothing_and_a_text_that_is_none_are_read() {
        let none = TEXT.replace("rpm:requires>", "rpm:others>").replace(">src<", ">noarch<");
        let needs_none = needs(&none).unwrap();
        assert_eq!((needs_none.requires.len(), needs_none.is_source), (0, false));
        assert_eq!(needs("<package part=\"primary\" path=\"a\">\n</package>"), None);
    }
}
