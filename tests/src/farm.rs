//! A whole farm in one temporary folder: hub, builders, proxy, source folders, repository.
//!
//! Owns the layout below, every daemon in it, and the last clean-up: whatever a test did, no
//! process and no mount of the farm outlives it. Must never build a binary, use a fixed port,
//! or judge: assertions beyond "this came true in time" are the test's.
//!
//! ```text
//! farm/  source/ working/ finished/ repo/    as the hub's command line names them
//!        state/                              the hub's --state
//!        secret                              what builders are given as @FILE
//!        builderN/ builderN.cfg builderN.log --state, mock cfg and log of builder N
//!        outcomesN/ outcomes/                planned outcomes, for builder N and for all
//!        gates/                              files that hold builds while absent
//!        run/                                XDG_RUNTIME_DIR of all programs
//!        mock/                               chroots: the basedir of every cfg
//! ```

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::daemon::{Daemon, Finished, run_to_end};
use crate::mock::{Outcome, write_cfg};
use crate::plan::{FarmPlan, Secret};
use crate::processes::sweep;
use crate::proxy::Proxy;
use crate::pty::Pty;
use crate::world::{cached_srpm, fake_mock, poll_until, program};

/// How long the hub may take to print its ready line on a busy machine.
const READY: Duration = Duration::from_secs(30);
/// How long an operator's command may take on a busy machine, one that waits for builds as well.
const MOJI: Duration = Duration::from_secs(90);

/// Where the running hub can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    listen: SocketAddr,
    repository: String,
    /// None where the repository is at a URL that is not the hub's own HTTP.
    pub(crate) http: Option<SocketAddr>,
}

/// A farm; everything of it ends when it is dropped.
#[derive(Debug)]
pub struct Farm {
    // Order matters: daemons end before the folder goes.
    pub(crate) hub: Option<Daemon>,
    pub(crate) builders: Vec<Option<Daemon>>,
    proxy: Option<Proxy>,
    ready: Option<Ready>,
    plan: FarmPlan,
    /// Whether the story was told already; a failing test tells it once.
    pub(crate) diagnosed: Cell<bool>,
    folder: TempDir,
}

impl Farm {
    /// Begins the choices for a farm.
    pub fn plan() -> FarmPlan {
        FarmPlan::default()
    }

    pub(crate) fn new(plan: FarmPlan) -> Self {
        let folder = tempfile::Builder::new().prefix("moji-farm-").tempdir_in(&plan.base);
        let folder = folder.expect("a folder for a farm");
        let (hub, builders) = (plan.hub, plan.builders);
        let mut farm = Self {
            hub: None,
            builders: Vec::new(),
            proxy: None,
            ready: None,
            plan,
            diagnosed: Cell::new(false),
            folder,
        };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(farm.path(), mode).expect("a folder's mode can be set");
        for name in ["source", "working", "finished", "repo", "state", "gates", "run"] {
            fs::create_dir(farm.path().join(name)).expect("a folder can be made");
        }
        farm.make_secret();
        if hub {
            farm.start_hub();
            for _ in 0..builders {
                farm.add_builder();
            }
        }
        farm
    }

    // --- places ---

    /// The farm's folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `source/`.
    pub fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    /// `working/`.
    pub fn working(&self) -> PathBuf {
        self.path().join("working")
    }

    /// `finished/`.
    pub fn finished(&self) -> PathBuf {
        self.path().join("finished")
    }

    /// `repo/`.
    pub fn repo(&self) -> PathBuf {
        self.path().join("repo")
    }

    /// The hub's state folder.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The state folder of builder `number`.
    pub fn builder_state(&self, number: usize) -> PathBuf {
        self.path().join(format!("builder{number}"))
    }

    // --- daemons ---

    /// A command for the hub's program with nothing but its path and the farm's mark.
    pub fn hub_command(&self) -> Command {
        self.marked("moji-server")
    }

    /// A command for the builder's program with nothing but its path and the farm's mark.
    pub fn client_command(&self) -> Command {
        self.marked("moji-client")
    }

    /// A command for the operator's program with nothing but its path, the farm's mark and an environment
    /// that is the same everywhere.
    pub fn moji_command(&self) -> Command {
        let mut command = self.marked("moji");
        command.env("TERM", "xterm-256color").env("TZ", "UTC").env("USER", "tester").env("LOGNAME", "tester");
        for name in ["NO_COLOR", "MOJI_HUB", "COLUMNS", "LINES", "XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        command
    }

    /// The operator's program with these words, told where the hub (not the proxy) and the operators'
    /// secret are.
    ///
    /// # Panics
    /// When the hub has never run.
    pub fn moji_with(&self, words: &[&str]) -> Command {
        let mut command = self.moji_command();
        command.arg("--hub").arg(self.ready().listen.to_string());
        command.arg("--password-file").arg(self.state().join("operator.secret")).args(words);
        command
    }

    /// Runs the operator's program with these words to its end, its output in pipes or files.
    pub fn moji(&self, words: &[&str]) -> Finished {
        run_to_end(self.moji_with(words), MOJI)
    }

    /// Starts the operator's program with these words on a terminal of 24 rows and 80 columns.
    pub fn moji_pty(&self, words: &[&str]) -> Pty {
        Pty::spawn(&self.moji_with(words))
    }

    /// The mark is how a daemon and what it forks are found again when the farm ends.
    fn marked(&self, name: &str) -> Command {
        let instead = self.plan.programs.iter().find(|(other, _)| *other == name);
        let mut command = Command::new(instead.map_or_else(|| program(name), |(_, path)| path.clone()));
        command.env("MOJI_FARM", self.path()).env("HOME", self.path()).current_dir(self.path());
        // Where hubs say that they run: no test may find another one's.
        command.env("XDG_RUNTIME_DIR", self.path().join("run"));
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_ascii_uppercase());
        }
        command
    }

    /// A hub that was killed cannot take back what it told this machine.
    fn forget_whereabouts(&self) {
        let Some(ready) = &self.ready else { return };
        let path = format!("/run/moji-server/{}.hub", ready.listen.port());
        let own = self.state().display().to_string();
        // Another hub may have the port by now.
        if fs::read_to_string(&path).is_ok_and(|text| text.contains(&own)) {
            let _ = fs::remove_file(path);
        }
    }

    fn make_secret(&self) {
        let secret = match &self.plan.secret {
            Secret::Nothing => return,
            Secret::Passphrase(text) => text.clone(),
            Secret::Token => {
                let mut command = self.hub_command();
                command.arg("token").arg("--state").arg(self.state());
                let ended = run_to_end(command, READY);
                assert_eq!(ended.code, 0, "moji-server token failed: {}", ended.stderr);
                ended.stdout.trim().to_owned()
            }
        };
        fs::write(self.path().join("secret"), secret + "\n").expect("the secret is written");
    }

    /// Starts the hub, on the ports it had before if it ran already, and waits until it is
    /// ready.
    ///
    /// # Panics
    /// When it does not become ready, with its log.
    pub fn start_hub(&mut self) {
        self.try_start_hub().unwrap_or_else(|log| panic!("the hub is not ready; its log:\n{log}"));
    }

    /// The same for a hub that may die before it is ready.
    ///
    /// # Errors
    /// The log of one that did, or that is still not ready.
    pub fn try_start_hub(&mut self) -> Result<(), String> {
        let any = || "127.0.0.1:0".to_owned();
        let (listen, http) = match &self.ready {
            Some(ready) => (ready.listen.to_string(), ready.http.map_or_else(any, |http| http.to_string())),
            None => (SocketAddr::new(self.plan.listen, 0).to_string(), any()),
        };
        let mut command = self.hub_command();
        command.args([self.source(), self.working(), self.finished(), self.repo()]);
        if matches!(self.plan.secret, Secret::Passphrase(_)) {
            command.arg(format!("@{}", self.path().join("secret").display()));
        }
        command.args(["--listen", &listen]).arg("--state").arg(self.state());
        if !self.plan.hub_args.iter().any(|arg| arg == "--http") {
            command.args(["--http", &http]);
        }
        command.args(&self.plan.hub_args);
        let mut hub = Daemon::spawn("hub", command, &self.path().join("hub.log"));
        let mut ready = None;
        poll_until(READY, || {
            ready = hub.log_text().lines().find_map(ready_line);
            ready.is_some() || !hub.is_running()
        });
        let Some(ready) = ready else { return Err(hub.log_text()) };
        if self.plan.proxied {
            match &self.proxy {
                Some(proxy) => proxy.set_upstream(ready.listen),
                None => self.proxy = Some(Proxy::new(ready.listen)),
            }
        }
        self.ready = Some(ready);
        self.hub = Some(hub);
        Ok(())
    }

    /// Starts one more builder; its number.
    pub fn add_builder(&mut self) -> usize {
        let number = self.builders.len();
        self.builders.push(None);
        self.start_builder(number);
        number
    }

    /// Starts builder `number` (again) with the state it has.
    ///
    /// # Panics
    /// When the hub has never run.
    pub fn start_builder(&mut self, number: usize) {
        self.start_builder_as(number, &[]);
    }

    /// The same with more arguments.
    ///
    /// # Panics
    /// When the hub has never run.
    pub fn start_builder_as(&mut self, number: usize, more: &[&str]) {
        let daemon = {
            let mut command = self.builder_command(number);
            command.args(more);
            let name = format!("builder{number}");
            Daemon::spawn(&name, command, &self.path().join(format!("{name}.log")))
        };
        if self.builders.len() <= number {
            self.builders.resize_with(number + 1, || None);
        }
        self.builders[number] = Some(daemon);
    }

    /// The command that starts builder `number`, its cfg written, to run it another way
    /// (`--once`, other arguments).
    ///
    /// # Panics
    /// When the hub has never run.
    pub fn builder_command(&self, number: usize) -> Command {
        let cfg = self.path().join(format!("builder{number}.cfg"));
        let outcomes = [format!("outcomes{number}"), "outcomes".to_owned()];
        let outcomes = outcomes.map(|name| self.path().join(name));
        write_cfg(&cfg, &self.path().join("mock"), &outcomes, &self.plan.cfg);
        let mut command = self.client_command();
        command.arg(self.hub_addr().to_string()).arg(cfg);
        if self.plan.secret != Secret::Nothing {
            command.arg(format!("@{}", self.path().join("secret").display()));
        }
        command.arg("--mock").arg(fake_mock()).args(["--mock-user", "root"]);
        command.arg("--state").arg(self.builder_state(number)).args(&self.plan.builder_args);
        command
    }

    /// The hub.
    ///
    /// # Panics
    /// When it was never started.
    pub fn hub(&mut self) -> &mut Daemon {
        self.hub.as_mut().expect("the hub was started")
    }

    /// Builder `number`, counted from 0.
    ///
    /// # Panics
    /// When it was never started.
    pub fn builder(&mut self, number: usize) -> &mut Daemon {
        self.builders[number].as_mut().expect("the builder was started")
    }

    /// The proxy between builders and hub.
    ///
    /// # Panics
    /// When the plan did not say `through_proxy`.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the plan says through_proxy")
    }

    /// Where builders reach the hub: its own address or the proxy's.
    ///
    /// # Panics
    /// When the hub has never run.
    pub fn hub_addr(&self) -> SocketAddr {
        self.proxy.as_ref().map_or_else(|| self.ready().listen, Proxy::addr)
    }

    pub(crate) fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("the hub has run")
    }

    /// The URL of the repository, with a slash at its end.
    pub fn repo_url(&self) -> &str {
        &self.ready().repository
    }

    // --- what a person or mock does ---

    /// Puts the SRPM of `tests/mini/specs/NAME.spec` into `source/`; its file name.
    pub fn drop_srpm(&self, name: &str) -> String {
        self.drop_file(&cached_srpm(name))
    }

    /// Copies any file into `source/` under its own name, at once; its file name.
    pub fn drop_file(&self, path: &Path) -> String {
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let hidden = self.source().join(format!(".{name}.dropping"));
        fs::copy(path, &hidden).expect("a file can be copied into source/");
        fs::rename(&hidden, self.source().join(&name)).expect("a file can be renamed in source/");
        name
    }

    /// Writes `priority.txt` with these names, and waits until the hub has read it.
    pub fn prioritise(&self, names: &[&str]) {
        let hidden = self.source().join(".priority.dropping");
        fs::write(&hidden, names.join("\n") + "\n").expect("a list");
        fs::rename(hidden, self.source().join("priority.txt")).expect("a file can be renamed in source/");
        self.wait_hub_says(&format!("priority.txt: {} lines", names.len()));
    }

    /// Plans what every builder's mock does with a package: a name of `tests/mini/specs`, or an
    /// SRPM's whole file name.
    pub fn outcome(&self, name: &str, outcome: Outcome) {
        outcome.plan(&self.path().join("outcomes"), &file_name(name));
    }

    /// The same for one builder only; it goes before what all are told.
    pub fn outcome_on(&self, builder: usize, name: &str, outcome: Outcome) {
        outcome.plan(&self.path().join(format!("outcomes{builder}")), &file_name(name));
    }

    /// Builds for real go on again after an [`Farm::outcome`].
    pub fn forget_outcome(&self, name: &str) {
        let plan = self.path().join("outcomes").join(format!("{}.json", file_name(name)));
        fs::remove_file(plan).expect("the outcome was planned");
    }

    /// The path of a gate, for [`Outcome::gate`] and [`Outcome::build_behind`]; closed until
    /// [`Farm::open_gate`].
    pub fn gate(&self, name: &str) -> PathBuf {
        self.path().join("gates").join(name)
    }

    /// Lets the builds behind a gate go on.
    pub fn open_gate(&self, name: &str) {
        fs::write(self.gate(name), "").expect("a gate can be opened");
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.diagnosed.get() {
            eprintln!("{}", self.diagnosis());
        }
        self.proxy = None;
        self.hub = None;
        self.builders.clear();
        self.forget_whereabouts();
        sweep(self.path());
    }
}

/// Address, repository URL and HTTP address of the line the hub prints when it is ready.
fn ready_line(line: &str) -> Option<Ready> {
    let (_, rest) = line.split_once("hub listening on ")?;
    let (listen, rest) = rest.split_once(", repository at ")?;
    let repository = rest.split_whitespace().next()?.to_owned();
    let host = repository.strip_prefix("http://").or(repository.strip_prefix("https://"));
    let http = host.and_then(|rest| rest.split('/').next()?.parse().ok());
    Some(Ready { listen: listen.parse().ok()?, repository, http })
}

/// The SRPM's file name of a name of `tests/mini/specs`, or the name itself when it is one.
pub(crate) fn file_name(name: &str) -> String {
    if name.ends_with(".src.rpm") { name.to_owned() } else { format!("{name}-1.0-1.src.rpm") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_understood_behind_any_prefix() {
        let line = "2026-01-02 INFO hub listening on 127.0.0.1:4711, \
                    repository at http://127.0.0.1:4712/repo/";
        let ready = ready_line(line).expect("a ready line");
        assert_eq!(ready.listen.port(), 4711);
        assert_eq!(ready.repository, "http://127.0.0.1:4712/repo/");
        assert_eq!(ready.http.map(|http| http.port()), Some(4712));
        let secure = ready_line("hub listening on 127.0.0.1:1, repository at https://127.0.0.1:4712/repo/");
        assert_eq!(secure.expect("a ready line").http.map(|http| http.port()), Some(4712));
        let elsewhere = ready_line("hub listening on 127.0.0.1:1, repository at file:///srv/repo/");
        assert_eq!(elsewhere.expect("a ready line").http, None);
    }

    #[test]
    fn other_lines_are_not_ready_lines() {
        for line in ["", "hub listening on nowhere", "hub listening on 127.0.0.1:1, http off"] {
            assert_eq!(ready_line(line), None);
        }
    }
}
