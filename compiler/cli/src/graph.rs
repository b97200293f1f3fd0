//! `onvmc graph`.

use std::path::Path;

use onvmc::graph::{Docs, Format, Graph};

use super::{
    Outcome,
    args::{GraphArgs, GraphFormat},
    input::Side,
    output::Output,
};

pub(super) fn run(out: &Output, args: &GraphArgs) -> Outcome {
    let Some(format) = format(out, args) else {
        let text = "the ending of --out says no format: end it in .svg, .dot, .gv, .mmd, .mermaid or .json, or add --format";
        out.error("format", text);
        return Outcome::Usage;
    };
    let Some(side) = Side::look(out, &args.target, &args.source) else {
        return Outcome::Refused;
    };
    let sources = side.sources();
    let docs = Docs::new(sources.iter().map(String::as_str));
    let text = Graph::new(side.name(), side.contents(), &docs).render(format);
    let Some(path) = &args.out else {
        out.data(&text);
        return Outcome::Done;
    };
    match std::fs::write(path, text) {
        Ok(()) => Outcome::Done,
        Err(e) => {
            out.error(
                "write",
                &format!(
                    "{}: {e}. Check that the directory exists and can be written.",
                    path.display()
                ),
            );
            Outcome::Refused
        }
    }
}

/// None: nobody knows.
fn format(out: &Output, args: &GraphArgs) -> Option<Format> {
    Some(match args.format {
        Some(GraphFormat::Svg) => Format::Svg,
        Some(GraphFormat::Dot) => Format::Dot,
        Some(GraphFormat::Mermaid) => Format::Mermaid,
        Some(GraphFormat::Json) => Format::Json,
        None if out.json => Format::Json,
        None => return by_ending(args.out.as_deref()),
    })
}

fn by_ending(path: Option<&Path>) -> Option<Format> {
    let Some(ending) = path.and_then(Path::extension) else {
        return Some(Format::Svg);
    };
    match ending.to_str()? {
        "svg" => Some(Format::Svg),
        "dot" | "gv" => Some(Format::Dot),
        "mmd" | "mermaid" => Some(Format::Mermaid),
        "json" => Some(Format::Json),
        _ => None,
    }
}
