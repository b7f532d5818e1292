//! Faults of a cloud, one for each row of `verify`: in the broker's ACL, in what is published, or in what passes before the
//! broker or the store.

use super::{Device, changing, choice, claims, lease, pipe, publish, sign};
use crate::support::cloud::Cloud;
use crate::support::mqtt_proxy::{Change, Habits, Way, packet};
use crate::support::proxy::Fault;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

/// Changes the claims of what comes to the camera on a topic that ends so, signed anew by the cloud.
fn restated(
    cloud: &Cloud,
    topic: &'static str,
    kind: &'static str,
    change: impl Fn(usize, &mut Value) + Send + Sync + 'static,
) -> Change {
    let dir = cloud.dir().to_owned();
    changing(move |passing| {
        let concerns = passing.way == Way::ToClient && passing.topic().is_some_and(|it| it.ends_with(topic));
        let mut claims = concerns.then(|| claims(passing.payload()))??;
        change(passing.connection, &mut claims);
        Some(vec![(Way::ToClient, passing.with_payload(sign(&dir, kind, &claims).as_bytes()))])
    })
}

/// The claims signed with an unknown key, under the name of the cloud's key.
fn forged(kind: &str, claims: &Value) -> String {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let header = json!({"alg": "EdDSA", "kid": "entitlement-dev-1", "typ": format!("kasacam-{kind}+jws")});
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
}

pub(super) type Plant = Box<dyn Fn(&Cloud, &Device)>;
pub(super) type Changes = Box<dyn Fn(&Cloud, &Device) -> Change>;

/// Where a fault is planted.
pub(super) enum Planted {
    /// In what the cloud did before the check.
    Before(Plant),
    /// In the ACL of the broker: a line for the device.
    Acl(fn(&Device) -> String),
    /// In what passes before the broker.
    Broker(Habits, Changes),
    /// In what passes before the store.
    Store(Fault),
}

fn before(plant: impl Fn(&Cloud, &Device) + 'static) -> Planted {
    Planted::Before(Box::new(plant))
}

fn on_the_way(change: impl Fn(&Cloud, &Device) -> Change + 'static) -> Planted {
    Planted::Broker(Habits::default(), Box::new(change))
}

fn each_grant(claims: &mut Value, change: impl Fn(&mut Value)) {
    claims["grants"].as_array_mut().unwrap().iter_mut().for_each(change);
}

/// The row that has to fail, and the fault.
pub(super) fn faults() -> Vec<(&'static str, Planted)> {
    let habit = |habits: Habits| Planted::Broker(habits, Box::new(|_, _| pipe()));
    vec![
        ("acl.publish", Planted::Acl(|it| format!("topic write kasacam/v1/{}/event", it.other))),
        ("acl.subscribe", Planted::Acl(|it| format!("topic read kasacam/v1/{}/event", it.other))),
        ("acl.command", Planted::Acl(|it| format!("topic write kasacam/v1/{}/privacy/desired", it.id))),
        (
            "privacy.signature",
            before(|cloud, it| publish(cloud, &it.id, "privacy", &forged("privacy", &choice(&it.id, 7)))),
        ),
        (
            "privacy.claims",
            before(|cloud, it| {
                publish(cloud, &it.id, "privacy", &sign(cloud.dir(), "privacy", &choice(&it.other, 7)));
            }),
        ),
        ("privacy.retained", before(|cloud, it| publish(cloud, &it.id, "privacy", ""))),
        (
            "lease.in-force",
            before(|cloud, it| {
                let ended = lease(&it.id, "2026-11-02T00:00:00Z");
                publish(cloud, &it.id, "entitlement", &sign(cloud.dir(), "entitlement", &ended));
            }),
        ),
        (
            "broker.nobody",
            Planted::Broker(
                Habits { lends: Some("dev-07-a".into()), ..Habits::default() },
                Box::new(|_, _| pipe()),
            ),
        ),
        ("broker.will", habit(Habits { says_goodbye: true, ..Habits::default() })),
        (
            "broker.session",
            on_the_way(|_, _| {
                changing(|passing| {
                    let mut changed = passing.bytes.clone();
                    // Session Present is the first byte of a CONNACK's body.
                    (passing.kind() == 2).then(|| changed[2] = 0)?;
                    Some(vec![(Way::ToClient, changed)])
                })
            }),
        ),
        (
            "broker.limits",
            on_the_way(|_, _| {
                // Maximum Packet Size of 4 KiB.
                changing(|passing| {
                    let limited = packet(0x20, &[0, 0, 5, 0x27, 0, 0, 0x10, 0]);
                    let is_new = passing.kind() == 2 && passing.bytes[2] == 0;
                    is_new.then(|| vec![(Way::ToClient, limited)])
                })
            }),
        ),
        (
            "broker.puback",
            on_the_way(|_, _| {
                changing(|passing| {
                    let lost = passing.way == Way::ToBroker
                        && passing.topic().is_some_and(|it| it.ends_with("-a/event"));
                    lost.then(Vec::new)
                })
            }),
        ),
        (
            "commands.clean",
            on_the_way(|_, _| {
                // The third session is given nothing. The first is TLS alone, the second the client nobody knows.
                let sessions = std::sync::Mutex::new(Vec::new());
                changing(move |passing| {
                    let mut sessions = sessions.lock().unwrap();
                    if passing.kind() == 8
                        && passing.bytes.windows(16).any(|it| it == b"/privacy/desired")
                        && !sessions.contains(&passing.connection)
                    {
                        sessions.push(passing.connection);
                    }
                    let third = sessions.get(2) == Some(&passing.connection);
                    (third && passing.way == Way::ToClient && passing.kind() == 3).then(Vec::new)
                })
            }),
        ),
        (
            "versions.back",
            on_the_way(|cloud, _| {
                let first = std::sync::Mutex::new(None);
                restated(cloud, "/privacy/desired", "privacy", move |connection, claims| {
                    let first = *first.lock().unwrap().get_or_insert(connection);
                    claims["version"] = json!(if connection == first { 7 } else { 6 });
                })
            }),
        ),
        (
            "grant.signature",
            on_the_way(|_, _| {
                changing(|passing| {
                    let concerns = passing.way == Way::ToClient
                        && passing.topic().is_some_and(|it| it.ends_with("/grant/response"));
                    let said = concerns.then(|| claims(passing.payload()))??;
                    Some(vec![(Way::ToClient, passing.with_payload(forged("grant", &said).as_bytes()))])
                })
            }),
        ),
        (
            "grant.id",
            on_the_way(|cloud, _| {
                restated(cloud, "/grant/response", "grant", |_, claims| {
                    claims["id"] = json!("0123456789abcdef0123456789abcdef")
                })
            }),
        ),
        (
            "grant.size",
            on_the_way(|cloud, _| {
                restated(cloud, "/grant/response", "grant", |_, claims| {
                    each_grant(claims, |grant| grant["headers"]["content-length"] = json!("1025"));
                })
            }),
        ),
        (
            "grant.expiry",
            on_the_way(|cloud, _| {
                restated(cloud, "/grant/response", "grant", |_, claims| {
                    let issued = claims["issued_at"].clone();
                    each_grant(claims, |grant| grant["expires_at"] = issued.clone());
                })
            }),
        ),
        (
            "grant.own-prefix",
            on_the_way(|cloud, _| {
                // What is refused is granted after all, with a grant of before.
                let before = std::sync::Mutex::new(None);
                restated(cloud, "/grant/response", "grant", move |_, claims| {
                    let mut before = before.lock().unwrap();
                    if let Some(grant) = claims["grants"].get(0) {
                        *before = Some(grant.clone());
                    }
                    let refused = claims["refused"].clone();
                    let of_another =
                        refused.as_array().unwrap().iter().filter(|it| it["reason"] == "another_device");
                    let granted: Vec<Value> = of_another
                        .map(|it| {
                            let mut grant = before.clone().unwrap();
                            grant["key"] = it["key"].clone();
                            grant
                        })
                        .collect();
                    if !granted.is_empty() {
                        claims["grants"] = json!(granted);
                        claims["refused"] = json!([]);
                    }
                })
            }),
        ),
        ("store.checksum", Planted::Store(Fault::Status("PUT", 400, 200))),
        ("store.condition", Planted::Store(Fault::Status("PUT", 412, 200))),
        ("store.proof", Planted::Store(Fault::HeaderOf("PUT", "x-amz-checksum-sha256", "AAAA"))),
        ("store.anonymous", Planted::Store(Fault::Status("GET", 403, 200))),
        ("store.metadata", Planted::Store(Fault::HeaderOf("HEAD", "x-amz-meta-span", "another"))),
    ]
}
