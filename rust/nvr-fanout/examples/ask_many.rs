//! Asks many nodes at once for nothing but who they are, and tells the CPU time that it takes.
//! Standard input: a JSON-like list of addresses, as `benches.federation leaves` prints it.

use std::time::{Duration, Instant};

use nvr_fanout::{Ask, Client, Config};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    std::io::stdin().read_line(&mut text)?;
    let addresses = text.trim().trim_matches(['[', ']']).split(", ").map(|a| a.trim_matches('"'));
    let client = Client::new(Config::default())?;
    let mut peers = Vec::new();
    for address in addresses {
        peers.push(client.add_peer(address.parse()?, None));
    }
    for round in 0..8 {
        let (before, started) = (cpu(), Instant::now());
        client.ask(Ask {
            path: "/nvr.v1.NodeService/GetNode".to_owned(),
            metadata: Vec::new(),
            timeout: Duration::from_secs(5),
            most_messages: 10,
            requests: peers.iter().map(|peer| (*peer, Vec::new())).collect(),
        })?;
        let (mut ended, mut good, mut wakes) = (0, 0, 0);
        while ended < peers.len() {
            let mut poll = [rustix::event::PollFd::from_borrowed_fd(
                client.notify_fd(),
                rustix::event::PollFlags::IN,
            )];
            rustix::event::poll(&mut poll, None)?;
            wakes += 1;
            for answer in client.take() {
                if let Some(end) = answer.ended {
                    ended += 1;
                    good += usize::from(end.status.code == 0);
                }
            }
        }
        println!(
            "round {round}: {good} of {ended} answered, {wakes} wakes, {:.1} ms of CPU in {:.1} ms",
            (cpu() - before).as_secs_f64() * 1e3,
            started.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// CPU time of this process.
fn cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
