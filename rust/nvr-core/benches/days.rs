//! A store of many days, made fast, and what is asked of it: `cargo bench -p nvr-core --bench days --
//! COMMAND …`, which prints one JSON object. Used by `benches/days.py`.
//!
//! - `make ROOT DAYS CAMERA…`: indexes of so many days before today with a record every 2 s, under
//!   real names. Of the newest two days there are the names of all segments as well, and the last
//!   20 minutes' and each day's last have real footers; media are holes.
//! - `seek ROOT QUESTIONS`: random instants over all streams; times in nanoseconds.
//! - `cold ROOT`: the calls of opening, and of the first seeks in days nobody asked for yet.
//! - `day ROOT`: one camera-day of sealed segments (media are holes).
//! - `digest MEGABYTES`: digests of so much in fragments.
//! - `rebuild ROOT`: makes the index of all that is there anew; its calls and its time.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use nvr_core::fs::counted::{Calls, Counted};
use nvr_core::fs::{FileSystem, RealFs};
use nvr_core::ids::{CameraId, RunId, StreamId, StreamKind, SystemEntropy};
use nvr_core::index::file::HEADER_LEN;
use nvr_core::index::record::RECORD_LEN;
use nvr_core::index::{IndexWriter, Record};
use nvr_core::media::{VideoCodec, VideoParams};
use nvr_core::segment::digest::{TrackOf, track_digest};
use nvr_core::segment::footer::write_footer;
use nvr_core::segment::head::SegmentHead;
use nvr_core::store::events::{Event, EventLog};
use nvr_core::store::layout::{day_name, index_name, segment_name, stream_dir};
use nvr_core::store::{Mode, Store, check};
use nvr_core::table::{FragmentEntry, Sample, TrackRun};
use nvr_core::time::{Clock as _, DAY_US, SECOND_US, SystemClock};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// So many seeks, then as many bare reads.
const ROUND: usize = 1000;
const FRAGMENT_US: i64 = 2 * SECOND_US;
const SEGMENT_FRAGMENTS: i64 = 30;
const PICTURES: u32 = 30;
/// 2 Mbit/s.
const FRAGMENT_BYTES: u32 = 500_000;
const HEAD_BYTES: u32 = 4096;
/// Recovery reads the last quarter of an hour anew.
const REAL_SEGMENTS: i64 = 20;
/// And so many at the end of each of the newest two days.
const NEWEST_SEGMENTS: i64 = 3;

fn stream_of(camera: &str) -> Result<StreamId, Box<dyn std::error::Error>> {
    let camera: CameraId = camera.parse()?;
    Ok(StreamId { camera, kind: StreamKind::Main })
}

/// A fragment of a day's `number`-th 2 s, as the recorder would have written it. Starts jitter by
/// some milliseconds, so that they are as even as a camera's, and not evener.
fn entry(day_us: i64, number: i64, first_of_run: i64) -> FragmentEntry {
    let within = u32::try_from(number % SEGMENT_FRAGMENTS).unwrap_or(0);
    let offset = HEAD_BYTES + within * FRAGMENT_BYTES;
    FragmentEntry {
        sequence: u32::try_from(first_of_run + number).unwrap_or(u32::MAX),
        wall_start_us: day_us + number * FRAGMENT_US + (number * 7919) % 11_003,
        duration_us: 2_000_000,
        random_access: true,
        leading: false,
        random_access_distance: 0,
        activity_bytes: FRAGMENT_BYTES / 2,
        camera_clock_offset_ms: 3,
        offset,
        length: FRAGMENT_BYTES,
        crc: 0,
        video: TrackRun {
            decode_time: u64::from(within) * 180_000,
            first_sample: within * PICTURES,
            sample_count: PICTURES,
            data_offset: offset + 600,
            data_len: FRAGMENT_BYTES - 600,
            digest: [7; 32],
        },
        audio: TrackRun::default(),
        metadata: TrackRun::default(),
    }
}

fn segment_ms(number: i64) -> u32 {
    let first = number / SEGMENT_FRAGMENTS * SEGMENT_FRAGMENTS;
    u32::try_from((first * FRAGMENT_US + (first * 7919) % 11_003) / 1000).unwrap_or(0)
}

/// A sealed segment: its head and its footer, and a hole between.
/// `day`: its midnight, and how many fragments the run had before.
fn write_segment(dir: &Path, id: StreamId, run: RunId, day: (i64, i64), minute: i64) -> Outcome {
    let numbers = minute * SEGMENT_FRAGMENTS..(minute + 1) * SEGMENT_FRAGMENTS;
    let first = entry(day.0, numbers.start, day.1);
    let head = SegmentHead {
        stream: id,
        run,
        epoch: 0,
        first_sequence: first.sequence,
        wall_start_us: first.wall_start_us,
        base_90k: 0,
        start_pts_90k: 0,
        salt: [1; 16],
        video: VideoParams {
            codec: VideoCodec::H264,
            extra_data: Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0]),
            width: 1280,
            height: 720,
        },
        audio: None,
        metadata: None,
    };
    let mut table = head.empty_table();
    table.fragments = numbers.map(|n| entry(day.0, n, day.1)).collect();
    let sample = |n: u32| Sample {
        size: 16_000,
        duration: 6000,
        composition_offset: 0,
        sync: n.is_multiple_of(PICTURES),
    };
    table.video_samples = (0..PICTURES * SEGMENT_FRAGMENTS as u32).map(sample).collect();
    let path = dir.join(segment_name(segment_ms(minute * SEGMENT_FRAGMENTS), run));
    let file = RealFs.create_new(&path)?;
    file.write_all_at(&head.to_bytes(), 0)?;
    let end = u64::from(HEAD_BYTES + FRAGMENT_BYTES * SEGMENT_FRAGMENTS as u32);
    file.write_all_at(&write_footer(&head, &table), end)?;
    Ok(())
}

fn make_stream(root: &Path, id: StreamId, days: i64, now_us: i64) -> Outcome {
    let fs = RealFs;
    let dir = stream_dir(root, id);
    let today = now_us.div_euclid(DAY_US) * DAY_US;
    let first_day = today - days * DAY_US;
    let run = RunId::mint(first_day, &SystemEntropy);
    fs.create_dir_all(&dir)?;
    let mut log = EventLog::open(&fs, &dir.join("events"), true)?;
    log.append(&fs, Event::run_started(run, 0, first_day))?;
    let mut records = Vec::with_capacity(43_200);
    for number in 0..=days {
        let day_us = first_day + number * DAY_US;
        let day_dir = dir.join(day_name(day_us));
        fs.create_dir_all(&day_dir)?;
        // Whole segments only, up to now.
        let minutes = ((now_us - day_us) / (60 * SECOND_US)).clamp(0, 1440);
        records.clear();
        records.extend(
            (0..minutes * SEGMENT_FRAGMENTS)
                .map(|n| Record::of(&entry(day_us, n, number * 43_200), segment_ms(n))),
        );
        let mut index = IndexWriter::open(&fs, &day_dir.join(index_name(run)), id, run, 0, day_us)?;
        index.append_all(&records)?;
        for minute in 0..if number + 1 >= days { minutes } else { 0 } {
            let age_us = now_us - day_us - minute * 60 * SECOND_US;
            if minute + NEWEST_SEGMENTS >= minutes || age_us < REAL_SEGMENTS * 60 * SECOND_US {
                write_segment(&day_dir, id, run, (day_us, number * 43_200), minute)?;
            } else {
                let name = segment_name(segment_ms(minute * SEGMENT_FRAGMENTS), run);
                std::fs::File::create_new(day_dir.join(name))?;
            }
        }
    }
    Ok(())
}

fn make(root: &Path, days: i64, cameras: &[String]) -> Outcome {
    let now_us = SystemClock::default().now().wall_us;
    let start = Instant::now();
    for camera in cameras {
        make_stream(root, stream_of(camera)?, days, now_us)?;
    }
    println!(r#"{{"seconds": {}}}"#, start.elapsed().as_secs_f64());
    Ok(())
}

fn open(root: &Path, fs: Arc<dyn FileSystem>) -> Result<Store, nvr_core::Error> {
    Store::open(fs, Arc::new(SystemClock::default()), &[root.to_owned()], true)
}

/// Numbers that look random, the same every time (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % end.max(1)
    }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0)
}

fn seek(root: &Path, questions: usize) -> Outcome {
    let start = Instant::now();
    let store = open(root, Arc::new(RealFs))?;
    let open_us = start.elapsed().as_micros();
    let streams = store.streams();
    let Some((from_us, until_us)) = streams[0].range()? else { return Err("empty".into()) };
    let mut numbers = Numbers(1);
    let mut ask = || {
        let stream = &streams[numbers.below(streams.len() as u64) as usize];
        (stream, from_us + numbers.below((until_us - from_us) as u64) as i64)
    };
    // Every day of every stream is open, and every index in the page cache.
    let (mut records, mut files) = (0, Vec::new());
    for stream in &streams {
        for day in stream.days() {
            for index in stream.indexes_of(day)? {
                records += index.count()?;
                let mut file = std::fs::File::open(index.path())?;
                std::io::copy(&mut file, &mut std::io::sink())?;
                files.push((file, index.count()?));
            }
        }
    }
    for _ in 0..questions / 10 {
        let (stream, at_us) = ask();
        stream.locate(at_us, Mode::At)?;
    }
    let mut taken_ns = Vec::with_capacity(questions);
    let mut bare_ns = Vec::with_capacity(questions);
    let mut places = Numbers(2);
    let mut buffer = [0; 384];
    for n in 0..questions {
        let (stream, at_us) = ask();
        let start = Instant::now();
        let found = stream.locate(at_us, Mode::At)?;
        taken_ns.push(start.elapsed().as_nanos() as u64);
        if !found.is_some_and(|f| (f.record.wall_start_us..f.end_us).contains(&at_us)) {
            return Err(format!("nothing shows {at_us}").into());
        }
        // By turns: what the kernel alone takes for a read at random, on this machine, now.
        if n % ROUND == ROUND - 1 {
            for _ in 0..ROUND {
                let (file, count) = &files[places.below(files.len() as u64) as usize];
                let offset = HEADER_LEN + places.below(*count) * RECORD_LEN as u64;
                let start = Instant::now();
                file.read_at(&mut buffer, offset)?;
                bare_ns.push(start.elapsed().as_nanos() as u64);
            }
        }
    }
    taken_ns.sort_unstable();
    bare_ns.sort_unstable();
    println!(
        r#"{{"streams": {}, "records": {records}, "open_us": {open_us}, "p50_ns": {}, "p99_ns": {}, "bare_p50_ns": {}}}"#,
        streams.len(),
        percentile(&taken_ns, 50),
        percentile(&taken_ns, 99),
        percentile(&bare_ns, 50)
    );
    Ok(())
}

fn cold(root: &Path) -> Outcome {
    // Once for the kernel's cache of names.
    open(root, Arc::new(RealFs))?;
    let fs = Counted::over(Arc::new(RealFs));
    let calls = fs.calls.clone();
    let start = Instant::now();
    let store = open(root, Arc::new(fs))?;
    let open_us = start.elapsed().as_micros();
    let at_open = calls.take();
    let mut most = Calls::default();
    for (n, stream) in store.streams().iter().enumerate() {
        let days = stream.days();
        // A day for each stream, so that nobody has asked for it before.
        let day = days[1 + n % (days.len() - 2)];
        store.locate(stream.id, day + DAY_US / 3 + n as i64 * 7 * SECOND_US, Mode::At)?;
        most = most.most(&calls.take());
    }
    let json = |c: Calls| {
        let Calls { reads, opens, lists, sizes, .. } = c;
        format!(r#"{{"reads": {reads}, "opens": {opens}, "lists": {lists}, "sizes": {sizes}}}"#)
    };
    println!(
        r#"{{"open_us": {open_us}, "open": {}, "first_seek": {}}}"#,
        json(at_open),
        json(most)
    );
    Ok(())
}

fn make_day(root: &Path) -> Outcome {
    let id = stream_of("018f3c5e-7b9a-7c11-8d22-000000000001")?;
    let day_us = 20_780 * DAY_US;
    let run = RunId::mint(day_us, &SystemEntropy);
    let dir = stream_dir(root, id).join(day_name(day_us));
    RealFs.create_dir_all(&dir)?;
    for minute in 0..1440 {
        write_segment(&dir, id, run, (day_us, 0), minute)?;
    }
    println!("{{}}");
    Ok(())
}

fn rebuild(root: &Path) -> Outcome {
    let fs = Counted::over(Arc::new(RealFs));
    let start = Instant::now();
    let report = check::rebuild(&fs, &[root.to_owned()])?;
    let seconds = start.elapsed().as_secs_f64();
    let Calls { reads, opens, lists, sizes, .. } = fs.calls.take();
    if !report.problems.is_empty() {
        return Err(report.problems.join("\n").into());
    }
    println!(
        r#"{{"segments": {}, "fragments": {}, "reads": {reads}, "opens": {opens}, "lists": {lists}, "sizes": {sizes}, "seconds": {seconds}}}"#,
        report.segments, report.fragments
    );
    Ok(())
}

/// Digests of so many megabytes in fragments of 2 s.
fn digest(megabytes: u64) -> Outcome {
    let payload: Vec<u8> = (0..FRAGMENT_BYTES).map(|n| (n * 31) as u8).collect();
    let sample = Sample { size: 16_000, duration: 6000, composition_offset: 0, sync: false };
    let samples = vec![sample; PICTURES as usize];
    let cpu_seconds = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let start = cpu_seconds();
    for _ in 0..megabytes * 1_000_000 / u64::from(FRAGMENT_BYTES) {
        std::hint::black_box(track_digest(TrackOf::Video, &samples, &[&payload]));
    }
    println!(r#"{{"cpu_seconds": {}}}"#, cpu_seconds() - start);
    Ok(())
}

fn main() -> Outcome {
    // Cargo adds a word of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|w| w != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = |path: &str| PathBuf::from(path);
    let done = match words[..] {
        ["make", path, days, ref cameras @ ..] => {
            let cameras: Vec<String> = cameras.iter().map(|c| (*c).to_owned()).collect();
            make(&root(path), days.parse()?, &cameras)
        }
        ["seek", path, questions] => seek(&root(path), questions.parse()?),
        ["cold", path] => cold(&root(path)),
        ["day", path] => make_day(&root(path)),
        ["digest", megabytes] => digest(megabytes.parse()?),
        ["rebuild", path] => rebuild(&root(path)),
        _ => Err("see the beginning of this file".into()),
    };
    std::io::stdout().flush()?;
    done
}
