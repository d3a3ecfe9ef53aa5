//! The threads of each disk: one writes what streams hand over, another makes it durable. The
//! queue between is bounded; what does not fit is given up by whole groups of pictures.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::dirty::Dirty;
use super::queue::Queue;
use super::segments::SegmentWriter;
use super::stats::{Histogram, StreamStats};
use super::stream::StreamRecorder;
use crate::ids::{Entropy, RunId, StreamId, StreamKind};
use crate::live::{Hub, StreamEvent};
use crate::mux::{MuxOptions, Muxed};
use crate::reason::Reason;
use crate::store::events::Event;
use crate::store::{Root, Store, StreamStore};
use crate::time::SECOND_US;
use crate::{Error, Result};

/// What the writing thread is to do.
pub(super) enum Op {
    /// Append a fragment to its stream's segment.
    Write(Box<Muxed>),
    /// Note an event in the stream's log.
    Log(Event),
    /// The run is over: give the segment its footer.
    Seal,
    /// Say when everything before is written.
    Flush(mpsc::SyncSender<()>),
    /// Leave the files of this disk as they are, and say when that is done.
    LetGo(mpsc::SyncSender<()>),
}

impl Op {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Op::Write(muxed) => muxed.byte_count(),
            _ => 0,
        }
    }
}

/// A stream's side of the queues, shared by who records and who writes, whichever disk that is.
#[derive(Debug)]
pub(super) struct Lane {
    pub stream: Arc<StreamStore>,
    pub stats: Arc<StreamStats>,
    pub hub: Arc<Hub>,
    /// A fragment could not be written to the disk of this number (from 1; 0: none): only one that
    /// begins a segment is of use.
    broken: AtomicUsize,
    untold: Mutex<Untold>,
}

/// What is not in the log yet, because the disk does not take it.
#[derive(Debug, Default)]
struct Untold {
    events: Vec<Event>,
    /// Fragments that could not be written.
    losing: Option<Losing>,
}

#[derive(Debug)]
struct Losing {
    at_us: i64,
    until_us: i64,
    /// The newest one's.
    run: RunId,
    reason: Reason,
    detail: String,
}

/// More events than this do not wait: a disk that takes none for so long takes no footage either.
const MAX_UNTOLD: usize = 1000;

impl Lane {
    fn is_broken(&self, disk: usize) -> bool {
        self.broken.load(Ordering::Relaxed) == disk + 1
    }

    /// Says, once, whether a fragment could not be written to a disk.
    pub(super) fn take_broken(&self, disk: usize) -> bool {
        self.broken.compare_exchange(disk + 1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The way to one disk.
pub(super) struct Door {
    pub root: Arc<Root>,
    pub queue: Arc<Queue>,
}

/// One root's threads.
struct Disk {
    root: Arc<Root>,
    queue: Arc<Queue>,
    dirty: Arc<Dirty>,
    writer: Option<JoinHandle<()>>,
    /// In the place of the threads: a test carries out what waits, when it says so.
    #[cfg(test)]
    by_hand: Option<Mutex<DiskThread>>,
    syncer: Option<JoinHandle<()>>,
    stop: Option<mpsc::Sender<()>>,
}

/// How to record.
#[derive(Clone, Copy, Debug)]
pub struct RecordOptions {
    /// From the end of one sync pass to the next: what was written is durable after at most this and the
    /// time of two passes.
    pub sync_interval: Duration,
    /// Segments of main streams.
    pub main: MuxOptions,
    /// Segments of sub-streams.
    pub sub: MuxOptions,
    /// Bytes that may wait for one disk.
    pub queue_bytes: usize,
}

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            sync_interval: Duration::from_secs(2),
            main: MuxOptions::with_segment_s(60),
            sub: MuxOptions::with_segment_s(300),
            // Ten seconds of 100 cameras at 2 Mbit/s.
            queue_bytes: 256 << 20,
        }
    }
}

/// Recording on a node: makes a [`StreamRecorder`] for each stream, and owns the disks' threads.
pub struct Recorder {
    store: Arc<Store>,
    hub: Arc<Hub>,
    options: RecordOptions,
    entropy: Arc<dyn Entropy>,
    disks: Vec<Disk>,
    doors: Arc<Vec<Door>>,
    /// Counters outlive a session: a camera whose address was changed counts on.
    stats: Mutex<HashMap<StreamId, Arc<StreamStats>>>,
    /// How many streams were begun.
    begun: AtomicU32,
    /// Durations of writes.
    pub write_times: Arc<Histogram>,
    /// Durations of syncs.
    pub sync_times: Arc<Histogram>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Starts the threads of each of the store's roots.
    ///
    /// # Errors
    /// The system refused a thread.
    pub fn new(
        store: Arc<Store>,
        hub: Arc<Hub>,
        options: RecordOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self> {
        let (mut recorder, disks) = Recorder::without_threads(store, hub, options, entropy);
        for (n, disk) in disks.into_iter().enumerate() {
            let (store, root) = (&recorder.store, disk.root.clone());
            let queue = recorder.doors[n].queue.clone();
            let dirty = disk.dirty.clone();
            let (stop, stopped) = mpsc::channel();
            let thread = |name: String, run: Box<dyn FnOnce() + Send>| {
                let spawned = std::thread::Builder::new().name(name).spawn(run);
                spawned.map_err(|e| Error::io("start a thread for", &root.path, e))
            };
            let for_writer = queue.clone();
            let writer = thread(format!("nvr-write-{n}"), Box::new(move || disk.run(&for_writer)))?;
            let (to_sync, took) = (dirty.clone(), recorder.sync_times.clone());
            let (of_store, of_root) = (store.clone(), root.clone());
            let every = options.sync_interval;
            let syncer = thread(
                format!("nvr-sync-{n}"),
                Box::new(move || {
                    let mut before = None;
                    while matches!(
                        stopped.recv_timeout(every),
                        Err(mpsc::RecvTimeoutError::Timeout)
                    ) {
                        // Once, and not every two seconds.
                        let failed = to_sync.sync(&of_store, &of_root, &took).err();
                        let failed = failed.map(|e| e.to_string());
                        if let Some(e) = failed.as_ref().filter(|_| failed != before) {
                            log::error!(target: "nvr.store", "not durable yet: {e}");
                        }
                        before = failed;
                    }
                }),
            )?;
            recorder.disks.push(Disk {
                root,
                queue,
                dirty,
                writer: Some(writer),
                #[cfg(test)]
                by_hand: None,
                syncer: Some(syncer),
                stop: Some(stop),
            });
        }
        Ok(recorder)
    }

    fn without_threads(
        store: Arc<Store>,
        hub: Arc<Hub>,
        options: RecordOptions,
        entropy: Arc<dyn Entropy>,
    ) -> (Self, Vec<DiskThread>) {
        let (write_times, sync_times) = (Arc::<Histogram>::default(), Arc::<Histogram>::default());
        let disk = |(number, root): (usize, &Arc<Root>)| DiskThread {
            number,
            store: store.clone(),
            root: root.clone(),
            dirty: Arc::new(Dirty::of(&store, root)),
            took: write_times.clone(),
            streams: BTreeMap::new(),
            retried_us: i64::MIN / 2,
        };
        let threads = store.roots().iter().enumerate().map(disk).collect();
        let door = |root: &Arc<Root>| Door {
            root: root.clone(),
            queue: Arc::new(Queue::new(options.queue_bytes, root.clone())),
        };
        let doors = Arc::new(store.roots().iter().map(door).collect());
        let (disks, stats) = (Vec::new(), Mutex::default());
        let recorder = Recorder {
            store,
            hub,
            options,
            entropy,
            disks,
            doors,
            stats,
            begun: AtomicU32::new(0),
            write_times,
            sync_times,
        };
        (recorder, threads)
    }

    /// A recorder without threads: what waits for the disks is carried out by [`Recorder::flush`]
    /// and [`Recorder::work`], in an order that is always the same.
    #[cfg(test)]
    pub(crate) fn by_hand(
        store: Arc<Store>,
        hub: Arc<Hub>,
        options: RecordOptions,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let (mut recorder, threads) = Recorder::without_threads(store, hub, options, entropy);
        recorder.disks = threads
            .into_iter()
            .map(|thread| Disk {
                root: thread.root.clone(),
                queue: recorder.doors[thread.number].queue.clone(),
                dirty: thread.dirty.clone(),
                writer: None,
                by_hand: Some(Mutex::new(thread)),
                syncer: None,
                stop: None,
            })
            .collect();
        recorder
    }

    /// The disk under this root does what waits for it.
    #[cfg(test)]
    pub(crate) fn work(&self, root: &Path) {
        for disk in self.disks.iter().filter(|d| d.root.path == root) {
            if let Some(thread) = &disk.by_hand {
                thread.lock().carry_out_all(disk.queue.take_now(), &disk.queue);
            }
        }
    }

    /// Where live units go.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Records a stream.
    ///
    /// # Errors
    /// The store is closed or has no room to begin in.
    pub fn stream(&self, id: StreamId, epoch: u32) -> Result<StreamRecorder> {
        let (stream, root) = self.store.stream_for_writing(id)?;
        let disk = self.doors.iter().position(|d| d.root.path == root.path);
        let disk = disk.ok_or(Error::Closed("the disk"))?;
        let stats = self.stats.lock().entry(id).or_default().clone();
        let (hub, broken, untold) = (self.hub.clone(), AtomicUsize::new(0), Mutex::default());
        let lane = Lane { stream, stats, hub, broken, untold };
        let mut options = match id.kind {
            StreamKind::Main => self.options.main,
            StreamKind::Sub => self.options.sub,
        };
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        options.first_segment_us = spread(number, options.segment_us);
        let muxer = crate::mux::Muxer::new(id, epoch, options, self.entropy.clone());
        let doors = self.doors.clone();
        Ok(StreamRecorder::new(self.store.clone(), Arc::new(lane), (doors, disk), muxer, epoch))
    }

    /// Returns when everything handed over so far is written (not yet synced).
    pub fn flush(&self) {
        #[cfg(test)]
        self.store.roots().iter().for_each(|root| self.work(&root.path));
        let waits: Vec<_> = self
            .disks
            .iter()
            .filter(|disk| disk.writer.is_some())
            .filter_map(|disk| {
                let (done, wait) = mpsc::sync_channel(1);
                disk.queue.push(None, Op::Flush(done)).is_ok().then_some(wait)
            })
            .collect();
        for wait in waits {
            // An error means that the thread ended: then there is nothing to wait for.
            let _ = wait.recv();
        }
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// The file system refused.
    pub fn sync(&self) -> Result<()> {
        self.flush();
        // A disk that fails is no reason to leave the others.
        let sync = |disk: &Disk| disk.dirty.sync(&self.store, &disk.root, &self.sync_times);
        self.disks.iter().map(sync).fold(Ok(()), Result::and)
    }

    /// Leaves what was begun on a disk that was not there as it is, and writes nothing more to it:
    /// [taking it up](Store::take_up) puts it right.
    pub fn let_go(&self, path: &Path) {
        let Some(disk) = self.disks.iter().find(|d| d.root.path == path && d.root.is_gone()) else {
            return;
        };
        let (done, wait) = mpsc::sync_channel(1);
        let asked = disk.queue.push(None, Op::LetGo(done)).is_ok();
        #[cfg(test)]
        self.work(path);
        // Refused, or hung up: the thread has ended, and writes nothing.
        let _ = asked.then(|| wait.recv());
    }

    /// Writes and syncs what is left, and ends the threads. Streams should have ended before. What
    /// a disk does not take that is known to fail, or not to be there, is said in the log.
    ///
    /// # Errors
    /// The file system refused otherwise; the threads have ended all the same.
    pub fn close(&mut self) -> Result<()> {
        let mut result = Ok(());
        // Once only: a store that was closed may be in use by somebody else by now.
        for mut disk in self.disks.drain(..) {
            disk.queue.close();
            drop(disk.stop.take());
            #[cfg(test)]
            if let Some(thread) = disk.by_hand.take() {
                let mut thread = thread.into_inner();
                thread.carry_out_all(disk.queue.take_now(), &disk.queue);
                thread.finish();
            }
            for thread in [disk.writer.take(), disk.syncer.take()].into_iter().flatten() {
                if thread.join().is_err() {
                    log::error!(target: "nvr.store", "a thread of {} panicked", disk.root.path.display());
                }
            }
            match disk.dirty.sync(&self.store, &disk.root, &self.sync_times) {
                // It was told that this disk fails: that is no reason to end otherwise than in order.
                Err(e) if disk.root.trouble().is_some() => disk.dirty.tell_left(&disk.root, &e),
                synced => result = result.and(synced),
            }
        }
        result
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            log::error!(target: "nvr.store", "on closing: {e}");
        }
    }
}

/// The writing thread.
struct DiskThread {
    number: usize,
    store: Arc<Store>,
    root: Arc<Root>,
    dirty: Arc<Dirty>,
    took: Arc<Histogram>,
    streams: BTreeMap<StreamId, OnDisk>,
    /// When events that waited were tried last, by the clock that never steps.
    retried_us: i64,
}

/// Events that a disk did not take are tried again after so long.
const RETRY_US: i64 = 5 * SECOND_US;

struct OnDisk {
    lane: Arc<Lane>,
    writer: SegmentWriter,
}

impl DiskThread {
    fn run(mut self, queue: &Queue) {
        while let Some(ops) =
            queue.take(self.waits().then_some(Duration::from_micros(RETRY_US.unsigned_abs())))
        {
            self.carry_out_all(ops, queue);
        }
        self.finish();
    }

    fn carry_out_all(&mut self, ops: VecDeque<(Option<Arc<Lane>>, Op)>, queue: &Queue) {
        for (lane, op) in ops {
            let bytes = op.bytes();
            match (lane, op) {
                (_, Op::Flush(done)) => {
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                (_, Op::LetGo(done)) => {
                    self.streams.values_mut().for_each(|on_disk| on_disk.writer.let_go());
                    let _ = done.send(());
                }
                (Some(lane), op) => self.carry_out(&lane, op),
                (None, _) => {}
            }
            queue.written(bytes);
        }
        self.retry();
    }

    /// Whether something waits for the disk to take it.
    fn waits(&self) -> bool {
        self.streams.values().any(OnDisk::waits)
    }

    /// Of a camera that is down nothing more may come: what the disk did not take is tried again.
    fn retry(&mut self) {
        let now = self.store.clock().now();
        if now.mono_us - self.retried_us < RETRY_US || !self.waits() {
            return;
        }
        self.retried_us = now.mono_us;
        let here = self.root.look(&**self.store.fs(), now).is_ok();
        for on_disk in self.streams.values_mut() {
            if here {
                on_disk.writer.end_again(&self.dirty);
            }
            on_disk.tell_events(&self.dirty);
        }
    }

    fn finish(&mut self) {
        for (id, on_disk) in &mut self.streams {
            if let Err(e) = on_disk.writer.seal(&self.dirty) {
                log::error!(target: "nvr.store", "{id}: {e}");
            }
            on_disk.writer.end_again(&self.dirty);
            on_disk.tell(None, &self.dirty);
            let untold = on_disk.lane.untold.lock();
            if let Some(last) = untold.events.last() {
                log::error!(target: "nvr.store", "{id}: {} events are not in its log; the last is {last:?}", untold.events.len());
            }
        }
    }

    fn carry_out(&mut self, lane: &Arc<Lane>, op: Op) {
        let id = lane.stream.id;
        let on_disk = match self.streams.entry(id) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let (fs, stream) = (self.store.fs().clone(), lane.stream.clone());
                // Nothing is made on a disk that is not there.
                let here = self.root.look(&*fs, self.store.clock().now());
                match here.and_then(|()| SegmentWriter::new(fs, stream, &self.root.path)) {
                    Ok(writer) => entry.insert(OnDisk { lane: lane.clone(), writer }),
                    Err(e) => {
                        match op {
                            Op::Write(muxed) => self.lose(lane, &muxed, &e),
                            Op::Log(event) if !self.keeps(lane, &event) => lane.untold(event),
                            Op::Log(_) | Op::Seal | Op::Flush(_) | Op::LetGo(_) => {}
                        }
                        return;
                    }
                }
            }
        };
        // A session of its own for each address that the camera ever had.
        on_disk.lane = lane.clone();
        match op {
            Op::Write(muxed) => {
                let start = Instant::now();
                let here = match muxed.new_segment {
                    Some(_) => self.root.look(&**self.store.fs(), self.store.clock().now()),
                    None => Ok(()),
                };
                let written = match here {
                    Ok(()) => on_disk.writer.write(&muxed, &self.dirty),
                    // What comes is of the segment that does not begin, and not of the old one.
                    Err(e) => on_disk.writer.seal(&self.dirty).and(Err(e)),
                };
                self.took.record(start.elapsed());
                match written {
                    Ok(bytes) => {
                        lane.stream.wrote(&on_disk.writer.dir, bytes);
                        lane.stats
                            .recorded_us
                            .fetch_add(u64::from(muxed.entry.duration_us), Ordering::Relaxed);
                        lane.stats.written_bytes.fetch_add(bytes, Ordering::Relaxed);
                        on_disk.tell(Some(&muxed), &self.dirty);
                        if self.root.recovered() {
                            log::info!(target: "nvr.store", "{}: the disk takes footage again", self.root.path.display());
                        }
                    }
                    Err(e) => {
                        lane.stream.miscounted(&on_disk.writer.dir);
                        self.lose(lane, &muxed, &e);
                    }
                }
            }
            Op::Log(event) => {
                // Nothing comes any more that would end what is being lost.
                if event.stopped().is_some() && lane.is_broken(self.number) {
                    on_disk.tell(None, &self.dirty);
                }
                lane.untold(event);
                on_disk.tell_events(&self.dirty);
            }
            Op::Seal => match on_disk.writer.seal(&self.dirty) {
                Ok(bytes) => lane.stream.wrote(&on_disk.writer.dir, bytes),
                Err(e) => {
                    lane.stream.miscounted(&on_disk.writer.dir);
                    log::error!(target: "nvr.store", "{id}: a segment stays without its footer until the disk takes it: {e}")
                }
            },
            Op::Flush(_) | Op::LetGo(_) => {}
        }
    }

    /// Says whether an event is the start of a run, and known to the log that is not written to now.
    fn keeps(&self, lane: &Lane, event: &Event) -> bool {
        matches!(event, Event::RunStarted { .. }) && lane.stream.run_starts(&self.root.path, event)
    }

    /// Notes a fragment that could not be written; once for each stretch, not for each fragment.
    fn lose(&self, lane: &Lane, muxed: &Muxed, error: &Error) {
        lane.broken.store(self.number + 1, Ordering::Relaxed);
        let at_us = muxed.entry.wall_start_us;
        let end_us = at_us + i64::from(muxed.entry.duration_us);
        let mut untold = lane.untold.lock();
        if let Some(losing) = &mut untold.losing {
            // Not always in order: two disks may have failed one after the other.
            losing.at_us = losing.at_us.min(at_us);
            losing.until_us = losing.until_us.max(end_us);
            losing.run = muxed.run;
            return;
        }
        let full = matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
        let reason = if full { Reason::DISK_FULL } else { Reason::DISK_ERROR };
        let stream = lane.stream.id;
        log::error!(target: "nvr.store", "{stream}: footage is being lost ({reason}): {error}");
        // That the segment was closed before is no news, and not why.
        if !matches!(error, Error::Closed(_)) {
            self.root.failed(self.store.clock().now(), &reason, &error.to_string());
        }
        let detail = error.to_string();
        lane.hub.publish_event(&StreamEvent {
            at_us,
            stream,
            kind: "footage_lost",
            reason: Some(reason.clone()),
            detail: detail.clone(),
        });
        let (until_us, run) = (end_us, muxed.run);
        untold.losing = Some(Losing { at_us, until_us, run, reason, detail });
    }
}

impl Lane {
    fn untold(&self, event: Event) {
        let mut untold = self.untold.lock();
        if untold.events.len() < MAX_UNTOLD {
            untold.events.push(event);
        }
    }
}

impl OnDisk {
    fn waits(&self) -> bool {
        self.writer.has_unended() || !self.lane.untold.lock().events.is_empty()
    }

    /// The disk takes fragments again: says what happened meanwhile, and what it did not take.
    fn tell(&self, taken: Option<&Muxed>, dirty: &Dirty) {
        let mut untold = self.lane.untold.lock();
        if let Some(losing) = untold.losing.take() {
            let Losing { at_us, mut until_us, run, reason, detail } = losing;
            // Pictures between depended on what was lost.
            if let Some(taken) = taken.filter(|taken| taken.run == run) {
                until_us = until_us.max(taken.entry.wall_start_us);
            }
            self.lane.stats.gap(&reason.0, until_us - at_us);
            untold.events.push(Event::Lost { at_us, until_us, reason, detail });
        }
        drop(untold);
        self.tell_events(dirty);
    }

    /// Appends to the log what waits; what the disk does not take waits on.
    fn tell_events(&self, dirty: &Dirty) {
        let mut untold = self.lane.untold.lock();
        let dir = &self.writer.dir;
        let mut left = Vec::new();
        for event in untold.events.drain(..) {
            // After one that failed, only what its log keeps itself.
            let starts = matches!(event, Event::RunStarted { .. });
            if !left.is_empty() && !starts {
                left.push(event);
                continue;
            }
            match self.writer.stream().log(dir, event.clone()) {
                Ok(file) => {
                    dirty.add(&file);
                    dirty.add_dir(dir);
                }
                Err(e) => {
                    log::error!(target: "nvr.store", "an event is not in the log yet: {e}");
                    if !starts {
                        left.push(event);
                    }
                }
            }
        }
        untold.events = left;
    }
}

/// How long the first segment of the stream with this number lasts: what is left of the usual time at the
/// multiples of the golden ratio, which lie evenly however many there are (Knuth, TAOCP 3, 6.4). Streams
/// that begin together then seal their segments, and give back their tables, in turn.
pub(super) fn spread(number: u32, segment_us: i64) -> i64 {
    const GOLDEN: u32 = 0x9E37_79B9;
    segment_us - (segment_us >> 16) * i64::from(number.wrapping_mul(GOLDEN) >> 16)
}
