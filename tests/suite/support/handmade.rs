//! Boxes and chunks made by hand.

use super::media::{Kind, media};
use kasacam::domain::fragment::Init;

pub fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], kind, &body].concat()
}

pub fn full(kind: &[u8; 4], version: u8, flags: u32, fields: &[u32]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|field| field.to_be_bytes()).collect();
    boxed(kind, &[&(u32::from(version) << 24 | flags).to_be_bytes(), &fields])
}

/// The header of a file with video in track 1 at 15360 ticks per second, and audio in track 2 at 16000.
pub fn both_tracks() -> &'static Init {
    &media(Kind::Negative).init
}

/// A chunk of one track with the given boxes; the data offset in `trun` is for a `moof` of exactly this form.
pub struct Handmade {
    pub tfhd: Vec<u8>,
    pub tfdt: Vec<u8>,
    pub trun: Vec<u8>,
    pub mdat: usize,
}

impl Handmade {
    pub fn build(&self) -> Vec<u8> {
        let traf = boxed(b"traf", &[&self.tfhd, &self.tfdt, &self.trun]);
        chunk_of(&[&full(b"mfhd", 0, 0, &[9]), &traf], self.mdat)
    }
}

pub fn chunk_of(inside_moof: &[&[u8]], mdat: usize) -> Vec<u8> {
    [boxed(b"moof", inside_moof), boxed(b"mdat", &[&vec![0xa5; mdat]])].concat()
}

pub const SYNC: u32 = 0x0200_0000;
pub const OTHER: u32 = 0x0101_0000;
