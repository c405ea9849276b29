//! A machine of 128 MB: a whole build with real dnf goes through with a thin repository, and not with the whole ones.
//!
//! Owns the limits. The repositories are the mini distribution and a mainline of `MOJI_SMALL_PACKAGES` (25,000) packages that
//! nobody needs, as on a builder of a real distribution.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use moji_tests::dense::Dense;
use moji_tests::thin::{Layers, Whole, store};
use moji_tests::{FakeMock, Finished, SmallMachine, cached_srpm, mini_folder, poll_until};

use super::number;

/// Memory of the machine, bytes.
const MEMORY: u64 = 128 << 20;
/// Longest build: it takes half a minute, and with too little memory it has no end.
const BUILD_LIMIT: Duration = Duration::from_secs(300);
/// The chroot of `mini.cfg.in`.
const SETUP: &str = "mini-filesystem bash coreutils sed grep tar gzip diffutils findutils make rpm debianutils mawk \
                     libc-bin passwd";
/// What is built, and what that needs.
const BUILT: (&str, &[&str]) = ("helloc", &["gcc"]);

/// How a build in a small machine ended: its exit code and what it said, None if it had to be stopped.
fn build(machine: &SmallMachine, mock: &FakeMock, arguments: &[&str]) -> Option<Finished> {
    let srpm = cached_srpm(BUILT.0).display().to_string();
    let (command, _) = mock.command(&[arguments, &["--rebuild", &srpm]].concat());
    let said = mock.folder().join("said");
    let file = std::fs::File::create(&said).expect("a scratch file");
    let copy = file.try_clone().expect("a descriptor can be duplicated");
    let mut command: Command = machine.inside(&command);
    let mut child =
        command.stdin(std::process::Stdio::null()).stdout(copy).stderr(file).spawn().expect("sh starts");
    let has_ended = poll_until(BUILD_LIMIT, || !matches!(child.try_wait(), Ok(None)));
    machine.stop();
    let status = child.wait().expect("a child can be waited for");
    has_ended.then(|| Finished {
        code: status.code().unwrap_or(-9),
        stdout: String::new(),
        stderr: std::fs::read_to_string(said).unwrap_or_default(),
    })
}

/// Mock without a chroot that is kept between builds: the build begins with nothing.
fn mock() -> FakeMock {
    FakeMock::new("config_opts['plugin_conf']['root_cache_enable'] = False\n")
}

/// The thin repository of the build, with its RPMs.
fn thin(folder: &Path, wholes: &[Whole]) -> usize {
    let layers = Layers::read(wholes, &Default::default());
    let setup: Vec<String> = SETUP.split_whitespace().map(str::to_owned).collect();
    let requires: Vec<String> = BUILT.1.iter().map(|&text| text.to_owned()).collect();
    let made = layers.thin(&setup, &requires, false);
    assert!(made.missing.is_empty(), "{:?}", made.missing);
    store(&made, folder);
    for (number, whole) in wholes.iter().enumerate() {
        symlink(&whole.folder, folder.join(number.to_string())).expect("a link");
    }
    made.packages
}

#[test]
fn a_build_on_a_machine_of_128_megabytes_goes_through_with_a_thin_repository_and_not_with_the_whole_ones() {
    let machines = [(); 2].map(|()| SmallMachine::new(MEMORY));
    let [Ok(large), Ok(small)] = machines else {
        eprintln!("LEFT OUT: a machine of 128 MB needs control groups: {machines:?}");
        return;
    };
    let scratch = tempfile::Builder::new().prefix("moji-small-").tempdir().expect("a scratch folder");
    let dense = Dense { seed: 1, packages: number("MOJI_SMALL_PACKAGES", 25_000) };
    let mainline = dense.cached_tail();
    let whole = |id: &str, folder: &Path| Whole { id: id.into(), folder: folder.to_owned(), cost: 1 };
    let wholes = [whole("mini", &mini_folder().join("mini-x86_64")), whole("os", &mainline)];

    let at = scratch.path().join("thin");
    let packages = thin(&at, &wholes);
    let url = format!("file://{}", at.display());
    // The id is as mock makes it: signs that an id cannot have are dropped, and `/` is `_`.
    let id: String = url["file://".len()..]
        .replace('/', "_")
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    let (began, mock_of_thin) = (Instant::now(), mock());
    let enable = format!("--enablerepo={id}");
    let ended = build(&small, &mock_of_thin, &["--addrepo", &url, "--disablerepo=*", &enable]);
    println!(
        "thin, {packages} packages: {:?} after {:.0} s, {} MB at the most",
        ended.as_ref().map(|ended| ended.code),
        began.elapsed().as_secs_f64(),
        small.peak_bytes() >> 20
    );
    let ended = ended.unwrap_or_else(|| panic!("the build with a thin repository has no end"));
    assert_eq!((ended.code, small.killed()), (0, 0), "{}", ended.stderr);

    let (began, mock_of_full) = (Instant::now(), mock());
    let ended = build(&large, &mock_of_full, &["--addrepo", &format!("file://{}", mainline.display())]);
    println!(
        "whole, {} packages: {:?} after {:.0} s, {} killed",
        dense.packages,
        ended.as_ref().map(|ended| ended.code),
        began.elapsed().as_secs_f64(),
        large.killed()
    );
    assert!(ended.is_none_or(|ended| ended.code != 0), "it went through with the whole repositories, too");
}
