//! Where hub and secret are found, and what is said if they are not.

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    machine: Machine,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let machine = Machine {
            hub: None,
            home: Some(path("home")),
            configs: vec![path("own.conf"), path("etc.conf")],
            whereabouts: vec![path("run")],
            state: Some(path("state")),
            host_name: "desk.example".to_owned(),
        };
        fs::create_dir(path("run")).unwrap();
        Bench { folder, machine }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn access(&self, hub: Option<&str>, file: Option<&Path>) -> Result<Access, Failure> {
        let given = Given { hub: hub.map(str::to_owned), password_file: file.map(Path::to_owned) };
        access(&given, &self.machine)
    }
}

#[test]
fn the_hub_is_the_first_that_is_named() {
    let mut bench = Bench::new();
    let secret = bench.file("secret", "a passphrase of some length");
    let hub = |bench: &Bench, given| bench.access(given, Some(&secret)).unwrap().hub();
    assert_eq!(hub(&bench, None), "127.0.0.1:6789");
    bench.file("etc.conf", "# a comment\nhub = etc\n");
    assert_eq!(hub(&bench, None), "etc:6789");
    bench.file("own.conf", "hub=own:7000");
    assert_eq!(hub(&bench, None), "own:7000");
    bench.machine.hub = Some("variable".to_owned());
    assert_eq!(hub(&bench, None), "variable:6789");
    assert_eq!(hub(&bench, Some("[::1]:7")), "[::1]:7");
    assert_eq!(bench.access(Some("a b"), None).unwrap_err().code, code::USAGE);
}

#[test]
fn the_secret_is_the_first_that_is_named_and_that_of_this_machine_only_for_this_machine() {
    let bench = Bench::new();
    let of = |text: &str| Secret::parse(text).unwrap().psk();
    bench.file("hub/operator.secret", "the secret of the hub itself");
    let state = bench.folder.path().join("hub");
    bench.file("run/6789.hub", &format!("state {}\nlisten 0.0.0.0:6789\n", state.display()));
    for host in [None, Some("localhost"), Some("desk"), Some("DESK.example"), Some("127.0.0.9"), Some("::1")]
    {
        assert!(bench.access(host, None).unwrap().psk == of("the secret of the hub itself"), "{host:?}");
    }
    let error = bench.access(Some("elsewhere"), None).unwrap_err();
    assert!(error.text.contains("no secret for elsewhere") && error.code == code::HUB, "{error}");
    bench.file("home/s", "the secret that is configured");
    bench.file("etc.conf", "password-file = ~/s\n");
    assert!(bench.access(None, None).unwrap().psk == of("the secret that is configured"));
    assert!(bench.access(Some("elsewhere"), None).is_ok());
    let given = bench.file("given", "the secret that is given");
    assert!(bench.access(None, Some(&given)).unwrap().psk == of("the secret that is given"));
}

#[test]
fn a_hub_without_a_secret_is_tried_with_none_and_where_it_listens() {
    let bench = Bench::new();
    assert!(bench.access(None, None).unwrap().psk == Psk::NONE);
    bench.file("run/6789.hub", "state /nowhere\nlisten 127.0.0.7:6789\n");
    let access = bench.access(None, None).unwrap();
    assert!(access.psk == Psk::NONE && access.secret_from.is_none());
    assert_eq!(access.host, "127.0.0.7");
    assert_eq!(bench.access(Some("127.0.0.1"), None).unwrap().host, "127.0.0.1");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let bench = Bench::new();
    for (name, text, want) in [
        ("etc.conf", "hubs = a", "etc.conf, line 1: 'hubs' is unknown"),
        ("etc.conf", "\nhub", "etc.conf, line 2: write 'hub = HOST'"),
        ("etc.conf", "password-file = s", "whole path"),
        ("etc.conf", "password-file = /nowhere/s", "/nowhere/s"),
        ("etc.conf", "hub = a b", "'a b' is no hub"),
    ] {
        bench.file(name, text);
        let error = bench.access(None, None).unwrap_err();
        assert!(error.text.contains(want), "{text}: {error}");
    }
    bench.file("etc.conf", "");
    let empty = bench.file("empty", "\n");
    let error = bench.access(None, Some(&empty)).unwrap_err();
    assert!(error.text.contains("empty") && error.code == code::HUB, "{error}");
    let denied = unreadable(Path::new("/s"), &ErrorKind::PermissionDenied.into());
    assert!(denied.text.contains("run it as root or give --password-file"), "{denied}");
}
