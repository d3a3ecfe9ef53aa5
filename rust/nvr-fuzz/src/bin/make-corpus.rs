//! Writes the seeds of all targets into a folder, a folder for each: `make-corpus FOLDER`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(corpus) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: make-corpus FOLDER");
        std::process::exit(2);
    };
    for (target, name, bytes) in nvr_fuzz::seeds::all()? {
        let dir = corpus.join(target);
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}
