//! Recording, index, seek and clips of camera footage in standard files.
//!
//! This crate knows neither Python nor the network. Access units go in at
//! [`record`]; everything a reader asks goes through [`store::Store`]. What is
//! on disk is described in `docs/on-disk-format.md`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod clip;
pub mod codec;
pub mod copy;
pub mod error;
pub mod fs;
pub mod ids;
pub mod index;
pub mod live;
pub mod media;
pub mod mp4;
pub mod mux;
pub mod reason;
pub mod record;
pub mod segment;
#[cfg(test)]
mod sim;
pub mod store;
pub mod table;
pub mod time;

pub use error::{Error, Result};
