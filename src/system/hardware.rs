//! What else a board has: its name, its memory, its microphones, its clock. Read from /proc and /sys; nothing is opened
//! that could film or listen.

use std::fs;

/// Microphones that are listed.
const MAX_MICROPHONES: usize = 16;

/// A capture device of ALSA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Microphone {
    /// For `audio.source.device`, such as `hw:CARD=C920,DEV=0`: the name of a card lasts, its number may not.
    pub device: String,
    /// As its driver calls it.
    pub name: String,
}

/// What the board calls itself, by its device tree or its firmware.
#[must_use]
pub fn model() -> Option<String> {
    ["/proc/device-tree/model", "/sys/class/dmi/id/product_name"].iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(64).collect();
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    })
}

/// Bytes of memory: all, and available.
#[must_use]
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((of("MemTotal:")?, of("MemAvailable:")?))
}

/// The first clock that goes on without power, by its driver's name.
#[must_use]
pub fn battery_clock() -> Option<String> {
    let clocks = fs::read_dir("/sys/class/rtc").ok()?;
    let first = clocks.flatten().map(|entry| entry.path()).min()?;
    let name = fs::read_to_string(first.join("name")).unwrap_or_default();
    Some(name.chars().filter(|c| !c.is_control()).take(64).collect())
}

/// The microphones of this board.
#[must_use]
pub fn microphones() -> Vec<Microphone> {
    let text = fs::read_to_string("/proc/asound/pcm").unwrap_or_default();
    captures(&text, |card| {
        let id = fs::read_to_string(format!("/proc/asound/card{card}/id")).ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    })
}

/// Lines such as `01-00: USB Audio : USB Audio : capture 1`.
fn captures(text: &str, id_of: impl Fn(u32) -> Option<String>) -> Vec<Microphone> {
    let one = |line: &str| {
        let mut parts = line.split(':').map(str::trim);
        let (card, device) = parts.next()?.split_once('-')?;
        let (card, device): (u32, u32) = (card.parse().ok()?, device.parse().ok()?);
        let name: String = parts.next()?.chars().filter(|c| !c.is_control()).take(64).collect();
        parts.any(|part| part.starts_with("capture")).then(|| {
            let card = id_of(card).map_or_else(|| card.to_string(), |id| format!("CARD={id}"));
            let number = if card.starts_with("CARD=") { format!("DEV={device}") } else { device.to_string() };
            Microphone { device: format!("hw:{card},{number}"), name }
        })
    };
    text.lines().filter_map(one).take(MAX_MICROPHONES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microphones_are_the_devices_that_capture() {
        let text = "00-00: bcm2835 HDMI 1 : bcm2835 HDMI 1 : playback 8\n\
                    01-00: USB Audio : USB Audio : playback 1 : capture 1\n\
                    02-03: AK4954 : dai : capture 1\nbroken\n";
        let found = captures(text, |card| (card == 1).then(|| String::from("C920")));
        let found: Vec<&str> = found.iter().map(|it| it.device.as_str()).collect();
        assert_eq!(found, ["hw:CARD=C920,DEV=0", "hw:2,3"]);
    }
}
