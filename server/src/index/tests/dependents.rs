//! What changed between two builds, and who was built against them, on shelves and recent.

use super::rules::slow;
use super::*;
use crate::core::capabilities::Requirement;
use crate::core::repo::{Compare, Compared, Msg};
use crate::disk::Disk;
use crate::index::work::{Slow, SlowOrder};
use crate::repodata::{PIECE_NAME, encode_piece};
use crate::rpmfile::Capability;

fn capabilities(of: &[&str]) -> Vec<Capability> {
    let one = |text: &&str| match Requirement::parse(text) {
        Requirement::One(one) => one,
        rich => panic!("{rich}"),
    };
    of.iter().map(one).collect()
}

/// `NAME-VERSION-RELEASE.ARCH.rpm` of a folder.
fn rpm(folder: &str, nvr: &str, arch: &str, provides: &[&str], requires: &[&str]) -> Described {
    let [release, version, name] = nvr.rsplitn(3, '-').collect::<Vec<_>>()[..] else { panic!("{nvr}") };
    let path = format!("{folder}/{nvr}.{arch}.rpm");
    let entries: String = requires.iter().map(|one| format!("<rpm:entry name=\"{one}\"/>\n")).collect();
    let primary = format!(
        "<package type=\"rpm\">\n<name>{name}</name>\n<arch>{arch}</arch>\n\
         <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\n\
         <rpm:requires>\n{entries}</rpm:requires>\n</package>\n"
    );
    let [name, version, release, kind] = [name, version, release, arch].map(str::to_owned);
    let nevra = Nevra { name, epoch: 0, version, release, arch: kind };
    let source = (arch != "src").then(|| "x.src.rpm".to_owned());
    let provided = Provided { nevra, provides: capabilities(provides), files: Vec::new(), source };
    let texts = [primary.into_bytes(), Vec::new(), Vec::new(), encode_provided(&provided)];
    let text_bytes = texts.each_ref().map(|text| text.len() as u32);
    let class = if arch == "src" { Class::Extra } else { Class::Main };
    let listed = Listed { path: path.into(), size: 7, modified_unix_s: 9, text_bytes };
    Described { listed, class, texts }
}

/// A result of that name: a source package with BuildRequires, and a binary package.
fn built(nvr: &str, build_requires: &[&str], provides: &[&str], requires: &[&str]) -> Vec<Group> {
    let packages =
        vec![rpm(nvr, nvr, "src", &[], build_requires), rpm(nvr, nvr, "noarch", provides, requires)];
    Group::seal_all(Compression::Gzip, packages)
}

fn keep(hub: &Hub, folder: &str, piece: &[u8]) {
    hub.disk.create_dir(&Path::new("repo").join(folder)).unwrap();
    let file = hub.disk.create(&Path::new("repo").join(folder).join(PIECE_NAME)).unwrap();
    file.write_at(piece, 0).unwrap();
}

fn compare(slow: &mut Slow, builds: &[(&str, &[&str])], recent: &[Group]) -> Vec<Compared> {
    let build = |(folder, earlier): &(&str, &[&str])| Compare {
        folder: (*folder).to_owned(),
        earlier: earlier.iter().map(|one| (*one).to_owned()).collect(),
    };
    let recent = recent.iter().cloned().map(Arc::new).collect();
    let order = SlowOrder::Compare { builds: builds.iter().map(build).collect(), recent };
    let Msg::Compared(Ok(compared)) = slow.run(order) else { panic!("it fails") };
    compared
}

#[test]
fn what_needs_something_of_a_changed_build_is_found_in_its_latest_version_wherever_it_is() {
    let mut hub = Hub::new(Config::default());
    let old = built("foo-1-1", &[], &["libfoo.so.1", "foo-devel = 1-1"], &["libfoo.so.1"]);
    let new = built("foo-2-1", &["foo-devel"], &["libfoo.so.2", "foo-devel = 2-1"], &["libfoo.so.2"]);
    for (folder, groups) in [("foo-1-1", &old), ("foo-2-1", &new)] {
        keep(&hub, folder, &encode_piece(groups));
    }
    let shelf = [
        old,
        built("app-1-1", &["foo-devel"], &[], &[]),
        built("past-1-1", &["foo-devel"], &[], &["libfoo.so.1"]),
        built("two-1-1", &["foo-devel"], &[], &[]),
        built("other-1-1", &["bar-devel"], &["app"], &["libbar.so.1"]),
        built("rich-1-1", &["(foo-devel or bar-devel)"], &[], &[]),
    ];
    let recent = [
        new,
        built("tool-1-1", &[], &[], &["libfoo.so.1"]),
        built("past-2-1", &[], &[], &[]),
        built("two-10-1", &["foo-devel"], &[], &[]),
    ];
    hub.merge(shelf.concat(), &set(&[])).unwrap();
    let mut slow = slow(&hub);
    slow.run(SlowOrder::Open);
    let [Compared { folder, change: Some(change) }] =
        &compare(&mut slow, &[("foo-2-1", &["foo-1-1"])], &recent.concat())[..]
    else {
        panic!("nothing changed")
    };
    assert_eq!((&**folder, &*change.what), ("foo-2-1", "libfoo.so.1 -> libfoo.so.2; foo and 1 more 1 -> 2"));
    assert_eq!(change.dependents, ["app-1-1", "rich-1-1", "tool-1-1", "two-10-1"]);
    for (text, want) in [("libfoo.so.1", 1), ("libfoo.so.2", 1), ("foo-devel", 2), ("libbar.so.1", 0)] {
        assert_eq!(change.offered.who_provides(&Requirement::parse(text)).len(), want, "{text}");
    }
}

#[test]
fn the_latest_version_before_is_what_a_build_is_compared_with() {
    let hub = Hub::new(Config::default());
    let provides: [(&str, &[&str]); 6] = [
        ("foo-1-1", &["libfoo.so.1"]),
        ("foo-2-1", &["libfoo.so.2"]),
        ("foo-2-2", &["libfoo.so.2"]),
        ("foo-10-1", &["libfoo.so.2"]),
        ("foo-2-1@2", &["libfoo.so.2", "libnew.so.1"]),
        ("foo-2-1@3", &["libfoo.so.2", "libnew.so.1"]),
    ];
    for (folder, provides) in provides {
        let nvr = folder.split('@').next().unwrap();
        keep(&hub, folder, &encode_piece(&built(nvr, &[], provides, &[])));
    }
    keep(&hub, "damaged-1-1", b"no piece");
    let mut slow = slow(&hub);
    slow.run(SlowOrder::Open);
    let cases: [(&str, &[&str], Option<&str>); 9] = [
        ("foo-2-1", &[], None),
        ("foo-2-1", &["foo-1-1"], Some("libfoo.so.1 -> libfoo.so.2; foo 1 -> 2")),
        // A release, and the same again.
        ("foo-2-2", &["foo-1-1", "foo-2-1"], None),
        ("foo-2-1@3", &["foo-1-1", "foo-2-1", "foo-2-1@2"], None),
        ("foo-2-1@2", &["foo-2-1", "foo-1-1"], Some("with libnew.so.1")),
        // A later version is there: nobody installs this one.
        ("foo-2-1", &["foo-1-1", "foo-10-1"], None),
        ("foo-10-1", &["foo-2-1", "foo-1-1"], Some("foo 2 -> 10")),
        // Of what cannot be read nothing is known.
        ("foo-2-1", &["damaged-1-1", "gone-1-1"], None),
        ("damaged-1-1", &["foo-1-1"], None),
    ];
    for (folder, earlier, want) in cases {
        let compared = compare(&mut slow, &[(folder, earlier)], &[]);
        let what = compared[0].change.as_ref().map(|change| &*change.what);
        assert_eq!(what, want, "{folder} after {earlier:?}");
    }
}
