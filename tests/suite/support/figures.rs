//! What a test counted, for whoever wants more than "ok": printed, and with `KASACAM_FIGURES` kept in that file, which
//! `scripts/test.sh` shows at its end.

use std::io::Write;

pub fn figure(text: &str) {
    println!("{text}");
    let Some(path) = std::env::var_os("KASACAM_FIGURES") else { return };
    let line = format!("{text}\n");
    let kept = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    assert!(kept.is_ok(), "{path:?}: {kept:?}");
}
