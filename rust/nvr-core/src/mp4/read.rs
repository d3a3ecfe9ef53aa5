//! Reading boxes and big-endian integers from bytes that nobody vouches for.

/// A position in a byte slice; every read is checked.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// The bytes end before what should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl<'a> Reader<'a> {
    /// At the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], TooShort> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(TooShort)?;
        self.bytes = tail;
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], TooShort> {
        let (head, tail) = self.bytes.split_first_chunk::<N>().ok_or(TooShort)?;
        self.bytes = tail;
        Ok(*head)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, TooShort> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, TooShort> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, TooShort> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, TooShort> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, TooShort> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, TooShort> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// The next box: its type and content; `None` at the end. Sizes of 0 ("to the end") and 1
    /// (64 bits) do not occur in what the recorder keeps in memory and count as too short.
    pub fn next_box(&mut self) -> Result<Option<([u8; 4], Reader<'a>)>, TooShort> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let size = self.u32()? as usize;
        let kind = self.array()?;
        let content = self.take(size.checked_sub(8).ok_or(TooShort)?)?;
        Ok(Some((kind, Reader::new(content))))
    }

    /// Content of the first box of a type.
    pub fn find(mut self, kind: [u8; 4]) -> Result<Option<Reader<'a>>, TooShort> {
        while let Some((k, content)) = self.next_box()? {
            if k == kind {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }
}
