//! Following `$name` to values, reading records against their specs, and collecting the files that they name.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use onvm_bundle::ParamKind;
use onvm_lang::syntax::{Ident, Record, Span, Spanned, Value};

use crate::{
    diagnostics::{
        closest, missing_file, missing_input, missing_setting, out_of_range, reference_cycle, set_twice,
        unknown_setting, unknown_word, wrong_unit, wrong_value_type,
    },
    resolve::{
        assets::Assets,
        names::{Item, Names},
        notation::{describe_value, notation},
        overrides::Overrides,
        spec::{Kind, Problem, Spec},
    },
    source::{
        context::Context,
        host::clean,
        load::describe,
        sources::{FileId, Place},
    },
};

/// A value with its references followed.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) what: What,
    /// Where it is used.
    pub(crate) place: Place,
    /// Where it is written, when that is elsewhere: in a `let` or a `param`.
    origin: Option<Place>,
    /// The file in which it is written, from which relative paths start.
    pub(crate) file: FileId,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    One(Value),
    List(Vec<Given>),
}

pub(crate) struct Values<'a> {
    pub(crate) cx: &'a Context<'a>,
    names: &'a Names<'a>,
    overrides: &'a Overrides,
    /// None while it is being found.
    known: RefCell<HashMap<String, Option<Option<Rc<Given>>>>>,
    pub(crate) assets: RefCell<Assets>,
}

/// Reads parameters that select packets: their filters have to be lowered.
pub(crate) trait OfPackets {
    /// The value of a parameter whose type is `filter` or `rules`, for the NF `nf`. None: reported.
    fn read(
        &self,
        values: &Values<'_>,
        spec: &Spec,
        nf: &str,
        file: FileId,
        value: &Spanned<Value>,
    ) -> Option<toml::Value>;
}

/// The settings of one record, read. A setting that was refused is not in it.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) values: toml::Table,
    /// Where each given setting's value stands.
    pub(crate) places: HashMap<String, Place>,
    /// Every setting was accepted.
    pub(crate) complete: bool,
}

/// Items of one list, those that come from names included: lists that double each other stay small.
const MAX_ITEMS: usize = 1 << 18;

/// `$a` leads to `$b` leads to ... no further than this.
const MAX_FOLLOWED: usize = 256;

impl<'a> Values<'a> {
    pub(crate) fn new(cx: &'a Context<'a>, names: &'a Names<'a>, overrides: &'a Overrides) -> Self {
        Self {
            cx,
            names,
            overrides,
            known: RefCell::default(),
            assets: RefCell::default(),
        }
    }

    /// Follows the references in a value. None: reported.
    pub(crate) fn follow(&self, file: FileId, value: &Spanned<Value>) -> Option<Given> {
        let place = self.cx.place(file, value.span);
        match &value.node {
            Value::Ref(name) => {
                let found = self.named(file, name)?;
                let origin = Some(found.origin.unwrap_or(found.place));
                Some(Given {
                    what: found.what.clone(),
                    place,
                    origin,
                    file: found.file,
                })
            }
            Value::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                let mut whole = true;
                for item in items {
                    match self.follow(file, item) {
                        // A list within a list can only come from a name: its items join the outer list.
                        Some(Given {
                            what: What::List(inner),
                            ..
                        }) => list.extend(inner),
                        Some(one) => list.push(one),
                        None => whole = false,
                    }
                    if list.len() > MAX_ITEMS {
                        self.cx.report(out_of_range::too_many_items(place, MAX_ITEMS));
                        return None;
                    }
                }
                whole.then_some(Given {
                    what: What::List(list),
                    place,
                    origin: None,
                    file,
                })
            }
            other => Some(Given {
                what: What::One(other.clone()),
                place,
                origin: None,
                file,
            }),
        }
    }

    /// The value of `$name`, used in `file`.
    fn named(&self, file: FileId, name: &Ident) -> Option<Rc<Given>> {
        let symbol = self.names.value(self.cx, file, name)?;
        if let Some(known) = self.known.borrow().get(symbol.name) {
            if known.is_none() {
                let place = self.cx.place(file, name.span);
                self.cx
                    .report(reference_cycle::reference_cycle(place, symbol.name));
            }
            return known.clone().flatten();
        }
        let open = self.known.borrow().values().filter(|v| v.is_none()).count();
        if open >= MAX_FOLLOWED {
            self.cx.report(reference_cycle::too_many_steps(
                symbol.place,
                symbol.name,
                MAX_FOLLOWED,
            ));
            return None;
        }
        self.known.borrow_mut().insert(symbol.name.to_owned(), None);
        let found = self
            .written(symbol.name)
            .and_then(|(file, value)| self.follow(file, value))
            .map(Rc::new);
        self.known
            .borrow_mut()
            .insert(symbol.name.to_owned(), Some(found.clone()));
        found
    }

    /// Reads an input as its type. A value that is refused, which is reported here, is not looked at where it is used.
    pub(crate) fn check_input(&self, name: &str, spec: &Spec, given: &Given) {
        if self.read(spec, given).is_none() {
            self.known.borrow_mut().insert(name.to_owned(), Some(None));
        }
    }

    /// What a `let` or `param` says, `--set` included. None: nothing, which is reported.
    pub(crate) fn written(&self, name: &str) -> Option<(FileId, &'a Spanned<Value>)> {
        // Every input is read; that alone uses none.
        let symbol = self.names.declared(name)?;
        match symbol.item {
            Item::Let(binding) => Some((symbol.file, &binding.value)),
            Item::Param(param) => match (self.overrides.get(name), &param.default) {
                (Some(given), _) => Some(given),
                (None, Some(default)) => Some((symbol.file, default)),
                (None, None) => {
                    if !self.overrides.failed(name) {
                        self.cx.report(missing_input::missing_input(symbol.place, name));
                    }
                    None
                }
            },
            _ => None,
        }
    }

    /// Checks what is right or wrong with a value whatever it is for: names, and files.
    pub(crate) fn look_at(&self, file: FileId, value: &Spanned<Value>) {
        if let Some(given) = self.follow(file, value)
            && let What::One(Value::File(path)) = &given.what
        {
            self.file(&given, &path.node);
        }
    }

    /// Reads a record against its specs. `owner` as in "port `wan`", `head` is where it is declared.
    pub(crate) fn settings<'s>(
        &self,
        file: FileId,
        owner: &str,
        head: Place,
        record: Option<&Record>,
        specs: impl IntoIterator<Item = &'s Spec>,
    ) -> Settings {
        self.parameters(file, owner, head, record, specs, None)
    }

    /// The same of an NF's parameters, some of which may be filters and rules.
    pub(crate) fn parameters<'s>(
        &self,
        file: FileId,
        owner: &str,
        head: Place,
        record: Option<&Record>,
        specs: impl IntoIterator<Item = &'s Spec>,
        nf: Option<(&dyn OfPackets, &str)>,
    ) -> Settings {
        let specs: Vec<&Spec> = specs.into_iter().collect();
        let mut read = Settings {
            values: toml::Table::new(),
            places: HashMap::new(),
            complete: true,
        };
        let mut names: HashMap<&str, Span> = HashMap::new();
        // What is misspelt is not missing too.
        let mut meant: Vec<&str> = Vec::new();
        for field in record.iter().flat_map(|r| &r.fields) {
            let (name, place) = (field.name.node.as_str(), self.cx.place(file, field.name.span));
            let Some(spec) = specs.iter().find(|s| s.name == name) else {
                let known: Vec<&str> = specs.iter().map(|s| s.name.as_ref()).collect();
                meant.extend(closest(name, known.iter().copied()));
                self.cx
                    .report(unknown_setting::unknown_setting(place, owner, name, known));
                read.complete = false;
                continue;
            };
            if let Some(first) = names.insert(name, field.name.span) {
                self.cx
                    .report(set_twice::set_twice(place, name, self.cx.place(file, first)));
                read.complete = false;
                continue;
            }
            read.places
                .insert(name.to_owned(), self.cx.place(file, field.value.span));
            let value = match nf {
                Some((packets, nf)) if spec.is_of_packets() => {
                    packets.read(self, spec, nf, file, &field.value)
                }
                _ => self
                    .follow(file, &field.value)
                    .and_then(|given| self.read(spec, &given)),
            };
            match value {
                Some(value) => drop(read.values.insert(name.to_owned(), value)),
                None => read.complete = false,
            }
        }
        for spec in specs.iter().filter(|s| !names.contains_key(s.name.as_ref())) {
            match &spec.default {
                Some(default) => drop(read.values.insert(spec.name.to_string(), default.clone())),
                None if meant.contains(&spec.name.as_ref()) => {}
                None if spec.required => {
                    self.cx.report(missing_setting::missing_setting(
                        head, owner, &spec.name, &spec.doc,
                    ));
                    read.complete = false;
                }
                None => {}
            }
        }
        read
    }

    /// Reads a value as a spec wants it. None: reported.
    pub(crate) fn read(&self, spec: &Spec, given: &Given) -> Option<toml::Value> {
        match (&given.what, spec.list) {
            (What::List(items), true) => {
                let items: Vec<_> = items.iter().map(|item| self.read_one(spec, item)).collect();
                items
                    .into_iter()
                    .collect::<Option<Vec<_>>>()
                    .map(toml::Value::Array)
            }
            (What::One(Value::Range(low, high)), true) if spec.kind == Kind::Plain(ParamKind::Int) => {
                self.read_range(spec, given, *low, *high)
            }
            (What::One(value), true) => {
                let fix = Some("put it in brackets: `[...]`".to_owned());
                self.refuse(
                    spec,
                    given,
                    Problem::Type {
                        got: describe_value(value),
                        fix,
                    },
                );
                None
            }
            (What::List(_), false) => {
                self.refuse(
                    spec,
                    given,
                    Problem::Type {
                        got: "a list",
                        fix: None,
                    },
                );
                None
            }
            (What::One(_), false) => self.read_one(spec, given),
        }
    }

    /// `2..5` where a list of whole numbers stands: each of them.
    fn read_range(&self, spec: &Spec, given: &Given, low: i64, high: i64) -> Option<toml::Value> {
        for end in [low, high] {
            if let Err(problem) = spec.read(&Value::Int(end)) {
                self.refuse(spec, given, problem);
                return None;
            }
        }
        if high.saturating_sub(low) > 4096 {
            self.refuse(
                spec,
                given,
                Problem::Form {
                    rule: "a range of at most 4096 numbers".to_owned(),
                },
            );
            return None;
        }
        Some(toml::Value::Array(
            (low..=high).map(toml::Value::Integer).collect(),
        ))
    }

    fn read_one(&self, spec: &Spec, given: &Given) -> Option<toml::Value> {
        let What::One(value) = &given.what else {
            self.refuse(
                spec,
                given,
                Problem::Type {
                    got: "a list",
                    fix: None,
                },
            );
            return None;
        };
        if let (Value::File(path), Kind::Plain(ParamKind::File) | Kind::HostPathOrFile) = (value, spec.kind) {
            let path = self.file(given, &path.node)?;
            return Some(toml::Value::Table(
                [("file".to_owned(), path.into())].into_iter().collect(),
            ));
        }
        match spec.read(value) {
            Ok(read) => {
                if let Value::Secret(name) = value {
                    self.assets.borrow_mut().secrets.insert(name.node.clone());
                }
                Some(read)
            }
            Err(problem) => {
                self.refuse(spec, given, problem);
                None
            }
        }
    }

    /// Takes a file into the bundle; returns its path there. None: reported.
    fn file(&self, given: &Given, path: &str) -> Option<String> {
        let on_host = clean(&self.cx.directory(given.file).join(path));
        if let Some(known) = self.assets.borrow().known(&on_host) {
            return Some(known.to_owned());
        }
        match self.cx.host.read(&on_host) {
            Ok(content) => Some(self.assets.borrow_mut().take_file(on_host, path, content)),
            Err(e) => {
                let found = missing_file::missing_file(given.place, path, &describe(&e));
                self.cx.report(given.with_origin(found));
                None
            }
        }
    }

    /// A word that stands where a value should, and is the name of one.
    fn constant(&self, what: &What) -> Option<String> {
        let What::One(Value::Word(word)) = what else {
            return None;
        };
        let symbol = self.names.get(word)?;
        matches!(symbol.item, Item::Let(_) | Item::Param(_))
            .then(|| format!("the constant of this name is written `${word}`"))
    }

    fn refuse(&self, spec: &Spec, given: &Given, problem: Problem) {
        if let Problem::Unit { got: Some(unit), .. } = &problem
            && !onvm_lang::UNITS.contains(&unit.as_str())
        {
            // The parser has said that there is no such unit.
            return;
        }
        if let (What::One(Value::Word(word)), Problem::Type { .. } | Problem::Word { .. }) =
            (&given.what, &problem)
            && !onvm_lang::is_name(word)
        {
            // Nor is this a word: it stands for what the parser could not read.
            return;
        }
        let (place, name) = (given.place, spec.name.as_ref());
        let written = given.origin.unwrap_or(place);
        let text = match &given.what {
            What::One(value) => notation(value),
            What::List(_) => "a list".to_owned(),
        };
        let found = match problem {
            Problem::Type { got, fix } => {
                let fix = fix.or_else(|| self.constant(&given.what));
                wrong_value_type::wrong_value_type(place, name, &spec.wanted(), got, fix)
            }
            Problem::Unit { got, units } => {
                let instead = match &given.what {
                    What::One(value) => spec.in_units(value, &units),
                    What::List(_) => Vec::new(),
                };
                wrong_unit::wrong_unit(
                    place,
                    name,
                    &spec.wanted(),
                    got.as_deref(),
                    &units,
                    written,
                    instead,
                )
            }
            Problem::Range { range } => out_of_range::out_of_range(place, name, &text, &range),
            Problem::Form { rule } => out_of_range::malformed(place, name, &text, &rule),
            Problem::Word { word } => {
                let known: Vec<&str> = match spec.kind {
                    Kind::CountOr(only) => vec![only],
                    _ => spec.words.iter().map(AsRef::as_ref).collect(),
                };
                unknown_word::unknown_word(place, written, name, &word, known)
            }
        };
        self.cx.report(given.with_origin(found));
    }
}

impl Given {
    pub(crate) fn with_origin(&self, found: onvm_lang::Diagnostic) -> onvm_lang::Diagnostic {
        match self.origin {
            Some(origin) => found.label(origin.span(), "the value is written here"),
            None => found,
        }
    }
}
