//! Chromium without a window, as a person with eyes and a keyboard would use it.
//!
//! Owns the browser's process, its profile, and what it said about the pages: complaints of the console, requests, pictures.
//! It is driven over its own debugging protocol (<https://chromedevtools.github.io/devtools-protocol/>) through a pair of
//! pipes, so there is neither a port nor a driver beside it. Must never reach anything but loopback, nor judge: assertions
//! are the test's.
//!
//! ```text
//! Browser::call ─ {"id":7,"method":…}\0 ─▶ descriptor 3 ─▶ Chromium
//!      answer, events ◀─ channel ◀─ thread ◀─ descriptor 4 ◀──┘
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{poll_until, sources};

/// Longest wait for anything of the browser's on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(10);
/// What it is called: Debian and Fedora, Fedora's headless package.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "headless_shell"];

const OPTIONS: [&str; 17] = [
    "--headless",
    "--remote-debugging-pipe",
    // It has none to drop when it is root's.
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    // Only what a test opens is there: names lead nowhere.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--disable-extensions",
    "--disable-gpu",
    // Containers have little of it.
    "--disable-dev-shm-usage",
    "--force-color-profile=srgb",
    "--lang=en-US",
    "about:blank",
];

/// A browser with one page; it ends when it is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    to: Option<ChildStdin>,
    from: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// Since [`Browser::open`]: what happened, oldest first.
    events: Vec<Value>,
    profile: tempfile::TempDir,
}

impl Default for Browser {
    fn default() -> Browser {
        Browser::start()
    }
}

impl Browser {
    /// Starts it with an empty page, 1280 by 800 points.
    ///
    /// # Panics
    /// When there is no Chromium, or it does not answer.
    pub fn start() -> Browser {
        let profile = tempfile::Builder::new().prefix("moji-browser-").tempdir().expect("a folder");
        let log = File::create(profile.path().join("said")).expect("a file for what it says");
        let mut command = Command::new("sh");
        // The shell puts the pipes where Chromium looks for them.
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null 1>&2", "sh"]).arg(program()).args(OPTIONS);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        command.env("HOME", profile.path()).env("XDG_CONFIG_HOME", profile.path());
        command.env("XDG_CACHE_HOME", profile.path()).env("TZ", "UTC");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("a shell can be started");
        let (tell, from) = channel();
        let said = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            // Its end ends this thread, and that the channel.
            for message in said.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("Chromium speaks JSON");
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let to = child.stdin.take();
        let mut browser = Browser { child, to, from, last_id: 0, session: None, events: Vec::new(), profile };
        let made = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": made["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(1280, 800);
        browser
    }

    /// Runs a command of the protocol; its result.
    ///
    /// # Panics
    /// When the browser refuses it, is gone, or says nothing.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let to = self.to.as_mut().expect("it was not closed");
        if let Err(error) = to.write_all(&bytes).and_then(|()| to.flush()) {
            panic!("Chromium hears nothing: {error}\n{}", self.said());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut heard = self.hear(deadline, method);
            if heard["id"] != json!(self.last_id) {
                continue;
            }
            assert!(heard.get("error").is_none(), "{method}: {}", heard["error"]);
            return heard["result"].take();
        }
    }

    /// The next message; events are kept.
    fn hear(&mut self, deadline: Instant, what: &str) -> Value {
        match self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => {
                if message.get("method").is_some() {
                    self.events.push(message.clone());
                }
                message
            }
            Err(RecvTimeoutError::Timeout) => panic!("Chromium does not answer: {what}\n{}", self.said()),
            Err(RecvTimeoutError::Disconnected) => panic!("Chromium ended: {what}\n{}", self.said()),
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.profile.path().join("said")).unwrap_or_default()
    }

    // --- what a person does ---

    /// Opens a page and waits until it is loaded. What the browser said before is forgotten.
    pub fn open(&mut self, url: &str) {
        self.events.clear();
        let gone = self.call("Page.navigate", json!({"url": url}));
        assert!(gone.get("errorText").is_none(), "{url}: {gone}");
        let deadline = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            self.hear(deadline, url);
        }
    }

    /// Makes the window so big, points.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// Has the system's colours be dark or light.
    pub fn prefer_dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// Has scripts run or not, from the next page on.
    pub fn allow_scripts(&mut self, allow: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": !allow}));
    }

    /// Presses a key that types nothing: `Tab`, `Enter`, `Escape`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            _ => panic!("no such key here: {key}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    // --- what a person sees ---

    /// The value of an expression in the page; promises are waited for.
    ///
    /// # Panics
    /// When it throws.
    pub fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut done = self.call("Runtime.evaluate", params);
        assert!(done.get("exceptionDetails").is_none(), "{expression}: {}", done["exceptionDetails"]);
        done["result"]["value"].take()
    }

    /// Waits until an expression in the page is true.
    ///
    /// # Panics
    /// When it does not become true.
    pub fn wait_for(&mut self, expression: &str) {
        if !poll_until(PATIENCE, || self.eval(expression) == json!(true)) {
            let (complaints, requests, text) = (self.complaints(), self.requests(), self.text());
            panic!("never true in the page: {expression}\n{complaints:#?}\n{requests:#?}\n{text}");
        }
    }

    /// The text that is shown.
    pub fn text(&mut self) -> String {
        self.eval("document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Where each element that a selector finds is: left, top, width, height, points of the page.
    pub fn boxes(&mut self, selector: &str) -> Vec<[f64; 4]> {
        let script = format!(
            "[...document.querySelectorAll({})].map(e => {{ const b = e.getBoundingClientRect(); \
             return [b.left + scrollX, b.top + scrollY, b.width, b.height] }})",
            json!(selector)
        );
        serde_json::from_value(self.eval(&script)).expect("four numbers each")
    }

    /// Role and name of each element as a screen reader has them, those that it passes over left out.
    pub fn accessible(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().cloned().unwrap_or_default();
        let text = |node: &Value, of: &str| node[of]["value"].as_str().unwrap_or_default().to_owned();
        let heard = nodes.iter().filter(|node| node["ignored"] == json!(false));
        heard.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// What the browser complained about since [`Browser::open`]: errors and warnings of its console, exceptions, answers
    /// of 400 and above, requests that failed.
    pub fn complaints(&self) -> Vec<String> {
        self.events.iter().filter_map(complaint).collect()
    }

    /// URLs of all requests since [`Browser::open`].
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| {
            event["method"] == "Network.requestWillBeSent" || event["method"] == "Network.webSocketCreated"
        });
        let urls = sent.filter_map(|event| {
            let params = &event["params"];
            params["request"]["url"].as_str().or(params["url"].as_str()).map(str::to_owned)
        });
        urls.collect()
    }

    /// Header fields of the answer to the page itself, names in lower case.
    pub fn page_headers(&self) -> BTreeMap<String, String> {
        let answers = self.events.iter().filter(|event| event["method"] == "Network.responseReceived");
        let page = answers.map(|event| &event["params"]).find(|params| params["type"] == "Document");
        let headers = page.and_then(|params| params["response"]["headers"].as_object()).into_iter().flatten();
        headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap_or_default().to_owned()))
            .collect()
    }

    /// A picture of the window, in `target/screens/NAME.png`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn picture(&mut self, name: &str) -> PathBuf {
        let folder = screens();
        fs::create_dir_all(&folder).expect("a folder for pictures");
        let path = folder.join(format!("{name}.png"));
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"}));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap_or_default()).expect("base64");
        fs::write(&path, bytes).expect("a picture is written");
        path
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends when nobody can tell it anything any more.
        drop(self.to.take());
        if !poll_until(END, || matches!(self.child.try_wait(), Ok(Some(_)))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Where pictures go: cargo's target folder, as the programs.
pub fn screens() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| sources().join("../target")).join("screens")
}

/// Chromium on this machine.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([Path::new("/usr/bin").into()]).collect();
    let all = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|path| path.is_file()).expect("no Chromium here: run tests/setup")
}

/// What an event complains about, if it does.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.consoleAPICalled" => {
            let kind = params["type"].as_str()?;
            let bad = matches!(kind, "error" | "warning" | "assert");
            bad.then(|| format!("console.{kind}: {}", params["args"]))
        }
        "Runtime.exceptionThrown" => Some(format!("exception: {}", params["exceptionDetails"])),
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let bad = matches!(entry["level"].as_str()?, "error" | "warning");
            bad.then(|| format!("log: {} {}", entry["text"], entry["url"]))
        }
        "Network.responseReceived" => {
            let response = &params["response"];
            let status = response["status"].as_u64()?;
            (status >= 400).then(|| format!("{status}: {}", response["url"]))
        }
        // A stream that the page itself ends is no failure.
        "Network.loadingFailed" if params["canceled"] != json!(true) => {
            Some(format!("failed: {}", params["errorText"]))
        }
        _ => None,
    }
}
