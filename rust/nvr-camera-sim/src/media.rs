//! Packets of one file, kept in a temporary file without a name, and their timeline.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nvr_rtsp::{
    AudioCodec, Error, MAX_AAC_FRAME, ParameterSets, Result, Track, VIDEO_CLOCK_HZ, VideoCodec,
    check_sample,
};

const SECOND_US: i128 = 1_000_000;

/// An access unit above this size is refused: no camera sends such.
const MAX_UNIT_BYTES: usize = 16 << 20;

/// Bytes are collected to this many before they are written to the file.
const WRITE_BYTES: usize = 1 << 20;

/// What the pictures are.
#[derive(Clone, Debug)]
pub struct VideoFormat {
    /// How they are coded.
    pub codec: VideoCodec,
    /// Content of `avcC` or `hvcC`.
    pub extra_data: Vec<u8>,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
    /// Ticks of presentation time a second.
    pub timescale: u32,
}

/// What the sound is.
#[derive(Clone, Debug)]
pub struct AudioFormat {
    /// How it is coded.
    pub codec: AudioCodec,
    /// AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). G.711: nothing.
    pub extra_data: Vec<u8>,
    /// Ticks of presentation time a second.
    pub sample_rate_hz: u32,
    /// How many channels.
    pub channels: u16,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    track: Track,
    offset: u64,
    len: u32,
    /// In ticks of its track.
    pts: i64,
    /// The largest `pts` of its track up to it: when a camera could have it ready.
    due: i64,
    random_access: bool,
}

/// Collects packets; [`finish`](MediaBuilder::finish) makes [`Media`] of them.
#[derive(Debug)]
pub struct MediaBuilder {
    video: VideoFormat,
    audio: Option<AudioFormat>,
    parameter_sets: ParameterSets,
    file: File,
    written: u64,
    pending: Vec<u8>,
    video_units: Vec<Unit>,
    audio_units: Vec<Unit>,
}

impl MediaBuilder {
    /// Starts media with these tracks.
    pub fn new(video: VideoFormat, audio: Option<AudioFormat>) -> Result<Self> {
        if video.timescale == 0 || video.timescale > 1_000_000_000 {
            return Err(Error::invalid(
                "timescale: must be from 1 to 1,000,000,000 ticks a second",
            ));
        }
        if let Some(audio) = &audio {
            if audio.sample_rate_hz == 0 || audio.sample_rate_hz > 1_000_000 || audio.channels == 0
            {
                return Err(Error::invalid("audio: sample rate or channels are out of range"));
            }
            if audio.codec == AudioCodec::Aac && audio.extra_data.is_empty() {
                return Err(Error::invalid("audio_extra_data: an AudioSpecificConfig is needed"));
            }
        }
        let parameter_sets = ParameterSets::parse(video.codec, &video.extra_data)?;
        let file = tempfile::tempfile().map_err(Error::io("make a temporary file for media"))?;
        Ok(MediaBuilder {
            video,
            audio,
            parameter_sets,
            file,
            written: 0,
            pending: Vec::new(),
            video_units: Vec::new(),
            audio_units: Vec::new(),
        })
    }

    /// The next access unit in decoding order: NAL units, each after its length in 4 bytes.
    /// `pts` counts from 0; `random_access`: decoding can start here.
    pub fn add_video(&mut self, sample: &[u8], pts: i64, random_access: bool) -> Result<()> {
        check_sample(self.video.codec, sample)?;
        if sample.len() > MAX_UNIT_BYTES {
            return Err(Error::invalid(format!("data: more than {MAX_UNIT_BYTES} bytes")));
        }
        check_pts(pts)?;
        let due = self.video_units.last().map_or(pts, |last| pts.max(last.due));
        let (offset, len) = self.store(sample)?;
        self.video_units.push(Unit { track: Track::Video, offset, len, pts, due, random_access });
        Ok(())
    }

    /// The next frame of sound. `pts` counts from 0 in ticks of the sample rate.
    pub fn add_audio(&mut self, frame: &[u8], pts: i64) -> Result<()> {
        if self.audio.is_none() {
            return Err(Error::invalid("data: this media was made without sound"));
        }
        if frame.is_empty() || frame.len() > MAX_AAC_FRAME {
            return Err(Error::invalid(format!(
                "data: a sound frame has from 1 to {MAX_AAC_FRAME} bytes, not {}",
                frame.len()
            )));
        }
        check_pts(pts)?;
        if self.audio_units.last().is_some_and(|last| pts <= last.pts) {
            return Err(Error::invalid(format!("pts: {pts} is not after the frame before")));
        }
        let (offset, len) = self.store(frame)?;
        let random_access = false;
        self.audio_units.push(Unit {
            track: Track::Audio,
            offset,
            len,
            pts,
            due: pts,
            random_access,
        });
        Ok(())
    }

    fn store(&mut self, data: &[u8]) -> Result<(u64, u32)> {
        let offset = self.written + self.pending.len() as u64;
        self.pending.extend_from_slice(data);
        if self.pending.len() >= WRITE_BYTES {
            self.write_pending()?;
        }
        Ok((offset, data.len() as u32))
    }

    fn write_pending(&mut self) -> Result<()> {
        self.file
            .write_all_at(&self.pending, self.written)
            .map_err(Error::io("write media to a temporary file"))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// All packets are there. After `duration` ticks (of the pictures' timescale) the media starts
    /// anew; every picture is shown before that, and sound that starts later is left out.
    pub fn finish(mut self, duration: i64) -> Result<Media> {
        let last = self.video_units.last().map(|unit| unit.due);
        let Some(last) = last else {
            return Err(Error::invalid("the media has no pictures"));
        };
        check_pts(duration)?;
        if duration <= last {
            return Err(Error::invalid(format!(
                "duration: {duration} ends before the last picture is shown, at {last}"
            )));
        }
        self.write_pending()?;
        let mut media = Media {
            video: self.video,
            audio: self.audio,
            parameter_sets: self.parameter_sets,
            file: self.file,
            duration,
            units: self.video_units,
            random_access: Vec::new(),
        };
        let end_us = media.loop_start_us(1);
        for unit in self.audio_units {
            if media.unit_due_us(0, &unit) < end_us {
                media.units.push(unit);
            }
        }
        // Stable: each track stays in its own order, pictures before sound of the same instant.
        let mut keyed: Vec<_> =
            media.units.iter().map(|unit| (media.unit_due_us(0, unit), *unit)).collect();
        keyed.sort_by_key(|(due_us, _)| *due_us);
        media.units = keyed.into_iter().map(|(_, unit)| unit).collect();
        media.random_access =
            (0..media.units.len()).filter(|&i| media.units[i].random_access).collect();
        if media.random_access.is_empty() {
            return Err(Error::invalid("the media has no random-access point (keyframe)"));
        }
        Ok(media)
    }
}

fn check_pts(pts: i64) -> Result<()> {
    // A century of nanoseconds; leaves room for sums.
    if (0..1 << 61).contains(&pts) {
        Ok(())
    } else {
        Err(Error::invalid(format!("pts: {pts} is out of range (it counts from 0)")))
    }
}

/// A packet of the endless repetition of the media.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketInfo {
    pub(crate) track: Track,
    /// Presentation time in ticks of the track's RTP clock since media time zero.
    pub(crate) rtp_ticks: i64,
    pub(crate) random_access: bool,
}

/// Packets of one file, ready to be played again and again.
///
/// Packets are numbered across repetitions: packet `n` is packet `n % count` of repetition
/// `n / count`. Media time goes on from one repetition to the next.
#[derive(Debug)]
pub struct Media {
    pub(crate) video: VideoFormat,
    pub(crate) audio: Option<AudioFormat>,
    pub(crate) parameter_sets: ParameterSets,
    file: File,
    duration: i64,
    /// In the order in which they are sent.
    units: Vec<Unit>,
    /// Positions of the random-access points in `units`.
    random_access: Vec<usize>,
}

impl Media {
    /// The RTP clock of a track, ticks a second.
    pub(crate) fn clock_hz(&self, track: Track) -> u32 {
        match (track, &self.audio) {
            (Track::Audio, Some(audio)) => audio.sample_rate_hz,
            _ => VIDEO_CLOCK_HZ,
        }
    }

    fn timescale(&self, track: Track) -> u32 {
        match track {
            Track::Video => self.video.timescale,
            Track::Audio => self.clock_hz(Track::Audio),
        }
    }

    fn loop_start_us(&self, repetition: u64) -> i64 {
        let ticks = i128::from(repetition) * i128::from(self.duration);
        to_i64((ticks * SECOND_US).div_euclid(self.video.timescale.into()))
    }

    fn unit_due_us(&self, repetition: u64, unit: &Unit) -> i64 {
        let within = i128::from(unit.due) * SECOND_US;
        self.loop_start_us(repetition)
            + to_i64(within.div_euclid(self.timescale(unit.track).into()))
    }

    fn split(&self, packet: u64) -> (u64, &Unit) {
        let count = self.units.len() as u64;
        (packet / count, &self.units[(packet % count) as usize])
    }

    /// When a packet is sent, in microseconds of media time.
    pub(crate) fn due_us(&self, packet: u64) -> i64 {
        let (repetition, unit) = self.split(packet);
        self.unit_due_us(repetition, unit)
    }

    /// What a packet is.
    pub(crate) fn info(&self, packet: u64) -> PacketInfo {
        let (repetition, unit) = self.split(packet);
        let clock: i128 = self.clock_hz(unit.track).into();
        let start = i128::from(repetition) * i128::from(self.duration) * clock;
        let start = start.div_euclid(self.video.timescale.into());
        let within = i128::from(unit.pts) * clock;
        let within = within.div_euclid(self.timescale(unit.track).into());
        PacketInfo {
            track: unit.track,
            rtp_ticks: to_i64(start + within),
            random_access: unit.random_access,
        }
    }

    /// Media time in ticks of a track's RTP clock.
    pub(crate) fn rtp_ticks_at(&self, track: Track, media_us: i64) -> i64 {
        to_i64((i128::from(media_us) * i128::from(self.clock_hz(track))).div_euclid(SECOND_US))
    }

    /// The first packet that is sent at or after a media time.
    pub(crate) fn first_packet_at(&self, media_us: i64) -> u64 {
        let timescale: i128 = self.video.timescale.into();
        let passed =
            i128::from(media_us.max(0)) * timescale / SECOND_US / i128::from(self.duration);
        // One back, as rounding may have moved the border between repetitions.
        let mut repetition = u64::try_from(passed).unwrap_or(0).saturating_sub(1);
        loop {
            let position =
                self.units.partition_point(|unit| self.unit_due_us(repetition, unit) < media_us);
            if position < self.units.len() {
                return repetition * self.units.len() as u64 + position as u64;
            }
            repetition += 1;
        }
    }

    /// This packet, or else the first after it, at which decoding can start.
    pub(crate) fn random_access_from(&self, packet: u64) -> u64 {
        let count = self.units.len() as u64;
        let (repetition, position) = (packet / count, (packet % count) as usize);
        let next = self.random_access.partition_point(|&at| at < position);
        match self.random_access.get(next) {
            Some(&at) => repetition * count + at as u64,
            None => (repetition + 1) * count + self.random_access[0] as u64,
        }
    }

    /// This packet, or else the first after it, of a track; none if the media has none.
    pub(crate) fn track_from(&self, packet: u64, track: Track) -> Option<u64> {
        let count = self.units.len() as u64;
        (packet..packet + count).find(|&p| self.split(p).1.track == track)
    }

    /// Reads a packet's bytes into `out`, in place of what is there.
    pub(crate) fn read(&self, packet: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let (_, unit) = self.split(packet);
        out.resize(unit.len as usize, 0);
        self.file.read_exact_at(out, unit.offset)
    }
}

fn to_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use nvr_rtsp::testing::{avcc, sample};

    /// A track of tiny pictures: (pts, random access) in decoding order, with frames of sound.
    pub(crate) fn media(
        timescale: u32,
        duration: i64,
        pictures: &[(i64, bool)],
        frames: &[i64],
    ) -> Result<Media> {
        let extra_data = avcc(&[0x67, 0x42, 0, 30, 1], &[0x68, 1]);
        let video =
            VideoFormat { codec: VideoCodec::H264, extra_data, width: 64, height: 64, timescale };
        let audio = AudioFormat {
            codec: AudioCodec::Aac,
            extra_data: vec![0x14, 0x08],
            sample_rate_hz: 16_000,
            channels: 1,
        };
        let mut builder = MediaBuilder::new(video, Some(audio))?;
        for &(pts, random_access) in pictures {
            let nal = [vec![if random_access { 0x65 } else { 0x41 }], pts.to_be_bytes().to_vec()]
                .concat();
            builder.add_video(&sample(&[nal]), pts, random_access)?;
        }
        for &pts in frames {
            builder.add_audio(&pts.to_be_bytes(), pts)?;
        }
        builder.finish(duration)
    }

    #[test]
    fn b_frames_come_right_after_their_anchor() {
        let media = media(10, 4, &[(0, true), (3, false), (1, false), (2, false)], &[]).unwrap();
        let due: Vec<_> = (0..8).map(|n| media.due_us(n)).collect();
        assert_eq!(due, [0, 300_000, 300_000, 300_000, 400_000, 700_000, 700_000, 700_000]);
        let ticks: Vec<_> = (0..6).map(|n| media.info(n).rtp_ticks).collect();
        assert_eq!(ticks, [0, 27_000, 9_000, 18_000, 36_000, 63_000]);
    }

    #[test]
    fn what_is_stored_comes_back() {
        let media = media(10, 2, &[(0, true), (1, false)], &[0, 1024]).unwrap();
        let mut data = Vec::new();
        let mut read = |packet| {
            media.read(packet, &mut data).unwrap();
            data.clone()
        };
        assert_eq!(read(0), [&[0, 0, 0, 9, 0x65], &0i64.to_be_bytes()[..]].concat());
        assert_eq!(read(1), 0i64.to_be_bytes());
        assert_eq!(read(4 + 2), 1024i64.to_be_bytes());
        assert_eq!(read(4 + 3), [&[0, 0, 0, 9, 0x41], &1i64.to_be_bytes()[..]].concat());
    }

    #[test]
    fn media_that_does_not_hold_together_is_refused() {
        assert!(media(10, 1, &[], &[]).is_err(), "no pictures");
        assert!(media(10, 5, &[(0, false)], &[]).is_err(), "no random-access point");
        assert!(media(10, 1, &[(0, true), (1, false)], &[]).is_err(), "too short");
        assert!(media(10, 5, &[(-1, true)], &[]).is_err(), "negative time");
        assert!(media(10, 5, &[(0, true)], &[5, 5]).is_err(), "sound stands still");
    }

    proptest! {
        #[test]
        fn the_timeline_is_in_order_and_is_found(
            timescale in 1..100_000u32,
            steps in prop::collection::vec((1..5_000i64, any::<bool>()), 1..20),
            frames in 0..10i64,
            at in 0..10_000_000i64,
        ) {
            let mut pts = 0;
            let mut pictures = vec![(0, true)];
            for (step, random_access) in steps {
                pts += step;
                pictures.push((pts, random_access));
            }
            let frames: Vec<_> = (0..frames).map(|n| n * 1024).collect();
            let media = media(timescale, pts + 7, &pictures, &frames).unwrap();
            let end = media.loop_start_us(3);
            let count = media.units.len() as u64;
            for n in 1..count * 3 {
                prop_assert!(media.due_us(n - 1) <= media.due_us(n));
            }
            let at = at % end;
            let first = media.first_packet_at(at);
            prop_assert!(media.due_us(first) >= at);
            prop_assert!(first == 0 || media.due_us(first - 1) < at);
            let start = media.random_access_from(first);
            prop_assert!(start >= first && media.info(start).random_access);
            prop_assert!((first..start).all(|n| !media.info(n).random_access));
        }
    }
}
