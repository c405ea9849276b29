//! The init scripts, the systemd wrapper and the units, on a machine of their own and with the real daemons.
//!
//! Owns what `service moji-client …` and `service moji-server …` must do, say and exit with.

mod machine;
mod pieces;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use machine::{Machine, SHELLS, top};
use moji_tests::{Farm, Finished, SOON, run_to_end};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pieces::{assert_done_once, at_gate, drop_planned, drop_slow, leases, mock_pid, plan};

/// Demands an exit code and that `text` was said, on either stream.
#[track_caller]
fn said(ended: &Finished, code: i32, text: &str) {
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code == code && all.contains(text), "wanted {code}, '{text}': {ended:?}");
}

fn pids(farm: &Farm, words: &[&str]) -> Vec<i32> {
    let all = farm.processes();
    let wanted = |command: &str| words.iter().all(|word| command.contains(word));
    all.iter().filter(|process| wanted(&process.command)).map(|process| process.pid).collect()
}

/// A farm with a hub and a machine whose client is set up for it.
fn board(shell: &str) -> (Farm, Machine) {
    let farm = Farm::plan().builders(0).start();
    let machine = Machine::new(&farm, shell);
    machine.set_client(&farm, "");
    (farm, machine)
}

fn status_says(farm: &Farm, machine: &Machine, text: &str) {
    farm.wait_until(&format!("status to say '{text}'"), SOON, |_| {
        machine.service("moji-client", "status").stdout.contains(text)
    });
}

#[test]
fn a_client_starts_builds_drains_takes_work_again_restarts_and_stops() {
    for shell in SHELLS {
        let (farm, machine) = board(shell);
        let service = |verb: &str| machine.service("moji-client", verb);
        said(&service("status"), 3, "moji-client is not running");
        said(&service("try-restart"), 0, "");
        said(&service("start"), 0, "Starting moji-client: OK");
        assert!(machine.path("lock/subsys/moji-client").exists());
        said(&service("start"), 0, "is running already");
        let first = plan(&farm, "first", 1, 1, Some("one"));
        drop_planned(&farm, &first);
        let mock = at_gate(&farm, 0, &first);
        status_says(&farm, &machine, "pkg=first-1.0-1.src.rpm");
        // The secret is in a file, and no process shows it.
        let secret = fs::read_to_string(machine.path("etc/moji/builder.token")).expect("a token");
        let shown = farm.processes();
        assert!(shown.len() >= 4 && !shown.iter().any(|p| p.command.contains(secret.trim())), "{shown:?}");

        said(&service("disable"), 0, "draining: pkg=first-1.0-1.src.rpm");
        status_says(&farm, &machine, "(pid ");
        status_says(&farm, &machine, ": draining: first-1.0-1.src.rpm, building");
        status_says(&farm, &machine, ", 0 min, connected)");
        said(&service("enable"), 0, "takes work");
        said(&service("disable"), 0, "draining");
        status_says(&farm, &machine, "draining");
        // A drain goes on over a restart, and a start ends it.
        said(&service("restart"), 0, "Restarting moji-client: OK\nStarting moji-client: OK\ndraining");
        status_says(&farm, &machine, "draining");
        assert_eq!(mock_pid(&farm), mock);
        said(&service("start"), 0, "was draining: takes work");
        for verb in ["restart", "try-restart", "condrestart", "force-reload"] {
            let worker = pids(&farm, &["--worker"]);
            said(&service(verb), 0, "Starting moji-client: OK");
            assert_ne!(pids(&farm, &["--worker"]), worker, "{verb}");
        }
        status_says(&farm, &machine, "connected");
        assert_eq!(mock_pid(&farm), mock);
        farm.open_gate("one");
        assert_done_once(&farm, 0, &first);
        assert_eq!(leases(&farm, &first.srpm), 1, "{}", farm.diagnosis());

        let slow = drop_slow(&farm);
        farm.wait_until("the build to fork away", SOON, |farm| {
            farm.processes()
                .iter()
                .any(|process| process.in_chroot && process.command.starts_with("sleep 301"))
        });
        said(&service("stop"), 0, "Stopping moji-client: OK");
        assert_eq!(pids(&farm, &["moji-client"]), Vec::<i32>::new());
        assert!(!farm.processes().iter().any(|process| process.in_chroot), "{}", farm.diagnosis());
        farm.wait_until("the package to be back", SOON, |farm| farm.places(&slow) == ["source"]);
        said(&service("status"), 3, "is not running");
        said(&service("stop"), 0, "is not running");
        assert!(!machine.path("lock/subsys/moji-client").exists());
        for verb in ["disable", "enable"] {
            said(&service(verb), 7, "moji-client is not running");
        }
    }
}

#[test]
fn what_is_wrong_with_a_clients_settings_has_its_line_and_code() {
    let (farm, machine) = board(SHELLS[0]);
    let wrong = |lines: &str, code: i32, text: &str| {
        machine.set_client(&farm, lines);
        for shell in SHELLS {
            let ended = machine.run(&format!("{shell} /etc/rc.d/init.d/moji-client start"));
            said(&ended, code, text);
            assert_eq!(pids(&farm, &["moji-client", "--daemon"]), Vec::<i32>::new());
        }
    };
    wrong("MOJI_HUB=", 6, "MOJI_HUB is empty in /etc/sysconfig/moji-client: write the hub's host name there");
    wrong("MOJI_MOCK_CONFIG=", 6, "MOJI_MOCK_CONFIG is empty in /etc/sysconfig/moji-client");
    wrong("MOJI_MOCK_CONFIG=none-of-this-name", 6, "none-of-this-name");
    wrong("MOJI_PASSWORD_FILE=/etc/moji/none", 6, "MOJI_PASSWORD_FILE: /etc/moji/none cannot be read");
    wrong("MOJI_HUB='a b'", 6, "is no hub");
    wrong("MOJI_OPTIONS=--nonsense", 6, "unexpected argument '--nonsense' found");
    wrong("MOJI_HUB_KEY=12", 6, "--hub-key is not 64 hexadecimal digits");
    wrong("MOJI_STATE=/dev/null", 1, "cannot use /dev/null");
    wrong("MOJI_HUB=\"unterminated", 6, "has a line that is no NAME=VALUE");
    said(&machine.service("moji-client", "status"), 4, "has a line that is no NAME=VALUE");
    machine.set_client(&farm, "");
    fs::remove_file(machine.path("etc/sysconfig/moji-client")).expect("it is there");
    said(&machine.service("moji-client", "start"), 6, "/etc/sysconfig/moji-client is missing");
    machine.set_client(&farm, "");
    for (verb, code, text) in [
        ("frobnicate", 2, "Usage: /etc/rc.d/init.d/moji-client {start|stop|"),
        ("", 2, "Usage: "),
        ("reload", 3, "use 'restart', a build goes on meanwhile"),
    ] {
        said(&machine.service("moji-client", verb), code, text);
    }
    for verb in ["start", "stop", "restart", "disable", "enable"] {
        said(&machine.service_as_nobody("moji-client", verb), 4, &format!("only root may {verb} it"));
    }
    said(&machine.service_as_nobody("moji-client", "status"), 3, "is not running");
    let settings = machine.path("etc/sysconfig/moji-client");
    fs::set_permissions(&settings, PermissionsExt::from_mode(0o600)).expect("a mode can be set");
    said(&machine.service_as_nobody("moji-client", "start"), 4, "cannot be read: be root");
    said(&machine.service_as_nobody("moji-client", "status"), 3, "is not running");
    fs::remove_file(machine.path("usr/sbin/moji-client")).expect("it is there");
    said(&machine.service("moji-client", "start"), 5, "/usr/sbin/moji-client is not installed");
    said(&machine.service("moji-client", "status"), 3, "is not installed");
    said(&machine.service("moji-client", "stop"), 0, "is not running");
}

#[test]
fn a_client_whose_hub_is_away_starts_and_says_so_and_a_crash_shows() {
    let (farm, machine) = board(SHELLS[1]);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    machine.set_client(&farm, &format!("MOJI_HUB={free}"));
    said(&machine.service("moji-client", "start"), 0, "OK");
    status_says(&farm, &machine, ", hub unreachable since 20");
    machine.set_client(&farm, "");
    said(&machine.service("moji-client", "restart"), 0, "OK");
    status_says(&farm, &machine, "idle, connected");
    // The parent first, so that nobody starts the client again.
    for words in [["moji-client", "--supervise"], ["moji-client", "--worker"]] {
        for pid in pids(&farm, &words) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        }
    }
    farm.wait_until("both to be gone", SOON, |farm| {
        pids(farm, &["moji-client"]).is_empty() && machine.service("moji-client", "status").code != 0
    });
    said(&machine.service("moji-client", "status"), 1, "is dead: it was killed");
    // Its number belongs to another program now.
    let mut other = Command::new("sleep").arg("300").spawn().expect("sleep starts");
    fs::write(farm.builder_state(0).join("pid"), format!("{} 1 other-boot\n", other.id())).expect("a file");
    said(&machine.service("moji-client", "status"), 1, "is dead: it was killed");
    said(&machine.service("moji-client", "stop"), 0, "is not running");
    assert!(other.try_wait().expect("a child").is_none(), "another program was killed");
    said(&machine.service("moji-client", "start"), 0, "OK");
    said(&machine.service("moji-client", "stop"), 0, "OK");
    assert!(other.try_wait().expect("a child").is_none(), "another program was killed");
    let _ = other.kill().and_then(|()| other.wait());
    said(&machine.service("moji-client", "status"), 3, "is not running");
}

#[test]
fn functions_of_the_distribution_are_used_where_there_are_some() {
    let (_farm, machine) = board("bash");
    machine.write(
        "etc/rc.d/init.d/functions",
        "success() { printf ' [fine]'; }\nfailure() { printf ' [bad]'; }\n",
    );
    said(&machine.service("moji-client", "start"), 0, "Starting moji-client: [fine]\n");
    said(&machine.service("moji-client", "stop"), 0, "Stopping moji-client: [fine]\n");
}

/// A machine with a hub that is not started; its ports are any.
fn hub(shell: &str) -> (Farm, Machine) {
    let farm = Farm::plan().nothing_started().start();
    let machine = Machine::new(&farm, shell);
    machine.set("moji-server", LOOPBACK);
    (farm, machine)
}

const LOOPBACK: &str = "MOJI_OPTIONS='--listen 127.0.0.1:0 --http 127.0.0.1:0'";

#[test]
fn a_hub_starts_as_its_user_with_folders_of_its_own_reloads_restarts_and_stops() {
    for shell in SHELLS {
        let (farm, machine) = hub(shell);
        let service = |verb: &str| machine.service("moji-server", verb);
        said(&service("status"), 3, "moji-server is not running");
        said(&service("try-restart"), 0, "");
        said(&service("reload"), 7, "it is not running");
        said(&service("start"), 0, "Starting moji-server: OK");
        assert!(machine.syslog().contains("hub listening on 127.0.0.1:"), "it returned before it was up");
        for (folder, mode) in [("source", 0o2775), ("working", 0o755), ("finished", 0o755), ("repo", 0o755)] {
            let meta = fs::metadata(machine.path("var/lib/moji-server").join(folder)).expect("a folder");
            assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (64911, 64911, mode), "{folder}");
        }
        let running = pids(&farm, &["/usr/sbin/moji-server"]);
        assert_eq!(running.len(), 2);
        for pid in &running {
            assert_eq!(fs::metadata(format!("/proc/{pid}")).expect("it runs").uid(), 64911);
        }
        said(&service("status"), 0, "moji-server is running (pid ");
        said(&machine.service_as_nobody("moji-server", "status"), 0, "is running");
        said(&service("start"), 0, "is running already");
        assert_eq!(pids(&farm, &["/usr/sbin/moji-server"]), running);
        said(&service("reload"), 0, "");
        farm.wait_until("the hub to read its lists again", SOON, |_| machine.syslog().contains("again"));
        said(&service("restart"), 0, "Stopping moji-server: OK\nStarting moji-server: OK");
        assert!(pids(&farm, &["/usr/sbin/moji-server"]).iter().all(|pid| !running.contains(pid)));
        // Between a crash and the restart it runs, too.
        let worker = pids(&farm, &["moji-server", "--worker"])[0];
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("it runs");
        said(&service("status"), 0, "is running");
        said(&service("stop"), 0, "Stopping moji-server: OK");
        assert_eq!(pids(&farm, &["/usr/sbin/moji-server"]), Vec::<i32>::new());
        said(&service("stop"), 0, "is not running");
        said(&service("start"), 0, "OK");
        for words in [["moji-server", "--supervise"], ["moji-server", "--worker"]] {
            for pid in pids(&farm, &words) {
                kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
            }
        }
        // A killed process has lost its command line a moment before its lock.
        farm.wait_until("both to be gone", SOON, |farm| {
            pids(farm, &["/usr/sbin/moji-server"]).is_empty() && service("status").code != 0
        });
        said(&service("status"), 1, "is dead: it was killed");
    }
}

#[test]
fn a_hub_gets_its_user_from_runuser_or_setpriv_or_either_su() {
    let (farm, machine) = hub(SHELLS[0]);
    let own = |name: &str, text: &str| {
        machine.write(&format!("usr/sbin/{name}"), text);
        fs::set_permissions(machine.path("usr/sbin").join(name), PermissionsExt::from_mode(0o755))
            .expect("a mode");
    };
    let starts = |by: &str| {
        let trace = machine.run("PATH=/usr/sbin:$PATH dash -x /etc/rc.d/init.d/moji-server start");
        said(&trace, 0, "Starting moji-server: OK");
        said(&trace, 0, &format!("\n+ {by} "));
        for pid in pids(&farm, &["moji-server", "--worker"]) {
            assert_eq!(fs::metadata(format!("/proc/{pid}")).expect("it runs").uid(), 64911, "{by}");
        }
        said(&machine.service("moji-server", "stop"), 0, "OK");
    };
    starts("runuser -u moji-server");
    fs::remove_file(machine.path("usr/sbin/runuser")).expect("this machine has it");
    starts("setpriv --reuid=moji-server");
    // busybox's setpriv changes no user.
    own("setpriv", "#!/bin/sh\nexit 1\n");
    starts("su -s /bin/sh moji-server");
    // busybox's su, which Debian's busybox lacks: what follows the user goes to the shell as it is.
    let to_user = "/usr/bin/setpriv --reuid=moji-server --regid=moji-server --init-groups";
    own("su", &format!("#!/bin/sh\nshift 3\nexec {to_user} /bin/sh \"$@\"\n"));
    starts("su -s /bin/sh moji-server");
}

#[test]
fn what_is_wrong_with_a_hubs_settings_has_its_line_and_code() {
    let (farm, machine) = hub(SHELLS[0]);
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("an address");
    let wrong = |lines: &str, code: i32, text: &str| {
        machine.set("moji-server", &format!("{LOOPBACK}\n{lines}"));
        for shell in SHELLS {
            let ended = machine.run(&format!("{shell} /etc/rc.d/init.d/moji-server start"));
            said(&ended, code, text);
            assert_eq!(pids(&farm, &["/usr/sbin/moji-server"]), Vec::<i32>::new());
        }
    };
    wrong("MOJI_PASSWORD_FILE=/etc/moji/none", 6, "/etc/moji/none cannot be read by user moji-server");
    wrong("MOJI_OPTIONS=--nonsense", 6, "unexpected argument '--nonsense' found");
    wrong("MOJI_SOURCE=/dev/null", 1, "mkdir");
    wrong("MOJI_SOURCE=/etc", 6, "source folder '/etc' is");
    let listen = format!("MOJI_OPTIONS='--listen {address} --http 127.0.0.1:0'");
    wrong(&listen, 1, &format!("failed to listen on {address}"));
    wrong("MOJI_SOURCE=\"unterminated", 6, "has a line that is no NAME=VALUE");
    machine.set("moji-server", LOOPBACK);
    for verb in ["start", "stop", "restart", "reload"] {
        said(&machine.service_as_nobody("moji-server", verb), 4, "only root may ");
    }
    said(
        &machine.service("moji-server", "frobnicate"),
        2,
        "Usage: /etc/rc.d/init.d/moji-server {start|stop|",
    );
    let passwd = fs::read_to_string("/etc/passwd").expect("a machine has users");
    machine.write("etc/passwd", &passwd);
    said(&machine.service("moji-server", "start"), 6, "there is no user moji-server");
    fs::remove_file(machine.path("etc/sysconfig/moji-server")).expect("it is there");
    said(&machine.service("moji-server", "start"), 6, "/etc/sysconfig/moji-server is missing");
    fs::remove_file(machine.path("usr/sbin/moji-server")).expect("it is there");
    said(&machine.service("moji-server", "start"), 5, "/usr/sbin/moji-server is not installed");
    said(&machine.service("moji-server", "status"), 3, "is not installed");
}

#[test]
fn under_systemd_a_restart_leaves_the_build_a_stop_ends_it_and_a_drain_finishes_it() {
    let (farm, machine) = board(SHELLS[0]);
    // systemd's part: which job this is, in the form of 'systemctl list-jobs --no-legend'.
    let job = |kind: &str| {
        let text =
            format!("#!/bin/sh\n[ $1 != list-jobs ] || echo '71 moji-client.service {kind} running'\n");
        machine.write("usr/sbin/systemctl", &text);
        fs::set_permissions(machine.path("usr/sbin/systemctl"), PermissionsExt::from_mode(0o755))
            .expect("a mode");
    };
    let unit = |verb: &str| {
        machine.run(&format!("PATH=/usr/sbin:$PATH sh /usr/libexec/moji/moji-client-service {verb}"))
    };
    let start =
        || machine.run("sh /usr/libexec/moji/moji-client-service start >> $MOJI_FARM/unit.log 2>&1 &");
    start();
    status_says(&farm, &machine, "idle, connected");
    let package = plan(&farm, "unit", 1, 1, Some("go"));
    drop_planned(&farm, &package);
    let mock = at_gate(&farm, 0, &package);
    job("restart");
    said(&unit("disable"), 0, "draining");
    status_says(&farm, &machine, "draining");
    said(&unit("stop"), 0, "left: unit-1.0-1.src.rpm");
    said(&machine.service("moji-client", "status"), 3, "is not running");
    start();
    status_says(&farm, &machine, "draining: unit-1.0-1.src.rpm, building");
    said(&unit("enable"), 0, "takes work");
    assert_eq!(mock_pid(&farm), mock);
    machine.set_client(&farm, "MOJI_DRAIN_ON_STOP=yes");
    job("stop");
    let gate = farm.gate("go");
    let opener = std::thread::spawn(move || fs::write(gate, "").expect("a gate can be opened"));
    said(&unit("stop"), 0, "draining: pkg=unit-1.0-1.src.rpm");
    opener.join().expect("no panic");
    assert_done_once(&farm, 0, &package);
    assert_eq!(leases(&farm, &package.srpm), 1, "{}", farm.diagnosis());
    said(&unit("stop"), 0, "");
    machine.set_client(&farm, "");
    start();
    status_says(&farm, &machine, "idle, connected");
    said(&unit("stop"), 0, "stopped");
    machine.set_client(&farm, "MOJI_HUB=");
    said(&unit("start"), 6, "MOJI_HUB is empty");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    if run_to_end(shell("command -v systemd-analyze"), SOON).code != 0 {
        eprintln!("no systemd-analyze here: left out");
        return;
    }
    let (_farm, machine) = board(SHELLS[0]);
    for unit in ["client/dist/moji-client.service", "server/dist/moji-server.service"] {
        let ended = machine.run(&format!("systemd-analyze verify --man=no {}", top().join(unit).display()));
        assert_eq!((ended.code, &*ended.stderr), (0, ""), "{unit}: {ended:?}");
    }
}

fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]);
    command
}
