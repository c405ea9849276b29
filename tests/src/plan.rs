//! What a farm shall be like, said before it starts.
//!
//! Owns the choices and their defaults. Must never start anything itself: `start` hands the
//! choices to [`Farm`].

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::armv5::Armv5;
use crate::farm::Farm;

/// Which secret the daemons are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// The hub's token, made with `moji-server token`.
    Token,
    /// This passphrase on both sides, each in a file.
    Passphrase(String),
    /// None at all.
    Nothing,
}

/// The choices for a farm; [`Farm::plan`] begins one, [`FarmPlan::start`] ends it.
#[derive(Debug)]
pub struct FarmPlan {
    pub(crate) base: PathBuf,
    pub(crate) builders: usize,
    pub(crate) hub: bool,
    pub(crate) proxied: bool,
    /// The address that the hub listens on.
    pub(crate) listen: IpAddr,
    pub(crate) secret: Secret,
    pub(crate) hub_args: Vec<String>,
    pub(crate) builder_args: Vec<String>,
    pub(crate) cfg: String,
    /// Programs that are run instead of those beside the test.
    pub(crate) programs: Vec<(&'static str, PathBuf)>,
}

impl Default for FarmPlan {
    fn default() -> Self {
        Self {
            base: std::env::temp_dir(),
            builders: 1,
            hub: true,
            proxied: false,
            listen: Ipv4Addr::LOCALHOST.into(),
            secret: Secret::Token,
            hub_args: Vec::new(),
            builder_args: Vec::new(),
            cfg: String::new(),
            programs: Vec::new(),
        }
    }
}

impl FarmPlan {
    /// So many builders start with it (default 1).
    #[must_use]
    pub fn builders(mut self, count: usize) -> Self {
        self.builders = count;
        self
    }

    /// More arguments for the hub, behind the usual ones.
    #[must_use]
    pub fn hub_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.hub_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// More arguments for every builder, behind the usual ones.
    #[must_use]
    pub fn builder_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.builder_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Python for the end of every builder's mock cfg.
    #[must_use]
    pub fn cfg(mut self, extra: &str) -> Self {
        self.cfg.push_str(extra);
        self
    }

    /// The farm's temporary folder is made in `base` (default: the system's), for a test that
    /// mounts a small file system there.
    #[must_use]
    pub fn base(mut self, base: &Path) -> Self {
        self.base = base.to_owned();
        self
    }

    /// Builders reach the hub through [`Farm::proxy`].
    #[must_use]
    pub fn through_proxy(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The hub listens on this address of the machine for builders; for a test that makes a network of its own.
    #[must_use]
    pub fn listen(mut self, address: IpAddr) -> Self {
        self.listen = address;
        self
    }

    /// Both sides use this passphrase instead of the hub's token.
    #[must_use]
    pub fn passphrase(mut self, text: &str) -> Self {
        self.secret = Secret::Passphrase(text.to_owned());
        self
    }

    /// Neither side has a secret.
    #[must_use]
    pub fn without_secret(mut self) -> Self {
        self.secret = Secret::Nothing;
        self
    }

    /// Builders and the operator's command are the ARMv5 programs; the hub stays what it is.
    #[must_use]
    pub fn armv5(mut self, armv5: &Armv5) -> Self {
        self.programs = vec![("moji-client", armv5.client()), ("moji", armv5.moji())];
        self
    }

    /// Instead of this program of the farm (`moji-server`, `moji-client`, `moji`) the one at `path` is run.
    #[must_use]
    pub fn program(mut self, name: &'static str, path: PathBuf) -> Self {
        self.programs.retain(|(other, _)| *other != name);
        self.programs.push((name, path));
        self
    }

    /// Makes the folders and files only; [`Farm::start_hub`] and [`Farm::start_builder`] follow
    /// when the test wants them.
    #[must_use]
    pub fn nothing_started(mut self) -> Self {
        self.hub = false;
        self
    }

    /// Makes the folders, starts the hub, waits for its ready line, starts the builders.
    ///
    /// # Panics
    /// When the hub does not become ready, with its log.
    pub fn start(self) -> Farm {
        Farm::new(self)
    }
}
