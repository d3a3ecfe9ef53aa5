//! gRPC's framing of messages: a byte that says whether it is compressed, four of length, the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::status::{Code, Status};

const HEAD: usize = 5;

/// A message as it is sent.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut data = BytesMut::with_capacity(HEAD + message.len());
    data.put_u8(0);
    data.put_u32(u32::try_from(message.len()).expect("requests are small"));
    data.put_slice(message);
    data.freeze()
}

/// Messages out of the data of an answer, as it comes.
pub(crate) struct Deframer {
    most: usize,
    partial: BytesMut,
}

impl Deframer {
    /// `most`: bytes of a message.
    pub(crate) fn new(most: usize) -> Self {
        Deframer { most, partial: BytesMut::new() }
    }

    /// Bytes that wait for the rest of their message.
    pub(crate) fn held(&self) -> usize {
        self.partial.len()
    }

    /// Takes data; gives the messages that are complete with it.
    ///
    /// # Errors
    /// A message that is too long or compressed, which nobody asked for. The answer is lost.
    pub(crate) fn push(
        &mut self,
        mut data: Bytes,
        messages: &mut Vec<Bytes>,
    ) -> Result<(), Status> {
        while !data.is_empty() {
            if self.partial.is_empty() && data.len() >= HEAD {
                let size = self.size_of(&data)?;
                if data.len() >= HEAD + size {
                    data.advance(HEAD);
                    messages.push(data.split_to(size));
                    continue;
                }
            }
            let wanted = if self.partial.len() < HEAD {
                HEAD
            } else {
                HEAD + self.size_of(&self.partial)?
            };
            let taken = data.split_to(data.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(&taken);
            if self.partial.len() >= HEAD
                && self.partial.len() == HEAD + self.size_of(&self.partial)?
            {
                messages.push(self.partial.split().freeze().split_off(HEAD));
            }
        }
        Ok(())
    }

    fn size_of(&self, mut head: &[u8]) -> Result<usize, Status> {
        if head.get_u8() != 0 {
            return Err(Status::new(
                Code::Internal,
                "a message is compressed, which was not asked for",
            ));
        }
        let size = head.get_u32() as usize;
        if size > self.most {
            let detail = format!("a message of {size} bytes, where {} are the most", self.most);
            return Err(Status::new(Code::ResourceExhausted, detail));
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cuts in prop::collection::vec(1usize..200, 1..50),
        ) {
            let mut data = Bytes::from(messages.iter().flat_map(|m| framed(m)).collect::<Vec<_>>());
            let (mut deframer, mut found) = (Deframer::new(300), Vec::new());
            for cut in cuts.iter().cycle() {
                if data.is_empty() {
                    break;
                }
                let piece = data.split_to(data.len().min(*cut));
                deframer.push(piece, &mut found).unwrap();
                prop_assert!(deframer.held() < 305);
            }
            prop_assert_eq!(found, messages);
            prop_assert_eq!(deframer.held(), 0);
        }

        #[test]
        fn no_bytes_make_it_hold_more_than_a_message(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..64),
        ) {
            let (mut deframer, mut found) = (Deframer::new(100), Vec::new());
            for piece in pieces {
                if deframer.push(piece.into(), &mut found).is_err() {
                    break;
                }
                prop_assert!(deframer.held() <= 105);
            }
            prop_assert!(found.iter().all(|message| message.len() <= 100));
        }
    }

    #[test]
    fn a_length_is_refused_before_its_bytes_come() {
        let mut head = framed(&[]).to_vec();
        head[1..5].copy_from_slice(&101u32.to_be_bytes());
        let error = Deframer::new(100).push(head.into(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code, Code::ResourceExhausted as u32);
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let error =
            Deframer::new(100).push(vec![1, 0, 0, 0, 0].into(), &mut Vec::new()).unwrap_err();
        assert_eq!(error.code, Code::Internal as u32);
    }
}
