//! Sample entries: how the samples of a track are coded. The same ones stand in a segment's own
//! `moov` and in that of a clip.

use super::boxes::{Put, write_box, write_full_box};
use crate::media::{AudioCodec, AudioParams, MetadataCoding, VideoCodec, VideoParams};

/// `avc1` with `avcC`, or `hvc1` with `hvcC` (ISO/IEC 14496-12, 12.1.3; 14496-15, 5.4.2 and 8.4.1);
/// for JPEG `mp4v` with `esds` (14496-14, 6.7).
pub fn video_sample_entry(params: &VideoParams) -> Vec<u8> {
    let (kind, config) = match params.codec {
        VideoCodec::H264 => (*b"avc1", *b"avcC"),
        VideoCodec::H265 => (*b"hvc1", *b"hvcC"),
        VideoCodec::Jpeg => (*b"mp4v", *b"esds"),
    };
    let mut out = Vec::with_capacity(94 + params.extra_data.len());
    write_box(&mut out, kind, |out| {
        out.zeros(6);
        out.u16(1); // data_reference_index
        out.zeros(16);
        out.u16(params.width);
        out.u16(params.height);
        out.u32(0x0048_0000); // 72 dpi
        out.u32(0x0048_0000);
        out.zeros(4);
        out.u16(1); // frame_count
        out.zeros(32); // compressorname
        out.u16(0x0018); // depth
        out.u16(0xffff);
        if params.codec == VideoCodec::Jpeg {
            let descriptor = es_descriptor(JPEG, VISUAL, &[]);
            write_full_box(out, config, 0, 0, |out| out.bytes(&descriptor));
        } else {
            write_box(out, config, |out| out.bytes(&params.extra_data));
        }
    });
    out
}

/// `mp4a` with `esds` (ISO/IEC 14496-12, 12.2.3; 14496-14, 6.7); for G.711 `ulaw` or `alaw` (Apple,
/// QuickTime File Format, "Sound sample descriptions"), which has no standard entry of its own; for Opus
/// `Opus` with `dOps` (Encapsulation of Opus in ISO Base Media File Format, 4.3).
pub fn audio_sample_entry(params: &AudioParams) -> Vec<u8> {
    let mut out = Vec::with_capacity(80 + params.extra_data.len());
    let kind = match params.codec {
        AudioCodec::Aac => *b"mp4a",
        AudioCodec::G711Ulaw => *b"ulaw",
        AudioCodec::G711Alaw => *b"alaw",
        AudioCodec::Opus => *b"Opus",
    };
    write_box(&mut out, kind, |out| {
        out.zeros(6);
        out.u16(1); // data_reference_index
        out.zeros(8);
        out.u16(params.channels);
        out.u16(16); // samplesize
        out.zeros(4);
        // 16.16 fixed point; rates that do not fit are in the AudioSpecificConfig only.
        out.u16(u16::try_from(params.sample_rate).unwrap_or(0));
        out.u16(0);
        if params.codec == AudioCodec::Aac {
            let descriptor = es_descriptor(AAC, AUDIO, &params.extra_data);
            write_full_box(out, *b"esds", 0, 0, |out| out.bytes(&descriptor));
        }
        if params.codec == AudioCodec::Opus {
            write_box(out, *b"dOps", |out| {
                out.u8(0); // version
                out.u8(u8::try_from(params.channels).unwrap_or(2));
                out.u16(0); // PreSkip: a camera was on before we came
                out.u32(params.sample_rate);
                out.u16(0); // OutputGain
                out.u8(0); // ChannelMappingFamily: mono or stereo
            });
        }
    });
    out
}

/// `metx` (ISO/IEC 14496-12, 12.3.3.2) as the ONVIF Export File Format Specification has it ("Timed
/// metadata").
pub fn metadata_sample_entry(coding: MetadataCoding) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_box(&mut out, *b"metx", |out| {
        out.zeros(6);
        out.u16(1); // data_reference_index
        out.bytes(match coding {
            MetadataCoding::Xml => b"\0",
            MetadataCoding::Gzip => b"gzip\0",
            MetadataCoding::Exi => b"exi\0",
        });
        out.bytes(b"http://www.onvif.org/ver10/schema\0");
        out.bytes(b"\0"); // schema_location
    });
    out
}

/// objectTypeIndication (ISO/IEC 14496-1, table 5): ISO/IEC 14496-3.
const AAC: u8 = 0x40;
/// objectTypeIndication: ISO/IEC 10918-1.
const JPEG: u8 = 0x6c;
/// streamType (table 6), with the reserved bit.
const AUDIO: u8 = 0x15;
/// streamType.
const VISUAL: u8 = 0x11;

/// ES_Descriptor (ISO/IEC 14496-1, 7.2.6.5).
fn es_descriptor(object_type: u8, stream_type: u8, config: &[u8]) -> Vec<u8> {
    let mut decoder = vec![object_type, stream_type];
    decoder.zeros(3); // bufferSizeDB
    decoder.zeros(8); // maxBitrate, avgBitrate: not known
    if !config.is_empty() {
        put_descriptor(&mut decoder, 0x05, config); // DecoderSpecificInfo
    }
    let mut es = vec![0; 3]; // ES_ID and flags: 0 in a file
    put_descriptor(&mut es, 0x04, &decoder); // DecoderConfigDescriptor
    put_descriptor(&mut es, 0x06, &[0x02]); // SLConfigDescriptor: as the file format says
    let mut out = Vec::new();
    put_descriptor(&mut out, 0x03, &es);
    out
}

/// Tag, size in groups of 7 bits (ISO/IEC 14496-1, 8.3.3), content.
fn put_descriptor(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.u8(tag);
    let size = content.len();
    for shift in [21, 14, 7] {
        if size >> shift > 0 {
            out.u8(0x80 | (size >> shift) as u8 & 0x7f);
        }
    }
    out.u8(size as u8 & 0x7f);
    out.bytes(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_entry_holds_the_configuration() {
        let params = AudioParams {
            codec: AudioCodec::Aac,
            extra_data: vec![0x11, 0x90].into(),
            sample_rate: 48_000,
            channels: 2,
        };
        let entry = audio_sample_entry(&params);
        assert_eq!(entry[..8], [0, 0, 0, 75, b'm', b'p', b'4', b'a']);
        assert_eq!(entry[32..36], [0xbb, 0x80, 0, 0]);
        let esds = [
            0x03, 25, 0, 0, 0, // ES
            0x04, 17, 0x40, 0x15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // decoder
            0x05, 2, 0x11, 0x90, // AudioSpecificConfig
            0x06, 1, 2,
        ];
        assert_eq!(entry[48..], esds);
    }

    #[test]
    fn long_descriptors_have_longer_sizes() {
        let mut out = Vec::new();
        put_descriptor(&mut out, 5, &[7; 300]);
        assert_eq!(out[..4], [5, 0x82, 0x2c, 7]);
        assert_eq!(out.len(), 303);
    }

    #[test]
    fn video_entry_holds_size_and_record() {
        let params = VideoParams {
            codec: VideoCodec::H265,
            extra_data: vec![1, 2, 3].into(),
            width: 1920,
            height: 1080,
        };
        let entry = video_sample_entry(&params);
        assert_eq!(entry.len(), 86 + 8 + 3);
        assert_eq!(&entry[4..8], b"hvc1");
        assert_eq!(entry[32..36], [0x07, 0x80, 0x04, 0x38]);
        assert_eq!(entry[86..], [0, 0, 0, 11, b'h', b'v', b'c', b'C', 1, 2, 3]);
    }
}
