//! `onvmc graph`.

use std::path::Path;

use onvmc::{
    Inputs,
    graph::{Docs, Format, Graph},
};

use super::{
    Outcome,
    args::{GraphArgs, GraphFormat},
    changes::Side,
    output::Output,
};

pub(super) fn run(out: &Output, args: &GraphArgs) -> Outcome {
    let Some(side) = Side::read(out, &args.target, &args.source, &Inputs::default()) else {
        return Outcome::Refused;
    };
    let sources = side.sources();
    let docs = Docs::new(sources.iter().map(String::as_str));
    let text = Graph::new(side.name(), side.contents(), &docs).render(format(out, args));
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

fn format(out: &Output, args: &GraphArgs) -> Format {
    match args.format {
        Some(GraphFormat::Svg) => Format::Svg,
        Some(GraphFormat::Dot) => Format::Dot,
        Some(GraphFormat::Mermaid) => Format::Mermaid,
        Some(GraphFormat::Json) => Format::Json,
        None if out.json => Format::Json,
        None => by_ending(args.out.as_deref()),
    }
}

fn by_ending(path: Option<&Path>) -> Format {
    match path.and_then(Path::extension).and_then(|e| e.to_str()) {
        Some("dot" | "gv") => Format::Dot,
        Some("mmd" | "mermaid") => Format::Mermaid,
        Some("json") => Format::Json,
        _ => Format::Svg,
    }
}
