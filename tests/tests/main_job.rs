//! The main job, end to end: SRPMs dropped into a folder come back as an installable repository.
//!
//! Owns the scenarios in which nothing goes wrong but packages themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use moji_tests::{Daemon, Farm, Outcome, SOON, poll_until, run_to_end, simple_spec, srpm_from_spec};

/// Longest time for 40 packages on two cores that others use too: 30 s when nobody does.
const MANY: Duration = Duration::from_secs(240);

/// Every file in a folder with its bytes.
fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file can be read"))
        })
        .collect()
}

/// The text of the published index of packages.
fn primary(farm: &Farm) -> String {
    let folder = farm.repo().join("repodata");
    let index = fs::read_to_string(folder.join("repomd.xml")).expect("there is an index");
    let mut names = index.split("href=\"repodata/").skip(1).filter_map(|rest| rest.split('"').next());
    let name = names.find(|name| name.contains("primary.xml")).expect("it names its files");
    let mut command = Command::new("gzip");
    command.arg("-dc").arg(folder.join(name));
    run_to_end(command, SOON).stdout
}

/// Where the published index says that packages are, sorted.
fn indexed(farm: &Farm) -> Vec<String> {
    let text = primary(farm);
    let hrefs = text.split("<location href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut hrefs: Vec<String> = hrefs.map(str::to_owned).collect();
    hrefs.sort();
    hrefs
}

fn move_back(farm: &Farm, srpm: &str) {
    fs::rename(farm.finished().join(srpm), farm.source().join(srpm)).expect("a person moves it back");
}

#[test]
fn pkgb_dropped_first_is_built_once_pkga_is_published_and_dnf_installs_it() {
    let farm = Farm::plan().builders(1).start();
    farm.drop_srpm("pkgb");
    farm.wait_hub_says("pkga(api)");
    farm.drop_srpm("pkga");
    farm.wait_finished("pkga");
    farm.wait_finished("pkgb");
    farm.wait_until("both to be published", SOON, |farm| farm.install(&["pkgb"]).is_ok());
    assert_eq!(farm.result_json("pkga-1.0-1")["verdict"], "success");
    assert_eq!(farm.result_json("pkgb-1.0-1")["verdict"], "success");
    farm.assert_one_place("pkga");
    farm.assert_one_place("pkgb");
}

#[test]
fn a_failed_package_moved_back_is_built_again_beside_its_old_folder() {
    let farm = Farm::plan().start();
    let log = "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n";
    farm.outcome("hello", Outcome::exit(1).log("build.log", log).once());
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "failed");
    let before = bytes_of(&farm.repo().join("hello-1.0-1"));
    move_back(&farm, "hello-1.0-1.src.rpm");
    farm.wait_until("its second result", SOON, |farm| farm.results("hello-1.0-1").len() == 2);
    farm.wait_finished("hello");
    assert_eq!(farm.results("hello-1.0-1"), ["hello-1.0-1", "hello-1.0-1@2"]);
    assert_eq!(farm.result_json("hello-1.0-1@2")["verdict"], "success");
    assert_eq!(bytes_of(&farm.repo().join("hello-1.0-1")), before);
    farm.wait_until("it to be published", SOON, |farm| indexed(farm).len() == 2);
    assert!(indexed(&farm).iter().all(|href| href.starts_with("hello-1.0-1@2/")), "{:?}", indexed(&farm));
    assert!(farm.install(&["hello"]).expect("dnf installs").has("/usr/bin/hello"));
}

#[test]
fn a_success_built_again_changes_no_published_path_and_a_failed_rebuild_withdraws_nothing() {
    let farm = Farm::plan().start();
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    farm.wait_until("it to be published", SOON, |farm| indexed(farm).len() == 2);
    let before = bytes_of(&farm.repo().join("hello-1.0-1"));
    move_back(&farm, "hello-1.0-1.src.rpm");
    farm.wait_until("its second result", SOON, |farm| farm.results("hello-1.0-1").len() == 2);
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1@2")["verdict"], "success");
    farm.wait_until("the new one to be published", SOON, |farm| {
        indexed(farm).iter().any(|href| href.starts_with("hello-1.0-1@2/"))
    });
    let log = "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n";
    farm.outcome("hello", Outcome::exit(1).log("build.log", log));
    move_back(&farm, "hello-1.0-1.src.rpm");
    farm.wait_until("its third result", SOON, |farm| farm.results("hello-1.0-1").len() == 3);
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1@3")["verdict"], "failed");
    assert_eq!(bytes_of(&farm.repo().join("hello-1.0-1")), before);
    assert!(farm.install(&["hello"]).expect("dnf installs").has("/usr/bin/hello"));
}

#[test]
fn a_library_and_its_user_in_c_are_built_in_turn_and_run_where_dnf_installed_them() {
    let farm = Farm::plan().builders(2).start();
    farm.drop_srpm("usefoo");
    farm.drop_srpm("libfoo");
    farm.wait_finished("libfoo");
    farm.wait_finished("usefoo");
    assert_eq!(farm.result_json("usefoo-1.0-1")["verdict"], "success");
    // usefoo, libfoo, libfoo-devel, and the two source packages.
    farm.wait_until("all to be published", SOON, |farm| indexed(farm).len() == 5);
    let installed = farm.install(&["usefoo", "libfoo"]).expect("dnf installs");
    let loader = "/lib64/ld-linux-x86-64.so.2";
    installed.run(&[loader, "--library-path", "/usr/lib", "/usr/bin/usefoo"]).expect("it runs");
    farm.wait_hub_says("the repository is for x86_64 from now on");
}

#[test]
fn four_builders_build_forty_packages_each_exactly_once() {
    let mut farm = Farm::plan().builders(4).start();
    let made = tempfile::tempdir_in(farm.path()).expect("a folder");
    let names: Vec<String> = (0..40).map(|number| format!("many{number:02}")).collect();
    let srpms: Vec<_> =
        names.iter().map(|name| srpm_from_spec(made.path(), &simple_spec(name, "1", ""))).collect();
    for srpm in &srpms {
        farm.drop_file(srpm);
    }
    farm.wait_until("all to be finished", MANY, |farm| {
        names.iter().all(|name| farm.places(&format!("{name}-1-1.src.rpm")) == ["finished"])
    });
    let mut leases = BTreeSet::new();
    let mut builders = BTreeSet::new();
    for name in &names {
        let nvr = format!("{name}-1-1");
        assert_eq!(farm.results(&nvr), [nvr.as_str()]);
        let result = farm.result_json(&nvr);
        assert_eq!((&result["verdict"], &result["nvr"]), (&"success".into(), &nvr.as_str().into()));
        leases.insert(result["lease"].to_string());
        builders.insert(result["builder_key"].to_string());
    }
    assert_eq!((leases.len(), builders.len()), (40, 4));
    let log = farm.hub().log_text();
    let leased: Vec<&str> = log.lines().filter(|line| line.ends_with(" leased")).collect();
    let ids: BTreeSet<&str> =
        leased.iter().filter_map(|line| line.split_once(" lease=")?.1.split(' ').next()).collect();
    assert_eq!((leased.len(), ids.len()), (40, 40), "no second lease, and none twice");
    farm.wait_until("all to be published", SOON, |farm| indexed(farm).len() == 80);
    let found: BTreeSet<String> = indexed(&farm).into_iter().collect();
    assert_eq!(found.len(), 80, "each once");
    assert!(primary(&farm).contains(" packages=\"80\""));
    for href in &found {
        assert!(farm.repo().join(href).is_file(), "{href} is indexed");
    }
    let installed = farm.install(&["many00", "many39"]).expect("dnf installs");
    assert_eq!(installed.packages().iter().filter(|name| name.starts_with("many")).count(), 2);
    let left: Vec<_> =
        fs::read_dir(farm.working()).expect("there").flatten().map(|e| e.file_name()).collect();
    assert!(
        left.iter().all(|name| [".daemon", ".leases", ".lock"].iter().any(|own| name == own)),
        "{left:?}"
    );
}

#[test]
fn a_builder_without_a_chroot_builds_on_the_host_and_the_result_says_so() {
    let farm = Farm::plan().builders(0).start();
    let mut command = farm.builder_command(0);
    command.args(["--backend", "rpmbuild"]);
    let _builder = Daemon::spawn("host", command, &farm.path().join("host.log"));
    farm.drop_srpm("hello");
    farm.drop_srpm("failbuild");
    farm.drop_srpm("badreq");
    farm.wait_finished("hello");
    farm.wait_finished("failbuild");
    farm.wait_hub_says("deps: waits for does-not-exist-devel >= 2.0");
    let result = farm.result_json("hello-1.0-1");
    assert_eq!((&result["verdict"], &result["backend"]), (&"success".into(), &"rpmbuild".into()));
    let result = farm.result_json("failbuild-1.0-1");
    assert_eq!((&result["verdict"], &result["backend"]), (&"failed".into(), &"rpmbuild".into()));
    assert!(result["reason"].as_str().is_some_and(|why| why.contains("%build failed")), "{result}");
    farm.wait_until("it to wait", SOON, |farm| farm.places("badreq") == ["source"]);
    farm.wait_until("it to be published", SOON, |farm| farm.install(&["hello"]).is_ok());
}

#[test]
fn a_builder_that_builds_once_builds_one_package_and_ends() {
    let farm = Farm::plan().builders(0).start();
    farm.prioritise(&["hello-1.0-1"]);
    farm.drop_srpm("hello");
    farm.drop_srpm("pkga");
    let mut command = farm.builder_command(0);
    command.arg("--once");
    let ended = run_to_end(command, SOON);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    assert_eq!(farm.places("pkga"), ["source"]);
    assert!(farm.processes().iter().all(|process| !process.command.contains("moji-client")));
    // A failure of the package's own was delivered as well: that is what it was started for.
    farm.outcome("pkga", Outcome::exit(1).log("build.log", "error: Bad exit status from x (%build)\n"));
    let mut command = farm.builder_command(0);
    command.arg("--once");
    assert_eq!(run_to_end(command, SOON).code, 0);
    farm.wait_finished("pkga");
}

/// A farm whose folder has a name before it exists, so that its hub can be told of a URL to its repository.
fn farm_behind(base: &Path, hub_args: &[&str]) -> Farm {
    let mut farm = Farm::plan().base(base).hub_args(hub_args.iter().copied()).nothing_started().start();
    std::os::unix::fs::symlink(farm.path(), base.join("farm")).expect("a link");
    farm.start_hub();
    farm.add_builder();
    farm
}

/// Builds a chain, which needs the repository at that URL, and shows that the URL was used.
fn chain_is_built_from(farm: &mut Farm, url: &str) {
    farm.drop_srpm("pkga");
    farm.wait_finished("pkga");
    farm.drop_srpm("pkgb");
    farm.wait_finished("pkgb");
    assert_eq!(farm.result_json("pkgb-1.0-1")["verdict"], "success");
    let said = fs::read_to_string(farm.repo().join("pkgb-1.0-1/mock.log")).expect("mock.log");
    assert!(said.contains(&format!("--addrepo={url}")), "{said}");
}

#[test]
fn builders_use_the_repository_where_the_hub_says_it_is() {
    let base = tempfile::tempdir().expect("a folder");
    let mut server = Command::new("python3");
    server.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(base.path());
    let server = Daemon::spawn("httpd", server, &base.path().join("httpd.log"));
    let mut port = None;
    poll_until(SOON, || {
        let log = server.log_text();
        port = log.split_once(" port ").and_then(|(_, rest)| Some(rest.split_once(' ')?.0.to_owned()));
        port.is_some()
    });
    let url = format!("http://127.0.0.1:{}/farm/repo/", port.expect("a web server runs"));
    let mut farm = farm_behind(base.path(), &["--repo-url", &url]);
    chain_is_built_from(&mut farm, &url);
    assert!(server.logs_contain("GET /farm/repo/repodata/repomd.xml"), "{}", server.log_text());
}

#[test]
fn a_hub_without_http_publishes_in_a_folder() {
    let base = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}/farm/repo/", base.path().display());
    let mut farm = farm_behind(base.path(), &["--http", "off", "--repo-url", &url]);
    chain_is_built_from(&mut farm, &url);
    assert!(farm.hub().logs_contain(&format!("repository at {url}")));
}
