//! A real Chromium without a window, controlled by the Chrome DevTools Protocol over two pipes: it listens
//! nowhere, connects only to this machine, and ends with the test.

use super::cloud::DEADLINE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    heard: Receiver<Value>,
    /// Messages that are not answers.
    events: Vec<Value>,
    session: Option<String>,
    sent: u64,
    dir: TempDir,
}

/// How the page is displayed.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub width: u32,
    pub dark: bool,
}

impl Browser {
    /// Starts it with an empty page of 1280 by 900.
    pub fn start() -> Browser {
        let dir = TempDir::new().unwrap();
        // Chromium reads commands from descriptor 3 and answers on 4.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "chromium"]);
        command.args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"]);
        command.args([
            "--hide-scrollbars",
            "--mute-audio",
            "--disable-background-networking",
            "--disable-sync",
        ]);
        command.args(["--disable-component-update", "--disable-dev-shm-usage", "--lang=en-GB"]);
        command.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
        command.arg(format!("--user-data-dir={}", dir.path().join("profile").display()));
        // SAFETY: a plain system call that cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            command.arg("--no-sandbox");
        }
        command.env("TZ", "UTC").env("HOME", dir.path()).process_group(0);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium: scripts/debian-packages.sh installs it");
        let (pipe, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0).map_while(Result::ok) {
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut browser = Browser { child, pipe, heard, events: Vec::new(), session: None, sent: 0, dir };
        let target = browser.send("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        browser.session =
            Some(browser.send("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().into());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.send(&format!("{domain}.enable"), json!({}));
        }
        browser.look(Look { width: 1280, dark: false });
        browser
    }

    /// Sends a command, and waits for its answer.
    pub fn send(&mut self, method: &str, parameters: Value) -> Value {
        self.sent += 1;
        let id = self.sent;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).unwrap();
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let heard = match self.heard.recv_timeout(left) {
                Ok(heard) => heard,
                Err(why @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    panic!("{method}: no answer of chromium: {why}")
                }
            };
            if heard["id"] == id {
                assert!(heard["error"].is_null(), "{method}: {}", heard["error"]);
                return heard["result"].clone();
            }
            self.events.push(heard);
        }
    }

    /// Opens an address, and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let opened = self.send("Page.navigate", json!({"url": url}));
        assert!(opened["errorText"].is_null(), "{url}: {}", opened["errorText"]);
        self.wait_for("the page", "document.readyState === 'complete'");
    }

    /// The value of an expression; a promise is awaited.
    pub fn eval(&mut self, expression: &str) -> Value {
        let what = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let found = self.send("Runtime.evaluate", what);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {}", found["exceptionDetails"]);
        found["result"]["value"].clone()
    }

    /// Waits until an expression is true, and returns it.
    pub fn wait_for(&mut self, what: &str, expression: &str) -> Value {
        self.wait_up_to(DEADLINE, what, expression)
    }

    pub fn wait_up_to(&mut self, deadline: Duration, what: &str, expression: &str) -> Value {
        let until = Instant::now() + deadline;
        loop {
            let found = self.eval(expression);
            if !(found.is_null() || found == false || found == 0 || found == "") {
                return found;
            }
            if Instant::now() > until {
                let shown = self.eval("document.body.innerText");
                let media = self.eval(
                    "[...document.querySelectorAll('video, #stage, #timeline, .band')].map((e) => JSON.stringify({...e.dataset, t: e.currentTime, ready: e.readyState, paused: e.paused, fault: e.error?.message})).join('\\n')",
                );
                panic!("waited in vain for {what}; the page shows:\n{}\n{}", text(&shown), text(&media));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Clicks into the middle of the element that a selector finds, as a mouse does.
    pub fn click(&mut self, selector: &str) {
        let at = self.eval(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: 'center'}});
               const b = e.getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()"
        ));
        self.click_at(at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    }

    pub fn click_at(&mut self, x: f64, y: f64) {
        for kind in ["mousePressed", "mouseReleased"] {
            let button = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.send("Input.dispatchMouseEvent", button);
        }
    }

    /// Presses a key, as on a keyboard.
    pub fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { json!(key) } else { Value::Null };
        let mut down = json!({"type": "keyDown", "key": key});
        if !text.is_null() {
            down["text"] = text;
        }
        self.send("Input.dispatchKeyEvent", down);
        self.send("Input.dispatchKeyEvent", json!({"type": "keyUp", "key": key}));
    }

    /// Sets the window's width, and whether the user prefers a dark page.
    pub fn look(&mut self, look: Look) {
        let narrow = look.width < 600;
        let (height, scale) = if narrow { (844, 2) } else { (900, 1) };
        let size =
            json!({"width": look.width, "height": height, "deviceScaleFactor": scale, "mobile": narrow});
        self.send("Emulation.setDeviceMetricsOverride", size);
        let scheme = if look.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.send("Emulation.setEmulatedMedia", media);
        let shown = format!(
            "innerWidth === {} && matchMedia('(prefers-color-scheme: {scheme})').matches",
            look.width
        );
        self.wait_for("the window", &shown);
        // Colours change with a transition.
        self.wait_for(
            "the end of transitions",
            "document.getAnimations().every((a) => a.playState !== 'running')",
        );
    }

    /// A screenshot of the page as PNG: the whole page, or what the window shows.
    pub fn picture(&mut self, file: &Path, whole: bool) {
        self.eval("scrollTo(0, 0)");
        let taken =
            self.send("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": whole}));
        std::fs::write(file, STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// Sets the folder for downloads from now on.
    pub fn take_downloads(&mut self) -> PathBuf {
        let folder = self.dir.path().join("downloads");
        std::fs::create_dir_all(&folder).unwrap();
        let session = self.session.take();
        self.send("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": folder}));
        self.session = session;
        folder
    }

    /// All events of this kind since the last call.
    pub fn take_events(&mut self, method: &str) -> Vec<Value> {
        self.eval("0");
        self.events.extend(self.heard.try_iter());
        let (taken, left) =
            std::mem::take(&mut self.events).into_iter().partition(|event| event["method"] == method);
        self.events = left;
        taken.into_iter().map(|event: Value| event["params"].clone()).collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = -i32::try_from(self.child.id()).unwrap();
        // SAFETY: a plain system call; the group is the child's own, and the child was not waited for yet.
        unsafe { libc::kill(group, libc::SIGKILL) };
        let _ended = self.child.wait();
    }
}
