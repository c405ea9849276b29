//! A machine with moji installed, for the init scripts: the farm's real programs, the scripts and settings at their
//! real paths, in mount namespaces of their own.
//!
//! Owns what lies over `/etc`, `/usr/sbin`, `/usr/libexec`, `/var/lib`, `/run/lock` and `/dev`: folders of links to what
//! the test machine has there, with moji's files among them. Must never change the test machine's own files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use moji_tests::{Farm, Finished, SOON, fake_mock, run_to_end};

/// Top of the source tree.
pub(crate) fn top() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Shells that the scripts must run under.
pub(crate) const SHELLS: [&str; 2] = ["dash", "busybox ash"];
/// A uid that is nobody here.
const NOBODY: &str = "65534";
/// The folders that are laid over the machine's.
const LAID: [&str; 4] = ["etc", "usr/sbin", "usr/libexec", "var/lib"];

/// One machine at a time: their clients have the same state folder, and hubs that start in the same second number leases
/// alike, so one's stop would find the other's build among the processes.
static ALONE: Mutex<()> = Mutex::new(());

/// A machine; its daemons are the farm's to end.
pub(crate) struct Machine {
    pub(crate) root: PathBuf,
    shell: String,
    /// The farm's mark in the environment, by which its processes are found.
    farm: PathBuf,
    syslog: Arc<Mutex<String>>,
    _alone: MutexGuard<'static, ()>,
}

impl Machine {
    /// A machine whose scripts are run by `shell`. Its client's state is the farm's `builder0`.
    pub(crate) fn new(farm: &Farm, shell: &str) -> Self {
        let root = farm.path().join("machine");
        for folder in LAID.iter().chain(&["dev", "lock/subsys"]) {
            fs::create_dir_all(root.join(folder)).expect("a folder can be made");
        }
        for folder in LAID {
            let own = Path::new("/").join(folder);
            fs::create_dir_all(root.join("real").join(folder)).expect("a folder can be made");
            for entry in fs::read_dir(&own).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let real = root.join("real").join(folder).join(&name);
                symlink(real, root.join(folder).join(name)).expect("a link can be made");
            }
        }
        let machine = Self {
            syslog: syslog(&root.join("dev/log")),
            root,
            shell: shell.to_owned(),
            farm: farm.path().to_owned(),
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let everybody = PermissionsExt::from_mode(0o666);
        fs::set_permissions(machine.path("dev/log"), everybody).expect("a mode can be set");
        for node in ["null", "zero", "random", "urandom", "full", "tty"] {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(format!("/dev/{node}")).arg(machine.path("dev"));
            assert_eq!(run_to_end(copy, SOON).code, 0);
        }
        machine.install(farm);
        machine
    }

    fn install(&self, farm: &Farm) {
        for folder in ["etc/rc.d/init.d", "etc/sysconfig", "etc/moji", "usr/libexec/moji", "var/lib/moji"] {
            let path = self.path(folder);
            // Where the machine itself has one, a link to it stands here.
            let _ = fs::remove_file(
                path.ancestors().nth(usize::from(folder.contains("rc.d"))).expect("a folder"),
            );
            fs::create_dir_all(path).expect("a folder can be made");
        }
        fs::create_dir_all(farm.builder_state(0)).expect("a folder can be made");
        for (command, name) in [(farm.hub_command(), "moji-server"), (farm.client_command(), "moji-client")] {
            // A copy, because the hub's user may not come to cargo's folder.
            fs::copy(command.get_program(), self.path("usr/sbin").join(name))
                .expect("a program can be copied");
        }
        for (from, to) in [
            ("moji-client.init", "etc/rc.d/init.d/moji-client"),
            ("server/dist/moji-server.init", "etc/rc.d/init.d/moji-server"),
            ("client/dist/moji-client-service", "usr/libexec/moji/moji-client-service"),
            ("client/dist/moji-client.sysconfig", "etc/sysconfig/moji-client"),
            ("server/dist/moji-server.sysconfig", "etc/sysconfig/moji-server"),
        ] {
            fs::copy(top().join(from), self.path(to)).expect("a file can be copied");
        }
        for (file, line) in [
            ("passwd", "moji-server:*:64911:64911::/var/lib/moji-server:/sbin/nologin\n"),
            ("group", "moji-server:x:64911:\n"),
        ] {
            let text = fs::read_to_string(Path::new("/etc").join(file)).expect("a machine has users");
            self.write(&format!("etc/{file}"), &(text + line));
        }
        let secret = fs::read_to_string(farm.path().join("secret")).unwrap_or_default();
        self.write("etc/moji/builder.token", &secret);
    }

    /// A path of the machine, as the test sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Replaces a file of the machine.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        let _ = fs::remove_file(&path);
        fs::write(path, text).expect("a file can be written");
    }

    /// Appends `lines` to the settings that the package brings: the last one counts.
    pub(crate) fn set(&self, what: &str, lines: &str) {
        let shipped = match what {
            "moji-client" => "client/dist/moji-client.sysconfig",
            _ => "server/dist/moji-server.sysconfig",
        };
        let text = fs::read_to_string(top().join(shipped)).expect("the settings are in the source tree");
        self.write(&format!("etc/sysconfig/{what}"), &format!("{text}\n{lines}\n"));
    }

    /// Settings of a client of the farm's hub.
    pub(crate) fn set_client(&self, farm: &Farm, lines: &str) {
        // Writes the cfg.
        let _ = farm.builder_command(0);
        let cfg = farm.path().join("builder0.cfg");
        let options = format!("--mock {} --mock-user root --min-free 1 --name board", fake_mock().display());
        let settings = format!(
            "MOJI_HUB={}\nMOJI_MOCK_CONFIG={}\nMOJI_OPTIONS=\"{options}\"\n{lines}",
            farm.hub_addr(),
            cfg.display()
        );
        self.set("moji-client", &settings);
    }

    /// `service WHAT VERB` as root.
    pub(crate) fn service(&self, what: &str, verb: &str) -> Finished {
        self.run(&format!("{} /etc/rc.d/init.d/{what} {verb}", self.shell))
    }

    /// The same as nobody.
    pub(crate) fn service_as_nobody(&self, what: &str, verb: &str) -> Finished {
        let user = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
        self.run(&format!("{user} {} /etc/rc.d/init.d/{what} {verb}", self.shell))
    }

    /// Runs a command line of `sh` on this machine.
    pub(crate) fn run(&self, line: &str) -> Finished {
        let mut script = String::from("set -e\n");
        for folder in LAID {
            script += &format!("mount --bind /{folder} $R/real/{folder}\n");
        }
        for folder in LAID {
            script += &format!("mount --bind $R/{folder} /{folder}\n");
        }
        script += "mount --bind $F/builder0 /var/lib/moji\nmount --bind $R/dev /dev\n";
        script += "mkdir -p /run/lock\nmount --bind $R/lock /run/lock\nset +e\ncd /\nunset R F\n";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{script}{line}")]);
        command.env("R", &self.root).env("F", &self.farm).env("MOJI_FARM", &self.farm);
        command.env("LC_ALL", "C");
        run_to_end(command, SOON)
    }

    /// What came to syslog since the last look.
    pub(crate) fn syslog(&self) -> String {
        std::mem::take(&mut self.syslog.lock().expect("no panic"))
    }
}

/// A syslog at `path`. The kernel keeps ten lines of a datagram socket and then lets everybody wait who logs: so a thread
/// reads them, until the test's process ends.
fn syslog(path: &Path) -> Arc<Mutex<String>> {
    let socket = UnixDatagram::bind(path).expect("a syslog of our own");
    let said = Arc::new(Mutex::new(String::new()));
    let lines = said.clone();
    std::thread::spawn(move || {
        let mut line = [0; 2048];
        while let Ok(length) = socket.recv(&mut line) {
            let text = String::from_utf8_lossy(&line[..length]);
            lines.lock().expect("no panic").push_str(&format!("{text}\n"));
        }
    });
    said
}
