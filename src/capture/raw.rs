//! Raw frames between source and encoder: what is requested from the source, and how its frames are converted.
//!
//! The processor touches a frame only if it must: if the source delivers what the encoder accepts, only a queue is
//! between them, and if both share memory (dmabuf) there is no copy.

use super::encoder::{self, Demand, Sharing};
use super::pipeline::{Element, Stage};
use super::profile::scaled;
use crate::config::{Board, Colorimetry, EncoderKind, Pixels, VideoSource};

/// The raw frames of one board under one plan.
pub(super) struct Raw<'a> {
    board: &'a Board,
    encoder: EncoderKind,
    /// Width and height of the encoded frames, in pixels.
    size: (u32, u32),
}

impl<'a> Raw<'a> {
    pub(super) fn new(board: &'a Board, encoder: EncoderKind, max_height: u32) -> Raw<'a> {
        let size = scaled(board.video.width, board.video.height, max_height);
        Raw { board, encoder, size }
    }

    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    fn is_scaled(&self) -> bool {
        self.size != (self.board.video.width, self.board.video.height)
    }

    /// The pixel layout of the source, if it is known.
    fn pixels(&self) -> Option<Pixels> {
        match self.board.video.source {
            VideoSource::Libcamera { .. } => Some(self.board.video.pixels.unwrap_or(Pixels::Nv12)),
            VideoSource::V4l2 { .. }
            | VideoSource::Rtsp { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => self.board.video.pixels,
        }
    }

    fn colorimetry(&self) -> Option<Colorimetry> {
        match self.board.video.source {
            // The default of libcamera is one that the encoders of V4L2 refuse.
            VideoSource::Libcamera { .. } => Some(self.board.video.colorimetry.unwrap_or(Colorimetry::Bt709)),
            VideoSource::V4l2 { .. }
            | VideoSource::Rtsp { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => self.board.video.colorimetry,
        }
    }

    /// The encoder accepts the source's frames without conversion.
    fn fits(&self) -> bool {
        self.pixels().is_some_and(|pixels| encoder::takes(self.encoder).contains(&pixels))
    }

    /// How the encoder reads the memory that the source writes, if it does.
    pub(super) fn sharing(&self) -> Option<Sharing> {
        let shares = match self.board.video.source {
            VideoSource::V4l2 { .. } | VideoSource::Libcamera { .. } => self.fits() && !self.is_scaled(),
            VideoSource::Rtsp { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => false,
        };
        encoder::sharing(self.encoder).filter(|_| shares)
    }

    /// Sets what `v4l2src` needs besides its device.
    pub(super) fn v4l2(&self, source: Element) -> Element {
        if self.sharing().is_some() { source.with("io-mode", "dmabuf") } else { source }
    }

    /// The caps for the source, and the conversion for the encoder.
    pub(super) fn stages(&self, stages: &mut Vec<Stage>) {
        let video = &self.board.video;
        let size = format!("width={},height={},framerate={}", video.width, video.height, video.fps);
        let pinned = if self.fits() { self.colorimetry() } else { None };
        let raw = |pixels: Option<Pixels>| {
            let format = pixels.and_then(gst_name).map(|name| format!(",format={name}")).unwrap_or_default();
            format!("video/x-raw{format},{size}{}", colorimetry(pinned))
        };
        match (&video.source, self.pixels()) {
            (VideoSource::V4l2 { .. }, None) => {
                // A webcam has its larger sizes as Motion JPEG only.
                stages.push(Stage::Caps(format!("{};image/jpeg,{size}", raw(None))));
                stages.push(Stage::Element(Element::new("decodebin")));
            }
            (_, Some(Pixels::Mjpeg)) => {
                stages.push(Stage::Caps(format!("image/jpeg,{size}")));
                stages.push(Stage::Element(Element::new("jpegdec")));
            }
            (_, pixels) => stages.push(Stage::Caps(raw(pixels))),
        }
        // A frame for which the encoder is too slow is dropped here, before any conversion.
        stages.push(Stage::Element(few().with("leaky", "downstream")));
        if !self.fits() {
            stages.push(Stage::Element(Element::new("videoconvert")));
        }
        let mut wanted = Vec::new();
        if self.is_scaled() {
            stages.push(Stage::Element(Element::new("videoscale").with("add-borders", false)));
            let (width, height) = self.size;
            wanted.push(format!("width={width},height={height},pixel-aspect-ratio=1/1"));
        }
        if !self.fits() {
            wanted.insert(0, format!("format={}{}", self.formats(), colorimetry(self.colorimetry())));
        }
        if !wanted.is_empty() {
            stages.push(Stage::Caps(format!("video/x-raw,{}", wanted.join(","))));
        }
    }

    /// The conversion of decoded frames for the encoder. If that is too slow, the source `waits`, or frames are dropped.
    pub(super) fn again(&self, waits: bool, stages: &mut Vec<Stage>) {
        let (width, height) = self.size;
        stages.push(Stage::Element(if waits { few() } else { few().with("leaky", "downstream") }));
        stages.push(Stage::Element(Element::new("videoconvert")));
        // The size in the board file may be wrong: always scale.
        stages.push(Stage::Element(Element::new("videoscale").with("add-borders", false)));
        let formats = self.formats();
        stages.push(Stage::Caps(format!(
            "video/x-raw,format={formats},width={width},height={height},pixel-aspect-ratio=1/1"
        )));
    }

    /// The formats that the encoder accepts, in the syntax of caps.
    fn formats(&self) -> String {
        match encoder::takes(self.encoder).iter().filter_map(|pixels| gst_name(*pixels)).collect::<Vec<_>>()[..]
        {
            [only] => only.to_owned(),
            ref several => {
                let several: Vec<String> = several.iter().map(|name| format!("(string){name}")).collect();
                format!("{{ {} }}", several.join(", "))
            }
        }
    }

    /// The caps of generated frames: the best format for the encoder.
    pub(super) fn drawn(&self) -> Stage {
        let (width, height) = self.size;
        let format =
            encoder::takes(self.encoder).iter().find_map(|pixels| gst_name(*pixels)).unwrap_or("I420");
        let fps = self.board.video.fps;
        Stage::Caps(format!("video/x-raw,width={width},height={height},framerate={fps},format={format}"))
    }

    /// The encoder and its caps.
    pub(super) fn encode(&self, demand: Demand, stages: &mut Vec<Stage>) {
        let mut encoder = encoder::stages(self.encoder, demand);
        if let Some(Stage::Element(element)) = encoder.first_mut() {
            if let Some(Sharing::By(property, value)) = self.sharing() {
                element.set(property, value);
            }
            for property in self.board.video.encoder.iter().flat_map(|encoder| &encoder.properties) {
                element.set(&property.name, &property.value);
            }
        }
        stages.extend(encoder);
    }
}

/// A queue for raw frames: only few may wait.
fn few() -> Element {
    Element::new("queue").with("max-size-buffers", 4).with("max-size-bytes", 0).with("max-size-time", 0)
}

fn gst_name(pixels: Pixels) -> Option<&'static str> {
    match pixels {
        Pixels::Nv12 => Some("NV12"),
        Pixels::I420 => Some("I420"),
        Pixels::Yuy2 => Some("YUY2"),
        Pixels::Uyvy => Some("UYVY"),
        Pixels::Mjpeg => None,
    }
}

fn colorimetry(colorimetry: Option<Colorimetry>) -> &'static str {
    match colorimetry {
        Some(Colorimetry::Bt601) => ",colorimetry=bt601",
        Some(Colorimetry::Bt709) => ",colorimetry=bt709",
        None => "",
    }
}
