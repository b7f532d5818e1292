//! A spool with a source before it and a ledger after it: the ledger knows what happened to every frame, from
//! the spool's own reports, and compares the flash with that.

use super::fault_fs::{Cut, FaultFs};
use super::tiny_mp4::{self, CHUNK, PICTURES, Tiny};
use kasacam::disk::Fs;
use kasacam::domain::aside::Aside;
use kasacam::domain::fragment::{Captured, Epoch, Init, SpanEnd};
use kasacam::domain::input::Input;
use kasacam::domain::recovery::end_of;
use kasacam::domain::segment::{Content, Segment, Serial, SpoolKind, SpoolName};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{
    self, ClockReading, Command, Durability, Encryption, LiveEpoch, QuarantineLimits, Setup, Spool,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A chunk, by the numbers in its label.
pub type Label = (u32, u32);

/// 2026-11-23T12:00:00Z minus the time since boot of the first chunk.
pub const OFFSET: i64 = 1_795_435_200_000_000_000;

/// The spool's key.
pub const KEY: [u8; 32] = *b"thirty-two bytes for tests alone";

pub fn state_dir() -> PathBuf {
    PathBuf::from("/state")
}

pub fn spool_dir() -> PathBuf {
    spool::directory(&state_dir())
}

/// How the spool of a test is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub durability: Durability,
    pub keep_partial_gop: bool,
    /// Nanoseconds of `recording.segment`.
    pub segment: u64,
    /// Nanoseconds after which a fragment is committed in parts.
    pub part: u64,
    /// Chunks in a fragment.
    pub chunks: u32,
    /// Bytes of a frame.
    pub size: usize,
    /// Zeros after each frame.
    pub zeros: usize,
    /// `spool.encrypt`, with [`KEY`].
    pub encrypt: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Fragment,
            keep_partial_gop: false,
            segment: 4 * CHUNK,
            part: 1_000 * CHUNK,
            chunks: 2,
            size: 700,
            zeros: 0,
            encrypt: false,
        }
    }
}

impl Options {
    pub fn setup(&self, boot: &str) -> Setup {
        Setup {
            state_dir: state_dir(),
            device: "cam-0001".to_owned(),
            boot: boot.to_owned(),
            segment: Duration::from_nanos(self.segment),
            part: Duration::from_nanos(self.part),
            durability: self.durability,
            keep_partial_gop: self.keep_partial_gop,
            quarantine: QuarantineLimits::default(),
            encryption: if self.encrypt { Encryption::with(KEY) } else { Encryption::none() },
        }
    }
}

/// What the spool has reported so far.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// In the order of arrival; neither committed nor dropped yet.
    pub undecided: VecDeque<Label>,
    pub committed: BTreeSet<Label>,
    /// Dropped because permission was withdrawn.
    pub withheld: BTreeSet<Label>,
    /// Named in a command to remove, or known to be gone.
    pub forgotten: BTreeSet<Label>,
    /// Fragments that the source ended in the middle.
    pub cut_short: BTreeSet<u32>,
    pub sealed: BTreeMap<Serial, Segment>,
    pub serials: BTreeSet<Serial>,
    pub arrived_frames: u64,
    pub committed_frames: u64,
    pub dropped_frames: u64,
    pub failures: u64,
    pub probes: Vec<bool>,
    pub quarantined: Vec<String>,
    /// Files reported as set aside.
    pub set_aside: u64,
    pub aside_evicted: Vec<Option<kasacam::domain::input::AsideFile>>,
    pub usage: Option<kasacam::domain::storage::Usage>,
}

impl Ledger {
    fn absorb(&mut self, inputs: Vec<Input>, withdrawing: bool) {
        for input in inputs {
            match input {
                Input::Arrived { frames } => self.arrived_frames += u64::from(frames),
                Input::Committed { frames, .. } => {
                    self.committed_frames += u64::from(frames);
                    for _ in 0..frames / PICTURES {
                        let label = self.undecided.pop_front().expect("what is committed has arrived");
                        self.committed.insert(label);
                    }
                }
                Input::Dropped { frames, .. } => {
                    self.dropped_frames += u64::from(frames);
                    for _ in 0..frames / PICTURES {
                        let label = self.undecided.pop_back().expect("what is dropped has arrived");
                        if withdrawing {
                            self.withheld.insert(label);
                        }
                    }
                }
                Input::Sealed(segment) => {
                    assert!(
                        self.serials.insert(segment.serial),
                        "serial {} was given out twice",
                        segment.serial
                    );
                    self.sealed.insert(segment.serial, segment);
                }
                Input::Found(segments) => {
                    self.absorb(segments.into_iter().map(Input::Sealed).collect(), withdrawing);
                }
                Input::Forgotten { serial } => {
                    self.sealed.remove(&serial);
                }
                Input::StorageFailed { .. } => self.failures += 1,
                Input::StorageProbed { ok, .. } => self.probes.push(ok),
                Input::Quarantined { name, .. } => self.quarantined.push(name),
                Input::SetAside { files, .. } => self.set_aside += files,
                Input::AsideEvicted(file) => self.aside_evicted.push(file),
                Input::Usage(usage) => self.usage = Some(usage),
                other => panic!("the spool has no business to say {other:?}"),
            }
        }
    }

    /// Every frame that arrived is committed or dropped.
    pub fn assert_balanced(&self) {
        assert_eq!(
            self.arrived_frames,
            self.committed_frames + self.dropped_frames,
            "frames are lost from the count"
        );
        assert!(self.undecided.is_empty(), "nobody said what became of {:?}", self.undecided);
    }
}

/// A spool, its source and its ledger.
pub struct Rig {
    pub fs: FaultFs,
    pub spool: Spool,
    pub live: LiveEpoch,
    pub ledger: Ledger,
    pub options: Options,
    pub init: Arc<Init>,
    pub epoch: Epoch,
    /// The next fragment.
    pub fragment: u32,
    /// Sequence number of the next chunk.
    pub sequence: u32,
    /// Capture time of the next chunk.
    pub time: u64,
    /// When the device is closed; by default far in the future, so that no end is cut short.
    pub closed: Mono,
    clock: Arc<Mutex<(i64, Clock)>>,
}

/// How a spool is opened, and what is then known.
type Opening = fn(Arc<dyn Fs>, Setup, LiveEpoch, ClockReading) -> io::Result<(Spool, Vec<Segment>)>;

impl Rig {
    /// Opens the spool; a broken one if that fails.
    pub fn open(fs: &FaultFs, boot: &str, options: Options) -> Rig {
        Rig::with(fs, boot, options, spool::open)
    }

    fn with(fs: &FaultFs, boot: &str, options: Options, open: Opening) -> Rig {
        let live = LiveEpoch::new();
        let clock = Arc::new(Mutex::new((OFFSET, Clock::Trusted)));
        let reading = || -> ClockReading {
            let clock = Arc::clone(&clock);
            Box::new(move || {
                let (offset, trust) = *clock.lock().unwrap();
                let now = Now {
                    mono: Mono(1_000_000_000),
                    system: Utc(offset + 1_000_000_000),
                    synchronised: trust == Clock::Trusted,
                };
                (now, trust)
            })
        };
        let mut ledger = Ledger::default();
        let setup = options.setup(boot);
        let spool = match open(fs.shared(), setup.clone(), live.clone(), reading()) {
            Ok((spool, segments)) => {
                ledger.absorb(segments.into_iter().map(Input::Sealed).collect(), false);
                spool
            }
            Err(_) => Spool::broken(fs.shared(), setup, live.clone(), reading()),
        };
        let mut rig = Rig {
            fs: fs.clone(),
            spool,
            live,
            ledger,
            options,
            init: tiny_mp4::init(64),
            epoch: Epoch(0),
            fragment: 0,
            sequence: 1,
            time: 5_000_000_000,
            closed: Mono(u64::MAX),
            clock,
        };
        rig.absorb(false);
        rig
    }

    /// Begins with the spool, and leaves reading its files to the test: [`Rig::scan`].
    pub fn begin(fs: &FaultFs, boot: &str, options: Options) -> Rig {
        Rig::with(fs, boot, options, |fs, setup, live, clock| {
            spool::begin(fs, setup, live, clock).map(|spool| (spool, Vec::new()))
        })
    }

    /// Reads this many more files.
    pub fn scan(&mut self, most: usize) {
        // What fails is reported.
        let _ = self.spool.scan(most);
        self.absorb(false);
    }

    pub fn absorb(&mut self, withdrawing: bool) {
        // Reports after the power cut are received by nobody.
        let heard = withdrawing && self.fs.failures() == 0;
        self.ledger.absorb(self.spool.take_reports(), heard);
    }

    pub fn set_clock(&self, offset: i64, trust: Clock) {
        *self.clock.lock().unwrap() = (offset, trust);
    }

    /// A new permit.
    pub fn allow(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.live.allow(self.epoch);
        // Devices take a moment to open.
        self.time += 3_000_000_000;
    }

    /// The first `chunks` of the next fragment.
    pub fn chunks(&mut self, chunks: u32) {
        for chunk in 0..chunks {
            self.chunk(chunk);
        }
        if chunks < self.options.chunks {
            self.ledger.cut_short.insert(self.fragment);
        }
        self.fragment += 1;
    }

    pub fn chunk(&mut self, chunk: u32) {
        let tiny = Tiny {
            epoch: self.epoch,
            init: Arc::clone(&self.init),
            fragment: self.fragment,
            chunk,
            of: self.options.chunks,
            sequence: self.sequence,
            start: self.time,
            size: self.options.size,
            zeros: self.options.zeros,
        };
        self.time += CHUNK;
        self.sequence += 1;
        self.ledger.undecided.push_back((self.fragment, chunk));
        self.spool.take(Captured::Chunk(tiny.build()));
        self.absorb(false);
    }

    pub fn fragments(&mut self, fragments: u32) {
        for _ in 0..fragments {
            self.chunks(self.options.chunks);
        }
    }

    pub fn end(&mut self, reason: SpanEnd) {
        self.spool.take(Captured::End { epoch: self.epoch, reason, closed: self.closed });
        self.absorb(reason == SpanEnd::Privacy);
    }

    /// Withdraws the permit, as the agent does.
    pub fn revoke(&mut self) {
        self.live.revoke();
        self.spool.obey(Command::Revoke { epoch: self.epoch, reason: SpanEnd::Privacy });
        self.absorb(true);
    }

    pub fn forget(&mut self, serial: Serial) {
        let labels = read(&self.fs, serial).map(|bytes| tiny_mp4::labels(&bytes));
        self.ledger.forgotten.extend(labels.unwrap_or_default());
        self.obey(Command::Forget { serial });
    }

    pub fn obey(&mut self, command: Command) {
        self.spool.obey(command);
        self.absorb(false);
    }

    pub fn shut_down(&mut self) {
        self.spool.shut_down();
        self.absorb(false);
    }

    /// The sealed segments of footage, oldest first.
    pub fn footage(&self) -> Vec<Segment> {
        self.ledger.sealed.values().filter(|segment| !segment.is_end()).cloned().collect()
    }

    pub fn ends(&self) -> Vec<Segment> {
        self.ledger.sealed.values().filter(|segment| segment.is_end()).cloned().collect()
    }
}

/// A sealed segment as it is sent, from a disk without faults.
pub fn read(fs: &FaultFs, serial: Serial) -> Result<bytes::Bytes, spool::ReadError> {
    let healthy = fs.after(Cut::KeepsAll).shared();
    read_sealed(&Encryption::reading(KEY), healthy, &spool_dir(), serial, 0)
}

/// All bytes of a sealed segment, as the uploader reads them.
pub fn read_sealed(
    encryption: &Encryption,
    fs: Arc<dyn Fs>,
    dir: &Path,
    serial: Serial,
    shift: i64,
) -> Result<bytes::Bytes, spool::ReadError> {
    let mut bytes = Vec::new();
    spool::open_sealed(encryption, fs, dir, serial, shift)?.read(&mut |piece| {
        bytes.extend_from_slice(&piece);
        true
    })?;
    Ok(bytes.into())
}

/// The files of the spool as they are, as far as they can be read.
pub fn held(fs: &FaultFs) -> BTreeMap<Serial, Vec<Label>> {
    held_with(fs, |_, _| {})
}

/// A sector that was never written reads as zeros; none of the test's frames contains so many.
fn has_no_holes(name: SpoolName, bytes: &[u8]) {
    let hole = bytes.chunks(64).position(|part| part.len() == 64 && part.iter().all(|byte| *byte == 0));
    assert_eq!(hole, None, "{name} is to be sent with a hole in it");
}

fn held_with(fs: &FaultFs, look: impl Fn(SpoolName, &[u8])) -> BTreeMap<Serial, Vec<Label>> {
    let mut held = BTreeMap::new();
    for name in fs.names(&spool_dir()) {
        // A file without a spool name is ignored.
        let Some(name) = SpoolName::parse(&name) else { continue };
        match name.kind {
            SpoolKind::Open => panic!("{name} is left open"),
            SpoolKind::End => {}
            SpoolKind::Sealed => {
                let bytes = read(fs, name.serial);
                let is_set_aside = |why: &str| [Aside::Key, Aside::Format].iter().any(|of| why == of.words());
                if matches!(&bytes, Err(spool::ReadError::Damaged(why)) if is_set_aside(why)) {
                    continue;
                }
                let bytes = bytes.unwrap_or_else(|error| panic!("{name} cannot be sent: {error}"));
                look(name, &bytes);
                assert!(held.insert(name.serial, tiny_mp4::labels(&bytes)).is_none());
            }
        }
    }
    held
}

/// Starts on the flash as it is now, and compares it with what the ledger of the process before knows.
/// Returns the rig of the new process.
pub fn restart_and_check(fs: &FaultFs, boot: &str, before: &Ledger, options: Options) -> Rig {
    let rig = Rig::open(fs, boot, options);
    assert_eq!(rig.ledger.failures, 0, "a start on a healthy disk reports no failure");
    let held = held_with(fs, has_no_holes);

    // Every label at most once; every committed one exactly once, unless it was to be removed.
    let mut count: BTreeMap<Label, u32> = BTreeMap::new();
    for label in held.values().flatten() {
        *count.entry(*label).or_default() += 1;
    }
    assert!(count.values().all(|count| *count == 1), "a chunk is held twice: {count:?}");
    for label in before.committed.difference(&before.forgotten) {
        assert!(count.contains_key(label), "{label:?} was committed and is lost; held: {held:?}");
    }
    for label in &before.withheld {
        assert!(!count.contains_key(label), "{label:?} was to be dropped and is held");
    }

    // Fragments are whole.
    for &(fragment, _) in count.keys() {
        let chunks = (0..options.chunks).filter(|chunk| count.contains_key(&(fragment, *chunk))).count();
        let whole = chunks == options.chunks as usize;
        let in_parts =
            options.part < u64::from(options.chunks) * CHUNK && chunks as u64 * CHUNK % options.part == 0;
        let may_be_partial = options.keep_partial_gop || in_parts || before.cut_short.contains(&fragment);
        assert!(whole || may_be_partial, "{chunks} chunks are held of fragment {fragment}");
    }

    // What the start returned is what is there.
    let returned: BTreeSet<Serial> = rig.footage().iter().map(|segment| segment.serial).collect();
    assert_eq!(returned, held.keys().copied().collect(), "the start does not return what is there");
    for segment in rig.footage() {
        let labels = &held[&segment.serial];
        let Content::Footage { duration, .. } = segment.content else { unreachable!() };
        assert_eq!(duration, labels.len() as u64 * CHUNK);
    }

    assert_spans_are_told(&rig);

    // Once in order, it stays in order.
    let again = Rig::open(fs, boot, options);
    assert_eq!(again.ledger.sealed, rig.ledger.sealed, "a second start finds something else");
    for serial in rig.ledger.serials.iter().filter(|serial| !before.serials.contains(serial)) {
        let newer = before.serials.last().is_none_or(|last| serial > last);
        let name = SpoolName { serial: *serial, kind: SpoolKind::End }.to_string();
        let is_end = fs.names(&spool_dir()).contains(&name);
        assert!(newer || !is_end, "the serial {serial} was given out again");
    }
    rig
}

/// Segments of a span follow each other without a gap, and each span has one end, where its last segment
/// ends.
pub fn assert_spans_are_told(rig: &Rig) {
    let mut spans: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
    for segment in rig.ledger.sealed.values() {
        spans.entry(segment.record.span.clone()).or_default().push(segment.clone());
    }
    for (span, mut segments) in spans {
        segments.sort_by_key(|segment| segment.record.n);
        let ends: Vec<&Segment> = segments.iter().filter(|segment| segment.is_end()).collect();
        assert_eq!(ends.len(), 1, "span {span} has {} ends: {segments:?}", ends.len());
        assert!(segments.last().unwrap().is_end(), "span {span} goes on behind its end");
        for pair in segments.windows(2) {
            let Content::Footage { duration, .. } = pair[0].content else { unreachable!() };
            if pair[1].record.n == pair[0].record.n + 1 {
                let expected = end_of(&pair[0].record, duration);
                assert_eq!(pair[1].record.start_mono, expected.start_mono, "a gap within span {span}");
                assert_eq!(pair[1].record.start_utc, expected.start_utc);
            }
            assert!(pair[0].record.n < pair[1].record.n, "a counter repeats in span {span}");
        }
    }
}

/// A path in the spool.
pub fn in_spool(name: &str) -> PathBuf {
    spool_dir().join(Path::new(name))
}
