//! The whole policy, for all combinations of facts, as a readable table. It is in `docs/policy.md`;
//! `KASACAM_BLESS=1` writes it again.

use kasacam::domain::codec::Codec;
use kasacam::domain::effect::Rule;
use kasacam::domain::entitlement::{Entitlement, Features};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Rejection;
use kasacam::domain::policy::{
    Capture, Hearing, Pending, PolicyFacts, PrivacyPending, Reason, Rules, TrustedClock, Upload, WhenFull,
    decide,
};
use kasacam::domain::privacy::Privacy;
use kasacam::domain::storage::StorageState;
use std::collections::BTreeSet;
use std::path::Path;

const BEGIN: &str = "<!-- policy table: begin -->\n";
const END: &str = "<!-- policy table: end -->";

const PRIVACIES: [Privacy; 3] = [Privacy::Record, Privacy::DoNotRecord, Privacy::Unknown];
const CLOCKS: [TrustedClock; 2] = [TrustedClock::Trusted, TrustedClock::Untrusted];
const STORAGES: [StorageState; 4] =
    [StorageState::Roomy, StorageState::Tight, StorageState::Full, StorageState::Broken];
const HEARINGS: [Hearing; 2] = [Hearing::Heard, Hearing::Unheard];
const CODECS: [Codec; 2] = [Codec::H264, Codec::H265];
const FULLS: [WhenFull; 2] = [WhenFull::Evict, WhenFull::Stop];
const PENDINGS: [PrivacyPending; 3] = [PrivacyPending::Upload, PrivacyPending::Hold, PrivacyPending::Purge];

fn granted(record: bool, audio: bool, h265: bool) -> Entitlement {
    Entitlement::Granted(Features { record, audio, max_height: 1080, history_hours: 720, h265 })
}

fn entitlements() -> [Entitlement; 12] {
    [
        granted(true, true, true),
        granted(true, true, false),
        granted(true, false, true),
        granted(true, false, false),
        granted(false, true, true),
        granted(false, true, false),
        granted(false, false, true),
        granted(false, false, false),
        Entitlement::Suspended,
        Entitlement::Lapsed,
        Entitlement::Terminated,
        Entitlement::Unknown,
    ]
}

fn entitlement_text(entitlement: Entitlement) -> String {
    match entitlement {
        Entitlement::Granted(features) => {
            let yes = |flag, name: &'static str| if flag { Some(name) } else { None };
            let with: Vec<&str> = [yes(features.record, "record"), yes(features.audio, "audio")]
                .into_iter()
                .flatten()
                .collect();
            let with = if with.is_empty() { "nothing".into() } else { with.join(" + ") };
            format!("granted {with}{}", if features.h265 { "" } else { ", no H.265" })
        }
        other => other.text().into(),
    }
}

fn privacy_text(privacy: Privacy) -> &'static str {
    match privacy {
        Privacy::Record => "record",
        Privacy::DoNotRecord => "do_not_record",
        Privacy::Unknown => "unknown",
    }
}

fn storage_text(storage: StorageState, full: WhenFull) -> String {
    match (storage, full) {
        (StorageState::Full, WhenFull::Evict) => "full (evict)".into(),
        (StorageState::Full, WhenFull::Stop) => "full (stop)".into(),
        (other, _) => other.text().into(),
    }
}

fn hearing_text(hearing: Hearing) -> &'static str {
    match hearing {
        Hearing::Heard => "heard",
        Hearing::Unheard => "unheard",
    }
}

fn pending_text(pending: PrivacyPending) -> &'static str {
    match pending {
        PrivacyPending::Upload => "upload",
        PrivacyPending::Hold => "hold",
        PrivacyPending::Purge => "purge",
    }
}

/// The decision, one cell each: capture, upload, pending.
fn outcome(facts: &PolicyFacts) -> [String; 3] {
    let decision = decide(facts);
    let capture = match decision.capture() {
        Capture::On { audio: true, .. } => "**on**, with audio".into(),
        Capture::On { audio: false, .. } => "**on**, no audio".into(),
        Capture::Off(reason) => format!("off: `{}`", reason.text()),
    };
    let upload = match decision.upload {
        Upload::On => "**on**".into(),
        Upload::Heard => "**on**, but unheard footage waits".into(),
        Upload::Off(reason) => format!("off: `{}`", reason.text()),
    };
    let pending: Pending = decision.pending;
    [capture, upload, format!("`{}`", pending.text())]
}

/// Every combination of facts, in the order of the table.
fn space() -> Vec<PolicyFacts> {
    let mut all = Vec::new();
    for privacy in PRIVACIES {
        for entitlement in entitlements() {
            for pending in PENDINGS {
                for storage in STORAGES {
                    for when_full in FULLS {
                        for clock in CLOCKS {
                            for (audio, hearing) in
                                [true, false].into_iter().flat_map(|audio| HEARINGS.map(|it| (audio, it)))
                            {
                                all.extend(CODECS.map(|codec| {
                                    let rules = Rules { audio, when_full, pending, codec };
                                    PolicyFacts { privacy, entitlement, clock, storage, hearing, rules }
                                }));
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// One row represents all facts that differ only in what changes nothing: facts with the same privacy,
/// entitlement and outcome are joined, and a fact that takes all its values is written as `any`.
fn table() -> String {
    let mut text = String::from(
        "| privacy | entitlement | `privacy.pending` | storage (`spool.when_full`) | the choice is | `recording.audio` | the board records | capture | upload | pending |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let space = space();
    for privacy in PRIVACIES {
        for entitlement in entitlements() {
            let here: Vec<&PolicyFacts> =
                space.iter().filter(|f| f.privacy == privacy && f.entitlement == entitlement).collect();
            let mut seen: BTreeSet<[String; 3]> = BTreeSet::new();
            for first in &here {
                let result = outcome(first);
                if !seen.insert(result.clone()) {
                    continue;
                }
                let same: Vec<&&PolicyFacts> = here.iter().filter(|facts| outcome(facts) == result).collect();
                let cells = [
                    joined(&here, &same, |f| pending_text(f.rules.pending).to_owned()),
                    joined(&here, &same, |f| storage_text(f.storage, f.rules.when_full)),
                    joined(&here, &same, |f| hearing_text(f.hearing).to_owned()),
                    joined(&here, &same, |f| f.rules.audio.to_string()),
                    joined(&here, &same, |f| f.rules.codec.name().to_owned()),
                ];
                // A row is correct only if it represents the whole product of its cells.
                let product = here
                    .iter()
                    .filter(|f| {
                        same.iter().any(|s| s.rules.pending == f.rules.pending)
                            && same.iter().any(|s| {
                                storage_text(s.storage, s.rules.when_full)
                                    == storage_text(f.storage, f.rules.when_full)
                            })
                            && same.iter().any(|s| s.rules.audio == f.rules.audio)
                            && same.iter().any(|s| s.hearing == f.hearing)
                            && same.iter().any(|s| s.rules.codec == f.rules.codec)
                    })
                    .count();
                assert_eq!(product, same.len(), "{result:?} of {privacy:?} {entitlement:?} is no product");
                text.push_str(&format!(
                    "| {} | {} | {} | {} |\n",
                    privacy_text(privacy),
                    entitlement_text(entitlement),
                    cells.join(" | "),
                    result.join(" | ")
                ));
            }
        }
    }
    text
}

fn joined(all: &[&PolicyFacts], same: &[&&PolicyFacts], name: impl Fn(&PolicyFacts) -> String) -> String {
    let mut every: Vec<String> = Vec::new();
    for facts in all {
        let text = name(facts);
        if !every.contains(&text) {
            every.push(text);
        }
    }
    let some: Vec<String> =
        every.iter().filter(|text| same.iter().any(|f| name(f) == **text)).cloned().collect();
    if some == every { "any".into() } else { some.join(", ") }
}

#[test]
fn every_stable_text_stands_in_the_documents() {
    let read =
        |name: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (policy, contract) = (read("docs/policy.md"), read("docs/contract.md"));
    for reason in [
        Reason::Allowed,
        Reason::DoNotRecord,
        Reason::PrivacyUnknown,
        Reason::PrivacyHold,
        Reason::EntitlementUnknown,
        Reason::Lapsed,
        Reason::Suspended,
        Reason::Terminated,
        Reason::PlanWithoutRecording,
        Reason::PlanWithoutH265,
        Reason::StorageFull,
        Reason::StorageBroken,
    ] {
        assert!(policy.contains(&format!("| `{}` |", reason.text())), "{reason:?}");
    }
    let rejections = [
        Rejection::TooLarge,
        Rejection::Malformed,
        Rejection::WrongAlgorithm,
        Rejection::WrongType,
        Rejection::UnknownKey,
        Rejection::BadSignature,
        Rejection::WrongDevice,
        Rejection::StaleVersion,
        Rejection::ConflictingVersion,
        Rejection::IssuedAhead,
        Rejection::UnknownTopic,
    ];
    let rules = [
        Rule::Stored,
        Rule::HistoryExceeded,
        Rule::HoldExpired,
        Rule::AfterChoice,
        Rule::Terminated,
        Rule::PrivacyPurge,
        Rule::Evicted,
    ];
    let ends = [
        SpanEnd::Privacy,
        SpanEnd::Entitlement,
        SpanEnd::Storage,
        SpanEnd::Source,
        SpanEnd::Clock,
        SpanEnd::Format,
        SpanEnd::Shutdown,
        SpanEnd::Power,
    ];
    let texts = rejections
        .map(Rejection::text)
        .into_iter()
        .chain(rules.map(Rule::text))
        .chain(ends.map(SpanEnd::text));
    for text in texts {
        assert!(contract.contains(&format!("`{text}`")), "{text}");
    }
}

#[test]
fn the_space_of_facts_is_whole() {
    assert_eq!(space().len(), 3 * 12 * 3 * 4 * 2 * 2 * 2 * 2 * 2);
}

#[test]
fn the_policy_is_the_table_in_the_documentation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("docs/policy.md has its begin marker");
    let (golden, after) = rest.split_once(END).expect("docs/policy.md has its end marker");

    let table = table();

    if std::env::var_os("KASACAM_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(golden, table, "the policy has changed: judge it, then run with KASACAM_BLESS=1");
    }
}
