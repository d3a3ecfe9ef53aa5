//! How much may be lost (`docs/on-disk-format.md`, "What can be lost"), counted in pictures that were sent:
//! when the process is killed, what was in the fragment in the making; when the power fails, what was not
//! written before the last pass that succeeded began.

use std::collections::{BTreeMap, BTreeSet};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::camera::Camera;
use super::day::stream;
use super::model::Model;
use super::node::found_in;
use crate::fs::FileSystem;
use crate::fs::sim::SimFs;
use crate::ids::{SeededEntropy, StreamId, StreamKind};
use crate::live::Hub;
use crate::media::MediaSink;
use crate::mux::MuxOptions;
use crate::record::Recorder;
use crate::record::disk::RecordOptions;
use crate::store::Store;
use crate::time::{Clock, SECOND_US, SimClock};

/// What cannot be lost any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Safe {
    /// Since the file system had seen so many changes.
    changes: u64,
    /// By stream, the number of the first picture that may be lost.
    before: BTreeMap<StreamId, u64>,
    /// Pictures before that are in files whose sync failed once.
    doubtful: BTreeMap<StreamId, BTreeSet<u64>>,
}

impl Safe {
    fn of(cameras: &[Camera], changes: u64) -> Self {
        let before = cameras.iter().map(|c| (c.id, c.handed_over())).collect();
        Safe { changes, before, doubtful: BTreeMap::new() }
    }

    pub(super) fn covers(&self, id: StreamId, number: u64) -> bool {
        number < self.before.get(&id).copied().unwrap_or(0)
            && self.doubtful.get(&id).is_none_or(|doubtful| !doubtful.contains(&number))
    }
}

/// What cannot be lost, at each moment.
#[derive(Debug, Default)]
pub(super) struct Safety {
    /// Not by a kill.
    written: Vec<Safe>,
    /// Nor by a power cut.
    durable: Vec<Safe>,
}

impl Safety {
    /// Everything that recorders handed over is written.
    pub(super) fn written(&mut self, changes: u64, cameras: &[Camera]) {
        self.written.push(Safe::of(cameras, changes));
    }

    /// A pass has succeeded, before which nothing was sent that is not said to be written.
    pub(super) fn durable(&mut self, changes: u64, doubtful: BTreeMap<StreamId, BTreeSet<u64>>) {
        let before = self.written.last().map(|safe| safe.before.clone()).unwrap_or_default();
        self.durable.push(Safe { changes, before, doubtful });
    }

    /// What could not be lost before the change of this number.
    pub(super) fn at(&self, changes: u64, power: bool) -> Safe {
        let all = if power { &self.durable } else { &self.written };
        all.iter().rev().find(|safe| safe.changes <= changes).cloned().unwrap_or_default()
    }

    /// What comes after this change never came.
    pub(super) fn ends_at(&mut self, changes: u64) {
        self.written.retain(|safe| safe.changes <= changes);
        self.durable.retain(|safe| safe.changes <= changes);
    }
}

/// Passes as they go by in their own thread, and power cuts meanwhile.
#[derive(Default)]
struct Passes {
    /// All of this is written.
    written: Safe,
    /// … and was when the pass began that is under way.
    before_this: Option<Safe>,
    /// … and when the last one began that succeeded.
    before_last: Safe,
    /// How many did, with news.
    done: usize,
    cuts: Vec<Cut>,
}

/// The power failed.
struct Cut {
    safe: Safe,
    written: Safe,
    fs: SimFs,
}

const CUTS: usize = 150;

impl Passes {
    /// Something is about to happen on the disk.
    fn see(&mut self, op: &'static str, path: &Path, fs: &SimFs, nth: usize) {
        let by_pass =
            std::thread::current().name().is_some_and(|name| name.starts_with("nvr-sync"));
        match op {
            // What a pass does first: before it takes what is to be synced.
            "identity" if by_pass => self.before_this = Some(self.written.clone()),
            // What it does last: before the disks are told so, all of it is durable.
            "write" if by_pass && path.ends_with(".synced") => {
                if let Some(before) = self.before_this.take() {
                    self.done += usize::from(before.before != self.before_last.before);
                    self.before_last = before;
                }
            }
            _ => {}
        }
        if self.cuts.len() < CUTS.min(3 * self.done) && nth % 7 < 2 {
            let fs = fs.after_power_failure(nth as u64);
            let (safe, written) = (self.before_last.clone(), self.written.clone());
            self.cuts.push(Cut { safe, written, fs });
        }
    }
}

/// Writing and passes, each in its own thread and by the timer, as in a node. Whenever the power fails,
/// nothing is lost that was written before the last pass that was completed began: so what came within that
/// pass, the wait after it and the pass under way, and the fragment in the making.
#[test]
fn a_power_cut_costs_what_was_written_since_the_last_pass_began() {
    let (fs, clock) = (SimFs::default(), Arc::new(SimClock::at(1_795_478_390 * SECOND_US)));
    let open = |fs: &SimFs| {
        let fs: Arc<dyn FileSystem> = Arc::new(fs.clone());
        Arc::new(Store::open(fs, clock.clone(), &[PathBuf::from("/a")], false).unwrap())
    };
    let options = RecordOptions {
        sync_interval: Duration::from_millis(1),
        main: MuxOptions::with_segment_s(5),
        sub: MuxOptions::with_segment_s(15),
        ..RecordOptions::default()
    };
    let (hub, entropy) = (Arc::new(Hub::new().unwrap()), Arc::new(SeededEntropy::new(1)));
    let mut recorder = Recorder::new(open(&fs), hub, options, entropy).unwrap();
    const PERIOD_US: i64 = 100_000;
    let mut cameras = vec![
        Camera::new(stream(1, StreamKind::Main), PERIOD_US, 10, 300),
        Camera::new(stream(1, StreamKind::Sub), PERIOD_US, 90, -300),
    ];
    let mut streams: Vec<_> =
        cameras.iter().map(|camera| recorder.stream(camera.id, 0).unwrap()).collect();
    for (camera, stream) in cameras.iter_mut().zip(&mut streams) {
        camera.connect(clock.now(), 0);
        stream.begin(clock.now(), camera.params(), None);
    }
    let passes = Arc::new(Mutex::new(Passes::default()));
    let (seen, seen_fs, mut nth) = (passes.clone(), fs.clone(), 0);
    fs.between(move |op, path| {
        nth += 1;
        seen.lock().see(op, path, &seen_fs, nth);
    });
    let mut model = Model::default();
    while passes.lock().cuts.len() < CUTS {
        let now = clock.now();
        for (camera, stream) in cameras.iter_mut().zip(&mut streams) {
            for (sent, unit) in camera.pictures(now, PERIOD_US, &|n| now.wall_us as u64 % n) {
                model.sent(camera.id, sent);
                stream.video(unit);
            }
        }
        clock.advance(PERIOD_US);
        recorder.flush();
        passes.lock().written = Safe::of(&cameras, 0);
        std::thread::sleep(Duration::from_micros(30));
    }
    let mut passes = std::mem::take(&mut *passes.lock());
    recorder.close().unwrap();
    let ids: Vec<StreamId> = cameras.iter().map(|camera| camera.id).collect();
    let mut lost = 0;
    for Cut { safe, written, fs } in passes.cuts.drain(..) {
        let store = open(&fs);
        for id in &ids {
            let found = found_in(&store, *id);
            model.check_found(&found);
            model.check_safe(*id, &found, &safe, u64::MAX);
            let until = found.values().map(|f| f.pictures.1 + 1).max().unwrap_or(0);
            lost += usize::from(until < written.before[id]);
        }
    }
    // Or nothing was at stake.
    assert!(lost > 0);
}
