//! `onvmc test`: every `test` of the sources, path tests on the interpreter and replays on `onvm-run`.

use std::{path::Path, time::Duration};

use onvmc::{
    Checked, Inputs, Program,
    interpret::Interpreter,
    render,
    scenarios::{self, Body, Failure, Test},
    sources::Sources,
};

use super::{
    Outcome, args::TestArgs, check::compile, output::Output, replay, trace::does_not_start, witness,
};

/// Of all files.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    left_out: usize,
    refused: bool,
}

pub(super) fn run(out: &Output, args: &TestArgs) -> Outcome {
    if args.witness {
        return witness::run(out, args);
    }
    let mut tally = Tally::default();
    let mut files = Vec::new();
    for file in &args.files {
        match compile(out, file, &args.source, &Inputs::default()) {
            Some(checked) => files.push(one_file(out, args, file, &checked, &mut tally)),
            None => tally.refused = true,
        }
    }
    let good = tally.failed == 0 && !tally.refused;
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "files": files, "passed": tally.passed, "failed": tally.failed, "left_out": tally.left_out,
        }));
    } else {
        let word = if good { "ok" } else { "FAILED" };
        out.data(&format!(
            "test result: {word}. {} passed; {} failed; {} left out\n",
            tally.passed, tally.failed, tally.left_out
        ));
    }
    match good {
        true => Outcome::Done,
        false => Outcome::Refused,
    }
}

fn one_file(
    out: &Output,
    args: &TestArgs,
    file: &Path,
    checked: &Checked,
    tally: &mut Tally,
) -> serde_json::Value {
    let Some(program) = &checked.program else {
        return serde_json::Value::Null;
    };
    let wanted = |t: &&Test| {
        args.filter
            .as_ref()
            .is_none_or(|text| t.name.contains(text.as_str()))
    };
    let tests: Vec<&Test> = program.tests.iter().filter(wanted).collect();
    tally.left_out += program.tests.len() - tests.len();
    if !out.json {
        let many = super::output::count(tests.len(), "test");
        out.data(&format!("running {many} of {}\n", file.display()));
    }
    let mut failed = Vec::new();
    let mut reports = Vec::new();
    for test in tests {
        let result = judge(out, program, &checked.sources, test, args.limit());
        let passed = matches!(&result, Some(failures) if failures.is_empty());
        match passed {
            true => tally.passed += 1,
            false => tally.failed += 1,
        }
        let word = if passed { "ok" } else { "FAILED" };
        if !out.json {
            out.data(&format!("test {} ... {word}\n", test.name));
        }
        let failures = result.unwrap_or_default();
        reports.push(serde_json::json!({
            "name": test.name, "source": checked.sources.reference_of(test.place.span()), "passed": passed,
            "failures": failures.iter().map(|f| f.report(&checked.sources)).collect::<Vec<_>>(),
        }));
        failed.extend((!failures.is_empty()).then_some((test, failures)));
    }
    if !out.json {
        out.data("\n");
        failed
            .iter()
            .for_each(|(test, failures)| show(out, &checked.sources, test, failures));
    }
    serde_json::json!({ "file": file.to_string_lossy(), "tests": reports })
}

/// The failures. None: the test could not be run, which has been said.
fn judge(
    out: &Output,
    program: &Program,
    sources: &Sources,
    test: &Test,
    limit: Duration,
) -> Option<Vec<Failure>> {
    match &test.body {
        Body::Paths(statements) => match Interpreter::new(program.contents(), &program.files) {
            Ok(mut nfs) => Some(scenarios::run(&mut nfs, sources, statements)),
            Err(e) => {
                does_not_start(out, &e);
                None
            }
        },
        Body::Replay(wanted) => match replay::run(program, sources, wanted, limit) {
            Ok(failures) => Some(failures),
            Err(message) => {
                out.error("replay", &message);
                None
            }
        },
    }
}

fn show(out: &Output, sources: &Sources, test: &Test, failures: &[Failure]) {
    let diagnostics: Vec<_> = failures.iter().map(|f| f.diagnostic.clone()).collect();
    out.data(&format!("---- {}\n", test.name));
    out.data(&render::human(sources, &diagnostics, false, 100));
    out.data("\n");
}
