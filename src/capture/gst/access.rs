//! Access to an RTSP camera: TLS, user and password. A wrong password is sent once and not again.

use super::faults::fault;
use crate::capture::refusals::{Going, Refusals, Requests, Shown};
use crate::config::{RtspAccess, RtspLogin, RtspTrust, Surroundings};
use crate::domain::input::{Fault, FaultKind};
use crate::system::clock::mono;
use gio::prelude::*;
use gst::prelude::*;
use std::ffi::{CStr, c_char, c_int};
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Access to one camera, for one run.
pub(super) struct Access {
    /// The name of the camera: without user, password, path and query.
    camera: String,
    url: String,
    credentials: Option<PathBuf>,
    login: Option<RtspLogin>,
    shown: Shown,
    trust: Option<RtspTrust>,
    refusals: Arc<Mutex<Refusals>>,
    /// Why the certificate of the camera was refused.
    doubt: Mutex<Option<String>>,
}

impl Access {
    /// Reads user and password, and checks whether they may be sent now.
    pub(super) fn prepare(
        camera: &str,
        url: &str,
        access: &RtspAccess,
        refusals: &Arc<Mutex<Refusals>>,
    ) -> Result<Access, Fault> {
        let login = match &access.credentials {
            Some(path) => Some(
                RtspLogin::read(path, &Surroundings::here())
                    .map_err(|why| fault(FaultKind::DeviceMissing, why))?,
            ),
            None => None,
        };
        let shown = login.as_ref().map_or([0; 32], |login| digest(&[&login.user, &login.password]));
        let ready = Access {
            camera: camera.to_owned(),
            url: url.to_owned(),
            credentials: access.credentials.clone(),
            login,
            shown,
            trust: access.trust.clone(),
            refusals: Arc::clone(refusals),
            doubt: Mutex::default(),
        };
        let wait = ready.refusals().wait(&ready.camera, &ready.shown, mono());
        match wait {
            Some(wait) => Err(ready.refused(Some(wait.as_secs() / 60 + 1))),
            None => Ok(ready),
        }
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Configures the source before it connects.
    pub(super) fn apply(self: &Arc<Access>, source: &gst::Element) -> Result<(), Fault> {
        if let Some(RtspLogin { user, password }) = &self.login {
            source.set_property("user-id", user);
            source.set_property("user-pw", password);
        }
        if let Some(trust) = &self.trust {
            self.verify_with(source, trust)?;
        }
        let requests = Mutex::new(Requests::to(&self.url));
        let access = Arc::clone(self);
        source.connect("before-send", false, move |values| {
            let request = values.get(1).and_then(request);
            let going = request.map_or(Going::Held, |(method, uri)| {
                requests.lock().unwrap_or_else(PoisonError::into_inner).going(method, &uri)
            });
            if going == Going::Shows {
                access.refusals().shown(&access.camera, &access.shown, mono());
            }
            Some((going != Going::Held).to_value())
        });
        let (by_description, by_stream) = (Arc::clone(self), Arc::clone(self));
        source.connect("on-sdp", false, move |_| {
            by_description.accepted();
            None
        });
        source.connect_pad_added(move |_, _| by_stream.accepted());
        Ok(())
    }

    fn accepted(&self) {
        self.refusals().accepted(&self.camera, &self.shown);
    }

    /// Accepts only the certificates that the board file names.
    fn verify_with(self: &Arc<Access>, source: &gst::Element, trust: &RtspTrust) -> Result<(), Fault> {
        let broken = |why: String| fault(FaultKind::Pipeline, format!("TLS to {}: {why}", self.camera));
        if !has_tls() {
            return Err(fault(FaultKind::ElementMissing, no_tls()));
        }
        let backend = gio::TlsBackend::default();
        // GLib checks the roots of the system first, and calls us only if they do not accept the certificate.
        static NO_ROOTS: OnceLock<Result<File, String>> = OnceLock::new();
        if let Err(why) = NO_ROOTS.get_or_init(|| remove_roots(&backend)) {
            return Err(broken(why.clone()));
        }
        let pinned = match trust {
            RtspTrust::Authorities(path) => {
                let roots = gio::TlsFileDatabase::new(path)
                    .map_err(|_| broken(format!("{}: no certificate can be read", path.display())))?;
                source.set_property("tls-database", &roots);
                None
            }
            RtspTrust::Fingerprint(fingerprint) => Some(*fingerprint),
        };
        let access = Arc::clone(self);
        source.connect("accept-certificate", false, move |values| {
            let certificate = values.get(2).and_then(|value| value.get::<gio::TlsCertificate>().ok());
            let flaws = values.get(3).and_then(|value| value.get::<gio::TlsCertificateFlags>().ok());
            let der = certificate.and_then(|it| it.certificate());
            let found = der.map(|der| digest(&[der.as_ref()]));
            let good = pinned.is_some() && found == pinned;
            if !good {
                access.doubt(
                    &pinned.map_or_else(|| flaws_in_words(flaws), |_| String::from("it is another one")),
                    found,
                );
            }
            Some(good.to_value())
        });
        Ok(())
    }

    fn doubt(&self, why: &str, found: Option<[u8; 32]>) {
        let names = match self.trust {
            Some(RtspTrust::Fingerprint(_)) => "fingerprint",
            Some(RtspTrust::Authorities(_)) | None => "ca",
        };
        let found = found.map(|it| it.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        let found =
            found.map_or_else(String::new, |found| format!("; the SHA-256 of the one that came is {found}"));
        let text =
            format!("the certificate of {} is refused by video.source.{names}: {why}{found}", self.camera);
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    /// The fault for an error of the source, if access is its cause.
    pub(super) fn judge(&self, error: &gst::message::Error) -> Option<Fault> {
        let what = error.error();
        let doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(doubt) = doubt {
            return Some(fault(FaultKind::Pipeline, doubt));
        }
        if !what.matches(gst::ResourceError::NotAuthorized) {
            return None;
        }
        self.refusals().refused(&self.camera, &self.shown, mono());
        Some(self.refused(None))
    }

    /// The fault of a refused login; `wait` in minutes.
    fn refused(&self, wait: Option<u64>) -> Fault {
        let camera = &self.camera;
        let next = wait.unwrap_or(crate::capture::refusals::REFUSED_INTERVAL.as_secs() / 60);
        let message = match &self.credentials {
            Some(path) => format!(
                "{camera} refuses the user and password of {}: they are tried again in {next} min, so that the camera does not lock the user out, or at once if the file changes",
                path.display()
            ),
            None => format!(
                "{camera} needs a user and a password: name a file as video.source.credentials; the next attempt is in {next} min"
            ),
        };
        fault(FaultKind::CredentialsRefused, message)
    }
}

/// Whether TLS, which `rtsps://` needs, is installed.
pub(super) fn has_tls() -> bool {
    gio::TlsBackend::default().supports_tls()
}

pub(super) fn no_tls() -> String {
    String::from("TLS is not installed: install the Debian package glib-networking")
}

/// SHA-256 of parts, each with its length.
fn digest<T: AsRef<[u8]>>(parts: &[T]) -> [u8; 32] {
    let mut sum = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        // A single part is hashed without its length.
        if parts.len() > 1 {
            sum.update(&(part.as_ref().len() as u64).to_be_bytes());
        }
        sum.update(part.as_ref());
    }
    let mut found = [0; 32];
    found.copy_from_slice(sum.finish().as_ref());
    found
}

/// Method and URL of a request, from the argument of `before-send`.
fn request(value: &gst::glib::Value) -> Option<(i32, String)> {
    /// The beginning of `GstRTSPMessage`, whose layout is public.
    #[repr(C)]
    struct Message {
        kind: c_int,
        method: Request,
    }
    #[repr(C)]
    struct Request {
        method: c_int,
        uri: *const c_char,
        version: c_int,
    }
    const REQUEST: c_int = 1;
    if value.type_().name() != "GstRTSPMessage" {
        return None;
    }
    // SAFETY: the value holds a boxed `GstRTSPMessage`, as its type states, which lives while the signal is emitted. Its
    // first member is its kind; for a request the union after it holds a `Request`, whose URL is a string or null.
    unsafe {
        let message = gst::glib::gobject_ffi::g_value_get_boxed(value.as_ptr()).cast::<Message>().as_ref()?;
        if message.kind != REQUEST {
            return None;
        }
        let uri = message.method.uri;
        let uri =
            if uri.is_null() { String::new() } else { CStr::from_ptr(uri).to_string_lossy().into_owned() };
        Some((message.method.method, uri))
    }
}

/// Replaces the default roots of GLib by one certificate whose key is dropped, so that they accept nothing. Its file is in
/// memory, and is read again for each connection.
fn remove_roots(backend: &gio::TlsBackend) -> Result<File, String> {
    let made = rcgen::KeyPair::generate().and_then(|key| {
        let parameters = rcgen::CertificateParams::new(vec![String::from("nobody.invalid")])?;
        Ok(parameters.self_signed(&key)?.pem())
    });
    let pem = made.map_err(|why| format!("the empty list of authorities cannot be made: {why}"))?;
    let unreadable = |why: &dyn std::fmt::Display| format!("no list of trusted certificates: {why}");
    let memory = nix::sys::memfd::memfd_create(c"roots", nix::sys::memfd::MFdFlags::MFD_CLOEXEC);
    let mut file = File::from(memory.map_err(|why| unreadable(&why))?);
    file.write_all(pem.as_bytes()).map_err(|why| unreadable(&why))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let nobody = gio::TlsFileDatabase::new(path).map_err(|why| unreadable(&why.message()))?;
    backend.set_default_database(Some(&nobody));
    Ok(file)
}

fn flaws_in_words(flaws: Option<gio::TlsCertificateFlags>) -> String {
    use gio::TlsCertificateFlags as Flag;
    let flaws = flaws.unwrap_or(Flag::GENERIC_ERROR);
    let words = [
        (Flag::UNKNOWN_CA, "it is not signed by one of these authorities"),
        (Flag::BAD_IDENTITY, "it has another name than the address"),
        (Flag::NOT_ACTIVATED, "it is not valid yet"),
        (Flag::EXPIRED, "it has expired"),
        (Flag::REVOKED, "it was revoked"),
        (Flag::INSECURE, "its signature or key is too weak"),
        (Flag::GENERIC_ERROR, "no authority is found that signed it"),
    ];
    words
        .iter()
        .filter(|(flag, _)| flaws.contains(*flag))
        .map(|(_, text)| *text)
        .collect::<Vec<_>>()
        .join(", ")
}
