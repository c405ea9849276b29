//! The hub's key, the secrets, and the list of builders, as files.
//!
//! Owns `hub.key`, `builder.secret` and `operator.secret` in the state folder (0600, made whole or
//! not at all) and the reading of `--builders`. Never prints a secret but through `moji-server token`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use moji_proto::PublicKey;
use moji_proto::hello::Role;
use moji_proto::secret::{Psk, Secret, SecretError, SecretKey, Token, only_line, random_bytes};

/// Why a key, a secret or the list of builders cannot be used.
#[derive(Debug)]
pub enum KeyError {
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// A file holds something else than it should.
    Content(PathBuf, String),
    /// The given password looks like a token but is none.
    Password(SecretError),
    /// The given token is that of another hub.
    OtherHub,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::File(path, error) => write!(f, "{}: {error}", path.display()),
            KeyError::Content(path, what) => write!(f, "{}: {what}", path.display()),
            KeyError::Password(error) => write!(f, "PASSWORD: {error}"),
            KeyError::OtherHub => f.write_str(
                "PASSWORD: this token belongs to another hub: take the one that 'moji-server token' prints here",
            ),
        }
    }
}

impl std::error::Error for KeyError {}

/// What the hub knows itself and its peers by.
pub struct Keys {
    /// The hub's static key.
    pub hub: SecretKey,
    /// Secrets that open the builder's role; empty if there is none at all.
    pub builders: Vec<Psk>,
    /// Secrets that open the operator's role.
    pub operators: Vec<Psk>,
}

/// Reads or makes the hub's key and the operators' secret, and reads the builders' secret if there
/// is one. `password` is a secret beside it.
///
/// # Errors
/// As [`KeyError`].
pub fn load(state: &Path, password: Option<&str>) -> Result<Keys, KeyError> {
    let hub = hub_key(state)?;
    let mut builders = Vec::new();
    if let Some(psk) = read_token(&state.join(file_name(Role::Builder)), &hub)? {
        builders.push(psk);
    }
    if let Some(text) = password {
        let secret = Secret::parse(text).map_err(KeyError::Password)?;
        if secret.hub_key().is_some_and(|key| key != hub.public()) {
            return Err(KeyError::OtherHub);
        }
        if secret.is_short() {
            log::warn!(
                "the PASSWORD is short: use 16 characters or more, or the token of 'moji-server token'"
            );
        }
        builders.push(secret.psk());
    }
    let operators = vec![token(state, Role::Operator)?.secret];
    Ok(Keys { hub, builders, operators })
}

/// The token of a role; made, with the hub's key, if there is none.
///
/// # Errors
/// As [`KeyError`].
pub fn token(state: &Path, role: Role) -> Result<Token, KeyError> {
    let hub = hub_key(state)?;
    let path = state.join(file_name(role));
    if read_token(&path, &hub)?.is_none() {
        let mut secret = [0; 32];
        random_bytes(&mut secret);
        let token = Token { hub_key: hub.public(), secret: Psk::from_bytes(secret) };
        write_new(&path, token.to_text().as_bytes())?;
    }
    let text = read_line(&path)?;
    Token::parse(&text).map_err(|error| KeyError::Content(path, error.to_string()))
}

fn file_name(role: Role) -> &'static str {
    match role {
        Role::Builder => "builder.secret",
        Role::Operator => "operator.secret",
    }
}

fn read_token(path: &Path, hub: &SecretKey) -> Result<Option<Psk>, KeyError> {
    let text = match read_line(path) {
        Ok(text) => text,
        Err(KeyError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let token = Token::parse(&text).map_err(|error| KeyError::Content(path.to_owned(), error.to_string()))?;
    if token.hub_key != hub.public() {
        let what = "belongs to another hub.key: put that key back, or delete this file for a new token";
        return Err(KeyError::Content(path.to_owned(), what.to_owned()));
    }
    Ok(Some(token.secret))
}

fn hub_key(state: &Path) -> Result<SecretKey, KeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .map_err(|error| KeyError::File(state.to_owned(), error))?;
    let path = state.join("hub.key");
    match read_line(&path) {
        Ok(text) => match text.parse::<PublicKey>() {
            // A key is 32 bytes whichever half of the pair it is.
            Ok(key) => Ok(SecretKey::from_bytes(key.0)),
            Err(_) => Err(KeyError::Content(path, "is not a key of 64 hexadecimal digits".to_owned())),
        },
        Err(KeyError::File(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            let key = SecretKey::generate();
            let text = key
                .as_bytes()
                .iter()
                .fold(String::with_capacity(64), |text, byte| format!("{text}{byte:02x}"));
            write_new(&path, text.as_bytes())?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// The one line of a file.
///
/// # Errors
/// [`KeyError::File`], or `Content` if there is none, or more that are not blank.
pub fn read_line(path: &Path) -> Result<String, KeyError> {
    let text = fs::read_to_string(path).map_err(|error| KeyError::File(path.to_owned(), error))?;
    only_line(&text).map(str::to_owned).map_err(|error| {
        let what = match error {
            SecretError::Empty => "is empty",
            _ => "has more than one line: leave only the secret in it",
        };
        KeyError::Content(path.to_owned(), what.to_owned())
    })
}

/// Writes a file that only its owner may read; a crash leaves none or all of it.
fn write_new(path: &Path, text: &[u8]) -> Result<(), KeyError> {
    let fail = |error| KeyError::File(path.to_owned(), error);
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(fail)?;
    file.write_all(text).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).map_err(fail)?;
    fs::rename(&new, path).map_err(fail)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// One line of the list of builders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What people call it.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Architectures it may build for; empty means any.
    pub archs: Vec<String>,
}

/// Reads a list of builders: `name key [arch…]` a line, `#` comments.
///
/// # Errors
/// [`KeyError`] naming the first bad line: half a list would lock builders out.
pub fn read_builders(path: &Path) -> Result<Vec<Listed>, KeyError> {
    let text = fs::read_to_string(path).map_err(|error| KeyError::File(path.to_owned(), error))?;
    parse_builders(&text).map_err(|what| KeyError::Content(path.to_owned(), what))
}

/// The same of the list's text.
///
/// # Errors
/// What is wrong with the first bad line.
pub fn parse_builders(text: &str) -> Result<Vec<Listed>, String> {
    let mut builders = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let Some(key) = words.next().and_then(|word| word.parse().ok()) else {
            return Err(format!(
                "line {}: not 'name key [arch…]' with a key of 64 hexadecimal digits",
                number + 1
            ));
        };
        builders.push(Listed { name: name.to_owned(), key, archs: words.map(str::to_owned).collect() });
    }
    Ok(builders)
}

/// Writes a builder into the list, whole or not at all; what is there stays as it is. Says whether it is new.
///
/// # Errors
/// [`KeyError`]: the file cannot be read or written, or is no list.
pub fn approve(path: &Path, name: &str, key: PublicKey, archs: &[String]) -> Result<bool, KeyError> {
    let fail = |error| KeyError::File(path.to_owned(), error);
    if read_builders(path)?.iter().any(|listed| listed.key == key) {
        return Ok(false);
    }
    // Replaces the file and not a link to it.
    let path = &fs::canonicalize(path).map_err(fail)?;
    let mut text = fs::read_to_string(path).map_err(fail)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let words = [name.to_owned(), key.to_string()].into_iter().chain(archs.iter().cloned());
    text.push_str(&words.collect::<Vec<_>>().join(" "));
    text.push('\n');
    let mode = fs::metadata(path).map_err(fail)?.permissions();
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        let mut file = File::create(&new)?;
        file.set_permissions(mode)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    write().map_err(fail)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_and_the_tokens_are_made_once_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = token(&state, Role::Builder).unwrap();
        assert_eq!(token(&state, Role::Builder).unwrap().to_text(), first.to_text());
        let keys = load(&state, None).unwrap();
        assert_eq!(first.hub_key, keys.hub.public());
        assert_eq!(keys.builders.len(), 1);
        assert_eq!(keys.builders[0], first.secret);
        assert_ne!(keys.operators[0], first.secret);
        for name in ["hub.key", "builder.secret", "operator.secret"] {
            let mode = fs::metadata(state.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_password_stands_beside_the_token_and_a_foreign_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path(), None).unwrap().builders.is_empty());
        assert_eq!(load(folder.path(), Some("a long enough passphrase")).unwrap().builders.len(), 1);
        let other = tempfile::tempdir().unwrap();
        let foreign = token(other.path(), Role::Builder).unwrap().to_text();
        assert!(matches!(load(folder.path(), Some(&foreign)), Err(KeyError::OtherHub)));
        assert!(matches!(load(folder.path(), Some("moji1_x")), Err(KeyError::Password(_))));
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("hub.key"), "junk\n").unwrap();
        let error = load(folder.path(), None).err().unwrap().to_string();
        assert!(error.contains("hub.key") && error.contains("64 hexadecimal digits"), "{error}");
        fs::write(folder.path().join("hub.key"), "").unwrap();
        assert!(load(folder.path(), None).err().unwrap().to_string().contains("is empty"));
    }

    #[test]
    fn a_file_with_more_than_one_line_is_named_and_its_line_end_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        for text in ["correct horse\r\n", "correct horse", "\ncorrect horse\n \n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_line(&path).unwrap(), "correct horse", "{text:?}");
        }
        fs::write(&path, "correct horse\nbattery staple\n").unwrap();
        let error = read_line(&path).unwrap_err().to_string();
        assert!(error.contains("passphrase: has more than one line"), "{error}");
    }

    #[test]
    fn a_list_of_builders_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("builders");
        let key = "ab".repeat(32);
        fs::write(&path, format!("# farm\nb1 {key} armv5tel # shelf 1\n\nb2 {key}\n")).unwrap();
        let listed = read_builders(&path).unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].archs, ["armv5tel"]);
        fs::write(&path, format!("b1 {key}\nb2\n")).unwrap();
        assert!(read_builders(&path).unwrap_err().to_string().contains("line 2"));
    }

    #[test]
    fn an_approved_builder_is_added_once_and_the_list_keeps_its_comments_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("builders");
        let old = format!("# farm\nb1 {} # shelf 1", PublicKey([1; 32]));
        fs::write(&path, &old).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let key = PublicKey([2; 32]);
        assert!(approve(&path, "b2", key, &["armv5tel".to_owned()]).unwrap());
        assert!(!approve(&path, "b3", key, &[]).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{old}\nb2 {key} armv5tel\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(read_builders(&path).unwrap().len(), 2);
        fs::write(&path, "junk\n").unwrap();
        assert!(approve(&path, "b2", key, &[]).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "junk\n");
    }
}
