//! What thin repositories are made of: a layer of each repository, its groups, and files that only `filelists` has.

use std::sync::Arc;

use super::*;
use crate::thin::{Layer, Want, close, write};

const GROUPS: &str = "<comps><group><id>build</id><name>B</name><packagelist>\
    <packagereq type=\"mandatory\">x</packagereq></packagelist></group></comps>";

/// A package that requires these paths.
fn requiring(name: &str, paths: &[&str]) -> String {
    let entries: String = paths.iter().map(|path| format!("<rpm:entry name=\"{path}\"/>")).collect();
    // Each has a digest of its own.
    let digest = format!("{:02x}", name.as_bytes()[0]).repeat(32);
    let text = Sketch::new(name, "1").text().replace(&"ab".repeat(32), &digest);
    text.replace("</rpm:requires>", &format!("{entries}</rpm:requires>"))
}

fn list_of(packages: &[String]) -> Vec<u8> {
    gzip(&primary(&[]).replace("</metadata>", &format!("{}</metadata>", packages.concat())))
}

/// Packages with one file each.
fn files_of(files: &[(&str, &str)]) -> Vec<u8> {
    let one = |(name, file): &(&str, &str)| {
        let digest = format!("{:02x}", name.as_bytes()[0]).repeat(32);
        format!("<package pkgid=\"{digest}\" name=\"{name}\" arch=\"noarch\"><file>{file}</file></package>")
    };
    gzip(&format!("<filelists>{}</filelists>", files.iter().map(one).collect::<String>()))
}

/// What a build would get that sets up its chroot with this.
fn thin(there: &Deliver, setup: &str) -> Vec<String> {
    let layers: Vec<Arc<Layer>> = there.layers.iter().map(|(_, layer)| layer.clone()).collect();
    let want = Want { setup: setup.to_owned(), ..Want::default() };
    let mut paths: Vec<String> =
        write(&layers, &close(&layers, &want)).unwrap().payloads.into_keys().collect();
    paths.sort();
    paths.iter().map(|path| path.replace("Packages/", "").replace("-1-1.noarch.rpm", "")).collect()
}

#[test]
fn files_that_only_filelists_has_are_found_kept_and_found_again_when_others_look() {
    let (bench, server) = (Bench::new(), Server::start());
    let list =
        list_of(&[requiring("a", &["/usr/lib/y", "/usr/bin/no"]), requiring("x", &[]), requiring("y", &[])]);
    server.publish_with(&list, &files_of(&[("x", "/usr/lib/x"), ("y", "/usr/lib/y")]), GROUPS.as_bytes());
    let mut mainline = bench.open(&[&server.url]);
    let there = mainline.look(false).unwrap();
    assert_eq!(server.asked().last().unwrap(), "/os/repodata/filelists.xml.gz 200");
    assert_eq!(thin(&there, "a"), ["0/a", "0/y"]);
    assert_eq!(thin(&there, "@build"), ["0/x"]);
    assert!(mainline.look(true).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    // After a restart without the mirror, too.
    let mut mainline = bench.open(&[&server.url]);
    let there = mainline.remember().unwrap();
    assert_eq!(
        (thin(&there, "a"), thin(&there, "@build")),
        (vec!["0/a".to_owned(), "0/y".to_owned()], vec!["0/x".to_owned()])
    );
    assert!(mainline.look(true).is_none());
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    // Somebody looks for one more; then it is known.
    let path = || [String::from("/usr/lib/x"), String::from("no path")].into();
    mainline.look_for(path());
    assert_eq!(mainline.deadline(), Some(bench.clock.now()));
    let there = mainline.look(false).unwrap();
    assert_eq!(server.asked(), ["/os/repodata/filelists.xml.gz 200"]);
    assert_eq!(
        (thin(&there, "/usr/lib/x"), thin(&there, "a")),
        (vec!["0/x".to_owned()], vec!["0/a".to_owned(), "0/y".to_owned()])
    );
    mainline.look_for(path());
    assert!(mainline.look(false).is_none());
    assert_eq!(server.asked(), [""; 0]);
}

#[test]
fn only_what_changed_is_fetched_and_a_layer_that_did_not_change_stays() {
    let (bench, server, other) = (Bench::new(), Server::start(), Server::start());
    let list = list_of(&[requiring("x", &[]), requiring("y", &[])]);
    server.publish_with(&list, &files_of(&[]), GROUPS.as_bytes());
    other.publish(&super::list(&["z"]));
    let mut mainline = bench.open(&[&server.url, &other.url]);
    let before = mainline.look(false).unwrap();
    assert_eq!(server.asked().len(), 3, "nobody wants filelists");
    server.publish_with(&list, &files_of(&[]), GROUPS.replace(">x<", ">y<").as_bytes());
    let after = mainline.look(true).unwrap();
    assert_eq!(server.asked(), ["/os/repodata/repomd.xml 200", "/os/repodata/comps.xml 200"]);
    assert_eq!(
        (thin(&before, "@build"), thin(&after, "@build")),
        (vec!["0/x".to_owned()], vec!["0/y".to_owned()])
    );
    assert!(Arc::ptr_eq(&before.layers[1].1, &after.layers[1].1));
    assert!(mainline.look(true).is_none());
    assert_eq!(thin(&bench.open(&[&server.url, &other.url]).remember().unwrap(), "@build"), ["0/y"]);
}

#[test]
fn groups_and_files_that_are_wrong_or_away_cost_only_themselves() {
    let list = list_of(&[requiring("a", &["/usr/lib/y"]), requiring("y", &[])]);
    let files = files_of(&[("y", "/usr/lib/y")]);
    let away = || Answer::Other("404 Not Found\r\nContent-Length: 0");
    // Groups that are away are fetched as soon as they are there.
    let (bench, server) = (Bench::new(), Server::start());
    server.publish_with(&list, &files, GROUPS.as_bytes());
    server.set("repodata/comps.xml", away());
    server.set("repodata/filelists.xml.gz", away());
    let mut mainline = bench.open(&[&server.url]);
    let there = mainline.look(false).unwrap();
    assert!(has(&there, "a") && thin(&there, "@build").is_empty() && thin(&there, "a") == ["0/a"]);
    assert!(mainline.look(true).is_none());
    server.publish_with(&list, &files, GROUPS.replace(">x<", ">y<").as_bytes());
    assert_eq!(thin(&mainline.look(true).unwrap(), "@build"), ["0/y"]);
    // Files later, because they are large.
    assert!(server.asked().iter().filter(|asked| asked.contains("filelists")).count() == 1);
    bench.pass(30 * MINUTE_MS);
    assert_eq!(thin(&mainline.look(false).unwrap(), "a"), ["0/a", "0/y"]);
    // What makes no sense is fetched once.
    for (files, groups) in
        [(gzip("<html/>"), "<html/>"), (b"BZh91AY".to_vec(), ""), (files[..9].to_vec(), "<comps>")]
    {
        let (bench, server) = (Bench::new(), Server::start());
        server.publish_with(&list, &files, groups.as_bytes());
        let mut mainline = bench.open(&[&server.url]);
        let there = mainline.look(false).unwrap();
        assert!(has(&there, "a") && thin(&there, "@build").is_empty() && thin(&there, "a") == ["0/a"]);
        bench.pass(60 * MINUTE_MS);
        server.asked();
        assert!(mainline.look(true).is_none());
        assert_eq!(server.asked(), ["/os/repodata/repomd.xml 304"]);
    }
}
