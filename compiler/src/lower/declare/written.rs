//! Parameters that are filters or rules: read with the names of the program, checked, and lowered for the NF.

use std::{cell::RefCell, collections::HashMap};

use onvm_bundle::{
    ParamKind,
    filter::{Expr, MAX_RULES, RuleText},
    hash_bytes,
};
use onvm_lang::syntax::{Filter, FilterKind, RuleLine, Spanned, Value};

use crate::{
    diagnostics::{duplicate_name, missing_file, table_full, unknown_word, wrong_value_type},
    lower::filter::Filters,
    resolve::{
        assets::file_name,
        notation::{describe_value, fix_for},
        spec::{Kind, Spec},
        values::{Given, OfPackets, Values, What},
    },
    source::{
        host::clean,
        load::RulesFiles,
        sources::{FileId, Place},
    },
};

/// Reads them.
pub(crate) struct Written<'a> {
    pub(crate) filters: &'a Filters<'a>,
    pub(crate) files: &'a RulesFiles,
    /// What has been read, for the search for rules that never match.
    pub(crate) found: RefCell<Vec<RuleSet>>,
}

/// The rules of one parameter of one NF.
#[derive(Debug, Clone)]
pub(crate) struct RuleSet {
    /// Those without errors.
    pub(crate) rules: Vec<LoweredRule>,
    /// Whether `rules` are all rules.
    pub(crate) complete: bool,
}

/// Where rules stand, which says how those without a name are counted: by their line in a file, by their place in a block, where a
/// comment above changes nothing.
#[derive(Debug, Clone, Copy)]
enum Home {
    File,
    Block,
}

/// A rule as it goes into the bundle.
#[derive(Debug, Clone)]
pub(crate) struct LoweredRule {
    /// The place of its filter.
    pub(crate) place: Place,
    pub(crate) verdict: String,
    /// Its counter's name.
    pub(crate) name: String,
    pub(crate) filter: Expr,
}

impl OfPackets for Written<'_> {
    fn read(
        &self,
        values: &Values<'_>,
        spec: &Spec,
        nf: &str,
        file: FileId,
        value: &Spanned<Value>,
    ) -> Option<toml::Value> {
        if spec.kind == Kind::Plain(ParamKind::Filter) {
            return self.filter(values, spec, file, value);
        }
        let given = values.follow(file, value)?;
        let mut name = format!("{nf}.rules");
        let set = match &given.what {
            What::One(Value::File(path)) => {
                name = file_name(&path.node);
                self.file(spec, &given, &path.node)?
            }
            What::One(Value::Rules(rules)) => self.lower(spec, file, rules, Home::Block, true),
            What::One(Value::Record(record)) if record.fields.is_empty() => {
                self.lower(spec, file, &[], Home::Block, true)
            }
            other => {
                self.refuse(spec, &given, other);
                return None;
            }
        };
        if set.rules.len() > MAX_RULES {
            let found = table_full::table_full(given.place, "rules", set.rules.len(), MAX_RULES);
            self.filters.cx.report(given.with_origin(found));
        }
        let text: String = set.rules.iter().map(LoweredRule::line).collect();
        let complete = set.complete;
        self.found.borrow_mut().push(set);
        let hash = hash_bytes(text.as_bytes());
        let path = format!("files/{}-{name}", &hash[..16]);
        values
            .assets
            .borrow_mut()
            .files
            .insert(path.clone(), text.into_bytes());
        let reference = [("file".to_owned(), path.into())].into_iter().collect();
        complete.then_some(toml::Value::Table(reference))
    }
}

impl Written<'_> {
    fn filter(
        &self,
        values: &Values<'_>,
        spec: &Spec,
        file: FileId,
        value: &Spanned<Value>,
    ) -> Option<toml::Value> {
        let parsed: Filter;
        let filter = match &value.node {
            Value::Filter(filter) => filter,
            // One word is a word to the parser.
            Value::Word(word) => {
                let (filter, found) = onvm_lang::parse_filter_at(word, value.span.start);
                for diagnostic in found {
                    let sources = self.filters.cx.sources;
                    self.filters
                        .cx
                        .report(crate::source::context::globalise(sources, file, diagnostic));
                }
                parsed = filter;
                &parsed
            }
            _ => {
                let given = values.follow(file, value)?;
                self.refuse(spec, &given, &given.what);
                return None;
            }
        };
        if filter.node == FilterKind::Error {
            return None;
        }
        let lowered = self.filters.lower(file, filter)?;
        Some(lowered.to_string().into())
    }

    fn file(&self, spec: &Spec, given: &Given, path: &str) -> Option<RuleSet> {
        let cx = self.filters.cx;
        let on_host = clean(&cx.directory(given.file).join(path));
        let missing = |reason: &str| {
            let found = missing_file::missing_file(given.place, path, reason);
            cx.report(given.with_origin(found));
        };
        match self.files.get(&on_host) {
            Some(Ok(read)) => Some(self.lower(spec, read.file, &read.rules, Home::File, read.complete)),
            Some(Err(reason)) => {
                missing(reason);
                None
            }
            None => {
                missing("it was not read");
                None
            }
        }
    }

    fn lower(&self, spec: &Spec, file: FileId, rules: &[RuleLine], home: Home, complete: bool) -> RuleSet {
        let cx = self.filters.cx;
        let mut set = RuleSet {
            rules: Vec::with_capacity(rules.len()),
            complete,
        };
        let mut names: HashMap<&str, Place> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let place = cx.place(file, rule.filter.span);
            let verdict = &rule.verdict;
            let known = spec.words.iter().any(|word| *word == verdict.node.as_str());
            if !known {
                let at = cx.place(file, verdict.span);
                let words = spec.words.iter().map(AsRef::as_ref);
                cx.report(unknown_word::unknown_word(
                    at,
                    at,
                    "a verdict",
                    &verdict.node,
                    words.collect::<Vec<&str>>(),
                ));
            }
            let mut named = true;
            if let Some(name) = &rule.name {
                let at = cx.place(file, name.span);
                if let Some(first) = names.insert(&name.node, at) {
                    cx.report(duplicate_name::duplicate_rule(at, &name.node, first));
                    named = false;
                }
            }
            let number = match home {
                Home::File => cx.sources.line(cx.place(file, rule.span())),
                Home::Block => index + 1,
            };
            let filter = match rule.filter.node {
                FilterKind::Error => None,
                _ => self.filters.lower(file, &rule.filter),
            };
            match filter {
                Some(filter) if known && named => set.rules.push(LoweredRule {
                    place,
                    verdict: verdict.node.clone(),
                    name: match &rule.name {
                        Some(name) => format!("rule_{}", name.node),
                        None => format!("rule_{number}"),
                    },
                    filter,
                }),
                _ => set.complete = false,
            }
        }
        set
    }

    fn refuse(&self, spec: &Spec, given: &Given, what: &What) {
        let (got, fix) = match what {
            What::One(value) => (describe_value(value), fix(spec, value)),
            What::List(_) => ("a list", None),
        };
        let found = wrong_value_type::wrong_value_type(given.place, &spec.name, &spec.wanted(), got, fix);
        self.filters.cx.report(given.with_origin(found));
    }
}

fn fix(spec: &Spec, value: &Value) -> Option<String> {
    match spec.kind {
        Kind::Plain(kind) => fix_for(kind, value),
        _ => None,
    }
}

impl LoweredRule {
    fn line(&self) -> String {
        let Self {
            verdict,
            name,
            filter,
            ..
        } = self;
        format!(
            "{}\n",
            RuleText {
                verdict,
                name,
                filter
            }
        )
    }
}
