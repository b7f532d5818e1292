//! SIGHUP: the configuration is read again, off the network thread, and applied as far as possible.

use super::{Agent, status};
use crate::config::{self, Config, Problems};
use crate::domain::input::{AckToken, Input, Rejection};
use crate::mqtt;
use crate::system::clock;
use std::path::{Path, PathBuf};
use tokio::task::JoinHandle;

type Loaded = Result<Config, Problems>;

/// Reads the files on a separate thread, once at a time.
pub(super) struct Reloading {
    under_way: Option<JoinHandle<Loaded>>,
    /// Requested again meanwhile.
    again: Option<PathBuf>,
}

impl Reloading {
    pub(super) fn new() -> Reloading {
        Reloading { under_way: None, again: None }
    }

    /// Does not wait for the files.
    pub(super) fn begin(&mut self, path: &Path) {
        if self.under_way.is_some() {
            self.again = Some(path.to_owned());
            return;
        }
        let path = path.to_owned();
        self.under_way = Some(tokio::task::spawn_blocking(move || config::load(&path)));
    }

    /// The result of reading; never resolves while nothing is being read. Cancel-safe: a dropped future loses
    /// nothing.
    pub(super) async fn loaded(&mut self) -> Option<Loaded> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let loaded = under_way.await;
        self.under_way = None;
        if let Some(path) = self.again.take() {
            self.begin(&path);
        }
        loaded.ok()
    }
}

impl Agent {
    /// Applies what can be changed while running, and names what cannot.
    pub(super) fn take_over(&mut self, loaded: Option<Loaded>) -> Option<Input> {
        let new = match loaded? {
            Ok(new) => new,
            Err(problems) => {
                for line in problems.to_string().lines() {
                    tracing::error!("{line}");
                }
                tracing::error!("the configuration stays as it was");
                return None;
            }
        };
        let (changed, restart) = config::reload_difference(&self.config, &new);
        for key in &restart {
            tracing::warn!("{key} has changed, and takes effect at the next start only");
        }
        tracing::info!("configuration read again; in force now: {}", changed.join(", "));
        self.uploader.set_max_rate(new.upload.max_rate);
        self.broker.read_again();
        let before = mqtt::Keys::of(&self.config);
        self.config = config::with_reloadable(&self.config, new);
        if mqtt::Keys::of(&self.config) != before {
            self.take_over_keys();
        }
        Some(Input::Reload(Box::new(self.config.settings())))
    }

    /// From now on no other key is trusted, and nothing that only another key has signed. Messages that a new
    /// key may have signed are requested again.
    fn take_over_keys(&mut self) {
        self.keys_changed = true;
        self.broker.set_keys(mqtt::Keys::of(&self.config));
        let privacy = self.machine.choice_signed().any(|jws| !self.is_choice(jws));
        let entitlement = self.machine.lease_signed().any(|jws| !self.is_lease(jws));
        let disbelieved = Input::Disbelieved { privacy, entitlement };
        status::log(&disbelieved);
        self.machine.handle(disbelieved, clock::now(self.trust));
        self.broker.subscribe_again();
    }

    fn is_choice(&self, jws: &str) -> bool {
        let (keys, device) = (&self.config.privacy.keys, &self.config.device.id);
        mqtt::stored_privacy(keys, device, jws).value().is_some()
    }

    fn is_lease(&self, jws: &str) -> bool {
        let (keys, device) = (&self.config.entitlement.keys, &self.config.device.id);
        mqtt::stored_entitlement(keys, device, jws).value().is_some()
    }

    /// A message that was read before the keys changed may depend on a withdrawn key.
    pub(super) fn believed(&self, input: Input) -> Input {
        if !self.keys_changed {
            return input;
        }
        if let Input::Privacy { jws, ack, .. } = &input {
            if !self.is_choice(jws) {
                return self.unknown_key("privacy/desired", *ack);
            }
        }
        if let Input::Entitlement { jws, ack, .. } = &input {
            if !self.is_lease(jws) {
                return self.unknown_key("entitlement/desired", *ack);
            }
        }
        input
    }

    fn unknown_key(&self, name: &str, ack: AckToken) -> Input {
        let topic = format!("kasacam/v1/{}/{name}", self.config.device.id);
        Input::Rejected { topic, reason: Rejection::UnknownKey, ack: Some(ack) }
    }
}
