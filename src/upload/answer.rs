//! What is kept of an answer of the store: only what the proof and the back-off need.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, DATE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use std::time::Duration;

/// The store's own checksum of the bytes that it holds (S3 `PutObject`, `HeadObject`).
const CHECKSUM: &str = "x-amz-checksum-sha256";
/// The checksum that the camera sends as metadata, for stores that keep none of their own.
const METADATA_CHECKSUM: &str = "x-amz-meta-sha256";

/// One answer, read and released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status of the store (RFC 9110, 15).
    pub status: StatusCode,
    /// SHA-256, as computed by the store.
    pub checksum: Option<[u8; 32]>,
    /// MD5, as computed by the store: `Content-MD5` (RFC 1864), or the part `md5=` of `x-goog-hash`.
    pub md5: Option<[u8; 16]>,
    /// SHA-256 from the metadata that was sent with the object.
    pub metadata: Option<[u8; 32]>,
    /// `Content-Length`: after a HEAD, the size of the object in bytes.
    pub size: Option<u64>,
    /// From the header `Retry-After` (RFC 9110, 10.2.3).
    pub retry_after: Option<Duration>,
    /// `Date`, in seconds since 1970: the store's clock.
    pub date: Option<i64>,
    /// The S3 error code, `[A-Za-z0-9]{1,64}`.
    pub code: Option<String>,
}

impl Answer {
    /// Reads the fields that the answer has; a missing or invalid one is not an error.
    #[must_use]
    pub fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
        Answer {
            status,
            checksum: text(headers, CHECKSUM).and_then(from_base64),
            md5: md5(headers),
            metadata: text(headers, METADATA_CHECKSUM).and_then(from_hex),
            size: text(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok()),
            retry_after: retry_after(headers),
            date: text(headers, DATE.as_str()).and_then(http_date),
            code: error_code(body),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The parts of `x-goog-hash` may be in one header or in several.
fn md5(headers: &HeaderMap) -> Option<[u8; 16]> {
    let of_google = headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    let of_google =
        of_google.flat_map(|value| value.split(',')).find_map(|part| part.trim().strip_prefix("md5="));
    let sum = of_google.or_else(|| text(headers, "content-md5"))?;
    STANDARD.decode(sum).ok()?.try_into().ok()
}

/// The checksum of a multipart upload ends in `-N` and covers checksums, not bytes: it is ignored.
fn from_base64(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0_u8, |byte, digit| (byte << 4) | digit))
        .collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}

/// Lower-case hexadecimal, the form of the metadata `sha256`.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `Retry-After` (RFC 9110, 10.2.3) in either form. A date is counted from the answer's own `Date`, so that a
/// camera whose clock is wrong does not wait longer than requested.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER.as_str())?;
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // A number too large for 64 bits is still a number.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = http_date(value)?;
    let now = http_date(text(headers, DATE.as_str())?)?;
    Some(Duration::from_secs(u64::try_from(then.saturating_sub(now)).unwrap_or(0)))
}

/// Seconds since 1970 of an IMF-fixdate (RFC 9110, 5.6.7), such as `Sun, 06 Nov 1994 08:49:37 GMT`.
/// The two obsolete forms, which no server may send, are not read.
pub(super) fn http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day = words.next()?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|m| *m == name)? + 1;
    let year = words.next()?;
    let time = words.next()?;
    if words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    let rfc3339 = format!("{year}-{month:02}-{day}T{time}Z");
    crate::domain::time::Utc::parse(&rfc3339).map(|utc| utc.0.div_euclid(1_000_000_000))
}

/// The `Code` of an S3 error document. The rest of the body is ignored: it may quote the request.
fn error_code(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Error>")?;
    let (_, rest) = rest.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let good = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    good.then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn wait(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        Answer::read(StatusCode::SERVICE_UNAVAILABLE, &headers(pairs), b"").retry_after
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(
            wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT")]),
            Some(Duration::from_secs(90))
        );
        assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "99999999999999999999")]), Some(Duration::from_secs(u64::MAX)));
        for nonsense in
            ["", "-1", "1.5", "soon", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET"]
        {
            assert_eq!(wait(&[date, ("retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT")]), None, "no Date to count from");
    }

    #[test]
    fn only_the_code_of_an_error_document_is_kept() {
        let code = |body: &str| Answer::read(StatusCode::FORBIDDEN, &HeaderMap::new(), body.as_bytes()).code;
        assert_eq!(
            code("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>x</Message></Error>"),
            Some("AccessDenied".into())
        );
        assert_eq!(code("<Code>AccessDenied</Code>"), None);
        assert_eq!(code("<Error><Code>Access Denied</Code></Error>"), None);
        assert_eq!(code("<Error><Code></Code></Error>"), None);
        assert_eq!(code(&format!("<Error><Code>{}</Code></Error>", "A".repeat(65))), None);
        assert_eq!(code("<Error><Code>Access"), None);
    }

    #[test]
    fn checksums_are_read_only_where_they_are_whole() {
        let sum = [0xa5_u8; 32];
        let read = |name, value: &str| Answer::read(StatusCode::OK, &headers(&[(name, value)]), b"");
        assert_eq!(read(CHECKSUM, &STANDARD.encode(sum)).checksum, Some(sum));
        assert_eq!(read(CHECKSUM, &format!("{}-2", STANDARD.encode(sum))).checksum, None);
        assert_eq!(read(CHECKSUM, &STANDARD.encode([1; 31])).checksum, None);
        assert_eq!(read(METADATA_CHECKSUM, &to_hex(&sum)).metadata, Some(sum));
        assert_eq!(read(METADATA_CHECKSUM, &to_hex(&sum).to_uppercase()).metadata, Some(sum));
        let md5 = STANDARD.encode([7; 16]);
        assert_eq!(read("content-md5", &md5).md5, Some([7; 16]));
        assert_eq!(read("x-goog-hash", &format!("crc32c=AAAAAA==,md5={md5}")).md5, Some([7; 16]));
        assert_eq!(read("x-goog-hash", "crc32c=AAAAAA==").md5, None);
        assert_eq!(read("content-md5", &STANDARD.encode(sum)).md5, None);
        for bad in [&to_hex(&sum)[1..], "", "zz", &format!("{}00", to_hex(&sum))] {
            assert_eq!(read(METADATA_CHECKSUM, bad).metadata, None, "{bad}");
        }
    }
}
