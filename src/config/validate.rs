//! From settings to a [`Config`]: checks that need more than one value.

mod board;
mod check;
mod device;
mod mqtt;
mod upload;

pub use device::IDENTITY_FILE;

use super::board::Board;
use super::material::{self, Examined};
use super::privacy::Privacy;
use super::problem::{Place, Problems};
use super::sections::{Clock, Device, Enrolment, Entitlement, Places, Recording, Spool};
use super::settings::Merged;
use super::surroundings::Surroundings;
use super::units::show_duration;
use super::validated::Config;
use check::Check;
use std::path::Path;

/// The configuration. `None` if a required value is missing or invalid; then `problems` has the reason.
pub(super) fn validate(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Config> {
    let mut check = Check { merged, around, problems };
    let device = check.device();
    let identity = check.identity();
    let (mqtt, entitlement, recording) = (check.mqtt(), check.entitlement(), check.recording());
    let spool = check.spool();
    let upload = check.upload(device.as_ref(), mqtt.as_ref());
    let board = check.board();
    let trust = check.merged.word("clock.trust")?.0;
    let pending = check.merged.word("privacy.pending")?.0;
    let unheard_hold = match check.merged.text("privacy.unheard_hold") {
        // The only text here is "forever".
        Some(_) => None,
        None => Some(check.merged.duration("privacy.unheard_hold")?.0),
    };
    let indicator = check.path("privacy.indicator").map(|(path, _)| path);
    let keys = match (check.merged.paths("privacy.keys"), &entitlement) {
        ([], Some(entitlement)) => entitlement.keys.clone(),
        (_, _) => check.signers("privacy.keys"),
    };
    let latch = check.latch();
    Some(Config {
        device: device?,
        identity,
        mqtt: mqtt?,
        entitlement: entitlement?,
        clock: Clock { trust },
        recording: recording?,
        spool: spool?,
        upload: upload?,
        privacy: Privacy { keys, pending, unheard_hold, indicator, latch },
        board: board?,
    })
}

/// The sections that an enrolment needs.
pub(super) fn enrolment(
    merged: &Merged,
    around: &Surroundings,
    file: &Path,
    problems: &mut Problems,
) -> Option<(Device, Enrolment)> {
    let mut check = Check { merged, around, problems };
    let (device, identity) = (check.device(), check.identity());
    if identity.is_none() && problems.is_empty() {
        let hint = "such as est = \"https://est.example/.well-known/est\"";
        problems.push(&Place::file(file), "identity", "there is no section [identity]", hint);
    }
    Some((device?, identity?))
}

/// The places of a household's data.
pub(super) fn places(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Places> {
    let device = Check { merged, around, problems }.device()?;
    let path = |key: &str| merged.text(key).and_then(|(text, at)| around.resolve(text, at).ok());
    let of_a_unit = |key: &str| merged.text(key).map(|(text, _)| text).filter(|_| path(key).is_none());
    let handed_over = ["mqtt.key", "spool.key", "upload.credentials.file"].into_iter().filter_map(of_a_unit);
    Some(Places {
        device,
        board: path("device.board"),
        device_key: path("mqtt.key"),
        spool_key: path("spool.key"),
        credentials: path("upload.credentials.file"),
        handed_over: handed_over.map(str::to_owned).collect(),
    })
}

/// The board alone.
pub(super) fn board(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Board> {
    Check { merged, around, problems }.board()
}

impl<'a> Check<'a> {
    fn entitlement(&mut self) -> Option<Entitlement> {
        let keys = self.signers("entitlement.keys");
        Some(Entitlement { keys, offline_grace: self.merged.duration("entitlement.offline_grace")?.0 })
    }

    fn recording(&mut self) -> Option<Recording> {
        let segment = self.merged.duration("recording.segment");
        let fragment = self.merged.duration("recording.fragment");
        let chunk = self.merged.duration("recording.chunk");
        for (part, part_key, whole, whole_key) in [
            (fragment, "recording.fragment", segment, "recording.segment"),
            (chunk, "recording.chunk", fragment, "recording.fragment"),
        ] {
            if let (Some((part, part_at)), Some((whole, whole_at))) = (part, whole) {
                // Reported at the key in the file, not at a default.
                let (at, key) =
                    if part_at.line >= whole_at.line { (part_at, part_key) } else { (whole_at, whole_key) };
                if part > whole {
                    let problem = format!(
                        "{part_key} ({}) is longer than {whole_key} ({})",
                        show_duration(part),
                        show_duration(whole)
                    );
                    self.problems.push(
                        at,
                        key,
                        problem,
                        "a segment contains fragments, a fragment contains chunks",
                    );
                }
            }
        }
        let durability = self.merged.word("recording.durability")?.0;
        let audio = self.merged.flag("recording.audio")?.0;
        Some(Recording { segment: segment?.0, fragment: fragment?.0, chunk: chunk?.0, durability, audio })
    }

    fn spool(&mut self) -> Option<Spool> {
        let when_full = self.merged.word("spool.when_full")?.0;
        let (encrypt, encrypt_at) = self.merged.flag("spool.encrypt")?;
        let key = self.path("spool.key").map(|(path, at)| {
            material::spool_key(&Examined { at, key: "spool.key", path: &path }, self.around, self.problems)
        });
        if encrypt && self.merged.text("spool.key").is_none() && !self.merged.is_bad("spool.key") {
            let hint = "such as \"/etc/kasacam/spool.key\"; head -c 32 /dev/urandom writes one";
            self.problems.push(encrypt_at, "spool.key", "is missing: spool.encrypt needs a key", hint);
        }
        Some(Spool {
            max_bytes: self.merged.number("spool.max_bytes")?.0,
            min_free: self.merged.number("spool.min_free")?.0,
            max_files: self.merged.number("spool.max_files")?.0,
            hold: self.merged.duration("spool.hold")?.0,
            when_full,
            encrypt,
            key: key.flatten(),
        })
    }
}
