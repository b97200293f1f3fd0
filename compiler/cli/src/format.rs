//! `onvmc fmt`.

use std::{
    fs,
    io::{Read, stdin},
    path::{Path, PathBuf},
};

use crate::disk::replace_file;

use super::{Outcome, args::FmtArgs, output::Output};

pub(super) fn run(out: &Output, args: &FmtArgs) -> Outcome {
    let mut refused = false;
    let mut changed = Vec::new();
    for file in &args.files {
        let stdin = file == Path::new("-");
        let text = match if stdin {
            read_stdin()
        } else {
            fs::read_to_string(file)
        } {
            Ok(text) => text,
            Err(e) => {
                out.unreadable(file, &e);
                refused = true;
                continue;
            }
        };
        let rules = file.extension().is_some_and(|ending| ending == "rules");
        let format = if rules {
            onvm_lang::format_rules
        } else {
            onvm_lang::format
        };
        match format(&text) {
            Err(found) => {
                let name = if stdin { Path::new("<stdin>") } else { file };
                let (sources, found) = onvmc::diagnostics::of_one_file(name, text, found);
                out.diagnostics(&sources, &found, false);
                refused = true;
            }
            Ok(formatted) if args.check => {
                if formatted != text {
                    changed.push(file);
                    refused = true;
                }
            }
            Ok(formatted) if stdin => out.data(&formatted),
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                if let Err(e) = replace_file(file, formatted.as_bytes()) {
                    out.error("write", &format!("cannot write {}: {e}", file.display()));
                    refused = true;
                } else {
                    changed.push(file);
                }
            }
        }
    }
    tell(out, args, &changed);
    if refused { Outcome::Refused } else { Outcome::Done }
}

/// The files that were laid out anew, or that would be. Standard input has its text for an answer.
fn tell(out: &Output, args: &FmtArgs, changed: &[&PathBuf]) {
    let names = || changed.iter().map(|f| f.display().to_string());
    let to_files = args.files.iter().any(|f| f != Path::new("-"));
    if out.json && (args.check || to_files) {
        let names: Vec<String> = names().collect();
        out.data_json(&serde_json::json!({ "version": 1, "files": args.files.len(), "changed": names }));
    } else if args.check {
        out.data(&names().map(|n| n + "\n").collect::<String>());
    }
}

fn read_stdin() -> std::io::Result<String> {
    let mut text = String::new();
    stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}
