//! Lives a day.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::camera::Camera;
use super::loss::Safety;
use super::model::{Fragments, Model, check_store};
use super::node::{Key, Node, ROOTS};
use super::steps::{Crash, Step, and_later, any};
use crate::fs::FileSystem;
use crate::fs::sim::{EIO, ENOSPC, Fault, HardDisk, Random, SimFs};
use crate::ids::{CameraId, StreamId, StreamKind};
use crate::media::MediaSink;
use crate::reason::Reason;
use crate::store::{GroupLimits, Limits, Store};
use crate::time::{Clock, Moment, SECOND_US, SimClock};

/// Things that happen on a day.
const STEPS: usize = 60;
/// A GOP and a fragment in the making: what a disturbance reaches back, or on.
const REACH_US: i64 = 12 * SECOND_US;

/// What happened on a day, or on many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lived {
    pub fragments: usize,
    pub deleted: usize,
    pub kills: usize,
    pub power_cuts: usize,
    pub faults: usize,
    pub lost: usize,
    pub unnoted: usize,
    /// Passes of more than five seconds.
    pub slow: usize,
}

impl Lived {
    pub(super) fn add(&mut self, other: Lived) {
        self.fragments += other.fragments;
        self.deleted += other.deleted;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.faults += other.faults;
        self.lost += other.lost;
        self.unnoted += other.unnoted;
        self.slow += other.slow;
    }

    /// There was some of everything.
    pub(super) fn eventful(&self) -> bool {
        let Lived { fragments, deleted, kills, power_cuts, faults, lost, unnoted: _, slow } = *self;
        [fragments, deleted, kills, power_cuts, faults, lost, slow].iter().all(|n| *n > 0)
    }
}

/// What was acknowledged, after so many changes.
#[derive(Clone)]
pub(super) struct Ack {
    pub changes: u64,
    pub durable: Fragments,
    pub gone: BTreeSet<Key>,
}

pub(super) struct Day {
    acks: Vec<Ack>,
    safety: Safety,
    random: Random,
    tells: bool,
    fs: SimFs,
    clock: Arc<SimClock>,
    cameras: Vec<Camera>,
    node: Option<Node>,
    model: Model,
    lived: Lived,
    faulty: bool,
    /// What goes wrong at starts; apart, so that it changes no day's steps.
    bad_starts: Option<Random>,
    /// What days did not have at first; apart likewise.
    later: Option<Random>,
    power_was_cut: bool,
    starts: u64,
    holds: u64,
    /// What is found now, as of the last look.
    found: RefCell<Fragments>,
}

pub(super) fn stream(camera: u128, kind: StreamKind) -> StreamId {
    StreamId { camera: CameraId(uuid::Uuid::from_u128(camera)), kind }
}

impl Day {
    pub(super) fn new(seed: u64, tells: bool) -> Self {
        let random = Random::new(seed);
        let drift = || i64::try_from(random.below(1001)).unwrap_or(0) - 500;
        let mut cameras = vec![
            Camera::new(stream(1, StreamKind::Main), 200_000, 5 + random.below(10), drift()),
            Camera::new(stream(1, StreamKind::Sub), 400_000, 4, drift()),
            Camera::new(stream(2, StreamKind::Main), 250_000, 1 + random.below(40), drift()),
        ];
        cameras.truncate(1 + random.below(3) as usize);
        // 2026-11-23, not long before midnight (UTC).
        let start_us = 1_795_478_400 * SECOND_US - 1 - random.below(600_000_000) as i64;
        let fs = SimFs::default();
        for root in ROOTS {
            fs.create_dir_all(&PathBuf::from(root)).unwrap();
        }
        fs.sync_dir(&PathBuf::from("/")).unwrap();
        let mut day = Day {
            acks: Vec::new(),
            safety: Safety::default(),
            random,
            tells,
            fs,
            clock: Arc::new(SimClock::at(start_us)),
            cameras,
            node: None,
            model: Model::default(),
            lived: Lived::default(),
            faulty: false,
            bad_starts: Some(Random::new(!seed)),
            later: None,
            power_was_cut: false,
            starts: seed << 16,
            holds: 0,
            found: RefCell::default(),
        };
        for reason in ["recorder_stopped", "clock_step", "parameters_changed"] {
            day.model.reasons.insert(reason.to_owned());
        }
        day.start();
        day
    }

    /// A day on which anything may happen.
    pub(super) fn any(seed: u64, tells: bool) -> Self {
        let later = Some(Random::new(seed.reverse_bits()));
        Day { later, ..Day::new(seed, tells) }
    }

    /// A day of two streams, on which nothing happens by chance.
    pub(super) fn scripted() -> Self {
        let mut day = Day::new(0, false);
        day.bad_starts = None;
        day.cameras = vec![
            Camera::new(stream(1, StreamKind::Main), 200_000, 6, 300),
            Camera::new(stream(1, StreamKind::Sub), 400_000, 4, -300),
        ];
        day.clock = Arc::new(SimClock::at(1_795_478_400 * SECOND_US - 20_000_123));
        day.start();
        day
    }

    /// Three streams whose clocks are as far off as cameras' may be.
    pub(super) fn drifting() -> Self {
        let mut day = Day::scripted();
        day.cameras.push(Camera::new(stream(2, StreamKind::Main), 250_000, 8, -500));
        day.cameras[0].drift_ppm = 500;
        day.start();
        day
    }

    pub(super) fn store(&self) -> &Store {
        &self.node().store
    }

    pub(super) fn connect_at(&mut self, n: usize, media_90k: i64) {
        let (now, camera) = (self.clock.now(), &mut self.cameras[n]);
        camera.connect(now, media_90k);
        let params = camera.params();
        if let Some(stream) = self.node.as_mut().and_then(|n| n.streams.get_mut(&camera.id)) {
            stream.begin(now, params, None);
        }
    }

    pub(super) fn hub(&self) -> &crate::live::Hub {
        self.node().recorder.hub()
    }

    /// A disk has no room left.
    pub(super) fn fill(&self, root: usize) {
        self.fs.set_disk(Path::new(ROOTS[root]), 1);
    }

    /// Another folder lies where a disk was: it was unmounted, or is there again.
    pub(super) fn mount(&mut self, root: usize, number: u64) {
        self.fs.mount(Path::new(ROOTS[root]), number);
        self.model.reasons.insert("disk_error".to_owned());
        self.faulty = number != 0;
    }

    /// Disks have room again.
    pub(super) fn unfill(&self) {
        ROOTS.iter().for_each(|root| self.fs.set_disk(Path::new(root), 1 << 40));
    }

    /// Ends in order, and starts again with disks that fail.
    pub(super) fn restart_with(&mut self, faults: Vec<Fault>) {
        self.carry_out(&Step::Restart);
        self.node = None;
        self.fs.set_faults(faults);
        self.model.reasons.extend(["disk_error", "recorder_crashed"].map(str::to_owned));
        self.start();
        self.faulty = true;
    }

    pub(super) fn film(&self) {
        self.fs.film();
    }

    pub(super) fn moments(&self) -> Vec<SimFs> {
        self.fs.moments()
    }

    pub(super) fn acks(&self) -> &[Ack] {
        &self.acks
    }

    pub(super) fn safety(&self) -> &Safety {
        &self.safety
    }

    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    pub(super) fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    pub(super) fn known(&self) -> Fragments {
        self.found.borrow().clone()
    }

    pub(super) fn now_us(&self) -> i64 {
        self.clock.now().wall_us
    }

    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.cameras.iter().map(|c| c.id).collect()
    }

    pub(super) fn changes(&self) -> u64 {
        self.fs.changes()
    }

    /// One change fails, after so many.
    pub(super) fn fail_once(&mut self, after: u64, errno: i32, short: bool) {
        let fault = Fault { after, times: 1, short, ..Fault::of("change", "/", errno) };
        self.fs.set_faults(vec![fault]);
        self.model.reasons.extend(["disk_full", "disk_error", "expired"].map(str::to_owned));
        self.faulty = true;
    }

    /// These calls fail from now on.
    pub(super) fn fail_at(&mut self, fault: Fault) {
        self.fs.set_faults(vec![fault]);
        self.faulty = true;
    }

    /// Time passes in which nothing happens.
    pub(super) fn advance(&self, seconds: i64) {
        self.clock.advance(seconds * SECOND_US);
    }

    fn acknowledge(&mut self, changes: u64) {
        let (durable, gone) = (self.model.durable.clone(), self.model.gone.clone());
        self.acks.push(Ack { changes, durable, gone });
    }

    pub(super) fn live(mut self) -> Lived {
        self.live_on();
        self.end();
        self.lived
    }

    pub(super) fn live_on(&mut self) {
        for n in 0..STEPS {
            let mut step = any(&|n| self.random.below(n), self.cameras.len(), self.faulty);
            let mut slow = None;
            if let Some(later) = &self.later {
                (slow, step) = and_later(&|n| later.below(n), step);
            }
            let crash = (self.random.below(9) == 0)
                .then(|| Crash { changes: self.random.below(24), power: self.random.below(3) > 0 });
            if self.tells {
                let at = jiff::Timestamp::from_microsecond(self.clock.now().wall_us).unwrap();
                println!(
                    "{n}: {at} {}{step:?} {}",
                    slow.as_ref().map_or(String::new(), |slow| format!("{slow:?} ")),
                    crash.map_or(String::new(), |c| format!("{c:?}"))
                );
            }
            slow.iter().for_each(|slow| self.carry_out(slow));
            match crash {
                Some(crash) => self.crash_in(&step, crash),
                None => {
                    self.carry_out(&step);
                    self.look();
                }
            }
        }
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.fs.files()
    }

    /// In the end all is well again: what was recorded is there, and recording goes on.
    pub(super) fn end(&mut self) {
        self.carry_out(&Step::Mend);
        self.carry_out(&Step::Restart);
        for n in 0..self.cameras.len() {
            self.carry_out(&Step::Up(n));
        }
        self.look();
        let before = self.found.borrow().len();
        self.carry_out(&Step::Record(30));
        self.look();
        let now = self.found.borrow().len();
        assert!(now > before + self.cameras.len(), "nothing is recorded any more: {before} {now}");
        self.carry_out(&Step::Restart);
        self.look();
        self.lived.fragments = self.found.borrow().len() + self.lived.deleted;
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn start(&mut self) {
        let ids: Vec<StreamId> = self.cameras.iter().map(|c| c.id).collect();
        self.starts += 1;
        self.faulty = false;
        // What the process before could not note, because the disk took nothing or it was killed
        // in that instant, nobody can know of: the system is so kind as to write it.
        let noted = self.noted();
        let unnoted = self.fs.in_doubt().into_iter().filter(|path| !noted.contains(path));
        for path in unnoted {
            self.fs.write_out(&path);
            self.lived.unnoted += 1;
        }
        let bad = self.bad_starts.as_ref().filter(|random| random.below(4) == 0).map(|random| {
            let (after, root) = (random.below(12), ROOTS[random.below(2) as usize]);
            Fault { after, times: 1 + random.below(3), ..Fault::of("sync", root, EIO) }
        });
        if let Some(fault) = &bad {
            self.fs.set_faults(vec![fault.clone()]);
            self.model.reasons.insert("disk_error".to_owned());
        }
        self.node = Some(Node::start(&self.fs, &self.clock, &ids, self.starts).unwrap());
        if bad.is_some() {
            self.fs.set_faults(Vec::new());
        }
        self.tell_repairs();
        for camera in &mut self.cameras {
            camera.up = false;
        }
    }

    /// Tells what was put right.
    fn tell_repairs(&self) {
        if self.tells {
            println!("   {:?}", self.node().store.repairs);
        }
    }

    /// A reader looks at everything.
    pub(super) fn look(&self) {
        if self.faulty {
            return;
        }
        let mut found = Fragments::new();
        for camera in &self.cameras {
            found.extend(self.node().found(camera.id));
        }
        self.model.check_found(&found);
        self.model.check_durable(&found);
        for camera in &self.cameras {
            self.model.check_coverage(&self.node().store, camera.id, &found);
            let now_us = self.clock.now().mono_us;
            let until = now_us - camera.behind_us(now_us) - REACH_US;
            self.model.check_complete(camera, &found, until);
        }
        check_store(&self.fs, self.power_was_cut, self.store());
        *self.found.borrow_mut() = found;
    }

    fn found_now(&self) -> Fragments {
        self.cameras.iter().flat_map(|c| self.node().found(c.id)).collect()
    }

    fn excuse(&mut self, since_us: i64) {
        for camera in &self.cameras {
            self.model.excuse_since(camera.id, since_us);
        }
    }

    /// Cameras send, and one disk does nothing.
    pub(super) fn stall(&mut self, root: usize, seconds: i64) {
        self.record(seconds, Some(ROOTS[root]));
    }

    /// Disks that are there again are taken into use, as a node does every few seconds.
    fn take_up(&self) {
        for root in self.store().returned() {
            self.node().recorder.let_go(&root);
            let taken = self.store().take_up(&root);
            assert!(taken.is_ok() || self.faulty, "{taken:?}");
        }
    }

    /// The disks do what waits for them.
    pub(super) fn flush(&self) {
        self.node().recorder.flush();
    }

    fn record(&mut self, seconds: i64, stalled: Option<&str>) {
        for _ in 0..seconds {
            let now = self.clock.now();
            // While a slow disk was synced cameras sent, and threads wrote.
            let behind = self.cameras.iter().map(|c| c.behind_us(now.mono_us)).max().unwrap_or(0);
            for back in (0..=behind / SECOND_US).rev() {
                self.record_until(now, SECOND_US - back * SECOND_US, stalled);
            }
            self.clock.advance(SECOND_US);
            if self.faulty {
                self.excuse(now.mono_us - behind);
            } else if stalled.is_none() {
                self.safety.written(self.fs.changes(), &self.cameras);
            }
        }
    }

    /// What cameras send until so long after an instant is recorded.
    fn record_until(&mut self, now: Moment, lasts_us: i64, stalled: Option<&str>) {
        for camera in &mut self.cameras {
            let units = camera.pictures(now, lasts_us, &|n| self.random.below(n));
            let Some(node) = &mut self.node else { return };
            let Some(recorder) = node.streams.get_mut(&camera.id) else { return };
            for (sent, unit) in units {
                self.model.sent(camera.id, sent);
                recorder.video(unit);
            }
            for root in ROOTS.iter().filter(|r| stalled != Some(**r)) {
                node.recorder.work(&PathBuf::from(root));
            }
        }
    }

    /// A pass has succeeded.
    fn synced(&mut self, found: Fragments) {
        let in_doubt = self.in_doubt();
        let doubtful = self.model.synced(found, &in_doubt);
        self.safety.durable(self.fs.changes(), doubtful);
        self.acknowledge(self.fs.changes());
    }

    pub(super) fn carry_out(&mut self, step: &Step) {
        let now = self.clock.now();
        match step {
            Step::Record(seconds) => self.record(*seconds, None),
            Step::Idle(us) => {
                for n in 0..self.cameras.len() {
                    self.carry_out(&Step::Down(n, Reason::UNREACHABLE));
                }
                self.clock.advance(*us);
            }
            Step::Up(n) if self.cameras[*n].up => {}
            // An RTP clock begins anywhere.
            Step::Up(n) => self.connect_at(*n, self.random.below(1 << 32) as i64),
            Step::Down(n, reason) => {
                let camera = &mut self.cameras[*n];
                self.model.reasons.insert(reason.0.to_string());
                camera.up = false;
                let node = self.node.as_mut().unwrap();
                if let Some(stream) = node.streams.get_mut(&camera.id) {
                    stream.end(now, reason.clone(), "");
                }
                node.recorder.flush();
                if !self.faulty {
                    self.safety.written(self.fs.changes(), &self.cameras);
                }
            }
            Step::Jump(n, by_90k, within) => self.cameras[*n].jump(*by_90k, *within),
            Step::Params(n) => {
                let camera = &mut self.cameras[*n];
                if camera.up {
                    camera.change_params();
                    let params = camera.params();
                    if let Some(stream) = self.node.as_mut().unwrap().streams.get_mut(&camera.id) {
                        stream.video_params(params);
                    }
                }
            }
            Step::SetClock(us) => self.clock.step(*us),
            Step::Smear(ppm, seconds) => {
                for _ in 0..*seconds {
                    self.clock.step(*ppm);
                    self.record(1, None);
                }
            }
            Step::Sync => {
                self.node().recorder.flush();
                self.take_up();
                let synced = self.node().recorder.sync();
                let took_us = self.clock.now().mono_us - now.mono_us;
                self.lived.slow += usize::from(took_us > 5 * SECOND_US);
                match synced {
                    Ok(()) if !self.faulty => self.synced(self.found_now()),
                    Ok(()) => {}
                    Err(e) => assert!(self.faulty, "{e}"),
                }
            }
            Step::Slow(seek_us) => {
                let disk = HardDisk::new(Some(self.clock.clone()));
                self.fs.set_hard_disk(HardDisk { seek_us: *seek_us, ..disk });
            }
            Step::Free(percent) => self.free_some(*percent),
            Step::Retain { age_us, percent } => self.retain_some(*age_us, *percent),
            Step::Hold { camera, back_us, lasts_us } => {
                let (id, from) = (self.cameras[*camera].id, now.wall_us - back_us);
                let range = (from, from + lasts_us);
                self.holds += 1;
                let hold = format!("hold-{}", self.holds);
                match self.node().store.hold(id, &hold, range, "") {
                    Ok(held) => {
                        let faults = self.fs.set_faults(Vec::new());
                        let found = self.node().found(id);
                        self.fs.set_faults(faults);
                        self.model.held(hold, id, (range, held), &found);
                    }
                    Err(e) => assert!(self.faulty, "{e}"),
                }
            }
            Step::Release => {
                let (start, gone) = (self.fs.changes(), self.model.gone.clone());
                let faults = self.fs.set_faults(Vec::new());
                let before = self.found_now();
                self.fs.set_faults(faults);
                let Some((hold, (id, ..))) = self.model.holds.pop_first() else { return };
                let released = self.node().store.release(id, &hold);
                assert!(self.faulty || released.as_ref().is_ok_and(|r| *r), "{released:?}");
                // What would have been deleted but for the hold.
                self.gone_since(&before, released.is_ok(), start, gone);
            }
            Step::Fault { root, op, errno, after, short } => {
                let fault =
                    Fault { after: *after, short: *short, ..Fault::of(op, ROOTS[*root], *errno) };
                self.fs.set_faults(vec![fault]);
                let reason = if *errno == ENOSPC { "disk_full" } else { "disk_error" };
                self.model.reasons.insert(reason.to_owned());
                self.excuse(now.mono_us - REACH_US);
                self.faulty = true;
                self.lived.faults += 1;
            }
            Step::Mend => {
                self.fs.set_faults(Vec::new());
                if self.faulty {
                    self.take_up();
                    self.record(REACH_US / SECOND_US, None);
                    self.node().recorder.flush();
                    self.faulty = false;
                    // What is lost is lost.
                    let found = self.found_now();
                    self.excuse_missing(&found);
                }
            }
            Step::Stall(_, seconds) if self.faulty => self.record(*seconds, None),
            Step::Stall(root, seconds) => {
                self.model.reasons.insert("overload".to_owned());
                self.record(*seconds, Some(ROOTS[*root]));
                self.node().recorder.flush();
                self.record(REACH_US / SECOND_US, None);
                let found = self.found_now();
                self.excuse_missing(&found);
            }
            Step::Restart => {
                let mut node = self.node.take().unwrap();
                for camera in &mut self.cameras {
                    if let Some(stream) = node.streams.get_mut(&camera.id) {
                        stream.end(now, Reason::RECORDER_STOPPED, "");
                    }
                }
                let closed = node.recorder.close();
                node.store.close();
                drop(node);
                let all = closed.is_ok() && !self.faulty;
                if all {
                    self.cameras.iter_mut().for_each(|camera| camera.up = false);
                    self.safety.written(self.fs.changes(), &self.cameras);
                }
                if !all {
                    // Its last words may not be in the log.
                    self.model.reasons.insert("recorder_crashed".to_owned());
                }
                self.fs = self.fs.after_kill();
                self.start();
                let found = self.found_now();
                if all {
                    self.model.check_durable(&found);
                    self.synced(found);
                } else {
                    self.excuse_missing(&found);
                }
            }
        }
    }

    /// Files whose sync failed, and for which a later one does not make good. Each is noted, so
    /// that the next start does.
    fn in_doubt(&self) -> BTreeSet<PathBuf> {
        let in_doubt = self.fs.in_doubt();
        let ours = |path: &&PathBuf| path.ancestors().nth(3).is_some_and(|p| p != Path::new("/"));
        for path in in_doubt.iter().filter(ours) {
            let noted = self.noted().contains(path);
            assert!(noted, "{} is in doubt, and not noted", path.display());
        }
        in_doubt
    }

    fn noted(&self) -> BTreeSet<PathBuf> {
        let faults = self.fs.set_faults(Vec::new());
        let noted = |root| crate::store::doubt::read(&self.fs, Path::new(root)).unwrap();
        let noted = ROOTS.iter().flat_map(noted).collect();
        self.fs.set_faults(faults);
        noted
    }

    fn excuse_missing(&mut self, found: &Fragments) {
        for camera in &self.cameras {
            self.model.excuse_missing(camera.id, found);
        }
    }

    /// As much as this may stay, of all that there is.
    fn retain_some(&mut self, max_age_us: Option<i64>, percent: u64) {
        let faults = self.fs.set_faults(Vec::new());
        self.node().recorder.flush();
        let usage = self.node().store.disk_usage().unwrap();
        self.fs.set_faults(faults);
        let bytes: u64 = usage.iter().map(|u| u.footage_bytes).sum();
        let max_bytes = Some(bytes * percent / 100);
        self.retain(Limits { max_age_us, max_bytes, min_free_bytes: None }, &[]);
    }

    /// So much must be free that of what lies on the fullest root so many percent may stay.
    fn free_some(&mut self, percent: u64) {
        const DISK: u64 = 1 << 40;
        self.node().recorder.flush();
        let files = self.fs.files();
        let used = |root: &&str| -> u64 {
            let here = files.iter().filter(|(path, _)| path.starts_with(root));
            here.map(|(_, bytes)| bytes.len() as u64).sum()
        };
        let most = ROOTS.iter().map(used).max().unwrap_or(0);
        let min_free_bytes = Some(DISK - most * percent / 100);
        ROOTS.iter().for_each(|root| self.fs.set_disk(Path::new(root), DISK));
        self.retain(Limits { min_free_bytes, ..Limits::default() }, &[]);
        ROOTS.iter().for_each(|root| self.fs.set_disk(Path::new(root), None));
    }

    pub(super) fn retain(&mut self, limits: Limits, groups: &[GroupLimits]) {
        let node = self.node.as_ref().unwrap();
        node.recorder.flush();
        let faults = self.fs.set_faults(Vec::new());
        let (start, gone) = (self.fs.changes(), self.model.gone.clone());
        let before = self.found_now();
        self.fs.set_faults(faults);
        let done = node.store.retain(limits, groups);
        assert!(done.is_ok() || self.faulty, "{done:?}");
        self.gone_since(&before, done.is_ok(), start, gone);
    }

    /// What was found before and is not now was deleted, since this change.
    fn gone_since(&mut self, before: &Fragments, told: bool, start: u64, gone: BTreeSet<Key>) {
        let end = self.fs.changes();
        let faults = self.fs.set_faults(Vec::new());
        let after = self.found_now();
        self.fs.set_faults(faults);
        self.lived.deleted += before.len() - after.len();
        if before.len() > after.len() {
            self.model.reasons.insert("expired".to_owned());
        }
        self.model.deleted(before, &after, told, start);
        // Meanwhile what goes may be there, or gone.
        let durable = self.model.durable.clone();
        self.acks.push(Ack { changes: start, durable, gone });
        self.acknowledge(end);
    }

    /// The recorder ends without a word in the middle of something, and starts again.
    fn crash_in(&mut self, step: &Step, crash: Crash) {
        let faulty = self.faulty;
        let known = self.found.borrow().clone();
        let known_keys: Vec<Key> = known.keys().copied().collect();
        let (durable, gone) = (self.model.durable.clone(), self.model.gone.clone());
        let holds = self.model.holds.clone();
        self.fs.remember_after(crash.changes);
        self.carry_out(step);
        let fs = self.fs.remembered();
        let change = fs.changes();
        self.safety.ends_at(change);
        self.model.ends_at(change);
        self.node = None;
        self.fs = if crash.power {
            self.lived.power_cuts += 1;
            self.power_was_cut = true;
            fs.after_power_failure(self.random.below(u64::MAX))
        } else {
            self.lived.kills += 1;
            fs.after_kill()
        };
        self.model.reasons.insert("recorder_crashed".to_owned());
        self.start();
        let found = self.found_now();
        // What the step acknowledged came after the moment, or before it: nobody knows.
        let deleted = |k: &Key| {
            durable.contains_key(k) && !self.model.durable.contains_key(k)
                || self.model.gone.contains(k) && !gone.contains(k)
        };
        let must_not: Vec<Key> = durable.keys().filter(|k| deleted(k)).copied().collect();
        let mut must = if crash.power || faulty { durable.clone() } else { known };
        must.retain(|k, _| !deleted(k));
        for (key, f) in &must {
            let repairs = &self.node().store.repairs;
            let len = self.fs.file_len(&f.segment);
            assert!(
                found.contains_key(key),
                "{key:?} {f:?} is lost: {crash:?} {len:?} {repairs:#?}"
            );
        }
        let safe = self.safety.at(change, crash.power);
        for camera in &self.cameras {
            self.model.check_safe(camera.id, &found, &safe, change);
        }
        self.lived.lost += known_keys.iter().filter(|k| !found.contains_key(k)).count();
        self.model.gone = gone;
        self.model.durable = durable;
        self.model.durable.retain(|k, _| must_not.iter().all(|d| d != k));
        self.model.holds.retain(|hold, _| holds.contains_key(hold));
        self.model.reasons.insert("expired".to_owned());
        self.excuse_missing(&found);
        self.look();
    }
}
