//! `onvm-bench`: runs the benchmarks and writes their figures and a report.

#![forbid(unsafe_code)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Parser, ValueEnum};
use onvm_benches::{
    BenchError, Effort, chain_length, compiler, containers, flow_director, fused,
    host::Host,
    http_mix, idle, instructions, language_server, latency, nf_loss, nf_start, port_to_port, report,
    results::{Record, Results},
    rules,
};

/// Run the benchmarks; write results.json and report.html
#[derive(Debug, Parser)]
#[command(name = "onvm-bench", version)]
struct Arguments {
    /// Which to run [default: all]
    #[arg(value_enum)]
    benchmarks: Vec<Benchmark>,
    /// A subset in under two minutes
    #[arg(long)]
    quick: bool,
    /// Times that everything compared is repeated
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repetitions: u32,
    /// Where results.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// The baseline of the instruction counts
    #[arg(long, value_name = "FILE", default_value = instructions::BASELINE)]
    baseline: PathBuf,
    /// Exit with 1 when a goal is missed
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Benchmark {
    /// Port to port, beside dpdk-testpmd
    B0,
    /// Chain length against the bare ring
    B1,
    /// Flow director: default chain, known flows, new flows
    B2,
    /// Latency through one NF, alone and at half load
    B3,
    /// Web traffic in gigabits a second for each worker core
    B4,
    /// Start of an NF process to its first packet
    B5,
    /// Compiler: time and memory by number of rules
    B7,
    /// Loss of an NF: time, packets, buffers
    B8,
    /// Language server: from a keystroke to its diagnostics
    B9,
    /// NFs that share a process, beside the same apart
    Fused,
    /// NFs in containers: start, edit, packets a second (needs a container engine)
    Containers,
    /// New flows against N steering rules
    Rules,
    /// Processor time of an idle system
    Idle,
    /// Instructions per descriptor against the baseline (needs valgrind)
    Instructions,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether everything could be measured and, if that is asked for, every goal was met.
fn run(arguments: &Arguments) -> Result<bool, BenchError> {
    let chosen = match arguments.benchmarks.as_slice() {
        [] => Benchmark::value_variants(),
        some => some,
    };
    let host = Host::look();
    let mut records = Vec::new();
    for &benchmark in chosen {
        let record = measure(benchmark, arguments, &host);
        println!("{record}");
        records.push(record);
    }
    let good = |r: &Record| r.failure.is_none() && (!arguments.strict || r.goals.iter().all(|g| g.met));
    let all_good = records.iter().all(good);
    let results = Results {
        host,
        quick: arguments.quick,
        taken_at: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs()),
        records,
    };
    write(&arguments.out, &results)?;
    Ok(all_good)
}

/// A benchmark that cannot be run does not keep the others from running.
fn measure(benchmark: Benchmark, arguments: &Arguments, host: &Host) -> Record {
    let effort = Effort {
        quick: arguments.quick,
        repetitions: arguments.repetitions,
    };
    let (id, outcome) = match benchmark {
        Benchmark::B0 => (port_to_port::ID, port_to_port::run(effort)),
        Benchmark::B1 => (chain_length::ID, chain_length::run(effort, host)),
        Benchmark::Fused => (fused::ID, fused::run(effort)),
        Benchmark::B2 => (flow_director::ID, flow_director::run(effort)),
        Benchmark::B3 => (latency::ID, latency::run(effort, host)),
        Benchmark::B4 => (http_mix::ID, http_mix::run(effort)),
        Benchmark::B5 => (nf_start::ID, nf_start::run()),
        Benchmark::B7 => (compiler::ID, compiler::run(effort)),
        Benchmark::B8 => (nf_loss::ID, nf_loss::run(effort)),
        Benchmark::B9 => (language_server::ID, language_server::run(effort)),
        Benchmark::Containers => (containers::ID, containers::run(effort)),
        Benchmark::Rules => (rules::ID, rules::run(effort)),
        Benchmark::Idle => (idle::ID, idle::run(effort)),
        Benchmark::Instructions => (instructions::ID, instructions::run(&arguments.baseline)),
    };
    outcome.unwrap_or_else(|e| {
        let mut record = Record::new(id, "not measured", "", "");
        record.failure = Some(e.to_string());
        record
    })
}

fn write(out: &Path, results: &Results) -> Result<(), BenchError> {
    let system = |path: &Path| {
        let what = path.display().to_string();
        move |source| BenchError::System { what, source }
    };
    std::fs::create_dir_all(out).map_err(system(out))?;
    let (json, html) = (out.join("results.json"), out.join("report.html"));
    let text = serde_json::to_string_pretty(results).map_err(|e| system(&json)(e.into()))?;
    std::fs::write(&json, text + "\n").map_err(system(&json))?;
    std::fs::write(&html, report::html(results)).map_err(system(&html))?;
    eprintln!("written: {} and {}", json.display(), html.display());
    Ok(())
}
