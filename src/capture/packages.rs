//! The packages of GStreamer elements in Debian, Yocto and Buildroot.

/// The packages of an element. `None`: the distribution does not have it; it comes with the software of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packages {
    /// Of Debian 12 and later, and of Ubuntu.
    pub debian: Option<&'static str>,
    /// Of OpenEmbedded-Core, or of the layer in parentheses.
    pub yocto: Option<&'static str>,
    /// The option of Buildroot's configuration.
    pub buildroot: Option<&'static str>,
}

const fn known(debian: &'static str, yocto: &'static str, buildroot: &'static str) -> Packages {
    Packages { debian: Some(debian), yocto: Some(yocto), buildroot: Some(buildroot) }
}

/// Available only from the vendor of a chip.
const fn vendor(yocto: &'static str) -> Packages {
    Packages { debian: None, yocto: Some(yocto), buildroot: None }
}

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

/// The packages of this element; `None` if it is not in the list.
#[must_use]
pub fn of(factory: &str) -> Option<Packages> {
    Some(match factory {
        "queue" | "capsfilter" | "clocksync" | "identity" | "filesrc" | "fakesrc" | "tee" => {
            known(CORE, "gstreamer1.0", "BR2_PACKAGE_GSTREAMER1")
        }
        "appsrc" | "appsink" => {
            known(BASE, "gstreamer1.0-plugins-base-app", "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_APP")
        }
        "videotestsrc" => known(
            BASE,
            "gstreamer1.0-plugins-base-videotestsrc",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_VIDEOTESTSRC",
        ),
        "audiotestsrc" => known(
            BASE,
            "gstreamer1.0-plugins-base-audiotestsrc",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_AUDIOTESTSRC",
        ),
        // Two packages of Yocto, videoconvert and videoscale, before GStreamer 1.22.
        "videoconvert" | "videoscale" => known(
            BASE,
            "gstreamer1.0-plugins-base-videoconvertscale",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_VIDEOCONVERTSCALE",
        ),
        "videorate" => known(
            BASE,
            "gstreamer1.0-plugins-base-videorate",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_VIDEORATE",
        ),
        "audioconvert" => known(
            BASE,
            "gstreamer1.0-plugins-base-audioconvert",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_AUDIOCONVERT",
        ),
        "audioresample" => known(
            BASE,
            "gstreamer1.0-plugins-base-audioresample",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_AUDIORESAMPLE",
        ),
        "decodebin" | "uridecodebin" => {
            known(BASE, "gstreamer1.0-plugins-base-playback", "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_PLAYBACK")
        }
        "alsasrc" => known(
            "gstreamer1.0-alsa",
            "gstreamer1.0-plugins-base-alsa",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_ALSA",
        ),
        "timeoverlay" | "textoverlay" => known(
            "gstreamer1.0-x",
            "gstreamer1.0-plugins-base-pango",
            "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_PANGO",
        ),
        "v4l2src" | "v4l2h264enc" | "v4l2h265enc" | "v4l2convert" | "v4l2jpegdec" => {
            known(GOOD, "gstreamer1.0-plugins-good-video4linux2", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_V4L2")
        }
        "rtspsrc" => {
            known(GOOD, "gstreamer1.0-plugins-good-rtsp", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_RTSP")
        }
        "rtph264depay" | "rtph265depay" | "rtpmp4gdepay" | "rtpmp4adepay" | "rtppcmudepay"
        | "rtppcmadepay" | "rtpg722depay" | "rtpg726depay" | "rtpopusdepay" | "rtpL16depay" => {
            known(GOOD, "gstreamer1.0-plugins-good-rtp", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_RTP")
        }
        "rtpbin" | "rtpjitterbuffer" => known(
            GOOD,
            "gstreamer1.0-plugins-good-rtpmanager",
            "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_RTPMANAGER",
        ),
        "udpsrc" => known(GOOD, "gstreamer1.0-plugins-good-udp", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_UDP"),
        "mulawdec" => {
            known(GOOD, "gstreamer1.0-plugins-good-mulaw", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_MULAW")
        }
        "alawdec" => {
            known(GOOD, "gstreamer1.0-plugins-good-alaw", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_ALAW")
        }
        "opusdec" => {
            known(BASE, "gstreamer1.0-plugins-base-opus", "BR2_PACKAGE_GST1_PLUGINS_BASE_PLUGIN_OPUS")
        }
        "qtdemux" => {
            known(GOOD, "gstreamer1.0-plugins-good-isomp4", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_ISOMP4")
        }
        "matroskademux" => {
            known(GOOD, "gstreamer1.0-plugins-good-matroska", "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_MATROSKA")
        }
        "aacparse" => known(
            GOOD,
            "gstreamer1.0-plugins-good-audioparsers",
            "BR2_PACKAGE_GST1_PLUGINS_GOOD_PLUGIN_AUDIOPARSERS",
        ),
        "jpegdec" | "jpegenc" => {
            known(GOOD, "gstreamer1.0-plugins-good-jpeg", "BR2_PACKAGE_GST1_PLUGINS_GOOD_JPEG")
        }
        "h264parse" | "h265parse" | "jpegparse" => known(
            BAD,
            "gstreamer1.0-plugins-bad-videoparsersbad",
            "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_VIDEOPARSERS",
        ),
        "openh264enc" | "openh264dec" => {
            known(BAD, "gstreamer1.0-plugins-bad-openh264", "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_OPENH264")
        }
        "voaacenc" => {
            known(BAD, "gstreamer1.0-plugins-bad-voaacenc", "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_VOAACENC")
        }
        "fdkaacenc" => {
            known(BAD, "gstreamer1.0-plugins-bad-fdkaac", "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_FDK_AAC")
        }
        "faac" => known(BAD, "gstreamer1.0-plugins-bad-faac", "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_FAAC"),
        "x265enc" => known(BAD, "gstreamer1.0-plugins-bad-x265", "BR2_PACKAGE_GST1_PLUGINS_BAD_PLUGIN_X265"),
        "x264enc" => {
            known(UGLY, "gstreamer1.0-plugins-ugly-x264", "BR2_PACKAGE_GST1_PLUGINS_UGLY_PLUGIN_X264")
        }
        "avenc_aac" | "avdec_h264" | "avdec_h265" | "avdec_g722" | "avdec_g726" => {
            known(LIBAV, "gstreamer1.0-libav", "BR2_PACKAGE_GST1_LIBAV")
        }
        "libcamerasrc" => known(
            "gstreamer1.0-libcamera",
            "libcamera-gst (meta-multimedia)",
            "BR2_PACKAGE_LIBCAMERA, with BR2_PACKAGE_GST1_PLUGINS_BASE",
        ),
        "mpph264enc" | "mpph265enc" | "mppjpegdec" => vendor("gstreamer1.0-rockchip (meta-rockchip)"),
        "vpuenc_h264" | "vpuenc_hevc" => vendor("imx-gst1.0-plugin (meta-freescale)"),
        "omxh264enc" => {
            Packages { debian: None, yocto: Some("gstreamer1.0-omx"), buildroot: Some("BR2_PACKAGE_GST_OMX") }
        }
        _ => return None,
    })
}

/// What to install for an element; for people.
#[must_use]
pub fn advice(factory: &str) -> String {
    let Some(Packages { debian, yocto, buildroot }) = of(factory) else {
        return String::from("install the plugin that comes with the board's software");
    };
    let named = [("Debian", debian), ("Yocto", yocto), ("Buildroot", buildroot)];
    let named: Vec<String> =
        named.iter().filter_map(|(system, package)| Some(format!("{system}: {}", (*package)?))).collect();
    format!("install {}", named.join("; "))
}
