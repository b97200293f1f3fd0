//! DPDK's own forwarder, `dpdk-testpmd`, between two null ports: what the machine can do at most with the same drivers.

use std::{
    io::{Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{BenchError, host::HugePages};

/// What it does with each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sends it on unread.
    Io,
    /// Writes its Ethernet addresses.
    Mac,
}

const PROMPT: &str = "testpmd> ";

struct Testpmd {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Packets a second of 64 bytes from one null port to another, forwarded by the first of the cores.
pub fn rate(
    mode: Mode,
    cores: [usize; 2],
    pages: &HugePages,
    warm_up: Duration,
    measured: Duration,
) -> Result<f64, BenchError> {
    let mut testpmd = start(mode, cores, pages)?;
    ask(&mut testpmd, "")?;
    ask(&mut testpmd, "start\n")?;
    thread::sleep(warm_up);
    let mut sent = || {
        let answer = ask(&mut testpmd, "show port stats 1\n")?;
        sent_packets(&answer)
            .map(|packets| (packets, Instant::now()))
            .ok_or(BenchError::Needs("a count of packets from dpdk-testpmd"))
    };
    let (before, began) = sent()?;
    thread::sleep(measured);
    let (after, ended) = sent()?;
    Ok((after - before) as f64 / (ended - began).as_secs_f64())
}

fn start(mode: Mode, [worker, other]: [usize; 2], pages: &HugePages) -> Result<Testpmd, BenchError> {
    // Into a pipe it would answer when 4 KiB are full.
    let mut command = Command::new("stdbuf");
    command.args(["-o0", "dpdk-testpmd", "-l"]);
    command.arg(format!("{worker},{other}"));
    command.args(["--main-lcore", &other.to_string(), "--no-pci", "--in-memory"]);
    command.args([
        "--vdev",
        "net_null0,size=64",
        "--vdev",
        "net_null1,size=64,no-rx=1",
    ]);
    if pages.there == 0 {
        command.args(["--no-huge", "-m", "256"]);
    }
    let mode = match mode {
        Mode::Io => "io",
        Mode::Mac => "mac",
    };
    command.args(["--", "-i", "--nb-cores=1", "--total-num-mbufs=16384"]);
    command.arg(format!("--forward-mode={mode}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(BenchError::system("stdbuf cannot be started"))?;
    let missing = BenchError::Needs("pipes to dpdk-testpmd");
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok(Testpmd { child, input, output }),
        _ => Err(missing),
    }
}

/// What it says to a command, until it waits for the next.
fn ask(testpmd: &mut Testpmd, command: &str) -> Result<String, BenchError> {
    let failed = || BenchError::system("talking to dpdk-testpmd");
    testpmd.input.write_all(command.as_bytes()).map_err(failed())?;
    let (mut said, mut piece) = (String::new(), [0; 4096]);
    while !said.ends_with(PROMPT) {
        let n = testpmd.output.read(&mut piece).map_err(failed())?;
        said += &String::from_utf8_lossy(&piece[..n]);
        if n == 0 {
            let text = "`dpdk-testpmd`, which ended early (Debian has it in the package dpdk-dev; run it by hand to see why)";
            return Err(BenchError::Needs(text));
        }
    }
    Ok(said)
}

fn sent_packets(answer: &str) -> Option<u64> {
    let (_, after) = answer.split_once("TX-packets:")?;
    after.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_its_table() {
        let answer = "\n  ### NIC statistics for port 1  ###\n  RX-packets: 7          RX-missed: 0\n  TX-packets: 183699776  TX-errors: 0\n";
        assert_eq!(sent_packets(answer), Some(183_699_776));
        assert_eq!(sent_packets("Invalid port 1\n"), None);
    }
}
