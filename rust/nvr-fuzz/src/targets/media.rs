//! What cameras send: NAL units, parameter sets, sound configurations; and what is made of them
//! for RTSP clients.

use nvr_core::codec::{AudioInfo, NalUnits, VideoInfo, classify, record_from_annex_b};
use nvr_core::media::{AudioCodec, AudioParams, VideoCodec, VideoParams};
use nvr_rtsp::{Packets, ParameterSets, check_sample};

use super::choice;

/// First byte: 0 H.264, 1 H.265. Then an access unit, parameter sets in either form, or a sound
/// configuration: it is taken as each.
pub fn received(data: &[u8]) {
    let (how, rest) = choice(data);
    let codec = if how & 1 == 0 { VideoCodec::H264 } else { VideoCodec::H265 };
    let _ = classify(codec, rest);
    let _ = classify(VideoCodec::Jpeg, rest);
    let units: usize = NalUnits(rest).flatten().map(|nal| nal.len() + 4).sum();
    assert!(units <= rest.len());
    let info = |extra_data: &[u8]| {
        let extra_data = extra_data.to_vec().into();
        VideoInfo::parse(&VideoParams { codec, extra_data, width: 1, height: 1 })
    };
    let read = |extra_data: &[u8]| {
        if let Ok(info) = info(extra_data) {
            assert!(info.width > 0 && info.height > 0 && info.reorder_depth <= 16);
            assert!(info.rfc6381.len() < 64);
        }
    };
    read(rest);
    if let Ok(record) = record_from_annex_b(codec, rest) {
        // What was built is read again, by both readers.
        read(&record);
        let rtsp =
            if how & 1 == 0 { nvr_rtsp::VideoCodec::H264 } else { nvr_rtsp::VideoCodec::H265 };
        if info(&record).is_ok() {
            let _ = ParameterSets::parse(rtsp, &record);
        }
    }
    let codec = AudioCodec::Aac;
    let extra_data = rest.to_vec().into();
    let params = AudioParams { codec, extra_data, sample_rate: 1, channels: 0 };
    if let Ok(info) = AudioInfo::parse(&params) {
        assert!(info.sample_rate > 0);
    }
}

/// First byte: codec (bit 0) and packet size; two bytes: length of the decoder configuration; it;
/// then an access unit.
pub fn sent(data: &[u8]) {
    let (how, rest) = choice(data);
    let Some((len, rest)) = rest.split_first_chunk::<2>() else { return };
    let Some((record, unit)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len))) else {
        return;
    };
    let codec = if how & 1 == 0 { nvr_rtsp::VideoCodec::H264 } else { nvr_rtsp::VideoCodec::H265 };
    let Ok(sets) = ParameterSets::parse(codec, record) else { return };
    let max_payload = 64 + usize::from(how) * 5;
    let mut packets = Packets::default();
    if check_sample(codec, unit).is_ok() {
        packets.video(codec, unit, Some(&sets), max_payload);
        assert!(packets.payload_bytes() + 4 * packets.count() >= unit.len() / 2);
    }
    for codec in [nvr_rtsp::AudioCodec::Aac, nvr_rtsp::AudioCodec::G711Ulaw] {
        if packets.sound(codec, unit, max_payload).is_ok() {
            assert!(packets.payload_bytes() >= unit.len());
        }
    }
}
