//! What the recorder must know of the coded media: how far pictures are reordered, which of them
//! a decoder can start at, and the names that players ask for. Nothing is decoded.
//!
//! All of it may come from a hostile camera: every parser is bounded by its input and fails with
//! [`Error::Media`](crate::Error::Media).

pub mod aac;
mod bits;
pub mod h264;
pub mod h265;

use bytes::Bytes;

use crate::media::{AudioCodec, AudioParams, VideoCodec, VideoParams};
use crate::{Error, Result};

/// What a decoder configuration record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoInfo {
    /// By how many pictures, at most, a picture follows in decoding order one that is shown
    /// after it; at most 16. [`h264`] and [`h265`] say where it comes from.
    pub reorder_depth: u8,
    /// RFC 6381 name, e.g. `avc1.4d401f` or `hvc1.1.6.L93.90`.
    pub rfc6381: String,
    /// Pixels across, after cropping.
    pub width: u16,
    /// Pixels down, after cropping.
    pub height: u16,
    /// H.264 of which pictures may be fields: how to tell.
    pub fields: Option<FieldSyntax>,
}

impl VideoInfo {
    /// Reads the decoder configuration record of a video track. [`Error::Media`] if it is not one,
    /// has NAL unit lengths of other than 4 bytes, no usable sequence parameter set, or one of
    /// pictures larger than any level of the standards.
    pub fn parse(params: &VideoParams) -> Result<Self> {
        let info = match params.codec {
            VideoCodec::H264 => h264::parse_avcc(&params.extra_data),
            VideoCodec::H265 => h265::parse_hvcc(&params.extra_data),
            VideoCodec::Jpeg => Ok(VideoInfo {
                reorder_depth: 0,
                rfc6381: "mp4v.6C".to_owned(),
                fields: None,
                width: dimension(params.width.into(), "width")?,
                height: dimension(params.height.into(), "height")?,
            }),
        }?;
        check_area(info.width, info.height)?;
        Ok(info)
    }
}

/// What the parameters of a sound track say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// RFC 6381 name: `mp4a.40.2`, `ulaw`, `alaw`.
    pub rfc6381: String,
    /// Sampling rate of the core coder in Hz.
    pub sample_rate: u32,
    /// Channels; 0 if the configuration leaves them to the bitstream.
    pub channels: u16,
}

impl AudioInfo {
    /// Reads the parameters of a sound track. [`Error::Media`] if that of AAC is no
    /// AudioSpecificConfig.
    pub fn parse(params: &AudioParams) -> Result<Self> {
        let rfc6381 = match params.codec {
            AudioCodec::Aac => return aac::parse_config(&params.extra_data),
            AudioCodec::G711Ulaw => "ulaw".to_owned(),
            AudioCodec::G711Alaw => "alaw".to_owned(),
            AudioCodec::Opus => "opus".to_owned(),
        };
        Ok(AudioInfo { rfc6381, sample_rate: params.sample_rate, channels: params.channels })
    }
}

/// What it takes to read which field a slice of H.264 is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSyntax {
    frame_num_bits: u32,
    colour_planes: bool,
}

/// One field of an interlaced frame, coded as a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    bottom: bool,
    frame_num: u32,
    reference: bool,
}

impl Field {
    /// Whether this one, which comes right after, is of the same frame (ITU-T H.264, 7.4.1.2.4 and 3.30:
    /// a complementary field pair).
    pub fn pairs_with(self, second: Field) -> bool {
        self.bottom != second.bottom
            && self.frame_num == second.frame_num
            && (self.reference || !second.reference)
    }
}

/// The field that an access unit is; none: it is a frame, or has both fields.
pub fn field_of(syntax: FieldSyntax, unit: &[u8]) -> Option<Field> {
    let mut fields =
        NalUnits(unit).map_while(Result::ok).filter_map(|nal| h264::field_of_slice(nal, syntax));
    let first = fields.next()?;
    fields.all(|field| field.bottom == first.bottom).then_some(first)
}

/// What kind of picture an access unit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AuKind {
    /// A decoder can start here: IDR or a recovery point (H.264), IDR, CRA or BLA (H.265).
    pub random_access: bool,
    /// Follows a random-access point in decoding order and is shown before it (H.265 RASL, RADL).
    pub leading: bool,
    /// Nothing after it refers to anything before it.
    pub idr: bool,
    /// Its first slice is not a picture's first: it goes on with the picture before, which a
    /// camera split.
    pub continues: bool,
}

/// Says what kind of picture an access unit holds, by the header of its first slice.
/// `unit` holds NAL units, each after its length in 4 bytes. [`Error::Media`] if they do not add
/// up or none of them is a slice.
pub fn classify(codec: VideoCodec, unit: &[u8]) -> Result<AuKind> {
    if codec == VideoCodec::Jpeg {
        let idr = AuKind { random_access: true, idr: true, ..AuKind::default() };
        return if is_jpeg(unit) {
            Ok(idr)
        } else {
            Err(Error::Media(format!("{} bytes that do not begin a JPEG picture", unit.len())))
        };
    }
    let mut recovery = false;
    for nal in NalUnits(unit) {
        let nal = nal?;
        let kind = match codec {
            VideoCodec::H264 => {
                recovery |= h264::is_recovery_point(nal);
                h264::slice_kind(nal, recovery)
            }
            VideoCodec::Jpeg => None,
            VideoCodec::H265 => h265::slice_kind(nal),
        };
        if let Some(kind) = kind {
            return Ok(kind);
        }
    }
    Err(Error::Media(format!("an access unit of {} bytes has no slice", unit.len())))
}

/// Whether bytes begin as a JPEG picture does.
pub fn is_jpeg(unit: &[u8]) -> bool {
    unit.starts_with(&JPEG_START)
}

/// SOI (ITU-T T.81, B.1.1.3).
const JPEG_START: [u8; 2] = [0xff, 0xd8];

/// The NAL units of an access unit in which each follows its length in 4 bytes, big-endian.
/// Ends after the first error.
#[derive(Clone, Debug)]
pub struct NalUnits<'a>(pub &'a [u8]);

impl<'a> Iterator for NalUnits<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let nal = self.0.split_first_chunk::<4>().and_then(|(len, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
        });
        let Some((nal, rest)) = nal else {
            let left = std::mem::take(&mut self.0).len();
            return Some(Err(Error::Media(format!(
                "the last {left} bytes of an access unit are no NAL unit after its length"
            ))));
        };
        self.0 = rest;
        Some(Ok(nal))
    }
}

/// Makes a decoder configuration record of parameter sets that stand in Annex B form (each after
/// the start code `00 00 01`), as sources other than RTSP give them. NAL units of other types are
/// left out. [`Error::Media`] if a parameter set is missing or damaged.
pub fn record_from_annex_b(codec: VideoCodec, data: &[u8]) -> Result<Bytes> {
    let nals = annex_b_units(data);
    let of_type = |wanted: u8| -> Vec<&[u8]> {
        let kind = |nal: &[u8]| match codec {
            VideoCodec::H264 => nal[0] & 0x1f,
            VideoCodec::H265 => (nal[0] >> 1) & 0x3f,
            VideoCodec::Jpeg => 0,
        };
        nals.iter().copied().filter(|nal| kind(nal) == wanted).collect()
    };
    let record = match codec {
        VideoCodec::H264 => h264::avcc(&of_type(h264::NAL_SPS), &of_type(h264::NAL_PPS))?,
        VideoCodec::H265 => {
            h265::hvcc(&of_type(h265::NAL_VPS), &of_type(h265::NAL_SPS), &of_type(h265::NAL_PPS))?
        }
        VideoCodec::Jpeg => Vec::new(),
    };
    Ok(record.into())
}

/// The non-empty NAL units of a byte stream (ITU-T H.264, Annex B), without trailing zeros.
fn annex_b_units(data: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut i = 0;
    while i + 3 <= data.len() {
        if data[i..i + 3] == [0, 0, 1] {
            starts.push(i + 3);
            i += 3;
        } else {
            i += 1;
        }
    }
    let mut units = Vec::new();
    for (n, &start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(data.len(), |next| next - 3);
        let unit = &data[start..end];
        let used = unit.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        if used > 0 {
            units.push(&unit[..used]);
        }
    }
    units
}

/// Takes `n` bytes off the front of a decoder configuration record.
fn take<'a>(data: &mut &'a [u8], n: usize, what: &str) -> Result<&'a [u8]> {
    let (head, rest) = data
        .split_at_checked(n)
        .ok_or_else(|| Error::Media(format!("the {what} record ends too early")))?;
    *data = rest;
    Ok(head)
}

/// Takes a length in 2 bytes and so many bytes off the front of a decoder configuration record.
fn take_sized<'a>(data: &mut &'a [u8], what: &str) -> Result<&'a [u8]> {
    let len = take(data, 2, what)?;
    let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
    take(data, len, what)
}

/// Appends a parameter set after its length in 2 bytes.
fn put_sized(out: &mut Vec<u8>, nal: &[u8]) -> Result<()> {
    let len = u16::try_from(nal.len())
        .map_err(|_| Error::Media(format!("a parameter set of {} bytes", nal.len())))?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(nal);
    Ok(())
}

/// The largest picture of any level (ITU-T H.265, table A.8, level 7.2): about 16,384 × 8,704. More
/// is a damaged or hostile parameter set, and a decoder would ask for memory by it.
const MAX_PIXELS: u32 = 142_606_336;

/// [`Error::Media`] if a picture is larger than any level allows.
fn check_area(width: u16, height: u16) -> Result<()> {
    if u32::from(width) * u32::from(height) > MAX_PIXELS {
        return Err(Error::Media(format!("a picture of {width} × {height} pixels")));
    }
    Ok(())
}

/// Picture sizes fit into 16 bits in a sample entry.
fn dimension(pixels: u32, what: &str) -> Result<u16> {
    u16::try_from(pixels)
        .ok()
        .filter(|&p| p > 0)
        .ok_or_else(|| Error::Media(format!("a picture {what} of {pixels} pixels")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digit = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// Length-prefixed NAL units.
    fn unit(nals: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for nal in nals {
            out.extend_from_slice(&u32::try_from(nal.len()).unwrap().to_be_bytes());
            out.extend_from_slice(nal);
        }
        out
    }

    #[test]
    fn h264_kinds() {
        let sei: &[u8] = &[0x06, 1, 2];
        let of = |nal: &[u8]| classify(VideoCodec::H264, &unit(&[sei, nal])).unwrap();
        let idr = AuKind { random_access: true, idr: true, ..AuKind::default() };
        assert_eq!(of(&[0x65, 0x88]), idr);
        // A slice that begins with macroblock 3, and a partition B.
        let continues = AuKind { continues: true, ..AuKind::default() };
        assert_eq!(of(&[0x65, 0x20]), AuKind { continues: true, ..idr });
        assert_eq!(of(&[0x41, 0x20]), continues);
        assert_eq!(of(&[0x43, 0x80]), continues);
        assert_eq!(of(&[0x41, 0x9a]), AuKind::default());
        assert_eq!(of(&[0x01, 0x9a]), AuKind::default());
        assert!(classify(VideoCodec::H264, &unit(&[sei])).is_err());
    }

    #[test]
    fn h264_recovery_points_are_random_access_points() {
        let of = |sei: &[u8]| {
            classify(VideoCodec::H264, &unit(&[sei, &[0x41, 0x9a]])).unwrap().random_access
        };
        // recovery_frame_cnt 0, exact; alone, and behind a message of 300 bytes (255 + 45).
        let point = [6, 1, 0xc4, 0x80];
        assert!(of(&[&[0x06], &point[..]].concat()));
        let user_data = [&[0x06, 5, 0xff, 45], &[7; 300][..], &point].concat();
        assert!(of(&user_data));
        // The same with zeros and the 3 that is put between them, which the size does not count.
        assert!(of(&[&[0x06, 5, 4, 0, 0, 3, 0, 9], &point[..]].concat()));
        for other in [&[0x06][..], &[0x06, 5, 3, 6, 1, 0xc4, 0x80], &[0x06, 5, 9, 6], &[0x06, 0x80]]
        {
            assert!(!of(other), "{other:x?}");
        }
        // Every cut of it ends.
        for len in 1..user_data.len() {
            of(&user_data[..len]);
        }
    }

    #[test]
    fn h265_kinds() {
        let of = |kind: u8| classify(VideoCodec::H265, &unit(&[&[kind << 1, 1, 0x80]])).unwrap();
        for idr in [19, 20] {
            assert_eq!(of(idr), AuKind { random_access: true, idr: true, ..AuKind::default() });
        }
        for open in [16, 17, 18, 21] {
            assert_eq!(of(open), AuKind { random_access: true, ..AuKind::default() });
        }
        for leading in [6, 7, 8, 9] {
            assert_eq!(of(leading), AuKind { leading: true, ..AuKind::default() });
        }
        assert_eq!(of(1), AuKind::default());
        let second = unit(&[&[1 << 1, 1, 0x40]]);
        assert!(classify(VideoCodec::H265, &second).unwrap().continues);
        // Slices of an enhancement layer say nothing about the picture.
        let layered = unit(&[&[19 << 1, 0x09, 0x80], &[1 << 1, 1, 0x80]]);
        assert_eq!(classify(VideoCodec::H265, &layered).unwrap(), AuKind::default());
    }

    #[test]
    fn jpeg_pictures_stand_alone() {
        let kind = classify(VideoCodec::Jpeg, &[0xff, 0xd8, 0xff]).unwrap();
        assert_eq!(kind, AuKind { random_access: true, idr: true, ..AuKind::default() });
        assert!(classify(VideoCodec::Jpeg, &[0, 0, 0, 2, 0x65, 0x88]).is_err());
        let params = |width| VideoParams {
            codec: VideoCodec::Jpeg,
            extra_data: Bytes::new(),
            width,
            height: 480,
        };
        let info = VideoInfo::parse(&params(640)).unwrap();
        assert_eq!((info.rfc6381.as_str(), info.reorder_depth, info.width), ("mp4v.6C", 0, 640));
        // What a camera says of a picture that is too wide for RFC 2435.
        assert!(VideoInfo::parse(&params(0)).is_err());
    }

    #[test]
    fn a_torn_access_unit_is_refused() {
        let mut torn = unit(&[&[0x06, 5, 5]]);
        torn.extend_from_slice(&[0, 0, 0, 9, 0x65]);
        let error = classify(VideoCodec::H264, &torn).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the last 5 bytes of an access unit are no NAL unit after its length"
        );
        assert!(classify(VideoCodec::H264, &[]).is_err());
    }

    #[test]
    fn annex_b_is_split_at_start_codes() {
        let data = hex("0000000167aabb00000000016800010000010900000001");
        assert_eq!(annex_b_units(&data), [&hex("67aabb")[..], &hex("680001"), &hex("09")]);
    }

    proptest! {
        #[test]
        fn no_input_panics(
            data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 0..200),
            h265: bool,
        ) {
            let codec = if h265 { VideoCodec::H265 } else { VideoCodec::H264 };
            let _ = classify(codec, &data);
            let _ = record_from_annex_b(codec, &data);
            let params =
                VideoParams { codec, extra_data: data.clone().into(), width: 1, height: 1 };
            let _ = VideoInfo::parse(&params);
            let _ = aac::parse_config(&data);
        }
    }
}
