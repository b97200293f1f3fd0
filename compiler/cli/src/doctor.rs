//! `onvmc doctor`.

use onvmc::doctor::{Check, Options, State, Subject, examine};

use super::{
    Outcome,
    args::DoctorArgs,
    input::Side,
    machine::ThisMachine,
    output::{Output, count},
};

pub(super) fn run(out: &Output, args: &DoctorArgs) -> Outcome {
    let side = match args
        .target
        .as_deref()
        .map(|target| Side::look(out, target, &args.source))
    {
        None => None,
        Some(None) => return Outcome::Refused,
        Some(side) => side,
    };
    let subject = side.as_ref().map(|side| Subject {
        name: side.name(),
        manager: side.contents().manager,
        instances: side.contents().instances,
        secrets: side.secrets(),
    });
    let options = Options {
        run_dir: args.run_dir.clone().unwrap_or_else(onvm_api::default_run_dir),
        secrets: args.secrets.clone(),
        nf_path: args.nf_path.clone(),
    };
    let checks = examine(&ThisMachine, subject, &options);
    let number = |state| checks.iter().filter(|c| c.state == state).count();
    let (failed, warnings) = (number(State::Failed), number(State::Warning));
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "name": subject.map(|s| s.name), "failed": failed, "warnings": warnings, "checks": checks,
        }));
    } else {
        out.data(&text(&checks));
        out.note(&format!(
            "{}: {failed} failed, {}",
            count(checks.len(), "check"),
            count(warnings, "warning")
        ));
    }
    if failed == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    }
}

/// A line for each check, and below it what fixes it.
fn text(checks: &[Check]) -> String {
    let width = checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
    let line = |check: &Check| {
        let word = match check.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
        };
        let fix = check.fix.as_deref().map_or_else(String::new, |fix| {
            format!("{:<9}{:<width$}  fix: {}\n", "", "", printable(fix))
        });
        format!(
            "{word:<9}{:<width$}  {}\n{fix}",
            printable(&check.name),
            printable(&check.found)
        )
    };
    checks.iter().map(line).collect()
}

/// Names come from sources and messages from other programs: nothing in them may move the cursor.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mends_it_stands_below() {
        let check = |name: &str, state, fix: Option<&str>| Check {
            name: name.into(),
            state,
            found: "found\u{1b}[31m".into(),
            fix: fix.map(str::to_owned),
        };
        let checks = [
            check("cores", State::Ok, None),
            check("huge pages", State::Failed, Some("echo 1")),
        ];
        assert_eq!(
            text(&checks),
            "ok       cores       found [31m\nfailed   huge pages  found [31m\n                     fix: echo 1\n"
        );
    }
}
