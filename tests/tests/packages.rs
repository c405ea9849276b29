//! The packages: made by `moji.spec` from the archives of `tests/archives`, installed by dnf into a root of their own,
//! used there as on a board, upgraded during a build, and removed.
//!
//! Owns that a package starts nothing by itself, that an upgrade replaces the daemons and not the build, and that a
//! removal leaves settings and state and nothing else. What the init scripts themselves do is `service.rs`'s. Left out,
//! and said so, where there is no rpmbuild, dnf or root.

mod sandbox;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moji_tests::{Finished, Outcome, program, run_to_end, simple_spec};
use sandbox::{Sandbox, repository, rpms_of};

/// A build of everything from nothing, on a machine that does something else as well.
const BUILD_LIMIT: Duration = Duration::from_secs(2400);
/// What is quick.
const LIMIT: Duration = Duration::from_secs(120);
/// What the test compares and runs, as the programs of a board: of the mini distribution.
const BASE: [&str; 10] = [
    "mini-filesystem",
    "bash",
    "coreutils",
    "grep",
    "sed",
    "findutils",
    "shadow-utils",
    "util-linux",
    "libc-bin",
    "rpm",
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the source tree is there")
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether the machine has what a test needs; says what it has not.
fn able(programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs.iter().filter(|program| !has(program)).collect();
    if !missing.is_empty() || !nix::unistd::geteuid().is_root() {
        eprintln!("LEFT OUT: it needs root and {programs:?}; missing: {missing:?}");
        return false;
    }
    true
}

/// Runs to the end, demands success.
#[track_caller]
fn done(command: Command, limit: Duration) -> Finished {
    let shown = format!("{command:?}");
    let ended = run_to_end(command, limit);
    // rpmbuild says all it does.
    let tail = |text: &str| {
        text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    };
    assert_eq!(ended.code, 0, "{shown}\n{}\n{}", tail(&ended.stdout), tail(&ended.stderr));
    ended
}

/// `moji.spec` built as release `number`, by a profile that is soon built; where its RPMs are. cargo's target folder is kept: what has not changed is not
/// compiled again.
fn build(number: &str, defines: &[(&str, &str)]) -> PathBuf {
    let folder = top().join("target/rpm/native");
    let archives = folder.join("archives");
    let mut command = Command::new(top().join("tests/archives"));
    command.arg(&archives);
    done(command, BUILD_LIMIT);
    let rpms = folder.join(format!("release-{number}"));
    let _ = fs::remove_dir_all(&rpms);
    let mut command = Command::new("rpmbuild");
    command.current_dir(top()).env("CARGO_TARGET_DIR", folder.join("target"));
    command.arg(if number == "1" { "-ba" } else { "-bb" }).arg("moji.spec");
    // The crates' tests are the same for every release.
    if number != "1" {
        command.arg("--nocheck");
    }
    let own = [
        ("_topdir", folder.display().to_string()),
        ("_sourcedir", archives.display().to_string()),
        ("_rpmdir", rpms.display().to_string()),
        ("_srcrpmdir", rpms.display().to_string()),
        ("moji_release", number.to_owned()),
        ("moji_profile", "draft".to_owned()),
    ];
    let given = defines.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in own.into_iter().chain(given) {
        command.arg("--define").arg(format!("{name} {value}"));
    }
    done(command, BUILD_LIMIT);
    rpms
}

/// rpmlint has nothing to say that `.rpmlintrc` does not answer.
fn lint(rpms: &Path) {
    if !has("rpmlint") {
        eprintln!("LEFT OUT: no rpmlint here");
        return;
    }
    let mut command = Command::new("rpmlint");
    command.current_dir(top()).args([
        "--strict",
        "--ignore-unused-rpmlintrc",
        "-c",
        ".rpmlint.toml",
        "-r",
        ".rpmlintrc",
    ]);
    command.arg("moji.spec").args(rpms_of(rpms)).arg(rpms.join(concat!(
        "moji-",
        env!("CARGO_PKG_VERSION"),
        "-1.src.rpm"
    )));
    done(command, LIMIT);
}

/// A hub's state with its token, and what a maintainer defines for its boards.
struct Farm {
    state: PathBuf,
    token: PathBuf,
    key: String,
}

impl Farm {
    fn new(folder: &Path) -> Farm {
        let (state, token) = (folder.join("state"), folder.join("token"));
        let mut command = Command::new(program("moji-server"));
        command.arg("token").arg("--state").arg(&state);
        let text = done(command, LIMIT).stdout;
        fs::write(&token, &text).expect("the token is written");
        let secret = moji_proto::secret::Secret::parse(&text).expect("a token");
        Farm { state, token, key: secret.hub_key().expect("a token names its hub").to_string() }
    }
}

/// Plans what mock does with package `name`: it waits at a gate and then succeeds. The SRPM is `/tests/NAME-1-1.src.rpm`.
fn plan(sandbox: &Sandbox, name: &str) -> String {
    let tests = sandbox.path("tests");
    let spec = simple_spec(name, "1", "");
    let srpm = moji_tests::srpm_from_spec(&tests, &spec);
    let mut outcome = Outcome::exit(0).log("build.log", "planned\n").log("state.log", "Finish: run\n");
    for rpm in moji_tests::rpms_from_spec(&tests, &spec).iter().chain([&srpm]) {
        let file = rpm.file_name().expect("a file has a name").to_string_lossy().into_owned();
        outcome = outcome.file(&file, &Path::new("/tests").join(&file));
    }
    let file = format!("{name}-1-1.src.rpm");
    outcome.gate(&Path::new("/tests/gates").join(name)).plan(&tests.join("outcomes"), &file);
    file
}

/// Drops a planned package into the hub's `source/` and waits until mock has it.
fn start_build(sandbox: &Sandbox, name: &str) {
    let srpm = plan(sandbox, name);
    sandbox
        .ok(&format!("cp /tests/{srpm} {HUB}/source/.{srpm} && mv {HUB}/source/.{srpm} {HUB}/source/{srpm}"));
    sandbox.until(&format!("find /var/lib/moji/jobs -name {srpm} -path '*result*' | grep -q ."));
}

const HUB: &str = "/var/lib/moji-server";

fn open_gate(sandbox: &Sandbox, name: &str) {
    sandbox.ok(&format!("touch /tests/gates/{name}"));
}

/// Demands that the package was built well, once.
fn built_once(sandbox: &Sandbox, name: &str) {
    sandbox.until(&format!("test -e {HUB}/finished/{name}-1-1.src.rpm"));
    let folders = sandbox.ok(&format!("ls -d {HUB}/repo/{name}-*"));
    assert_eq!(folders.trim(), format!("{HUB}/repo/{name}-1-1"));
    let result = sandbox.ok(&format!("cat {HUB}/repo/{name}-1-1/result.json"));
    let result: serde_json::Value = serde_json::from_str(&result).expect("result.json");
    assert_eq!(
        (&result["verdict"], &result["attempts"].as_u64().unwrap_or(1)),
        (&"success".into(), &1),
        "{result}"
    );
}

/// Pid and words of every process of the machine.
fn processes(sandbox: &Sandbox) -> Vec<(String, String)> {
    let line =
        "for p in /proc/[0-9]*; do echo \"${p#/proc/} $(tr '\\0' ' ' < $p/cmdline 2> /dev/null)\"; done";
    let all = sandbox.ok(line);
    all.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(pid, words)| (pid.to_owned(), words.to_owned()))
        .collect()
}

/// Pid of the one process whose words have all of these.
#[track_caller]
fn pid(sandbox: &Sandbox, words: &[&str]) -> String {
    let every = processes(sandbox);
    let mut all = every.clone();
    all.retain(|(_, line)| words.iter().all(|word| line.contains(word)));
    assert_eq!(all.len(), 1, "processes of {words:?} among {every:?}");
    all.remove(0).0
}

/// The client, mock, and the shim between them.
#[track_caller]
fn pids(sandbox: &Sandbox) -> [String; 3] {
    let client = pid(sandbox, &["moji-client --worker"]);
    [client, pid(sandbox, &["fake-mock", "--rebuild"]), pid(sandbox, &["moji-client", "--shim"])]
}

fn service(sandbox: &Sandbox, what: &str, verb: &str) -> String {
    sandbox.ok(&format!("service {what} {verb} 2>&1"))
}

/// What the packages' own files and the system's records of them are not.
fn foreign(path: &str) -> bool {
    [
        "/proc",
        "/host",
        "/dev",
        "/tests",
        "/var/lib/rpm",
        "/var/lib/dnf",
        "/var/cache",
        "/var/log",
        "/run",
        "/tmp",
        "/var/tmp",
    ]
    .iter()
    .any(|folder| path.starts_with(folder))
        || path.starts_with("/etc/")
            && [".pwd.lock", "passwd", "group", "shadow", "subuid", "subgid"]
                .iter()
                .any(|file| path.contains(file))
}

fn files(sandbox: &Sandbox) -> Vec<String> {
    let skip = "-path /host -o -path /proc -o -path /dev";
    let all = sandbox
        .ok(&format!("find / \\( {skip} \\) -prune -o \\( ! -type d -o -name '*moji*' \\) -print | sort"));
    all.lines().filter(|path| !foreign(path)).map(str::to_owned).collect()
}

#[test]
fn packages_install_build_are_upgraded_during_a_build_and_leave_settings_and_state_only() {
    if !able(&["rpmbuild", "dnf", "createrepo_c", "unshare", "nsenter"]) {
        return;
    }
    let folder = tempfile::Builder::new().prefix("moji-packages-").tempdir().expect("a folder");
    let farm = Farm::new(folder.path());
    let token = farm.token.display().to_string();
    let defines = [("moji_hub", "127.0.0.1"), ("moji_hub_key", &*farm.key), ("moji_secret_file", &*token)];
    let first = build("1", &defines);
    lint(&first);
    let second = build("2", &defines);
    let sandbox = Sandbox::new(folder.path());
    repository(&sandbox, &rpms_of(&first));
    sandbox.dnf(&[&["install"], &BASE[..]].concat());
    let before = files(&sandbox);

    sandbox.dnf(&["install", "moji-release"]);
    sandbox.dnf(&["install", "moji", "moji-server"]);
    installed_well(&sandbox, &farm);
    set_up(&sandbox, &farm);
    service(&sandbox, "moji-server", "start");
    // Who sits at the hub names neither it nor its secret.
    sandbox.ok("moji status");
    service(&sandbox, "moji-client", "start");
    finishes_a_build_after_disable(&sandbox);
    service(&sandbox, "moji-client", "start");

    start_build(&sandbox, "during");
    let old = pids(&sandbox);
    repository(&sandbox, &rpms_of(&second));
    sandbox.dnf(&["upgrade", "moji", "moji-server"]);
    assert!(sandbox.rpm(&["-q", "moji", "moji-server"]).stdout.lines().all(|name| name.contains("-2")));
    let new = pids(&sandbox);
    assert_ne!(old[0], new[0], "the client is the old one");
    assert_eq!(old[1..], new[1..], "the build is another one");
    open_gate(&sandbox, "during");
    built_once(&sandbox, "during");

    start_build(&sandbox, "stopped");
    let [_, mock, _] = pids(&sandbox);
    service(&sandbox, "moji-client", "stop");
    sandbox.until(&format!("test ! -e /proc/{mock}"));
    sandbox.until(&format!("test -e {HUB}/source/stopped-1-1.src.rpm"));

    service(&sandbox, "moji-client", "start");
    sandbox.dnf(&["remove", "moji", "moji-server", "moji-release"]);
    removed_well(&sandbox, &before);
}

/// Nothing was started or changed, users and modes are there, chkconfig was told.
fn installed_well(sandbox: &Sandbox, farm: &Farm) {
    let running = processes(sandbox);
    assert!(!running.iter().any(|(_, words)| words.contains("moji-")), "{running:?}");
    let verified = sandbox.rpm(&["-V", "moji", "moji-server", "moji-release"]);
    assert_eq!((verified.code, &*verified.stdout), (0, ""), "{verified:?}");
    assert_eq!(sandbox.ok("sort /var/log/chkconfig"), "--add moji-client\n--add moji-server\n");
    assert!(sandbox.ok("id -nG moji").split_whitespace().any(|group| group == "mock"));
    for (path, want) in [
        ("/etc/moji", "700 root root"),
        ("/etc/moji/builder.token", "600 root root"),
        ("/etc/sysconfig/moji-client", "600 root root"),
        ("/etc/rc.d/init.d/moji-client", "755 root root"),
        ("/var/lib/moji", "711 root root"),
        ("/var/lib/moji-server/source", "2775 moji-server moji-server"),
    ] {
        assert_eq!(sandbox.ok(&format!("stat -c '%a %U %G' {path}")).trim(), want, "{path}");
    }
    let settings = sandbox.ok("cat /etc/sysconfig/moji-hub /etc/yum.repos.d/moji.repo");
    for line in [
        "MOJI_HUB=127.0.0.1\n",
        &*format!("MOJI_HUB_KEY={}\n", farm.key),
        "baseurl=http://127.0.0.1:6780/repo/\n",
    ] {
        assert!(settings.contains(line), "{line} is not in {settings}");
    }
}

/// What a person does between the installation and the start.
fn set_up(sandbox: &Sandbox, farm: &Farm) {
    let state = sandbox.path("var/lib/moji-server/finished/.moji");
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&farm.state).arg(&state);
    done(copy, LIMIT);
    sandbox.ok(&format!("chown -R moji-server: {HUB}/finished/.moji"));
    sandbox.ok("echo 'MOJI_OPTIONS=\"--listen 127.0.0.1:6789 --http 127.0.0.1:6780 --min-free 1\"' >> /etc/sysconfig/moji-server");
    sandbox.ok("sed -i 's/^MOJI_MOCK_CONFIG=$/MOJI_MOCK_CONFIG=mini/; s/^MOJI_OPTIONS=$/MOJI_OPTIONS=\"--min-free 1\"/' /etc/sysconfig/moji-client");
}

fn finishes_a_build_after_disable(sandbox: &Sandbox) {
    start_build(sandbox, "drained");
    let said = service(sandbox, "moji-client", "status");
    assert!(said.contains("drained-1-1.src.rpm"), "{said}");
    let said = service(sandbox, "moji-client", "disable");
    assert!(said.contains("drained-1-1.src.rpm"), "{said}");
    let said = service(sandbox, "moji-client", "status");
    assert!(said.contains("draining"), "{said}");
    open_gate(sandbox, "drained");
    built_once(sandbox, "drained");
    sandbox.until("! service moji-client status");
}

/// Nothing runs and nothing is left but settings and state.
fn removed_well(sandbox: &Sandbox, before: &[String]) {
    let left = processes(sandbox);
    assert!(!left.iter().any(|(_, words)| words.contains("moji-") || words.contains("mock")), "{left:?}");
    let told = sandbox.ok("cat /var/log/chkconfig");
    for line in ["--del moji-client\n", "--del moji-server\n"] {
        assert!(told.contains(line), "{told}");
    }
    let kept = [
        "/etc/moji",
        "/etc/sysconfig",
        "/var/lib/moji",
        "/var/lib/moji-server",
        "/var/lib/mock",
        "/etc/yum.repos.d",
    ];
    let after = files(sandbox);
    let new = after.iter().filter(|path| !before.contains(path));
    let lost: Vec<_> = new.filter(|path| !kept.iter().any(|folder| path.starts_with(folder))).collect();
    assert!(lost.is_empty(), "left behind: {lost:?}");
    assert!(after.iter().any(|path| path == "/var/lib/moji/identity.key"), "the board's key is gone");
    assert!(
        after.iter().any(|path| path == "/etc/sysconfig/moji-client.rpmsave"),
        "the board's settings are gone"
    );
}
