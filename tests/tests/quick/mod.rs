//! A package that builds in no time: real RPMs made on the host, handed out by the stand-in.
//!
//! Owns only that. Must never be used where the build itself is what is tested.

use std::fs;
use std::path::PathBuf;

use moji_tests::{Farm, Outcome, rpms_from_spec, simple_spec, srpm_from_spec};

/// A package and what its build leaves.
#[derive(Debug)]
pub(crate) struct Quick {
    /// File name of the SRPM.
    pub(crate) file: String,
    /// The SRPM, not yet dropped.
    pub(crate) srpm: PathBuf,
    /// The binary RPM.
    #[allow(dead_code, reason = "not every file of tests uploads it itself")]
    pub(crate) rpm: PathBuf,
}

/// Makes `NAME-VERSION-1` and plans that every builder's mock succeeds with it at once.
pub(crate) fn quick(farm: &Farm, name: &str, version: &str) -> Quick {
    let folder = farm.path().join("made").join(format!("{name}-{version}"));
    fs::create_dir_all(&folder).expect("a folder for RPMs");
    let spec = simple_spec(name, version, "");
    let srpm = srpm_from_spec(&folder, &spec);
    let rpm = rpms_from_spec(&folder, &spec).remove(0);
    let name_of = |path: &PathBuf| {
        let name = path.file_name().expect("a file has a name");
        name.to_string_lossy().into_owned()
    };
    let file = name_of(&srpm);
    let built = Outcome::exit(0).file(&file, &srpm).file(&name_of(&rpm), &rpm).log("build.log", "quick\n");
    farm.outcome(&file, built);
    Quick { file, srpm, rpm }
}
