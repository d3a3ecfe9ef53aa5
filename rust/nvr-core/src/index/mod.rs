//! The index: for each day and run a file of fixed-width records, one a fragment, in order of
//! wall time (`docs/on-disk-format.md`). It can always be rebuilt from the segments.

pub mod file;
mod known;
mod quick;
pub mod record;
mod search;

pub use file::{HEADER_LEN, IndexFile, IndexWriter};
pub(crate) use quick::Quick;
pub use record::Record;
pub use search::Found;
