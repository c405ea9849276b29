//! Signing held against the programs that check: rpmkeys and gpg; bad keys; which signature a reader gets.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use moji_proto::{Digest, Time};
use tempfile::TempDir;

use super::{Pairs, Signer, make, public_of, put_right};
use crate::clock::{self, Clock};
use crate::core::types::Sha256;
use crate::disk::Real;
use crate::index::RepomdSigner;
use crate::rpmfile::Signable;
use crate::stage::testrpm::build;

/// Runs a program; its exit code, and all that it says.
fn run(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).env("LC_ALL", "C").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A folder in which gpg keeps keys, and ends its agent when it goes.
struct Gpg(TempDir);

impl Gpg {
    fn new() -> Gpg {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Gpg(folder)
    }

    fn run(&self, args: &[&str]) -> (bool, String) {
        let home = self.0.path().display().to_string();
        run("gpg", &[&["--homedir", &home, "--batch", "--yes", "--pinentry-mode", "loopback"], args].concat())
    }

    /// Makes a key and exports its secret half.
    fn key(&self, passphrase: &str, words: &[&str]) -> PathBuf {
        let with = ["--passphrase", passphrase];
        let quick = [&with[..], &["--quick-gen-key", "farm <farm@example>"], words].concat();
        let (ok, said) = self.run(&quick);
        assert!(ok, "{said}");
        self.export(passphrase, "--export-secret-keys")
    }

    fn export(&self, passphrase: &str, what: &str) -> PathBuf {
        let path = self.0.path().join(format!("exported{what}"));
        let (ok, said) =
            self.run(&["--passphrase", passphrase, "--output", path.to_str().unwrap(), what, "farm@example"]);
        assert!(ok, "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let home = self.0.path().display().to_string();
        let _ = run("gpgconf", &["--homedir", &home, "--kill", "all"]);
    }
}

fn real_clock() -> Arc<dyn Clock> {
    Arc::new(clock::Real::default())
}

fn load(path: &Path, passphrase: Option<&str>) -> Result<Signer, String> {
    Signer::load(path, passphrase, real_clock()).map_err(|error| error.to_string())
}

/// A signer with a new key.
fn signer(folder: &Path) -> Signer {
    let path = folder.join("sign.key");
    make(&path, "farm").unwrap();
    load(&path, None).unwrap()
}

/// An rpm database that knows these keys only.
fn rpm_db(folder: &Path, signer: &Signer) -> String {
    let path = folder.join("public.asc");
    fs::write(&path, signer.public_key()).unwrap();
    let db = folder.join("db").display().to_string();
    let (ok, said) = run("rpmkeys", &["--dbpath", &db, "--import", path.to_str().unwrap()]);
    assert!(ok, "{said}");
    db
}

fn check_sig(db: &str, rpm: &Path) -> (bool, String) {
    run("rpmkeys", &["--dbpath", db, "--checksig", "-v", rpm.to_str().unwrap()])
}

/// Signs all packages of a build and has rpmkeys look at them, and at one whose header somebody changed.
fn all_pass(signer: &Signer, algorithm: &str) {
    let folder = tempfile::tempdir().unwrap();
    let db = rpm_db(folder.path(), signer);
    for (name, bytes) in build("sgn", "1").all() {
        let (from, to) = (folder.path().join(&name), folder.path().join("signed.rpm"));
        fs::write(&from, &bytes).unwrap();
        let signed = signer.sign_rpm(&Real, &from, &to).unwrap();
        assert_eq!(fs::read(&from).unwrap(), bytes, "the old file stays");
        let new = fs::read(&to).unwrap();
        assert_eq!((signed.size, signed.digest), (new.len() as u64, Digest::of(&new)));
        assert_eq!(signed.sha256, Sha256::of(&new));
        let (ok, said) = check_sig(&db, &to);
        assert!(ok && said.contains(&format!("Header V4 {algorithm}/SHA256 Signature")), "{name}: {said}");
        assert!(!said.contains("NOT OK") && !said.contains("BAD"), "{name}: {said}");
        // Digests alone do not make a package good: a signature over another header.
        let signable = Signable::read(&bytes[..]).unwrap();
        let mut bad = signable.front(signer.kind(), &signer.packet(b"another header").unwrap()).unwrap();
        bad.extend_from_slice(&bytes[usize::try_from(signable.rest().start).unwrap()..]);
        fs::write(&to, bad).unwrap();
        let (ok, said) = check_sig(&db, &to);
        assert!(!ok && said.contains("BAD"), "{name}: {said}");
        // Signed twice is signed once: the step may be done again.
        fs::write(&to, new).unwrap();
        let again = folder.path().join("again.rpm");
        signer.sign_rpm(&Real, &to, &again).unwrap();
        signer.sign_rpm(&Real, &to, &again).unwrap();
        assert!(check_sig(&db, &again).0);
    }
}

#[test]
fn rpmkeys_takes_packages_signed_with_a_key_that_the_hub_made_and_none_that_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer(folder.path());
    all_pass(&signer, "RSA");
    let path = folder.path().join("sign.key");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (public, fingerprint) = public_of(&path).unwrap();
    assert_eq!((public, fingerprint), (signer.public_key(), signer.fingerprint()));
    assert!(!signer.public_key().contains("PRIVATE"));
    let before = fs::read(&path).unwrap();
    assert!(make(&path, "another").is_err());
    assert_eq!(fs::read(&path).unwrap(), before, "no key is ever overwritten");
}

#[test]
fn rpmkeys_takes_packages_signed_with_keys_of_gpg_with_and_without_passphrase_or_subkey() {
    let gpg = Gpg::new();
    all_pass(&load(&gpg.key("", &["ed25519", "sign", "never"]), None).unwrap(), "EdDSA");
    let gpg = Gpg::new();
    let path = gpg.key("open sesame", &["rsa2048", "sign", "1y"]);
    all_pass(&load(&path, Some("open sesame")).unwrap(), "RSA");
    // The owner keeps the primary key elsewhere: only the half that signs is on the hub.
    let gpg = Gpg::new();
    gpg.key("", &["rsa2048", "cert", "never"]);
    let (_, list) = gpg.run(&["--with-colons", "--list-keys"]);
    let fingerprint = list.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
    let fingerprint = fingerprint.trim_matches(':');
    let (ok, said) =
        gpg.run(&["--passphrase", "", "--quick-add-key", fingerprint, "rsa2048", "sign", "never"]);
    assert!(ok, "{said}");
    all_pass(&load(&gpg.export("", "--export-secret-keys"), None).unwrap(), "RSA");
    all_pass(&load(&gpg.export("", "--export-secret-subkeys"), None).unwrap(), "RSA");
}

#[test]
fn rpmkeys_refuses_a_package_that_another_key_signed() {
    let folder = tempfile::tempdir().unwrap();
    let ours = signer(folder.path());
    let foreign = tempfile::tempdir().unwrap();
    let foreign = signer(foreign.path());
    let db = rpm_db(folder.path(), &ours);
    let rpm = folder.path().join("x.rpm");
    fs::write(&rpm, build("sgn", "1").source.1).unwrap();
    let (by_them, by_us) = (folder.path().join("them.rpm"), folder.path().join("us.rpm"));
    foreign.sign_rpm(&Real, &rpm, &by_them).unwrap();
    assert!(!check_sig(&db, &by_them).0);
    // A builder's own signature gives way to the hub's.
    ours.sign_rpm(&Real, &by_them, &by_us).unwrap();
    let (ok, said) = check_sig(&db, &by_us);
    assert!(ok, "{said}");
}

/// A clock that stands.
struct At(u64);

impl Clock for At {
    fn now(&self) -> Time {
        Time(0)
    }

    fn unix_s(&self) -> u64 {
        self.0
    }
}

#[test]
fn a_key_that_cannot_sign_is_refused_with_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let check = |path: &Path, passphrase: Option<&str>, want: &str| {
        let error = load(path, passphrase).unwrap_err();
        assert!(error.contains(want) && error.contains(path.to_str().unwrap()), "{error}: not {want:?}");
        assert!(!error.contains('\n'), "{error}");
    };
    check(&at("missing"), None, "No such file");
    fs::create_dir(at("folder")).unwrap();
    check(&at("folder"), None, "is no key");
    for bytes in [&b""[..], b"junk", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", &[0x95; 300]] {
        fs::write(at("garbage"), bytes).unwrap();
        check(&at("garbage"), None, "holds no OpenPGP secret key");
    }
    let good = signer(folder.path());
    fs::write(at("public"), good.public_key()).unwrap();
    check(&at("public"), None, "public key only");

    let gpg = Gpg::new();
    let locked = gpg.key("open sesame", &["rsa2048", "sign", "1y"]);
    check(&locked, None, "--sign-passphrase-file");
    check(&locked, Some("wrong"), "does not open");
    let gpg = Gpg::new();
    check(&gpg.key("", &["rsa2048", "cert", "never"]), None, "may sign");
    let gpg = Gpg::new();
    check(&gpg.key("", &["nistp256", "sign", "never"]), None, "make an RSA key");

    let gpg = Gpg::new();
    let short = gpg.key("", &["ed25519", "sign", "2d"]);
    let now = clock::Real::default().unix_s();
    for (clock, want) in
        [(now, None), (now + 3 * 86_400, Some("has expired")), (now - 86_400, Some("the future"))]
    {
        let loaded = Signer::load(&short, None, Arc::new(At(clock))).map_err(|error| error.to_string());
        match (loaded, want) {
            (Ok(_), None) => {}
            (Err(error), Some(want)) => assert!(error.contains(want), "{error}"),
            (loaded, _) => panic!("{clock}: {loaded:?}"),
        }
    }
}

#[test]
fn a_key_whose_file_goes_away_signs_until_the_restart_and_a_link_to_a_key_is_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sign.key");
    make(&path, "farm").unwrap();
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    let signer = load(&link, None).unwrap();
    fs::remove_file(&path).unwrap();
    let signature = signer.sign(b"<repomd/>").unwrap();
    assert!(signer.made(&signature, b"<repomd/>"));
    assert!(!signer.made(&signature, b"<repomd />"));
    assert!(!signer.made(b"junk", b"<repomd/>"));
    assert!(load(&link, None).is_err());
}

#[test]
fn gpg_takes_the_signature_of_repomd_and_a_start_puts_a_wrong_one_right() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer(folder.path());
    let repodata = folder.path().join("repodata");
    // No index yet.
    put_right(&Real, &repodata, Some(&signer)).unwrap();
    fs::create_dir(&repodata).unwrap();
    let (repomd, asc) = (repodata.join("repomd.xml"), repodata.join("repomd.xml.asc"));
    fs::write(&repomd, "<repomd>1</repomd>").unwrap();
    let gpg = Gpg::new();
    let public = folder.path().join("public.asc");
    fs::write(&public, signer.public_key()).unwrap();
    assert!(gpg.run(&["--import", public.to_str().unwrap()]).0);
    let good = || gpg.run(&["--verify", asc.to_str().unwrap(), repomd.to_str().unwrap()]).0;
    put_right(&Real, &repodata, Some(&signer)).unwrap();
    assert!(good());
    // A good one stays as it is, byte for byte.
    let before = (fs::read(&asc).unwrap(), fs::metadata(&asc).unwrap().modified().unwrap());
    put_right(&Real, &repodata, Some(&signer)).unwrap();
    assert_eq!((fs::read(&asc).unwrap(), fs::metadata(&asc).unwrap().modified().unwrap()), before);
    // The power went between the two renames; somebody else's; junk.
    fs::write(&repomd, "<repomd>2</repomd>").unwrap();
    assert!(!good());
    put_right(&Real, &repodata, Some(&signer)).unwrap();
    assert!(good());
    fs::write(&asc, "junk").unwrap();
    put_right(&Real, &repodata, Some(&signer)).unwrap();
    assert!(good());
    // Nobody signs any more.
    put_right(&Real, &repodata, None).unwrap();
    assert!(!asc.exists() && repomd.exists());
}

#[test]
fn a_reader_gets_the_signature_of_the_repomd_that_it_has() {
    let pairs = Pairs::default();
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse::<IpAddr>().unwrap());
    let (one, other) = ("/repo/repodata/repomd.xml", "/tier/base/repodata/repomd.xml");
    pairs.signed(b"first", b"first's");
    assert_eq!(pairs.signature_for(a, one), None, "it has none");
    pairs.served(a, one, b"first");
    pairs.signed(b"second", b"second's");
    pairs.served(b, one, b"second");
    assert_eq!(pairs.signature_for(a, one).unwrap(), b"first's");
    assert_eq!(pairs.signature_for(b, one).unwrap(), b"second's");
    assert_eq!(pairs.signature_for(a, other), None);
    pairs.served(a, other, b"nobody signed this");
    assert_eq!(pairs.signature_for(a, other), None);
    // Bounded: the oldest are forgotten, and readers with them.
    for number in 0..300u32 {
        pairs.signed(&number.to_be_bytes(), b"x");
    }
    assert_eq!(pairs.signature_for(a, one), None);
    for number in 0..5_000u32 {
        pairs.served(IpAddr::from(number.to_be_bytes()), one, &299u32.to_be_bytes());
    }
    assert_eq!(pairs.memory().readers.len(), 4_096);
    assert!(pairs.signature_for(IpAddr::from(4_999u32.to_be_bytes()), one).is_some());
    pairs.served(b, &"/".repeat(5_000), b"second");
    assert_eq!(pairs.memory().readers.len(), 4_096);
}
