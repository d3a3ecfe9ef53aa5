//! AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).

use super::AudioInfo;
use super::bits::BitReader;
use crate::{Error, Result};

/// Sampling rates by samplingFrequencyIndex (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Reads an AudioSpecificConfig. [`Error::Media`] if it ends too early or holds a reserved value.
pub(super) fn parse_config(config: &[u8]) -> Result<AudioInfo> {
    let mut bits = BitReader::new(config, "the AudioSpecificConfig");
    let object_type = match bits.read(5)? {
        31 => 32 + bits.read(6)?,
        0 => return Err(Error::Media("audio object type 0 is not known".into())),
        kind => kind,
    };
    let sample_rate = match bits.read(4)? {
        15 => bits.read(24)?,
        index => RATES.get(index as usize).copied().unwrap_or(0),
    };
    if sample_rate == 0 {
        return Err(Error::Media("the AudioSpecificConfig has no sampling rate".into()));
    }
    // Table 1.19.
    let channels = match bits.read(4)? {
        n @ 0..=6 => n as u16,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        n => return Err(Error::Media(format!("channel configuration {n} is not known"))),
    };
    Ok(AudioInfo { rfc6381: format!("mp4a.40.{object_type}"), sample_rate, channels })
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    #[test]
    fn usual_configurations() {
        let of = |text: &str| {
            let info = parse_config(&hex(text)).unwrap();
            (info.rfc6381, info.sample_rate, info.channels)
        };
        assert_eq!(of("1190"), ("mp4a.40.2".into(), 48_000, 2));
        assert_eq!(of("1588"), ("mp4a.40.2".into(), 8_000, 1));
        assert_eq!(of("1408"), ("mp4a.40.2".into(), 16_000, 1));
        // HE-AAC with its extension spelled out: the core runs at 24 kHz.
        assert_eq!(of("2b118800"), ("mp4a.40.5".into(), 24_000, 2));
        // 11,000 Hz in 24 bits.
        assert_eq!(of("1780157c08"), ("mp4a.40.2".into(), 11_000, 1));
        // An escaped object type: 42 (USAC).
        assert_eq!(of("f9461000").0, "mp4a.40.42");
    }

    #[test]
    fn reserved_values_and_cuts_are_errors() {
        for text in ["", "11", "0190", "1690", "17800000 08", "11f8"] {
            assert!(parse_config(&hex(&text.replace(' ', ""))).is_err(), "{text}");
        }
    }
}
