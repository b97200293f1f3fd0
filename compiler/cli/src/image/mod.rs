//! `onvmc image`: a container image that holds one static program and nothing else.
//!
//! Made here and not by an engine, so that it needs none, and so that the same program gives the same bytes.

mod archive;
mod engine;
mod name;
mod program;

use std::{fs, io::Write, path::Path};

use serde_json::json;

use super::{
    Outcome,
    args::{ImageArgs, ImageFormat},
    output::Output,
};
use archive::Image;
use name::Name;
use program::Program;

/// What keeps an image from being made or used: the code for programs, and the message.
type Refusal = (&'static str, String);

pub(super) fn run(out: &Output, args: &ImageArgs) -> Outcome {
    match make(args) {
        Ok(made) => {
            report(out, &made);
            Outcome::Done
        }
        Err((code, message)) => {
            out.error(code, &message);
            match code {
                "tag" => Outcome::Usage,
                "engine" => Outcome::NoRuntime,
                _ => Outcome::Refused,
            }
        }
    }
}

struct Made {
    program: Program,
    image: Image,
    names: [Name; 2],
    /// Which engine has it; none: it was written to a file.
    engine: Option<&'static str>,
    archive: Option<String>,
}

fn make(args: &ImageArgs) -> Result<Made, Refusal> {
    let program = program::find(args.binary.as_deref())?;
    let name = match &args.tag {
        Some(text) => name::parse(text)?,
        None => name::of_standard_nfs(&program)?,
    };
    let image = archive::image(&program).map_err(|e| ("internal", unexpected(&e)))?;
    let names = [name.with_content(&image.id), name];
    let format = args.format.unwrap_or(ImageFormat::Docker);
    let bytes = archive::archive(&image, &names, format).map_err(|e| ("internal", unexpected(&e)))?;
    let (engine, archive) = match &args.out {
        Some(path) => {
            write(path, &bytes)?;
            (None, Some(path.to_string_lossy().into_owned()))
        }
        None => (Some(engine::load(&bytes)?), None),
    };
    Ok(Made {
        program,
        image,
        names,
        engine,
        archive,
    })
}

/// Beside it first, so that an archive is whole or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty());
    let write = || {
        let mut file = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(dir.unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    // A device or a pipe is written as it is.
    let special = fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
    let written: std::io::Result<()> = if special { fs::write(path, bytes) } else { write() };
    let refusal = |e| {
        let path = path.display();
        (
            "write",
            format!("cannot write {path}: {e}. Check that its directory exists and can be written."),
        )
    };
    written.map_err(refusal)
}

fn unexpected(e: &std::io::Error) -> String {
    format!("the image cannot be put together: {e}. This is a fault of onvmc; please report it.")
}

/// The name that means this very image goes to stdout, for scripts.
fn report(out: &Output, made: &Made) {
    let [exact, plain] = &made.names;
    let program = made.program.path.display();
    if out.json {
        return out.data_json(&json!({
            "version": 1,
            "id": made.image.id,
            "digest": made.image.manifest.digest,
            "tags": [exact.to_string(), plain.to_string()],
            "binary": made.program.path.to_string_lossy(),
            "engine": made.engine,
            "archive": made.archive,
        }));
    }
    let place = match (&made.engine, &made.archive) {
        (Some(engine), _) => format!("loaded into {engine}"),
        (None, Some(path)) => format!("written to {path}"),
        (None, None) => return,
    };
    out.note(&format!("{program} as {plain}: {place}"));
    out.data(&format!("{exact}\n"));
}
