//! Values in the source's own notation: read, written, and named in messages.

use onvm_bundle::ParamKind;
use onvm_lang::syntax::{DeclKind, Number, Value};

/// The probable meaning of a value of the wrong type.
pub(crate) fn fix_for(kind: ParamKind, value: &Value) -> Option<String> {
    match (kind, value) {
        (ParamKind::String, Value::Word(word)) => Some(format!("put it in quotes: \"{word}\"")),
        (ParamKind::Enum, Value::Str(word)) => Some(format!("write the word without quotes: {word}")),
        (ParamKind::File, Value::Str(path)) => Some(format!("a file is named with `file(\"{path}\")`")),
        (ParamKind::Secret, _) => {
            Some("a secret is named with `secret(\"NAME\")` and given at run time".to_owned())
        }
        (ParamKind::Rules, Value::Str(path)) => Some(format!("a file is named with `file(\"{path}\")`")),
        (ParamKind::Filter, Value::Str(filter)) => Some(format!("write the filter without quotes: {filter}")),
        (ParamKind::Filter, Value::Ref(_)) => Some("filters are named with `class`".to_owned()),
        (ParamKind::Address, Value::Prefix(p)) => Some(format!("leave the length out: {}", p.addr)),
        _ => None,
    }
}

/// As in "a time".
pub(crate) fn describe_kind(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::Bool => "`true` or `false`",
        ParamKind::Int => "a whole number",
        ParamKind::Decimal => "a number",
        ParamKind::String => "a string in quotes",
        ParamKind::Enum => "a word",
        ParamKind::File => "a file, `file(\"...\")`",
        ParamKind::Secret => "a secret, `secret(\"NAME\")`",
        ParamKind::Time => "a time, such as `10 ms`",
        ParamKind::Size => "a size, such as `64 MiB`",
        ParamKind::BitRate => "a bit rate, such as `10 Gbps`",
        ParamKind::PacketRate => "a packet rate, such as `10 kpps`",
        ParamKind::Address => "an IP address",
        ParamKind::Prefix => "a prefix, such as 10.0.0.0/8",
        ParamKind::Mac => "a MAC address",
        ParamKind::Endpoint => "an address with a port, such as 192.0.2.1:53",
        ParamKind::Filter => "a filter, such as `tcp dst port 80`",
        ParamKind::Rules => "rules, `file(\"...\")` or `{ drop tcp dst port 23 ... }`",
    }
}

/// As in "a string".
pub(crate) fn describe_value(value: &Value) -> &'static str {
    match value {
        Value::Int(_) => "a whole number",
        Value::Decimal(_) => "a decimal number",
        Value::Bool(_) => "a truth value",
        Value::Str(_) => "a string",
        Value::Word(_) => "a word",
        Value::Ipv4(_) | Value::Ipv6(_) => "an IP address",
        Value::Prefix(_) => "a prefix",
        Value::Mac(_) => "a MAC address",
        Value::AddrPort(_) => "an address with a port",
        Value::Range(..) => "a range",
        Value::List(_) => "a list",
        Value::Record(_) => "a record",
        Value::File(_) => "a file",
        Value::Secret(_) => "a secret",
        Value::Ref(_) => "a reference",
        Value::Quantity { .. } => "a quantity",
        Value::Filter(_) => "a filter",
        Value::Rules(_) => "a block of rules",
    }
}

/// A value in the source's notation, as manifests hold it and `--set` gives it.
pub(crate) fn parse_value(text: &str) -> Option<Value> {
    let parse = onvm_lang::parse(&format!("let x = {text}\n"));
    match parse.file.decls.as_slice() {
        [decl] if parse.diagnostics.is_empty() => match &decl.kind.node {
            DeclKind::Let(binding) => Some(binding.value.node.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// A value as the source would write it.
pub(crate) fn notation(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::Decimal(d) => d.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Str(s) => format!("{s:?}"),
        Value::Word(w) => w.clone(),
        Value::Ipv4(a) => a.to_string(),
        Value::Ipv6(a) => a.to_string(),
        Value::Prefix(p) => p.to_string(),
        Value::Mac(m) => m.to_string(),
        Value::AddrPort(a) => a.to_string(),
        Value::Range(a, b) => format!("{a}..{b}"),
        Value::List(items) => {
            format!(
                "[{}]",
                items
                    .iter()
                    .map(|i| notation(&i.node))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        Value::Record(record) => {
            let fields = record
                .fields
                .iter()
                .map(|f| format!("{} = {}", f.name.node, notation(&f.value.node)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::File(path) => format!("file({:?})", path.node),
        Value::Secret(name) => format!("secret({:?})", name.node),
        Value::Ref(name) => format!("${}", name.node),
        Value::Filter(_) => "a filter".to_owned(),
        Value::Rules(_) => "a block of rules".to_owned(),
        Value::Quantity {
            number: Number::Int(n),
            unit,
        } => format!("{n} {}", unit.node),
        Value::Quantity {
            number: Number::Decimal(d),
            unit,
        } => format!("{d} {}", unit.node),
    }
}
