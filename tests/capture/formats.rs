//! A stream whose format changes under way.

use crate::support::*;
use kasacam::domain::input::FaultKind;
use std::sync::Arc;

#[test]
fn a_new_size_in_a_stream_begins_a_new_moov_at_its_idr_frame() {
    let folder = folder();
    let (small, large) = (folder.path().join("small.h264"), folder.path().join("large.h264"));
    clip(&small, 25, 10, 0, &[]);
    clip(&large, 25, 10, 0, &["-s", "640x360"]);
    let both = folder.path().join("both.h264");
    let mut bytes = std::fs::read(&small).unwrap();
    bytes.extend(std::fs::read(&large).unwrap());
    std::fs::write(&both, bytes).unwrap();
    let mut camera = Camera::new(file_board(&both, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [10, 10, 5, 10, 10, 5]);
    is_a_valid_stream(&take.chunks);
    let change = take.chunks.iter().position(|chunk| chunk.init.height == 360).unwrap();
    assert!(take.chunks[change].starts_fragment && take.chunks[change - 1].ends_fragment);
    for pair in take.chunks.windows(2) {
        let same = pair[0].init.height == pair[1].init.height;
        assert_eq!(Arc::ptr_eq(&pair[0].init, &pair[1].init), same);
    }
}
