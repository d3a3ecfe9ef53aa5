//! Reads bits of a raw byte sequence payload, most significant bit first. Never reads past its end.

use crate::{Error, Result};

/// Removes the emulation prevention bytes of a NAL unit (ITU-T H.265, 7.3.1.1; H.264 is the same):
/// `00 00 03` stands for `00 00`.
pub(super) fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut rbsp = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(byte);
    }
    rbsp
}

/// A cursor over bits. `what` names the structure in messages.
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
    what: &'static str,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8], what: &'static str) -> Self {
        BitReader { data, position: 0, what }
    }

    fn bit(&mut self) -> Result<u32> {
        let byte = self
            .data
            .get(self.position / 8)
            .ok_or_else(|| Error::Media(format!("{} ends too early", self.what)))?;
        let bit = (byte >> (7 - self.position % 8)) & 1;
        self.position += 1;
        Ok(u32::from(bit))
    }

    /// u(n), n ≤ 32.
    pub(super) fn read(&mut self, bits: u32) -> Result<u32> {
        let mut value = 0;
        for _ in 0..bits {
            value = (value << 1) | self.bit()?;
        }
        Ok(value)
    }

    /// u(1) as a flag.
    pub(super) fn flag(&mut self) -> Result<bool> {
        Ok(self.bit()? == 1)
    }

    /// Passes over bits.
    pub(super) fn skip(&mut self, bits: usize) -> Result<()> {
        if bits > self.data.len() * 8 - self.position {
            return Err(Error::Media(format!("{} ends too early", self.what)));
        }
        self.position += bits;
        Ok(())
    }

    /// ue(v), an Exp-Golomb code (ITU-T H.265, 9.2), less than 2³² − 1.
    pub(super) fn ue(&mut self) -> Result<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return Err(Error::Media(format!("{} has a number out of range", self.what)));
            }
        }
        Ok(((1u64 << zeros) - 1) as u32 + self.read(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exp_golomb_codes() {
        // 1 | 010 | 011 | 00100 | 00101 and filling.
        let data = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = BitReader::new(&data, "test");
        let values: Vec<u32> = (0..5).map(|_| bits.ue().unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4]);
        let mut bits = BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], "test");
        assert_eq!(bits.ue().unwrap(), u32::MAX - 1);
        assert!(BitReader::new(&[0, 0, 0, 0, 0xff], "test").ue().is_err());
    }

    #[test]
    fn emulation_prevention_is_removed_once() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 0, 2]), [0, 3, 0, 0, 2]);
    }

    proptest! {
        #[test]
        fn no_input_panics(data in prop::collection::vec(any::<u8>(), 0..40), n in 0usize..400) {
            let mut bits = BitReader::new(&data, "test");
            let _ = bits.skip(n);
            while bits.ue().is_ok() {}
            prop_assert!(bits.position <= data.len() * 8);
        }
    }
}
