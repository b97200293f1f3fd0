//! `onvmc check`, and the compilation that other commands share.

use std::path::Path;

use onvmc::{Checked, Inputs, Program, Proof, placement::Placement, sources::Sources};

use super::{
    Outcome,
    args::{CheckArgs, SourceArgs},
    disk::DiskHost,
    output::{Output, count},
    placement,
};

pub(super) fn run(out: &Output, args: &CheckArgs) -> Outcome {
    let mut refused = 0;
    let mut proofs = Vec::new();
    let mut placements = Vec::new();
    for file in &args.files {
        let inputs = Inputs {
            overlaps: args.overlaps,
            ..Inputs::default()
        };
        match compile(out, file, &args.source, &inputs) {
            None => refused += 1,
            Some(checked) => {
                proofs.extend(checked.proofs);
                let placement = checked.program.map(|p| Placement::new(&p.manager));
                placements.extend(placement.filter(|_| args.explain_placement).map(|p| (file, p)));
            }
        }
    }
    if out.json {
        let mut result = serde_json::json!({ "version": 1, "files": args.files.len(), "refused": refused, "proved": proofs.len() });
        result["proofs"] = proofs.iter().map(proof).collect();
        if args.explain_placement {
            let named = placements
                .iter()
                .map(|(file, p)| serde_json::json!({ "file": file.to_string_lossy(), "placement": p }));
            result["placements"] = named.collect();
        }
        out.data_json(&result);
    } else {
        for (n, (file, placement)) in placements.iter().enumerate() {
            if args.files.len() > 1 {
                let gap = if n > 0 { "\n" } else { "" };
                out.data(&format!("{gap}{}\n\n", file.display()));
            }
            out.data(&placement::text(placement));
        }
        if args.verbose {
            proofs.iter().for_each(|proof| out.data(&line(proof)));
        }
        if refused == 0 {
            let proved = match proofs.len() {
                0 => String::new(),
                n => format!(", {} proved", count(n, "assertion")),
            };
            out.note(&format!("{} checked{proved}", count(args.files.len(), "file")));
        }
    }
    if refused == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    }
}

fn proof(proof: &Proof) -> serde_json::Value {
    serde_json::json!({
        "source": proof.source,
        "assertion": proof.text,
        "rests_on": proof.rests_on,
    })
}

/// `edge.chain:12:18: proved: wan: tcp never reaches lan (by the rules of `fw`)`
fn line(
    Proof {
        source,
        text,
        rests_on,
    }: &Proof,
) -> String {
    let names: Vec<String> = rests_on.iter().map(|nf| format!("`{nf}`")).collect();
    let by = match names.as_slice() {
        [] => String::new(),
        names => format!(" (by the rules of {})", names.join(" and ")),
    };
    format!("{}: proved: {text}{by}\n", source.0)
}

/// Checks a source and shows its diagnostics. None: it is refused.
pub(super) fn compile(out: &Output, file: &Path, args: &SourceArgs, inputs: &Inputs<'_>) -> Option<Checked> {
    let (checked, refused) = report(out, file, args, inputs)?;
    (!refused).then_some(checked)
}

/// The same, for a program that is shown and not run: an assertion that does not hold is shown, and refuses nothing.
pub(super) fn look(
    out: &Output,
    file: &Path,
    args: &SourceArgs,
    inputs: &Inputs<'_>,
) -> Option<(Program, Sources)> {
    let (checked, refused) = report(out, file, args, inputs)?;
    let program = match refused {
        true => checked.refuted.filter(|_| !args.deny_warnings),
        false => checked.program,
    };
    Some((program?, checked.sources))
}

/// Checks a source and shows its diagnostics; whether it is refused.
fn report(out: &Output, file: &Path, args: &SourceArgs, inputs: &Inputs<'_>) -> Option<(Checked, bool)> {
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
            Some((checked, refused))
        }
    }
}
