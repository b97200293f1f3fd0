//! NF types: the standard NFs' manifests, and those that a source imports.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use onvm_bundle::{Manifest, MessageKind};
use onvm_lang::{
    is_name,
    syntax::{DeclKind, Ident, Span},
};

use crate::{
    diagnostics::{bad_manifest, closest, unknown_type},
    resolve::{
        names::{Item, Names},
        spec::Spec,
    },
    source::{
        context::Context,
        load::Unit,
        sources::{FileId, Place, Sources},
    },
};

/// The names of the standard NFs.
pub fn standard_names() -> impl Iterator<Item = &'static str> + Clone {
    stdlib_nfs::NFS.iter().map(|nf| nf.name)
}

/// The text of a standard NF's manifest.
fn standard_text(name: &str) -> Option<&'static str> {
    stdlib_nfs::find(name).map(|nf| nf.manifest)
}

/// A manifest that has been read and whose parameters have been understood.
#[derive(Debug)]
pub(crate) struct NfType {
    pub(crate) manifest: Manifest,
    pub(crate) specs: Vec<Spec>,
}

/// A manifest that a `use` names.
#[derive(Debug, Clone, Copy)]
struct Import {
    manifest: FileId,
    /// The file with the `use`, and the path that it gives.
    from: FileId,
    path: Span,
}

/// The NF types that a program can name.
pub(crate) struct NfTypes<'a> {
    /// Imported manifests by alias.
    imported: HashMap<&'a str, Import>,
    /// None: unusable, and reported.
    read: RefCell<HashMap<String, Option<Rc<NfType>>>>,
}

impl<'a> NfTypes<'a> {
    pub(crate) fn collect(units: &'a [Unit], manifests: &HashMap<(FileId, u32), FileId>) -> Self {
        let mut imported = HashMap::new();
        for unit in units {
            for decl in &unit.tree.decls {
                if let DeclKind::Use(import) = &decl.kind.node
                    && let Some(alias) = &import.alias
                    && let Some(manifest) = manifests.get(&(unit.file, import.path.span.start))
                {
                    let (manifest, from, path) = (*manifest, unit.file, import.path.span);
                    let import = Import { manifest, from, path };
                    imported.entry(alias.node.as_str()).or_insert(import);
                }
            }
        }
        Self {
            imported,
            read: RefCell::default(),
        }
    }

    /// The imported types.
    pub(crate) fn imports(&self) -> impl Iterator<Item = &'a str> {
        self.imported.keys().copied()
    }

    /// The type of that name for who only looks: none when there is none or it cannot be used.
    pub(crate) fn look_up(&self, sources: &Sources, name: &str) -> Option<NfType> {
        match self.imported.get(name) {
            Some(import) => parse(&sources.get(import.manifest).text).ok(),
            None => parse(standard_text(name)?).ok(),
        }
    }

    /// The type of that name; reports and returns none when there is none or it cannot be used.
    pub(crate) fn get(
        &self,
        cx: &Context<'_>,
        names: &Names<'a>,
        file: FileId,
        ty: &Ident,
    ) -> Option<Rc<NfType>> {
        let place = cx.place(file, ty.span);
        let name = ty.node.as_str();
        if let Some(done) = self.read.borrow().get(name) {
            return done.clone();
        }
        let read = match (self.imported.get(name), standard_text(name)) {
            (Some(import), _) => {
                names.get(name);
                let source = cx.sources.get(import.manifest);
                read(cx, place, &source.name, &source.text, Some(*import))
            }
            // An import that failed has been reported.
            (None, _) if matches!(names.get(name).map(|s| s.item), Some(Item::NfType | Item::Broken)) => None,
            (None, Some(text)) => read(cx, place, &format!("of the standard NF `{name}`"), text, None),
            (None, None) => {
                let mut known: Vec<&str> = standard_names().collect();
                known.extend(self.imported.keys());
                known.sort_unstable();
                let close = closest(name, known.iter().copied());
                cx.report(unknown_type::unknown_type(
                    place,
                    "NF type",
                    name,
                    close,
                    &known.join(", "),
                ));
                return None;
            }
        };
        self.read.borrow_mut().insert(name.to_owned(), read.clone());
        read
    }
}

fn read(
    cx: &Context<'_>,
    place: Place,
    path: &str,
    text: &str,
    import: Option<Import>,
) -> Option<Rc<NfType>> {
    match parse(text) {
        Ok(nf_type) => Some(Rc::new(nf_type)),
        Err(reason) => {
            // Text that TOML cannot read has a place; otherwise the reason names the key.
            let span = toml::from_str::<Manifest>(text).err().and_then(|e| e.span());
            let span = span.filter(|s| !s.is_empty() && text.get(s.clone()).is_some());
            let fault = import
                .zip(span)
                .map(|(import, s)| cx.place(import.manifest, Span::new(s.start, s.end)));
            let imported = import.map(|import| cx.place(import.from, import.path));
            cx.report(bad_manifest::bad_manifest(place, imported, path, &reason, fault));
            None
        }
    }
}

/// Reads a manifest and checks that it says nothing that contradicts itself.
pub(crate) fn parse(text: &str) -> Result<NfType, String> {
    let manifest: Manifest = toml::from_str(text).map_err(|e| {
        let line = e
            .span()
            .map_or(0, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        format!("line {line}: {}", e.message().replace('\n', " "))
    })?;
    let mut seen = std::collections::HashSet::new();
    let names = [("NF", &manifest.name)].into_iter();
    let names = names.chain(manifest.params.iter().map(|p| ("parameter", &p.name)));
    let names = names.chain(manifest.outputs.iter().map(|o| ("output", &o.name)));
    let names = names.chain(manifest.messages.iter().map(|m| ("message", &m.name)));
    for (what, name) in names {
        if !is_name(name) {
            return Err(format!("the {what} `{name}` has no valid name ([a-z][a-z0-9_]*)"));
        }
        if !seen.insert((what, name)) {
            return Err(format!("two {what}s are named `{name}`"));
        }
    }
    let binary = &manifest.run.binary;
    if !onvm_bundle::is_file_name(binary) {
        return Err(format!(
            "run.binary = {binary:?} is not the name of a program; its directory is named with `onvm-run --nf-path`"
        ));
    }
    if let Some(path) = manifest
        .run
        .files
        .iter()
        .find(|name| !onvm_bundle::is_file_name(name))
    {
        return Err(format!(
            "run.files = [{path:?}] is not the name of a file or directory beside the program"
        ));
    }
    let effects = &manifest.effects;
    for field in effects.reads.iter().chain(&effects.writes) {
        crate::resolve::fields::check(field)?;
    }
    if crate::resolve::spec::memory_bytes(&manifest.resources.memory).is_none() {
        return Err(format!(
            "resources.memory = \"{}\" is not a size such as \"16 MiB\"",
            manifest.resources.memory
        ));
    }
    manifest.messages.iter().try_for_each(check_message)?;
    let specs = manifest
        .params
        .iter()
        .map(Spec::from_param)
        .collect::<Result<_, _>>()?;
    Ok(NfType { manifest, specs })
}

/// Checks what a manifest says of a kind of messages. The manager reads defaults and bounds by itself, as the plain values that they
/// are.
fn check_message(message: &MessageKind) -> Result<(), String> {
    let name = &message.name;
    if message.from.is_empty() {
        return Err(format!(
            "message `{name}`: `from` names nobody; write [\"operator\"], [\"peers\"] or both"
        ));
    }
    let mut seen = std::collections::HashSet::new();
    for field in &message.fields {
        let of = |why: &str| format!("message `{name}`, field `{}`: {why}", field.name);
        if !is_name(&field.name) {
            return Err(of("its name is not [a-z][a-z0-9_]*"));
        }
        if !seen.insert(&field.name) {
            return Err(of("there are two of this name"));
        }
        if !field.kind.fits_messages() {
            return Err(of("messages hold no files, secrets, filters and rules"));
        }
        let spec = Spec::from_param(field)
            .map_err(|why| format!("message `{name}`: {}", why.replacen("parameter", "field", 1)))?;
        let plain = |text: &Option<String>| text.as_ref().is_none_or(|text| field.plain(text).is_some());
        if field.list && field.default.is_some() {
            return Err(of("a list has no default; say `optional = true`"));
        }
        if let Some(text) = [&field.default, &field.min, &field.max]
            .into_iter()
            .find(|text| !plain(text))
        {
            let text = text.as_deref().unwrap_or_default();
            let wanted = spec.wanted();
            return Err(of(&format!(
                "\"{text}\" is not {wanted} as a plain whole value with one unit"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standard_manifest_is_usable() {
        for nf in stdlib_nfs::NFS {
            let nf_type = parse(nf.manifest).unwrap_or_else(|e| panic!("{}: {e}", nf.name));
            assert_eq!(nf_type.manifest.name, nf.name);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let base = "name = \"x\"\nversion = \"1\"\nsummary = \"s\"\n[run]\nbinary = \"x\"\n";
        assert!(parse(base).is_ok());
        let refused = |extra: &str| parse(&format!("{base}{extra}")).unwrap_err();
        let param = "[[params]]\nname = \"a\"\ndoc = \"\"\ntype = \"time\"\n";
        assert!(refused(&format!("{param}default = \"7\"\n")).contains("default"));
        assert!(refused(&format!("{param}{param}")).contains("two parameters"));
        assert!(refused("[effects]\nflies = true\n").contains("unknown field"));
        let message = "[[messages]]\nname = \"m\"\ndoc = \"\"\n";
        assert!(refused(message).contains("missing field `from`"));
        assert!(refused(&format!("{message}from = [\"root\"]\n")).contains("unknown variant `root`"));
        assert!(refused(&format!("{message}from = []\n")).contains("`from` names nobody"));
        let message = format!("{message}from = [\"operator\"]\n");
        assert!(parse(&format!("{base}{message}")).is_ok());
        assert!(refused(&format!("{message}{message}")).contains("two messages"));
        let field = |rest: &str| format!("{message}[[messages.fields]]\nname = \"f\"\ndoc = \"\"\n{rest}\n");
        for (rest, why) in [
            (
                "type = \"secret\"",
                "message `m`, field `f`: messages hold no files",
            ),
            ("type = \"enum\"", "message `m`: field `f`: `values` belongs"),
            (
                "type = \"time\"\nmin = \"7\"",
                "message `m`: field `f`: `min` = \"7\"",
            ),
            (
                "type = \"time\"\nmax = \"1.5 s\"",
                "is not a time, such as `10 ms` as a plain whole value",
            ),
            (
                "type = \"int\"\nlist = true\ndefault = \"[1]\"",
                "a list has no default",
            ),
        ] {
            let found = refused(&field(rest));
            assert!(found.contains(why), "{found}");
        }
        let good = "type = \"time\"\nmin = \"0\"\nmax = \"1 h\"\ndefault = \"10 s\"";
        assert!(parse(&format!("{base}{}", field(good))).is_ok());
        for path in ["../x", "/bin/x", "", ".."] {
            let text = base.replace("binary = \"x\"", &format!("binary = {path:?}"));
            assert!(
                parse(&text).unwrap_err().contains("not the name of a program"),
                "{path}"
            );
            let text = base.replace("binary", &format!("files = [\"lib\", {path:?}]\nbinary"));
            assert!(
                parse(&text)
                    .unwrap_err()
                    .contains("not the name of a file or directory"),
                "{path}"
            );
        }
    }

    /// As operators see them who import such a manifest.
    #[test]
    fn mistakes_in_messages_are_shown() {
        use std::path::Path;

        use crate::{Inputs, check, host::MemoryHost, render};
        let base = "name = \"x\"\nversion = \"1\"\nsummary = \"s\"\n[run]\nbinary = \"x\"\n";
        let chain = "use \"x.nf.toml\" as x\nport a = null {}\nnf n = x\nsteer a { else -> n -> drop }\n";
        let shown = |messages: &str| {
            let host = MemoryHost::default()
                .with("test.chain", chain)
                .with("x.nf.toml", format!("{base}{messages}"));
            let checked = check(&host, Path::new("test.chain"), &Inputs::default()).unwrap();
            render::human(&checked.sources, &checked.diagnostics, false, 100)
        };
        let message = "[[messages]]\nname = \"m\"\ndoc = \"\"\n";
        let found = [
            format!("{message}from = [\"anybody\"]\n"),
            format!("{message}from = []\n"),
            format!(
                "{message}from = [\"peers\"]\n[[messages.fields]]\nname = \"f\"\ndoc = \"\"\ntype = \"rules\"\nvalues = [\"a\"]\n"
            ),
        ];
        insta::assert_snapshot!(found.map(|messages| shown(&messages)).concat());
    }
}
