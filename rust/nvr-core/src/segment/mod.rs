//! Segment files: what the store keeps (`docs/on-disk-format.md`).
//!
//! [`head`] and [`fragment`] write what a segment begins with and consists of, [`footer`]
//! what it ends with once it is sealed, [`scan`] reads one that has no footer.

pub mod digest;
pub mod footer;
pub mod fragment;
pub mod head;
pub mod read;
pub mod scan;
