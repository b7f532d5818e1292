//! The URLs of a configuration: broker, store, bucket, EST server, RTSP camera.

use std::net::IpAddr;

/// A host and, if given, a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Whether the host is this machine, without a look-up.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

/// `mqtts://host[:port]`. The errors never quote the URL: it may contain a password.
pub(super) fn broker(url: &str) -> Result<Authority, (&'static str, &'static str)> {
    let example = "write it like \"mqtts://broker.example:8883\"";
    match url.split_once("://") {
        Some(("mqtts", rest)) => authority(rest).map_err(|problem| (problem, example)),
        Some(("mqtt" | "tcp" | "ws" | "http", _)) => {
            Err(("is not encrypted: the agent connects to its broker over TLS only", example))
        }
        Some(_) => Err(("must begin with mqtts://", example)),
        None => Err(("has no scheme", example)),
    }
}

/// Whether an endpoint has `https://`, and its host and port. The caller decides about `http://`.
pub(super) fn endpoint(url: &str) -> Result<(bool, Authority), (&'static str, &'static str)> {
    let example = "write it like \"https://storage.example\"";
    match url.split_once("://") {
        Some(("https", rest)) => Ok((true, authority(rest).map_err(|problem| (problem, example))?)),
        Some(("http", rest)) => Ok((false, authority(rest).map_err(|problem| (problem, example))?)),
        Some(_) => Err(("must begin with https://", example)),
        None => Err(("has no scheme", example)),
    }
}

/// `https://host[:port]/path`: the server, and the path without its closing slash.
pub(super) fn est(url: &str) -> Result<(Authority, String), (&'static str, &'static str)> {
    let example = "write it like \"https://est.example/.well-known/est\"";
    let rest = url.strip_prefix("https://").ok_or(("must begin with https://", example))?;
    let (host, path) = rest.split_once('/').ok_or(("has no path", example))?;
    let path = path.trim_end_matches('/');
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if path.is_empty() || path.len() > 256 || !path.chars().all(safe) {
        return Err(("must have a path of A-Z a-z 0-9 - _ . /", example));
    }
    Ok((authority(host).map_err(|problem| (problem, example))?, format!("/{path}")))
}

/// `https://host[:port]/role-aliases/ALIAS/credentials`: the server, and the path.
pub(super) fn key_provider(url: &str) -> Result<(Authority, String), (&'static str, &'static str)> {
    let example =
        "write it like \"https://ID.credentials.iot.eu-west-1.amazonaws.com/role-aliases/ALIAS/credentials\"";
    let (authority, path) = est(url).map_err(|(problem, _)| (problem, example))?;
    Ok((authority, path))
}

/// `s3://bucket/prefix/`: the bucket, and the prefix, empty or with its closing slash.
pub(super) fn bucket(url: &str) -> Result<(String, String), &'static str> {
    let rest = url.strip_prefix("s3://").ok_or("must begin with s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !(3..=63).contains(&bucket.len())
        || !bucket.chars().all(good)
        || !bucket.starts_with(edge)
        || !bucket.ends_with(edge)
        || bucket.contains("..")
    {
        return Err("does not name a valid bucket (3 to 63 of a-z 0-9 - .)");
    }
    if prefix.is_empty() {
        return Ok((bucket.to_owned(), String::new()));
    }
    let Some(folders) = prefix.strip_suffix('/') else {
        return Err("has a prefix that does not end with /");
    };
    if !are_folders(folders) {
        return Err("has a prefix with an empty folder, or with characters other than A-Z a-z 0-9 - _ . !");
    }
    Ok((bucket.to_owned(), prefix.to_owned()))
}

/// Whether the text is one or more folders of an object key, without a slash at either end, of 255 characters at most.
pub(super) fn are_folders(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '!');
    let folder = |f: &str| !f.is_empty() && f != "." && f != ".." && f.chars().all(safe);
    text.len() <= 255 && text.split('/').all(folder)
}

/// `rtsp://…` or `rtsps://…` with a host.
pub(super) fn rtsp(url: &str) -> Result<(), (&'static str, &'static str)> {
    const LIKE: &str = "write it like \"rtsp://192.0.2.7/stream1\"";
    let rest = match url.split_once("://") {
        Some(("rtsp" | "rtsps", rest)) => rest,
        Some(_) | None => return Err(("must begin with rtsp:// or rtsps://", LIKE)),
    };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    // A password may hold a slash.
    if rest.split('?').next().is_some_and(|before| before.contains('@')) {
        let hint = "all users can read this file: put user:password into a file of mode 600 or a credential of systemd, \
                    and name that as credentials = \"…\" beside the url";
        return Err(("contains a user or a password", hint));
    }
    authority(host).map(|_| ()).map_err(|problem| (problem, LIKE))
}

fn authority(text: &str) -> Result<Authority, &'static str> {
    if text.contains('@') {
        return Err("must contain no user name or password");
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains(['/', '?', '#']) {
        return Err("must contain only a host and a port, no path");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, after) = rest.split_once(']').ok_or("has an unclosed [")?;
            ip.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address between [ and ]")?;
            (ip, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or("has a bad port")?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |l: &str| {
        (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !host.contains(':') && (host.len() > 253 || !host.split('.').all(label)) {
        return Err("does not name a valid host");
    }
    let port = match port {
        Some(port) => {
            Some(port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is not 1 to 65535")?)
        }
        None => None,
    };
    Ok(Authority { host: host.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_over_tls() {
        let good = broker("mqtts://Broker.example:8884").unwrap();
        assert_eq!(good, Authority { host: "broker.example".into(), port: Some(8884) });
        assert_eq!(broker("mqtts://[::1]:8883").unwrap().host, "::1");
        for bad in [
            "mqtt://broker.example",
            "broker.example:8883",
            "mqtts://user:secret@broker.example",
            "mqtts://broker.example/topic",
            "mqtts://",
            "mqtts://broker.example:0",
            "mqtts://broker.example:65536",
            "mqtts://two words",
            "mqtts://[::1",
        ] {
            let (problem, _) = broker(bad).unwrap_err();
            assert!(!problem.contains("secret"), "{bad}");
        }
    }

    #[test]
    fn an_est_server_is_a_host_and_a_path_over_tls() {
        let (host, path) = est("https://est.example/.well-known/est/cameras/").unwrap();
        assert_eq!((host.host.as_str(), host.port), ("est.example", None));
        assert_eq!(path, "/.well-known/est/cameras");
        for bad in [
            "http://est.example/.well-known/est",
            "https://est.example",
            "https://est.example/",
            "https://u@e/p",
        ] {
            assert!(est(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bucket_has_a_name_and_a_closed_prefix() {
        assert_eq!(bucket("s3://kasa-care/v1/"), Ok(("kasa-care".into(), "v1/".into())));
        assert_eq!(bucket("s3://kasa-care"), Ok(("kasa-care".into(), String::new())));
        assert_eq!(bucket("s3://kasa-care/"), Ok(("kasa-care".into(), String::new())));
        for bad in [
            "kasa-care/v1/",
            "s3://K/",
            "s3://kasa-care/v1",
            "s3://kasa-care/../",
            "s3://kasa-care//",
            "s3://a/",
        ] {
            assert!(bucket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, loopback) in [
            ("http://127.0.0.1:9000", true),
            ("http://[::1]:9000", true),
            ("http://localhost", true),
            ("http://127.0.0.1.example", false),
            ("http://10.0.2.2", false),
        ] {
            assert_eq!(endpoint(url).unwrap().1.is_loopback(), loopback, "{url}");
        }
    }
}
