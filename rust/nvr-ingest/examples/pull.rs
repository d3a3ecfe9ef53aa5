//! Receives cameras for a while and prints what came.
//!
//! ```text
//! cargo run -p nvr-ingest --example pull -- [--units] [--no-hash] URL… SECONDS
//! ```
//! For each stream: counts, bytes, codec, and the SHA-256 over the payloads of all NAL
//! units (without their lengths) in order. `--units` prints a line for each picture: its
//! presentation time and the SHA-256 over its NAL units' payloads. At the end: the CPU time
//! that one hour of one stream would take; `--no-hash` leaves out what is not receiving, and
//! the environment variable `NVR_BATCH_MS` sets `Options::batch`.

#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nvr_core::ids::{StreamId, StreamKind};
use nvr_core::media::{AccessUnit, AudioFrame, AudioParams, MediaSink, VideoParams};
use nvr_core::reason::Reason;
use nvr_core::time::{Moment, SystemClock};
use nvr_ingest::{Options, Supervisor, redact};
use sha2::{Digest as _, Sha256};

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    digest: Sha256,
    nals: u64,
    sound: u64,
    largest_delay_us: i64,
}

struct Sink {
    seen: Arc<Mutex<Seen>>,
    units: bool,
    hash: bool,
    clock: Arc<SystemClock>,
}

impl Sink {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, line: String) {
        self.seen().lines.push(line);
    }
}

/// The units of an access unit, without their lengths.
fn nal_units(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk::<4>()?;
        let (unit, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        data = rest;
        Some(unit)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

impl MediaSink for Sink {
    fn begin(&mut self, _: Moment, video: VideoParams, audio: Option<AudioParams>) {
        let sound = audio.map_or("no sound".to_owned(), |a| {
            format!("AAC {} Hz, {} channels", a.sample_rate, a.channels)
        });
        self.say(format!("begin {:?} {}x{}, {sound}", video.codec, video.width, video.height));
    }
    fn video_params(&mut self, video: VideoParams) {
        self.say(format!("now {:?} {}x{}", video.codec, video.width, video.height));
    }
    fn video(&mut self, unit: AccessUnit) {
        if !self.hash {
            return;
        }
        use nvr_core::time::Clock as _;
        let delay_us = self.clock.now().mono_us - unit.arrival.mono_us;
        let mut seen = self.seen();
        seen.largest_delay_us = seen.largest_delay_us.max(delay_us);
        let mut picture = Sha256::new();
        for nal in nal_units(&unit.data) {
            seen.digest.update(nal);
            seen.nals += 1;
            picture.update(nal);
        }
        if self.units {
            seen.lines.push(format!("unit {} {}", unit.pts_90k, hex(&picture.finalize())));
        }
    }
    fn audio(&mut self, _: AudioFrame) {
        self.seen().sound += 1;
    }
    fn camera_clock_offset(&mut self, offset_us: i64) {
        self.say(format!("camera clock {:+.3} s", offset_us as f64 / 1e6));
    }
    fn end(&mut self, _: Moment, reason: Reason, detail: &str) {
        self.say(format!("end {reason} {detail}"));
    }
    fn down(&mut self, _: Moment, reason: Reason, detail: &str) {
        self.say(format!("down {reason} {detail}"));
    }
}

/// CPU time of this process so far, in seconds (user and system, proc_pid_stat(5); 100 ticks a second).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks = fields.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = words.len();
        words.retain(|w| w != name);
        words.len() != before
    };
    let units = flag("--units");
    // To measure receiving alone.
    let hash = !flag("--no-hash");
    let seconds: f64 = words.pop().ok_or("usage: pull [--units] URL… SECONDS")?.parse()?;
    let clock = Arc::new(SystemClock::default());
    let mut options = Options::default();
    if let Ok(ms) = std::env::var("NVR_BATCH_MS") {
        options.batch = Duration::from_millis(ms.parse()?);
    }
    let supervisor = Supervisor::new(clock.clone(), options)?;
    let mut all = BTreeMap::new();
    for (n, url) in words.iter().enumerate() {
        let camera = format!("00000000-0000-7000-8000-{n:012x}").parse()?;
        let id = StreamId { camera, kind: StreamKind::Main };
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sink = Sink { seen: Arc::clone(&seen), units, hash, clock: Arc::clone(&clock) };
        supervisor.add(id, url, Box::new(sink))?;
        all.insert(id, (redact(url), seen));
    }
    // The handshakes are not part of the measurement.
    let warm_up = seconds.min(5.0) / 2.0;
    thread::sleep(Duration::from_secs_f64(warm_up));
    let (before, frames_before) = (cpu_seconds()?, frames(&supervisor));
    thread::sleep(Duration::from_secs_f64(seconds - warm_up));
    let (after, frames_after) = (cpu_seconds()?, frames(&supervisor));
    let status = supervisor.status();
    supervisor.shutdown(Reason::RECORDER_STOPPED);
    for s in &status {
        let Some((url, seen)) = all.get(&s.id) else { continue };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = hex(&std::mem::take(&mut seen.digest).finalize());
        println!(
            "{url}: {} {} {}, {} pictures, {} NAL units, {} sound frames, {} bytes, {} packets lost, \
             up to {} µs late, sha256 {digest}",
            s.state.as_str(),
            s.video_codec,
            s.audio_codec,
            s.frames,
            seen.nals,
            seen.sound,
            s.bytes,
            s.lost_packets,
            seen.largest_delay_us,
        );
        if all.len() == 1 {
            seen.lines.iter().for_each(|line| println!("  {line}"));
        }
    }
    println!(
        "{} streams, {} pictures in {:.0} s: {:.2} CPU-s per stream-hour",
        status.len(),
        frames_after - frames_before,
        seconds - warm_up,
        (after - before) / (seconds - warm_up) / status.len().max(1) as f64 * 3600.0,
    );
    Ok(())
}

fn frames(supervisor: &Supervisor) -> u64 {
    supervisor.status().iter().map(|s| s.frames).sum()
}
