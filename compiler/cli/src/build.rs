//! `onvmc build` and `onvmc verify`.

use std::path::Path;

use onvm_bundle::{Bundle, is_bundle_name};
use onvmc::{
    Inputs, Program,
    artifact::Artifact,
    placement::{Fusion, Placement},
    sources::Sources,
};

use super::{
    Outcome,
    args::{BuildArgs, SourceArgs, VerifyArgs},
    check::compile,
    disk::write_bundle,
    output::Output,
    placement,
};

pub(super) fn run(out: &Output, args: &BuildArgs) -> Outcome {
    let previous = match args.previous.as_deref().map(Bundle::load) {
        None => None,
        Some(Ok(bundle)) => Some(bundle.manager),
        Some(Err(e)) => {
            out.error("previous", &e.to_string());
            return Outcome::Refused;
        }
    };
    if let Some(name) = args.name.as_deref().filter(|n| !is_bundle_name(n)) {
        out.error(
            "name",
            &format!("`{name}` is not a name for a bundle: use up to 64 letters, digits, `-` and `_`"),
        );
        return Outcome::Usage;
    }
    let inputs = Inputs {
        name: args.name.as_deref(),
        previous: previous.as_ref(),
        ..Inputs::default()
    };
    let Some((program, artifact)) = make(out, &args.file, &args.source, &inputs) else {
        return Outcome::Refused;
    };
    if !write(out, &artifact, &args.out) {
        return Outcome::Refused;
    }
    let (dir, index) = (args.out.display(), &artifact.index);
    let placement = args.explain_placement.then(|| Placement::new(&program.manager));
    let fusions = args
        .explain_fusion
        .then(|| Fusion::all(&program.manager, &program.instances));
    if out.json {
        let generation = &index.generation;
        let path = args.out.to_string_lossy();
        let mut result = serde_json::json!({ "version": 1, "bundle": path, "generation": generation });
        if let Some(placement) = placement {
            result["placement"] = serde_json::json!(placement);
        }
        if let Some(fusions) = fusions {
            result["fusions"] = serde_json::json!(fusions);
        }
        out.data_json(&result);
    } else {
        if let Some(placement) = placement {
            out.data(&placement::text(&placement));
        }
        if let Some(fusions) = fusions {
            out.data(&placement::proposals(&fusions));
        }
        out.note(&format!(
            "{dir}: {} files, generation {}",
            index.files.len() + 1,
            &index.generation[..12]
        ));
    }
    Outcome::Done
}

/// Compiles a source to a bundle in memory. None: refused, and said so.
pub(super) fn make(
    out: &Output,
    file: &Path,
    args: &SourceArgs,
    inputs: &Inputs<'_>,
) -> Option<(Program, Artifact)> {
    let checked = compile(out, file, args, inputs)?;
    packed(out, checked.program?, &checked.sources)
}

/// The bundle of a program that has no errors, or none but assertions that do not hold.
pub(super) fn packed(out: &Output, program: Program, sources: &Sources) -> Option<(Program, Artifact)> {
    match Artifact::new(&program, sources) {
        Ok(artifact) => Some((program, artifact)),
        Err(e) => {
            out.error(
                "internal",
                &format!("{e}. This is a fault of onvmc; please report it with the source."),
            );
            None
        }
    }
}

pub(super) fn write(out: &Output, artifact: &Artifact, dir: &Path) -> bool {
    let written = match artifact.index.refuse_large(dir) {
        Ok(()) => write_bundle(artifact, dir).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    if let Err(e) = &written {
        out.error("write", e);
    }
    written.is_ok()
}

pub(super) fn verify(out: &Output, args: &VerifyArgs) -> Outcome {
    match Bundle::load(&args.bundle) {
        Ok(bundle) => {
            let index = &bundle.index;
            if out.json {
                out.data_json(&serde_json::json!({
                    "version": 1, "name": index.name, "generation": index.generation, "files": index.files.len(),
                }));
            } else {
                let files = index.files.len() + 1;
                out.note(&format!(
                    "{}: whole and unchanged, {files} files, generation {}",
                    args.bundle.display(),
                    index.generation
                ));
            }
            Outcome::Done
        }
        Err(e) => {
            out.error("bundle", &e.to_string());
            Outcome::Refused
        }
    }
}
