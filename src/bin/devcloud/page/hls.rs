//! A playlist of HLS (RFC 8216), made only from keys: without an index, and of an object only the length of its `moov` is
//! needed. Pure.

use kasacam::domain::time::Utc;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// Two segments are continuous if they are at most this far apart.
const MAX_SEAM: Duration = Duration::from_millis(150);
/// The shortest target duration.
const MIN_TARGET: Duration = Duration::from_secs(1);

/// The parts of a key: `…/YYYY-MM-DD/HH/MM-SS.ffffffZ.{n}.mp4`, or `.mp4_end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub key: String,
    pub at: Utc,
    pub n: u64,
    pub is_end: bool,
}

impl Named {
    pub(crate) fn parse(key: &str) -> Option<Named> {
        let mut parts = key.rsplitn(4, '/');
        let (file, hour, date) = (parts.next()?, parts.next()?, parts.next()?);
        let mut file = file.split('.');
        let (clock, fraction, n) = (file.next()?, file.next()?, file.next()?.parse().ok()?);
        let is_end = match (file.next()?, file.next()) {
            ("mp4", None) => false,
            ("mp4_end", None) => true,
            _ => return None,
        };
        let at = Utc::parse(&format!("{date}T{hour}:{}.{fraction}", clock.replace('-', ":")))?;
        Some(Named { key: key.to_owned(), at, n, is_end })
    }
}

/// A segment whose end is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    named: Named,
    end: Utc,
}

/// The playlist of these keys. `address` gives the address of an object, `moov` the length of its `ftyp` and `moov`.
///
/// A segment ends where the next key of its span begins; the last one of a span that goes on is left out. The time between
/// two spans is an `EXT-X-GAP`.
pub(crate) fn playlist(
    keys: &[Named],
    address: impl Fn(&str) -> String,
    moov: impl Fn(&str) -> Option<u64>,
) -> String {
    let mut keys = keys.to_vec();
    keys.sort_by(|a, b| (a.at, !a.is_end, &a.key).cmp(&(b.at, !b.is_end, &b.key)));
    let listed = listed(&keys);
    let target = listed.iter().map(|l| l.end.since(l.named.at)).max().unwrap_or_default().max(MIN_TARGET);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n",
        target.as_millis().div_ceil(1000)
    );
    let mut before: Option<&Listed> = None;
    for segment in &listed {
        let follows = before.is_some_and(|b| b.named.n + 1 == segment.named.n);
        if let Some(gap) = before.map(|b| segment.named.at.since(b.end)).filter(|gap| *gap > MAX_SEAM) {
            gaps(&mut text, before.map_or(segment.named.at, |b| b.end), gap, target);
        }
        // The media times of each segment begin at zero.
        if before.is_some() {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if !follows {
            if let Some(length) = moov(&segment.named.key) {
                let uri = address(&segment.named.key);
                let _never_fails = writeln!(text, "#EXT-X-MAP:URI=\"{uri}\",BYTERANGE=\"{length}@0\"");
            }
        }
        let seconds = segment.end.since(segment.named.at).as_secs_f64();
        let (at, uri) = (segment.named.at, address(&segment.named.key));
        let _never_fails = write!(text, "#EXT-X-PROGRAM-DATE-TIME:{at}\n#EXTINF:{seconds:.6},\n{uri}\n");
        before = Some(segment);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// The playlist that describes the one at `uri`, so that a player knows the codecs before it fetches a segment (RFC 8216,
/// 4.3.4.2). `kinds` are media types with their codecs, `bandwidth` is the peak in bits per second.
pub(crate) fn variants<'a>(uri: &str, kinds: impl Iterator<Item = &'a str>, bandwidth: u64) -> String {
    let named = kinds.filter_map(|kind| kind.split('"').nth(1));
    let codecs: BTreeSet<&str> = named.flat_map(|codecs| codecs.split(',')).collect();
    let codecs: Vec<&str> = codecs.into_iter().collect();
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-STREAM-INF:BANDWIDTH={bandwidth},CODECS=\"{}\"\n{uri}\n",
        codecs.join(",")
    )
}

/// Each segment with the start of its successor in the span: the next key whose counter is one higher and that is not the
/// successor of another one. The span of a new plan may begin before the end of the last span is stored.
fn listed(keys: &[Named]) -> Vec<Listed> {
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (i, named) in keys.iter().enumerate().filter(|(_, named)| !named.is_end) {
        let mut behind = keys.iter().enumerate().skip(i + 1);
        if let Some((k, next)) = behind.find(|(k, next)| next.n == named.n + 1 && !taken.contains(k)) {
            taken.insert(k);
            found.push(Listed { named: named.clone(), end: next.at });
        }
    }
    found
}

/// The time between two spans, in parts that are not longer than a segment.
fn gaps(text: &mut String, from: Utc, gap: Duration, target: Duration) {
    let mut done = Duration::ZERO;
    text.push_str("#EXT-X-DISCONTINUITY\n");
    while done < gap {
        let piece = (gap - done).min(target);
        let (at, seconds) = (from + done, piece.as_secs_f64());
        let _never_fails = write!(
            text,
            "#EXT-X-GAP\n#EXT-X-PROGRAM-DATE-TIME:{at}\n#EXTINF:{seconds:.6},\n/media/gap.mp4\n"
        );
        done += piece;
    }
}
