//! The text about the word under the cursor.

use std::fmt::Write as _;

use gen_lsp_types::{Contents, Hover, MarkupContent, MarkupKind};
use onvm_bundle::Manifest;
use onvm_lang::syntax::{Decl, DeclKind, PacketProto, Span};

use super::{
    analysis::{Analysis, Declared},
    marks::{Mark, Owner, What},
    reach::Reach,
    traffic::{Entry, entries, looked_up_by, programmed, steered_by},
    view::View,
    ways::{Outputs, Stop, Ways},
};
use crate::{
    diagnostics::explain,
    lower::declare::{manager, ports, services},
    packet,
    resolve::spec::Spec,
    sets::Answer,
};

/// More lines of a declaration than these are left out.
const MAX_LINES: usize = 12;
/// More rules than these are counted.
const MAX_RULES: usize = 8;

pub(super) fn hover(view: &View<'_>) -> Option<Hover> {
    let mark = view.mark();
    let mut parts: Vec<String> = mark.iter().flat_map(|m| of_mark(view, m)).collect();
    if mark.is_none() {
        parts.extend(filter_word(view));
    }
    parts.extend(rule(view));
    parts.extend(codes(view));
    if parts.is_empty() {
        return None;
    }
    Some(Hover {
        contents: Contents::MarkupContent(MarkupContent {
            kind: MarkupKind::Markdown,
            value: parts.join("\n\n---\n\n"),
        }),
        range: mark.map(|m| view.lines.range(m.span)),
    })
}

/// What a word of a filter means. Words of rules that stand for something else are marked.
fn filter_word(view: &View<'_>) -> Option<String> {
    let filters = view.decl().is_some_and(|d| {
        matches!(
            d.kind.node,
            DeclKind::Class(_) | DeclKind::Steer(_) | DeclKind::Assert(_)
        )
    });
    let filters = filters || view.is_rules() || view.in_filter_value();
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (before, behind) = view.text.split_at_checked(view.offset).filter(|_| filters)?;
    let start = before.rfind(|c| !in_word(c)).map_or(0, |at| at + 1);
    let end = behind.find(|c| !in_word(c)).unwrap_or(behind.len());
    let word = view.text.get(start..view.offset + end)?;
    onvm_lang::words::filter_summary(word).map(|summary| format!("`{word}`: {summary}"))
}

fn of_mark(view: &View<'_>, mark: &Mark<'_>) -> Vec<String> {
    let analysis = view.analysis;
    let one = |text: Option<String>| text.into_iter().collect();
    match mark.what {
        What::Name { .. } => match analysis.names().get(mark.text) {
            Some(found) => of_name(view, mark, found),
            None => Vec::new(),
        },
        What::Param { of, .. } => {
            let param = of.params.iter().flatten().find(|p| p.name.node == mark.text);
            let text = param.map(|p| {
                let text = view.text.get(p.name.span.to(p.kind.span).range()).unwrap_or("");
                format!("{}\n\na parameter of the chain `{}`", code(text), of.name.node)
            });
            one(text)
        }
        What::NfType => one(nf_type(analysis, mark.text)),
        What::PortKind => one(port_kind(mark.text)),
        What::InputType | What::Import | What::File => Vec::new(),
        What::Key(owner) => {
            one(setting(analysis, owner, mark.text).map(|(spec, default)| describe(&spec, default)))
        }
        What::Word(owner, key) => {
            one(setting(analysis, owner, key).map(|(spec, default)| describe(&spec, default)))
        }
        What::Output(nf) => one(output(analysis, nf, mark.text)),
        What::Counter(nf) => one(counter(analysis, nf, mark.text)),
    }
}

fn of_name(view: &View<'_>, mark: &Mark<'_>, found: &Declared<'_>) -> Vec<String> {
    let analysis = view.analysis;
    let mut parts = vec![declaration(analysis, found)];
    match &found.decl.kind.node {
        DeclKind::Nf(nf) => parts.extend(analysis.nf_type(&nf.ty.node).map(|t| summary(&t.manifest))),
        DeclKind::Use(_) => parts.extend(nf_type(analysis, mark.text)),
        DeclKind::Class(_) => parts.extend(class(analysis, found)),
        _ => {}
    }
    if matches!(
        found.decl.kind.node,
        DeclKind::Nf(_) | DeclKind::Port(_) | DeclKind::Chain(_)
    ) {
        parts.extend(traffic(view, mark, found));
    }
    parts
}

/// The declaration with its documentation.
pub(super) fn declaration(analysis: &Analysis, found: &Declared<'_>) -> String {
    let text = found.decl.span().text(&analysis.source(found.file).text);
    let doc = doc(found.decl);
    let gap = if doc.is_empty() { "" } else { "\n\n" };
    format!("{}{gap}{doc}", code(text))
}

pub(super) fn doc(decl: &Decl) -> String {
    let lines: Vec<&str> = decl.doc.iter().map(|l| l.node.as_str()).collect();
    lines.join("\n")
}

fn code(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().take(MAX_LINES).collect();
    if text.lines().count() > MAX_LINES {
        lines.push("...");
    }
    format!("```chain\n{}\n```", lines.join("\n"))
}

/// The rules by which packets come to a step, or to any step of a declared name.
fn traffic(view: &View<'_>, mark: &Mark<'_>, found: &Declared<'_>) -> Option<String> {
    let in_path = view
        .decl()
        .is_some_and(|d| matches!(d.kind.node, DeclKind::Chain(_) | DeclKind::Steer(_)));
    let step = matches!(mark.what, What::Name { declares: false }) && in_path;
    let to = |stop| (entries(view.analysis, stop), programmed(view.analysis, stop));
    let here = to(Stop::Step(view.at(mark.span)));
    let (what, (entries, programmed)) = match step && !(here.0.is_empty() && here.1.is_empty()) {
        true => ("step", here),
        false => (kind(found.decl), to(Stop::Named(mark.text))),
    };
    let steered = steered_by(view.analysis, mark.text);
    if entries.is_empty() && programmed.is_empty() && steered.is_empty() {
        let none = format!("No steering rule leads to this {what}.");
        return (!matches!(found.decl.kind.node, DeclKind::Port(_))).then_some(none);
    }
    let mut reach = Reach::new(view.analysis);
    let mut text = format!("Traffic that reaches this {what}:\n");
    for entry in entries.iter().take(MAX_RULES) {
        text.push_str(&line(view.analysis, &mut reach, entry));
    }
    if entries.len() > MAX_RULES {
        let _ = writeln!(text, "- and by {} more rules", entries.len() - MAX_RULES);
    }
    for way in programmed.iter().take(MAX_RULES) {
        let _ = writeln!(
            text,
            "- from `{}`: those of `{}` that `{}` programs to go here{}",
            way.port,
            way.filter,
            way.nf,
            by_outputs(&way.ways)
        );
    }
    if programmed.len() > MAX_RULES {
        let more = programmed.len() - MAX_RULES;
        let _ = writeln!(text, "- and by {more} more ways that NFs may program");
    }
    if !entries.is_empty() || !programmed.is_empty() {
        for nf in looked_up_by(view.analysis) {
            let _ = writeln!(
                text,
                "- packets that these rules take when `{nf}` has them looked up again"
            );
        }
    }
    for nf in steered {
        let _ = writeln!(text, "- packets that `{nf}` steers here");
    }
    Some(text)
}

fn line(analysis: &Analysis, reach: &mut Reach<'_>, entry: &Entry<'_>) -> String {
    let filter = match entry.filter(analysis) {
        Some(filter) => format!("`{filter}`"),
        None => "packets that no other rule takes (`else`)".to_owned(),
    };
    let left = reach.left(entry.file, entry.steer, entry.rule);
    let (port, left) = (&entry.steer.port.node, reach.words(&left));
    format!("- from `{port}`: {filter}; {left}{}\n", by_outputs(&entry.ways))
}

/// The part of a rule's packets that comes to the stop, where some output lies on every way to it.
fn by_outputs(ways: &Ways<'_>) -> String {
    let way = |way: &Outputs<'_>| {
        let parts = way
            .iter()
            .map(|(nf, output)| format!("`{nf}` puts out on `{output}`"));
        parts.collect::<Vec<_>>().join(" and ")
    };
    if ways.known.first().is_some_and(Vec::is_empty) {
        return String::new();
    }
    let mut all: Vec<String> = ways.known.iter().map(way).collect();
    if ways.more {
        all.push("leave by further outputs".to_owned());
    }
    format!("; only packets that {}", all.join(", or that "))
}

/// The packets of the rule whose filter, or `else`, is under the cursor.
fn rule(view: &View<'_>) -> Option<String> {
    let DeclKind::Steer(steer) = &view.decl()?.kind.node else {
        return None;
    };
    let at = Span::new(0, view.offset).end;
    let on = |span: Span| span.start <= at && at <= span.end;
    let rule = steer.rules.iter().find(|r| on(r.matcher.span()))?;
    let mut reach = Reach::new(view.analysis);
    let left = reach.left(view.unit.file, steer, rule);
    Some(format!("What this rule takes: {}", reach.words(&left)))
}

/// A packet of a class.
fn class(analysis: &Analysis, found: &Declared<'_>) -> Option<String> {
    let name = analysis.sources.place(found.file, found.name.span);
    Some(match Reach::new(analysis).of_class(name)? {
        Answer::Yes(packet) => format!("One packet of this class: `{packet}`"),
        Answer::No => "No packet is in this class.".to_owned(),
        Answer::Unknown => "Whether any packet is in this class could not be found out.".to_owned(),
    })
}

fn kind(decl: &Decl) -> &'static str {
    match decl.kind.node {
        DeclKind::Nf(_) => "NF",
        DeclKind::Port(_) => "port",
        _ => "chain",
    }
}

fn summary(manifest: &Manifest) -> String {
    format!("**{}** {}: {}", manifest.name, manifest.version, manifest.summary)
}

/// A type with what can be set and where packets can leave.
pub(super) fn nf_type(analysis: &Analysis, name: &str) -> Option<String> {
    let ty = analysis.nf_type(name)?;
    let mut text = summary(&ty.manifest);
    for (spec, param) in ty.specs.iter().zip(&ty.manifest.params) {
        let _ = write!(
            text,
            "\n- `{}`: {}",
            spec.name,
            facts(spec, param.default.as_deref())
        );
    }
    for output in &ty.manifest.outputs {
        let must = if output.must_handle {
            " (must be handled)"
        } else {
            ""
        };
        let _ = write!(text, "\n- output `{}`{must}: {}", output.name, output.doc);
    }
    Some(text)
}

pub(super) fn port_kind(kind: &str) -> Option<String> {
    let specs = ports::settings(kind)?;
    let lines = specs
        .iter()
        .map(|s| format!("\n- `{}`: {}", s.name, facts(s, None)));
    Some(format!("port kind `{kind}`{}", lines.collect::<String>()))
}

/// A setting, and its default as it is written.
pub(super) fn setting(analysis: &Analysis, owner: Owner<'_>, key: &str) -> Option<(Spec, Option<String>)> {
    let default = match owner {
        Owner::Nf(ty) => {
            let manifest = analysis.nf_type(ty)?.manifest;
            manifest.params.into_iter().find(|p| p.name == key)?.default
        }
        _ => None,
    };
    let spec = settings(analysis, owner).into_iter().find(|s| s.name == key)?;
    Some((spec, default))
}

/// Everything that can be set.
pub(super) fn settings(analysis: &Analysis, owner: Owner<'_>) -> Vec<Spec> {
    match owner {
        Owner::Port(kind) => ports::settings(kind).unwrap_or_default(),
        Owner::Nf(ty) => analysis.nf_type(ty).map(|t| t.specs).unwrap_or_default(),
        Owner::With => services::with_specs(),
        Owner::Manager => manager::specs(),
        Owner::Packet(proto) => PacketProto::from_name(proto).map_or_else(Vec::new, packet::specs),
    }
}

pub(super) fn describe(spec: &Spec, default: Option<String>) -> String {
    format!("`{}`: {}", spec.name, facts(spec, default.as_deref()))
}

/// What it is, and what may be written.
fn facts(spec: &Spec, default: Option<&str>) -> String {
    let mut text = format!("{}: {}", spec.doc.trim_end_matches('.'), spec.wanted());
    let words: Vec<&str> = spec.words.iter().map(AsRef::as_ref).collect();
    if !words.is_empty() && !matches!(spec.kind, crate::resolve::spec::Kind::SizeOrWord) {
        let _ = write!(text, ": {}", crate::diagnostics::one_of(words));
    }
    if let Some(bounds) = spec.bounds() {
        let _ = write!(text, ", {bounds}");
    }
    match default {
        Some(default) => drop(write!(text, "; default `{default}`")),
        None if spec.required => text.push_str("; required"),
        None => {}
    }
    text
}

pub(super) fn output(analysis: &Analysis, nf: &str, name: &str) -> Option<String> {
    let outputs = analysis.type_of_nf(nf)?.manifest.outputs;
    let output = outputs.iter().find(|o| o.name == name)?;
    let must = if output.must_handle {
        ", which must be handled"
    } else {
        ""
    };
    Some(format!("output `{name}` of `{nf}`{must}: {}", output.doc))
}

fn counter(analysis: &Analysis, nf: &str, name: &str) -> Option<String> {
    let counters = analysis.type_of_nf(nf)?.manifest.counters;
    let counter = counters
        .iter()
        .find(|c| crate::lower::claims::names_counter(&c.name, name))?;
    Some(format!("counter `{}` of `{nf}`: {}", counter.name, counter.doc))
}

/// The pages of the diagnostics at the cursor.
fn codes(view: &View<'_>) -> Vec<String> {
    let here = view.at(Span::new(view.offset, view.offset));
    let place = view.analysis.sources.place(here.file, here.span).span();
    let on = |span: Span| span.start <= place.start && place.end <= span.end;
    let found = view.analysis.diagnostics.iter().filter(|d| on(d.span()));
    let mut pages: Vec<_> = found.filter_map(|d| explain(d.code)).collect();
    pages.dedup_by_key(|p| p.code);
    let text = |page: &crate::diagnostics::Page| {
        let first = page.text.split("\n\n").next().unwrap_or("").trim();
        format!(
            "**{}: {}** (`onvmc explain {0}`)\n\n{first}",
            page.code, page.title
        )
    };
    pages.into_iter().map(text).collect()
}
