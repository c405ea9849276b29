//! `result.json`: what is known about one finished attempt, beside its logs and RPMs.
//!
//! Owns the file's format. It is what recovery trusts after a crash: a folder of `repo/` without a
//! readable `result.json` was put there by somebody else. Fields are only ever added.

use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE_NAME: &str = "result.json";

/// One finished attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultJson {
    /// The lease, as `INCARNATION-COUNTER`.
    pub lease: String,
    /// File name of the SRPM.
    pub srpm: String,
    /// BLAKE2s-256 of the SRPM.
    pub srpm_digest: String,
    /// Name of the source package.
    pub source: String,
    /// Name-version-release of the SRPM's own header.
    pub nvr: String,
    /// `success`, `excluded`, `failed`, …
    pub verdict: String,
    /// The verdict in words.
    pub reason: String,
    /// Why its RPMs wait for the operator, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Host name of the builder.
    pub builder: String,
    /// Public key of the builder.
    pub builder_key: String,
    /// Architecture the builder builds for.
    pub arch: String,
    /// `mock` or `rpmbuild`.
    pub backend: String,
    /// mock configuration.
    pub cfg: String,
    /// mock options of this package.
    pub options: Vec<String>,
    /// How mock ended: `exit 1`, `signal 9`, `not started`.
    pub exit: String,
    /// Build time, seconds.
    pub seconds: u32,
    /// When it was committed, unix seconds.
    pub committed_unix_s: u64,
    /// Its files, this one left out.
    pub files: Vec<ResultFile>,
    /// Telling lines, as `build.log: text`.
    pub evidence: Vec<String>,
}

/// One file of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Its name in the folder.
    pub name: String,
    /// Length, bytes.
    pub size: u64,
    /// BLAKE2s-256 of its bytes.
    pub digest: String,
    /// Name of the package, if it is an RPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it is a source RPM.
    #[serde(default)]
    pub is_source: bool,
}
