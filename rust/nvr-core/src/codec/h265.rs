//! ITU-T H.265: configuration records and kinds of pictures.

use std::fmt::Write;

use super::bits::{BitReader, unescape};
use super::{AuKind, VideoInfo, dimension, put_sized, take, take_sized};
use crate::{Error, Result};

/// nal_unit_type of a video parameter set (table 7-1).
pub const NAL_VPS: u8 = 32;
/// nal_unit_type of a sequence parameter set.
pub const NAL_SPS: u8 = 33;
/// nal_unit_type of a picture parameter set.
pub const NAL_PPS: u8 = 34;

/// The largest decoded picture buffer of any level, in pictures (A.4.2).
const MAX_DPB_SIZE: u32 = 16;

/// The fields of a sequence parameter set (7.3.2.2.1) that are used.
struct Sps {
    /// general_profile_space … general_level_idc (7.3.3).
    general: [u8; 12],
    sub_layers: u8,
    temporal_id_nesting: bool,
    chroma_format_idc: u8,
    bit_depth_luma_minus8: u8,
    bit_depth_chroma_minus8: u8,
    width: u16,
    height: u16,
    reorder_depth: u8,
}

/// What a NAL unit says about its picture; None if it is no slice of the base layer.
pub(super) fn slice_kind(nal: &[u8]) -> Option<AuKind> {
    let [first, second] = *nal.first_chunk::<2>()?;
    let layer = (first & 1) << 5 | second >> 3;
    let kind = (first >> 1) & 0x3f;
    if layer != 0 || kind > 31 {
        return None;
    }
    // first_slice_segment_in_pic_flag (7.3.6.1).
    let continues = nal.get(2).is_some_and(|byte| byte & 0x80 == 0);
    Some(AuKind {
        random_access: (16..=21).contains(&kind),
        leading: (6..=9).contains(&kind),
        idr: matches!(kind, 19 | 20),
        continues,
    })
}

/// Reads an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1). The reorder depth is
/// `sps_max_num_reorder_pics` of the highest sub-layer.
pub(super) fn parse_hvcc(record: &[u8]) -> Result<VideoInfo> {
    let mut rest = record;
    let head = take(&mut rest, 23, "hvcC")?;
    if head[0] != 1 {
        return Err(Error::Media(format!("hvcC version {} is not known", head[0])));
    }
    if head[21] & 3 != 3 {
        return Err(Error::Media("hvcC: NAL unit lengths must have 4 bytes".into()));
    }
    let mut info: Option<VideoInfo> = None;
    for _ in 0..head[22] {
        let array = take(&mut rest, 3, "hvcC")?;
        for _ in 0..u16::from_be_bytes([array[1], array[2]]) {
            let nal = take_sized(&mut rest, "hvcC")?;
            if array[0] & 0x3f != NAL_SPS {
                continue;
            }
            let sps = parse_sps(nal)?;
            // Pictures may refer to any of the sets: the deepest one holds for all.
            match &mut info {
                Some(first) => first.reorder_depth = first.reorder_depth.max(sps.reorder_depth),
                None => {
                    info = Some(VideoInfo {
                        reorder_depth: sps.reorder_depth,
                        rfc6381: rfc6381(&head[1..13]),
                        width: sps.width,
                        height: sps.height,
                        // Each is a picture of its own.
                        fields: None,
                    });
                }
            }
        }
    }
    info.ok_or_else(|| Error::Media("hvcC has no sequence parameter set".into()))
}

/// Builds an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) of parameter sets (whole
/// NAL units). [`Error::Media`] if a kind is missing or the first SPS cannot be read.
pub fn hvcc(vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Result<Vec<u8>> {
    let (Some(first), false, false) = (sps.first(), vps.is_empty(), pps.is_empty()) else {
        return Err(Error::Media("H.265 needs a VPS, an SPS and a PPS".into()));
    };
    let parsed = parse_sps(first)?;
    let mut out = vec![1];
    out.extend_from_slice(&parsed.general);
    out.extend_from_slice(&[
        // Not known: min_spatial_segmentation_idc 0, parallelismType 0.
        0xf0,
        0,
        0xfc,
        0xfc | parsed.chroma_format_idc,
        0xf8 | parsed.bit_depth_luma_minus8,
        0xf8 | parsed.bit_depth_chroma_minus8,
        // Not known: avgFrameRate 0, constantFrameRate 0.
        0,
        0,
        parsed.sub_layers << 3 | u8::from(parsed.temporal_id_nesting) << 2 | 3,
        3,
    ]);
    for (kind, nals) in [(NAL_VPS, vps), (NAL_SPS, sps), (NAL_PPS, pps)] {
        let count = u16::try_from(nals.len())
            .map_err(|_| Error::Media(format!("{} parameter sets", nals.len())))?;
        // array_completeness: none of them is in the samples.
        out.push(0x80 | kind);
        out.extend_from_slice(&count.to_be_bytes());
        for nal in nals {
            put_sized(&mut out, nal)?;
        }
    }
    Ok(out)
}

/// RFC 6381 name of general_profile_space … general_level_idc (ISO/IEC 14496-15, Annex E.3).
fn rfc6381(general: &[u8]) -> String {
    let mut name = String::from("hvc1.");
    let space = general[0] >> 6;
    if space > 0 {
        name.push(char::from(b'A' + space - 1));
    }
    // Flag 0 of the compatibility flags is the least significant bit in the name.
    let flags = u32::from_be_bytes([general[1], general[2], general[3], general[4]]);
    let tier = if general[0] & 0x20 == 0 { 'L' } else { 'H' };
    let (profile, level) = (general[0] & 0x1f, general[11]);
    // Writing to a string cannot fail.
    let _ = write!(name, "{profile}.{:X}.{tier}{level}", flags.reverse_bits());
    let constraints = &general[5..11];
    let used = constraints.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        let _ = write!(name, ".{byte:X}");
    }
    name
}

fn parse_sps(nal: &[u8]) -> Result<Sps> {
    let what = "the H.265 SPS";
    let rbsp = unescape(nal);
    if rbsp.len() < 15 || (rbsp[0] >> 1) & 0x3f != NAL_SPS {
        return Err(Error::Media("a NAL unit that should be an SPS is none".into()));
    }
    let mut general = [0; 12];
    general.copy_from_slice(&rbsp[3..15]);
    let mut bits = BitReader::new(&rbsp[2..], what);
    bits.skip(4)?; // sps_video_parameter_set_id
    let sub_layers_minus1 = bits.read(3)?;
    if sub_layers_minus1 > 6 {
        return Err(Error::Media(format!("{what} has {} sub-layers", sub_layers_minus1 + 1)));
    }
    let temporal_id_nesting = bits.flag()?;
    skip_profile_tier_level(&mut bits, sub_layers_minus1)?;
    bits.ue()?; // sps_seq_parameter_set_id
    let chroma_format_idc = at_most(bits.ue()?, 3, "chroma_format_idc")?;
    let separate_planes = chroma_format_idc == 3 && bits.flag()?;
    let mut width = bits.ue()?;
    let mut height = bits.ue()?;
    if bits.flag()? {
        // Conformance window, in units of chroma samples (table 6-1).
        let (sub_width, sub_height) = match chroma_format_idc {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let (left, right) = (bits.ue()?, bits.ue()?);
        let (top, bottom) = (bits.ue()?, bits.ue()?);
        width = cropped(width, left, right, sub_width)?;
        height = cropped(height, top, bottom, sub_height)?;
    }
    let bit_depth_luma_minus8 = at_most(bits.ue()?, 8, "bit_depth_luma_minus8")?;
    let bit_depth_chroma_minus8 = at_most(bits.ue()?, 8, "bit_depth_chroma_minus8")?;
    at_most(bits.ue()?, 12, "log2_max_pic_order_cnt_lsb_minus4")?;
    let all_sub_layers = bits.flag()?;
    let mut reorder = 0;
    // The last one written is that of the highest sub-layer.
    for _ in if all_sub_layers { 0 } else { sub_layers_minus1 }..=sub_layers_minus1 {
        bits.ue()?; // sps_max_dec_pic_buffering_minus1
        reorder = bits.ue()?;
        bits.ue()?; // sps_max_latency_increase_plus1
    }
    Ok(Sps {
        general,
        sub_layers: sub_layers_minus1 as u8 + 1,
        temporal_id_nesting,
        chroma_format_idc: if separate_planes { 0 } else { chroma_format_idc },
        bit_depth_luma_minus8,
        bit_depth_chroma_minus8,
        width: dimension(width, "width")?,
        height: dimension(height, "height")?,
        reorder_depth: reorder.min(MAX_DPB_SIZE) as u8,
    })
}

/// profile_tier_level() with profilePresentFlag 1 (7.3.3).
fn skip_profile_tier_level(bits: &mut BitReader<'_>, sub_layers_minus1: u32) -> Result<()> {
    bits.skip(96)?;
    let mut len = 0;
    for _ in 0..sub_layers_minus1 {
        len += if bits.flag()? { 88 } else { 0 };
        len += if bits.flag()? { 8 } else { 0 };
    }
    if sub_layers_minus1 > 0 {
        bits.skip(2 * (8 - sub_layers_minus1 as usize))?;
    }
    bits.skip(len)
}

fn at_most(value: u32, max: u8, what: &str) -> Result<u8> {
    u8::try_from(value)
        .ok()
        .filter(|v| *v <= max)
        .ok_or_else(|| Error::Media(format!("the H.265 SPS has {what} {value}")))
}

fn cropped(size: u32, before: u32, after: u32, unit: u32) -> Result<u32> {
    let crop = (u64::from(before) + u64::from(after)) * u64::from(unit);
    u32::try_from(crop)
        .ok()
        .and_then(|crop| size.checked_sub(crop))
        .ok_or_else(|| Error::Media(format!("the H.265 SPS crops {crop} of {size} pixels")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::hex;
    use super::*;

    // By x265 from a picture of 322×182: Main with B-frames; Main 10 with three temporal layers.
    const VPS: &str = "40010c01ffff01600000030090000003000003003c959809";
    const SPS: &str = "42010101600000030090000003000003003ca00a480b9c9596566924caf0168080000003\
                       008000000504";
    const SPS_10: &str = "42010102200000030090000003000003003ca00a480b9c94d964a924caf0168080000003\
                          008000000504";
    const PPS: &str = "4401c172b46240";

    fn record(sps: &str) -> Vec<u8> {
        hvcc(&[&hex(VPS)], &[&hex(sps)], &[&hex(PPS)]).unwrap()
    }

    #[test]
    fn records_are_built_and_read() {
        let record = record(SPS);
        // What another muxer writes for the same parameter sets.
        let head = "0101600000009000000000003cf000fcfdf8f800000f03a0";
        assert_eq!(record[..23], hex(head)[..23]);
        let expected = VideoInfo {
            reorder_depth: 2,
            rfc6381: "hvc1.1.6.L60.90".into(),
            width: 322,
            height: 182,
            fields: None,
        };
        assert_eq!(parse_hvcc(&record).unwrap(), expected);
    }

    #[test]
    fn ten_bits() {
        let record = record(SPS_10);
        assert_eq!(record[17..19], [0xfa, 0xfa]);
        let info = parse_hvcc(&record).unwrap();
        assert_eq!((info.rfc6381.as_str(), info.width), ("hvc1.2.4.L60.90", 322));
    }

    #[test]
    fn sub_layers_are_passed_over() {
        // Three sub-layers, the second with profile and level, and reordering for each.
        let mut bits = String::from("01000010"); // nal_unit_type 33
        bits += "00000001"; // nuh_temporal_id_plus1 1
        bits += "00000101"; // VPS 0, sub-layers 3, nesting
        bits += &"10101010".repeat(12);
        bits += "00 11 000000000000".replace(' ', "").as_str(); // flags, then 2 × 6 bits
        bits += &"1".repeat(96);
        bits += "1"; // id
        bits += "010"; // 4:2:0
        bits += "0000001000001"; // width 64
        bits += "00000100001"; // height 32
        bits += "0"; // no window
        bits += "1 1 00101".replace(' ', "").as_str(); // 8 bit, 8 bit, log2 8
        bits += "1"; // for each sub-layer
        bits += "1 1 1 011 010 1 00100 011 1".replace(' ', "").as_str();
        bits += "10000000";
        let mut sps: Vec<u8> = Vec::new();
        for chunk in bits.as_bytes().chunks(8) {
            let text = std::str::from_utf8(chunk).unwrap();
            sps.push(u8::from_str_radix(&format!("{text:0<8}"), 2).unwrap());
        }
        let parsed = parse_sps(&sps).unwrap();
        assert_eq!((parsed.sub_layers, parsed.reorder_depth), (3, 2));
    }

    #[test]
    fn names_spell_tier_space_and_constraints() {
        assert_eq!(rfc6381(&hex("0160000000b000000000005d")), "hvc1.1.6.L93.B0");
        assert_eq!(rfc6381(&hex("64080000000000000000001e")), "hvc1.A4.10.H30");
    }

    #[test]
    fn every_cut_is_an_error() {
        let record = record(SPS);
        let until = 23 + 3 + 2 + VPS.len() / 2 + 3 + 2 + SPS.len() / 2;
        for len in 0..until {
            assert!(parse_hvcc(&record[..len]).is_err(), "{len} bytes");
        }
        assert!(parse_hvcc(&record[..record.len()]).is_ok());
    }
}
