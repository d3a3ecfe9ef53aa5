use std::collections::HashMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::frames::{Picture, frame_at, gop_at, gops};
use super::part::hex;
use super::testing::*;
use super::*;

/// A picture of the footage, as the test knows it.
#[derive(Clone, Debug)]
struct Source {
    run: u128,
    place: usize,
    wall_us: i64,
    fragment_start_us: i64,
    leading: bool,
    sync: bool,
}

/// Segments and what is in them.
#[derive(Debug)]
struct Footage {
    dir: tempfile::TempDir,
    segments: Vec<SegmentRef>,
    pictures: Vec<Source>,
}

impl Footage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Footage { dir, segments: Vec::new(), pictures: Vec::new() }
    }

    /// Adds a segment of a run; pictures get their numbers here.
    fn add(&mut self, run: u128, audio: bool, specs: &mut [Spec]) {
        for spec in &mut *specs {
            let place = self.pictures.iter().filter(|p| p.run == run).count();
            for (i, rank) in spec.ranks().into_iter().enumerate() {
                spec.pictures[i] = self.pictures.len() as u32;
                let us = (rank * i64::from(spec.picture_90k) * 100 + 4).div_euclid(9);
                self.pictures.push(Source {
                    run,
                    // A hole in the sequence is a hole in the places.
                    place: place + i + 1_000 * spec.sequence as usize,
                    wall_us: spec.wall_start_us + us,
                    fragment_start_us: spec.wall_start_us,
                    leading: spec.is_leading(i),
                    sync: spec.random_access && i == 0,
                });
            }
        }
        let sound = audio.then(audio_params);
        self.segments.push(segment(self.dir.path(), run, 1, video_params(), sound, specs));
    }

    fn plan(&self, start_us: i64, end_us: i64) -> Vec<ClipPart> {
        plan(stream(), &self.segments, start_us, end_us, true).unwrap().parts
    }
}

fn spec(sequence: u32, wall_start_us: i64, order: Order, pictures: usize) -> Spec {
    Spec {
        sequence,
        wall_start_us,
        order,
        random_access: true,
        pictures: vec![0; pictures],
        picture_90k: 9_000,
        sounds: 0,
    }
}

/// Ten seconds of one run: fragments of 1 s, 10 pictures each.
fn ten_seconds(order: Order, audio: bool) -> Footage {
    let mut footage = Footage::new();
    let fragment = |n: u32| Spec {
        sounds: if n % 8 == 7 { 17 } else { 15 + n % 2 },
        ..spec(n, T0 + i64::from(n) * 1_000_000, order, 10)
    };
    footage.add(1, audio, &mut (0..5).map(fragment).collect::<Vec<_>>());
    footage.add(1, audio, &mut (5..10).map(fragment).collect::<Vec<_>>());
    footage
}

/// Numbers and movie times of a part's pictures, in decoding order.
fn pictures(part: &ClipPart) -> Vec<(u32, i64)> {
    let file = read_all(part);
    let track = &read_tracks(&file)[0];
    let in_point = track.edits[0].1;
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    track.samples.iter().map(|&(_, pts, at, ..)| (number(at), pts - in_point)).collect()
}

/// The same, only those that are seen, in order of presentation.
fn seen(part: &ClipPart) -> Vec<(u32, i64)> {
    let duration = read_tracks(&read_all(part))[0].edits[0].0;
    let mut seen = pictures(part);
    seen.retain(|&(_, at)| (0..duration).contains(&at));
    seen.sort_by_key(|&(_, at)| at);
    seen
}

#[test]
fn exact_in_and_out_points() {
    let footage = ten_seconds(Order::Plain, false);
    // Half-way through pictures 12 and 30.
    let parts = footage.plan(T0 + 1_250_000, T0 + 3_050_000);
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].range_us, (T0 + 1_250_000, T0 + 3_050_000));
    assert_eq!(parts[0].disclosed_us, (T0 + 1_000_000, T0 + 4_000_000));
    assert_eq!(parts[0].video_codec, "avc1.42c00b");
    assert_eq!(parts[0].audio_codec, "");
    let all = pictures(&parts[0]);
    assert_eq!((all[0].0, all.len()), (10, 30));
    let seen = seen(&parts[0]);
    // The picture shown at the in point begins there; the others at their own times.
    assert_eq!(seen[..3], [(12, 0), (13, 4_500), (14, 13_500)]);
    assert_eq!(seen.last(), Some(&(30, 157_500)));
    assert_eq!(read_tracks(&read_all(&parts[0]))[0].edits, [(162_000, 27_000 - 4_500)]);
}

#[test]
fn a_fragment_that_lasts_a_little_too_long_does_not_hide_the_next_parameters() {
    // Sound ends, as parameters change: the last fragment before guesses how long it lasts.
    let mut footage = Footage::new();
    let at = |n: u32, us| spec(n, T0 + us, Order::Plain, 10);
    footage.add(1, true, &mut [at(0, 0), at(1, 1_000_000)]);
    footage.add(1, false, &mut [at(2, 1_999_900), at(3, 2_999_900), at(4, 3_999_900)]);
    let parts = footage.plan(T0, T0 + 5_000_000);
    let ranges: Vec<_> = parts.iter().map(|p| (p.range_us.0 - T0, p.range_us.1 - T0)).collect();
    assert_eq!(ranges[..2], [(0, 1_999_900), (1_999_900, 4_999_900)]);
    assert_eq!(pictures(&parts[1]).len(), 30);
}

#[test]
fn leading_pictures_bring_the_group_before() {
    let footage = ten_seconds(Order::OpenGop, false);
    // Fragment 3 begins with a leading picture (31), shown before 30.
    let part = &footage.plan(T0 + 3_000_000, T0 + 3_500_000)[0];
    assert_eq!(pictures(part)[0].0, 20);
    assert_eq!(seen(part)[..3], [(31, 0), (30, 9_000), (33, 18_000)]);
    // 100 ms later its own random-access point will do.
    let part = &footage.plan(T0 + 3_100_000, T0 + 3_500_000)[0];
    assert_eq!(pictures(part)[0].0, 30);
    assert_eq!(seen(part)[..2], [(30, 0), (33, 9_000)]);
    // Nothing lies before the very first group: it begins with its random-access point.
    let part = &footage.plan(T0, T0 + 1_000_000)[0];
    assert_eq!(part.range_us.0, T0 + 100_000);
    assert_eq!(seen(part)[0], (0, 0));
}

#[test]
fn a_gap_extends_the_last_picture() {
    let mut footage = Footage::new();
    footage.add(1, false, &mut [spec(0, T0, Order::Reordered, 10)]);
    footage.add(2, false, &mut [spec(0, T0 + 61_000_000, Order::OpenGop, 10)]);
    let parts = footage.plan(T0, T0 + 62_000_000);
    assert_eq!(parts.len(), 1);
    assert_eq!(read_tracks(&read_all(&parts[0]))[0].edits[0].0, 62 * 90_000);
    let seen = seen(&parts[0]);
    // The leading picture after the gap (11) is left out: what it refers to is missing.
    assert_eq!(seen[9..12], [(9, 81_000), (10, 61 * 90_000 + 9_000), (13, 61 * 90_000 + 18_000)]);
    assert!(seen.iter().all(|&(number, _)| number != 11));
}

#[test]
fn a_gap_of_many_hours_ends_the_part() {
    let mut footage = Footage::new();
    footage.add(1, false, &mut [spec(0, T0, Order::Plain, 10)]);
    footage.add(2, false, &mut [spec(0, T0 + MAX_GAP_US + 2_000_000, Order::Plain, 10)]);
    assert_eq!(footage.plan(T0, T0 + 2 * MAX_GAP_US).len(), 2);
}

#[test]
fn other_parameters_begin_another_part() {
    let mut footage = Footage::new();
    footage.add(1, false, &mut [spec(0, T0, Order::Plain, 10)]);
    footage.add(1, true, &mut [Spec { sounds: 16, ..spec(1, T0 + 1_000_000, Order::Plain, 10) }]);
    let parts = footage.plan(T0, T0 + 2_000_000);
    let ranges: Vec<_> = parts.iter().map(|p| p.range_us).collect();
    assert_eq!(ranges, [(T0, T0 + 1_000_000), (T0 + 1_000_000, T0 + 2_000_000)]);
    assert_eq!([&*parts[0].audio_codec, &*parts[1].audio_codec], ["", "mp4a.40.2"]);
    // Without sound it makes no difference.
    let silent = plan(stream(), &footage.segments, T0, T0 + 2_000_000, false).unwrap();
    assert_eq!(silent.parts.len(), 1);
}

#[test]
fn the_later_run_is_shown_where_two_overlap() {
    let mut footage = Footage::new();
    let fragments = |n: u32| spec(n, T0 + i64::from(n) * 1_000_000, Order::Reordered, 10);
    footage.add(1, false, &mut (0..6).map(fragments).collect::<Vec<_>>());
    footage.add(2, false, &mut [spec(0, T0 + 2_450_000, Order::Reordered, 10)]);
    let seen = seen(&footage.plan(T0, T0 + 6_000_000)[0]);
    let numbers: Vec<u32> = seen.iter().map(|&(number, _)| number).collect();
    // Run 1 until run 2 begins (24 is shown at 2.3 s, 23 at 2.4 s), all of run 2, then run 1 from
    // its next random-access point on.
    assert_eq!(numbers[18..27], [17, 19, 20, 22, 21, 24, 23, 60, 62]);
    assert_eq!(numbers.iter().filter(|&&n| n >= 60).count(), 10);
    assert_eq!(numbers[numbers.len() - 20..][..2], [40, 42]);
    assert!(!numbers.contains(&30));
}

#[test]
fn a_clip_begins_after_an_overtaken_picture() {
    let mut footage = Footage::new();
    // The mapping to wall time was corrected: picture 9, at 0.9 s, comes after the start of the
    // next fragment, which shows picture 10 from 0.85 s to 0.95 s.
    let overtaken = spec(0, T0, Order::Plain, 10);
    // It needs the one before, so both are in the clip.
    let next = Spec { random_access: false, ..spec(1, T0 + 850_000, Order::Plain, 10) };
    footage.add(1, false, &mut [overtaken, next]);
    for at_us in [T0 + 850_000, T0 + 899_990, T0 + 900_000, T0 + 920_000] {
        let seen = seen(&footage.plan(at_us, T0 + 1_000_000)[0]);
        assert_eq!((seen[0], seen[1].0), ((10, 0), 11), "at {at_us}");
        let frame = frame_at(&footage.segments, at_us).unwrap().unwrap();
        assert_eq!(frame.pictures.last().unwrap().wall_us, T0 + 850_000);
    }
}

#[test]
fn a_picture_one_tick_after_the_start_is_not_the_first() {
    let footage = ten_seconds(Order::Plain, false);
    // 12 µs before picture 13, and so near to it that it is the same tick.
    assert_eq!(seen(&footage.plan(T0 + 1_299_988, T0 + 2_000_000)[0])[..2], [(12, 0), (13, 1)]);
    assert_eq!(seen(&footage.plan(T0 + 1_299_995, T0 + 2_000_000)[0])[0], (13, 0));
}

#[test]
fn sound_keeps_its_place() {
    let mut footage = ten_seconds(Order::Reordered, true);
    // A run that is half a second late: a gap in the sound, too.
    let late = Spec { sounds: 16, ..spec(0, T0 + 10_500_000, Order::Reordered, 10) };
    footage.add(2, true, &mut [late]);
    let part = &footage.plan(T0 + 2_000_000, T0 + 11_500_000)[0];
    assert_eq!(part.audio_codec, "mp4a.40.2");
    let sound = &read_tracks(&read_all(part))[1];
    assert_eq!(sound.timescale, 16_000);
    let total: i64 = sound.edits.iter().map(|e| e.0).sum();
    assert_eq!(sound.edits.len(), 1);
    // From 0 to the end of run 2's sound.
    assert_eq!(total, (8_500 - 100 + 1_024) * 90);
    let times: Vec<i64> = sound.samples.iter().map(|s| s.0 - sound.edits[0].1).collect();
    assert!(times.windows(2).all(|w| w[1] > w[0]));
    // Decoding runs one picture ahead: the sound of a fragment begins with that.
    let second_run = times[times.len() - 16];
    assert!((second_run - (8_500 - 100) * 16).abs() <= 1, "run 2's sound at {second_run}");
}

#[test]
fn sound_that_begins_late_waits() {
    let mut footage = Footage::new();
    let silent = spec(0, T0, Order::Plain, 10);
    let loud = Spec { sounds: 15, ..spec(1, T0 + 1_000_000, Order::Plain, 10) };
    footage.add(1, true, &mut [silent, loud]);
    let part = &footage.plan(T0, T0 + 2_000_000)[0];
    let sound = &read_tracks(&read_all(part))[1];
    assert_eq!(sound.edits, [(90_000, -1), (15 * 1_024 * 90 / 16, 0)]);
}

#[test]
fn out_of_range_requests() {
    let footage = ten_seconds(Order::Plain, false);
    assert!(plan(stream(), &footage.segments, T0, T0, true).is_err());
    assert!(footage.plan(T0 - 5, T0).is_empty());
    assert!(footage.plan(T0 + 10_000_000, T0 + 11_000_000).is_empty());
    assert!(plan(stream(), &[], i64::MIN, i64::MAX, true).unwrap().parts.is_empty());
    assert_eq!(footage.plan(i64::MIN, i64::MAX)[0].range_us, (T0, T0 + 10_000_000));
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let footage = ten_seconds(Order::Plain, false);
    let mut table = (*footage.segments[0].table).clone();
    table.fragments[2].video.data_len += 1;
    let segments = [SegmentRef { table: Arc::new(table), ..footage.segments[0].clone() }];
    let error = plan(stream(), &segments, T0, T0 + 1_000_000, true).unwrap_err();
    assert!(error.to_string().contains("fragment 2"), "{error}");
}

#[test]
fn a_segment_that_lost_its_end_is_told() {
    let footage = ten_seconds(Order::Plain, false);
    let part = &footage.plan(T0, T0 + 3_000_000)[0];
    let path = &footage.segments[0].file.path;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(700).unwrap();
    let mut buf = vec![0; part.size as usize];
    assert!(matches!(part.read_at(0, &mut buf), Err(Error::Damaged { .. })));
    // Whoever may not wait is not told why.
    assert_eq!(part.read_now(0, &mut buf), None);
    let target = footage.dir.path().join("clip");
    assert!(part.save(&target, true).is_err());
    let left = std::fs::read_dir(footage.dir.path()).unwrap().count();
    assert_eq!(left, 2, "only the segments are there");
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let footage = ten_seconds(Order::Reordered, true);
    let part = &footage.plan(T0 + 1_234_567, T0 + 7_654_321)[0];
    // Another digest is another format: raise FORMAT_VERSION and say so in the changelog.
    assert_eq!(part.etag, "8875a2810691c1e5f3db21aabe187bfb");
    assert_eq!(
        hex(&Sha256::digest(read_all(part))),
        "4422d26a382e69c83308fbbfb5c4721b065543a2564ca01b347bf8559d43b0fa"
    );
    let other = &footage.plan(T0 + 1_234_567, T0 + 7_654_320)[0];
    assert_ne!(other.etag, part.etag);
}

/// (order, pictures, ticks a picture, jitter of the wall start in ms, random access, lost, new segment)
type Fragment = (Order, usize, u32, i64, bool, bool, bool);

fn fragments() -> impl Strategy<Value = Vec<Fragment>> {
    let order = prop_oneof![Just(Order::Plain), Just(Order::Reordered), Just(Order::OpenGop)];
    let fragment = (
        order,
        1usize..9,
        2_000u32..9_000,
        -30i64..60,
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
    );
    prop::collection::vec(fragment, 1..14)
}

fn run_of(footage: &mut Footage, run: u128, start_us: i64, fragments: &[Fragment]) {
    let mut at = start_us;
    let mut segment: Vec<Spec> = Vec::new();
    for (n, &(order, pictures, picture_90k, jitter_ms, random_access, lost, cut)) in
        fragments.iter().enumerate()
    {
        let first = n == 0 || (cut && random_access);
        if first && !segment.is_empty() {
            footage.add(run, true, &mut std::mem::take(&mut segment));
        }
        let spec = Spec {
            // Only a random-access point has pictures that lead it.
            order: if order == Order::OpenGop && !random_access { Order::Reordered } else { order },
            random_access,
            picture_90k,
            sounds: (pictures * picture_90k as usize / 5_760) as u32,
            ..spec(n as u32, at, order, pictures)
        };
        let lasts = pictures as i64 * i64::from(picture_90k) * 100 / 9;
        at += (lasts + jitter_ms * 1_000).max(10_000);
        if !lost {
            segment.push(spec);
        }
    }
    if !segment.is_empty() {
        footage.add(run, true, &mut segment);
    }
}

/// A decoder that is given these, in this order, can decode all but the leading pictures of
/// the first.
fn check_decodable(sources: &[&Source]) -> Result<(), TestCaseError> {
    prop_assert!(sources[0].sync, "it begins with {:?}", sources[0]);
    for (i, pair) in sources.windows(2).enumerate() {
        let (before, this) = (pair[0], pair[1]);
        let contiguous = before.run == this.run && {
            let step = this.place - before.place;
            step == 1 || step == 1_001 || step == 1_000
        };
        let follows = contiguous || (before.sync && before.run == this.run && !this.leading);
        prop_assert!(this.sync || follows, "{this:?} after {before:?}");
        if this.leading && before.sync && i > 0 {
            let origin = sources[i - 1];
            prop_assert!(origin.run == this.run, "{this:?} after {origin:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn clips_keep_wall_time(
        first in fragments(),
        second in fragments(),
        second_at in -2_000_000i64..6_000_000,
        from in -500_000i64..5_000_000,
        lasts in 1i64..5_000_000,
        chunk in 1usize..700,
    ) {
        let mut footage = Footage::new();
        run_of(&mut footage, 1, T0, &first);
        run_of(&mut footage, 2, T0 + second_at, &second);
        let (start_us, end_us) = (T0 + from, T0 + from + lasts);
        let parts = footage.plan(start_us, end_us);
        let starts = footage.pictures.iter().map(|p| p.fragment_start_us);
        let fragment_starts: Vec<i64> = starts.collect();
        for part in &parts {
            prop_assert!(start_us <= part.range_us.0 && part.range_us.1 <= end_us);
            prop_assert!(part.disclosed_us.0 <= part.range_us.0);
            prop_assert!(part.disclosed_us.1 >= part.range_us.1);
            let file = read_all(part);
            let tracks = read_tracks(&file);

            // Bytes: any chunking gives the same, and so does a copy.
            let mut chunked = Vec::new();
            let mut buf = vec![0; chunk];
            loop {
                let n = part.read_at(chunked.len() as u64, &mut buf).unwrap();
                if n == 0 { break }
                // What was read just now, the page cache has.
                let mut now = vec![0; n];
                prop_assert_eq!(part.read_now(chunked.len() as u64, &mut now), Some(n));
                prop_assert_eq!(&now, &buf[..n]);
                chunked.extend_from_slice(&buf[..n]);
            }
            prop_assert_eq!(&chunked, &file);
            let path = footage.dir.path().join("clip.mp4");
            part.save(&path, true).unwrap();
            prop_assert_eq!(std::fs::read(&path).unwrap(), file.clone());

            // Every sample's bytes are those of the picture.
            let video = &tracks[0];
            let mut sources = Vec::new();
            for &(_, _, at, size, sync) in &video.samples {
                let number = u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
                prop_assert_eq!(&file[at..at + size], &picture_bytes(number)[..]);
                prop_assert_eq!(sync, footage.pictures[number as usize].sync);
                sources.push(&footage.pictures[number as usize]);
            }
            check_decodable(&sources)?;
            let media: usize = tracks.iter().flat_map(|t| &t.samples).map(|s| s.3).sum();
            prop_assert!(file.len() > media);

            // Time.
            let ticks = ((part.range_us.1 - part.range_us.0) * 9 + 50).div_euclid(100).max(1);
            prop_assert_eq!(video.edits.len(), 1);
            let (duration, in_point) = video.edits[0];
            prop_assert_eq!(duration, ticks);
            let end = video.samples.last().unwrap().0;
            prop_assert!(in_point >= 0 && end <= in_point + duration + 90_000 * 10);
            let mut times: HashMap<i64, usize> = HashMap::new();
            for (i, &(_, pts, ..)) in video.samples.iter().enumerate() {
                prop_assert!(times.insert(pts, i).is_none(), "two pictures at {pts}");
                let movie = pts - in_point;
                let wall = (sources[i].wall_us - part.range_us.0) * 9 / 100;
                // Pictures that the next fragment overtakes come earlier than they should; the one
                // at the in point later.
                let overtaken = movie < wall
                    && fragment_starts.iter().any(|&s| {
                        s > sources[i].fragment_start_us && s <= sources[i].wall_us + 1_000
                    });
                prop_assert!(
                    (movie - wall).abs() <= 2 || overtaken || (movie == 0 && wall < 0),
                    "{movie} instead of {wall} for {:?}", sources[i]
                );
            }
            prop_assert!(times.contains_key(&in_point), "a picture begins at the in point");
            for track in &tracks[1..] {
                let total: i64 = track.edits.iter().map(|e| e.0).sum();
                prop_assert!(total <= duration);
            }
        }
    }

    #[test]
    fn frames_are_those_of_the_clip(
        first in fragments(),
        second in fragments(),
        second_at in -2_000_000i64..6_000_000,
        at in -500_000i64..5_000_000,
    ) {
        let mut footage = Footage::new();
        run_of(&mut footage, 1, T0, &first);
        run_of(&mut footage, 2, T0 + second_at, &second);
        let at_us = T0 + at;
        let number = |picture: &Picture| {
            let mut bytes = vec![0; picture.size as usize];
            picture.file.read_exact_at(&mut bytes, picture.offset).unwrap();
            u32::from_be_bytes(bytes[..4].try_into().unwrap())
        };
        let source = |picture: &Picture| &footage.pictures[number(picture) as usize];
        let frame = frame_at(&footage.segments, at_us).unwrap();
        let parts = footage.plan(at_us, at_us + 1);
        prop_assert_eq!(frame.is_some(), !parts.is_empty());
        let Some(frame) = frame else { return Ok(()) };
        let target = frame.pictures.last().unwrap();
        prop_assert!(target.wall_us <= at_us);
        // A clip has the precision of its ticks: 1/90,000 s.
        let shown_at = |at_us| {
            let frame = frame_at(&footage.segments, at_us).unwrap();
            frame.map(|frame| number(frame.pictures.last().unwrap()))
        };
        let (first_seen, begins) = seen(&parts[0])[0];
        prop_assert_eq!(begins, 0);
        prop_assert!(
            [at_us, at_us - 12, at_us + 12].into_iter().any(|at| shown_at(at) == Some(first_seen)),
            "the clip begins with {first_seen} instead of {}", number(target)
        );
        check_decodable(&frame.pictures.iter().map(source).collect::<Vec<_>>())?;
        prop_assert!(frame.pictures.iter().skip(1).all(|p| !p.sync || p.pts_90k > target.pts_90k));

        // Groups of pictures: the one that shows the instant contains the picture.
        let gop = gop_at(&footage.segments, at_us).unwrap().unwrap();
        prop_assert!(gop.start_us <= at_us && at_us < gop.end_us);
        prop_assert!(gop.pictures.iter().any(|p| number(p) == number(target)));
        prop_assert!(gop.pictures.iter().all(|p| p.wall_us >= gop.start_us));
        check_decodable(&gop.pictures.iter().map(source).collect::<Vec<_>>())?;
        let starts = gops(&footage.segments, at_us, at_us + 3_000_000).unwrap();
        prop_assert_eq!(starts[0], gop.start_us);
        prop_assert!(starts.windows(2).all(|w| w[0] < w[1]));
        for start in starts {
            let gop = gop_at(&footage.segments, start).unwrap().unwrap();
            prop_assert_eq!(gop.start_us, start);
        }
    }
}
