//! `onvmc fmt`.

use std::{
    fs,
    io::{Read, stdin},
    path::Path,
};

use onvmc::disk::replace_file;

use super::{Outcome, args::FmtArgs, output::Output};

pub(super) fn run(out: &Output, args: &FmtArgs) -> Outcome {
    let mut refused = false;
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
        match onvm_lang::format(&text) {
            Err(found) => {
                let name = if stdin { Path::new("<stdin>") } else { file };
                let (sources, found) = onvmc::diagnostics::of_one_file(name, text, found);
                out.diagnostics(&sources, &found, false);
                refused = true;
            }
            Ok(formatted) if args.check => {
                if formatted != text {
                    out.data(&format!("{}\n", file.display()));
                    refused = true;
                }
            }
            Ok(formatted) if stdin => out.data(&formatted),
            Ok(formatted) if formatted == text => {}
            Ok(formatted) => {
                if let Err(e) = replace_file(file, formatted.as_bytes()) {
                    out.error("write", &format!("cannot write {}: {e}", file.display()));
                    refused = true;
                }
            }
        }
    }
    if refused { Outcome::Refused } else { Outcome::Done }
}

fn read_stdin() -> std::io::Result<String> {
    let mut text = String::new();
    stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}
