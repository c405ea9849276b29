//! Signatures over the RPMs of a result, before they are described.
//!
//! Owns the step from an RPM as it arrived to the one that is published, which stands beside it until the commit: the
//! check of a stage can be done again from what arrived. Nothing else in the stage knows of signatures; digests and
//! sizes from here on are those of the signed bytes.

use std::path::Path;

use super::{Trouble, Worker, wrote};
use crate::core::transfers::Placed;
use crate::rpmfile::RpmError;
use crate::signing::{SignError, Signed};

impl Worker {
    /// Makes a signed copy of each RPM, if there is a key, and puts it in the place of what arrived.
    pub(super) fn sign_all(&self, stage: &Path, placed: &mut [Placed]) -> Result<(), Trouble> {
        let Some(signer) = &self.signer else { return Ok(()) };
        for placed in placed.iter_mut().filter(|placed| placed.file.rpm.is_some()) {
            let from = stage.join(&placed.from);
            let name = placed.from.replacen('f', "s", 1);
            let new = stage.join(&name);
            let signed = signer.sign_rpm(&*self.disk, &from, &new).map_err(|error| match error {
                SignError::Io(error) | SignError::Rpm(RpmError::Io(error)) => wrote("sign", &from, &error),
                error => Trouble::Failed(format!("failed to sign {}: {error}", placed.file.name)),
            })?;
            let Signed { size, digest, sha256 } = signed;
            placed.from = name;
            (placed.file.size, placed.file.digest, placed.file.sha256) = (size, digest, Some(sha256));
        }
        Ok(())
    }
}
