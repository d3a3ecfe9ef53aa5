//! Every input of the corpus is survived: the seeds, and what once failed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_seed_is_survived() {
    let mut seen = BTreeSet::new();
    for (target, name, bytes) in nvr_fuzz::seeds::all().unwrap() {
        println!("{target}/{name}");
        seen.insert(target);
        nvr_fuzz::target(target).unwrap()(&bytes);
    }
    assert!(nvr_fuzz::TARGETS.iter().all(|(name, _)| seen.contains(name)), "each has seeds");
}

#[test]
fn what_once_failed_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for folder in fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap();
        let run = nvr_fuzz::target(folder.file_name().to_str().unwrap()).expect("a target's name");
        for input in fs::read_dir(folder.path()).unwrap() {
            let path = input.unwrap().path();
            println!("{}", path.display());
            run(&fs::read(&path).unwrap());
        }
    }
}
