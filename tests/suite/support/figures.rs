//! What a test counted, for readers who want more than "ok": printed, and with `KASACAM_FIGURES` appended to
//! that file, which `scripts/test.sh` shows at its end. Also the minimum counts below which a test shows
//! nothing.

use std::io::Write;

/// Reports a figure.
pub fn figure(text: &str) {
    println!("{text}");
    keep("KASACAM_FIGURES", text);
}

/// Fails a test that has checked fewer than `least`: a run that checked nothing must not pass.
pub fn at_least(least: u64, what: &str, count: u64) {
    assert!(
        count >= least,
        "only {count} {what}, at least {least} are needed: this run has shown nothing. Repeat it on a less busy machine, \
         or with larger counts (tests/README.md)"
    );
}

/// Says that a test cannot run here; `scripts/test.sh` counts it as skipped. Without that script the test
/// fails instead, because nobody would read the message.
pub fn skip(test: &str, why: &str) {
    println!("skipped: {test}: {why}");
    assert!(
        keep("KASACAM_SKIPPED", &format!("{test}: {why}")),
        "{test} cannot run here: {why}. `make test` counts it as skipped"
    );
}

/// Appends a line to the file that the environment names; returns whether it names one.
fn keep(variable: &str, text: &str) -> bool {
    let Some(path) = std::env::var_os(variable) else { return false };
    let line = format!("{text}\n");
    let kept = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()));
    assert!(kept.is_ok(), "{path:?}: {kept:?}");
    true
}
