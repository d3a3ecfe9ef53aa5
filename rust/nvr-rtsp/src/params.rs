//! Parameter sets out of a decoder configuration record, and NAL units out of a sample.

use crate::error::{Error, Result};

/// How the pictures are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    H265,
}

impl VideoCodec {
    /// The type of a NAL unit (H.264, 7.3.1; H.265, 7.3.1.2). The unit is not empty.
    pub fn nal_type(self, nal: &[u8]) -> u8 {
        match self {
            VideoCodec::H264 => nal[0] & 0x1f,
            VideoCodec::H265 => (nal[0] >> 1) & 0x3f,
        }
    }

    /// Bytes of a NAL unit's header.
    pub fn nal_header_len(self) -> usize {
        match self {
            VideoCodec::H264 => 1,
            VideoCodec::H265 => 2,
        }
    }

    /// An access unit delimiter must stay the first NAL unit of its access unit.
    pub fn is_delimiter(self, nal: &[u8]) -> bool {
        let delimiter = match self {
            VideoCodec::H264 => 9,
            VideoCodec::H265 => 35,
        };
        self.nal_type(nal) == delimiter
    }
}

/// The parameter sets of a track, in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    /// Video parameter sets (H.265 only).
    pub vps: Vec<Vec<u8>>,
    /// Sequence parameter sets.
    pub sps: Vec<Vec<u8>>,
    /// Picture parameter sets.
    pub pps: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Reads the content of `avcC` (ISO/IEC 14496-15, 5.3.3.1) or `hvcC` (8.3.3.1).
    pub fn parse(codec: VideoCodec, record: &[u8]) -> Result<Self> {
        let mut reader = Reader(record);
        let sets = match codec {
            VideoCodec::H264 => Self::parse_avcc(&mut reader),
            VideoCodec::H265 => Self::parse_hvcc(&mut reader),
        };
        let sets =
            sets.ok_or_else(|| Error::invalid("extra_data: the decoder configuration is cut"))?;
        let complete = codec == VideoCodec::H264 || !sets.vps.is_empty();
        if sets.sps.is_empty() || sets.pps.is_empty() || !complete {
            return Err(Error::invalid("extra_data: a parameter set is missing"));
        }
        if sets.sps[0].len() < 4 {
            return Err(Error::invalid("extra_data: the sequence parameter set is too short"));
        }
        Ok(sets)
    }

    fn parse_avcc(reader: &mut Reader<'_>) -> Option<Self> {
        reader.take(5)?;
        let sps = reader.u8()? & 0x1f;
        let sps = (0..sps).map(|_| reader.set()).collect::<Option<_>>()?;
        let pps = reader.u8()?;
        let pps = (0..pps).map(|_| reader.set()).collect::<Option<_>>()?;
        Some(ParameterSets { vps: Vec::new(), sps, pps })
    }

    fn parse_hvcc(reader: &mut Reader<'_>) -> Option<Self> {
        let mut sets = ParameterSets::default();
        reader.take(22)?;
        for _ in 0..reader.u8()? {
            let kind = reader.u8()? & 0x3f;
            for _ in 0..reader.u16()? {
                let set = reader.set()?;
                match kind {
                    32 => sets.vps.push(set),
                    33 => sets.sps.push(set),
                    34 => sets.pps.push(set),
                    // SEI that holds for the whole stream: nothing depends on it.
                    _ => {}
                }
            }
        }
        Some(sets)
    }

    /// All of them, in the order in which a decoder needs them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.vps.iter().chain(&self.sps).chain(&self.pps).map(Vec::as_slice)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_be_bytes([b[0], b[1]]))
    }

    fn set(&mut self) -> Option<Vec<u8>> {
        let len = usize::from(self.u16()?);
        self.take(len).filter(|s| !s.is_empty()).map(<[u8]>::to_vec)
    }
}

/// The NAL units of a sample, each after its length in 4 bytes; ends early at a length that is wrong.
pub fn nal_units(mut sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = sample.split_first_chunk::<4>()?;
        let (nal, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        sample = rest;
        Some(nal)
    })
}

/// That a sample consists of whole NAL units.
pub fn check_sample(codec: VideoCodec, sample: &[u8]) -> Result<()> {
    let mut covered = 0;
    for nal in nal_units(sample) {
        if nal.len() <= codec.nal_header_len() {
            return Err(Error::invalid(format!("data: the NAL unit at byte {covered} is empty")));
        }
        covered += 4 + nal.len();
    }
    if covered == 0 || covered != sample.len() {
        return Err(Error::invalid(format!(
            "data: the length of the NAL unit at byte {covered} does not fit ({} bytes in all): \
             each unit must follow its length in 4 bytes, big-endian",
            sample.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{avcc, sample};

    #[test]
    fn avcc_gives_its_sets() {
        let sets =
            ParameterSets::parse(VideoCodec::H264, &avcc(&[0x67, 0x42, 0, 30, 9], &[0x68, 1]))
                .unwrap();
        assert_eq!(sets.sps, [vec![0x67, 0x42, 0, 30, 9]]);
        assert_eq!(sets.pps, [vec![0x68, 1]]);
    }

    #[test]
    fn hvcc_gives_its_sets() {
        let mut record = vec![0; 22];
        record.push(4);
        for (kind, nal) in
            [(32, [0x40, 1, 2, 3]), (39, [9; 4]), (33, [0x42, 1, 4, 5]), (34, [0x44, 1, 6, 7])]
        {
            record.extend([0x80 | kind, 0, 1, 0, 4]);
            record.extend(nal);
        }
        let sets = ParameterSets::parse(VideoCodec::H265, &record).unwrap();
        let all: Vec<_> = sets.iter().collect();
        assert_eq!(all, [[0x40, 1, 2, 3], [0x42, 1, 4, 5], [0x44, 1, 6, 7]]);
    }

    #[test]
    fn a_sample_that_is_cut_is_refused() {
        let whole = sample(&[vec![0x65, 1, 2], vec![0x65, 3, 4]]);
        check_sample(VideoCodec::H264, &whole).unwrap();
        for len in (0..whole.len()).filter(|&l| l != 7) {
            assert!(check_sample(VideoCodec::H264, &whole[..len]).is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_parsed_or_refused(record in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ParameterSets::parse(VideoCodec::H264, &record);
            let _ = ParameterSets::parse(VideoCodec::H265, &record);
        }

        #[test]
        fn units_come_back(nals in prop::collection::vec(prop::collection::vec(any::<u8>(), 3..50), 1..5)) {
            let sample = sample(&nals);
            check_sample(VideoCodec::H265, &sample).unwrap();
            prop_assert_eq!(nal_units(&sample).map(<[u8]>::to_vec).collect::<Vec<_>>(), nals);
        }
    }
}
