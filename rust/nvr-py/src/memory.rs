//! Memory of the process that starting up needed and serving does not.

use std::fs;
use std::io;

use pyo3::prelude::*;

/// Takes code and constants out of the process's resident memory: most of what importing and
/// starting ran is never run again. What is needed comes back from the page cache, 64 KiB at a
/// time. To be called once, when a process has started. Gives how many bytes that was.
///
/// Raises `OSError` when the system does not tell what is mapped.
#[pyfunction]
pub(crate) fn release_code(py: Python<'_>) -> PyResult<u64> {
    Ok(py.detach(release)?)
}

fn release() -> io::Result<u64> {
    let mut released = 0;
    for mapping in unwritten_code(&fs::read_to_string("/proc/self/smaps")?) {
        forget(&mapping)?;
        released += mapping.resident;
    }
    Ok(released)
}

/// A mapping of a file that this process can only read or run, and never wrote to.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    /// Bytes in memory.
    resident: u64,
}

/// Those of `/proc/self/smaps` (proc(5)).
fn unwritten_code(smaps: &str) -> Vec<Mapping> {
    let mut found = Vec::new();
    let mut open: Option<Mapping> = None;
    for line in smaps.lines() {
        if let Some(head) = head(line) {
            open = head;
        } else if let Some(mapping) = &mut open {
            let kib =
                |name| line.strip_prefix(name).and_then(|rest| rest.split_whitespace().next());
            if let Some(kib) = kib("Rss:") {
                mapping.resident = kib.parse().unwrap_or(0) * 1024;
            } else if let Some(kib) = kib("Anonymous:") {
                // Pages of its own: relocated pointers, which the file does not have.
                let mapping = open.take().filter(|m| kib == "0" && m.resident > 0);
                found.extend(mapping);
            }
        }
    }
    found
}

/// The first line of a mapping; `Some(None)`: of one that is none of those.
fn head(line: &str) -> Option<Option<Mapping>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let at = |hex| usize::from_str_radix(hex, 16).ok();
    let (start, end) = (at(start)?, at(end)?);
    let code = matches!(words.next()?, "r-xp" | "r--p");
    let file = words.nth(3).is_some_and(|path| path.starts_with('/'));
    Some((code && file).then_some(Mapping { start, end, resident: 0 }))
}

/// # Safety
/// `MADV_DONTNEED` throws away what was written to a private mapping. Nothing was: it has no pages
/// of its own and gives no right to write, so all comes back from the file as it was. Libraries
/// stay mapped once they are loaded (Python never unloads one), so that nothing else can have come
/// to these addresses since they were read.
#[allow(unsafe_code)]
fn forget(mapping: &Mapping) -> io::Result<()> {
    let (at, len) = (mapping.start as *mut std::ffi::c_void, mapping.end - mapping.start);
    // SAFETY: as above.
    unsafe { rustix::mm::madvise(at, len, rustix::mm::Advice::LinuxDontNeed) }?;
    Ok(())
}
