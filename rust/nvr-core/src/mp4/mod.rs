//! Boxes of ISO base media files (ISO/IEC 14496-12).

pub mod boxes;
pub mod moov;
pub mod read;
pub mod sample_entry;
