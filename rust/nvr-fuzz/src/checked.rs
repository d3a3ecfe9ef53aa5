//! A sink that makes fragments of what comes, as the recorder does, and looks at each of them.

use std::sync::Arc;

use nvr_core::ids::{RunId, SeededEntropy};
use nvr_core::media::{AccessUnit, AudioFrame, AudioParams, MediaSink, VideoParams};
use nvr_core::mux::{MuxOptions, MuxOut, Muxed, Muxer};
use nvr_core::reason::Reason;
use nvr_core::segment::fragment::{crc_holds, parse_fragment};
use nvr_core::segment::head::SegmentHead;
use nvr_core::time::Moment;

use crate::targets::copy::stream;

/// Fails where a fragment is not what it should be.
#[derive(Debug)]
pub struct Checked {
    muxer: Muxer,
    run: Option<InRun>,
    /// Bytes of pictures that came, and that are in fragments.
    came: u64,
    written: u64,
}

#[derive(Debug)]
struct InRun {
    id: RunId,
    next_sequence: u32,
    wall_start_us: i64,
    /// Where the pictures of its segment end, in ticks; none before the first.
    ends_90k: Option<u64>,
}

impl Default for Checked {
    fn default() -> Self {
        Self::with_segment_s(60)
    }
}

impl Checked {
    /// Segments last so long.
    pub fn with_segment_s(seconds: i64) -> Self {
        let options = MuxOptions::with_segment_s(seconds);
        let muxer = Muxer::new(stream(), 1, options, Arc::new(SeededEntropy::new(1)));
        Checked { muxer, run: None, came: 0, written: 0 }
    }

    /// The recorder lost a segment's disk.
    pub fn lose_segment(&mut self) {
        self.muxer.want_new_segment();
    }

    /// The recorder moves to another disk.
    pub fn move_run(&mut self) {
        let mut out = Vec::new();
        self.muxer.move_run(Reason::DISK_ERROR, "", &mut out);
        self.look(out);
    }

    fn look(&mut self, out: Vec<MuxOut>) {
        for item in out {
            match item {
                MuxOut::RunStarted { run, at_us } => {
                    assert!(self.run.is_none(), "a run begins before the last one ended");
                    let wall_start_us = at_us - 1;
                    self.run =
                        Some(InRun { id: run, next_sequence: 0, wall_start_us, ends_90k: None });
                }
                MuxOut::RunEnded { run, at_us, .. } => {
                    let ended = self.run.take().expect("a run that began");
                    assert!(ended.id == run && ended.wall_start_us <= at_us);
                }
                MuxOut::Fragment(muxed) => self.fragment(&muxed),
            }
        }
        assert!(self.written <= self.came, "a picture is written twice");
    }

    fn fragment(&mut self, muxed: &Muxed) {
        let run = self.run.as_mut().expect("a run that began");
        let bytes = muxed.pieces.concat();
        let (head, fragment) = bytes.split_at(muxed.head_len as usize);
        match &muxed.new_segment {
            Some(segment) => {
                let (read, len) = SegmentHead::from_bytes(head).expect("a head that is read");
                assert!(read == *segment && len == head.len() && read.run == run.id);
                run.ends_90k = None;
            }
            None => assert!(head.is_empty()),
        }
        assert!(crc_holds(fragment));
        let read = parse_fragment(fragment).expect("a fragment that is read");
        let entry = &muxed.entry;
        assert_eq!(&read.entry, entry);
        assert_eq!(read.video_samples, muxed.video_samples);
        assert_eq!(read.audio_samples, muxed.audio_samples);
        assert_eq!(entry.sequence, run.next_sequence);
        assert!(entry.wall_start_us > run.wall_start_us, "wall time goes back in a run");
        let begins = entry.video.decode_time;
        assert!(run.ends_90k.is_none_or(|ends| begins >= ends), "decoding times go back");
        let lasts: u64 = muxed.video_samples.iter().map(|s| u64::from(s.duration)).sum();
        run.ends_90k = Some(begins + lasts);
        run.next_sequence += 1;
        run.wall_start_us = entry.wall_start_us;
        self.written += u64::from(entry.video.data_len);
    }
}

impl MediaSink for Checked {
    fn begin(&mut self, _: Moment, video: VideoParams, audio: Option<AudioParams>) {
        let _ = self.muxer.begin(video, audio);
    }

    fn video_params(&mut self, video: VideoParams) {
        let mut out = Vec::new();
        let _ = self.muxer.video_params(video, &mut out);
        self.look(out);
    }

    fn video(&mut self, unit: AccessUnit) {
        let mut out = Vec::new();
        self.came += unit.data.len() as u64;
        let _ = self.muxer.video(unit, &mut out);
        self.look(out);
    }

    fn audio(&mut self, frame: AudioFrame) {
        self.muxer.audio(frame);
    }

    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.muxer.camera_clock_offset(offset_us);
    }

    fn end(&mut self, _: Moment, reason: Reason, detail: &str) {
        let mut out = Vec::new();
        self.muxer.end(reason, detail, &mut out);
        self.look(out);
        assert!(self.run.is_none(), "the session ended, its run did not");
    }

    fn down(&mut self, _: Moment, _: Reason, _: &str) {}
}
