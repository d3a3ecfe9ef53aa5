//! Which stored fragments a scrub found damaged: what the event log remembers of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::coverage::Span;
use super::events::Event;
use crate::ids::RunId;
use crate::table::SegmentTable;

/// One event speaks of no more fragments than a segment may hold.
const MAX_FRAGMENTS: u32 = 1 << 16;

/// Fragments of a segment, one after another, that are stored and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Whose.
    pub run: RunId,
    /// The first one.
    pub sequence: u32,
    /// How many.
    pub fragments: u32,
    /// Wall start of the first.
    pub start_us: i64,
    /// End of the last.
    pub end_us: i64,
    /// Which file, where, and what is wrong.
    pub detail: Arc<str>,
}

impl Stretch {
    pub(super) fn event(&self) -> Event {
        Event::Damaged {
            at_us: self.start_us,
            until_us: self.end_us,
            run: self.run.to_string(),
            sequence: self.sequence,
            fragments: self.fragments,
            detail: self.detail.to_string(),
        }
    }

    pub(super) fn over_event(&self) -> Event {
        Event::Intact { at_us: self.start_us, run: self.run.to_string(), sequence: self.sequence }
    }

    /// Whether it is the same damage; its description may differ.
    pub(super) fn is(&self, other: &Stretch) -> bool {
        (self.run, self.sequence, self.fragments) == (other.run, other.sequence, other.fragments)
    }
}

/// All damage of a stream that is known.
#[derive(Clone, Debug, Default)]
pub struct Damage(BTreeMap<(RunId, u32), Stretch>);

impl Damage {
    /// What events say, in the order in which they were written.
    pub(super) fn of<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let mut damage = Damage::default();
        for event in events {
            damage.note(event);
        }
        damage
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Damaged { at_us, until_us, run, sequence, fragments, detail } => {
                let Ok(run) = run.parse::<RunId>() else { return };
                let stretch = Stretch {
                    run,
                    sequence: *sequence,
                    fragments: (*fragments).clamp(1, MAX_FRAGMENTS),
                    start_us: *at_us,
                    end_us: *until_us,
                    detail: detail.as_str().into(),
                };
                self.0.insert((run, *sequence), stretch);
            }
            Event::Intact { run, sequence, .. } => {
                if let Ok(run) = run.parse() {
                    self.0.remove(&(run, *sequence));
                }
            }
            _ => {}
        }
    }

    /// Nothing is known to be damaged.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, by run and sequence.
    pub fn stretches(&self) -> impl Iterator<Item = &Stretch> {
        self.0.values()
    }

    /// Whether a fragment is known to be damaged.
    pub fn has(&self, run: RunId, sequence: u32) -> bool {
        let before = self.0.range(..=(run, sequence)).next_back();
        before.is_some_and(|(_, s)| s.run == run && sequence - s.sequence < s.fragments)
    }

    /// What of spans can be read.
    pub(super) fn cut(&self, spans: Vec<Span>) -> Vec<Span> {
        let mut left = spans;
        for stretch in self.0.values() {
            let mut cut = Vec::with_capacity(left.len() + 1);
            for span in left {
                let (start, end) = (stretch.start_us, stretch.end_us);
                if span.run != stretch.run || end <= span.start_us || start >= span.end_us {
                    cut.push(span);
                    continue;
                }
                if span.start_us < start {
                    cut.push(Span { end_us: start, ..span.clone() });
                }
                if end < span.end_us {
                    cut.push(Span { start_us: end, ..span });
                }
            }
            left = cut;
        }
        left
    }

    /// A segment's table without what is damaged; `None`: all of it is sound.
    pub(super) fn without(&self, table: &SegmentTable) -> Option<SegmentTable> {
        let sound = |sequence| !self.has(table.run, sequence);
        if self.is_empty() || table.fragments.iter().all(|f| sound(f.sequence)) {
            return None;
        }
        let mut table = table.clone();
        table.fragments.retain(|f| sound(f.sequence));
        Some(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(number: u8) -> RunId {
        RunId(uuid::Uuid::from_u128(u128::from(number)))
    }

    fn damaged(run: RunId, sequence: u32, fragments: u32, from: i64, len: i64) -> Event {
        let (at_us, until_us, detail) = (from, from + len, "bad".to_owned());
        Event::Damaged { at_us, until_us, run: run.to_string(), sequence, fragments, detail }
    }

    #[test]
    fn what_is_intact_again_is_no_damage() {
        let of_second = damaged(run(1), 10, 1, 10, 1);
        let over = Event::Intact { at_us: 3, run: run(1).to_string(), sequence: 3 };
        let events = [damaged(run(1), 3, 2, 3, 2), of_second, over.clone()];
        let damage = Damage::of(events.iter());
        let has: Vec<u32> = (0..20).filter(|s| damage.has(run(1), *s)).collect();
        assert_eq!(has, [10]);
        assert!(!damage.has(run(2), 10));
        assert!(Damage::of([events[0].clone(), over].iter()).is_empty());
        // More than a segment holds is nobody's: one line must not hide a run.
        let all = Damage::of([damaged(run(1), 0, u32::MAX, 0, 1)].iter());
        assert!(all.has(run(1), 0) && !all.has(run(1), MAX_FRAGMENTS));
    }

    proptest! {
        #[test]
        fn what_is_left_of_spans_is_what_is_not_damaged(
            damages in proptest::collection::vec((0u8..3, 0i64..100, 1i64..30), 0..6),
            spans in proptest::collection::vec((0u8..3, 0i64..100, 1i64..60), 0..6),
        ) {
            let events: Vec<_> = (1..).zip(&damages)
                .map(|(sequence, (of, from, len))| damaged(run(*of), sequence, 1, *from, *len))
                .collect();
            let spans: Vec<Span> = spans.iter()
                .map(|(of, from, len)| Span { start_us: *from, end_us: from + len, run: run(*of), epoch: 0 })
                .collect();
            let left = Damage::of(events.iter()).cut(spans.clone());
            prop_assert!(left.iter().all(|s| s.start_us < s.end_us));
            for of in 0..3 {
                for at in 0..200 {
                    let shows = |spans: &[Span]| {
                        spans.iter().filter(|s| s.run == run(of) && s.start_us <= at && at < s.end_us).count()
                    };
                    let bad = damages.iter().any(|(d, from, len)| *d == of && (*from..from + len).contains(&at));
                    prop_assert_eq!(shows(&left), if bad { 0 } else { shows(&spans) });
                }
            }
        }
    }
}
