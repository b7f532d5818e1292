//! The keys that a running agent can reload.

use super::sections::Spool;
use super::validated::Config;

/// Compares the current configuration with a new one. Returns the keys whose change takes effect at once, and
/// those whose change needs a restart.
#[must_use]
pub fn reload_difference(old: &Config, new: &Config) -> (Vec<&'static str>, Vec<&'static str>) {
    // Destructured completely, so that a new field must be added here.
    let Config { device, identity, mqtt, entitlement, clock, recording, spool, upload, privacy, board } = old;
    let reloadable = [
        ("mqtt.telemetry", mqtt.telemetry != new.mqtt.telemetry),
        ("entitlement.keys", entitlement.keys != new.entitlement.keys),
        ("entitlement.offline_grace", entitlement.offline_grace != new.entitlement.offline_grace),
        ("recording.audio", recording.audio != new.recording.audio),
        ("spool.max_bytes", spool.max_bytes != new.spool.max_bytes),
        ("spool.min_free", spool.min_free != new.spool.min_free),
        ("spool.max_files", spool.max_files != new.spool.max_files),
        ("spool.hold", spool.hold != new.spool.hold),
        ("spool.when_full", spool.when_full != new.spool.when_full),
        ("upload.max_rate", upload.max_rate != new.upload.max_rate),
        ("upload.order", upload.order != new.upload.order),
        ("privacy.keys", privacy.keys != new.privacy.keys),
        ("privacy.pending", privacy.pending != new.privacy.pending),
        ("privacy.unheard_hold", privacy.unheard_hold != new.privacy.unheard_hold),
    ];
    let restart = [
        ("device.id", device.id != new.device.id),
        ("device.state_dir", device.state_dir != new.device.state_dir),
        ("device.socket", device.socket != new.device.socket),
        ("identity", *identity != new.identity),
        ("mqtt.url", (&mqtt.host, mqtt.port) != (&new.mqtt.host, new.mqtt.port)),
        ("mqtt.ca", mqtt.ca != new.mqtt.ca),
        ("mqtt.cert", mqtt.cert != new.mqtt.cert),
        ("mqtt.key", mqtt.key != new.mqtt.key),
        ("mqtt.alpn", mqtt.alpn != new.mqtt.alpn),
        ("mqtt.username", mqtt.login != new.mqtt.login),
        ("mqtt.keep_alive", mqtt.keep_alive != new.mqtt.keep_alive),
        ("mqtt.reconnect_spread", mqtt.reconnect_spread != new.mqtt.reconnect_spread),
        ("clock.trust", clock.trust != new.clock.trust),
        ("recording.segment", recording.segment != new.recording.segment),
        ("recording.fragment", recording.fragment != new.recording.fragment),
        ("recording.chunk", recording.chunk != new.recording.chunk),
        ("recording.durability", recording.durability != new.recording.durability),
        ("spool.encrypt", spool.encrypt != new.spool.encrypt),
        ("spool.key", spool.key != new.spool.key),
        ("upload.url", (&upload.bucket, &upload.prefix) != (&new.upload.bucket, &new.upload.prefix)),
        ("upload.postfix", upload.postfix != new.upload.postfix),
        ("upload.endpoint", upload.endpoint != new.upload.endpoint),
        ("upload.region", upload.region != new.upload.region),
        ("upload.ca", upload.ca != new.upload.ca),
        ("upload.credentials", upload.credentials != new.upload.credentials),
        ("upload.allow_plaintext", upload.allow_plaintext != new.upload.allow_plaintext),
        ("upload.concurrency", upload.concurrency != new.upload.concurrency),
        ("privacy.indicator", privacy.indicator != new.privacy.indicator),
        ("privacy.latch", privacy.latch != new.privacy.latch),
        ("device.board", *board != new.board),
    ];
    let changed = |keys: &[(&'static str, bool)]| {
        keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect::<Vec<_>>()
    };
    (changed(&reloadable), changed(&restart))
}

/// The current configuration, with all keys of `new` that a running agent can reload.
#[must_use]
pub fn with_reloadable(old: &Config, new: Config) -> Config {
    let mut next = old.clone();
    next.mqtt.telemetry = new.mqtt.telemetry;
    next.entitlement.keys = new.entitlement.keys;
    next.privacy.keys = new.privacy.keys;
    next.entitlement.offline_grace = new.entitlement.offline_grace;
    next.recording.audio = new.recording.audio;
    next.spool = Spool { encrypt: next.spool.encrypt, key: next.spool.key, ..new.spool };
    next.upload.max_rate = new.upload.max_rate;
    next.upload.order = new.upload.order;
    next.privacy.pending = new.privacy.pending;
    next.privacy.unheard_hold = new.privacy.unheard_hold;
    next
}
