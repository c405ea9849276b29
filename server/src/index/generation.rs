//! Generations: how an index in a `repodata` folder is replaced by the next one, and what happens to the files of the
//! last ones.
//!
//! Owns one `repodata` folder: which files in it are live, which are superseded and since when. Never knows where the
//! bytes of a file come from. [`super::Recent`] has one, [`super::Shelves`] two.
//!
//! ```text
//! draft ─ write ─┐                            ┌─ rename repomd.xml, sync the folder: live
//! draft ─ write ─┼─ stage: name, sync all ────┤                                        │ the next one is live
//! draft ─ write ─┘                            └─ (an error: all is deleted)        superseded ─ sweep ─ gone
//! ```

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use moji_proto::Time;
use sha2::{Digest as _, Sha256};

use super::{IndexError, RepomdSigner, at, read_if_there, remove_if_there};
use crate::clock::Clock;
use crate::disk::{Disk, File, Unsynced};
use crate::repodata::{Compression, Part};
use crate::repodata::{DataFile, foreign_data, named_files, repomd};

/// What everybody reads first.
const REPOMD: &str = "repomd.xml";
/// The same before it is live.
const REPOMD_NEW: &str = ".repomd.xml.new";
/// Its signatures.
const SIGNATURE: &str = "repomd.xml.asc";
/// The same before it is live.
const SIGNATURE_NEW: &str = ".repomd.xml.asc.new";
/// Superseded files of one folder, bytes: what an hour of a busy hub may take from the disk.
const KEEP_BYTES_MAX: u64 = 1 << 30;
/// Superseded files of one folder: more would make the list of them a burden.
const KEEP_FILES_MAX: usize = 6_144;
/// How long the last superseded generation stays whatever it takes, milliseconds: a dnf that has just read the old
/// `repomd.xml` has its files by then.
const KEEP_LAST_MS: u64 = 60_000;
/// After how many bytes the system is told to write them out: what a sync then still waits for.
const BEGIN_WRITING_BYTES: u64 = 1 << 20;

/// A file that is being written, under a name that nobody reads.
pub(super) struct Draft {
    path: PathBuf,
    file: Box<dyn File>,
    /// Length so far.
    bytes: u64,
    /// Up to where the system was told to write.
    begun: u64,
}

impl Draft {
    /// Begins a new file in the place of whatever an earlier attempt left there.
    pub(super) fn create(disk: &dyn Disk, path: PathBuf) -> Result<Draft, IndexError> {
        remove_if_there(disk, &path)?;
        let file = disk.create(&path).map_err(at(&path))?;
        Ok(Draft { path, file, bytes: 0, begun: 0 })
    }

    /// Writes behind what is there.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.file.write_at(bytes, self.bytes).map_err(at(&self.path))?;
        self.bytes += bytes.len() as u64;
        if self.bytes - self.begun >= BEGIN_WRITING_BYTES {
            self.file.begin_writing(self.begun, self.bytes - self.begun);
            self.begun = self.bytes;
        }
        Ok(())
    }

    /// Reads what was written.
    pub(super) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, IndexError> {
        read_range(&*self.file, &self.path, offset, bytes)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Length so far, bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// For [`Disk::sync_all`].
    pub(super) fn unsynced(&mut self) -> Unsynced<'_> {
        Unsynced::File(&self.path, &mut *self.file)
    }
}

/// Reads a range that must be there.
pub(super) fn read_range(
    file: &dyn File,
    path: &Path,
    offset: u64,
    bytes: u64,
) -> Result<Vec<u8>, IndexError> {
    let mut buf = vec![0; usize::try_from(bytes).expect("a member fits into memory")];
    match file.read_at(&mut buf, offset).map_err(at(path))? {
        n if n == buf.len() => Ok(buf),
        _ => Err(at(path)(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Returns once all of these survive a power cut.
pub(super) fn sync_all(disk: &dyn Disk, all: Vec<Unsynced<'_>>) -> Result<(), IndexError> {
    disk.sync_all(all).map_err(|failed| IndexError { path: failed.path, error: failed.error })
}

/// A data file that is being written, with what `repomd.xml` says of it.
pub(super) struct DataDraft {
    draft: Draft,
    part: Part,
    sha256: Sha256,
    open_sha256: Option<Sha256>,
    open_bytes: u64,
}

impl DataDraft {
    /// Writes members.
    pub(super) fn append(&mut self, members: &[u8]) -> Result<(), IndexError> {
        self.sha256.update(members);
        self.draft.append(members)
    }

    /// Says what the members expand to. All or nothing of a file must be told.
    pub(super) fn expands_to(&mut self, text: &[u8]) {
        self.open_sha256.get_or_insert_with(Sha256::new).update(text);
        self.open_bytes += text.len() as u64;
    }

    /// Says how long the text of members is whose text nobody has.
    pub(super) fn expands_by(&mut self, bytes: u64) {
        self.open_bytes += bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.draft.bytes()
    }

    pub(super) fn path(&self) -> &Path {
        self.draft.path()
    }

    /// What `repomd.xml` is to say.
    pub(super) fn data_file(&self, compression: Compression, unix_s: u64) -> DataFile {
        let open_sha256 = self.open_sha256.clone().map(|hash| hash.finalize().into());
        let sha256 = self.sha256.clone().finalize().into();
        let (bytes, open_bytes) = (self.draft.bytes, self.open_bytes);
        let name = data_name(&sha256, self.part, compression);
        DataFile { part: self.part, name, sha256, bytes, open_sha256, open_bytes, unix_s }
    }
}

/// Name of a data file: as createrepo_c names them.
pub(super) fn data_name(sha256: &[u8; 32], part: Part, compression: Compression) -> String {
    let mut name = String::with_capacity(96);
    for byte in sha256 {
        let _ = write!(name, "{byte:02x}");
    }
    let _ = write!(name, "-{}.xml.{}", part.name(), compression.suffix());
    name
}

/// A name and its file's length, bytes.
type Sized = (String, u64);

/// Files that no `repomd.xml` names any more.
struct Superseded {
    since: Time,
    files: Vec<Sized>,
}

/// A generation that is whole and durable, and that nobody sees yet.
pub(super) struct Staged {
    repomd: Vec<u8>,
    files: Vec<Sized>,
}

/// One `repodata` folder.
pub(super) struct Generations {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    signer: Option<Arc<dyn RepomdSigner>>,
    folder: PathBuf,
    keep_ms: u64,
    keep_files_max: usize,
    /// What `repomd.xml` is; None if there is none that is whole.
    repomd: Option<Vec<u8>>,
    live: Vec<Sized>,
    /// Of generations that may or may not be live, because an error came after they were staged.
    strays: Vec<Sized>,
    /// Oldest first.
    superseded: VecDeque<Superseded>,
    /// Elements of `repomd.xml` that are not ours, and the files they name.
    foreign: Vec<String>,
    foreign_files: BTreeSet<String>,
    /// Somebody's signature lies there, and we do not sign.
    has_stale_signature: bool,
}

impl Generations {
    #[cfg(test)]
    pub(super) fn keep_files_max(&mut self, files: usize) {
        self.keep_files_max = files;
    }

    /// Takes over what is in the folder, which is made if it is not there. What nobody names counts as superseded
    /// from now on.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        signer: Option<Arc<dyn RepomdSigner>>,
        folder: PathBuf,
        keep_ms: u64,
    ) -> Result<Generations, IndexError> {
        super::make_folder(&*disk, &folder)?;
        let mut generations = Generations {
            disk,
            clock,
            signer,
            folder,
            keep_ms,
            keep_files_max: KEEP_FILES_MAX,
            repomd: None,
            live: Vec::new(),
            strays: Vec::new(),
            superseded: VecDeque::new(),
            foreign: Vec::new(),
            foreign_files: BTreeSet::new(),
            has_stale_signature: false,
        };
        generations.adopt()?;
        Ok(generations)
    }

    fn adopt(&mut self) -> Result<(), IndexError> {
        let names = self.disk.list(&self.folder).map_err(at(&self.folder))?;
        let names: Vec<String> = names.iter().filter_map(|name| Some(name.to_str()?.to_owned())).collect();
        self.has_stale_signature = self.signer.is_none() && names.iter().any(|name| name == SIGNATURE);
        let repomd = read_if_there(&*self.disk, &self.folder.join(REPOMD))?;
        let named = repomd.as_deref().and_then(named_files).unwrap_or_default();
        let not_ours = self.take_foreign(repomd.as_deref().unwrap_or_default(), &names);
        let (mut live, mut old) = (Vec::new(), Vec::new());
        for name in &names {
            let path = self.folder.join(name);
            if name.starts_with('.') && name.ends_with(".new") {
                remove_if_there(&*self.disk, &path)?;
            } else if self.foreign_files.contains(name) || !(named.contains(name) || is_data_name(name)) {
                // Somebody else's.
            } else if let Some(stat) = self.disk.stat(&path).map_err(at(&path))?.filter(|stat| !stat.is_dir) {
                let is_live = named.contains(name);
                if is_live { &mut live } else { &mut old }.push((name.clone(), stat.len));
            }
        }
        let is_whole = !live.is_empty()
            && named
                .iter()
                .all(|name| not_ours.contains(name) || live.iter().any(|(there, _)| there == name));
        self.repomd = repomd.filter(|_| is_whole);
        self.live = live;
        if !old.is_empty() {
            self.superseded.push_back(Superseded { since: self.clock.now(), files: old });
        }
        Ok(())
    }

    /// Takes over the elements that are not ours, but for those whose file is gone. Gives what all of them name.
    fn take_foreign(&mut self, repomd: &[u8], names: &[String]) -> BTreeSet<String> {
        let files = |element: &String| {
            named_files(format!("<repomd>{element}</repomd>").as_bytes()).unwrap_or_default()
        };
        let mut foreign = foreign_data(repomd);
        let all = foreign.iter().flat_map(files).collect();
        foreign.retain(|element| files(element).iter().all(|name| names.contains(name)));
        self.foreign_files = foreign.iter().flat_map(files).collect();
        self.foreign = foreign;
        all
    }

    /// Looks whether somebody else has changed `repomd.xml`, to add an element, for example.
    pub(super) fn look_again(&mut self) -> Result<(), IndexError> {
        if !self.strays.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(REPOMD);
        let repomd = read_if_there(&*self.disk, &path)?;
        if repomd.is_some() && repomd != self.repomd {
            let names = self.disk.list(&self.folder).map_err(at(&self.folder))?;
            let names: Vec<String> =
                names.iter().filter_map(|name| Some(name.to_str()?.to_owned())).collect();
            self.take_foreign(repomd.as_deref().unwrap_or_default(), &names);
            let strange = names.iter().filter(|name| is_data_name(name) && !self.is_known(name));
            let files: Vec<Sized> = strange.map(|name| (name.clone(), 0)).collect();
            if !files.is_empty() {
                self.superseded.push_back(Superseded { since: self.clock.now(), files });
            }
        }
        Ok(())
    }

    /// Whether there is an index that readers can use.
    pub(super) fn is_there(&self) -> bool {
        self.repomd.is_some()
    }

    /// Whether `repomd.xml` names exactly these.
    pub(super) fn is_live(&self, files: &[DataFile]) -> bool {
        self.is_there()
            && self.live.len() == files.len()
            && files.iter().all(|file| self.live.iter().any(|(name, _)| *name == file.name))
    }

    /// Where a data file is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Begins a data file.
    pub(super) fn draft(&self, part: Part) -> Result<DataDraft, IndexError> {
        let draft = Draft::create(&*self.disk, self.draft_path(part))?;
        Ok(DataDraft { draft, part, sha256: Sha256::new(), open_sha256: None, open_bytes: 0 })
    }

    fn draft_path(&self, part: Part) -> PathBuf {
        self.folder.join(format!(".{}.new", part.name()))
    }

    /// A data file whose bytes and description are there already.
    pub(super) fn place(&self, file: &DataFile, bytes: &[u8]) -> Result<Draft, IndexError> {
        let mut draft = Draft::create(&*self.disk, self.draft_path(file.part))?;
        draft.append(bytes)?;
        Ok(draft)
    }

    /// Whether a live file has these very bytes.
    pub(super) fn has(&self, file: &DataFile) -> bool {
        self.live.iter().any(|(name, _)| *name == file.name)
    }

    /// Deletes drafts of an attempt that failed: they may be what fills the disk.
    pub(super) fn discard_drafts(&self) {
        let drafts = Part::PUBLISHED.map(|part| self.draft_path(part));
        let news = [REPOMD_NEW, SIGNATURE_NEW].map(|name| self.folder.join(name));
        for path in drafts.iter().chain(&news) {
            let _ = remove_if_there(&*self.disk, path);
        }
    }

    /// Gives the drafts their names, writes the `repomd.xml` over `files`, and returns once all that, `more` and
    /// `folders` survive a power cut. Those of `files` that are not among the drafts are there already.
    pub(super) fn stage(
        &mut self,
        files: &[DataFile],
        drafts: Vec<DataDraft>,
        more: &mut [Draft],
        folders: &[&Path],
        unix_s: u64,
    ) -> Result<Staged, IndexError> {
        let drafts = drafts.into_iter().map(|draft| (draft.part, draft.draft)).collect();
        self.stage_drafts(files, drafts, more, folders, unix_s)
    }

    /// [`Generations::stage`] with drafts of [`Generations::place`].
    pub(super) fn stage_drafts(
        &mut self,
        files: &[DataFile],
        mut drafts: Vec<(Part, Draft)>,
        more: &mut [Draft],
        folders: &[&Path],
        unix_s: u64,
    ) -> Result<Staged, IndexError> {
        let repomd = repomd(unix_s, files, &self.foreign);
        let staged = self.name_and_sync(files, &mut drafts, more, folders, &repomd);
        if let Err(error) = staged {
            self.discard_drafts();
            for file in files.iter().filter(|file| drafts.iter().any(|(part, _)| *part == file.part)) {
                if !self.is_known(&file.name) {
                    let _ = remove_if_there(&*self.disk, &self.folder.join(&file.name));
                }
            }
            return Err(error);
        }
        let files = files.iter().map(|file| (file.name.clone(), file.bytes)).collect();
        Ok(Staged { repomd, files })
    }

    fn name_and_sync(
        &self,
        files: &[DataFile],
        drafts: &mut [(Part, Draft)],
        more: &mut [Draft],
        folders: &[&Path],
        repomd: &[u8],
    ) -> Result<(), IndexError> {
        for file in files {
            let Some((_, draft)) = drafts.iter_mut().find(|(part, _)| *part == file.part) else { continue };
            if self.has(file) {
                // What is live is never touched, not even to put the same bytes there.
                remove_if_there(&*self.disk, draft.path())?;
                continue;
            }
            let path = self.folder.join(&file.name);
            self.disk.rename(draft.path(), &path).map_err(at(&path))?;
            draft.path = path;
        }
        let mut news = vec![Draft::create(&*self.disk, self.folder.join(REPOMD_NEW))?];
        news[0].append(repomd)?;
        if let Some(signer) = &self.signer {
            let path = self.folder.join(SIGNATURE_NEW);
            let signature = signer.sign(repomd).map_err(|why| at(&path)(std::io::Error::other(why)))?;
            let mut new = Draft::create(&*self.disk, path)?;
            new.append(&signature)?;
            news.push(new);
        }
        let all = drafts.iter_mut().map(|(_, draft)| draft).chain(&mut news).chain(more);
        let all = all.map(Draft::unsynced).chain([Unsynced::Folder(&self.folder)]);
        let all = all.chain(folders.iter().map(|folder| Unsynced::Folder(folder)));
        sync_all(&*self.disk, all.collect())
    }

    /// Whether somebody may be reading it.
    fn is_known(&self, name: &str) -> bool {
        let is = |file: &Sized| file.0 == name;
        self.live.iter().chain(&self.strays).any(is)
            || self.foreign_files.contains(name)
            || self.superseded.iter().any(|old| old.files.iter().any(is))
    }

    /// Shows it to readers. On Ok it survives a power cut.
    pub(super) fn go_live(&mut self, staged: Staged) -> Result<(), IndexError> {
        if let Err(error) = self.rename_and_sync() {
            self.abandon(staged);
            return Err(error);
        }
        let old = std::mem::replace(&mut self.live, staged.files);
        let strays = std::mem::take(&mut self.strays);
        let mut files: Vec<Sized> = Vec::with_capacity(old.len() + strays.len());
        for file in old.into_iter().chain(strays) {
            if !self.live.contains(&file) && !files.contains(&file) {
                files.push(file);
            }
        }
        if !files.is_empty() {
            self.superseded.push_back(Superseded { since: self.clock.now(), files });
        }
        self.repomd = Some(staged.repomd);
        Ok(())
    }

    fn rename_and_sync(&mut self) -> Result<(), IndexError> {
        let rename = |from: &str, to: &str| {
            let to = self.folder.join(to);
            self.disk.rename(&self.folder.join(from), &to).map_err(at(&to))
        };
        if self.signer.is_some() {
            rename(SIGNATURE_NEW, SIGNATURE)?;
        }
        rename(REPOMD_NEW, REPOMD)?;
        if self.has_stale_signature {
            remove_if_there(&*self.disk, &self.folder.join(SIGNATURE))?;
            self.has_stale_signature = false;
        }
        self.disk.sync_dir(&self.folder).map_err(at(&self.folder))
    }

    /// Keeps the files of a generation of which nobody knows whether it will be live.
    pub(super) fn abandon(&mut self, staged: Staged) {
        for file in staged.files {
            if !self.live.contains(&file) && !self.strays.contains(&file) {
                self.strays.push(file);
            }
        }
    }

    /// Deletes what was superseded long enough ago, and what is too much.
    pub(super) fn sweep(&mut self) -> Result<(), IndexError> {
        let due = self.due();
        let kept = self.superseded.iter().skip(due).flat_map(|old| &old.files);
        let kept: HashSet<&str> =
            kept.chain(&self.live).chain(&self.strays).map(|(name, _)| name.as_str()).collect();
        for (name, _) in self.superseded.iter().take(due).flat_map(|old| &old.files) {
            if !kept.contains(name.as_str()) && !self.foreign_files.contains(name) {
                remove_if_there(&*self.disk, &self.folder.join(name))?;
            }
        }
        self.superseded.drain(..due);
        Ok(())
    }

    /// How many superseded generations are to go.
    fn due(&self) -> usize {
        let now = self.clock.now();
        let mut bytes: u64 = self.superseded.iter().map(Superseded::bytes).sum();
        let mut files: usize = self.superseded.iter().map(|old| old.files.len()).sum();
        for (n, old) in self.superseded.iter().enumerate() {
            let age_ms = now.since_ms(old.since);
            let is_too_much = bytes > KEEP_BYTES_MAX || files > self.keep_files_max;
            let is_last = n + 1 == self.superseded.len();
            if age_ms < self.keep_ms && !(is_too_much && (!is_last || age_ms >= KEEP_LAST_MS)) {
                return n;
            }
            bytes -= old.bytes();
            files -= old.files.len();
        }
        self.superseded.len()
    }

    /// When there is something to sweep.
    pub(super) fn next_sweep(&self) -> Option<Time> {
        let oldest = self.superseded.front()?;
        let bytes: u64 = self.superseded.iter().map(Superseded::bytes).sum();
        let files: usize = self.superseded.iter().map(|old| old.files.len()).sum();
        Some(match bytes > KEEP_BYTES_MAX || files > self.keep_files_max {
            true if self.superseded.len() > 1 => oldest.since,
            true => oldest.since.plus_ms(KEEP_LAST_MS.min(self.keep_ms)),
            false => oldest.since.plus_ms(self.keep_ms),
        })
    }
}

impl Superseded {
    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Whether a name is `DIGEST-anything`, as we, createrepo_c and yum's tools make them: nothing else in the folder is
/// ours to delete, unless the `repomd.xml` that we replace named it.
fn is_data_name(name: &str) -> bool {
    let is_digest =
        |text: &str| matches!(text.len(), 32..=128) && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.split_once('-').is_some_and(|(digest, _)| is_digest(digest))
}
