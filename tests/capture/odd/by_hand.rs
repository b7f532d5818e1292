//! H.264 written bit by bit, for what no encoder at hand makes: fields, and no VUI at all.
//!
//! 64 by 64 samples, Main profile, CAVLC. An IDR frame is one grey, in I_PCM macroblocks; each frame
//! behind it repeats the one before (`mb_skip_run`).

/// Macroblocks across, and down a frame.
const ACROSS: u32 = 4;
const DOWN: u32 = 4;

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: u32,
}

impl Writer {
    fn put(&mut self, value: u32, count: u32) -> &mut Writer {
        for bit in (0..count).rev() {
            if self.bits % 8 == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().unwrap();
            *last |= u8::try_from(value >> bit & 1).unwrap() << (7 - self.bits % 8);
            self.bits += 1;
        }
        self
    }

    fn ue(&mut self, value: u32) -> &mut Writer {
        let coded = value + 1;
        let length = 32 - coded.leading_zeros();
        self.put(0, length - 1).put(coded, length)
    }

    /// Zero bits to the next byte.
    fn align(&mut self) -> &mut Writer {
        while self.bits % 8 != 0 {
            self.put(0, 1);
        }
        self
    }

    /// The NAL unit with its start code: the stop bit behind it, and emulation prevention within.
    fn nal(mut self, head: u8) -> Vec<u8> {
        self.put(1, 1).align();
        let mut nal = vec![0, 0, 0, 1, head];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }
}

/// How a stream is coded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Each frame is two fields, the second of an IDR frame a P field, as interlaced cameras send them.
    pub fields: bool,
    /// The order of output is that of decoding, and told by `pic_order_cnt_type` 1 instead of 0.
    pub order_type_1: bool,
}

fn sets(form: Form) -> Vec<u8> {
    let fields = form.fields;
    let mut sps = Writer::default();
    // Main, level 3; set 0; frame_num of 4 bits.
    sps.put(77, 8).put(0, 8).put(30, 8).ue(0).ue(0);
    if form.order_type_1 {
        // No deltas in the slices; each frame two later than the one before (the code 3 is 2).
        sps.ue(1).put(1, 1).ue(0).ue(0).ue(1).ue(3);
    } else {
        // Of 8 bits.
        sps.ue(0).ue(4);
    }
    // One reference.
    sps.ue(1).put(0, 1);
    let map_lines = if fields { DOWN / 2 } else { DOWN };
    sps.ue(ACROSS - 1).ue(map_lines - 1).put(u32::from(!fields), 1);
    if fields {
        sps.put(0, 1);
    }
    // direct_8x8_inference, which fields demand; no cropping, no VUI.
    sps.put(1, 1).put(0, 2);
    let mut pps = Writer::default();
    // CAVLC, no order of bottom fields, one slice group, one reference each, no weights, QP 26, no offset, no deblocking control.
    pps.ue(0).ue(0).put(0, 2).ue(0).ue(0).ue(0).put(0, 3).ue(0).ue(0).ue(0).put(0, 3);
    [sps.nal(0x67), pps.nal(0x68)].concat()
}

struct Coded {
    idr: bool,
    number: u32,
    order: u32,
    bottom: Option<bool>,
    idr_id: u32,
}

/// One slice that is a whole frame of the form. `grey` is its luma where it is coded, not repeated.
fn slice(form: Form, of: &Coded, grey: Option<u8>) -> Vec<u8> {
    let mut bits = Writer::default();
    // Types 7 and 5: every slice of the frame is I, or P.
    bits.ue(0).ue(if grey.is_some() { 7 } else { 5 }).ue(0).put(of.number, 4);
    if let Some(bottom) = of.bottom {
        bits.put(1, 1).put(u32::from(bottom), 1);
    }
    if of.idr {
        bits.ue(of.idr_id);
    }
    if !form.order_type_1 {
        bits.put(of.order, 8);
    }
    if grey.is_none() {
        // The default number of references, and no change of their order.
        bits.put(0, 2);
    }
    if of.idr {
        bits.put(0, 2);
    } else {
        // No marking of references but the sliding window.
        bits.put(0, 1);
    }
    // slice_qp_delta.
    bits.ue(0);
    let lines = if of.bottom.is_some() { DOWN / 2 } else { DOWN };
    match grey {
        Some(grey) => {
            for _ in 0..ACROSS * lines {
                bits.ue(25).align();
                for _ in 0..256 {
                    bits.put(grey.into(), 8);
                }
                for _ in 0..128 {
                    bits.put(128, 8);
                }
            }
        }
        None => {
            bits.ue(ACROSS * lines);
        }
    }
    bits.nal(if of.idr { 0x65 } else { 0x61 })
}

/// `frames` frames, with an IDR frame every `gop` and no VUI.
pub fn stream(frames: u32, gop: u32, form: Form) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in 0..frames {
        let place = frame % gop;
        let idr = place == 0;
        if idr {
            bytes.extend(sets(form));
        }
        let grey = u8::try_from(40 + frame / gop % 16 * 10).unwrap();
        let idr_id = frame / gop % 2;
        let number = place % 16;
        let order = place * 2 % 256;
        let bottom = form.fields.then_some(false);
        let first = Coded { idr, number, order, bottom, idr_id };
        bytes.extend(slice(form, &first, idr.then_some(grey)));
        if form.fields {
            let second = Coded { idr: false, order: order + 1, bottom: Some(true), ..first };
            bytes.extend(slice(form, &second, None));
        }
    }
    bytes
}
