//! A camera's address as somebody typed it, and what a camera says, before it is shown.

/// A line with the address, then the text. A password of some length never comes back.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (address, said) = text.split_once('\n').unwrap_or((&text, ""));
    let redacted = nvr_ingest::redact(said);
    assert!(redacted.len() <= 4 * said.len() + 16, "redacting makes a text longer without bound");
    if let Some((password, shown)) = nvr_ingest::fuzzing::show(address, said) {
        assert!(shown.chars().count() <= 301, "a text longer than may be shown");
        // A short one may be part of the mask, or come about by masking.
        assert!(password.len() < 6 || password.contains('*') || !shown.contains(&password));
    }
}
