//! How media is coded, as RTSP describes and sends it.

use nvr_core::codec::AudioInfo;
use nvr_core::media::{self, AudioParams};
use nvr_rtsp::{
    AudioCodec, AudioDescription, Error, Packets, ParameterSets, Result, VIDEO_CLOCK_HZ,
    VideoCodec, VideoDescription,
};

/// What a decoder must know of the sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// How it is coded.
    pub codec: AudioCodec,
    /// AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). G.711: nothing.
    pub extra_data: Vec<u8>,
    /// Ticks of media time a second.
    pub sample_rate_hz: u32,
    channels: u16,
}

/// What a decoder must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    codec: VideoCodec,
    width: u16,
    height: u16,
    sets: ParameterSets,
    audio: Option<AudioFormat>,
}

impl Format {
    /// From the content of `avcC` or `hvcC`, and for sound its codec, AudioSpecificConfig (AAC only)
    /// and sample rate.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one of them is damaged.
    pub fn new(
        codec: VideoCodec,
        extra_data: &[u8],
        (width, height): (u16, u16),
        audio: Option<(AudioCodec, Vec<u8>, u32)>,
    ) -> Result<Self> {
        let audio = audio.map(|(codec, extra_data, sample_rate_hz)| {
            if sample_rate_hz == 0 || sample_rate_hz > 1_000_000 {
                return Err(Error::invalid("audio_sample_rate_hz: out of range"));
            }
            let params = AudioParams {
                codec: match codec {
                    AudioCodec::Aac => media::AudioCodec::Aac,
                    AudioCodec::G711Ulaw => media::AudioCodec::G711Ulaw,
                    AudioCodec::G711Alaw => media::AudioCodec::G711Alaw,
                    AudioCodec::Opus => media::AudioCodec::Opus,
                },
                extra_data: extra_data.clone().into(),
                sample_rate: sample_rate_hz,
                channels: 0,
            };
            let info = AudioInfo::parse(&params).map_err(|e| Error::invalid(e.to_string()))?;
            Ok(AudioFormat { codec, extra_data, sample_rate_hz, channels: info.channels.max(1) })
        });
        let sets = ParameterSets::parse(codec, extra_data)?;
        Ok(Format { codec, width, height, sets, audio: audio.transpose()? })
    }

    /// Whether a client that was told of the other can go on with this one: parameter sets are sent
    /// with the pictures and may change, all else stands in the description only.
    pub fn goes_on_from(&self, other: &Format) -> bool {
        self.codec == other.codec && self.audio == other.audio
    }

    /// Ticks a second of the sound; of the pictures where there is none.
    pub(crate) fn audio_clock_hz(&self) -> u32 {
        self.audio.as_ref().map_or(VIDEO_CLOCK_HZ, |audio| audio.sample_rate_hz)
    }

    pub(crate) fn video_description(&self) -> VideoDescription {
        VideoDescription {
            codec: self.codec,
            parameter_sets: self.sets.clone(),
            width: self.width,
            height: self.height,
        }
    }

    pub(crate) fn audio_description(&self) -> Option<AudioDescription> {
        self.audio.as_ref().map(|audio| AudioDescription {
            codec: audio.codec,
            extra_data: audio.extra_data.clone(),
            sample_rate_hz: audio.sample_rate_hz,
            channels: audio.channels,
        })
    }

    /// Packets of a frame of sound.
    pub(crate) fn sound(&self, data: &[u8], max_payload: usize, out: &mut Packets) -> Result<()> {
        let codec = self.audio.as_ref().map(|audio| audio.codec);
        let codec = codec.ok_or_else(|| Error::invalid("sound where there is said to be none"))?;
        out.sound(codec, data, max_payload)
    }

    /// Packets of a picture; those of a random-access point begin with the parameter sets.
    pub(crate) fn picture(
        &self,
        data: &[u8],
        random_access: bool,
        max_payload: usize,
        out: &mut Packets,
    ) -> Result<()> {
        nvr_rtsp::check_sample(self.codec, data)?;
        out.video(self.codec, data, random_access.then_some(&self.sets), max_payload);
        Ok(())
    }
}

/// Microseconds as ticks of a clock, rounded to nearest.
pub(crate) fn ticks(us: i64, clock_hz: u32) -> i64 {
    let ticks = i128::from(us) * i128::from(clock_hz);
    i64::try_from((ticks + 500_000).div_euclid(1_000_000)).unwrap_or(0)
}

/// Ticks of a clock as microseconds, rounded to nearest.
pub(crate) fn micros(ticks: i64, clock_hz: u32) -> i64 {
    let clock = i128::from(clock_hz.max(1));
    let us = i128::from(ticks) * 1_000_000;
    i64::try_from((us + clock / 2).div_euclid(clock)).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use nvr_rtsp::testing::avcc;

    use super::*;

    /// H.264 with sound of 16 kHz.
    pub(crate) fn format(level: u8, sound: bool) -> Format {
        let record = avcc(&[0x67, 0x42, 0, level, 1], &[0x68, 1]);
        let audio = sound.then(|| (AudioCodec::Aac, vec![0x14, 0x08], 16_000));
        Format::new(VideoCodec::H264, &record, (64, 64), audio).unwrap()
    }

    #[test]
    fn parameter_sets_may_change_and_nothing_else() {
        assert!(format(31, true).goes_on_from(&format(30, true)));
        assert!(!format(30, false).goes_on_from(&format(30, true)));
    }

    #[test]
    fn damaged_records_are_refused() {
        assert!(Format::new(VideoCodec::H264, &[1, 2, 3], (1, 1), None).is_err());
        let record = avcc(&[0x67, 0x42, 0, 30, 1], &[0x68, 1]);
        let audio = Some((AudioCodec::Aac, vec![], 16_000));
        assert!(Format::new(VideoCodec::H264, &record, (1, 1), audio).is_err());
    }

    #[test]
    fn ticks_and_microseconds_are_rounded_to_nearest() {
        assert_eq!(ticks(66_667, 90_000), 6_000);
        assert_eq!(ticks(-66_667, 90_000), -6_000);
        assert_eq!(micros(6_000, 90_000), 66_667);
        assert_eq!(micros(1024, 16_000), 64_000);
    }
}
