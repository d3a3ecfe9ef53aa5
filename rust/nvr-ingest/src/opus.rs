//! Opus in RTP (RFC 7587): a packet is a frame, and says itself how long it lasts (RFC 6716).

/// Ticks a second of its RTP clock, whatever it was sampled at (RFC 7587, 4.1).
pub(crate) const CLOCK_HZ: u32 = 48_000;

/// The longest packet (RFC 6716, 3.2.5), in ticks.
const MAX_DURATION: u32 = CLOCK_HZ / 1000 * 120;

/// How long a packet lasts, in ticks (RFC 6716, 3.1); none when it is no packet of Opus.
pub(crate) fn duration(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    // In 1/10 ms: SILK, hybrid, CELT (table 2).
    let frame = match toc >> 3 {
        config @ 0..=11 => [100, 200, 400, 600][usize::from(config & 3)],
        config @ 12..=15 => [100, 200][usize::from(config & 1)],
        config => [25, 50, 100, 200][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let duration = frames * frame * CLOCK_HZ / 10_000;
    (1..=MAX_DURATION).contains(&duration).then_some(duration)
}

/// Channels, by the description's format parameters: mono unless it says `sprop-stereo=1` (RFC 7587,
/// 6.1).
pub(crate) fn channels(format_parameters: Option<&str>) -> u16 {
    let says = |pair: &str| pair.trim().eq_ignore_ascii_case("sprop-stereo=1");
    if format_parameters.is_some_and(|text| text.split(';').any(says)) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_say_how_long_they_last() {
        // SILK 60 ms, hybrid 20 ms, CELT 2.5 ms and 20 ms, one frame each.
        let one = [3 << 3, 13 << 3, 16 << 3, 31 << 3].map(|toc| duration(&[toc, 1]));
        assert_eq!(one, [Some(2_880), Some(960), Some(120), Some(960)]);
        // Two frames of 20 ms; six in a packet of any number.
        assert_eq!(duration(&[31 << 3 | 1]), Some(1_920));
        assert_eq!(duration(&[31 << 3 | 3, 6]), Some(5_760));
        // Nothing, no frames, and longer than a packet may last.
        assert_eq!(
            (duration(&[]), duration(&[31 << 3 | 3, 0]), duration(&[31 << 3 | 3])),
            (None, None, None)
        );
        assert_eq!(duration(&[31 << 3 | 3, 7]), None);
    }

    #[test]
    fn it_is_mono_unless_it_says_otherwise() {
        assert_eq!(channels(Some("useinbandfec=1; sprop-stereo=1")), 2);
        assert_eq!((channels(Some("sprop-stereo=0")), channels(None)), (1, 1));
    }
}
