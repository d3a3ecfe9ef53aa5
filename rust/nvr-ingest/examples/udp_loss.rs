//! Counts what a camera loses on its way over UDP with the RTSP library alone, and over TCP.
//!
//! ```text
//! cargo run --release -p nvr-ingest --example udp_loss -- URL SECONDS
//! ```
//! Prints for each transport the pictures and the packets lost; `NVR_BATCH_MS` is how long a
//! thread sleeps before it asks which sockets have data (`Options::batch`; 5 in a node). What is
//! measured with it stands in `docs/decisions/0021-udp-needs-a-receiver-of-its-own.md`.

#![allow(missing_docs)]

use std::error::Error;
use std::time::Duration;

use futures::StreamExt as _;
use retina::client::{
    InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Session, SessionOptions,
    SetupOptions, Transport,
};
use retina::codec::CodecItem;

async fn play(url: &str, transport: Transport, lasts: Duration) -> Result<String, Box<dyn Error>> {
    let mut session = Session::describe(url.parse()?, SessionOptions::default()).await?;
    let video = session.streams().iter().position(|s| s.media() == "video").ok_or("no video")?;
    session.setup(video, SetupOptions::default().transport(transport)).await?;
    let options = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Ignore)
        .initial_seq(InitialSequenceNumberPolicy::Ignore);
    let mut demuxed = session.play(options).await?.demuxed()?;
    let (mut pictures, mut bytes, mut largest, mut lost, mut errors) = (0, 0, 0, 0, 0);
    let end = tokio::time::Instant::now() + lasts;
    while let Ok(Some(item)) = tokio::time::timeout_at(end, demuxed.next()).await {
        match item {
            Ok(CodecItem::VideoFrame(frame)) => {
                pictures += 1;
                bytes += frame.data().len();
                largest = largest.max(frame.data().len());
                lost += u32::from(frame.loss());
            }
            Ok(_) => {}
            Err(_) => errors += 1,
        }
    }
    Ok(format!(
        "{pictures} pictures, {bytes} bytes, the largest {largest}; {lost} packets lost before \
         pictures, {errors} errors"
    ))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, seconds] = &arguments[..] else { return Err("udp_loss URL SECONDS".into()) };
    let lasts = Duration::from_secs(seconds.parse()?);
    let batch = std::env::var("NVR_BATCH_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(5);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    if batch > 0 {
        builder.on_thread_park(move || std::thread::sleep(Duration::from_millis(batch)));
    }
    let runtime = builder.build()?;
    for (name, transport) in
        [("tcp", Transport::Tcp(Default::default())), ("udp", Transport::Udp(Default::default()))]
    {
        println!("{name}: {}", runtime.block_on(play(url, transport, lasts))?);
    }
    Ok(())
}
