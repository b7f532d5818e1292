//! A plan that allows fewer lines than the camera delivers.

use crate::rtsp::Server;
use crate::support::*;
use kasacam::capture::{doubts, probe};
use kasacam::config::{Board, Encoder, EncoderKind, Video};
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::domain::input::FaultKind;

const PLAN: CaptureSettings = CaptureSettings { audio: false, max_height: 720 };

/// A bridge to a camera of 1440 lines.
fn bridge(server: &Server) -> Board {
    let mut board = server.board(false);
    (board.video.width, board.video.height, board.video.fps) = (2560, 1440, 5.into());
    board
}

fn with_substream(board: &mut Board, server: &Server) {
    let sub = Video { source: server.source("sub"), width: 1280, height: 720, ..board.video.clone() };
    board.video.profiles.push(sub);
}

/// The chunks that are recorded under the plan, and the number of connections to the server.
fn recorded(board: Board, server: &Server) -> (Vec<Chunk>, usize) {
    let mut camera = Camera::new(board);
    camera.start(1, PLAN);
    let chunks = camera.fragments(2);
    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    let take = camera.rest();
    assert_eq!(take.fault, None);
    (chunks, server.count("connected"))
}

#[test]
fn a_substream_is_recorded_if_the_plan_allows_no_more() {
    let server = Server::start(&["sizes"]);
    let mut board = bridge(&server);
    with_substream(&mut board, &server);
    assert_eq!((probe(&board), doubts(&board, &recording()).len()), (vec![], 1));

    let (chunks, connected) = recorded(board, &server);

    assert!(chunks.iter().all(|chunk| (chunk.init.width, chunk.init.height) == (1280, 720)));
    assert_eq!(connected, 1);
}

#[test]
fn without_a_substream_a_named_encoder_scales_the_frames_down() {
    let folder = folder();
    let server = Server::start(&["sizes"]);
    let mut board = bridge(&server);
    board.video.encoder = Some(Encoder { kind: EncoderKind::X264, properties: vec![] });
    assert_eq!((probe(&board), doubts(&board, &recording())), (vec![], vec![]));

    let (chunks, _) = recorded(board, &server);

    assert!(chunks.iter().all(|chunk| (chunk.init.width, chunk.init.height) == (1280, 720)));
    let path = write(folder.path(), &chunks);
    assert_eq!(decoded(&path), frames(&chunks) as usize);
}

#[test]
fn without_both_check_warns_and_the_run_fails() {
    let server = Server::start(&["sizes"]);
    let board = bridge(&server);
    let doubts = doubts(&board, &recording());
    assert!(doubts[0].warning.contains("fewer than 1440 lines nothing is recorded"), "{doubts:?}");
    let mut camera = Camera::new(board);

    camera.start(1, PLAN);
    let take = camera.rest();

    // Tests of the machine cover when it tries again: after an hour, or with another plan.
    assert_eq!(take.fault_kind(), FaultKind::ExceedsPlan);
    for word in ["1440 lines", "allows 720", "[[video.profile]]", "127.0.0.1"] {
        assert!(take.message().contains(word), "{}", take.message());
    }
    assert!(take.chunks.is_empty());
    assert_eq!(server.count("connected"), 1);
}

#[test]
fn a_substream_larger_than_the_board_says_is_replaced_by_another_stream() {
    let server = Server::start(&["sizes"]);
    let mut board = bridge(&server);
    // The two are mixed up.
    let sub = Video { source: server.source("live"), width: 1280, height: 720, ..board.video.clone() };
    board.video.source = server.source("sub");
    board.video.profiles.push(sub);
    board.video.encoder = Some(Encoder { kind: EncoderKind::X264, properties: vec![] });
    let mut camera = Camera::new(board);

    camera.start(1, PLAN);
    let take = camera.rest();
    assert_eq!(take.fault_kind(), FaultKind::Pipeline, "it is tried again soon");
    assert!(
        take.message().contains("1440 lines") && take.message().contains("taken next"),
        "{}",
        take.message()
    );
    camera.start(2, PLAN);
    let chunks = camera.fragments(2);
    camera.stop(2, StopManner::Drain, SpanEnd::Shutdown);
    camera.rest();

    assert!(chunks.iter().all(|chunk| chunk.init.height == 720));
}

#[test]
fn a_file_is_scaled_down_without_losing_a_frame() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 60, 10, 2, &[]);
    let mut board = file_board(&path, false, false);
    (board.video.width, board.video.height) = (320, 180);
    board.video.encoder = Some(Encoder { kind: EncoderKind::X264, properties: vec![] });
    let mut camera = Camera::new(board);

    camera.start(1, CaptureSettings { audio: false, max_height: 90 });
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(frames(&take.chunks), 60);
    assert!(take.chunks.iter().all(|chunk| (chunk.init.width, chunk.init.height) == (160, 90)));
}
