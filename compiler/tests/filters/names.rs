//! Classes and values for filters under test, without a source file around them.

use std::{collections::HashMap, net::IpAddr};

use onvm_lang::{
    Diagnostic, Severity, parse_filter,
    syntax::{Filter, Ident, Mac, Prefix, Span, Spanned, Value},
};
use onvmc::filter::{Lowered, Names, Unusable, lower};

#[derive(Default)]
pub(crate) struct Library {
    classes: HashMap<String, Filter>,
    values: HashMap<String, Spanned<Value>>,
}

impl Library {
    pub(crate) fn example() -> Self {
        let mut library = Self::default();
        library.class("web", "tcp and dst port 80 or 443");
        library.class("any_tag", "vlan");
        library.class("tagged", "vlan 5");
        library.class("inner", "any_tag and ip");
        library.class("syn", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn");
        library.value("ten", prefix("10.0.0.0", 8));
        library.value(
            "trusted",
            list([
                Value::Ref(spanned("ten".to_owned())),
                Value::Ipv4([192, 168, 1, 1].into()),
                prefix("2001:db8::", 32),
            ]),
        );
        library.value("ports", list([Value::Int(80), Value::Range(443, 1000)]));
        library.value(
            "macs",
            list([Value::Mac(Mac([2, 0, 0, 0, 0, 1])), Value::Mac(Mac([255; 6]))]),
        );
        library
    }

    pub(crate) fn class(&mut self, name: &str, text: &str) {
        let (filter, diagnostics) = parse_filter(text);
        assert_eq!(diagnostics, [], "{text}");
        self.classes.insert(name.to_owned(), filter.unwrap());
    }

    pub(crate) fn value(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), spanned(value));
    }
}

pub(crate) fn prefix(addr: &str, len: u8) -> Value {
    Value::Prefix(Prefix {
        addr: addr.parse::<IpAddr>().unwrap(),
        len,
    })
}

pub(crate) fn list<const N: usize>(of: [Value; N]) -> Value {
    Value::List(of.into_iter().map(spanned).collect())
}

fn spanned<T>(node: T) -> Spanned<T> {
    Spanned::new(node, Span::default())
}

/// The text of the filter under test; spans elsewhere are empty.
struct Place<'a> {
    library: &'a Library,
    text: &'a str,
}

impl Names for Place<'_> {
    type File = ();

    fn class(&self, (): (), name: &Ident) -> Result<((), &Filter), Unusable> {
        let unknown = || Diagnostic::error("C0101", format!("unknown name `{}`", name.node), name.span, "");
        self.library
            .classes
            .get(&name.node)
            .map(|class| ((), class))
            .ok_or_else(|| unknown().into())
    }

    fn value(&self, (): (), name: &str, span: Span) -> Result<((), &Spanned<Value>), Unusable> {
        let unknown = || Diagnostic::error("C0101", format!("unknown name `{name}`"), span, "");
        self.library
            .values
            .get(name)
            .map(|value| ((), value))
            .ok_or_else(|| unknown().into())
    }

    fn span(&self, (): (), span: Span) -> Span {
        span
    }

    fn text(&self, (): (), span: Span) -> &str {
        span.text(self.text)
    }
}

/// Parses and lowers; the error is what the operator would read.
pub(crate) fn lower_text(text: &str, library: &Library) -> Result<Lowered, String> {
    let (filter, diagnostics) = parse_filter(text);
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(show(&diagnostics, text));
    }
    let filter = filter.ok_or("no filter and no diagnostic")?;
    lower(&filter, (), &Place { library, text }).map_err(|diagnostics| show(&diagnostics, text))
}

/// Diagnostics in plain text, with the source that each label covers.
pub(crate) fn show(diagnostics: &[Diagnostic], text: &str) -> String {
    let mut shown = String::new();
    for diagnostic in diagnostics {
        let kind = diagnostic.severity.word();
        shown += &format!("{kind} {}: {}\n", diagnostic.code, diagnostic.message);
        for label in &diagnostic.labels {
            shown += &format!("  `{}`: {}\n", label.span.text(text), label.text);
        }
        for line in diagnostic.help.iter().flat_map(|help| help.lines()) {
            shown += &format!("  help: {line}\n");
        }
    }
    shown
}
