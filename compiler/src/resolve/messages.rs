//! The fields of a message as an operator writes them on the command line: read as settings are.

use std::path::Path;

use onvm_bundle::MessageKind;
use onvm_lang::{
    Diagnostic,
    syntax::{Field, Record, RecordFields, Span, Spanned},
};
use serde_json::{Map, Value};

use crate::{
    diagnostics::{bad_override, closest},
    resolve::{
        names::Names,
        overrides::{Overrides, read_value},
        spec::Spec,
        values::Values,
    },
    source::{
        context::{Context, in_order},
        host::MemoryHost,
        sources::{MESSAGE, Sources},
    },
};

/// What was written, for messages that point into it, and its mistakes.
#[derive(Debug)]
pub struct Mistakes {
    pub sources: Sources,
    pub found: Vec<Diagnostic>,
}

/// Reads `name=value ...`, each value in the source's notation, as the fields of a message.
///
/// # Errors
/// All mistakes in it.
pub fn fields(kind: &MessageKind, given: &[(String, String)]) -> Result<Map<String, Value>, Mistakes> {
    let mut sources = Sources::default();
    let lines = given.iter().map(|(name, value)| format!("\n{name}={value}"));
    let text = kind.name.clone() + &lines.collect::<String>();
    let file = sources.add(Path::new(MESSAGE), MESSAGE.to_owned(), text);
    // What cannot be read has been reported where the manifest was.
    let specs: Vec<Spec> = kind
        .fields
        .iter()
        .filter_map(|field| Spec::from_param(field).ok())
        .collect();
    let host = MemoryHost::default();
    let (settings, found) = {
        let cx = Context::new(&sources, &host, Vec::new());
        let (names, overrides) = (Names::collect(&cx, &[]), Overrides::default());
        let (mut record, mut at) = (RecordFields { fields: Vec::new() }, kind.name.len());
        let mut unread = false;
        for (name, value) in given {
            let name_span = Span::new(at + 1, at + 1 + name.len());
            let span = Span::new(at + 2 + name.len(), at + 2 + name.len() + value.len());
            at = span.end as usize;
            let is_string = kind.fields.iter().any(|field| {
                field.name == *name && field.kind == onvm_bundle::ParamKind::String && !field.list
            });
            match read_value(value, is_string, span) {
                Some(value) => record.fields.push(Field {
                    name: Spanned::new(name.clone(), name_span),
                    value: Spanned::new(value, span),
                }),
                None => {
                    unread = true;
                    cx.report(bad_override::unreadable_field(cx.place(file, span), name));
                }
            }
        }
        let head = cx.place(file, Span::new(0, kind.name.len()));
        let owner = format!("message `{}`", kind.name);
        let values = Values::new(&cx, &names, &overrides);
        let record: Option<Record> = (!unread).then(|| Spanned::new(record, Span::new(0, at)));
        let settings = record.map(|record| values.settings(file, &owner, head, Some(&record), &specs));
        drop(values);
        (settings, cx.into_found())
    };
    let found = in_order(&mut sources, found);
    let read = settings.filter(|settings| settings.complete && found.is_empty());
    let Some(read) = read else {
        return Err(Mistakes { sources, found });
    };
    let as_json = |(name, value)| Some((name, serde_json::to_value(value).ok()?));
    Ok(read.values.into_iter().filter_map(as_json).collect())
}

/// The name among these that is probably meant.
pub fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(name, known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::render;

    fn kind() -> MessageKind {
        toml::from_str(
            r#"
name = "block"
doc = "Drops the packets of an address for a while"
from = ["operator"]
fields = [
    { name = "address", type = "address", doc = "Whose" },
    { name = "time", type = "time", doc = "For how long", default = "10 s", min = "1 s", max = "1 h" },
    { name = "ports", type = "int", list = true, doc = "Which", optional = true },
    { name = "how", type = "enum", values = ["drop", "mark"], doc = "How", default = "drop" },
    { name = "note", type = "string", doc = "Why", optional = true },
]
"#,
        )
        .unwrap()
    }

    fn given(words: &[&str]) -> Vec<(String, String)> {
        let pair = |word: &&str| word.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        words.iter().filter_map(pair).collect()
    }

    #[test]
    fn fields_are_read_as_settings_are() {
        let read = |words: &[&str]| Value::Object(fields(&kind(), &given(words)).unwrap());
        assert_eq!(
            read(&["address=10.0.0.1"]),
            json!({ "address": "10.0.0.1", "time": 10_000_000_000_u64, "how": "drop" })
        );
        let all = [
            "note=because of a",
            "time=2 min",
            "address=::1",
            "how=mark",
            "ports=[1, 2]",
        ];
        let json = json!({
            "address": "::1", "time": 120_000_000_000_u64, "how": "mark", "ports": [1, 2], "note": "because of a"
        });
        assert_eq!(read(&all), json);
        // The manager agrees.
        let Value::Object(sent) = json else { unreachable!() };
        assert_eq!(kind().read(sent.clone()), Ok(sent));
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        let words = ["addres=10.0.0.1", "time=2", "ports=80", "how=drpo", "time=1 s"];
        let shown = |words: &[&str]| {
            let Mistakes { sources, found } = fields(&kind(), &given(words)).unwrap_err();
            render::human(&sources, &found, false, 100)
        };
        let unreadable = shown(&["address=10.0.0.", "time=1 s"]);
        insta::assert_snapshot!(shown(&[]) + &shown(&words) + &unreadable);
    }
}
