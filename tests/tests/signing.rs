//! Signatures, end to end: what a hub with `--sign-key` publishes passes rpmkeys and a dnf that checks everything, and
//! nothing else does, also while the hub publishes between dnf's two requests.
//!
//! Owns the view of a board. Which keys are good enough is tested where they are read, in `server/src/signing/`.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use moji_tests::{
    Farm, SOON, install_with, poll_until, rpms_from_spec, run_to_end, simple_spec, srpm_from_spec,
};

/// A key in a folder of its own, as an operator makes it.
struct Key {
    folder: tempfile::TempDir,
}

impl Key {
    fn new() -> Key {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Key { folder };
        let farm = Farm::plan().nothing_started().start();
        let mut command = farm.hub_command();
        command.args(["key", "--new", "--name", "a farm"]).arg(key.secret());
        let ended = run_to_end(command, SOON);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        fs::write(key.public(), ended.stdout).expect("the public key is written");
        key
    }

    fn secret(&self) -> PathBuf {
        self.folder.path().join("sign.key")
    }

    fn public(&self) -> PathBuf {
        self.folder.path().join("RPM-GPG-KEY-moji")
    }

    /// A farm whose hub signs with it.
    fn farm(&self) -> Farm {
        let secret = self.secret().display().to_string();
        Farm::plan().hub_args(["--sign-key".to_owned(), secret]).start()
    }

    /// What a .repo file says of a repository that this key signs.
    fn lines(&self, gpgcheck: u8, repo_gpgcheck: u8) -> String {
        let key = self.public().display().to_string();
        format!("gpgcheck={gpgcheck}\nrepo_gpgcheck={repo_gpgcheck}\ngpgkey=file://{key}")
    }

    /// Whether rpmkeys takes a package, knowing this key only.
    fn takes(&self, rpm: &Path) -> bool {
        let db = self.folder.path().join("db").display().to_string();
        let rpmkeys = |words: &[&str], path: &Path| {
            let mut command = Command::new("rpmkeys");
            command.args(["--dbpath", &db]).args(words).arg(path);
            run_to_end(command, SOON)
        };
        assert_eq!(rpmkeys(&["--import"], &self.public()).code, 0);
        let ended = rpmkeys(&["--checksig", "-v"], rpm);
        ended.code == 0 && ended.stdout.contains("Signature, key ID")
    }
}

/// The packages in a folder.
fn rpms_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "rpm"))
        .collect()
}

/// Copies files and folders.
fn copy_all(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    command.arg("-a").arg(from).arg(to);
    assert_eq!(run_to_end(command, SOON).code, 0);
}

fn createrepo(folder: &Path) {
    let mut command = Command::new("createrepo_c");
    command.arg("-q").arg(folder);
    assert_eq!(run_to_end(command, SOON).code, 0);
}

#[test]
fn a_board_that_checks_everything_installs_what_a_signing_hub_published_and_nothing_that_was_changed() {
    let key = Key::new();
    let farm = key.farm();
    let kept = key.folder.path().join("kept");
    // A key is read once: its file may be on a stick.
    fs::rename(key.secret(), &kept).expect("the key can be moved");
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    let checked = |url: &str, lines: &str| install_with(farm.path(), url, lines, &["hello"]);
    farm.wait_until("it to be published", SOON, |farm| checked(farm.repo_url(), &key.lines(1, 1)).is_ok());

    let published = farm.repo().join("hello-1.0-1");
    let rpms = rpms_in(&published);
    assert_eq!(rpms.len(), 2, "a binary and a source package");
    let json = farm.result_json("hello-1.0-1");
    for rpm in &rpms {
        assert!(key.takes(rpm), "{}", rpm.display());
        let files = json["files"].as_array().expect("files");
        let name = rpm.file_name().expect("a name").to_string_lossy();
        let listed = files.iter().find(|file| file["name"] == *name).expect("it is listed");
        assert_eq!(listed["size"], fs::metadata(rpm).expect("it is there").len());
        let mut command = Command::new("sha256sum");
        command.arg(rpm);
        let sum = run_to_end(command, SOON).stdout;
        assert_eq!(listed["sha256"], sum.split_whitespace().next().expect("a sum"), "of the signed bytes");
    }
    let public = fs::read(key.public()).expect("the key");
    assert_eq!(fs::read(farm.repo().join("RPM-GPG-KEY-moji")).expect("it is published"), public);

    // A hostile mirror.
    let evil = farm.path().join("evil");
    copy_all(&farm.repo(), &evil);
    let url = format!("file://{}", evil.display());
    checked(&url, &key.lines(1, 1)).expect("a faithful copy is as good");
    let repomd = evil.join("repodata/repomd.xml");
    let text = fs::read_to_string(&repomd).expect("an index");
    fs::write(&repomd, text.replace("<revision>", "<revision>1")).expect("it can be changed");
    let said = checked(&url, &key.lines(1, 1)).expect_err("it was changed");
    assert!(said.contains("GPG"), "{said}");
    fs::remove_file(evil.join("repodata/repomd.xml.asc")).expect("it can be removed");
    let said = checked(&url, &key.lines(1, 1)).expect_err("its signature is gone");
    assert!(said.contains("GPG") || said.contains("repomd.xml.asc"), "{said}");
    // An unsigned package of the same name in an index that fits it: only its own signature can tell.
    for rpm in rpms_in(&evil.join("hello-1.0-1")) {
        fs::remove_file(rpm).expect("it can be removed");
    }
    rpms_from_spec(&evil.join("hello-1.0-1"), &simple_spec("hello", "9", ""));
    createrepo(&evil);
    checked(&url, &key.lines(0, 0)).expect("who checks nothing installs it");
    let said = checked(&url, &key.lines(1, 0)).expect_err("it is not signed");
    assert!(said.contains("not signed") || said.contains("GPG"), "{said}");
}

/// Passes connections on to `upstream`, and says so before it passes on a request for a signature; that waits for the answer.
fn forwarder(upstream: std::net::SocketAddr, asked: Sender<Sender<()>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let asked = asked.clone();
            thread::spawn(move || pass_on(client, upstream, &asked));
        }
    });
    addr
}

fn pass_on(mut client: TcpStream, upstream: std::net::SocketAddr, asked: &Sender<Sender<()>>) -> Option<()> {
    let mut head = Vec::new();
    let mut buf = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let n = client.read(&mut buf).ok().filter(|n| *n > 0)?;
        head.extend_from_slice(&buf[..n]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    if text.contains("repomd.xml.asc ") {
        let (done, wait) = channel();
        asked.send(done).ok()?;
        wait.recv().ok()?;
    }
    let mut hub = TcpStream::connect(upstream).ok()?;
    // One request a connection keeps this short.
    hub.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).ok()?;
    std::io::copy(&mut hub, &mut client).ok()?;
    client.shutdown(Shutdown::Both).ok()
}

#[test]
fn dnf_gets_the_signature_of_the_index_it_has_whatever_the_hub_publishes_meanwhile() {
    let key = Key::new();
    let farm = key.farm();
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    farm.wait_until("it to be published", SOON, |farm| farm.install(&["hello"]).is_ok());
    let address = farm.repo_url().trim_start_matches("http://").split('/').next().expect("an address");
    let (asked, requests) = channel();
    let front = forwarder(address.parse().expect("an address"), asked);
    let repomd = farm.repo().join("repodata/repomd.xml");
    let made = tempfile::tempdir_in(farm.path()).expect("a folder");
    let (lines, url) = (key.lines(1, 1), format!("http://{front}/repo/"));
    let folder = farm.path().to_owned();
    let boards = thread::spawn(move || -> Result<(), String> {
        (0..3).try_for_each(|_| install_with(&folder, &url, &lines, &["hello"]).map(drop))
    });
    let mut races = 0;
    // Each time that dnf has repomd.xml and asks for its signature, another one is published first.
    while !boards.is_finished() {
        let Ok(go_on) = requests.recv_timeout(std::time::Duration::from_millis(100)) else { continue };
        let before = fs::read(&repomd).expect("an index");
        races += 1;
        farm.drop_file(&srpm_from_spec(made.path(), &simple_spec(&format!("race{races}"), "1", "")));
        let changed = || fs::read(&repomd).is_ok_and(|now| now != before);
        assert!(poll_until(SOON, changed), "nothing was published");
        go_on.send(()).expect("the forwarder waits");
    }
    boards.join().expect("no panic").expect("dnf installs");
    assert!(races >= 3, "{races}");
}

#[test]
fn a_hub_says_that_it_does_not_sign_and_does_not_start_with_a_key_that_it_cannot_use() {
    let mut farm = Farm::plan().start();
    assert!(farm.hub().logs_contain("nothing is signed: who controls the network"));
    let key = Key::new();
    let quiet = Farm::plan().nothing_started().start();
    let start = |key: &Path| {
        let mut command = quiet.hub_command();
        command.args([quiet.source(), quiet.working(), quiet.finished(), quiet.repo()]);
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--sign-key"]).arg(key);
        run_to_end(command, SOON)
    };
    for (path, said) in [
        (key.folder.path().join("missing"), "No such file"),
        (key.public(), "holds a public key only"),
        (key.folder.path().to_owned(), "is no key"),
    ] {
        let ended = start(&path);
        assert_eq!(ended.code, 6, "{}", ended.stderr);
        let line = ended.stderr.lines().last().expect("a line");
        assert!(line.starts_with("moji-server: ") && line.contains(said), "{line}");
        assert!(line.contains(&*path.to_string_lossy()), "{line}");
    }
}

#[test]
fn moji_release_checks_signatures_where_it_carries_the_key_and_only_there() {
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../moji.spec");
    let repo_file = |defines: &[&str]| {
        let mut command = Command::new("rpmspec");
        command.arg("-P").args(["--define", "moji_hub hub.example", "--define", "moji_hub_key 00"]);
        command.args(defines.iter().flat_map(|define| ["--define", define]));
        let ended = run_to_end(
            {
                command.arg(&spec);
                command
            },
            SOON,
        );
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let (_, rest) = ended.stdout.split_once("/yum.repos.d/moji.repo << END\n").expect("a .repo file");
        let text = rest.split_once("\nEND\n").expect("its end").0.to_owned();
        (text, ended.stdout.matches("/etc/pki/rpm-gpg/RPM-GPG-KEY-moji").count())
    };
    let (without, mentions) = repo_file(&[]);
    assert!(without.contains("\ngpgcheck=0\n") && !without.contains("gpgkey"), "{without}");
    assert_eq!(mentions, 0);
    let (with, mentions) = repo_file(&["moji_key /x/RPM-GPG-KEY-moji"]);
    for line in ["gpgcheck=1", "repo_gpgcheck=1", "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-moji"] {
        assert!(with.lines().any(|have| have == line), "no {line} in {with}");
    }
    // In the .repo file, where it is installed, and in the list of files.
    assert_eq!(mentions, 3);
}
