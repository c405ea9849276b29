//! A machine to install packages on: a root filled by real dnf from the mini distribution, in namespaces of its own for
//! processes, mounts and network, so that daemons there use their real paths and ports.
//!
//! Owns the namespaces and the stand-ins for mock, createrepo_c and chkconfig. Everything ends when it is dropped. Must
//! never change the test machine, whose root is to be seen in it at `/host`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use moji_tests::{Finished, SOON, fake_mock, mini_folder, poll_until, rpms_from_spec, run_to_end};

/// Longest command: a transaction of dnf on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// What becomes the first process of the namespaces; `$1` is the root. Orphans that end are gone at once: it ignores SIGCHLD.
const INIT: &str = "set -e
mkdir -p $1/host $1/proc $1/dev $1/tests
mount --rbind / $1/host
mount -t proc proc $1/proc
cp -a /dev/null /dev/zero /dev/random /dev/urandom /dev/full $1/dev/
/usr/bin/python3 -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack(\"16sh\", b\"lo\", 0x41)) # SIOCSIFFLAGS: up, running'
touch $1/tests/ready
exec env --ignore-signal=CHLD sleep infinity";

/// The machine.
pub(crate) struct Sandbox {
    root: PathBuf,
    folder: PathBuf,
    unshare: Child,
    /// The first process of the namespaces.
    init: String,
}

impl Sandbox {
    /// An empty one, in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let root = folder.join("root");
        // Users of the machine go through it.
        fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("a mode can be set");
        for name in ["root/dev", "root/tests/gates", "repo", "dnf"] {
            fs::create_dir_all(folder.join(name)).expect("a folder can be made");
        }
        // Whoever logs to it must not wait: a datagram socket's reader drops what nobody needs.
        let syslog = UnixDatagram::bind(root.join("dev/log")).expect("a syslog");
        fs::set_permissions(root.join("dev/log"), PermissionsExt::from_mode(0o666))
            .expect("a mode can be set");
        let log = folder.join("syslog");
        std::thread::spawn(move || {
            let (mut line, mut all) = ([0; 2048], Vec::new());
            while let Ok(length) = syslog.recv(&mut line) {
                all.extend_from_slice(&line[..length]);
                all.push(b'\n');
                // Gone with the folder at the end.
                let _ = fs::write(&log, &all);
            }
        });
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--net", "--fork", "--kill-child", "sh", "-c", INIT, "init"])
            .arg(&root);
        let unshare = command.stdin(Stdio::null()).spawn().expect("unshare starts");
        let ready = poll_until(SOON, || root.join("tests/ready").exists());
        assert!(ready, "no namespaces here");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = fs::read_to_string(children).expect("unshare has a child").trim().to_owned();
        Self { root, folder: folder.to_owned(), unshare, init }
    }

    /// A path of the machine, as the test sees it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A command inside the namespaces.
    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init, "-m", "-p", "-n", "--", program]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
        command.env("HOME", &self.folder).current_dir("/");
        command
    }

    /// Runs a command line as root on the machine.
    pub(crate) fn run(&self, line: &str) -> Finished {
        let mut command = self.inside("chroot");
        command.arg(&self.root).args(["/bin/sh", "-c", line]);
        run_to_end(command, LIMIT)
    }

    /// The same, and demands success; what it printed.
    #[track_caller]
    pub(crate) fn ok(&self, line: &str) -> String {
        let ended = self.run(line);
        assert_eq!(ended.code, 0, "{line}\n{}{}{}", ended.stdout, ended.stderr, self.syslog());
        ended.stdout
    }

    /// Waits until a command line succeeds.
    #[track_caller]
    pub(crate) fn until(&self, line: &str) {
        let held = poll_until(SOON, || self.run(line).code == 0);
        assert!(held, "never true: {line}\n{}", self.syslog());
    }

    fn syslog(&self) -> String {
        fs::read_to_string(self.folder.join("syslog")).unwrap_or_default()
    }

    /// The test machine's rpm on the machine's packages.
    pub(crate) fn rpm(&self, words: &[&str]) -> Finished {
        let mut command = self.inside("rpm");
        command.arg("--root").arg(&self.root).args(["--dbpath", "/var/lib/rpm"]).args(words);
        run_to_end(command, LIMIT)
    }

    /// dnf with these words, from the mini distribution and the test's repository only.
    #[track_caller]
    pub(crate) fn dnf(&self, words: &[&str]) {
        let folder = self.folder.join("dnf");
        let repos = format!(
            "[main]\nmodule_platform_id=platform:mini1\ninstall_weak_deps=0\n\
             [mini]\nname=mini\nbaseurl=file://{}/mini-x86_64\ngpgcheck=0\n\
             [test]\nname=test\nbaseurl=file://{}\ngpgcheck=0\nmetadata_expire=0\n",
            mini_folder().display(),
            self.folder.join("repo").display()
        );
        fs::write(folder.join("dnf.conf"), repos).expect("dnf.conf is written");
        let mut command = self.inside("dnf");
        command.args(["-y", "--disableplugin=local", "--releasever=1", "--setopt=reposdir=/dev/null"]);
        command.arg("-c").arg(folder.join("dnf.conf"));
        command.arg(format!("--setopt=cachedir={}", folder.join("cache").display()));
        command.arg(format!("--installroot={}", self.root.display())).args(words);
        let ended = run_to_end(command, LIMIT);
        let all = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            ended.code == 0 && !all.contains("scriptlet failed"),
            "dnf {words:?}\n{all}{}",
            self.syslog()
        );
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // --kill-child: its end is that of everything in the namespaces, mounts too.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        let init = Path::new("/proc").join(&self.init);
        poll_until(SOON, || !init.exists());
    }
}

/// The RPMs below a folder, without source packages.
pub(crate) fn rpms_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rpms_of(&path));
        } else if path.to_string_lossy().ends_with(".rpm") && !path.to_string_lossy().ends_with(".src.rpm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Puts RPMs beside the stand-ins into the test's repository and indexes it.
pub(crate) fn repository(sandbox: &Sandbox, rpms: &[PathBuf]) {
    let repo = sandbox.folder.join("repo");
    if fs::read_dir(&repo).expect("the repository").next().is_none() {
        stand_ins(&repo);
    }
    for rpm in rpms {
        fs::copy(rpm, repo.join(rpm.file_name().expect("a file has a name"))).expect("an RPM can be copied");
    }
    let mut command = Command::new("createrepo_c");
    command.arg("-q").arg(&repo);
    let ended = run_to_end(command, LIMIT);
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// mock and createrepo_c are the test machine's programs with its own libraries, from `/host`; chkconfig records.
fn stand_ins(repo: &Path) {
    let arch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let host = |program: &str| {
        let lib = format!("/host/usr/lib/{arch}");
        format!("exec {lib}/ld-linux-x86-64.so.2 --library-path {lib} /host/usr/bin/{program}")
    };
    let mini = "config_opts['basedir'] = '/var/lib/mock'\nconfig_opts['root'] = 'mini'\n\
                config_opts['target_arch'] = 'noarch'\nconfig_opts['fake_outcomes'] = ['/tests/outcomes']\n";
    let script = |line: &str| format!("#!/bin/sh\n{line} \"$@\"\n");
    let python = format!("export PYTHONHOME=/host/usr\n{} -B /usr/libexec/fake-mock", host("python3"));
    let chkconfig = "#!/bin/sh\necho \"$@\" >> /var/log/chkconfig\n";
    let service = "#!/bin/sh\nname=$1\nshift\nexec /etc/rc.d/init.d/$name \"$@\"\n";
    let mock = fs::read_to_string(fake_mock()).expect("the stand-in is there");
    for (name, extra, more, files) in [
        (
            "mock",
            "Requires(pre): shadow-utils\n",
            "%pre\ngroupadd -r mock\n",
            vec![
                ("/usr/bin/mock", 755, script(&python)),
                ("/usr/libexec/fake-mock", 644, mock),
                ("/etc/mock/mini.cfg", 644, mini.to_owned()),
            ],
        ),
        ("createrepo_c", "", "", vec![("/usr/bin/createrepo_c", 755, script(&host("createrepo_c")))]),
        (
            "chkconfig",
            "",
            "",
            vec![("/sbin/chkconfig", 755, chkconfig.to_owned()), ("/sbin/service", 755, service.to_owned())],
        ),
    ] {
        let _ = rpms_from_spec(repo, &stand_in(name, extra, more, &files));
    }
}

/// A spec of a package with these files.
fn stand_in(name: &str, extra: &str, more: &str, files: &[(&str, u32, String)]) -> String {
    let mut text = format!(
        "Name: {name}\nVersion: 1\nRelease: 1\nSummary: a stand-in\nLicense: MIT\nBuildArch: noarch\nAutoReqProv: no\n\
         {extra}%description\nA stand-in.\n%install\n"
    );
    let mut list = String::new();
    for (path, mode, content) in files {
        let path = path.replace("/sbin/", "/usr/sbin/");
        let content = content.replace('%', "%%");
        text += &format!(
            "install -d $(dirname %{{buildroot}}{path})\ncat > %{{buildroot}}{path} << 'END-OF-FILE'\n{content}END-OF-FILE\n"
        );
        list += &format!("%attr({mode},root,root) {path}\n");
    }
    if name == "mock" {
        text += "install -d %{buildroot}/var/lib/mock\n";
        list += "%attr(2775,root,mock) %dir /var/lib/mock\n";
    }
    format!("{text}{more}%files\n{list}")
}
