//! Files of rules that parameters of NFs name. They are read before the check, so that they are sources as all others are:
//! what is wrong in them has its place, and the bundle keeps them as they were written.

use std::path::{Path, PathBuf};

use onvm_bundle::ParamKind;
use onvm_lang::syntax::{DeclKind, Value};

use crate::{
    resolve::{
        manifests::NfTypes,
        names::Names,
        overrides::Overrides,
        spec::Kind,
        values::{Values, What},
    },
    source::{
        context::{Context, globalise},
        host::{Host, clean},
        load::{Loaded, RulesFile, describe, read_text, source_name},
        sources::FileId,
    },
};

impl Loaded {
    /// Reads the files of rules that the NFs of the program name.
    pub(crate) fn add_rules(
        &mut self,
        host: &dyn Host,
        root: &Path,
        command_line: Option<FileId>,
        set: &[(String, String)],
    ) {
        for path in self.named(host, command_line, set) {
            let read = match read_text(host, &path) {
                Ok(text) => Ok(self.add_file(root, &path, text)),
                Err(e) => Err(describe(&e)),
            };
            self.rules.insert(path, read);
        }
    }

    fn add_file(&mut self, root: &Path, path: &Path, text: String) -> RulesFile {
        let parse = onvm_lang::parse_rules(&text);
        let name = source_name(root, path);
        let file = self.sources.add(path, name, text);
        let complete = parse.diagnostics.is_empty();
        let local = parse.diagnostics.into_iter();
        let global: Vec<_> = local.map(|d| globalise(&self.sources, file, d)).collect();
        self.found.extend(global);
        RulesFile {
            file,
            rules: parse.rules,
            complete,
        }
    }

    /// The paths, each once. Mistakes in the program are left to the check.
    fn named(&self, host: &dyn Host, command_line: Option<FileId>, set: &[(String, String)]) -> Vec<PathBuf> {
        let cx = Context::new(&self.sources, host, Vec::new());
        let names = Names::collect(&cx, &self.units);
        let overrides = Overrides::read(&cx, &names, &self.units, command_line, set);
        let values = Values::new(&cx, &names, &overrides);
        let types = NfTypes::collect(&self.units, &self.manifests);
        let mut found = Vec::new();
        for unit in &self.units {
            for decl in &unit.tree.decls {
                let DeclKind::Nf(nf) = &decl.kind.node else {
                    continue;
                };
                let Some(params) = &nf.params else { continue };
                let Some(ty) = types.get(&cx, &names, unit.file, &nf.ty) else {
                    continue;
                };
                for spec in ty
                    .specs
                    .iter()
                    .filter(|s| s.kind == Kind::Plain(ParamKind::Rules))
                {
                    let Some(field) = params.get(&spec.name) else {
                        continue;
                    };
                    let given = values.follow(unit.file, &field.value);
                    if let Some(given) = given
                        && let What::One(Value::File(path)) = &given.what
                    {
                        found.push(clean(&cx.directory(given.file).join(&path.node)));
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
