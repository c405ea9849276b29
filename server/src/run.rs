//! A hub from start to stop.
//!
//! Owns the order of things: folders and lock, keys, recovery, first index, ports, actors, signals,
//! and back. Nothing is promised to anybody before recovery is through, and the ports open last.
//! Decides nothing about packages or builders.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use moji_proto::limits::PING_EVERY_MS;
use moji_proto::message::Limits;
use moji_proto::{FileName, Line};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::actors::{self, Inboxes, Peers};
use crate::cli::{Run, exit};
use crate::clock::{self, Clock};
use crate::core;
use crate::core::{leases, queue, repo, transfers};
use crate::disk::{Disk, Folders, Real};
use crate::folders::{self, FolderError};
use crate::history::{History, Reader};
use crate::index::reading::{self, ReadConfig};
use crate::index::work::{Fast, Slow};
use crate::index::{self, Layout, Recent};
use crate::keys::{self, KeyError, Listed};
use crate::recovery::{self, Recovered, RepoResult};
use crate::signing::{self, SignKeyError, Signer};
use crate::web::{Access, AccessError};
use crate::{daemon, desk, hands, hooks, mainline, net, payloads, stage, watch, web, whereabouts};

/// Why the hub cannot start or go on.
#[derive(Debug)]
pub struct Fatal {
    /// One of [`exit`].
    pub code: u8,
    /// One line: what is wrong, and what to do.
    pub text: String,
}

impl From<FolderError> for Fatal {
    fn from(error: FolderError) -> Fatal {
        let code = if matches!(error, FolderError::Locked(..)) { exit::RUNNING } else { exit::FOLDER };
        Fatal { code, text: error.to_string() }
    }
}

impl From<SignKeyError> for Fatal {
    fn from(error: SignKeyError) -> Fatal {
        Fatal { code: exit::SECRET, text: error.to_string() }
    }
}

impl From<AccessError> for Fatal {
    fn from(error: AccessError) -> Fatal {
        Fatal { code: exit::SECRET, text: error.to_string() }
    }
}

impl From<KeyError> for Fatal {
    fn from(error: KeyError) -> Fatal {
        Fatal { code: exit::SECRET, text: error.to_string() }
    }
}

fn fatal<E: std::fmt::Display>(code: u8, doing: &str) -> impl FnOnce(E) -> Fatal + '_ {
    move |error| Fatal { code, text: format!("{doing}: {error}") }
}

/// Checks the folders and takes the lock of the parent that `--daemon` keeps.
///
/// # Errors
/// What is wrong with the folders, or that there is such a parent already.
pub fn daemon_lock(options: &Run) -> Result<folders::Lock, Fatal> {
    let folders = options.folders();
    folders::check(&folders)?;
    Ok(folders::lock_daemon(&folders)?)
}

/// Runs the hub until SIGTERM or SIGINT.
///
/// # Errors
/// Why it could not start; it has told nobody anything then.
pub fn hub(options: &Run) -> Result<(), Fatal> {
    abort_on_panic();
    check_hook(options)?;
    let folders = options.folders();
    let _lock = folders::check(&folders)?;
    if !options.worker {
        // A hub of a daemon that crashed and is started again soon runs too.
        folders::lock_daemon(&folders)?;
    }
    // Before anything may block: a stop is heard from here on.
    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(fatal(exit::MISSING, "failed to catch signals"))?;
    let keys = load_keys(options, &folders.state)?;
    let listed = load_builders(options)?;
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let clock: Arc<dyn Clock> = Arc::new(clock::Real::default());
    let signer = load_signer(options, &clock)?;
    let access = load_access(options, &keys, &*clock)?;
    let recovered = recovery::recover(&disk, &folders, clock.unix_s())
        .map_err(fatal(exit::FOLDER, "failed to put the folders right"))?;
    let indexers = indexers(options, &folders, &disk, &clock, signer.clone())?;
    publish_key(&disk, &folders, signer.as_deref())
        .map_err(fatal(exit::FOLDER, "failed to put the signatures right"))?;
    let ports = Ports::open(options, access)?;
    let ready = ports.ready_line();
    let told = whereabouts::tell(&folders.state, &ports.addresses());

    let start = Start { keys, listed, signer, recovered, indexers, ports };
    let hub = Hub::start(options, folders, disk, clock.clone(), start)?;
    log::info!("{ready}");
    if options.worker {
        daemon::up();
    }
    for signal in signals.forever() {
        match signal {
            SIGHUP => hub.reload(options, clock.unix_s()),
            _ => break,
        }
    }
    log::info!("stopping: leases live on, builders go on building");
    drop(told);
    hub.stop();
    log::info!("stopped");
    Ok(())
}

/// Where the indexes are.
fn layout(folders: &Folders) -> Layout {
    Layout { repo: folders.repo.clone(), index: folders.state.join("index") }
}

/// Whether builders read recent and base; otherwise the repository that people named.
fn has_tiers(options: &Run) -> bool {
    options.repo_url.is_none()
}

/// What makes the indexes; there is one for builders to read from here on.
fn indexers(
    options: &Run,
    folders: &Folders,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    signer: Option<Arc<Signer>>,
) -> Result<actors::repo::Workers, Fatal> {
    let layout = layout(folders);
    let compression = options.repodata.into();
    let signer = signer.map(|signer| signer as Arc<dyn index::RepomdSigner>);
    let config = index::Config { compression, tiers: has_tiers(options), signer, ..index::Config::default() };
    let mut recent = Recent::new(disk.clone(), clock.clone(), layout.clone(), config.clone());
    recent.ensure_exists().map_err(fatal(exit::FOLDER, "failed to make the first index"))?;
    let read = ReadConfig { compression, threads: reading::THREADS };
    let reader = Arc::new(reading::Reader::new(disk.clone(), clock.clone(), layout.clone(), read));
    let mut slow = Slow::new(disk.clone(), clock.clone(), layout, config, reader.clone());
    slow.ensure_exists().map_err(fatal(exit::FOLDER, "failed to make the first index"))?;
    Ok(actors::repo::Workers { fast: Fast::new(recent, reader.clone()), slow, reader })
}

fn check_hook(options: &Run) -> Result<(), Fatal> {
    let check = |program: &Path| hooks::check(program).map_err(|text| Fatal { code: exit::MISSING, text });
    options.hook.as_deref().map_or(Ok(()), check)
}

/// A broken invariant ends the process, whichever thread finds it: hub and builders restart cleanly.
fn abort_on_panic() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        print(info);
        log::error!("{info}");
        std::process::abort();
    }));
}

fn load_keys(options: &Run, state: &Path) -> Result<keys::Keys, Fatal> {
    let from_file = |path: &Path| keys::read_line(path).map(Some);
    let password = match (&options.password, &options.password_file) {
        (_, Some(path)) => from_file(path)?,
        (Some(text), None) => match text.strip_prefix('@') {
            Some(path) => from_file(Path::new(path))?,
            None => {
                log::warn!("PASSWORD on the command line shows in 'ps': use --password-file or @FILE");
                Some(text.clone())
            }
        },
        (None, None) => None,
    };
    let keys = keys::load(state, password.as_deref())?;
    if keys.builders.is_empty() {
        log::warn!(
            "there is no secret: anybody on loopback and private addresses is served, nobody else; \
             'moji-server token --state {}' makes one",
            state.display()
        );
    }
    Ok(keys)
}

fn load_signer(options: &Run, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Signer>>, Fatal> {
    let Some(path) = &options.sign_key else {
        log::warn!(
            "nothing is signed: who controls the network between this hub and its boards can change what they install \
             (see --sign-key)"
        );
        return Ok(None);
    };
    let passphrase = options.sign_passphrase_file.as_deref().map(keys::read_line).transpose()?;
    let signer = Signer::load(path, passphrase.as_deref(), clock.clone())?;
    log::info!("signing with the key {}", signer.fingerprint());
    Ok(Some(Arc::new(signer)))
}

fn load_access(options: &Run, keys: &keys::Keys, clock: &dyn Clock) -> Result<Access, Fatal> {
    let pair = options.http_cert.as_deref().zip(options.http_key.as_deref());
    let accounts = options.http_auth.as_deref();
    if options.http.0.is_none() && (pair.is_some() || accounts.is_some()) {
        let text =
            "--http off leaves nothing for --http-cert and --http-auth to protect: leave one of them out";
        return Err(Fatal { code: exit::USAGE, text: text.to_owned() });
    }
    let named = options.repo_url.is_none();
    Ok(Access::load(pair, accounts, named, &keys.hub, clock.unix_s())?)
}

/// Makes the signatures of indexes that are there fit, and shows the public key to whoever mirrors the repository.
fn publish_key(disk: &Arc<dyn Disk>, folders: &Folders, signer: Option<&Signer>) -> io::Result<()> {
    let index = folders.state.join("index");
    for folder in [folders.repo.clone(), index.join("recent"), index.join("base")] {
        signing::put_right(&**disk, &folder.join("repodata"), signer)?;
    }
    match signer {
        Some(signer) => {
            signing::replace(&**disk, &folders.repo, signing::PUBLIC_KEY, signer.public_key().as_bytes())
        }
        None => Ok(()),
    }
}

fn load_builders(options: &Run) -> Result<Option<Vec<Listed>>, Fatal> {
    Ok(options.builders.as_deref().map(keys::read_builders).transpose()?)
}

fn secrets(keys: &keys::Keys) -> net::Secrets {
    net::Secrets { builder: keys.builders.clone(), operator: keys.operators.clone() }
}

fn identities(listed: Option<&[Listed]>) -> Option<Vec<moji_proto::PublicKey>> {
    listed.map(|listed| listed.iter().map(|builder| builder.key).collect())
}

fn architectures(listed: Option<Vec<Listed>>) -> queue::Msg {
    let listed = listed.unwrap_or_default();
    queue::Msg::Listed(listed.into_iter().map(|builder| (builder.key, builder.archs)).collect())
}

/// The open ports.
struct Ports {
    protocol: Vec<TcpListener>,
    http: Option<TcpListener>,
    repo_url: Option<String>,
    access: Access,
}

impl Ports {
    fn open(options: &Run, access: Access) -> Result<Ports, Fatal> {
        let cannot = |what: &str, addr, error: io::Error| Fatal {
            code: exit::LISTEN,
            text: format!(
                "failed to listen on {addr}: {error}: stop what uses the port, or choose another with {what}"
            ),
        };
        let mut protocol = Vec::new();
        for addr in &options.listen {
            protocol.push(net::listen(*addr).map_err(|error| cannot("--listen", *addr, error))?);
        }
        let http = match options.http.0 {
            Some(addr) => Some(web::bind(addr).map_err(|error| cannot("--http", addr, error))?),
            None => None,
        };
        Ok(Ports { protocol, http, repo_url: options.repo_url.clone(), access })
    }

    /// Where builders and operators connect.
    fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.protocol.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The one line that says where everything is; people and tests wait for it.
    fn ready_line(&self) -> String {
        let addr = |listener: &TcpListener| {
            listener.local_addr().map_or_else(|error| error.to_string(), |addr| addr.to_string())
        };
        let listening: Vec<String> = self.protocol.iter().map(addr).collect();
        let repository = match (&self.repo_url, &self.http) {
            (Some(url), _) => format!("repository at {url}"),
            (None, Some(http)) => {
                format!("repository at {}://{}{}", self.access.scheme(), addr(http), web::REPO_PATH)
            }
            (None, None) => "no HTTP".to_owned(),
        };
        format!("hub listening on {}, {repository}", listening.join(", "))
    }

    fn welcome(&self) -> actors::leases::Welcome {
        let http_port =
            self.http.as_ref().and_then(|http| http.local_addr().ok()).map_or(0, |addr| addr.port());
        let repos = match (&self.repo_url, http_port) {
            (Some(url), _) => vec![Line::lossy(url)],
            (None, 0) => Vec::new(),
            (None, port) => self.access.tiers(port).iter().map(|tier| Line::lossy(tier)).collect(),
        };
        let ping_s = u16::try_from(PING_EVERY_MS / 1000).unwrap_or(u16::MAX);
        actors::leases::Welcome { ping_s, http_port, repos }
    }
}

/// What the actors start from.
struct Start {
    keys: keys::Keys,
    listed: Option<Vec<Listed>>,
    signer: Option<Arc<Signer>>,
    recovered: Recovered,
    indexers: actors::repo::Workers,
    ports: Ports,
}

/// The running actors.
struct Hub {
    peers: Peers,
    watch: watch::Handle,
    hands: hands::Handle,
    mainline: Option<mainline::Handle>,
    web: Option<web::Web>,
    /// Dropping it stops all actors.
    stop: Sender<()>,
    reactor: JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
    state: std::path::PathBuf,
}

impl Hub {
    fn start(
        options: &Run,
        folders: Folders,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        start: Start,
    ) -> Result<Hub, Fatal> {
        let Start { keys, listed, signer, recovered, indexers, ports } = start;
        let (net_handle, net_inbox) =
            net::wire().map_err(fatal(exit::LISTEN, "failed to make the reactor"))?;
        let (peers, inboxes) = actors::channels(net_handle);
        let (stop, stopped) = bounded::<()>(0);
        let welcome = ports.welcome();
        let Recovered { past, results, journal } = recovered;
        actors::tell(&peers.queue, architectures(listed.clone()));
        let unix_s = clock.unix_s();
        recovery::for_queue(&results, unix_s).into_iter().for_each(|msg| actors::tell(&peers.queue, msg));
        let history = remember(&*disk, &folders.state, &results, unix_s, &peers)?;
        let leased = history.began().map_err(fatal(exit::FOLDER, "failed to read history.db"))?;

        let Inboxes {
            leases: leases_in,
            queue: queue_in,
            transfers: transfers_in,
            repo: repo_in,
            desk: desk_in,
            history: history_in,
        } = inboxes;
        let mut threads = vec![history.start(history_in, stopped.clone(), clock.clone())];
        let published = recovery::in_order(&results).into_iter().filter_map(RepoResult::published).collect();
        let deletions = deletions(&*disk, &folders.repo, &results);
        let config = repo::Config { tiers: has_tiers(options), ..repo::Config::default() };
        threads.push(actors::repo::start(
            repo::Repo::new(published, config).leaving(&deletions),
            indexers,
            clock.clone(),
            peers.clone(),
            repo_in,
            stopped.clone(),
        ));
        let limits = transfers::Limits {
            files_max: options.max_files.min(moji_proto::limits::FILES_MAX),
            file_bytes_max: options.max_file_size,
            build_bytes_max: options.max_result_size,
        };
        let worker = stage::Worker::new(disk.clone(), clock.clone(), folders.clone()).with_leased(leased);
        let worker = worker.with_compression(options.repodata.into()).signed_by(signer.clone());
        let worker = Arc::new(worker);
        threads.push(actors::transfers::start(
            transfers::Transfers::new(limits),
            worker,
            clock.clone(),
            peers.clone(),
            transfers_in,
            stopped.clone(),
        ));
        threads.push(start_queue(options, queue_in, &stopped, &clock, &peers, &folders, disk.clone()));
        let (desk_disk, mainline_disk, web_disk) = (disk.clone(), disk.clone(), disk.clone());
        threads.push(start_leases(
            options, past, journal, welcome, leases_in, &stopped, &clock, &peers, &folders, disk,
        ));
        start_desk(options, desk_in, &stopped, &clock, &peers, &folders, desk_disk, deletions, &mut threads)?;
        let (watch, watch_thread) = watch::start(
            watch::Setup {
                source: folders.source.clone(),
                working: folders.working.clone(),
                finished: folders.finished.clone(),
                queue: peers.queue.clone(),
                leases: peers.leases.clone(),
                truncated_after_ms: crate::core::intake::TRUNCATED_AFTER_MS,
            },
            clock.clone(),
        )
        .map_err(fatal(exit::MISSING, "failed to watch the folders with inotify"))?;
        threads.push(watch_thread);
        let (hands, hands_thread) = hands::start(folders.repo.clone(), peers.repo.clone())
            .map_err(fatal(exit::MISSING, "failed to watch the repository with inotify"))?;
        threads.push(hands_thread);
        let mainline = start_mainline(options, &folders, mainline_disk, &clock, &peers, &stopped);
        let config = net::Config {
            secrets: secrets(&keys),
            key: keys.hub,
            builders: identities(listed.as_deref()),
            pending_max: net::PENDING_MAX,
            clocks: net::Clocks::default(),
        };
        let reactor = net::Reactor::new(config, ports.protocol, net_inbox, peers.clone(), clock.clone())
            .map_err(fatal(exit::LISTEN, "failed to make the reactor"))?;
        let reactor = actors::spawn("reactor", move || reactor.run().expect("the reactor can poll"));
        let web = ports
            .http
            .map(|listener| {
                let access = ports.access;
                let cache = start_cache(options, &folders, web_disk.clone(), &clock);
                let setup = web::Setup {
                    folders: folders.clone(),
                    disk: web_disk,
                    clock,
                    desk: peers.desk.clone(),
                    bridge: peers.web.clone(),
                    signatures: signer.map(|signer| signer.pairs()),
                    repo_url: options.repo_url.clone(),
                    thin: Some(web::ThinSetup { thins: web::Thins::default(), cache }),
                    access,
                };
                web::start(listener, setup)
            })
            .transpose()
            .map_err(fatal(exit::LISTEN, "failed to serve HTTP"))?;
        Ok(Hub { peers, watch, hands, mainline, web, stop, reactor, threads, state: folders.state })
    }

    /// Reads again what can be read again. What is wrong now leaves what was right before.
    fn reload(&self, options: &Run, unix_s: u64) {
        log::info!("reading the folders, the secrets, the certificate and the list of builders again");
        self.watch.rescan();
        self.hands.look_again();
        self.mainline.iter().for_each(mainline::Handle::look_again);
        self.web.iter().for_each(|web| web.reload(unix_s));
        match load_keys(options, &self.state) {
            Ok(keys) => self.peers.net.command(net::Command::Secrets(secrets(&keys))),
            Err(error) => log::error!("the secrets stay as they were: {}", error.text),
        }
        if let Err(error) = reload_builders(options, &self.peers) {
            log::error!("the list of builders stays as it was: {}", error.text);
        }
    }

    fn stop(self) {
        self.peers.net.command(net::Command::Shutdown);
        let _ = self.reactor.join();
        drop(self.web);
        self.watch.stop();
        self.hands.stop();
        drop(self.stop);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Reads the list of builders again, if there is one.
fn reload_builders(options: &Run, peers: &Peers) -> Result<(), Fatal> {
    let listed = load_builders(options)?;
    peers.net.command(net::Command::Builders(identities(listed.as_deref())));
    actors::tell(&peers.queue, architectures(listed));
    Ok(())
}

/// RPMs that are still there although an operator had them deleted, by folder.
fn deletions(disk: &dyn Disk, repo: &Path, results: &[RepoResult]) -> Vec<(String, Vec<FileName>)> {
    let is_there =
        |folder: &str, name: &FileName| disk.exists(&repo.join(folder).join(name)).unwrap_or(false);
    let wanted = results.iter().filter_map(|found| Some((found.folder.clone(), found.to_delete()?)));
    wanted.filter(|(folder, rpms)| rpms.iter().any(|name| is_there(folder, name))).collect()
}

/// Opens the history, adds what only the results know, and tells the queue what it must remember. After
/// the results: what ended without one is younger.
fn remember(
    disk: &dyn Disk,
    state: &Path,
    results: &[RepoResult],
    unix_s: u64,
    peers: &Peers,
) -> Result<History, Fatal> {
    let cannot = || fatal(exit::FOLDER, "failed to open history.db in the state folder");
    let mut history = History::open(state).map_err(cannot())?;
    let is_new = history.is_empty().map_err(cannot())?;
    history.rebuild(results).map_err(cannot())?;
    if is_new {
        let attempts = recovery::read_attempts(disk, state);
        history.rebuild_rest(results, &attempts).map_err(cannot())?;
        if !results.is_empty() || !attempts.is_empty() {
            let (results, attempts) = (results.len(), attempts.len());
            log::info!("the history is new: filled from {results} results and {attempts} other attempts");
        }
    }
    for msg in history.recall(unix_s).map_err(cannot())? {
        actors::tell(&peers.queue, msg);
    }
    Ok(history)
}

fn start_queue(
    options: &Run,
    inbox: crossbeam_channel::Receiver<queue::Msg>,
    stopped: &crossbeam_channel::Receiver<()>,
    clock: &Arc<dyn Clock>,
    peers: &Peers,
    folders: &Folders,
    disk: Arc<dyn Disk>,
) -> JoinHandle<()> {
    let config = queue::Config {
        attempts: options.attempts as usize,
        confirm_failures: options.confirm_failures as usize,
        duplicate_last: options.duplicate_last,
        retry_pause_ms: millis(options.retry_pause),
        limits: build_limits(options),
        rebuild_dependents: options.rebuild_dependents,
        target: options.target.clone(),
        started: clock.now(),
    };
    let repo = folders.repo.clone();
    let min_free = options.min_free;
    actors::queue::start(
        queue::Queue::new(config),
        inbox,
        stopped.clone(),
        clock.clone(),
        peers.clone(),
        move || {
            let (free, total) = disk.space(&repo)?;
            Ok((free, min_free.unwrap_or_else(|| queue::space_floor(total))))
        },
    )
}

/// Starts reading the repositories of `--mainline`, if there are any.
fn start_mainline(
    options: &Run,
    folders: &Folders,
    disk: Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    peers: &Peers,
    stopped: &crossbeam_channel::Receiver<()>,
) -> Option<mainline::Handle> {
    if options.mainline.is_empty() {
        return None;
    }
    let setup = mainline::Setup {
        places: options.mainline.clone(),
        state: folders.state.clone(),
        target: options.target.clone(),
        disk,
        clock: clock.clone(),
    };
    let queue = peers.queue.clone();
    let deliver = move |there: core::capabilities::Capabilities| {
        let _ = queue.send(core::queue::Msg::Mainline(Arc::new(there)));
    };
    Some(mainline::start(setup, stopped.clone(), deliver))
}

/// Starts the cache of the packages of `--mainline`.
fn start_cache(
    options: &Run,
    folders: &Folders,
    disk: Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
) -> payloads::Cache {
    let (state, min_free, of) = (folders.state.clone(), options.min_free, disk.clone());
    let space = move || {
        let (free, total) = of.space(&state)?;
        Ok((free, min_free.unwrap_or_else(|| queue::space_floor(total))))
    };
    payloads::Cache::start(payloads::Setup {
        places: options.mainline.clone(),
        state: folders.state.clone(),
        bytes_max: options.cache_size,
        is_off: options.no_cache,
        space: Box::new(space),
        disk,
        clock: clock.clone(),
        proxy: ureq::Proxy::try_from_env(),
    })
}

fn start_desk(
    options: &Run,
    inbox: crossbeam_channel::Receiver<core::desk::Msg>,
    stopped: &crossbeam_channel::Receiver<()>,
    clock: &Arc<dyn Clock>,
    peers: &Peers,
    folders: &Folders,
    disk: Arc<dyn Disk>,
    deletions: Vec<(String, Vec<FileName>)>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), Fatal> {
    let hooks = options.hook.clone().map(hooks::Hooks::start);
    let (hooks, hooks_thread) = hooks.map_or((None, None), |(hooks, thread)| (Some(hooks), Some(thread)));
    threads.extend(hooks_thread);
    let (reload_options, reload_peers) = (options.clone(), peers.clone());
    let reload = move || reload_builders(&reload_options, &reload_peers).map_err(|error| error.text);
    let cannot = || fatal(exit::FOLDER, "failed to read history.db in the state folder");
    let past = Reader::open(disk.clone(), folders.clone()).map_err(cannot())?;
    let last_seq = past.newest_events(1).map_err(cannot())?.last().map_or(0, |row| row.seq);
    let setup = core::desk::Setup {
        started: clock.now(),
        // Numbers of events grow over restarts, whatever the clock says.
        first_seq: clock.unix_s().saturating_mul(1_000_000).max(last_seq + 1),
        hook: hooks.is_some(),
        deletions,
        ..core::desk::Setup::default()
    };
    let worker = desk::Worker::new(desk::Setup {
        disk,
        clock: clock.clone(),
        folders: folders.clone(),
        min_free: options.min_free,
        builders: options.builders.clone(),
        reload: Box::new(reload),
        past: Box::new(past),
    });
    threads.push(actors::desk::start(
        core::desk::Desk::new(setup),
        Arc::new(worker),
        hooks,
        clock.clone(),
        peers.clone(),
        inbox,
        stopped.clone(),
    ));
    Ok(())
}

fn start_leases(
    options: &Run,
    past: leases::Past,
    journal: crate::journal::Journal,
    welcome: actors::leases::Welcome,
    inbox: crossbeam_channel::Receiver<leases::Msg>,
    stopped: &crossbeam_channel::Receiver<()>,
    clock: &Arc<dyn Clock>,
    peers: &Peers,
    folders: &Folders,
    disk: Arc<dyn Disk>,
) -> JoinHandle<()> {
    let mut first = Vec::new();
    let config = leases::Config { grace_ms: millis(options.lease_grace) };
    let core = leases::Leases::new(config, past, clock.now(), &mut first);
    let store = actors::leases::Store::new(disk, folders.clone(), journal);
    let (stopped, clock, peers) = (stopped.clone(), clock.clone(), peers.clone());
    actors::spawn("leases", move || {
        actors::leases::run(core, first, store, &welcome, &peers, &inbox, &stopped, &*clock);
    })
}

/// The options, whole seconds.
fn build_limits(options: &Run) -> Limits {
    let seconds = |time: std::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    Limits { silence_s: seconds(options.max_silence), build_s: seconds(options.max_build) }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
