//! Holds: footage that retention leaves alone until it is released. A hold is an event, in each
//! of a stream's logs, synced before it takes effect: a lost catalog changes none.

use super::Store;
use super::events::Event;
use crate::ids::StreamId;
use crate::time::SECOND_US;
use crate::{Error, Result};

/// A longer id is none of ours.
const MAX_ID: usize = 100;
/// A segment that nobody sees now does not reach further: it lasts five minutes and a GOP, at most.
const REACH_US: i64 = 600 * SECOND_US;

impl Store {
    /// Holds a stream's footage of [from, until), also what is yet to come: whole segments. What
    /// retention has deleted before stays deleted. Answers the range that segments start in that
    /// are held.
    ///
    /// # Errors
    /// The id is empty, too long, or taken by another range; the range is empty; or the file
    /// system refused, and the hold may or may not be in effect: ask again.
    pub fn hold(
        &self,
        id: StreamId,
        hold: &str,
        (asked_us, until_us): (i64, i64),
        detail: &str,
    ) -> Result<(i64, i64)> {
        self.writable()?;
        if hold.is_empty() || hold.len() > MAX_ID || hold.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("a hold needs an id of 1 to {MAX_ID} characters")));
        }
        if asked_us >= until_us {
            return Err(Error::Invalid("a hold's start must be before its end".to_owned()));
        }
        let (stream, root) = self.stream_for_writing(id)?;
        stream.dir_under(&root.path)?;
        // Held are segments by their start: one that reaches into the range is part of it.
        let shown = stream.fragments(asked_us, until_us)?;
        let open_us = stream.open_segment_start_us();
        let reaching = shown.iter().map(super::Located::segment_start_us);
        let open_us = (open_us < until_us).then_some(open_us);
        // On a disk that is not there, too, there may be one.
        let away_us = stream.may_be_unknown().then_some(asked_us.saturating_sub(REACH_US));
        let from_us = reaching.chain(open_us).chain(away_us).fold(asked_us, i64::min);
        let range = (from_us, until_us);
        let event = Event::Hold {
            at_us: self.now_us(),
            hold: hold.to_owned(),
            from_us,
            until_us,
            detail: detail.to_owned(),
        };
        match stream.holds().get(hold) {
            // Again, because nobody knew whether it took effect.
            Some((_, until)) if *until == until_us => {}
            Some(_) => return Err(Error::Invalid(format!("hold {hold} has another range"))),
            None => {}
        }
        stream.log_durably(&event)?;
        Ok(range)
    }

    /// Ends a hold; says whether there was one. What is over the limits goes with the next pass of
    /// retention.
    ///
    /// # Errors
    /// The file system refused; the hold is still in effect, at least in part.
    pub fn release(&self, id: StreamId, hold: &str) -> Result<bool> {
        self.writable()?;
        let Some(stream) = self.stream(id)? else { return Ok(false) };
        if !stream.holds().contains_key(hold) {
            return Ok(false);
        }
        stream.log_durably(&Event::Released { at_us: self.now_us(), hold: hold.to_owned() })?;
        Ok(true)
    }
}
