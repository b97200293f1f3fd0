//! `onvmc diff`, and showing what differs.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use onvm_bundle::{
    Bundle,
    diff::{Action, Contents, Diff, diff},
};
use onvmc::{Inputs, Program, artifact::Artifact};

use super::{
    Outcome,
    args::{DiffArgs, SourceArgs},
    build::{make, packed},
    check,
    output::Output,
    traffic,
};

/// A source that has been compiled, or a bundle that has been loaded.
#[derive(Debug)]
pub(super) enum Side {
    Source(Box<(Program, Artifact)>),
    Bundle(Box<Bundle>),
}

impl Side {
    /// None: refused, and said so.
    pub(super) fn read(out: &Output, path: &Path, args: &SourceArgs, inputs: &Inputs<'_>) -> Option<Self> {
        if !path.is_dir() {
            return make(out, path, args, inputs).map(|made| Self::Source(Box::new(made)));
        }
        match Bundle::load(path) {
            Ok(bundle) => Some(Self::Bundle(Box::new(bundle))),
            Err(e) => {
                out.error("bundle", &e.to_string());
                None
            }
        }
    }

    /// The same, to be looked at and not run: assertions need not hold.
    pub(super) fn look(out: &Output, path: &Path, args: &SourceArgs) -> Option<Self> {
        if path.is_dir() {
            return Self::read(out, path, args, &Inputs::default());
        }
        let (program, sources) = check::look(out, path, args, &Inputs::default())?;
        packed(out, program, &sources).map(|made| Self::Source(Box::new(made)))
    }

    pub(super) fn contents(&self) -> Contents<'_> {
        match self {
            Self::Source(made) => made.0.contents(),
            Self::Bundle(bundle) => bundle.as_ref().into(),
        }
    }

    /// Names of the secrets that its NFs need.
    pub(super) fn secrets(&self) -> &[String] {
        match self {
            Self::Source(made) => &made.0.secrets,
            Self::Bundle(bundle) => &bundle.index.secrets,
        }
    }

    /// The bundle's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Source(made) => &made.1.index.name,
            Self::Bundle(bundle) => &bundle.index.name,
        }
    }

    /// What `file("...")` named, by path in the bundle, as far as it can be read.
    pub(super) fn files(&self) -> Cow<'_, BTreeMap<String, Vec<u8>>> {
        match self {
            Self::Source(made) => Cow::Borrowed(&made.0.files),
            Self::Bundle(bundle) => {
                let files = bundle.index.files.iter().filter(|f| f.path.starts_with("files/"));
                let read = files.filter_map(|f| Some((f.path.clone(), bundle.read(&f.path).ok()?)));
                Cow::Owned(read.collect())
            }
        }
    }

    /// The texts of the chain files that it was made from, as far as they can be read.
    pub(super) fn sources(&self) -> Vec<String> {
        let is_chain = |path: &str| path.starts_with("source/") && path.ends_with(".chain");
        match self {
            Self::Source(made) => {
                let files = made.1.files.iter().filter(|(path, _)| is_chain(path));
                files
                    .map(|(_, content)| String::from_utf8_lossy(content).into_owned())
                    .collect()
            }
            Self::Bundle(bundle) => {
                let files = bundle.index.files.iter().filter(|f| is_chain(&f.path));
                files
                    .filter_map(|f| String::from_utf8(bundle.read(&f.path).ok()?).ok())
                    .collect()
            }
        }
    }

    pub(super) fn generation(&self) -> &str {
        match self {
            Self::Source(made) => &made.1.index.generation,
            Self::Bundle(bundle) => &bundle.index.generation,
        }
    }
}

pub(super) fn run(out: &Output, args: &DiffArgs) -> Outcome {
    let Some(old) = Side::read(out, &args.old, &args.source, &Inputs::default()) else {
        return Outcome::Refused;
    };
    let inputs = Inputs {
        previous: Some(old.contents().manager),
        ..Inputs::default()
    };
    let Some(new) = Side::read(out, &args.new, &args.source, &inputs) else {
        return Outcome::Refused;
    };
    let found = diff(old.contents(), new.contents());
    let compared = traffic::compare(out, &old, &new, &found);
    let moved = compared.as_ref().ok().and_then(Option::as_ref);
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "from": old.generation(), "to": new.generation(),
            "changes": found.changes, "needs_restart": found.needs_restart, "instances": found.instances,
            "traffic": moved.map(traffic::json),
        }));
    } else {
        out.data(&text(&found));
        out.data(&moved.map(traffic::text).unwrap_or_default());
    }
    compared.err().unwrap_or(Outcome::Done)
}

/// For people: one line for each change, `+` added, `~` changed, `-` removed.
pub(super) fn text(found: &Diff) -> String {
    let mut text = String::new();
    for change in &found.changes {
        let sign = match change.action {
            Action::Added => '+',
            Action::Changed => '~',
            Action::Removed => '-',
        };
        let name = if change.kind == change.name {
            ""
        } else {
            &change.name
        };
        text.push_str(format!("  {sign} {} {name}", change.kind).trim_end());
        text.push('\n');
        for d in &change.details {
            text.push_str(&format!("      {}: {} => {}\n", d.what, d.from, d.to));
        }
    }
    if found.is_empty() {
        text.push_str("No changes.\n");
    }
    if !found.needs_restart.is_empty() {
        let fixed = found.needs_restart.join(", ");
        text.push_str(&format!(
            "This edit needs a restart of onvm-run, `onvmc apply` refuses it: {fixed}\n"
        ));
    }
    let instances = &found.instances;
    let lists = [
        ("start", &instances.started),
        ("stop", &instances.stopped),
        ("replace", &instances.replaced),
        ("keep", &instances.kept),
    ];
    if !found.is_empty() {
        for (verb, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            text.push_str(&format!("Instances to {verb}: {}\n", names.join(", ")));
        }
    }
    text
}
