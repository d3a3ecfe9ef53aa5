//! ITU-T H.264: configuration records and kinds of pictures.

use h264_reader::nal::sps::{ChromaFormat, FrameMbsFlags, PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{self, BitRead, BitReaderError};

use super::{AuKind, Field, FieldSyntax, VideoInfo, dimension, put_sized, take, take_sized};
use crate::{Error, Result};

/// nal_unit_type of a sequence parameter set (table 7-1).
pub const NAL_SPS: u8 = 7;
/// nal_unit_type of a picture parameter set.
pub const NAL_PPS: u8 = 8;

/// The largest decoded picture buffer of any level, in frames (A.3.1).
const MAX_DPB_FRAMES: u32 = 16;

/// nal_unit_type of supplemental enhancement information.
const NAL_SEI: u8 = 6;
/// payloadType of a recovery point (D.1.8).
const SEI_RECOVERY_POINT: u8 = 6;

/// What a NAL unit says about its picture; None if it is no slice. `recovery`: a recovery point
/// message came before it.
pub(super) fn slice_kind(nal: &[u8], recovery: bool) -> Option<AuKind> {
    let kind = nal.first()? & 0x1f;
    if !(1..=5).contains(&kind) {
        return None;
    }
    let (idr, data_partition) = (kind == 5, matches!(kind, 3 | 4));
    // first_mb_in_slice (7.3.3) is 0, which is coded as one bit, in a picture's first slice.
    // Partitions B and C (7.3.2.9) belong to a partition A before them.
    let continues = data_partition || nal.get(1).is_some_and(|byte| byte & 0x80 == 0);
    Some(AuKind { random_access: idr || recovery, leading: false, idr, continues })
}

/// What of an SPS it takes to read which field a slice is of; none where all pictures are frames.
pub(super) fn field_syntax(sps: &SeqParameterSet) -> Option<FieldSyntax> {
    let fields = sps.frame_mbs_flags != FrameMbsFlags::Frames;
    fields.then(|| FieldSyntax {
        frame_num_bits: u32::from(sps.log2_max_frame_num_minus4) + 4,
        colour_planes: sps.chroma_info.separate_colour_plane_flag,
    })
}

/// The field that a NAL unit is a slice of; none: it is of a frame, or no slice that says so.
pub(super) fn field_of_slice(nal: &[u8], syntax: FieldSyntax) -> Option<Field> {
    let head = *nal.first()?;
    if !matches!(head & 0x1f, 1 | 2 | 5) {
        return None;
    }
    // A slice header's first fields (7.3.3) are 20 bytes at most.
    let rbsp = rbsp::decode_nal(&nal[..nal.len().min(32)]).ok()?;
    let mut bits = rbsp::BitReader::new(&*rbsp);
    for field in ["first_mb_in_slice", "slice_type", "pic_parameter_set_id"] {
        bits.read_ue(field).ok()?;
    }
    if syntax.colour_planes {
        bits.skip(2, "colour_plane_id").ok()?;
    }
    let frame_num = bits.read::<u32>(syntax.frame_num_bits, "frame_num").ok()?;
    if !bits.read_bool("field_pic_flag").ok()? {
        return None;
    }
    let bottom = bits.read_bool("bottom_field_flag").ok()?;
    Some(Field { bottom, frame_num, reference: head & 0x60 != 0 })
}

/// Whether a NAL unit is SEI with a recovery point: a decoder that starts there shows right
/// pictures a little later (at once, if the picture is all intra), and IDR pictures may never come.
pub(super) fn is_recovery_point(nal: &[u8]) -> bool {
    if nal.first().map(|b| b & 0x1f) != Some(NAL_SEI) {
        return false;
    }
    let mut rest = &nal[1..];
    // sei_message()s (7.3.2.3.1) until the stop bit.
    while let [kind, after @ ..] = rest {
        if after.is_empty() {
            return false;
        }
        if *kind == SEI_RECOVERY_POINT {
            return true;
        }
        let kind_extends = rest.iter().take_while(|b| **b == 0xff).count();
        let Some(sized) = rest.get(kind_extends + 1..) else { return false };
        let full = sized.iter().take_while(|b| **b == 0xff).count();
        let Some(last) = sized.get(full) else { return false };
        let size = full * 255 + usize::from(*last);
        let Some(next) = after_payload(&sized[full + 1..], size) else { return false };
        rest = next;
    }
    false
}

/// What follows a payload of so many bytes, emulation prevention bytes (7.4.1) not counted.
fn after_payload(data: &[u8], size: usize) -> Option<&[u8]> {
    let (mut zeros, mut left) = (0, size);
    for (at, &byte) in data.iter().enumerate() {
        if left == 0 {
            return Some(&data[at..]);
        }
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        left -= 1;
    }
    None
}

/// Reads an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
pub(super) fn parse_avcc(record: &[u8]) -> Result<VideoInfo> {
    let mut rest = record;
    let head = take(&mut rest, 6, "avcC")?;
    if head[0] != 1 {
        return Err(Error::Media(format!("avcC version {} is not known", head[0])));
    }
    if head[4] & 3 != 3 {
        return Err(Error::Media("avcC: NAL unit lengths must have 4 bytes".into()));
    }
    let mut info: Option<VideoInfo> = None;
    for _ in 0..head[5] & 0x1f {
        let sps = parse_sps(take_sized(&mut rest, "avcC")?)?;
        let reorder_depth = reorder_depth(&sps);
        let fields = field_syntax(&sps);
        // Pictures may refer to any of the sets: the deepest one holds for all.
        match &mut info {
            Some(first) => {
                first.reorder_depth = first.reorder_depth.max(reorder_depth);
                // Which of them a slice's is, is not looked up: no known camera has two that differ.
                first.fields = first.fields.filter(|_| first.fields == fields);
            }
            None => {
                let (width, height) =
                    sps.pixel_dimensions().map_err(|e| Error::Media(format!("SPS: {e:?}")))?;
                info = Some(VideoInfo {
                    reorder_depth,
                    rfc6381: format!("avc1.{:02x}{:02x}{:02x}", head[1], head[2], head[3]),
                    width: dimension(width, "width")?,
                    height: dimension(height, "height")?,
                    fields,
                });
            }
        }
    }
    info.ok_or_else(|| Error::Media("avcC has no sequence parameter set".into()))
}

/// Builds an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1) of parameter sets
/// (whole NAL units). [`Error::Media`] if there are none, too many, or the first cannot be read.
pub fn avcc(sps: &[&[u8]], pps: &[&[u8]]) -> Result<Vec<u8>> {
    let (Some(first), false) = (sps.first(), pps.is_empty()) else {
        return Err(Error::Media("H.264 needs an SPS and a PPS".into()));
    };
    if sps.len() > 31 || pps.len() > 255 {
        return Err(Error::Media(format!("{} SPS and {} PPS", sps.len(), pps.len())));
    }
    let parsed = parse_sps(first)?;
    // parse_sps has read these three bytes.
    let mut out = vec![1, first[1], first[2], first[3], 0xff, 0xe0 | sps.len() as u8];
    for nal in sps {
        put_sized(&mut out, nal)?;
    }
    out.push(pps.len() as u8);
    for nal in pps {
        put_sized(&mut out, nal)?;
    }
    if parsed.profile_idc.has_chroma_info() {
        let chroma = &parsed.chroma_info;
        let format = match chroma.chroma_format {
            ChromaFormat::Monochrome => 0,
            ChromaFormat::YUV420 => 1,
            ChromaFormat::YUV422 => 2,
            ChromaFormat::YUV444 => 3,
            ChromaFormat::Invalid(idc) => {
                return Err(Error::Media(format!("SPS: chroma_format_idc {idc}")));
            }
        };
        out.extend_from_slice(&[
            0xfc | format,
            0xf8 | chroma.bit_depth_luma_minus8,
            0xf8 | chroma.bit_depth_chroma_minus8,
            0,
        ]);
    }
    Ok(out)
}

fn parse_sps(nal: &[u8]) -> Result<SeqParameterSet> {
    if nal.first().map(|b| b & 0x1f) != Some(NAL_SPS) {
        return Err(Error::Media("a NAL unit that should be an SPS is none".into()));
    }
    let rbsp = rbsp::decode_nal(nal).map_err(|e| Error::Media(format!("SPS: {e}")))?;
    SeqParameterSet::from_bits(Lenient(rbsp::BitReader::new(&*rbsp)))
        .map_err(|e| Error::Media(format!("SPS: {e:?}")))
}

/// How far pictures are reordered, from `max_num_reorder_frames` (E.2.1). Where the stream does
/// not say, the standard infers 0 for the intra profiles and the size of the decoded picture buffer
/// (A.3.1) otherwise, which holds up to 16 pictures back; Baseline has no B slices and
/// pic_order_cnt_type 2 forbids reordering (8.2.1.3), so both are 0 as well. A stream of Main or
/// High profile without the field is thus delayed by up to 16 pictures: right, and not fast.
fn reorder_depth(sps: &SeqParameterSet) -> u8 {
    let restrictions = sps.vui_parameters.as_ref().and_then(|v| v.bitstream_restrictions.as_ref());
    let profile = u8::from(sps.profile_idc);
    let intra = matches!(profile, 44 | 86 | 100 | 110 | 122 | 244) && sps.constraint_flags.flag3();
    let depth = if sps.pic_order_cnt == PicOrderCntType::TypeTwo {
        0
    } else if let Some(restrictions) = restrictions {
        restrictions.max_num_reorder_frames
    } else if profile == 66 || intra {
        0
    } else {
        max_dpb_frames(sps)
    };
    depth.min(MAX_DPB_FRAMES) as u8
}

/// MaxDpbFrames (A.3.1 h).
fn max_dpb_frames(sps: &SeqParameterSet) -> u32 {
    let fields = if sps.frame_mbs_flags == FrameMbsFlags::Frames { 1 } else { 2 };
    let macroblocks = (u64::from(sps.pic_width_in_mbs_minus1) + 1)
        * (u64::from(sps.pic_height_in_map_units_minus1) + 1)
        * fields;
    // MaxDpbMbs (table A-1).
    let max_dpb_mbs: u64 = match sps.level_idc {
        9 | 10 => 396,
        11 if sps.constraint_flags.flag3() && u8::from(sps.profile_idc) <= 88 => 396, // 1b
        11 => 900,
        12 | 13 | 20 => 2_376,
        21 => 4_752,
        22 | 30 => 8_100,
        31 => 18_000,
        32 => 20_480,
        40 | 41 => 32_768,
        42 => 34_816,
        50 => 110_400,
        51 | 52 => 184_320,
        60..=62 => 696_320,
        _ => return MAX_DPB_FRAMES,
    };
    (max_dpb_mbs / macroblocks).min(u64::from(MAX_DPB_FRAMES)) as u32
}

/// Accepts bytes after the end of a parameter set, which some cameras send.
struct Lenient<R>(R);

impl<R: BitRead> BitRead for Lenient<R> {
    fn read_ue(&mut self, name: &'static str) -> Result<u32, BitReaderError> {
        self.0.read_ue(name)
    }
    fn read_se(&mut self, name: &'static str) -> Result<i32, BitReaderError> {
        self.0.read_se(name)
    }
    fn read_bool(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.0.read_bool(name)
    }
    fn read<U: rbsp::Numeric>(
        &mut self,
        bit_count: u32,
        name: &'static str,
    ) -> Result<U, BitReaderError> {
        self.0.read(bit_count, name)
    }
    fn read_to<V: rbsp::Primitive>(&mut self, name: &'static str) -> Result<V, BitReaderError> {
        self.0.read_to(name)
    }
    fn skip(&mut self, bit_count: u32, name: &'static str) -> Result<(), BitReaderError> {
        self.0.skip(bit_count, name)
    }
    fn has_more_rbsp_data(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.0.has_more_rbsp_data(name)
    }
    fn finish_rbsp(self) -> Result<(), BitReaderError> {
        match self.0.finish_rbsp() {
            Err(BitReaderError::RemainingData) => Ok(()),
            other => other,
        }
    }
    fn finish_sei_payload(self) -> Result<(), BitReaderError> {
        self.0.finish_sei_payload()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    // By x264 from a picture of 322×182.
    const HIGH_B: &str = "0164000cffe1001a6764000cacd941519e226c0440000003004000000503c50a6580\
                          01000668ebe3cb22c0fdf8f800";
    const BASELINE: &str = "0142c00bffe100186742c00bd901519e226c0440000003004000000503c50a920100\
                            0568cb83cb20";
    const HIGH_422_10: &str = "017a000cffe1001b677a000cb6cd941519e222f011000003000100000300140f14\
                               299601000668ebe3cb22c0fefafa00";

    #[test]
    fn records_are_read() {
        let info = parse_avcc(&hex(HIGH_B)).unwrap();
        let expected = VideoInfo {
            reorder_depth: 2,
            rfc6381: "avc1.64000c".into(),
            width: 322,
            height: 182,
            fields: None,
        };
        assert_eq!(info, expected);
        let info = parse_avcc(&hex(BASELINE)).unwrap();
        assert_eq!((info.reorder_depth, info.rfc6381.as_str()), (0, "avc1.42c00b"));
        assert_eq!(parse_avcc(&hex(HIGH_422_10)).unwrap().rfc6381, "avc1.7a000c");
    }

    #[test]
    fn records_are_built_as_another_muxer_builds_them() {
        for record in [HIGH_B, BASELINE, HIGH_422_10] {
            let record = hex(record);
            let mut rest = &record[6..];
            let sps = take_sized(&mut rest, "test").unwrap();
            rest = &rest[1..];
            let pps = take_sized(&mut rest, "test").unwrap();
            assert_eq!(avcc(&[sps], &[pps]).unwrap(), record);
        }
        assert!(avcc(&[], &[&[0x68]]).is_err());
    }

    #[test]
    fn without_vui_the_level_decides() {
        let record = hex(HIGH_B);
        let sps = parse_sps(&record[8..8 + 0x1a]).unwrap();
        let with = |level_idc, vui| SeqParameterSet {
            level_idc,
            vui_parameters: if vui { sps.vui_parameters.clone() } else { None },
            ..sps.clone()
        };
        assert_eq!(reorder_depth(&with(12, true)), 2);
        // 21 × 12 macroblocks.
        assert_eq!(reorder_depth(&with(10, false)), 1);
        assert_eq!(reorder_depth(&with(12, false)), 9);
        assert_eq!(reorder_depth(&with(31, false)), 16);
        assert_eq!(reorder_depth(&with(200, false)), 16);
        let no_order =
            SeqParameterSet { pic_order_cnt: PicOrderCntType::TypeTwo, ..with(31, false) };
        assert_eq!(reorder_depth(&no_order), 0);
    }

    #[test]
    fn a_stray_byte_after_the_sps_is_accepted() {
        let mut record = hex(HIGH_B);
        record[7] += 1;
        record.insert(8 + 0x1a, 0x80);
        assert_eq!(parse_avcc(&record).unwrap().width, 322);
    }

    #[test]
    fn every_cut_is_an_error() {
        let record = hex(BASELINE);
        for len in 0..6 + 2 + 0x18 {
            assert!(parse_avcc(&record[..len]).is_err(), "{len} bytes");
        }
        let mut short_lengths = record.clone();
        short_lengths[4] = 0xfd;
        assert!(parse_avcc(&short_lengths).unwrap_err().to_string().contains("4 bytes"));
    }
}
