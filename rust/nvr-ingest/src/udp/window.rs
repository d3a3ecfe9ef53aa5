//! Puts RTP packets that overtook each other in order again (RFC 3550, section 5.1).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a packet that is missing is waited for. In one network packets overtake each other by
/// less than a millisecond; over radio and bonded lines by tens. What comes later is lost.
pub(super) const HOLD: Duration = Duration::from_millis(100);

/// Numbers ahead of the one that is due for which packets are held: 100 ms of 100 Mbit/s.
const SLOTS: u16 = 1024;

/// Farther ahead a packet is a stray, unless the next one follows (RFC 3550, appendix A.1).
const MAX_DROPOUT: u16 = 3000;

/// Bytes held at most; beyond, what is missing is given up early.
const MAX_BYTES: usize = 4 << 20;

/// So many numbers before the first packet of a session are waited for: it may have overtaken some.
const BEFORE_FIRST: u16 = 64;

/// Packets of one source. Gives each on once, in order; memory and waiting are bounded.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The sequence number that is due; none before the first packet.
    due: Option<u16>,
    /// What came before its turn: slot n is for number `due` + n. Never ends with an empty slot,
    /// and, between calls, never begins with a full one.
    held: VecDeque<Option<Held>>,
    /// Bytes of packets in `held`.
    bytes: usize,
    /// Since when the due packet is known to be missing: when the earliest of `held` came.
    since: Option<Instant>,
    /// A packet far from the due one. If the next number follows, the source counts anew, or very
    /// many were lost (as in RFC 3550, appendix A.1); if not, it was a stray.
    stray: Option<(u16, Vec<u8>)>,
    /// A packet was given on: what is missing from now on is lost.
    begun: bool,
    lost: u64,
}

#[derive(Debug)]
struct Held {
    came: Instant,
    packet: Vec<u8>,
}

impl Window {
    /// Takes a packet with this sequence number; what is in order now goes to `out`.
    pub(super) fn take(
        &mut self,
        sequence: u16,
        packet: &[u8],
        now: Instant,
        out: &mut impl FnMut(&[u8]),
    ) {
        let due = *self.due.get_or_insert(sequence.wrapping_sub(BEFORE_FIRST));
        let ahead = sequence.wrapping_sub(due);
        if ahead == 0 {
            out(packet);
            self.begun = true;
            self.step();
            if !self.held.is_empty() {
                self.drain(out);
            }
        } else if ahead < MAX_DROPOUT {
            self.make_room(sequence, out);
            self.hold(sequence, packet, now);
            if let Some(Some(_)) = self.held.front() {
                self.drain(out);
            }
            while self.bytes > MAX_BYTES {
                self.give_up(out);
            }
        } else if ahead.wrapping_neg() > SLOTS {
            self.jump(sequence, packet, out);
        }
        // Else it is there already, or was given up.
    }

    /// Gives up what has been waited for long enough.
    pub(super) fn expire(&mut self, now: Instant, out: &mut impl FnMut(&[u8])) {
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            self.give_up(out);
        }
    }

    /// How many packets were given up since this was last asked.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// When to call [`expire`](Self::expire) next; none when nothing is missing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + HOLD)
    }

    /// Gives on all that is held.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        while !self.held.is_empty() {
            self.give_up(out);
        }
    }

    /// Gives up what is missing longest until a packet is no more than [`SLOTS`] ahead.
    fn make_room(&mut self, sequence: u16, out: &mut impl FnMut(&[u8])) {
        while self.slot(sequence) >= usize::from(SLOTS) {
            if self.held.is_empty() {
                self.step();
                self.lost += u64::from(self.begun);
            } else {
                self.give_up(out);
            }
        }
    }

    fn slot(&self, sequence: u16) -> usize {
        sequence.wrapping_sub(self.due.unwrap_or(sequence)).into()
    }

    fn hold(&mut self, sequence: u16, packet: &[u8], now: Instant) {
        let slot = self.slot(sequence);
        if self.held.len() <= slot {
            self.held.resize_with(slot + 1, || None);
        }
        if self.held[slot].is_none() {
            self.bytes += packet.len();
            self.held[slot] = Some(Held { came: now, packet: packet.to_vec() });
            self.since.get_or_insert(now);
        }
    }

    /// The due number is done.
    fn step(&mut self) -> Option<Held> {
        self.due = self.due.map(|due| due.wrapping_add(1));
        let held = self.held.pop_front().flatten();
        self.bytes -= held.as_ref().map_or(0, |held| held.packet.len());
        held
    }

    fn drain(&mut self, out: &mut impl FnMut(&[u8])) {
        while let Some(Some(_)) = self.held.front() {
            if let Some(held) = self.step() {
                out(&held.packet);
            }
        }
        self.since = self.held.iter().flatten().map(|held| held.came).min();
    }

    /// Passes over the missing packets before the first that is held.
    fn give_up(&mut self, out: &mut impl FnMut(&[u8])) {
        while let Some(None) = self.held.front() {
            self.step();
            self.lost += u64::from(self.begun);
        }
        self.begun = true;
        self.drain(out);
    }

    fn jump(&mut self, sequence: u16, packet: &[u8], out: &mut impl FnMut(&[u8])) {
        match self.stray.take() {
            Some((before, first)) if before.wrapping_add(1) == sequence => {
                self.finish(out);
                let missing = before.wrapping_sub(self.due.unwrap_or(before));
                // Backwards it is no loss, but another count.
                self.lost += if missing < 0x8000 { u64::from(missing) } else { 0 };
                out(&first);
                out(packet);
                self.due = Some(sequence.wrapping_add(1));
            }
            _ => self.stray = Some((sequence, packet.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the window gives on for packets that come at these milliseconds.
    fn run(packets: &[(u16, u64)]) -> Vec<u16> {
        counted(packets).0
    }

    /// And how many it counts as lost.
    fn counted(packets: &[(u16, u64)]) -> (Vec<u16>, u64) {
        let start = Instant::now();
        let (mut window, mut given) = (Window::default(), Vec::new());
        let mut out =
            |packet: &[u8]| given.push(u16::from_be_bytes(packet.try_into().expect("two bytes")));
        for (sequence, ms) in packets {
            let now = start + Duration::from_millis(*ms);
            window.expire(now, &mut out);
            window.take(*sequence, &sequence.to_be_bytes(), now, &mut out);
            check(&window);
        }
        window.finish(&mut out);
        check(&window);
        assert_eq!(window.bytes, 0);
        let lost = window.take_lost();
        (given, lost)
    }

    fn check(window: &Window) {
        assert!(window.held.len() <= usize::from(SLOTS));
        let bytes: usize = window.held.iter().flatten().map(|held| held.packet.len()).sum();
        assert_eq!(window.bytes, bytes);
        assert!(window.bytes <= MAX_BYTES);
        assert_eq!(window.since.is_some(), !window.held.is_empty());
        assert!(window.held.front().is_none_or(Option::is_none));
        assert!(window.held.back().is_none_or(Option::is_some));
    }

    #[test]
    fn the_first_packets_may_overtake_each_other_too() {
        assert_eq!(run(&[(1, 0), (65_535, 1), (0, 2), (2, 3), (3, 200)]), [65_535, 0, 1, 2, 3]);
    }

    #[test]
    fn a_missing_packet_is_waited_for_and_then_given_up() {
        let late = [(10, 0), (11, 200), (13, 201), (12, 300), (14, 301)];
        assert_eq!(counted(&late), (vec![10, 11, 12, 13, 14], 0));
        let too_late = [(10, 0), (11, 200), (13, 201), (12, 302), (14, 303)];
        assert_eq!(counted(&too_late), (vec![10, 11, 13, 14], 1));
    }

    #[test]
    fn packets_that_come_backwards_make_no_longer_wait() {
        let packets = [(30, 0), (20, 60), (10, 99), (31, 100), (9, 101), (32, 102)];
        assert_eq!(run(&packets), [10, 20, 30, 31, 32]);
    }

    #[test]
    fn each_gap_has_its_own_time() {
        let packets = [(10, 0), (11, 200), (13, 201), (15, 290), (14, 310), (16, 311)];
        assert_eq!(run(&packets), [10, 11, 13, 14, 15, 16]);
    }

    #[test]
    fn two_packets_make_a_jump_and_one_is_a_stray() {
        let packets = [(10, 0), (11, 200), (30_000, 201), (12, 202), (40_000, 203), (13, 204)];
        assert_eq!(run(&packets), [10, 11, 12, 13]);
        let anew = [(10, 0), (11, 200), (30_000, 201), (30_001, 202), (30_002, 203), (12, 204)];
        assert_eq!(counted(&anew), (vec![10, 11, 30_000, 30_001, 30_002], 29_988));
        let backwards = [(60_000, 0), (60_001, 200), (9, 201), (10, 202), (11, 203)];
        assert_eq!(counted(&backwards).0, [60_000, 60_001, 9, 10, 11]);
        let backwards = [(60_000, 0), (60_001, 200), (50_000, 201), (50_001, 202), (50_002, 203)];
        assert_eq!(counted(&backwards), (vec![60_000, 60_001, 50_000, 50_001, 50_002], 0));
    }

    #[test]
    fn a_burst_larger_than_the_window_is_given_on_while_packets_overtake_each_other() {
        // All within the time that the first ones of a session are held.
        let burst: Vec<(u16, u64)> = (0..3000).map(|n| (n ^ 1, u64::from(n) / 60)).collect();
        assert_eq!(counted(&burst), ((0..3000).collect(), 0));
        let dropout = [(10, 0), (11, 200), (2012, 201), (2011, 202), (2013, 203), (2014, 400)];
        assert_eq!(counted(&dropout), (vec![10, 11, 2011, 2012, 2013, 2014], 1999));
    }

    #[test]
    fn large_packets_are_given_up_early() {
        let (mut window, mut given) = (Window::default(), 0);
        let now = Instant::now();
        let packet = vec![0; 60_000];
        for n in 0..1000 {
            window.take(2 * n, &packet, now, &mut |_| given += 1);
            check(&window);
        }
        assert!(given > 900 && !window.held.is_empty(), "{given}");
    }

    /// Packets from this number on, of which some are lost and some doubled, each delayed by less
    /// than the window waits, in the order in which they come: (number, milliseconds).
    fn network() -> impl Strategy<Value = (Vec<(u16, u64)>, Vec<u16>)> {
        let fate = (0_u64..100, prop::option::of(0_u64..100), prop::bool::weighted(0.9));
        (any::<u16>(), prop::collection::vec(fate, 1..400)).prop_map(|(first, fates)| {
            let (mut sent, mut arrive) = (Vec::new(), Vec::new());
            for (n, (delay, again, arrives)) in fates.into_iter().enumerate() {
                let sequence = first.wrapping_add(n as u16);
                let at = n as u64;
                // Without any there would be nothing to say.
                if arrives || n == 0 {
                    sent.push(sequence);
                    arrive.push((at + delay, sequence));
                    arrive.extend(again.map(|again| (at + again, sequence)));
                }
            }
            arrive.sort_by_key(|(at, _)| *at);
            (arrive.into_iter().map(|(at, sequence)| (sequence, at)).collect(), sent)
        })
    }

    proptest! {
        #[test]
        fn what_arrives_in_time_is_given_on_once_and_in_order((arrivals, sent) in network()) {
            // What was sent before the first that came, by more than is waited for at the start.
            let first = arrivals[0].0;
            let known = |n: &u16| n.wrapping_sub(first.wrapping_sub(BEFORE_FIRST)) < 0x8000;
            let expected: Vec<u16> = sent.into_iter().filter(known).collect();
            let (given, lost) = counted(&arrivals);
            let span = given[given.len() - 1].wrapping_sub(given[0]);
            prop_assert_eq!(lost, u64::from(span) + 1 - given.len() as u64);
            prop_assert_eq!(given, expected);
        }

        #[test]
        fn anything_is_survived_and_nothing_given_on_twice_within_the_window(
            packets in prop::collection::vec((any::<u16>(), 0_u64..3), 1..400)
        ) {
            let mut ms = 0;
            let packets: Vec<(u16, u64)> =
                packets.into_iter().map(|(n, wait)| { ms += wait; (n, ms) }).collect();
            let given = run(&packets);
            for pair in given.windows(2) {
                let step = pair[1].wrapping_sub(pair[0]);
                prop_assert!(step != 0 && (step < 0x8000 || step.wrapping_neg() > SLOTS), "{pair:?}");
            }
        }
    }
}
