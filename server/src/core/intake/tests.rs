//! Intake alone, with the shell played by the tests.

use super::*;
use crate::rpmfile::{Facts, Kind, Nevra};

fn name() -> FileName {
    FileName::new("a-1-1.src.rpm").unwrap()
}

fn stamp(len: u64) -> Stamp {
    Stamp { len, modified_ns: u128::from(len), inode: 1 }
}

fn whole(len: u64) -> Seen {
    let [name, version, release, arch] = ["a", "1", "1", "src"].map(str::to_owned);
    let nevra = Nevra { name, epoch: 0, version, release, arch };
    let (requires, provides, exclusive_arch, exclude_arch) = Default::default();
    let kind = Kind::Source;
    let facts = Facts { kind, nevra, source_rpm: None, requires, provides, exclusive_arch, exclude_arch };
    Seen::Whole { stamp: stamp(len), srpm: Srpm { size: len, facts } }
}

fn short(len: u64) -> Seen {
    Seen::Short { stamp: stamp(len), want: Some(100) }
}

struct Rig(Intake, Time);

impl Rig {
    fn new() -> Rig {
        Rig(Intake::new(TRUNCATED_AFTER_MS), Time(0))
    }

    /// What is wanted after `msg`, one word each.
    fn tell(&mut self, msg: Msg) -> Vec<String> {
        let mut out = Vec::new();
        self.0.handle(self.1, msg, &mut out);
        let word = |effect| match effect {
            Effect::List(place) => format!("list {place:?}"),
            Effect::Look(name) => format!("look {name}"),
            Effect::Read(list) => format!("read {list:?}"),
            Effect::Queue(queue::Msg::Appeared { .. }) => "appeared".to_owned(),
            Effect::Queue(queue::Msg::Vanished { .. }) => "vanished".to_owned(),
            Effect::Queue(queue::Msg::Unusable { why, .. }) => why,
            Effect::Queue(queue::Msg::FinishedChanged { present, .. }) => format!("finished {present}"),
            Effect::Queue(queue::Msg::Priority(names)) => format!("priority {names:?}"),
            Effect::Queue(queue::Msg::Options(rules)) => format!("{} rules", rules.len()),
            Effect::Leases(leases::Msg::Vanished { .. }) => "unleased?".to_owned(),
            Effect::Log(_, text) => text,
            other => format!("{other:?}"),
        };
        out.into_iter().map(word).collect()
    }

    fn event(&mut self, place: Place, what: What) -> Vec<String> {
        self.tell(Msg::Event { place, name: "a-1-1.src.rpm".into(), what })
    }

    fn looked(&mut self, seen: Seen) -> Vec<String> {
        self.tell(Msg::Looked { name: name(), seen })
    }

    fn pass_ms(&mut self, ms: u64) -> Vec<String> {
        self.1 = self.1.plus_ms(ms);
        self.tell(Msg::Tick)
    }
}

const LOOK: &str = "look a-1-1.src.rpm";
const NOTHING: [&str; 0] = [];

#[test]
fn a_file_counts_once_it_is_as_long_as_it_says_and_is_told_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(Place::Source, What::Arrived), [LOOK]);
    assert_eq!(rig.looked(short(10)), NOTHING);
    assert_eq!(rig.event(Place::Source, What::Written), NOTHING);
    assert_eq!(rig.0.deadline(), Some(Time(WRITTEN_LOOK_MS)));
    assert_eq!(rig.pass_ms(WRITTEN_LOOK_MS), [LOOK]);
    assert_eq!(rig.looked(whole(100)), ["appeared"]);
    assert_eq!(rig.0.deadline(), None);
    rig.event(Place::Source, What::Written);
    assert_eq!(rig.pass_ms(WRITTEN_LOOK_MS), [LOOK]);
    assert_eq!(rig.looked(whole(100)), NOTHING);
    assert_eq!(rig.looked(whole(101)), ["appeared"]);
}

#[test]
fn what_left_and_came_back_unchanged_is_told_again() {
    let mut rig = Rig::new();
    rig.looked(whole(100));
    assert_eq!(rig.event(Place::Source, What::Left), [LOOK]);
    assert_eq!(rig.looked(whole(100)), ["appeared"]);
    assert_eq!(rig.event(Place::Source, What::Left), [LOOK]);
    assert_eq!(rig.looked(Seen::Gone), ["vanished"]);
}

#[test]
fn short_and_unchanged_for_a_minute_is_truncated_and_told_once() {
    let mut rig = Rig::new();
    rig.looked(short(10));
    rig.1 = Time(30_000);
    // It grew: the minute begins again.
    rig.looked(short(20));
    assert_eq!(rig.0.deadline(), Some(Time(90_000)));
    assert_eq!(rig.pass_ms(59_999), NOTHING);
    assert_eq!(rig.pass_ms(1), [LOOK]);
    assert_eq!(rig.looked(short(20)), ["truncated: has 20 of 100 bytes"]);
    assert_eq!(rig.0.deadline(), None);
    assert_eq!(rig.looked(short(20)), NOTHING);
    // Somebody goes on copying.
    assert_eq!(rig.looked(short(30)), NOTHING);
    assert_eq!(rig.looked(whole(100)), ["appeared"]);
}

#[test]
fn an_unusable_file_is_told_once_until_it_changes() {
    let mut rig = Rig::new();
    let bad = |len| Seen::Bad { stamp: Some(stamp(len)), why: "not an RPM package".to_owned() };
    assert_eq!(rig.looked(bad(5)), ["not an RPM package"]);
    assert_eq!(rig.looked(bad(5)), NOTHING);
    assert_eq!(rig.looked(bad(6)), ["not an RPM package"]);
    // The mode was wrong, the bytes are the same.
    let closed = Seen::Bad { stamp: Some(stamp(6)), why: "permission denied".to_owned() };
    assert_eq!(rig.looked(closed), ["permission denied"]);
    assert_eq!(rig.looked(whole(6)), ["appeared"]);
}

#[test]
fn a_rescan_finds_what_events_did_not_tell() {
    let mut rig = Rig::new();
    let lists = ["read Priority", "read Options"];
    let folders = ["list Source", "list Finished", "list Working"];
    assert_eq!(rig.tell(Msg::Rescan), [&lists[..], &folders[..], &["Queue(Scanned)"]].concat());
    let listed = |place, names: &[&str]| Msg::Listed { place, names: names.iter().map(Into::into).collect() };
    assert_eq!(rig.tell(listed(Place::Source, &["a-1-1.src.rpm", ".b.src.rpm", "c.txt"])), [LOOK]);
    rig.looked(whole(100));
    assert_eq!(rig.tell(listed(Place::Source, &["a-1-1.src.rpm"])), [LOOK]);
    assert_eq!(rig.looked(whole(100)), ["appeared"]);
    assert_eq!(rig.tell(listed(Place::Source, &[])), [LOOK]);
    assert_eq!(rig.tell(listed(Place::Finished, &["a-1-1.src.rpm"])), ["finished true"]);
    assert_eq!(rig.tell(listed(Place::Finished, &["a-1-1.src.rpm"])), NOTHING);
    assert_eq!(rig.tell(listed(Place::Finished, &[])), ["finished false"]);
    assert_eq!(rig.tell(listed(Place::Working, &["a-1-1.src.rpm"])), NOTHING);
    assert_eq!(rig.tell(listed(Place::Working, &[])), ["unleased?"]);
}

#[test]
fn events_in_the_other_folders_are_passed_on() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(Place::Working, What::Arrived), NOTHING);
    assert_eq!(rig.event(Place::Working, What::Left), ["unleased?"]);
    assert_eq!(rig.event(Place::Finished, What::Arrived), ["finished true"]);
    assert_eq!(rig.event(Place::Finished, What::Left), ["finished false"]);
}

#[test]
fn lists_are_read_again_on_every_change_and_told_when_they_say_something_new() {
    let mut rig = Rig::new();
    let event = |name: &str, what| Msg::Event { place: Place::Source, name: name.into(), what };
    let read = |list, bytes: Option<&str>| Msg::Read { list, bytes: bytes.map(|text| text.into()) };
    assert_eq!(rig.tell(read(List::Priority, None)), ["priority []"]);
    assert_eq!(rig.tell(event("priority.txt", What::Arrived)), ["read Priority"]);
    assert_eq!(rig.tell(read(List::Priority, Some("a"))), ["priority [\"a.src.rpm\"]"]);
    assert_eq!(rig.tell(event("priority.txt", What::Written)), NOTHING);
    assert_eq!(rig.pass_ms(WRITTEN_LOOK_MS), ["read Priority"]);
    assert_eq!(rig.tell(read(List::Priority, Some("a\n"))), NOTHING);
    assert_eq!(rig.tell(event("priority.txt", What::Left)), ["read Priority"]);
    assert_eq!(rig.tell(read(List::Priority, None)), ["priority []"]);
    assert_eq!(rig.tell(event("options.txt", What::Arrived)), ["read Options"]);
    let said = rig.tell(read(List::Options, Some("a --nocheck\nb --rm")));
    assert_eq!(said.last().map(String::as_str), Some("1 rules"));
    assert!(said[0].starts_with("options.txt line 2: \"--rm\""), "{said:?}");
    assert_eq!(rig.tell(read(List::Options, Some("a --nocheck\nb --rm"))), NOTHING);
}

#[test]
fn names_that_no_package_can_have_are_named_once_and_dot_files_never() {
    use std::os::unix::ffi::OsStrExt;
    let mut rig = Rig::new();
    let name: OsString = OsStr::from_bytes(b"a\xff.src.rpm").to_owned();
    let event =
        |name: &OsString| Msg::Event { place: Place::Source, name: name.clone(), what: What::Arrived };
    assert_eq!(rig.tell(event(&name)).len(), 1);
    assert_eq!(rig.tell(event(&name)), NOTHING);
    assert_eq!(rig.tell(event(&".a.src.rpm".into())), NOTHING);
    assert_eq!(rig.tell(event(&"a.rpm".into())), NOTHING);
}
