//! `--set NAME=VALUE`.

use std::collections::{HashMap, HashSet};

use onvm_bundle::ParamKind;
use onvm_lang::syntax::{Span, Spanned, Value};

use crate::{
    diagnostics::{bad_override, closest, duplicate_name, unknown_type, wrong_value_type},
    resolve::{
        names::{Item, Names},
        notation::parse_value,
        spec::Spec,
    },
    source::{
        context::Context,
        load::Unit,
        sources::{COMMAND_LINE, FileId, Place, Sources},
    },
};

/// The types that a `param` can have.
pub(crate) const TYPES: &[(&str, ParamKind)] = &[
    ("bool", ParamKind::Bool),
    ("int", ParamKind::Int),
    ("decimal", ParamKind::Decimal),
    ("string", ParamKind::String),
    ("file", ParamKind::File),
    ("secret", ParamKind::Secret),
    ("time", ParamKind::Time),
    ("size", ParamKind::Size),
    ("bit_rate", ParamKind::BitRate),
    ("packet_rate", ParamKind::PacketRate),
    ("address", ParamKind::Address),
    ("prefix", ParamKind::Prefix),
    ("mac", ParamKind::Mac),
    ("endpoint", ParamKind::Endpoint),
];

/// The values from the command line, by the name of the `param`.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    given: HashMap<String, (FileId, Spanned<Value>)>,
    failed: HashSet<String>,
}

/// The command line as a source file; call before anything borrows the sources.
pub(crate) fn add_command_line(sources: &mut Sources, set: &[(String, String)]) -> Option<FileId> {
    let lines: Vec<String> = set
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    let text = lines.concat();
    (!set.is_empty()).then(|| sources.add(std::path::Path::new(COMMAND_LINE), COMMAND_LINE.to_owned(), text))
}

impl Overrides {
    pub(crate) fn read(
        cx: &Context<'_>,
        names: &Names<'_>,
        units: &[Unit],
        file: Option<FileId>,
        set: &[(String, String)],
    ) -> Self {
        let mut read = Self::default();
        let Some(file) = file else { return read };
        let mut at = 0;
        let mut places: HashMap<&str, Place> = HashMap::new();
        for (name, text) in set {
            let name_span = Span::new(at, at + name.len());
            let span = Span::new(at + name.len() + 1, at + name.len() + 1 + text.len());
            at = span.end as usize + 1;
            let place = cx.place(file, name_span);
            if let Some(first) = places.insert(name, place) {
                cx.report(duplicate_name::duplicate_name(place, name, first));
                continue;
            }
            let Some(Item::Param(param)) = names.declared(name).map(|s| s.item) else {
                let close = closest(name, inputs(units));
                cx.report(bad_override::no_such_input(place, name, close));
                continue;
            };
            let string = param.ty.name.node == "string" && !param.ty.list;
            match read_value(text, string, span) {
                Some(value) => drop(read.given.insert(name.clone(), (file, Spanned::new(value, span)))),
                None => {
                    cx.report(bad_override::unreadable_override(cx.place(file, span), name));
                    read.failed.insert(name.clone());
                }
            }
        }
        read
    }

    pub(crate) fn get(&self, name: &str) -> Option<(FileId, &Spanned<Value>)> {
        self.given.get(name).map(|(file, value)| (*file, value))
    }

    /// A value was given and could not be read.
    pub(crate) fn failed(&self, name: &str) -> bool {
        self.failed.contains(name)
    }
}

/// A value from the command line; a string may stand there without quotes. None: it is not a value of the language.
pub(crate) fn read_value(text: &str, is_string: bool, span: Span) -> Option<Value> {
    let value = match parse_value(text) {
        Some(Value::Str(text)) => Some(Value::Str(text)),
        _ if is_string => Some(Value::Str(text.to_owned())),
        other => other,
    };
    value.map(|value| at_place(value, span))
}

/// Gives every part of a value the one span that it has on the command line.
fn at_place(value: Value, span: Span) -> Value {
    match value {
        Value::List(items) => Value::List(
            items
                .into_iter()
                .map(|i| Spanned::new(at_place(i.node, span), span))
                .collect(),
        ),
        Value::Ref(name) => Value::Ref(Spanned::new(name.node, span)),
        other => other,
    }
}

fn inputs(units: &[Unit]) -> impl Iterator<Item = &str> {
    units
        .iter()
        .flat_map(|u| &u.tree.decls)
        .filter_map(|d| match &d.kind.node {
            onvm_lang::syntax::DeclKind::Param(p) => Some(p.name.node.as_str()),
            _ => None,
        })
}

/// The spec of a `param`'s declared type. None: reported.
pub(crate) fn input_spec(cx: &Context<'_>, file: FileId, param: &onvm_lang::syntax::Param) -> Option<Spec> {
    let ty = &param.ty.name;
    match TYPES.iter().find(|(name, _)| *name == ty.node) {
        Some((_, kind)) => {
            let mut spec = Spec::plain("", *kind, "").list_if(param.ty.list);
            spec.name = param.name.node.clone().into();
            Some(spec)
        }
        None => {
            let known = TYPES.iter().map(|(name, _)| *name);
            let close = closest(&ty.node, known.clone());
            let place = cx.place(file, ty.span);
            let known: Vec<_> = known.collect();
            cx.report(unknown_type::unknown_type(
                place,
                "type",
                &ty.node,
                close,
                &known.join(", "),
            ));
            None
        }
    }
}

/// A constant must be a value that something could take.
pub(crate) fn refuse_record(cx: &Context<'_>, file: FileId, name: &str, value: &Spanned<Value>) {
    if matches!(value.node, Value::Record(_)) {
        let place = cx.place(file, value.span);
        cx.report(wrong_value_type::wrong_value_type(
            place,
            name,
            "a value or a list",
            "a record",
            None,
        ));
    }
}
