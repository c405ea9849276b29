//! Certificate and key of the HTTP port: TLS 1.2 and 1.3.
//!
//! Owns reading the two files, what makes them unusable, and changing them while connections go on: each connection keeps
//! the pair it began with. Never writes them, and never logs what is in the key's.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A chain of ten certificates with comments has 30 kB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// First byte of a record of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// Below so much time to the end of a certificate it is time to act.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Why certificate and key cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read.
    File(PathBuf, io::Error),
    /// A file holds something else than it should, and what to do.
    Content(PathBuf, String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::File(path, error) => {
                write!(
                    f,
                    "{}: {error}: the user that the hub runs as must be able to read it",
                    path.display()
                )
            }
            TlsError::Content(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TlsError::File(_, error) => Some(error),
            TlsError::Content(..) => None,
        }
    }
}

/// Certificate and key in use.
pub(in crate::web) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// What builders are told that this hub is called; None if they are told something else.
    name: Option<String>,
    now: RwLock<Arc<ServerConfig>>,
}

/// What two files hold.
struct Pair {
    config: ServerConfig,
    /// Names in the certificate that a URL can have, and addresses.
    names: Vec<String>,
    /// When it ends, after 1970.
    until: Duration,
}

impl Tls {
    pub(super) fn load(cert: &Path, key: &Path, named: bool, unix_s: u64) -> Result<Tls, TlsError> {
        let pair = read(cert, key, unix_s)?;
        pair.tell(cert, unix_s);
        let name = pair.names.first().cloned().filter(|_| named);
        if named && name.is_none() {
            let what = "has no name (subjectAltName) that builders can be told: use one that has, or say --repo-url \
                        https://NAME:PORT/repo/";
            return Err(TlsError::Content(cert.to_owned(), what.to_owned()));
        }
        let now = RwLock::new(Arc::new(pair.config));
        Ok(Tls { cert: cert.to_owned(), key: key.to_owned(), name, now })
    }

    /// Reads both files again; new connections have what is in them.
    pub(super) fn reload(&self, unix_s: u64) -> Result<(), TlsError> {
        let pair = read(&self.cert, &self.key, unix_s)?;
        pair.tell(&self.cert, unix_s);
        if let Some(name) = &self.name
            && !pair.names.contains(name)
        {
            log::error!(
                "{}: builders were told the name {name}, which this certificate has not: restart the hub",
                self.cert.display()
            );
        }
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair.config);
        Ok(())
    }

    /// What builders are told that this hub is called.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// For the next connection.
    pub(in crate::web) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Pair {
    /// Says how long it serves.
    fn tell(&self, cert: &Path, unix_s: u64) {
        let left = self.until.saturating_sub(Duration::from_secs(unix_s));
        let (cert, days) = (cert.display(), left.as_secs() / 86_400);
        if left < SOON {
            log::warn!("{cert}: the certificate ends in {days} days: renew it, then SIGHUP");
        } else {
            log::info!("{cert}: the certificate is good for {days} days");
        }
    }
}

/// Whether whoever connected begins with TLS; None if nothing came.
pub(in crate::web) async fn is_tls(stream: &TcpStream) -> Option<bool> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) => Some(first[0] == HANDSHAKE),
        _ => None,
    }
}

/// What whoever speaks plain HTTP to a port with TLS is told.
pub(in crate::web) fn said_in_plain() -> &'static str {
    "this port speaks HTTPS only: begin the URL with https://\n"
}

fn read(cert: &Path, key: &Path, unix_s: u64) -> Result<Pair, TlsError> {
    let (cert_text, key_text) = (bytes(cert)?, bytes(key)?);
    let chain = chain(&cert_text).map_err(|what| TlsError::Content(cert.to_owned(), what))?;
    let secret = secret(&key_text).map_err(|what| TlsError::Content(key.to_owned(), what))?;
    let (names, until) = look(&chain[0], unix_s).map_err(|what| TlsError::Content(cert.to_owned(), what))?;
    let provider = Arc::new(default_provider());
    let certified = CertifiedKey::from_der(chain, secret, &provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => {
            let what = format!(
                "is not the key of the first certificate in {}: name the two that were issued together; the hub's own \
                 certificate comes first, those of its issuers follow",
                cert.display()
            );
            TlsError::Content(key.to_owned(), what)
        }
        Error::InvalidCertificate(why) => {
            TlsError::Content(cert.to_owned(), format!("no certificate that can be used: {why:?}"))
        }
        _ => TlsError::Content(key.to_owned(), "no key of a known kind: RSA, ECDSA or Ed25519".to_owned()),
    })?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config
        .expect("ring has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Pair { config, names, until })
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.map_err(|error| TlsError::File(path.to_owned(), error))?;
    Ok(bytes)
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| format!("damaged PEM: {error}: copy it again"))?;
    if chain.is_empty() {
        return Err(
            "no certificate in PEM ('-----BEGIN CERTIFICATE-----') in it: is this the file of --http-cert? \
                    'openssl x509 -inform DER' converts one in DER"
                .to_owned(),
        );
    }
    Ok(chain)
}

fn secret(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if text.windows(9).any(|word| word == b"ENCRYPTED") => {
            "this key has a passphrase: 'openssl pkey -in FILE' takes it off".to_owned()
        }
        pem::Error::NoItemsFound => {
            "no key in PEM ('-----BEGIN PRIVATE KEY-----') in it: is this the file of --http-key?".to_owned()
        }
        error => format!("damaged PEM: {error}: copy it again"),
    })
}

/// The names in a certificate that is good now, and when it ends (after 1970).
fn look(cert: &CertificateDer<'_>, unix_s: u64) -> Result<(Vec<String>, Duration), String> {
    let cert = Certificate::from_der(cert).map_err(|error| format!("damaged certificate: {error}"))?;
    let cert = cert.tbs_certificate;
    let (now, from) = (UNIX_EPOCH + Duration::from_secs(unix_s), cert.validity.not_before);
    let until = cert.validity.not_after;
    if until.to_system_time() < now {
        return Err(format!("this certificate ended on {until}: renew it"));
    }
    if from.to_system_time() > now {
        return Err(format!("this certificate begins on {from}: is this machine's clock right?"));
    }
    let names = match cert.get::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => names,
        Ok(None) => Vec::new(),
        Err(error) => return Err(format!("damaged certificate: {error}")),
    };
    let mut hosts: Vec<String> = names.iter().filter_map(dns_name).collect();
    hosts.extend(names.iter().filter_map(address));
    Ok((hosts, until.to_unix_duration()))
}

/// A name that a URL can have.
fn dns_name(name: &GeneralName) -> Option<String> {
    let GeneralName::DnsName(name) = name else { return None };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name = name.as_str();
    (!name.is_empty() && name.chars().all(fits)).then(|| name.to_owned())
}

/// An address as a URL has it.
fn address(name: &GeneralName) -> Option<String> {
    let GeneralName::IpAddress(bytes) = name else { return None };
    let bytes = bytes.as_bytes();
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::V4(Ipv4Addr::from(four)).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| format!("[{}]", Ipv6Addr::from(sixteen)))
}

#[cfg(test)]
pub(in crate::web) mod tests {
    use std::process::Command;

    use super::*;

    /// A certificate for these names, good for a hundred days, and its key.
    pub(in crate::web) fn issue(folder: &Path, name: &str, alt: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        let alt = if alt.is_empty() { String::new() } else { format!("subjectAltName={alt}\n") };
        let config = folder.join("openssl.cnf");
        let text =
            "[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\nbasicConstraints=CA:FALSE\n";
        std::fs::write(&config, format!("{text}{alt}")).unwrap();
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-days", "100", "-subj", "/CN=hub.example", "-config"]).arg(&config);
        command.arg("-keyout").arg(&key).arg("-out").arg(&cert);
        let made = command.output().expect("openssl is here: tests/setup installs it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (cert, key)
    }

    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn a_certificate_tells_the_name_that_builders_are_told() {
        let folder = tempfile::tempdir().unwrap();
        for (alt, want) in [
            ("DNS:*.hub.example,DNS:hub.example,DNS:other", Some("hub.example")),
            ("IP:192.0.2.1,DNS:late.example", Some("late.example")),
            ("IP:192.0.2.1", Some("192.0.2.1")),
            ("IP:2001:db8::1", Some("[2001:db8::1]")),
            ("email:a@b", None),
            ("", None),
        ] {
            let (cert, key) = issue(folder.path(), "one", alt);
            let named = Tls::load(&cert, &key, true, now());
            match (named, want) {
                (Ok(tls), want) => assert_eq!(tls.name(), want, "{alt}"),
                (Err(error), None) => assert!(error.to_string().contains("--repo-url"), "{error}"),
                (Err(error), Some(_)) => panic!("{alt}: {error}"),
            }
            assert_eq!(Tls::load(&cert, &key, false, now()).unwrap().name(), None, "{alt}");
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = issue(folder.path(), "one", "DNS:hub.example");
        let (_, other) = issue(folder.path(), "other", "DNS:hub.example");
        let write = |name: &str, text: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let text = std::fs::read_to_string(&cert).unwrap();
        let half = write("half", &text.as_bytes()[..text.len() / 2]);
        let noise = write("noise", text.replace("MII", "!!!").as_bytes());
        let short = write("short", text.replacen("MII", "AAA", 1).as_bytes());
        let locked = write(
            "locked",
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        let empty = write("empty", b"");
        let none = folder.path().join("none");
        let (now, day) = (now(), 86_400);
        for (cert, key, at, bad, want) in [
            (&none, &key, now, &none, "No such file"),
            (&cert, &none, now, &none, "No such file"),
            (&key, &cert, now, &key, "is this the file of --http-cert?"),
            (&cert, &cert, now, &cert, "is this the file of --http-key?"),
            (&empty, &key, now, &empty, "no certificate in PEM"),
            (&half, &key, now, &half, "damaged PEM"),
            (&noise, &key, now, &noise, "damaged PEM"),
            (&short, &key, now, &short, "damaged certificate"),
            (&cert, &locked, now, &locked, "has a passphrase"),
            (&cert, &empty, now, &empty, "no key in PEM"),
            (&cert, &other, now, &other, "is not the key of the first certificate in"),
            (&cert, &key, now + 101 * day, &cert, "renew it"),
            (&cert, &key, now - day, &cert, "is this machine's clock right?"),
        ] {
            let error = Tls::load(cert, key, true, at).err().expect(want).to_string();
            assert!(error.starts_with(&*bad.to_string_lossy()), "{error}");
            assert!(error.contains(want) && !error.contains('\n'), "not {want:?}: {error}");
        }
        assert!(Tls::load(&cert, &key, true, now).is_ok());
    }

    #[test]
    fn a_bad_new_pair_leaves_the_old_one_and_a_good_one_is_for_new_connections() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = issue(folder.path(), "one", "DNS:hub.example");
        let tls = Tls::load(&cert, &key, true, now()).unwrap();
        let first = Arc::as_ptr(tls.acceptor().config());
        std::fs::write(&key, "nonsense").unwrap();
        assert!(tls.reload(now()).is_err());
        assert_eq!(Arc::as_ptr(tls.acceptor().config()), first);
        issue(folder.path(), "one", "DNS:hub.example");
        tls.reload(now()).unwrap();
        assert_ne!(Arc::as_ptr(tls.acceptor().config()), first);
    }
}
