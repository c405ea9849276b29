//! `comps.xml`: groups of packages that are installed by one name.
//!
//! Owns what of it counts: names, and the packages that dnf installs with a group (mandatory, default and conditional;
//! never optional). Bytes come from mirrors: limits are those of [`crate::mainline`]'s reader of XML, and the ones here.

use std::fmt::Write as _;
use std::io::{self, Read};

use crate::mainline::unpack;
use crate::mainline::xml::{Piece, Xml, XmlError, short};

/// Longest file, expanded, bytes. Fedora's has 2 MB, with translations.
const BYTES_MAX: u64 = 32 << 20;
/// Most that is held of one file, bytes.
const HELD_BYTES_MAX: usize = 8 << 20;
/// What a member takes beside its text, bytes.
const ENTRY_BYTES: usize = 64;

/// Where elements stand: the root is at 0.
const GROUP_DEPTH: usize = 1;
const ABOUT_DEPTH: usize = 2;
const MEMBER_DEPTH: usize = 3;

/// A package of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) kind: MemberKind,
}

/// When it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    Mandatory,
    Default,
    /// With this one.
    Conditional(String),
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) members: Vec<Member>,
}

/// A group of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) groups: Vec<String>,
}

/// All groups of a repository, or some of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comps {
    pub(super) groups: Vec<Group>,
    pub(super) environments: Vec<Environment>,
}

/// What is being read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    Group,
    Environment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Other,
    Packages,
    Groups,
}

/// Where the text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    Nowhere,
    Id,
    Name,
    Last,
}

struct Reading {
    comps: Comps,
    kind: Kind,
    list: List,
    into: Into,
    held: usize,
}

impl Comps {
    /// Reads a file, compressed or not.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(file: &[u8]) -> Result<Comps, String> {
        let text = unpack::open(file).map_err(|error| error.to_string())?;
        let mut xml = Xml::new(io::BufReader::new(text.take(BYTES_MAX)));
        let mut reading = Reading {
            comps: Comps::default(),
            kind: Kind::Other,
            list: List::Other,
            into: Into::Nowhere,
            held: 0,
        };
        let mut is_begun = false;
        loop {
            let depth = xml.depth();
            let Some(piece) = xml.next().map_err(|error| error.to_string())? else { break };
            match piece {
                Piece::Start(tag) if depth == 0 => match tag.name() {
                    "comps" => is_begun = true,
                    root => return Err(format!("it begins with <{}>, not <comps>", short(root))),
                },
                Piece::Start(tag) => {
                    let kind = tag.attribute("type").and_then(|kind| Ok((kind, tag.attribute("requires")?)));
                    let lang = tag.attribute("xml:lang").map_err(|error| error.to_string())?;
                    let (kind, condition) = kind.map_err(|error: XmlError| error.to_string())?;
                    reading.start(depth, tag.name(), kind.as_deref(), condition, lang.is_some());
                }
                Piece::Text(text) => reading.text(&text),
                Piece::Character(character) => reading.text(character.encode_utf8(&mut [0; 4])),
                Piece::End => {
                    reading.into = Into::Nowhere;
                    if depth - 1 <= ABOUT_DEPTH {
                        reading.list = List::Other;
                    }
                }
                Piece::Other => {}
            }
            if reading.held > HELD_BYTES_MAX {
                return Err(format!("its groups take more than {} MiB", HELD_BYTES_MAX >> 20));
            }
        }
        if is_begun { Ok(reading.comps) } else { Err(XmlError::Cut.to_string()) }
    }

    /// Adds a group, or what one of another repository has beyond the one that is there.
    pub(super) fn add(&mut self, group: &Group) {
        match self.groups.iter_mut().find(|there| there.id == group.id) {
            None => self.groups.push(group.clone()),
            Some(there) => {
                for member in &group.members {
                    if !there.members.contains(member) {
                        there.members.push(member.clone());
                    }
                }
            }
        }
    }

    /// Adds a group of groups in the same way.
    pub(super) fn add_environment(&mut self, environment: &Environment) {
        match self.environments.iter_mut().find(|there| there.id == environment.id) {
            None => self.environments.push(environment.clone()),
            Some(there) => {
                for group in &environment.groups {
                    if !there.groups.contains(group) {
                        there.groups.push(group.clone());
                    }
                }
            }
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.environments.is_empty()
    }

    /// What it takes up, bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let members = |group: &Group| -> usize {
            let one = |member: &Member| match &member.kind {
                MemberKind::Conditional(with) => member.name.len() + with.len(),
                MemberKind::Mandatory | MemberKind::Default => member.name.len(),
            };
            group.members.iter().map(|member| one(member) + ENTRY_BYTES).sum()
        };
        let groups: usize = self.groups.iter().map(members).sum();
        let environments =
            |one: &Environment| one.groups.iter().map(|group| group.len() + ENTRY_BYTES).sum::<usize>();
        groups + self.environments.iter().map(environments).sum::<usize>()
    }

    /// A `comps.xml` of it.
    pub(super) fn write(&self) -> String {
        let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<comps>\n".to_owned();
        for Group { id, name, members } in &self.groups {
            let (id, name) = (escape(id), escape(name));
            let _ = write!(
                xml,
                "  <group>\n    <id>{id}</id>\n    <name>{name}</name>\n    <description/>\n    \
                 <default>false</default>\n    <uservisible>true</uservisible>\n    <packagelist>\n"
            );
            for Member { name, kind } in members {
                let kind = match kind {
                    MemberKind::Mandatory => "mandatory\"".to_owned(),
                    MemberKind::Default => "default\"".to_owned(),
                    MemberKind::Conditional(with) => format!("conditional\" requires=\"{}\"", escape(with)),
                };
                let _ = writeln!(xml, "      <packagereq type=\"{kind}>{}</packagereq>", escape(name));
            }
            xml.push_str("    </packagelist>\n  </group>\n");
        }
        for Environment { id, name, groups } in &self.environments {
            let (id, name) = (escape(id), escape(name));
            let _ = write!(
                xml,
                "  <environment>\n    <id>{id}</id>\n    <name>{name}</name>\n    <description/>\n    <grouplist>\n"
            );
            for group in groups {
                let _ = writeln!(xml, "      <groupid>{}</groupid>", escape(group));
            }
            xml.push_str("    </grouplist>\n  </environment>\n");
        }
        xml.push_str("</comps>\n");
        xml
    }
}

fn escape(text: &str) -> std::borrow::Cow<'_, str> {
    quick_xml::escape::escape(text)
}

impl Reading {
    fn start(
        &mut self,
        depth: usize,
        tag: &str,
        kind: Option<&str>,
        condition: Option<String>,
        is_translation: bool,
    ) {
        match (depth, tag, self.kind) {
            (GROUP_DEPTH, "group", _) => {
                self.kind = Kind::Group;
                self.comps.groups.push(Group::default());
                self.held += ENTRY_BYTES;
            }
            (GROUP_DEPTH, "environment", _) => {
                self.kind = Kind::Environment;
                self.comps.environments.push(Environment::default());
                self.held += ENTRY_BYTES;
            }
            (GROUP_DEPTH, ..) => self.kind = Kind::Other,
            (ABOUT_DEPTH, "id", _) => self.into = Into::Id,
            (ABOUT_DEPTH, "name", _) if !is_translation => self.into = Into::Name,
            (ABOUT_DEPTH, "packagelist", Kind::Group) => self.list = List::Packages,
            (ABOUT_DEPTH, "grouplist", Kind::Environment) => self.list = List::Groups,
            (MEMBER_DEPTH, "packagereq", Kind::Group) if self.list == List::Packages => {
                let kind = match (kind, condition) {
                    (Some("optional"), _) => return,
                    (Some("default"), _) => MemberKind::Default,
                    (Some("conditional"), Some(with)) => MemberKind::Conditional(with),
                    // libcomps takes it for mandatory.
                    _ => MemberKind::Mandatory,
                };
                let group = self.comps.groups.last_mut().expect("it is open");
                group.members.push(Member { name: String::new(), kind });
                self.held += ENTRY_BYTES;
                self.into = Into::Last;
            }
            (MEMBER_DEPTH, "groupid", Kind::Environment) if self.list == List::Groups => {
                let environment = self.comps.environments.last_mut().expect("it is open");
                environment.groups.push(String::new());
                self.held += ENTRY_BYTES;
                self.into = Into::Last;
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let to = match (self.kind, self.into) {
            (Kind::Other, _) | (_, Into::Nowhere) => None,
            (Kind::Group, into) => self.comps.groups.last_mut().and_then(|group| match into {
                Into::Id => Some(&mut group.id),
                Into::Name => Some(&mut group.name),
                _ => group.members.last_mut().map(|member| &mut member.name),
            }),
            (Kind::Environment, into) => self.comps.environments.last_mut().and_then(|one| match into {
                Into::Id => Some(&mut one.id),
                Into::Name => Some(&mut one.name),
                _ => one.groups.last_mut(),
            }),
        };
        if let Some(to) = to {
            self.held += text.len();
            to.push_str(text.trim());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPS: &str = r#"<?xml version="1.0"?><!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>buildsys-build</id><name>Buildsystem &amp; more</name><name xml:lang="de">Bausystem</name>
    <description>x</description><default>false</default><uservisible>false</uservisible>
    <packagelist>
      <packagereq type="mandatory">bash</packagereq><packagereq type="default">gcc-c++</packagereq>
      <packagereq type="optional">vim</packagereq><packagereq>tar</packagereq>
      <packagereq type="conditional" requires="kde">kde-l10n</packagereq>
    </packagelist></group>
  <category><id>no</id><grouplist><groupid>no</groupid></grouplist></category>
  <environment><id>dev</id><name>Dev</name><grouplist><groupid>buildsys-build</groupid></grouplist>
    <optionlist><groupid>other</groupid></optionlist></environment>
</comps>"#;

    #[test]
    fn groups_are_read_written_and_read_again() {
        let comps = Comps::read(COMPS.as_bytes()).unwrap();
        let [group] = &comps.groups[..] else { panic!("{comps:?}") };
        assert_eq!((&*group.id, &*group.name), ("buildsys-build", "Buildsystem & more"));
        let member = |name: &str, kind| Member { name: name.to_owned(), kind };
        let want = [
            member("bash", MemberKind::Mandatory),
            member("gcc-c++", MemberKind::Default),
            member("tar", MemberKind::Mandatory),
            member("kde-l10n", MemberKind::Conditional("kde".to_owned())),
        ];
        assert_eq!(group.members, want);
        assert_eq!(comps.environments[0].groups, ["buildsys-build"]);
        assert_eq!(Comps::read(comps.write().as_bytes()).unwrap(), comps);
        let packed = crate::repodata::Compression::Gzip.member(COMPS.as_bytes());
        assert_eq!(Comps::read(&packed).unwrap(), comps);
    }

    #[test]
    fn groups_of_one_name_are_one() {
        let mut comps = Comps::read(COMPS.as_bytes()).unwrap();
        let mut other = comps.groups[0].clone();
        other.members.push(Member { name: "make".to_owned(), kind: MemberKind::Mandatory });
        comps.add(&other);
        assert_eq!((comps.groups.len(), comps.groups[0].members.len()), (1, 5));
        comps.add_environment(&Environment { id: "new".to_owned(), ..Environment::default() });
        comps.add_environment(&comps.environments[0].clone());
        assert_eq!(comps.environments.len(), 2);
    }

    #[test]
    fn what_is_no_list_of_groups_is_said_to_be_none() {
        let check = |text: &str, word: &str| {
            let error = Comps::read(text.as_bytes()).unwrap_err();
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        };
        check("", "empty");
        check("<html/>", "<html>");
        check("<comps><group>", "in the middle");
        let many = "<packagereq>x</packagereq>".repeat(200_000);
        check(&format!("<comps><group><packagelist>{many}</packagelist></group></comps>"), "more than 8 MiB");
        for end in 0..COMPS.len() {
            assert!(Comps::read(&COMPS.as_bytes()[..end]).is_err(), "{end}");
        }
    }
}
