//! A replay: what was recorded, at its own pace, for one client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nvr_core::mux::timing::us_from_90k;
use nvr_core::segment::fragment::{ParsedFragment, parse_fragment};
use nvr_core::table::{Sample, TrackRun};
use nvr_rtsp::{Error, Output, Packets, Report, Result, Track, VIDEO_CLOCK_HZ};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::events::{Event, Events, Signal, SignalKind};
use crate::format::{Format, ticks};
use crate::live::REPORT_INTERVAL;
use crate::timeline::Timeline;

/// There is room for more below this, …
const ROOM_BYTES: usize = 1 << 20;
/// … and below this much time of it.
const ROOM_US: i64 = 8_000_000;

/// What comes this late moves all that follows: nobody gets a burst to catch up with.
const LATE: Duration = Duration::from_secs(1);

/// Pre-roll goes out so many times as fast as it was, where it cannot go out at once.
const PRE_ROLL_SPEED: u32 = 8;

/// How long after the last datagram the goodbye is sent.
const GOODBYE_AFTER: Duration = Duration::from_millis(500);

/// The year 9999, and more than any fragment lasts.
const MAX_WALL_US: i64 = 253_402_300_800_000_000;
const MAX_FRAGMENT_US: i64 = 3_600_000_000;

/// A stored fragment.
#[derive(Clone, Copy, Debug)]
pub struct PushedFragment<'a> {
    /// As on disk (`docs/on-disk-format.md`).
    pub data: &'a [u8],
    /// Wall time of its earliest picture.
    pub start_us: i64,
    /// How long it is shown.
    pub duration_us: i64,
    /// The run that it is of.
    pub run: &'a str,
    /// It begins with a random-access point.
    pub random_access: bool,
}

/// What was recorded, on its way to one client.
pub struct Replay {
    session: u64,
    output: Arc<Output>,
    events: Arc<Events>,
    paced: bool,
    max_payload: usize,
    max_backlog_bytes: usize,
    /// RTP time of position zero, in microseconds.
    origin_us: i64,
    audio_clock_hz: u32,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    timeline: Timeline,
    /// What the client was told of.
    format: Arc<Format>,
    queue: VecDeque<Item>,
    bytes: usize,
    /// Someone was told that there is no room.
    is_waited_for: bool,
    finished: bool,
    closed: bool,
    sent_bytes: u64,
    sent: Option<Sent>,
}

/// The last picture that was sent.
#[derive(Clone, Copy)]
struct Sent {
    wall_us: i64,
    position_us: i64,
}

struct Item {
    track: Track,
    /// When it is sent, and when it is shown, as positions.
    due_us: i64,
    position_us: i64,
    wall_us: i64,
    data: Bytes,
    random_access: bool,
    /// The relation of wall time and RTP time changed before it.
    jumped: bool,
    format: Arc<Format>,
}

/// How a replay is played.
pub(crate) struct Plan {
    pub(crate) timeline: Timeline,
    pub(crate) format: Arc<Format>,
    pub(crate) paced: bool,
    pub(crate) origin_us: i64,
    pub(crate) max_payload: usize,
    pub(crate) max_backlog_bytes: usize,
}

impl Replay {
    pub(crate) fn new(session: u64, output: Arc<Output>, events: Arc<Events>, plan: Plan) -> Self {
        Replay {
            session,
            output,
            events,
            paced: plan.paced,
            max_payload: plan.max_payload,
            max_backlog_bytes: plan.max_backlog_bytes,
            origin_us: plan.origin_us,
            audio_clock_hz: plan.format.audio_clock_hz(),
            state: Mutex::new(State {
                timeline: plan.timeline,
                format: plan.format,
                queue: VecDeque::new(),
                bytes: 0,
                is_waited_for: false,
                finished: false,
                closed: false,
                sent_bytes: 0,
                sent: None,
            }),
            changed: Notify::new(),
        }
    }

    /// Adds a fragment; true when there is room for more, else a signal says when. The parts of it
    /// that are outside of the range are left out, but for what a decoder needs.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no fragment, or the client cannot go on with its format.
    pub fn push_fragment(&self, fragment: PushedFragment<'_>, format: Arc<Format>) -> Result<bool> {
        // It may come from another node: what follows counts with these.
        let times = (0..MAX_WALL_US).contains(&fragment.start_us)
            && (0..MAX_FRAGMENT_US).contains(&fragment.duration_us);
        if !times {
            return Err(Error::invalid("start_us, duration_us: out of range"));
        }
        let Some(parsed) = parse_fragment(fragment.data) else {
            return Err(Error::invalid("data: not a whole fragment"));
        };
        if parsed.entry.length as usize > fragment.data.len() {
            return Err(Error::invalid("data: the fragment is cut"));
        }
        let mut state = self.state.lock();
        if !format.goes_on_from(&state.format) {
            return Err(Error::invalid("format: the client was told of another one"));
        }
        let end_us = fragment.start_us.saturating_add(fragment.duration_us);
        let shown = (fragment.start_us, end_us);
        if let Some(placed) = state.timeline.fragment(fragment.run, shown, fragment.random_access) {
            let range = (state.timeline.start_us(), state.timeline.end_us());
            let mut items = items(&fragment, &parsed, &format, range);
            for (n, item) in items.iter_mut().enumerate() {
                item.due_us += placed.position_us;
                item.position_us += placed.position_us;
                item.jumped = n == 0 && placed.jumped;
            }
            state.extend(items);
        }
        Ok(self.room(state))
    }

    /// Adds a keyframe of a replay of keyframes alone, as [`push_fragment`](Self::push_fragment).
    ///
    /// # Errors
    /// [`Error::Invalid`] when the client cannot go on with its format.
    pub fn push_keyframe(&self, data: &[u8], wall_us: i64, format: Arc<Format>) -> Result<bool> {
        let mut state = self.state.lock();
        if !format.goes_on_from(&state.format) {
            return Err(Error::invalid("format: the client was told of another one"));
        }
        if let Some(placed) = state.timeline.keyframe(wall_us) {
            state.extend(vec![Item {
                track: Track::Video,
                due_us: placed.position_us,
                position_us: placed.position_us,
                wall_us,
                data: Bytes::copy_from_slice(data),
                random_access: true,
                jumped: placed.jumped,
                format,
            }]);
        }
        Ok(self.room(state))
    }

    /// Nothing more comes: after what is there the client is told goodbye.
    pub fn finish(&self) {
        self.state.lock().finished = true;
        self.changed.notify_one();
    }

    fn room(&self, mut state: parking_lot::MutexGuard<'_, State>) -> bool {
        let room = state.has_room();
        state.is_waited_for = !room;
        drop(state);
        self.changed.notify_one();
        room
    }

    /// Nothing is sent after this returns.
    pub(crate) fn stop(&self) -> Stopped {
        let mut state = self.state.lock();
        state.closed = true;
        state.queue.clear();
        self.changed.notify_one();
        Stopped {
            sent_bytes: state.sent_bytes,
            position_us: state.sent.map(|sent| sent.wall_us),
            rtp_us: self.origin_us + state.sent.map_or(0, |sent| sent.position_us.max(0)),
        }
    }

    /// Sends everything when it is due; returns after the last of it, or when it is stopped.
    pub(crate) async fn play(self: Arc<Self>) {
        let mut pace = Pace::default();
        let mut next_report = Instant::now();
        let mut packets = Packets::default();
        let mut scratch = Vec::new();
        loop {
            let Some(item) = self.next().await else {
                self.say_goodbye().await;
                return;
            };
            if self.paced {
                let at_once = item.due_us < 0 && self.output.is_interleaved();
                if !at_once {
                    sleep_until(pace.at(item.due_us)).await;
                }
            }
            // The reader says how fast it can be.
            self.output.wait_below(self.max_backlog_bytes).await;
            let made = match item.track {
                Track::Video => item.format.picture(
                    &item.data,
                    item.random_access,
                    self.max_payload,
                    &mut packets,
                ),
                Track::Audio => item.format.sound(&item.data, self.max_payload, &mut packets),
            };
            if let Err(e) = made {
                let session = self.session;
                log::warn!(target: "nvr.rtsp", "session {session}: a stored unit is left out: {e}");
                continue;
            }
            let mut state = self.state.lock();
            if state.closed || self.output.is_closed() {
                return;
            }
            let at = self.ticks(item.track, item.position_us);
            let bytes = self.output.deliver(item.track, at, &packets, &mut scratch);
            // After the first packet: some clients take none before it.
            let now = Instant::now();
            if now >= next_report || item.jumped {
                next_report = now + REPORT_INTERVAL;
                self.output.report(|track| Some(self.report(track, &item)));
            }
            state.sent_bytes += bytes as u64;
            if item.track == Track::Video {
                let (wall_us, position_us) = (item.wall_us, item.position_us);
                state.sent = Some(Sent { wall_us, position_us });
            }
        }
    }

    /// The next item; none when there will be no more, or it was stopped.
    async fn next(&self) -> Option<Item> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state.lock();
                if state.closed {
                    return None;
                }
                if let Some(item) = state.queue.pop_front() {
                    state.bytes -= item.data.len();
                    if state.is_waited_for && state.has_room_again() {
                        state.is_waited_for = false;
                        self.signal(SignalKind::Room, &state);
                    }
                    return Some(item);
                }
                if state.finished {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Unless it was stopped.
    async fn say_goodbye(&self) {
        if !self.output.is_interleaved() {
            // It goes by another port, and must not come before the last packets.
            sleep(GOODBYE_AFTER).await;
        }
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        // Before the client knows: it may ask for more at once.
        self.signal(SignalKind::Finished, &state);
        self.output.goodbye(|track| {
            let Sent { wall_us, position_us } = state.sent?;
            Some(Report { wall_us, ticks: self.ticks(track, position_us) })
        });
    }

    fn signal(&self, kind: SignalKind, state: &State) {
        self.events.push(Event::Signal(Signal {
            kind,
            session: self.session,
            sent_bytes: state.sent_bytes,
            position_us: state.sent.map(|sent| sent.wall_us),
        }));
    }

    fn report(&self, track: Track, item: &Item) -> Report {
        Report { wall_us: item.wall_us, ticks: self.ticks(track, item.position_us) }
    }

    pub(crate) fn ticks(&self, track: Track, position_us: i64) -> i64 {
        let clock_hz = match track {
            Track::Video => VIDEO_CLOCK_HZ,
            Track::Audio => self.audio_clock_hz,
        };
        ticks(self.origin_us + position_us, clock_hz)
    }
}

/// What a replay had done when it was stopped.
pub(crate) struct Stopped {
    pub(crate) sent_bytes: u64,
    pub(crate) position_us: Option<i64>,
    /// RTP time that was reached.
    pub(crate) rtp_us: i64,
}

impl State {
    fn extend(&mut self, items: Vec<Item>) {
        self.bytes += items.iter().map(|item| item.data.len()).sum::<usize>();
        self.queue.extend(items);
    }

    fn waiting_us(&self) -> i64 {
        match (self.queue.front(), self.queue.back()) {
            (Some(first), Some(last)) => last.position_us - first.position_us,
            _ => 0,
        }
    }

    fn has_room(&self) -> bool {
        self.bytes < ROOM_BYTES && self.waiting_us() < ROOM_US
    }

    fn has_room_again(&self) -> bool {
        self.bytes < ROOM_BYTES / 2 && self.waiting_us() < ROOM_US / 2
    }
}

/// When positions are due.
#[derive(Default)]
struct Pace {
    zero: Option<Instant>,
    pre_roll: Option<(Instant, i64)>,
}

impl Pace {
    fn at(&mut self, due_us: i64) -> Instant {
        let now = Instant::now();
        if due_us < 0 {
            let (begin, first_us) = *self.pre_roll.get_or_insert((now, due_us));
            return begin + micros(due_us - first_us) / PRE_ROLL_SPEED;
        }
        let zero = self.zero.get_or_insert(now);
        let at = *zero + micros(due_us);
        let late = now.saturating_duration_since(at);
        if late > LATE {
            *zero += late;
        }
        at
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// The units of a fragment that belong to a range of wall time, in the order in which they are
/// sent. Positions count from the fragment's start.
fn items(
    fragment: &PushedFragment<'_>,
    parsed: &ParsedFragment,
    format: &Arc<Format>,
    (from_us, until_us): (i64, i64),
) -> Vec<Item> {
    let data = Bytes::copy_from_slice(fragment.data);
    let video = &parsed.entry.video;
    let decode = |samples: &[Sample], first: u64| {
        let mut at = first as i64;
        let times = samples.iter().map(|sample| {
            let time = at;
            at = at.saturating_add(i64::from(sample.duration));
            time
        });
        times.collect::<Vec<_>>()
    };
    let times = decode(&parsed.video_samples, video.decode_time);
    let shown: Vec<_> = times
        .iter()
        .zip(&parsed.video_samples)
        .map(|(time, sample)| time.saturating_add(i64::from(sample.composition_offset)))
        .collect();
    let earliest = shown.iter().copied().min().unwrap_or(0);
    let offsets: Vec<_> = shown
        .iter()
        // Not after the fragment's end: there the next one's mapping begins.
        .map(|pts| micros_after(*pts, earliest).min(fragment.duration_us))
        .collect();
    // What is decoded after the last picture of the range is of no use; what is decoded before it
    // may be needed.
    let count = offsets.iter().rposition(|offset| fragment.start_us + offset < until_us);
    let mut items = Vec::new();
    for (n, piece) in pieces(&data, video, &parsed.video_samples).enumerate() {
        if count.is_none_or(|last| n > last) {
            break;
        }
        let sample = parsed.video_samples[n];
        items.push(Item {
            track: Track::Video,
            due_us: micros_after(times[n], earliest).min(offsets[n]),
            position_us: offsets[n],
            wall_us: fragment.start_us + offsets[n],
            data: piece,
            random_access: sample.sync,
            jumped: false,
            format: Arc::clone(format),
        });
    }
    let audio = &parsed.entry.audio;
    let clock_hz = i128::from(format.audio_clock_hz());
    let times = decode(&parsed.audio_samples, audio.decode_time);
    for (time, piece) in times.iter().zip(pieces(&data, audio, &parsed.audio_samples)) {
        let us = i128::from(*time) * 1_000_000 / clock_hz - i128::from(earliest) * 100 / 9;
        let offset = i64::try_from(us).unwrap_or(0).clamp(-MAX_FRAGMENT_US, MAX_FRAGMENT_US);
        let wall_us = fragment.start_us.saturating_add(offset);
        if wall_us < from_us || wall_us >= until_us || format.audio_description().is_none() {
            continue;
        }
        items.push(Item {
            track: Track::Audio,
            due_us: offset,
            position_us: offset,
            wall_us,
            data: piece,
            random_access: true,
            jumped: false,
            format: Arc::clone(format),
        });
    }
    // Stable: each track stays in its own order.
    items.sort_by_key(|item| item.due_us);
    items
}

/// Time from one media time to another, as far apart as those of one fragment can be.
fn micros_after(time_90k: i64, from_90k: i64) -> i64 {
    let most_90k = MAX_FRAGMENT_US / 100 * 9;
    us_from_90k(time_90k.saturating_sub(from_90k).clamp(-most_90k, most_90k))
}

/// The bytes of each sample; ends at one that is not there.
fn pieces<'a>(
    data: &'a Bytes,
    run: &TrackRun,
    samples: &'a [Sample],
) -> impl Iterator<Item = Bytes> + 'a {
    let mut at = run.data_offset as usize;
    samples.iter().map_while(move |sample| {
        let end = at.checked_add(sample.size as usize).filter(|&end| end <= data.len())?;
        let piece = data.slice(at..end);
        at = end;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use nvr_core::segment::fragment::{FragmentParts, write_fragment};
    use nvr_core::table::FragmentEntry;
    use proptest::prelude::*;

    use super::*;
    use crate::format::tests::format;

    const START_US: i64 = 1_700_000_000_000_000;

    /// I0 P3 b1 b2 and so on, a picture every 100 ms, shown from `START_US` on; sound as long.
    fn fragment(groups: usize) -> Vec<u8> {
        let sample = |n: usize| Sample {
            size: 6,
            duration: 9_000,
            composition_offset: [9_000, 27_000, 0, 0][n % 4],
            sync: n == 0,
        };
        let video_samples: Vec<_> = (0..groups * 4).map(sample).collect();
        let video_data: Vec<_> = (0..groups * 4)
            .map(|n| Bytes::from(vec![0, 0, 0, 2, if n == 0 { 0x65 } else { 0x41 }, n as u8]))
            .collect();
        let frame = Sample { size: 3, duration: 1024, composition_offset: 0, sync: true };
        let frames = groups * 400 * 16 / 1024;
        let entry = FragmentEntry {
            sequence: 0,
            wall_start_us: START_US,
            duration_us: groups as u32 * 400_000,
            random_access: true,
            leading: false,
            random_access_distance: 0,
            activity_bytes: 0,
            camera_clock_offset_ms: i32::MIN,
            offset: 0,
            length: 0,
            crc: 0,
            video: TrackRun { decode_time: 90_000, ..TrackRun::default() },
            // The earliest picture is shown at 99,000 ticks: 1.1 s.
            audio: TrackRun { decode_time: 17_600, ..TrackRun::default() },
            metadata: TrackRun::default(),
        };
        let sound = vec![Bytes::from_static(&[1, 2, 3]); frames];
        let (head, _) = write_fragment(FragmentParts {
            entry,
            video_samples: &video_samples,
            video_data: &video_data,
            audio_samples: &vec![frame; frames],
            audio_data: &sound,
            metadata_samples: &[],
            metadata_data: &[],
        });
        [head, video_data.concat(), sound.concat()].concat()
    }

    fn pushed(data: &[u8], groups: i64) -> PushedFragment<'_> {
        let duration_us = groups * 400_000;
        PushedFragment { data, start_us: START_US, duration_us, run: "run", random_access: true }
    }

    fn of(data: &[u8], groups: i64, range: (i64, i64)) -> Vec<Item> {
        let Some(parsed) = parse_fragment(data) else { return Vec::new() };
        items(&pushed(data, groups), &parsed, &Arc::new(format(30, true)), range)
    }

    #[test]
    fn pictures_are_sent_in_decoding_order_and_shown_in_theirs() {
        let data = fragment(2);
        let items = of(&data, 2, (START_US, START_US + 800_000));
        let video: Vec<_> = items.iter().filter(|item| item.track == Track::Video).collect();
        let shown: Vec<_> = video.iter().map(|item| item.position_us / 100_000).collect();
        assert_eq!(shown, [0, 3, 1, 2, 4, 7, 5, 6]);
        assert!(items.windows(2).all(|pair| pair[0].due_us <= pair[1].due_us));
        assert!(video.iter().all(|item| item.due_us <= item.position_us));
        let first = items.iter().find(|item| item.track == Track::Audio).unwrap();
        assert_eq!((first.position_us, first.wall_us), (0, START_US));
    }

    #[test]
    fn what_is_not_needed_for_the_range_is_left_out() {
        let data = fragment(2);
        let items = of(&data, 2, (START_US + 250_000, START_US + 150_000 + 250_000));
        let wall = |track| {
            let items = items.iter().filter(move |item| item.track == track);
            items.map(|item| (item.wall_us - START_US) / 1000).collect::<Vec<_>>()
        };
        assert_eq!(wall(Track::Video), [0, 300, 100, 200], "pre-roll stays");
        assert_eq!(wall(Track::Audio), [256, 320, 384]);
    }

    proptest! {
        #[test]
        fn no_fragment_of_another_node_does_harm(
            changes in prop::collection::vec((0..800usize, any::<u8>()), 0..20),
            groups in 0..10i64,
            from in any::<i64>(),
            until in any::<i64>(),
        ) {
            let mut data = fragment(3);
            let len = data.len();
            for (at, value) in changes {
                data[at % len] = value;
            }
            for item in of(&data, groups, (from, until)) {
                prop_assert!(item.data.len() <= len);
                prop_assert!(item.position_us.abs() <= MAX_FRAGMENT_US);
            }
        }
    }
}
