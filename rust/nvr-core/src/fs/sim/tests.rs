//! The simulation keeps its word: or what is tested with it would prove nothing.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::{EIO, ENOSPC, EROFS, Fault, HardDisk, SimFs};
use crate::fs::{File, FileSystem};
use crate::time::{Clock, SimClock};

fn with_dir() -> SimFs {
    let fs = SimFs::default();
    fs.create_dir_all(Path::new("/d/e")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs
}

fn content(fs: &SimFs, path: &str) -> Option<Vec<u8>> {
    let found = fs.files().into_iter().find(|(p, _)| p == Path::new(path));
    found.map(|(_, bytes)| bytes)
}

#[test]
fn a_power_cut_reorders_drops_and_tears_what_was_not_synced() {
    let fs = with_dir();
    let path = Path::new("/d/a");
    let file = fs.create_new(path).unwrap();
    file.write_all_at(&[1; 2048], 0).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(&[2; 1024], 1024).unwrap();
    file.write_all_at(&[3; 1024], 2048).unwrap();
    let seen: BTreeSet<Vec<u8>> =
        (0..200).filter_map(|seed| content(&fs.after_power_failure(seed), "/d/a")).collect();
    assert!(seen.iter().all(|b| b[..1024] == [1; 1024]), "what was synced is there");
    let any = |what: &dyn Fn(&[u8]) -> bool| seen.iter().any(|b| what(b));
    assert!(any(&|b| b == [1; 2048]), "nothing of it");
    assert!(any(&|b| b.len() == 3072 && b[1024] == 1 && b[2048] == 3), "the later write alone");
    assert!(any(&|b| b.len() == 2048 && b[1024] == 1 && b[1536] == 2), "single sectors");
    assert!(any(&|b| b.len() > 2048 && b.len() < 3072), "a part of a write");
}

#[test]
fn a_power_cut_forgets_names_that_were_not_synced() {
    let fs = with_dir();
    let (old, new) = (Path::new("/d/old"), Path::new("/d/new"));
    fs.create_new(old).unwrap().write_all_at(b"old", 0).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    fs.create_new(new).unwrap();
    fs.rename(new, old).unwrap();
    let after = |seed| fs.after_power_failure(seed).files().len();
    let counts: BTreeSet<usize> = (0..50).map(after).collect();
    assert_eq!(counts, BTreeSet::from([1]), "the name is one or the other's");
    let lens: BTreeSet<usize> = (0..50)
        .map(|seed| content(&fs.after_power_failure(seed), "/d/old").unwrap().len())
        .collect();
    assert!(lens.contains(&0) && lens.contains(&3), "{lens:?}");
}

#[test]
fn calls_fail_as_told() {
    let fs = with_dir();
    let file = fs.create_new(Path::new("/d/e/f")).unwrap();
    fs.create_dir_all(Path::new("/other")).unwrap();
    let other = fs.create_new(Path::new("/other/f")).unwrap();
    let code = |r: std::io::Result<()>| r.map_err(|e| e.raw_os_error().unwrap());
    let fault = Fault { after: 1, times: 1, short: true, ..Fault::of("write", "/d", EIO) };
    fs.set_faults(vec![fault]);
    assert_eq!(code(file.write_all_at(b"1234", 0)), Ok(()));
    assert_eq!(code(other.write_all_at(b"1234", 0)), Ok(()));
    assert_eq!(code(file.write_all_at(b"5678", 4)), Err(EIO));
    assert_eq!(content(&fs, "/d/e/f").unwrap(), b"123456", "a short write");
    assert_eq!(code(file.write_all_at(b"5678", 4)), Ok(()));
    fs.set_faults(vec![Fault::of("change", "/d", EROFS)]);
    assert_eq!(code(fs.remove_file(Path::new("/d/e/f"))), Err(EROFS));
    assert_eq!(code(file.sync_data()), Err(EROFS));
    assert_eq!(file.read_at(&mut [0; 9], 0).unwrap(), 8);
    fs.set_faults(vec![Fault::of("", "/d", EIO)]);
    assert_eq!(code(fs.read_dir(Path::new("/d")).map(drop)), Err(EIO));
    assert_eq!(code(file.read_at(&mut [0; 9], 0).map(drop)), Err(EIO));
    fs.set_faults(Vec::new());
    fs.set_disk(Path::new("/d"), 10);
    assert_eq!(code(file.write_all_at(b"9abc", 8)), Err(ENOSPC));
    assert_eq!(content(&fs, "/d/e/f").unwrap().len(), 10, "a full disk takes what fits");
    assert_eq!(fs.space(Path::new("/d/e")).unwrap().available, 0);
    assert_eq!(code(file.write_all_at(b"xy", 0)), Ok(()), "in place");
    fs.remove_file(Path::new("/d/e/f")).unwrap();
    assert_eq!(fs.space(Path::new("/d/e")).unwrap().available, 10);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let fs = with_dir();
    let file = fs.create_new(Path::new("/d/f")).unwrap();
    fs.sync_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"1234", 0).unwrap();
    fs.fail(Some(("sync", EIO)));
    assert!(file.sync_data().is_err());
    fs.fail(None);
    file.write_all_at(b"5678", 4).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&fs, "/d/f").unwrap(), b"12345678", "as long as the machine runs");
    assert_eq!(
        content(&fs.after_power_failure(1), "/d/f").unwrap(),
        [&[0; 4][..], b"5678"].concat()
    );
}

#[test]
fn every_moment_is_remembered() {
    let fs = with_dir();
    fs.film();
    let file = fs.create_new(Path::new("/d/f")).unwrap();
    file.write_all_at(b"1234", 0).unwrap();
    file.set_len(1).unwrap();
    let lens: Vec<_> =
        fs.moments().iter().map(|m| content(m, "/d/f").map(|bytes| bytes.len())).collect();
    assert_eq!(lens, [None, Some(2), Some(4), Some(1)]);
}

#[test]
fn a_hard_disk_counts_seeks() {
    let (fs, clock) = (with_dir(), Arc::new(SimClock::at(0)));
    fs.set_hard_disk(HardDisk::new(Some(clock.clone())));
    let file = |name: &str| fs.create_new(&Path::new("/d").join(name)).unwrap();
    let (a, b) = (file("a"), file("b"));
    let write = |f: &Arc<dyn File>| {
        f.write_all_at(&[0; 150_000], 0).unwrap();
        f.sync_data().unwrap();
    };
    write(&a);
    write(&a);
    write(&b);
    a.sync_data().unwrap();
    let disk = fs.hard_disk();
    assert_eq!((disk.seeks, disk.busy_us), (2, 23_000));
    assert_eq!(clock.now().wall_us, 23_000);
}
