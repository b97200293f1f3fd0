//! Counts the instructions of a hop under callgrind and compares them with the committed baseline.

#![forbid(unsafe_code)]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use onvm_benches::{
    BenchError,
    instructions::{
        self,
        course::{COURSES, MAX_BURSTS},
    },
};

/// Count instructions per descriptor under callgrind and compare them with the baseline
#[derive(Debug, Parser)]
struct Arguments {
    /// The baseline file
    #[arg(long, value_name = "FILE", default_value = instructions::BASELINE)]
    baseline: PathBuf,
    /// Write the baseline from what is counted now
    #[arg(long)]
    bless: bool,
    /// Only run this course, uncounted: what callgrind is given
    #[arg(long, requires = "bursts", conflicts_with = "bless")]
    course: Option<String>,
    /// Bursts to run the course with
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_BURSTS)))]
    bursts: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), BenchError> {
    match (&arguments.course, arguments.bursts) {
        (Some(name), Some(bursts)) => {
            let course = COURSES.iter().find(|c| c.name == name);
            (course
                .ok_or(BenchError::Needs("the name of a course, as `ring`"))?
                .run)(bursts)
        }
        _ if arguments.bless => instructions::bless(&arguments.baseline),
        _ => instructions::check(&arguments.baseline),
    }
}
