//! Laws of the domain that hold for all facts: here those of the policy, of privacy and of the spool's budget.

mod attempts;
mod leases;
mod times;

use crate::support::dice::parameter;
use kasacam::domain::codec::Codec;
use kasacam::domain::entitlement::{Entitlement, Features};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::policy::{
    Capture, Hearing, Pending, PolicyFacts, PrivacyPending, Reason, Rules, TrustedClock, Upload, WhenFull,
    decide, permit,
};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled, strictest};
use kasacam::domain::storage::{Budget, StorageState, Usage};
use kasacam::domain::time::Utc;
use proptest::prelude::*;

fn privacy() -> impl Strategy<Value = Privacy> {
    prop_oneof![Just(Privacy::Record), Just(Privacy::DoNotRecord), Just(Privacy::Unknown)]
}

fn features() -> impl Strategy<Value = Features> {
    (any::<bool>(), any::<bool>(), 1u32..4320, 0u32..87_600, any::<bool>()).prop_map(
        |(record, audio, max_height, history_hours, h265)| Features {
            record,
            audio,
            max_height,
            history_hours,
            h265,
        },
    )
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    prop_oneof![
        3 => features().prop_map(Entitlement::Granted),
        1 => Just(Entitlement::Suspended),
        1 => Just(Entitlement::Terminated),
        1 => Just(Entitlement::Lapsed),
        1 => Just(Entitlement::Unknown),
    ]
}

fn storage() -> impl Strategy<Value = StorageState> {
    prop_oneof![
        Just(StorageState::Roomy),
        Just(StorageState::Tight),
        Just(StorageState::Full),
        Just(StorageState::Broken)
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let full = prop_oneof![Just(WhenFull::Evict), Just(WhenFull::Stop)];
    let pending =
        prop_oneof![Just(PrivacyPending::Upload), Just(PrivacyPending::Hold), Just(PrivacyPending::Purge)];
    let codec = prop_oneof![Just(Codec::H264), Just(Codec::H265)];
    (any::<bool>(), full, pending, codec).prop_map(|(audio, when_full, pending, codec)| Rules {
        audio,
        when_full,
        pending,
        codec,
    })
}

fn facts() -> impl Strategy<Value = PolicyFacts> {
    let clock = prop_oneof![Just(TrustedClock::Trusted), Just(TrustedClock::Untrusted)];
    let hearing = prop_oneof![Just(Hearing::Heard), Just(Hearing::Unheard)];
    (privacy(), entitlement(), clock, storage(), hearing, rules()).prop_map(
        |(privacy, entitlement, clock, storage, hearing, rules)| PolicyFacts {
            privacy,
            entitlement,
            clock,
            storage,
            hearing,
            rules,
        },
    )
}

/// `PROPTEST_CASES` for each law, by default 2,000; drawn again in each run.
fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(u32::try_from(parameter("PROPTEST_CASES", 2_000)).unwrap_or(u32::MAX))
}

fn captures(facts: &PolicyFacts) -> bool {
    matches!(decide(facts).capture(), Capture::On { .. })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_but_consent_a_grant_and_sound_storage_turns_capture_on(facts in facts()) {
        let may = facts.privacy == Privacy::Record
            && matches!(facts.entitlement, Entitlement::Granted(features)
                if features.record && (features.h265 || facts.rules.codec == Codec::H264))
            && match facts.storage {
                StorageState::Roomy | StorageState::Tight => true,
                StorageState::Full => facts.rules.when_full == WhenFull::Evict,
                StorageState::Broken => false,
            };
        prop_assert_eq!(captures(&facts), may);
    }

    #[test]
    fn unknown_privacy_is_private_but_purges_nothing(facts in facts()) {
        let unknown = PolicyFacts { privacy: Privacy::Unknown, ..facts };
        prop_assert!(!captures(&unknown));
        let record = PolicyFacts { privacy: Privacy::Record, ..facts };
        prop_assert_eq!(decide(&unknown).pending, decide(&record).pending);
        prop_assert_eq!(decide(&unknown).upload, decide(&record).upload);
    }

    #[test]
    fn the_clock_alters_nothing(facts in facts()) {
        let trusted = decide(&PolicyFacts { clock: TrustedClock::Trusted, ..facts });
        let untrusted = decide(&PolicyFacts { clock: TrustedClock::Untrusted, ..facts });
        prop_assert_eq!(trusted, untrusted);
    }

    #[test]
    fn what_was_not_heard_keeps_footage_back_and_alters_nothing_else(facts in facts()) {
        let heard = decide(&PolicyFacts { hearing: Hearing::Heard, ..facts });
        let unheard = decide(&PolicyFacts { hearing: Hearing::Unheard, ..facts });
        prop_assert_eq!(heard.capture(), unheard.capture());
        prop_assert_eq!(heard.pending, unheard.pending);
        prop_assert!(heard.upload != Upload::Heard && unheard.upload != Upload::On);
        prop_assert_eq!(heard.upload == Upload::On, unheard.upload == Upload::Heard);
    }

    #[test]
    fn privacy_never_changes_upload_where_pending_goes_up(facts in facts()) {
        let rules = Rules { pending: PrivacyPending::Upload, ..facts.rules };
        let on = decide(&PolicyFacts { privacy: Privacy::Record, rules, ..facts });
        let off = decide(&PolicyFacts { privacy: Privacy::DoNotRecord, rules, ..facts });
        prop_assert_eq!(on.upload, off.upload);
        prop_assert_eq!(on.pending, off.pending);
    }

    #[test]
    fn held_or_purged_footage_is_not_uploaded(facts in facts()) {
        let decision = decide(&facts);
        if matches!(decision.pending, Pending::Hold | Pending::Purge) {
            prop_assert!(matches!(decision.upload, Upload::Off(_)));
        }
    }

    #[test]
    fn a_permit_exists_exactly_where_capture_is_on(facts in facts(), epoch in any::<u64>()) {
        let decision = decide(&facts);
        let permit = permit(&decision, Epoch(epoch));
        prop_assert_eq!(permit.is_some(), captures(&facts));
        prop_assert_eq!(permit.map(|permit| permit.epoch()), captures(&facts).then_some(Epoch(epoch)));
    }

    #[test]
    fn sound_needs_both_the_plan_and_the_configuration(facts in facts()) {
        if let Capture::On { audio, max_height } = decide(&facts).capture() {
            let Entitlement::Granted(features) = facts.entitlement else {
                panic!("capture without a grant");
            };
            prop_assert_eq!(audio, features.audio && facts.rules.audio);
            prop_assert_eq!(max_height, features.max_height);
        }
    }

    #[test]
    fn the_owners_wish_is_the_reason_that_is_told(facts in facts()) {
        let private = PolicyFacts { privacy: Privacy::DoNotRecord, ..facts };
        prop_assert_eq!(decide(&private).capture(), Capture::Off(Reason::DoNotRecord));
    }
}

fn utc(text: &str) -> Utc {
    Utc::parse(text).unwrap()
}

#[test]
fn privacy_is_the_strictest_of_all_that_is_known() {
    let choice = |do_not_record| {
        Recalled::Is(PrivacyChoice { version: 1, issued_at: utc("2026-11-23T12:00:00Z"), do_not_record })
    };
    let latches = [Recalled::Is(true), Recalled::Is(false), Recalled::Missing, Recalled::Unreadable];
    let expected = [
        (choice(false), [Privacy::DoNotRecord, Privacy::Record, Privacy::Record, Privacy::Unknown]),
        (choice(true), [Privacy::DoNotRecord; 4]),
        (Recalled::Missing, [Privacy::DoNotRecord, Privacy::Unknown, Privacy::Unknown, Privacy::Unknown]),
        (Recalled::Unreadable, [Privacy::DoNotRecord, Privacy::Unknown, Privacy::Unknown, Privacy::Unknown]),
    ];
    for (choice, results) in expected {
        for (latch, result) in latches.iter().zip(results) {
            assert_eq!(strictest(&choice, latch), result, "{choice:?} {latch:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_spool_grows_worse_as_it_fills(max in 1u64..1 << 40, used in 0u64..1 << 41, more in 0u64..1 << 40, free in 0u64..1 << 40) {
        let budget = Budget { max_bytes: max, min_free: 1 << 20, max_files: 1000 };
        let rank = |bytes| match budget.judge(Usage { bytes, files: 1, free: Some(free), ..Usage::default() }) {
            StorageState::Roomy => 0,
            StorageState::Tight => 1,
            StorageState::Full => 2,
            StorageState::Broken => 3,
        };
        prop_assert!(rank(used) <= rank(used.saturating_add(more)));
        prop_assert_eq!(rank(max), 2);
        prop_assert!(rank(used) < 3);
    }
}

#[test]
fn each_budget_alone_makes_a_spool_full() {
    let budget = Budget { max_bytes: 1000, min_free: 100, max_files: 10 };
    let judge =
        |bytes, files, free| budget.judge(Usage { bytes, files, free: Some(free), ..Usage::default() });
    assert_eq!(judge(0, 0, 1000), StorageState::Roomy);
    assert_eq!(judge(899, 8, 111), StorageState::Roomy);
    assert_eq!(judge(900, 0, 1000), StorageState::Tight);
    assert_eq!(judge(0, 9, 1000), StorageState::Tight);
    assert_eq!(judge(0, 0, 110), StorageState::Tight);
    assert_eq!(judge(1000, 0, 1000), StorageState::Full);
    assert_eq!(judge(0, 10, 1000), StorageState::Full);
    assert_eq!(judge(0, 0, 100), StorageState::Full);
}
