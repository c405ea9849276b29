//! The file of names and passwords: `name:$2y$…` a line, as `htpasswd -B` writes it.
//!
//! Owns reading it and which hashes are good enough. Never sees a password.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use bcrypt::HashParts;

/// A check with more takes an ARM hub minutes (2^16 rounds are some 5 s on a fast machine).
const COST_MAX: u32 = 16;

/// Why the file cannot be used.
#[derive(Debug)]
pub enum AccountsError {
    /// It cannot be read.
    File(PathBuf, io::Error),
    /// It holds something else than it should: which line (0: all of it), and what.
    Content(PathBuf, usize, String),
}

impl fmt::Display for AccountsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountsError::File(path, error) => write!(f, "{}: {error}", path.display()),
            AccountsError::Content(path, 0, what) => write!(f, "{}: {what}", path.display()),
            AccountsError::Content(path, line, what) => write!(f, "{}: line {line}: {what}", path.display()),
        }
    }
}

impl std::error::Error for AccountsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AccountsError::File(_, error) => Some(error),
            AccountsError::Content(..) => None,
        }
    }
}

/// Names and the hashes of their passwords.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accounts {
    by_name: BTreeMap<String, String>,
    /// What the password of a name that is not there is checked against: as costly as any.
    nobody: String,
}

impl Accounts {
    pub(super) fn read(path: &Path) -> Result<Accounts, AccountsError> {
        let text = fs::read_to_string(path).map_err(|error| AccountsError::File(path.to_owned(), error))?;
        Accounts::parse(&text).map_err(|(line, what)| AccountsError::Content(path.to_owned(), line, what))
    }

    fn parse(text: &str) -> Result<Accounts, (usize, String)> {
        let mut by_name = BTreeMap::new();
        let mut costliest: Option<(u32, &str)> = None;
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, hash)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
                return Err((number, "not NAME:HASH: 'htpasswd -nB NAME' makes such a line".to_owned()));
            };
            let cost = cost(name, hash).map_err(|what| (number, what))?;
            if by_name.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err((number, format!("{name} is there twice: delete one of the lines")));
            }
            if costliest.is_none_or(|(most, _)| cost > most) {
                costliest = Some((cost, hash));
            }
        }
        match costliest {
            Some((_, nobody)) => Ok(Accounts { by_name, nobody: nobody.to_owned() }),
            None => Err((0, "names nobody: 'htpasswd -nB NAME' makes a line for it".to_owned())),
        }
    }

    /// What a password must be checked against, and whether that counts.
    pub(super) fn hash(&self, name: &str) -> (&str, bool) {
        self.by_name.get(name).map_or((&self.nobody, false), |hash| (hash, true))
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

/// The cost of a hash that is good enough.
fn cost(name: &str, hash: &str) -> Result<u32, String> {
    let kind = |what: &str| format!("the password of {name} is {what}: use bcrypt, 'htpasswd -nB {name}'");
    if !["$2y$", "$2b$", "$2a$"].iter().any(|start| hash.starts_with(start)) {
        return Err(match hash {
            _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => kind("hashed with MD5"),
            _ if hash.starts_with("{SHA}") => kind("hashed with SHA-1"),
            _ if hash.starts_with('$') => kind("hashed in a way that is not known here"),
            _ => kind("plain text or hashed with crypt"),
        });
    }
    let parts = HashParts::from_str(hash).map_err(|_| kind("no whole bcrypt hash"))?;
    match parts.get_cost() {
        cost if cost > COST_MAX => {
            Err(format!("the password of {name} costs 2^{cost} rounds to check: at most 2^{COST_MAX}"))
        }
        cost => Ok(cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(password: &str) -> String {
        bcrypt::hash(password, 4).unwrap()
    }

    #[test]
    fn names_are_read_whatever_surrounds_them() {
        let (one, two) = (hashed("one"), hashed("two"));
        let text = format!("\u{feff}# people\r\n\r\nanna:{one}\r\n  otto:{}\n", two.replace("$2b$", "$2y$"));
        let accounts = Accounts::parse(&text).unwrap();
        assert_eq!(accounts.len(), 2);
        assert_eq!(accounts.hash("anna"), (&*one, true));
        assert!(bcrypt::verify("two", accounts.hash("otto").0).unwrap());
        assert!(!accounts.hash("Anna").1);
    }

    #[test]
    fn a_name_that_is_not_there_costs_as_much_as_the_costliest() {
        let (cheap, dear) = (hashed("one"), bcrypt::hash("two", 5).unwrap());
        let accounts = Accounts::parse(&format!("a:{cheap}\nb:{dear}\n")).unwrap();
        assert_eq!(accounts.hash("nobody"), (&*dear, false));
    }

    #[test]
    fn a_bad_line_is_named_with_what_to_do() {
        let good = hashed("one");
        for (text, line, want) in [
            (String::new(), 0, "names nobody"),
            ("# only\n\n".into(), 0, "names nobody"),
            (format!("a:{good}\nanna\n"), 2, "not NAME:HASH"),
            (format!(":{good}\n"), 1, "not NAME:HASH"),
            ("a:$apr1$x$y\n".into(), 1, "the password of a is hashed with MD5: use bcrypt, 'htpasswd -nB a'"),
            (format!("# x\na:{good}\nb:{{SHA}}abc=\n"), 3, "SHA-1"),
            ("a:secret\n".into(), 1, "plain text"),
            ("a:$5$abc$def\n".into(), 1, "not known here"),
            ("a:$2y$10$short\n".into(), 1, "no whole bcrypt hash"),
            (format!("a:{}\n", good.replace("$04$", "$31$")), 1, "2^31"),
            (format!("a:{good}\na:{good}\n"), 2, "twice"),
        ] {
            let (at, what) = Accounts::parse(&text).unwrap_err();
            assert!(at == line && what.contains(want), "{text}: {at}: {what}");
            assert!(!what.contains("secret") && !what.contains("$2"), "{what}");
        }
    }
}
