//! Who gets in and who does not: names, passwords, builders' paths, methods, and files that change.

use std::fs;
use std::path::PathBuf;

use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// A site that says which path it was asked for.
fn site() -> Router {
    let echo = |request: Request| async move { request.uri().to_string() };
    Router::new()
        .route("/healthz", get(echo))
        .route("/tier/{*rest}", get(echo))
        .route("/thin/{*rest}", get(echo))
        .route("/", get(echo))
}

/// A door and its file of names.
struct Door {
    access: Access,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Door {
    /// For anna, whose password is `one`.
    fn new() -> Door {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names");
        fs::write(&file, format!("anna:{}\n", bcrypt::hash("one", 4).unwrap())).unwrap();
        let access = Access::load(None, Some(&file), true, &SecretKey::from_bytes([7; 32]), 0).unwrap();
        Door { access, file, _folder: folder }
    }

    async fn ask(&self, path: &str, credentials: Option<&str>, reader: &str) -> (u16, String) {
        let mut request = Request::builder().uri(path);
        if let Some(credentials) = credentials {
            request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(credentials)));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.access.pass(site(), reader.parse().unwrap(), request).await;
        let status = response.status();
        let asks = response.headers().contains_key(WWW_AUTHENTICATE);
        assert_eq!(asks, status == StatusCode::UNAUTHORIZED, "{path}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn status(&self, credentials: &str) -> u16 {
        self.ask("/", Some(credentials), "192.0.2.1").await.0
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

#[test]
fn a_name_and_its_password_open_everything_and_nothing_else_does() {
    run(async {
        let door = Door::new();
        assert_eq!(door.ask("/", None, "192.0.2.1").await.0, 401);
        assert_eq!(
            door.ask("/none", None, "192.0.2.1").await.0,
            401,
            "not even what there is can be found out"
        );
        assert_eq!(door.ask("/healthz", None, "192.0.2.1").await, (200, "/healthz".into()));
        assert_eq!(door.ask("/healthz/x", None, "192.0.2.1").await.0, 401);
        for (credentials, want) in [
            ("anna:one", 200),
            ("anna:two", 401),
            ("anna:", 401),
            ("anna:one ", 401),
            ("Anna:one", 401),
            ("nobody:one", 401),
            (":one", 401),
            ("anna", 401),
            ("anna:one", 200),
        ] {
            assert_eq!(door.status(credentials).await, want, "{credentials}");
        }
    });
}

#[test]
fn who_was_let_in_costs_no_second_check_until_the_file_is_read_again() {
    run(async {
        let door = Door::new();
        assert_eq!(door.status("anna:one").await, 200);
        let auth = door.access.auth.as_ref().unwrap();
        // With all turns taken a check would wait for ever.
        let turns = auth.take_all_turns().await;
        assert_eq!(door.status("anna:one").await, 200);
        drop(turns);
        fs::write(&door.file, format!("otto:{}\n", bcrypt::hash("two", 4).unwrap())).unwrap();
        assert_eq!(door.status("otto:two").await, 401, "the file was not read again yet");
        door.access.reload(0);
        assert_eq!(door.status("anna:one").await, 401);
        assert_eq!(door.status("otto:two").await, 200);
        fs::write(&door.file, "otto:plain\n").unwrap();
        door.access.reload(0);
        assert_eq!(door.status("otto:two").await, 200, "a bad file leaves what was right before");
        assert_eq!(door.status("otto:plain").await, 401);
    });
}

#[test]
fn who_guesses_is_made_to_wait_and_nobody_else() {
    run(async {
        let door = Door::new();
        assert_eq!(door.status("anna:one").await, 200);
        for guess in 0..10 {
            assert_eq!(door.status(&format!("anna:{guess}")).await, 401, "{guess}");
        }
        assert_eq!(door.status("anna:10").await, 429);
        assert_eq!(door.status("nobody:10").await, 429);
        assert_eq!(door.status("anna:one").await, 200, "who was let in before stays");
        assert_eq!(door.ask("/", Some("anna:10"), "192.0.2.2").await.0, 401, "another address");
        let at_once = (0..20).map(|guess| {
            let guess = format!("anna:x{guess}");
            let door = &door;
            async move { door.ask("/", Some(&guess), "192.0.2.3").await.0 }
        });
        let mut answers = Vec::new();
        for answer in at_once {
            answers.push(answer.await);
        }
        assert_eq!(answers.iter().filter(|status| **status == 401).count(), 10, "{answers:?}");
    });
}

#[test]
fn builders_are_told_a_path_that_opens_their_indexes_only() {
    run(async {
        let door = Door::new();
        let [recent, base] = door.access.tiers(6780);
        assert!(recent.starts_with("/as-builder/") && recent.ends_with("/tier/recent/"), "{recent}");
        assert!(base.ends_with("/tier/base/"));
        let part = recent.split('/').nth(2).unwrap().to_owned();
        assert_eq!(part.len(), 32);
        let get = async |path: &str| door.ask(path, None, "192.0.2.1").await;
        let asked = get(&format!("{recent}repodata/repomd.xml?x=1")).await;
        assert_eq!(asked, (200, "/tier/recent/repodata/repomd.xml?x=1".into()));
        let thin = format!("{}7-1/0/x.rpm", door.access.thins(6780));
        assert_eq!(get(&thin).await, (200, "/thin/7-1/0/x.rpm".into()));
        let other = format!("{}{}", if part.starts_with('0') { '1' } else { '0' }, &part[1..]);
        for path in [
            format!("/as-builder/{part}/"),
            format!("/as-builder/{part}"),
            format!("/as-builder/{part}/repo/x"),
            format!("/as-builder/{part}//tier/x"),
            format!("/as-builder/{other}/tier/x"),
            "/as-builder//tier/x".to_owned(),
            "/tier/recent/x".to_owned(),
            "/thin/7-1/0/x.rpm".to_owned(),
        ] {
            assert_eq!(get(&path).await.0, 401, "{path}");
        }
        let again = Access::load(None, Some(&door.file), true, &SecretKey::from_bytes([7; 32]), 0).unwrap();
        assert_eq!(again.tiers(6780), [recent.clone(), base], "the same at each start");
        let elsewhere =
            Access::load(None, Some(&door.file), true, &SecretKey::from_bytes([8; 32]), 0).unwrap();
        assert_ne!(elsewhere.tiers(6780)[0], recent);
    });
}

#[test]
fn without_a_file_of_names_nobody_is_asked_and_there_is_no_secret_path() {
    run(async {
        let access = Access::load(None, None, true, &SecretKey::from_bytes([7; 32]), 0).unwrap();
        assert_eq!(access.tiers(6780), ["/tier/recent/", "/tier/base/"]);
        let part = builders_part(&SecretKey::from_bytes([7; 32]));
        for (path, want) in [("/".to_owned(), 200), (format!("/as-builder/{part}/tier/x"), 404)] {
            let request = Request::builder().uri(&path).body(Body::empty()).unwrap();
            let response = access.pass(site(), "192.0.2.1".parse().unwrap(), request).await;
            assert_eq!(response.status(), want, "{path}");
        }
    });
}

#[test]
fn nothing_but_reading_gets_past_the_door() {
    run(async {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "MKCOL"] {
            for path in ["/", "/healthz", "/tier/x", "/api/v1/overview"] {
                let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
                let access = Access::default();
                let response = access.pass(site(), "192.0.2.1".parse().unwrap(), request).await;
                assert_eq!(response.status(), 405, "{method} {path}");
                assert_eq!(response.headers()[ALLOW], "GET, HEAD");
            }
        }
    });
}

#[test]
fn with_a_certificate_builders_are_told_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = tls::tests::issue(folder.path(), "one", "DNS:hub.example");
    let unix_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let hub = SecretKey::from_bytes([7; 32]);
    let load = |named| Access::load(Some((&cert, &key)), None, named, &hub, unix_s).unwrap();
    assert_eq!(load(true).tiers(1234)[0], "https://hub.example:1234/tier/recent/");
    assert_eq!(load(true).scheme(), "https");
}
