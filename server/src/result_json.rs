//! `result.json`: what is known about one finished attempt, beside its logs and RPMs.
//!
//! Owns the file's format. It is what recovery trusts after a crash: a folder of `repo/` without a
//! readable `result.json` was put there by somebody else. Fields are only ever added, and what an older hub
//! did not write is empty, 0 or none. The history can be rebuilt from it ([`crate::history`]).

use serde::{Deserialize, Serialize};

/// The file's name.
pub const FILE_NAME: &str = "result.json";

/// One finished attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultJson {
    /// The lease, as `INCARNATION-COUNTER`.
    pub lease: String,
    /// File name of the SRPM.
    pub srpm: String,
    /// BLAKE2s-256 of the SRPM.
    pub srpm_digest: String,
    /// SHA-256 of the SRPM.
    #[serde(default)]
    pub srpm_sha256: String,
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
    /// What a person compares of it.
    #[serde(default)]
    pub builder_fingerprint: String,
    /// moji's version on the builder.
    #[serde(default)]
    pub builder_version: String,
    /// Its processors; 0 if unknown.
    #[serde(default)]
    pub builder_cpus: u16,
    /// Its memory, MiB; 0 if unknown.
    #[serde(default)]
    pub builder_memory_mib: u32,
    /// moji's version on the hub.
    #[serde(default)]
    pub hub_version: String,
    /// Architecture the builder builds for.
    pub arch: String,
    /// `mock` or `rpmbuild`.
    pub backend: String,
    /// mock configuration.
    pub cfg: String,
    /// BLAKE2s-256 of the configuration file's bytes; empty if there is none.
    #[serde(default)]
    pub cfg_digest: String,
    /// mock options of this package.
    pub options: Vec<String>,
    /// In words, each time that it was built again under this lease since its repository was not enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// How mock ended: `exit 1`, `signal 9`, `not started`, `silent for 86400 s`, `longer than 86400 s`.
    pub exit: String,
    /// Build time, seconds.
    pub seconds: u32,
    /// Most memory of the build's largest process, MiB; none if the builder cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mib: Option<u32>,
    /// For how long at most none of its logs grew, seconds; none if the builder cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_s: Option<u32>,
    /// By how much the free space of the builder shrank meanwhile, MiB; none if it cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_disk_mib: Option<u32>,
    /// When it was leased, unix seconds; none if the hub does not know since a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_unix_s: Option<u64>,
    /// When it was committed, unix seconds.
    pub committed_unix_s: u64,
    /// Its files, this one left out.
    pub files: Vec<ResultFile>,
    /// Telling lines, as `build.log: text`.
    pub evidence: Vec<String>,
}

/// One file of an attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile {
    /// Its name in the folder.
    pub name: String,
    /// Length, bytes.
    pub size: u64,
    /// BLAKE2s-256 of its bytes.
    pub digest: String,
    /// SHA-256 of its bytes, if it is an RPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `name-[epoch:]version-release.arch`, if it is an RPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nevra: Option<String>,
    /// Name of the package, if it is an RPM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Whether it is a source RPM.
    #[serde(default)]
    pub is_source: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first hub that wrote any did.
    const OLD: &str = r#"{
        "lease": "1-2", "srpm": "a-1-1.src.rpm", "srpm_digest": "00", "source": "a", "nvr": "a-1-1",
        "verdict": "success", "reason": "", "builder": "b1", "builder_key": "07", "arch": "armv5tel",
        "backend": "mock", "cfg": "fedora-arm", "options": [], "exit": "exit 0", "seconds": 9,
        "committed_unix_s": 1764000000,
        "files": [{"name": "a.rpm", "size": 7, "digest": "01", "package": "a"}], "evidence": []
    }"#;

    #[test]
    fn file_of_an_older_hub_is_read_and_one_of_a_later_hub_too() {
        let old: ResultJson = serde_json::from_str(OLD).unwrap();
        let file = ResultFile { name: "a.rpm".into(), size: 7, digest: "01".into(), ..Default::default() };
        let want = ResultJson {
            lease: "1-2".into(),
            srpm: "a-1-1.src.rpm".into(),
            srpm_digest: "00".into(),
            source: "a".into(),
            nvr: "a-1-1".into(),
            verdict: "success".into(),
            builder: "b1".into(),
            builder_key: "07".into(),
            arch: "armv5tel".into(),
            backend: "mock".into(),
            cfg: "fedora-arm".into(),
            exit: "exit 0".into(),
            seconds: 9,
            committed_unix_s: 1_764_000_000,
            files: vec![ResultFile { package: Some("a".into()), ..file }],
            ..ResultJson::default()
        };
        assert_eq!(old, want);
        let later = OLD.replacen('{', r#"{"colour": [1, 2], "#, 1);
        assert_eq!(serde_json::from_str::<ResultJson>(&later).unwrap(), want);
    }
}
