//! One stream's recorder: takes what the session with the camera brings, and hands fragments to
//! the disk's thread and access units to whoever watches. Never waits.

use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Door, Lane, Op};
use super::stats::StreamStats;
use crate::ids::StreamId;
use crate::live::{Hub, LiveConfig, LiveStream, LiveUnit, StreamEvent};
use crate::media::{
    AccessUnit, AudioFrame, AudioParams, MediaSink, MetadataCoding, MetadataDocument, VideoParams,
};
use crate::mux::{MuxOut, Muxed, Muxer};
use crate::reason::Reason;
use crate::store::events::Event;
use crate::store::{Root, Store};
use crate::time::{Moment, SECOND_US};

/// A GOP lasts at most 20 s with any camera that is known: one that sends nothing that decoding
/// can start at for so long never will.
const KEYFRAME_WITHIN_US: i64 = 30 * SECOND_US;

/// A picture has fewer slices: more parts of one are given to those who watch as they come.
const MAX_PARTS: usize = 1024;

/// Records one stream.
pub struct StreamRecorder {
    store: Arc<Store>,
    hub: Arc<Hub>,
    live: Arc<LiveStream>,
    config: Option<Arc<LiveConfig>>,
    lane: Arc<Lane>,
    /// The disks, and which of them is this stream's.
    doors: Arc<Vec<Door>>,
    disk: usize,
    muxer: Muxer,
    epoch: u32,
    out: Vec<MuxOut>,
    /// Fragments that found no room in the queue: from, until.
    overload: Option<(i64, i64)>,
    /// Since when and why nothing is recorded.
    stopped: Option<(i64, Reason, String)>,
    /// The camera splits pictures: those who watch are given one when the next begins.
    splits: bool,
    /// A picture that may go on, and what came of it apart.
    held: Option<(LiveUnit, Vec<Bytes>)>,
    /// Since when pictures come and none that decoding can start at, by the steady clock.
    waiting_us: Option<i64>,
    /// It was said that some metadata is given up.
    metadata_dropped: bool,
    /// Why pictures that come are not recorded.
    not_recorded: Option<Reason>,
    /// How often disks had come, or had room again, when it was last looked for one with more room.
    arrivals: usize,
}

impl std::fmt::Debug for StreamRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamRecorder").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl StreamRecorder {
    pub(super) fn new(
        store: Arc<Store>,
        lane: Arc<Lane>,
        (doors, disk): (Arc<Vec<Door>>, usize),
        muxer: Muxer,
        epoch: u32,
    ) -> Self {
        StreamRecorder {
            arrivals: store.arrivals(),
            store,
            live: lane.hub.stream(lane.stream.id),
            hub: lane.hub.clone(),
            config: None,
            lane,
            doors,
            disk,
            muxer,
            epoch,
            out: Vec::new(),
            overload: None,
            stopped: None,
            splits: false,
            held: None,
            waiting_us: None,
            metadata_dropped: false,
            not_recorded: None,
        }
    }

    /// Its counters.
    pub fn stats(&self) -> Arc<StreamStats> {
        self.lane.stats.clone()
    }

    fn id(&self) -> StreamId {
        self.lane.stream.id
    }

    fn op(&self, op: Op) -> Result<(), Op> {
        self.doors[self.disk].queue.push(Some(self.lane.clone()), op)
    }

    /// Notes an event in the log. The queue takes events also when it is full of fragments; after
    /// it was closed there is no log any more.
    fn log(&self, event: Event) {
        if self.op(Op::Log(event)).is_err() {
            log::warn!(target: "nvr.store", "{}: an event after the store was closed", self.id());
        }
    }

    fn publish(&self, at_us: i64, kind: &'static str, reason: Option<&Reason>, detail: &str) {
        let (stream, reason, detail) = (self.id(), reason.cloned(), detail.to_owned());
        self.hub.publish_event(&StreamEvent { at_us, stream, kind, reason, detail });
    }

    /// Carries out what the muxer has done.
    fn drain(&mut self) {
        let broken = self.lane.take_broken(self.disk);
        if broken {
            self.muxer.want_new_segment();
        }
        self.carry_out();
        // A disk that is not there any more takes what is open on it: nothing has to be lost.
        let leave = self.doors[self.disk].root.is_gone() && self.muxer.begins_with_random_access();
        if broken || leave {
            self.move_away();
        } else if self.arrivals != self.store.arrivals() && self.muxer.begins_with_random_access() {
            self.arrivals = self.store.arrivals();
            if let Some(root) = self.store.better_root(self.id(), &self.doors[self.disk].root) {
                self.move_to(&root, Reason::DISK_ERROR, "which has more room");
            }
        }
    }

    /// Goes on, as a new run, on another disk if there is one that is well and has room.
    fn move_away(&mut self) {
        let from = &self.doors[self.disk].root;
        let Some(root) = self.store.another_root(self.id(), from) else { return };
        let reason = from.trouble().map_or(Reason::DISK_ERROR, |t| t.reason);
        self.move_to(&root, reason, "");
    }

    fn move_to(&mut self, root: &Root, reason: Reason, why: &str) {
        let Some(disk) = self.doors.iter().position(|d| d.root.path == root.path) else { return };
        let why = if why.is_empty() { String::new() } else { format!(", {why}") };
        let detail = format!("moved to {}{why}", root.path.display());
        log::warn!(target: "nvr.store", "{}: {reason}: {detail}", self.id());
        self.muxer.move_run(reason, &detail, &mut self.out);
        // The end of the segment is the old disk's; what the log says, the new one's.
        let (last, said): (Vec<_>, Vec<_>) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|out| matches!(out, MuxOut::Fragment(_)));
        self.out = last;
        self.carry_out();
        let _ = self.op(Op::Seal);
        self.out = said;
        self.disk = disk;
        // What failed there when it was this stream's before is over.
        self.lane.take_broken(disk);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for out in std::mem::take(&mut self.out) {
            match out {
                MuxOut::RunStarted { run, at_us } => {
                    if let Some((since, reason, _)) = self.stopped.take() {
                        self.lane.stats.gap(&reason.0, at_us - since);
                    }
                    self.log(Event::run_started(run, self.epoch, at_us));
                    self.store.set_recording(self.id(), Some(at_us));
                    self.publish(at_us, "run_started", None, "");
                }
                MuxOut::Fragment(muxed) => self.hand_over(muxed),
                MuxOut::RunEnded { run, at_us, reason, detail } => {
                    self.tell_overload();
                    // Seals are never refused for lack of room, only after the end.
                    let _ = self.op(Op::Seal);
                    self.store.set_recording(self.id(), None);
                    self.publish(at_us, "run_ended", Some(&reason), &detail);
                    self.stopped = Some((at_us, reason.clone(), detail.clone()));
                    self.log(Event::RunEnded { at_us, run: run.to_string(), reason, detail });
                }
            }
        }
    }

    fn hand_over(&mut self, muxed: Box<Muxed>) {
        let (from, lasts) = (muxed.entry.wall_start_us, i64::from(muxed.entry.duration_us));
        // After a fragment was given up, those that depend on it are of no use.
        let useless = self.overload.is_some() && muxed.new_segment.is_none();
        let given_up = useless || self.op(Op::Write(muxed)).is_err();
        if !given_up {
            // Pictures between depended on what was given up.
            if let Some((_, until)) = &mut self.overload {
                *until = (*until).max(from);
            }
            self.tell_overload();
            return;
        }
        match &mut self.overload {
            Some((_, until)) => *until = from + lasts,
            None => {
                log::error!(target: "nvr.store", "{}: the disk is too slow: footage is being given up", self.id());
                self.publish(from, "footage_lost", Some(&Reason::OVERLOAD), "the disk is too slow");
                self.overload = Some((from, from + lasts));
            }
        }
        self.muxer.want_new_segment();
    }

    fn tell_overload(&mut self) {
        if let Some((at_us, until_us)) = self.overload.take() {
            let (reason, detail) = (Reason::OVERLOAD, "the disk is too slow".to_owned());
            self.lane.stats.gap(&reason.0, until_us - at_us);
            self.log(Event::Lost { at_us, until_us, reason, detail });
        }
    }

    /// Gives those who watch a picture, whole; of the first one that a camera splits, the parts.
    fn show(&mut self, unit: LiveUnit, continues: bool) {
        self.splits |= continues;
        match &mut self.held {
            Some((_, parts)) if continues && parts.len() < MAX_PARTS => {
                parts.push(unit.data);
                return;
            }
            _ => self.show_held(),
        }
        if self.splits && !continues {
            self.held = Some((unit, Vec::new()));
        } else {
            self.live.publish(unit);
        }
    }

    fn show_held(&mut self) {
        if let Some((mut unit, parts)) = self.held.take() {
            if !parts.is_empty() {
                unit.data = [std::slice::from_ref(&unit.data), &parts].concat().concat().into();
            }
            self.live.publish(unit);
        }
    }

    /// A picture came that cannot be recorded, since none came before it that decoding can start at.
    fn wait_for_keyframe(&mut self, now: Moment) {
        let since_us = *self.waiting_us.get_or_insert(now.mono_us);
        if now.mono_us - since_us >= KEYFRAME_WITHIN_US {
            let detail = "pictures arrive, but none at which decoding can start (no keyframe)";
            self.down(now, Reason::NO_KEYFRAME, detail);
        }
    }

    /// Parameters that nobody can decode with: what comes is not recorded.
    fn refuse(&mut self, now: Moment, error: &crate::Error) {
        self.muxer.end(Reason::CODEC_NOT_SUPPORTED, &error.to_string(), &mut self.out);
        self.drain();
        self.down(now, Reason::CODEC_NOT_SUPPORTED, &error.to_string());
        self.not_recorded = Some(Reason::CODEC_NOT_SUPPORTED);
    }
}

impl MediaSink for StreamRecorder {
    fn begin(&mut self, now: Moment, video: VideoParams, audio: Option<AudioParams>) {
        self.config = Some(Arc::new(LiveConfig { video: video.clone(), audio: audio.clone() }));
        self.not_recorded = None;
        if let Err(e) = self.muxer.begin(video, audio) {
            self.refuse(now, &e);
        }
    }

    fn video_params(&mut self, video: VideoParams) {
        match self.muxer.video_params(video.clone(), &mut self.out) {
            Ok(()) => {
                let audio = self.config.as_ref().and_then(|c| c.audio.clone());
                self.config = Some(Arc::new(LiveConfig { video, audio }));
                self.drain();
            }
            Err(e) => self.refuse(self.store.clock().now(), &e),
        }
    }

    fn video(&mut self, unit: AccessUnit) {
        let (pts, arrival, data) = (unit.pts_90k, unit.arrival, unit.data.clone());
        let arrival_us = arrival.wall_us;
        let accepted = self.muxer.video(unit, &mut self.out);
        let waits = accepted.is_none() && self.muxer.waits_for_random_access();
        if waits {
            self.wait_for_keyframe(arrival);
        } else {
            self.waiting_us = None;
        }
        if accepted.is_some() {
            self.not_recorded = None;
        } else if waits {
            self.not_recorded = Some(Reason::NO_KEYFRAME);
        } else if self.muxer.is_flooded() {
            self.not_recorded = Some(Reason::PARAMETER_FLOOD);
        }
        if let (Some((run, kind)), Some(config)) = (accepted, &self.config) {
            let unit = LiveUnit {
                audio: false,
                pts,
                arrival_us,
                random_access: kind.random_access,
                data,
                run,
                config: config.clone(),
                dropped: 0,
            };
            self.show(unit, kind.continues);
        }
        if !self.out.is_empty() {
            self.drain();
        }
    }

    fn not_recorded(&self) -> Option<Reason> {
        self.not_recorded.clone()
    }

    fn audio(&mut self, frame: AudioFrame) {
        if let (Some(run), Some(config)) = (self.muxer.run(), &self.config) {
            self.live.publish(LiveUnit {
                audio: true,
                pts: frame.pts,
                arrival_us: frame.arrival.wall_us,
                random_access: true,
                data: frame.data.clone(),
                run,
                config: config.clone(),
                dropped: 0,
            });
        }
        self.muxer.audio(frame);
    }

    fn begin_metadata(&mut self, coding: MetadataCoding) {
        self.muxer.begin_metadata(coding);
    }

    fn metadata(&mut self, document: MetadataDocument) {
        if !self.muxer.metadata(document) && !self.metadata_dropped {
            self.metadata_dropped = true;
            log::warn!(target: "nvr.store", "{}: the camera sends more metadata than is kept: some is given up", self.id());
        }
    }

    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.muxer.camera_clock_offset(offset_us);
    }

    fn packets_lost(&mut self, now: Moment, packets: u64) {
        let detail = format!("{packets} packets of the camera were lost on their way");
        self.publish(now.wall_us, "packets_lost", None, &detail);
    }

    fn end(&mut self, now: Moment, reason: Reason, detail: &str) {
        let recorded = self.muxer.run().is_some();
        self.muxer.end(reason.clone(), detail, &mut self.out);
        let ended = self.out.iter().any(|o| matches!(o, MuxOut::RunEnded { .. }));
        self.drain();
        self.show_held();
        self.splits = false;
        self.live.forget_gop();
        if !(recorded && ended) {
            self.down(now, reason, detail);
        }
    }

    fn down(&mut self, now: Moment, reason: Reason, detail: &str) {
        let since = match &self.stopped {
            // The same as before is no news.
            Some((_, r, d)) if *r == reason && d == detail => return,
            Some((since, r, _)) => {
                self.lane.stats.gap(&r.0, now.wall_us - since);
                now.wall_us
            }
            None => now.wall_us,
        };
        self.publish(since, "stream_down", Some(&reason), detail);
        self.log(Event::Down { at_us: since, reason: reason.clone(), detail: detail.to_owned() });
        self.stopped = Some((since, reason, detail.to_owned()));
    }
}
