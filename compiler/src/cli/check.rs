//! `onvmc check`, and the compilation that other commands share.

use std::path::Path;

use onvmc::{Checked, Inputs, disk::DiskHost};

use super::{
    Outcome,
    args::{CheckArgs, SourceArgs},
    output::{Output, count},
};

pub(super) fn run(out: &Output, args: &CheckArgs) -> Outcome {
    let mut refused = 0;
    for file in &args.files {
        if compile(out, file, &args.source, &Inputs::default()).is_none() {
            refused += 1;
        }
    }
    if out.json {
        out.data_json(&serde_json::json!({ "version": 1, "files": args.files.len(), "refused": refused }));
    } else if refused == 0 {
        out.note(&format!("{} checked", count(args.files.len(), "file")));
    }
    if refused == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    }
}

/// Checks a source and shows its diagnostics. None: it is refused.
pub(super) fn compile(out: &Output, file: &Path, args: &SourceArgs, inputs: &Inputs<'_>) -> Option<Checked> {
    let inputs = Inputs {
        set: &args.set,
        ..inputs.clone()
    };
    match onvmc::check(&DiskHost, file, &inputs) {
        Err(e) => {
            out.unreadable(file, &e);
            None
        }
        Ok(checked) => {
            let refused = out.diagnostics(&checked.sources, &checked.diagnostics, args.deny_warnings);
            (!refused).then_some(checked)
        }
    }
}
