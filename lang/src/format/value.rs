//! Values, records and filters.

use super::printer::Printer;
use crate::filter;
use crate::syntax::{Filter, Record, Span, Spanned, Value};

impl Printer<'_> {
    /// A value, on one line where it and `more` characters have room.
    pub(super) fn value(&mut self, value: &Spanned<Value>, more: usize) {
        let line = self.value_line(value);
        if !has_block(&value.node) && self.fits(&line, value.span, more) {
            self.text(&line, value.span);
            return;
        }
        match &value.node {
            Value::List(items) => {
                self.comments_before(value.span.start);
                self.open("[");
                for item in items {
                    self.item(item.span.start);
                    self.value(item, 1);
                    self.mark(",");
                }
                self.close("]", value.span.end);
            }
            Value::Record(fields) => self.fields(fields),
            Value::Filter(filter) => self.filter(filter),
            Value::Rules(rules) => self.rules(rules, value.span),
            Value::File(path) | Value::Secret(path) => {
                let word = if matches!(value.node, Value::File(_)) {
                    "file("
                } else {
                    "secret("
                };
                self.comments_before(value.span.start);
                self.mark(word);
                self.copy(path.span);
                self.comments_before(value.span.end);
                self.mark(")");
            }
            Value::Quantity { unit, .. } => {
                let start = value.span.start as usize;
                let number = number_before(self.source, value.span, unit.span);
                self.text(number, Span::new(start, start + number.len()));
                self.space();
                self.copy(unit.span);
            }
            _ => self.text(&line, value.span),
        }
    }

    /// A record, on one line where it has room.
    pub(super) fn record(&mut self, record: &Record, more: usize) {
        let line = self.record_line(record);
        let block = record.fields.iter().any(|field| has_block(&field.value.node));
        if !block && self.fits(&line, record.span, more) {
            self.text(&line, record.span);
        } else {
            self.fields(record);
        }
    }

    fn fields(&mut self, record: &Record) {
        self.comments_before(record.span.start);
        self.open("{");
        for field in &record.fields {
            self.item(field.span().start);
            self.text(&field.name.node, field.name.span);
            self.mark(" =");
            self.space();
            self.value(&field.value, 1);
            self.mark(",");
        }
        self.close("}", record.span.end);
    }

    pub(super) fn record_line(&self, record: &Record) -> String {
        let fields = record.fields.iter();
        let fields: Vec<String> = fields
            .map(|f| format!("{} = {}", f.name.node, self.value_line(&f.value)))
            .collect();
        if fields.is_empty() {
            return "{}".to_owned();
        }
        format!("{{ {} }}", fields.join(", "))
    }

    fn value_line(&self, value: &Spanned<Value>) -> String {
        let source = self.source;
        match &value.node {
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|i| self.value_line(i)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Record(record) => self.record_line(record),
            Value::Filter(filter) => self.filter_line(filter),
            Value::File(path) => format!("file({})", path.span.text(source)),
            Value::Secret(name) => format!("secret({})", name.span.text(source)),
            Value::Quantity { unit, .. } => {
                let number = number_before(source, value.span, unit.span);
                format!("{number} {}", unit.node)
            }
            _ => value.span.text(source).to_owned(),
        }
    }

    /// A filter as it was written, white space reduced to single spaces.
    pub(super) fn filter(&mut self, filter: &Filter) {
        if !self.has_comment(filter.span) {
            let line = self.filter_line(filter);
            self.text(&line, filter.span);
            return;
        }
        let text = filter.span.text(self.source);
        let mut end = filter.span.start;
        for token in filter::token_spans(text, filter.span.start) {
            if token.start > end {
                self.space();
            }
            self.copy(token);
            end = token.end;
        }
    }

    pub(super) fn filter_line(&self, filter: &Filter) -> String {
        let text = filter.span.text(self.source);
        let mut line = String::with_capacity(text.len());
        for word in text.split_ascii_whitespace() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        line
    }
}

/// Whether it stands on several lines in any case.
fn has_block(value: &Value) -> bool {
    match value {
        Value::Rules(_) => true,
        Value::Record(record) => record.fields.iter().any(|field| has_block(&field.value.node)),
        Value::List(items) => items.iter().any(|item| has_block(&item.node)),
        _ => false,
    }
}

/// The number of a quantity as written, comments and space before the unit left out.
fn number_before(source: &str, value: Span, unit: Span) -> &str {
    let text = source.get(value.start as usize..unit.start as usize);
    let text = text.unwrap_or("");
    let end = text.find(|c: char| c.is_whitespace() || c == '/');
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}
