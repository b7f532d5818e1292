use crate::support::media::{Kind, media, whole_segment};
use kasacam::fmp4;
#[test]
fn dump() {
    let m = media(Kind::Chunked);
    for (at, c) in &m.chunks { eprintln!("{at} {:?}", fmp4::read_chunk(&m.init, c)); }
    let s = whole_segment(Kind::Chunked);
    let l = fmp4::read_segment(&s.bytes).unwrap();
    eprintln!("{} {} {:?} {}", l.chunks.len(), s.chunks.len(), l.chunks_end, l.complete);
    std::fs::write("/tmp/w/fm/c.mp4", &m.file).unwrap();
    eprintln!("{}", m.init.codecs);
}
