//! The threads of each disk: one writes what streams hand over, another makes it durable. The
//! queue between is bounded; what does not fit is given up by whole groups of pictures.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::segments::SegmentWriter;
use super::stats::{Histogram, StreamStats};
use super::stream::StreamRecorder;
use crate::fs::Named;
use crate::ids::{Entropy, StreamId, StreamKind};
use crate::live::Hub;
use crate::mux::{MuxOptions, Muxed};
use crate::reason::Reason;
use crate::store::events::Event;
use crate::store::recover::set_watermark;
use crate::store::{Root, Store, StreamStore};
use crate::{Error, Result};

/// Bytes that may wait for one disk: ten seconds of 100 cameras at 2 Mbit/s. Sub-streams may
/// use half of it, so that they are given up first.
const QUEUE_BYTES: usize = 256 << 20;

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
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Write(muxed) => muxed.bytes.capacity(),
            _ => 0,
        }
    }
}

/// A stream's side of the queue, shared by who records and who writes.
#[derive(Debug)]
pub(super) struct Lane {
    pub stream: Arc<StreamStore>,
    pub stats: Arc<StreamStats>,
    /// A fragment could not be written: only one that begins a segment is of use.
    pub broken: AtomicBool,
}

/// What waits for a disk.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<QueueState>,
    filled: Condvar,
}

#[derive(Default)]
struct QueueState {
    ops: VecDeque<(Option<Arc<Lane>>, Op)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Hands an operation over. Gives a fragment back when there is no room for it.
    pub(super) fn push(&self, lane: Option<Arc<Lane>>, op: Op) -> Result<(), Op> {
        let sub = lane.as_ref().is_some_and(|l| l.stream.id.kind == StreamKind::Sub);
        let limit = if sub { QUEUE_BYTES / 2 } else { QUEUE_BYTES };
        let bytes = op.bytes();
        let mut state = self.state.lock();
        if state.closed || (bytes > 0 && state.bytes + bytes > limit) {
            return Err(op);
        }
        state.bytes += bytes;
        state.ops.push_back((lane, op));
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for the next operations; empty once it is closed and there are none left.
    fn take(&self) -> VecDeque<(Option<Arc<Lane>>, Op)> {
        let mut state = self.state.lock();
        while state.ops.is_empty() && !state.closed {
            self.filled.wait(&mut state);
        }
        std::mem::take(&mut state.ops)
    }

    fn written(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}

/// Files and folders that changed since they were synced.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    files: Mutex<HashMap<PathBuf, Named>>,
    dirs: Mutex<HashSet<PathBuf>>,
    /// A sync failed once: the system may have dropped what it could not write, and a later
    /// success says nothing of it. The watermark stays where it is until the next start.
    doubtful: AtomicBool,
}

impl Dirty {
    pub(super) fn add(&self, file: &Named) {
        let mut files = self.files.lock();
        if !files.contains_key(&file.path) {
            files.insert(file.path.clone(), file.clone());
        }
    }

    pub(super) fn add_dir(&self, dir: &Path) {
        self.dirs.lock().insert(dir.to_owned());
    }

    /// Makes all of it durable, and notes so. What fails is tried again with the next pass.
    fn sync(&self, store: &Store, root: &Root, took: &Histogram) -> Result<()> {
        let (fs, since_us) = (&**store.fs(), store.now_us());
        let files = std::mem::take(&mut *self.files.lock());
        let dirs = std::mem::take(&mut *self.dirs.lock());
        for file in files.values() {
            // Begin with all of them, then wait: the disk orders its work.
            let _ = file.file.start_writeback();
        }
        let mut failed = None;
        for (path, file) in files {
            let start = Instant::now();
            if let Err(e) = file.sync_data() {
                self.doubtful.store(true, Ordering::Relaxed);
                self.files.lock().insert(path, file);
                failed = Some(e);
            }
            took.record(start.elapsed());
        }
        for dir in dirs {
            match fs.sync_dir(&dir) {
                Ok(()) => {}
                // Retention was there first.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    failed = Some(Error::io("sync", &dir, e));
                    self.add_dir(&dir);
                }
            }
        }
        match failed {
            Some(e) => Err(e),
            None if self.doubtful.load(Ordering::Relaxed) => Ok(()),
            None => set_watermark(fs, &root.path, since_us),
        }
    }
}

/// One root's threads.
struct Disk {
    root: Arc<Root>,
    queue: Arc<Queue>,
    dirty: Arc<Dirty>,
    writer: Option<JoinHandle<()>>,
    syncer: Option<JoinHandle<()>>,
    stop: Option<mpsc::Sender<()>>,
}

/// How to record.
#[derive(Clone, Copy, Debug)]
pub struct RecordOptions {
    /// Everything written is durable after at most about so long.
    pub sync_interval: Duration,
    /// Segments of main streams.
    pub main: MuxOptions,
    /// Segments of sub-streams.
    pub sub: MuxOptions,
}

impl Default for RecordOptions {
    fn default() -> Self {
        RecordOptions {
            sync_interval: Duration::from_secs(2),
            main: MuxOptions::with_segment_s(60),
            sub: MuxOptions::with_segment_s(300),
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
    /// Counters outlive a session: a camera whose address was changed counts on.
    stats: Mutex<HashMap<StreamId, Arc<StreamStats>>>,
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
        let (write_times, sync_times) = (Arc::<Histogram>::default(), Arc::<Histogram>::default());
        let mut disks = Vec::new();
        for (n, root) in store.roots().iter().enumerate() {
            let queue = Arc::<Queue>::default();
            let dirty = Arc::<Dirty>::default();
            let (stop, stopped) = mpsc::channel();
            let thread = |name: String, run: Box<dyn FnOnce() + Send>| {
                let spawned = std::thread::Builder::new().name(name).spawn(run);
                spawned.map_err(|e| Error::io("start a thread for", &root.path, e))
            };
            let disk = DiskThread {
                store: store.clone(),
                root: root.clone(),
                dirty: dirty.clone(),
                took: write_times.clone(),
                streams: HashMap::new(),
            };
            let for_writer = queue.clone();
            let writer = thread(format!("nvr-write-{n}"), Box::new(move || disk.run(&for_writer)))?;
            let (to_sync, took) = (dirty.clone(), sync_times.clone());
            let (of_store, of_root) = (store.clone(), root.clone());
            let every = options.sync_interval;
            let syncer = thread(
                format!("nvr-sync-{n}"),
                Box::new(move || {
                    while matches!(
                        stopped.recv_timeout(every),
                        Err(mpsc::RecvTimeoutError::Timeout)
                    ) {
                        if let Err(e) = to_sync.sync(&of_store, &of_root, &took) {
                            log::error!(target: "nvr.store", "not durable yet: {e}");
                        }
                    }
                }),
            )?;
            disks.push(Disk {
                root: root.clone(),
                queue,
                dirty,
                writer: Some(writer),
                syncer: Some(syncer),
                stop: Some(stop),
            });
        }
        let stats = Mutex::default();
        Ok(Recorder { store, hub, options, entropy, disks, stats, write_times, sync_times })
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
        let disk = self.disks.iter().find(|d| d.root.path == root.path);
        let queue = disk.map(|d| d.queue.clone()).ok_or(Error::Closed("the disk"))?;
        let stats = self.stats.lock().entry(id).or_default().clone();
        let lane = Lane { stream, stats, broken: AtomicBool::new(false) };
        let options = match id.kind {
            StreamKind::Main => self.options.main,
            StreamKind::Sub => self.options.sub,
        };
        let muxer = crate::mux::Muxer::new(id, epoch, options, self.entropy.clone());
        Ok(StreamRecorder::new(self.store.clone(), &self.hub, Arc::new(lane), queue, muxer, epoch))
    }

    /// Returns when everything handed over so far is written (not yet synced).
    pub fn flush(&self) {
        let waits: Vec<_> = self
            .disks
            .iter()
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
        for disk in &self.disks {
            disk.dirty.sync(&self.store, &disk.root, &self.sync_times)?;
        }
        Ok(())
    }

    /// Writes and syncs what is left, and ends the threads. Streams should have ended before.
    ///
    /// # Errors
    /// The file system refused; the threads have ended all the same.
    pub fn close(&mut self) -> Result<()> {
        let mut result = Ok(());
        // Once only: a store that was closed may be in use by somebody else by now.
        for mut disk in self.disks.drain(..) {
            disk.queue.close();
            drop(disk.stop.take());
            for thread in [disk.writer.take(), disk.syncer.take()].into_iter().flatten() {
                if thread.join().is_err() {
                    log::error!(target: "nvr.store", "a thread of {} panicked", disk.root.path.display());
                }
            }
            result = result.and(disk.dirty.sync(&self.store, &disk.root, &self.sync_times));
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
    store: Arc<Store>,
    root: Arc<Root>,
    dirty: Arc<Dirty>,
    took: Arc<Histogram>,
    streams: HashMap<StreamId, OnDisk>,
}

struct OnDisk {
    writer: SegmentWriter,
    /// From, until, and why: fragments that could not be written, and are not yet in the log.
    losing: Option<(i64, i64, Reason, String)>,
}

impl DiskThread {
    fn run(mut self, queue: &Queue) {
        loop {
            let ops = queue.take();
            if ops.is_empty() {
                break;
            }
            for (lane, op) in ops {
                let bytes = op.bytes();
                match (lane, op) {
                    (_, Op::Flush(done)) => {
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                    (Some(lane), op) => self.carry_out(&lane, op),
                    (None, _) => {}
                }
                queue.written(bytes);
            }
        }
        for (id, on_disk) in &mut self.streams {
            if let Err(e) = on_disk.writer.seal(&self.dirty) {
                log::error!(target: "nvr.store", "{id}: {e}");
            }
        }
    }

    fn carry_out(&mut self, lane: &Lane, op: Op) {
        let id = lane.stream.id;
        let on_disk = match self.streams.entry(id) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                match SegmentWriter::new(
                    self.store.fs().clone(),
                    lane.stream.clone(),
                    &self.root.path,
                ) {
                    Ok(writer) => entry.insert(OnDisk { writer, losing: None }),
                    Err(e) => {
                        log::error!(target: "nvr.store", "{id}: {e}");
                        lane.broken.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            }
        };
        match op {
            Op::Write(muxed) => {
                let start = Instant::now();
                let written = on_disk.writer.write(&muxed, &self.dirty);
                self.took.record(start.elapsed());
                match written {
                    Ok(bytes) => {
                        self.root.wrote(bytes);
                        lane.stats
                            .recorded_us
                            .fetch_add(u64::from(muxed.entry.duration_us), Ordering::Relaxed);
                        lane.stats.written_bytes.fetch_add(bytes, Ordering::Relaxed);
                        if on_disk.losing.is_some() {
                            on_disk.tell_losses(&self.dirty);
                        }
                    }
                    Err(e) => on_disk.lose(lane, &muxed, &e),
                }
            }
            Op::Log(event) => on_disk.note(event, &self.dirty),
            Op::Seal => match on_disk.writer.seal(&self.dirty) {
                Ok(bytes) => self.root.wrote(bytes),
                Err(e) => {
                    log::error!(target: "nvr.store", "{id}: a segment stays without its footer until the next start: {e}")
                }
            },
            Op::Flush(_) => {}
        }
    }
}

impl OnDisk {
    fn note(&self, event: Event, dirty: &Dirty) {
        let dir = &self.writer.dir;
        match self.writer.stream().log(dir, event) {
            Ok(file) => {
                dirty.add(&file);
                dirty.add_dir(dir);
            }
            Err(e) => log::error!(target: "nvr.store", "an event is not in the log: {e}"),
        }
    }

    /// Notes a fragment that could not be written; once for each stretch, not for each fragment.
    fn lose(&mut self, lane: &Lane, muxed: &Muxed, error: &Error) {
        lane.broken.store(true, Ordering::Relaxed);
        let (from, until) = (
            muxed.entry.wall_start_us,
            muxed.entry.wall_start_us + i64::from(muxed.entry.duration_us),
        );
        if let Some((_, end, ..)) = &mut self.losing {
            *end = until;
            return;
        }
        let full = matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull);
        let reason = if full { Reason::DISK_FULL } else { Reason::DISK_ERROR };
        log::error!(target: "nvr.store", "{}: footage is being lost ({reason}): {error}", lane.stream.id);
        self.losing = Some((from, until, reason, error.to_string()));
    }

    /// The disk takes fragments again: says what it did not take.
    fn tell_losses(&mut self, dirty: &Dirty) {
        if let Some((at_us, until_us, reason, detail)) = self.losing.take() {
            self.note(Event::Lost { at_us, until_us, reason, detail }, dirty);
        }
    }
}
