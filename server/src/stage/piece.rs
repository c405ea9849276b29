//! The piece of a result: what the repository will say of its RPMs, made before the commit.
//!
//! Owns when RPMs are described: once, by the check of the stage, while the marks of that check are there, so that one
//! that ends the hub is set aside like any other. What is described is not kept in memory but in the stage, in
//! its final form: it names the folder that the lease holds ([`super::naming`]), which is the right one unless
//! somebody puts something of that name into `repo/` meanwhile. Then the RPMs are described again, whose headers are
//! known to be sound by then: that is less than texts without a folder, which every commit would have to fill in and
//! compress again.

use moji_proto::LeaseId;
use moji_proto::message::RejectedWhy;

use super::{AsRpm, Trouble, Worker, Written, wrote};
use crate::core::transfers::Defect;
use crate::core::types::StagedFile;
use crate::repodata::{
    About, Class, Compression, DescribeError, Described, GROUP_PACKAGES_MAX, Group, PIECE_NAME, describe,
    encode_piece,
};
use crate::rpmfile::RpmError;

/// Texts of packages that are not packed yet, bytes: more than any 32 real packages have, except a few. A group is
/// closed early rather than that a hostile result fills the memory.
const OPEN_BYTES_MAX: usize = 16 << 20;
/// All groups of a piece, bytes: six times what the largest source package of a large distribution comes to (TeX Live
/// has 5,000 packages and 10 MB).
const PIECE_BYTES_MAX: usize = 64 << 20;

/// Packs packages as they come.
struct Packer {
    compression: Compression,
    open: [Vec<Described>; 2],
    groups: Vec<Group>,
}

impl Packer {
    fn new(compression: Compression) -> Packer {
        Packer { compression, open: Default::default(), groups: Vec::new() }
    }

    fn add(&mut self, package: Described) {
        let class = package.class;
        let open = &mut self.open[class as usize];
        open.push(package);
        let bytes: usize = open.iter().flat_map(|package| &package.texts).map(Vec::len).sum();
        if open.len() == GROUP_PACKAGES_MAX || bytes >= OPEN_BYTES_MAX {
            self.seal(class);
        }
    }

    fn seal(&mut self, class: Class) {
        let open = std::mem::take(&mut self.open[class as usize]);
        if !open.is_empty() {
            self.groups.push(Group::seal(class, self.compression, &open));
        }
    }

    /// Length of what is packed, bytes.
    fn bytes(&self) -> usize {
        self.groups.iter().flat_map(|group| &group.members).map(Vec::len).sum()
    }

    fn finish(mut self) -> Vec<Group> {
        [Class::Main, Class::Extra].into_iter().for_each(|class| self.seal(class));
        self.groups
    }
}

impl Worker {
    /// Writes the piece of these RPMs (by their names in the stage) for the folder that the lease holds; it is
    /// still to be synced. Says what is wrong if one cannot be described.
    pub(super) fn make_piece<'a>(
        &self,
        lease: LeaseId,
        folder: &str,
        rpms: impl Iterator<Item = (&'a str, &'a StagedFile)>,
    ) -> Result<Result<Written, Defect>, Trouble> {
        self.naming.set_described(lease, false);
        let mut packer = Packer::new(self.compression);
        for (from, file) in rpms {
            match self.describe(lease, folder, from, file)? {
                Ok(package) => packer.add(package),
                Err(error) => {
                    let why = match error {
                        DescribeError::Rpm(_) => RejectedWhy::BadRpm,
                        DescribeError::TooLong(_) => RejectedWhy::TooLarge,
                    };
                    return Ok(Err((why, format!("{}: {error}", file.name))));
                }
            }
            if packer.bytes() > PIECE_BYTES_MAX {
                let text = format!("its packages take more than {PIECE_BYTES_MAX} bytes to describe");
                return Ok(Err((RejectedWhy::TooLarge, text)));
            }
        }
        let path = self.stage(lease).join(PIECE_NAME);
        self.remove(&path)?;
        let piece = self.disk.create(&path).map_err(|e| wrote("create", &path, &e))?;
        piece.write_at(&encode_piece(&packer.finish()), 0).map_err(|e| wrote("write", &path, &e))?;
        self.naming.set_described(lease, true);
        Ok(Ok((path, piece)))
    }

    fn describe(
        &self,
        lease: LeaseId,
        folder: &str,
        from: &str,
        file: &StagedFile,
    ) -> Result<Result<Described, DescribeError>, Trouble> {
        let path = self.stage(lease).join(from);
        let failed = |error: &std::io::Error| wrote("read", &path, error);
        let rpm = self.disk.open(&path).map_err(|e| failed(&e))?;
        let stat = self.disk.stat(&path).map_err(|e| failed(&e))?;
        let about = About {
            href: &format!("{folder}/{}", file.name),
            sha256: file.sha256.expect("an RPM's is taken by its check").0,
            size: file.size,
            modified_unix_s: stat.map_or(0, |stat| stat.modified_ns / 1_000_000_000),
        };
        match describe(&AsRpm(&*rpm), &about) {
            Err(DescribeError::Rpm(RpmError::Io(error))) => Err(failed(&error)),
            described => Ok(described),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repodata::Part;

    fn described(number: usize, class: Class, bytes: usize) -> Described {
        let texts = Part::ALL.map(|_| vec![b'x'; bytes / 4]);
        let text_bytes = [0, 1, 2, 3].map(|part: usize| texts[part].len() as u32);
        let listed = crate::repodata::Listed {
            path: format!("a/{number}").into(),
            size: 1,
            modified_unix_s: 1,
            text_bytes,
        };
        Described { listed, class, texts }
    }

    #[test]
    fn groups_are_closed_when_they_are_full_or_large() {
        let pack = |count: usize, bytes: usize| {
            let mut packer = Packer::new(Compression::Gzip);
            for number in 0..count {
                let class = if number % 2 == 0 { Class::Main } else { Class::Extra };
                packer.add(described(number, class, bytes));
                let open = packer.open.iter().flatten().flat_map(|package| &package.texts);
                assert!(open.map(Vec::len).sum::<usize>() < 2 * OPEN_BYTES_MAX);
            }
            let groups = packer.finish();
            groups.iter().map(|group| (group.class, group.packages.len())).collect::<Vec<_>>()
        };
        use Class::{Extra, Main};
        assert_eq!(pack(0, 100), []);
        assert_eq!(pack(1, 100), [(Main, 1)]);
        assert_eq!(pack(64, 100), [(Main, 32), (Extra, 32)]);
        assert_eq!(pack(67, 100), [(Main, 32), (Extra, 32), (Main, 2), (Extra, 1)]);
        assert_eq!(pack(5, 6 << 20), [(Main, 3), (Extra, 2)]);
        assert_eq!(pack(3, 16 << 20), [(Main, 1), (Extra, 1), (Main, 1)]);
    }
}
