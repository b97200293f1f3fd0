//! Completions at the cursor, each with its kind.

use gen_lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTextEdit, Documentation, MarkupContent, MarkupKind,
    TextEdit,
};
use onvm_bundle::{ParamKind, PortKind};
use onvm_lang::{
    syntax::{DeclKind, Span},
    words,
};

use super::{
    context::{Want, begun_word, filter_words, wants, wants_in_rules},
    hover,
    marks::Owner,
    view::View,
};
use crate::resolve::{
    manifests::standard_names,
    overrides,
    spec::{Kind, Spec},
    units,
};

pub(super) fn complete(view: &View<'_>) -> Vec<CompletionItem> {
    let offset = Span::new(0, view.offset).end;
    let before = view
        .unit
        .tree
        .decls
        .iter()
        .rev()
        .find(|d| d.span().start < offset);
    let start = before.map(|d| d.span().start as usize);
    let begun = begun_word(view.text.get(..view.offset).unwrap_or(""));
    let mut list = List {
        view,
        begun: view.offset - begun.len(),
        own: before.and_then(|d| d.name()).map(|n| n.node.as_str()),
        items: Vec::new(),
    };
    let wanted = match view.unit.tree.decls.is_empty() && view.is_rules() {
        true => wants_in_rules(view.text, view.offset),
        false => wants(view.text, start, view.offset),
    };
    wanted.into_iter().for_each(|want| list.offer(want));
    list.items
}

struct List<'a, 'v> {
    view: &'v View<'a>,
    /// Where the word begins that is being typed.
    begun: usize,
    /// The name that is being declared here, which no declaration can use itself.
    own: Option<&'a str>,
    items: Vec<CompletionItem>,
}

impl List<'_, '_> {
    fn offer(&mut self, want: Want<'_>) {
        match want {
            Want::Declaration => self.words(&words::DECLARATIONS),
            Want::Words(list) => self.words(list),
            Want::PortKind => PortKind::WORDS
                .iter()
                .for_each(|k| self.add(k, CompletionItemKind::Struct, "port kind", hover::port_kind(k))),
            Want::NfType => self.nf_types(),
            Want::InputType => overrides::TYPES
                .iter()
                .for_each(|(t, _)| self.add(t, CompletionItemKind::TypeParameter, "type", None)),
            Want::Port => self.names("port", CompletionItemKind::Struct, |d| {
                matches!(d, DeclKind::Port(_))
            }),
            Want::Nf => self.names("nf", CompletionItemKind::Variable, |d| {
                matches!(d, DeclKind::Nf(_))
            }),
            Want::Chain => {
                self.names("chain", CompletionItemKind::Function, |d| {
                    matches!(d, DeclKind::Chain(_))
                });
                self.chain_params();
            }
            Want::Key(owner) => self.keys(owner),
            Want::Value(of) => self.values(of),
            Want::Unit(owner, key) => self.units(owner, key),
            Want::Reference => self.references(),
            Want::Output(nf) => self.outputs(nf),
            Want::Counter(nf) => self.counters(nf),
            Want::Filter => self.filter(),
            Want::OfPackets(owner, key) => {
                let found = hover::setting(self.view.analysis, owner, key);
                if let Some((spec, _)) = found.filter(|(spec, _)| spec.is_of_packets()) {
                    self.literals(&spec);
                    self.filter();
                }
            }
            Want::Verdict => {
                for word in self.view.analysis.verdicts() {
                    self.add(&word, CompletionItemKind::EnumMember, "verdict", None);
                }
            }
        }
    }

    fn filter(&mut self) {
        self.names("class", CompletionItemKind::Interface, |d| {
            matches!(d, DeclKind::Class(_))
        });
        filter_words().for_each(|w| {
            let summary = words::filter_summary(w).map(ToOwned::to_owned);
            self.add(w, CompletionItemKind::Keyword, "filter", summary);
        });
        self.references();
    }

    fn words(&mut self, words: &[&str]) {
        words
            .iter()
            .for_each(|w| self.add(w, CompletionItemKind::Keyword, "", None));
    }

    fn names(&mut self, detail: &str, kind: CompletionItemKind, fits: impl Fn(&DeclKind) -> bool) {
        self.declared("", detail, kind, fits);
    }

    fn declared(
        &mut self,
        sigil: &str,
        detail: &str,
        kind: CompletionItemKind,
        fits: impl Fn(&DeclKind) -> bool,
    ) {
        let analysis = self.view.analysis;
        let names = analysis.names();
        let mut found: Vec<_> = names.iter().filter(|(_, d)| fits(&d.decl.kind.node)).collect();
        found.retain(|(name, _)| Some(**name) != self.own);
        found.sort_unstable_by_key(|(name, _)| **name);
        for (name, declared) in found {
            let text = hover::declaration(analysis, declared);
            self.add(&format!("{sigil}{name}"), kind, detail, Some(text));
        }
    }

    /// The parameters of the chain around the cursor, whether or not it parses.
    fn chain_params(&mut self) {
        let Some(DeclKind::Chain(chain)) = self.view.decl().map(|d| &d.kind.node) else {
            return;
        };
        let params = chain.params.iter().flatten();
        let params: Vec<&str> = params.map(|p| p.name.node.as_str()).collect();
        params
            .into_iter()
            .for_each(|p| self.add(p, CompletionItemKind::TypeParameter, "parameter", None));
    }

    fn nf_types(&mut self) {
        let analysis = self.view.analysis;
        let types = analysis.nf_types();
        let mut known: Vec<&str> = standard_names().collect();
        known.extend(types.imports());
        known.sort_unstable();
        known.dedup();
        for name in known {
            self.add(
                name,
                CompletionItemKind::Class,
                "NF type",
                hover::nf_type(analysis, name),
            );
        }
    }

    fn keys(&mut self, owner: Owner<'_>) {
        for spec in hover::settings(self.view.analysis, owner) {
            let found = hover::setting(self.view.analysis, owner, &spec.name);
            let text = found.map(|(spec, default)| hover::describe(&spec, default));
            let detail = if spec.required { "required" } else { "" };
            self.add_as(
                &spec.name,
                &format!("{} = ", spec.name),
                CompletionItemKind::Property,
                detail,
                text,
            );
        }
    }

    fn values(&mut self, of: Option<(Owner<'_>, &str)>) {
        let found = of.and_then(|(owner, key)| hover::setting(self.view.analysis, owner, key));
        if let Some((spec, default)) = found {
            if spec.kind == Kind::Plain(ParamKind::Filter) {
                return self.filter();
            }
            self.literals(&spec);
            if let Some(default) = default.filter(|d| !spec.words.iter().any(|w| w == d)) {
                self.add(&default, CompletionItemKind::Value, "default", None);
            }
        }
        self.references();
    }

    /// The values of a setting that can be listed, and the forms of others.
    fn literals(&mut self, spec: &Spec) {
        for word in &spec.words {
            self.add(word, CompletionItemKind::EnumMember, "", None);
        }
        match spec.kind {
            Kind::CountOr(word) => self.add(word, CompletionItemKind::EnumMember, "", None),
            Kind::Plain(ParamKind::Bool) => ["true", "false"]
                .iter()
                .for_each(|w| self.add(w, CompletionItemKind::Value, "", None)),
            Kind::Plain(ParamKind::File | ParamKind::Rules) | Kind::HostPathOrFile => {
                self.add(
                    "file(\"\")",
                    CompletionItemKind::File,
                    "copied into the bundle",
                    None,
                );
            }
            Kind::Plain(ParamKind::Secret) => {
                self.add(
                    "secret(\"\")",
                    CompletionItemKind::Value,
                    "never in the bundle",
                    None,
                );
            }
            _ => {}
        }
    }

    fn units(&mut self, owner: Owner<'_>, key: &str) {
        let kind = match hover::setting(self.view.analysis, owner, key).map(|(spec, _)| spec.kind) {
            Some(Kind::Plain(kind)) => kind,
            Some(Kind::SizeOrWord) => ParamKind::Size,
            _ => return,
        };
        for unit in units::of_kind(kind) {
            self.add(unit, CompletionItemKind::Unit, "unit", None);
        }
    }

    fn references(&mut self) {
        let is_value = |d: &DeclKind| matches!(d, DeclKind::Let(_) | DeclKind::Param(_));
        self.declared("$", "value", CompletionItemKind::Constant, is_value);
    }

    fn outputs(&mut self, nf: &str) {
        let analysis = self.view.analysis;
        for output in analysis
            .type_of_nf(nf)
            .into_iter()
            .flat_map(|t| t.manifest.outputs)
        {
            let detail = if output.must_handle {
                "must be handled"
            } else {
                "output"
            };
            let text = hover::output(analysis, nf, &output.name);
            let new = format!("{} -> ", output.name);
            self.add_as(&output.name, &new, CompletionItemKind::EnumMember, detail, text);
        }
    }

    fn counters(&mut self, nf: &str) {
        let ty = self.view.analysis.type_of_nf(nf);
        for counter in ty.into_iter().flat_map(|t| t.manifest.counters) {
            let text = Some(counter.doc);
            self.add(&counter.name, CompletionItemKind::Field, "counter", text);
        }
    }

    fn add(&mut self, label: &str, kind: CompletionItemKind, detail: &str, text: Option<String>) {
        self.add_as(label, label, kind, detail, text);
    }

    fn add_as(
        &mut self,
        label: &str,
        new: &str,
        kind: CompletionItemKind,
        detail: &str,
        text: Option<String>,
    ) {
        let sigil = self.view.text.get(..self.begun).is_some_and(|t| t.ends_with('$'));
        let start = self.begun - usize::from(sigil && label.starts_with('$'));
        let range = self.view.lines.range(Span::new(start, self.view.offset));
        let markdown = |value| MarkupContent {
            kind: MarkupKind::Markdown,
            value,
        };
        self.items.push(CompletionItem {
            label: label.to_owned(),
            kind: Some(kind),
            detail: Some(detail.to_owned()).filter(|d| !d.is_empty()),
            documentation: text.map(|t| Documentation::MarkupContent(markdown(t))),
            filter_text: Some(label.to_owned()),
            text_edit: Some(CompletionItemTextEdit::TextEdit(TextEdit {
                range,
                new_text: new.to_owned(),
            })),
            ..CompletionItem::default()
        });
    }
}
