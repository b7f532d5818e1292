//! A microphone that fails must not affect the video.

use crate::support::*;
use crossbeam_channel::{RecvTimeoutError, bounded};
use kasacam::capture::pipeline::{Element, Stage};
use kasacam::config::AudioSource;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::domain::input::Input;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;

#[test]
fn audio_that_ends_does_not_affect_the_video() {
    let mut camera = Camera::altered(test_board(), |description| {
        replace_source(
            description,
            Element::new("audiotestsrc").with("is-live", true).with("num-buffers", 40),
        );
    });

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(6);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 6]);
    is_a_valid_stream(&chunks);
}

#[test]
fn a_microphone_that_stalls_does_not_affect_the_video() {
    let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    let fd = reader.as_raw_fd();
    let mut camera = Camera::altered(test_board(), move |description| {
        let source = Element::new("fdsrc").with("fd", fd).with("do-timestamp", true).with("blocksize", 3840);
        replace_source(description, source);
        let parse = Element::new("rawaudioparse")
            .with("format", "pcm")
            .with("pcm-format", "s16le")
            .with("sample-rate", 48_000)
            .with("num-channels", 1);
        description.audio.as_mut().unwrap().insert(1, Stage::Element(parse));
    });
    // Silence at the rate of a microphone, then nothing, and no end.
    let (enough_tx, enough) = bounded::<()>(0);
    let feeder = std::thread::spawn(move || {
        while enough.recv_timeout(Duration::from_millis(40)) == Err(RecvTimeoutError::Timeout) {
            writer.write_all(&[0; 3840]).unwrap();
        }
        writer
    });

    camera.start(1, WITH_AUDIO);
    let mut chunks = camera.fragments(4);
    drop(enough_tx);
    chunks.extend(camera.fragments(6));
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 10]);
    is_a_valid_stream(&chunks);
    assert!(chunks[0].init.audio.is_some());
    drop(feeder.join());
    drop(reader);
}

#[test]
fn a_microphone_without_audio_does_not_delay_the_video() {
    let mut camera = Camera::altered(test_board(), |description| {
        let valve = Element::new("valve").with("drop", true);
        if let Some(audio) = description.audio.as_mut() {
            audio.insert(1, Stage::Element(valve));
        }
    });

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(6);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 6]);
    is_a_valid_stream(&chunks);
    assert!(chunks.iter().all(|chunk| chunk.init.audio.is_none()));
}

#[test]
fn a_missing_microphone_is_reported_and_the_video_continues() {
    let mut board = test_board();
    board.audio = Some(AudioSource::Alsa { device: String::from("hw:77") }.into());
    let mut camera = Camera::new(board);

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(6);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 6]);
    assert!(chunks.iter().all(|chunk| chunk.init.audio.is_none()));
    let told = audio(&camera);
    assert!(told.iter().all(|(wanted, actual, _)| *wanted && !*actual), "{told:?}");
    assert!(told.iter().any(|(_, _, why)| why.contains("alsasrc")), "{told:?}");
}

#[test]
fn a_microphone_that_ends_its_stream_is_opened_again() {
    let mut camera = Camera::altered(test_board(), |description| {
        let source = Element::new("audiotestsrc").with("is-live", true).with("num-buffers", 60);
        replace_source(description, source);
    });

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(14);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 14]);
    is_a_valid_stream(&chunks);
    let told = audio(&camera);
    let states: Vec<bool> = told.iter().map(|(_, actual, _)| *actual).collect();
    let again = states.windows(2).filter(|pair| pair[1] && !pair[0]).count();
    assert!(again >= 2, "it was heard, failed, and was heard again: {told:?}");
    let (_, _, why) = told.iter().find(|(_, _, why)| !why.is_empty()).unwrap();
    assert!(why.contains("microphone"), "{why}");
    let bytes: Vec<u64> = chunks.iter().map(audio_ticks).collect();
    let silent = bytes.iter().position(|ticks| *ticks == 0).expect("a while without audio");
    assert!(bytes[silent..].iter().any(|ticks| *ticks > 0), "audio is stored again: {bytes:?}");
}

/// Ticks of audio in a chunk.
fn audio_ticks(chunk: &Chunk) -> u64 {
    let info = kasacam::fmp4::read_chunk(&chunk.init, &chunk.bytes).unwrap();
    let audio = chunk.init.audio.map(|audio| audio.id);
    info.runs.iter().find(|run| Some(run.track) == audio).map_or(0, |run| run.duration)
}

/// The reports about audio so far: wanted, actual, and why.
fn audio(camera: &Camera) -> Vec<(bool, bool, String)> {
    let told = camera.inputs.try_iter().filter_map(|input| match input {
        Input::CaptureAudio { wanted, actual, why, .. } => Some((wanted, actual, why.unwrap_or_default())),
        _ => None,
    });
    told.collect()
}

#[test]
fn without_audio_no_audio_element_exists() {
    let mut board = test_board();
    // It cannot be opened: no fault shows that it is not tried.
    board.audio = Some(AudioSource::Alsa { device: String::from("hw:77") }.into());
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let chunks = camera.fragments(2);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10, 10]);
}

fn replace_source(description: &mut kasacam::capture::pipeline::Description, source: Element) {
    if let Some(first) = description.audio.as_mut().and_then(|audio| audio.first_mut()) {
        *first = Stage::Element(source);
    }
}
