//! Signatures over the RPMs of a result, before they are described.
//!
//! Owns the step from an RPM as it arrived to the one that is published, which stands beside it until the commit: the
//! check of a stage can be done again from what arrived. Nothing else in the stage knows of signatures; digests and
//! sizes from here on are those of the signed bytes.

use std::path::Path;

use moji_proto::message::RejectedWhy;

use super::{Trouble, Worker, wrote};
use crate::core::transfers::{Defect, Placed};
use crate::rpmfile::RpmError;
use crate::signing::{SignError, Signed};

impl Worker {
    /// Makes a signed copy of each RPM, if there is a key, and puts it in the place of what arrived. Gives the first
    /// RPM's defect that cannot be signed: the same file would not be signed another time either.
    pub(super) fn sign_all(&self, stage: &Path, placed: &mut [Placed]) -> Result<Option<Defect>, Trouble> {
        let Some(signer) = &self.signer else { return Ok(None) };
        for placed in placed.iter_mut().filter(|placed| placed.file.rpm.is_some()) {
            let from = stage.join(&placed.from);
            let name = placed.from.replacen('f', "s", 1);
            let new = stage.join(&name);
            let signed = match signer.sign_rpm(&*self.disk, &from, &new) {
                Ok(signed) => signed,
                Err(SignError::Io(error) | SignError::Rpm(RpmError::Io(error))) => {
                    return Err(wrote("sign", &from, &error));
                }
                Err(SignError::Rpm(error)) => {
                    return Ok(Some((RejectedWhy::BadRpm, format!("{}: {error}", placed.file.name))));
                }
                Err(error @ SignError::Key(_)) => {
                    return Err(Trouble::Failed(format!("failed to sign {}: {error}", placed.file.name)));
                }
            };
            let Signed { size, digest, sha256 } = signed;
            placed.from = name;
            (placed.file.size, placed.file.digest, placed.file.sha256) = (size, digest, Some(sha256));
        }
        Ok(None)
    }
}
