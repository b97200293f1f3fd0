//! Refusals of a standard NF at its start, found here: its own code reads its parameters.

use nflib::{FileMistake, FileSpan, ParamsError, SetupError};
use onvm_bundle::InstanceConfig;
use onvm_lang::{Diagnostic, syntax::Span};

use crate::{
    diagnostics::refused_parameter::{in_file, refused},
    interpret::of_instance,
    resolve::{assets::Assets, values::Settings},
    source::{
        context::{Context, Elsewhere},
        sources::Place,
    },
};

/// Reports everything that the NF says against its parameters, which stand at `place` where they have no place of their own.
/// Of parameters that were refused before, nothing is said again.
pub(crate) fn report(
    cx: &Context<'_>,
    assets: &Assets,
    config: &InstanceConfig,
    place: Place,
    settings: &Settings,
) {
    let Some((standard, params)) = of_instance(config, &assets.files) else {
        return;
    };
    let Err(reason) = (standard.check)(&params) else {
        return;
    };
    let (nf, ty) = (config.service.as_str(), standard.name);
    let place = |param: &str| settings.places.get(param).copied().unwrap_or(place);
    match reason {
        SetupError::Params(ParamsError::File { name, mistakes }) => {
            let bundled = config
                .params
                .get(&name)
                .and_then(|value| value.get("file")?.as_str());
            let origin = bundled.and_then(|bundled| {
                let content = assets.files.get(bundled)?;
                Some((assets.origins.get(bundled)?, content))
            });
            let Some((path, content)) = origin else {
                cx.report(refused(place(&name), nf, ty, &mistakes.to_string()));
                return;
            };
            let text = String::from_utf8_lossy(content).into_owned();
            let found = mistakes.mistakes.iter();
            let found = found.map(|mistake| diagnostic(&text, mistake, ty)).collect();
            let path = path.clone();
            cx.report_elsewhere(Elsewhere { path, text, found });
        }
        _ if !settings.complete => {}
        SetupError::Params(ParamsError::Value { name, reason }) => {
            cx.report(refused(place(&name), nf, ty, &reason));
        }
        other => cx.report(refused(place(""), nf, ty, &other.to_string())),
    }
}

fn diagnostic(text: &str, mistake: &FileMistake, ty: &str) -> Diagnostic {
    let span = mistake.at.map_or(Span::default(), |at| span(text, at));
    let found = in_file(span, ty, &mistake.message);
    match &mistake.help {
        Some(help) => found.help(help),
        None => found,
    }
}

/// Where that is in the text.
fn span(text: &str, at: FileSpan) -> Span {
    let FileSpan { line, column, length } = at;
    let mut before = text.split_inclusive('\n');
    let start: usize = before.by_ref().take(line.saturating_sub(1)).map(str::len).sum();
    let line = before
        .next()
        .map_or("", |line| line.trim_end_matches(['\n', '\r']));
    let byte = |character: usize| {
        let mut characters = line.char_indices();
        start + characters.nth(character).map_or(line.len(), |(byte, _)| byte)
    };
    let from = column.saturating_sub(1);
    Span::new(byte(from), byte(from + length))
}
