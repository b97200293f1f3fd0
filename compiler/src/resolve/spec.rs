//! The types of settings, and reading values as these.
//!
//! One mechanism serves NF parameters (from manifests) and the language's own settings (ports, `with`, `manager`).

use std::borrow::Cow;

use onvm_bundle::{Param, ParamKind};
use onvm_lang::{
    is_name,
    syntax::{Number, Span, Spanned, Value},
};

use crate::resolve::{
    notation::{describe_kind, describe_value, fix_for, notation, parse_value},
    units,
};

/// The kind of value that a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain(ParamKind),
    /// `2` or `2..4`; the value of a range is the list of its ends.
    IntOrRange,
    /// A count, or this word.
    CountOr(&'static str),
    /// A size, or one of the spec's words.
    SizeOrWord,
    /// A string for a path on the host, or `file("...")` for a file in the bundle.
    HostPathOrFile,
    HostPath,
    /// An IP address, with or without a port.
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: Kind,
    pub(crate) list: bool,
    pub(crate) doc: Cow<'static, str>,
    pub(crate) default: Option<toml::Value>,
    pub(crate) required: bool,
    min: Option<Bound>,
    max: Option<Bound>,
    pub(crate) words: Vec<Cow<'static, str>>,
}

#[derive(Debug, Clone)]
struct Bound {
    value: toml::Value,
    text: String,
}

/// Why a value does not suit a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    Type {
        got: &'static str,
        fix: Option<String>,
    },
    /// The units that would fit; none where no unit may stand.
    Unit {
        got: Option<String>,
        units: Vec<&'static str>,
    },
    Range {
        range: String,
    },
    Form {
        rule: String,
    },
    Word {
        word: String,
    },
}

impl Spec {
    pub(crate) fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            list: false,
            doc: doc.into(),
            default: None,
            required: false,
            min: None,
            max: None,
            words: Vec::new(),
        }
    }

    pub(crate) fn plain(name: &'static str, kind: ParamKind, doc: &'static str) -> Self {
        Self::new(name, Kind::Plain(kind), doc)
    }

    pub(crate) fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    pub(crate) fn range(self, min: i64, max: i64) -> Self {
        let bound = |n: i64| {
            Some(Bound {
                value: n.into(),
                text: n.to_string(),
            })
        };
        Self {
            min: bound(min),
            max: bound(max),
            ..self
        }
    }

    pub(crate) fn words(self, words: &[&'static str]) -> Self {
        Self {
            words: words.iter().map(|w| Cow::Borrowed(*w)).collect(),
            ..self
        }
    }

    pub(crate) fn list_if(self, list: bool) -> Self {
        Self { list, ..self }
    }

    /// Of a manifest's parameter, whose default and bounds must be values of its type.
    pub(crate) fn from_param(param: &Param) -> Result<Self, String> {
        let mut spec = Self {
            name: param.name.clone().into(),
            kind: Kind::Plain(param.kind),
            list: param.list,
            doc: param.doc.clone().into(),
            default: None,
            required: param.default.is_none() && !param.optional,
            min: None,
            max: None,
            words: param.values.iter().map(|w| w.clone().into()).collect(),
        };
        let has_words = matches!(param.kind, ParamKind::Enum | ParamKind::Rules);
        if has_words == param.values.is_empty() {
            return Err(format!(
                "parameter `{}`: `values` belongs to the types `enum` and `rules`, and only to them",
                param.name
            ));
        }
        if let Some(word) = param.values.iter().find(|word| !is_name(word)) {
            return Err(format!(
                "parameter `{}`: the word `{word}` is not [a-z][a-z0-9_]*",
                param.name
            ));
        }
        if matches!(param.kind, ParamKind::Filter | ParamKind::Rules) {
            return spec.of_packets(param);
        }
        let bound = |text: &Option<String>, what: &str| match text {
            None => Ok(None),
            Some(text) => read_plain(&spec, text)
                .map(|value| {
                    Some(Bound {
                        value,
                        text: text.clone(),
                    })
                })
                .map_err(|why| format!("parameter `{}`: `{what}` = \"{text}\": {why}", param.name)),
        };
        let (min, max) = (bound(&param.min, "min")?, bound(&param.max, "max")?);
        (spec.min, spec.max) = (min, max);
        if let Some(text) = &param.default {
            let read = read_default(&spec, text);
            let default =
                read.map_err(|why| format!("parameter `{}`: `default` = \"{text}\": {why}", param.name))?;
            spec.default = Some(default);
        }
        Ok(spec)
    }

    /// Of a parameter that is a filter or rules. Its default is a filter that names no class.
    fn of_packets(mut self, param: &Param) -> Result<Self, String> {
        let name = &param.name;
        if param.list || param.min.is_some() || param.max.is_some() {
            return Err(format!(
                "parameter `{name}`: filters and rules have no `list`, `min` and `max`"
            ));
        }
        match (&param.default, param.kind) {
            (None, _) => {}
            (Some(text), ParamKind::Filter) => {
                let filter = crate::lower::filter::lower_alone(text);
                let filter = filter.ok_or_else(|| {
                    format!("parameter `{name}`: `default` = \"{text}\": it is not a filter")
                })?;
                self.default = Some(filter.to_string().into());
            }
            (Some(_), _) => {
                return Err(format!(
                    "parameter `{name}`: rules have no default; say `optional = true`"
                ));
            }
        }
        Ok(self)
    }

    /// Whether it is a filter or rules.
    pub(crate) fn is_of_packets(&self) -> bool {
        matches!(self.kind, Kind::Plain(ParamKind::Filter | ParamKind::Rules))
    }

    /// As in "a time".
    pub(crate) fn wanted(&self) -> String {
        let one = match self.kind {
            Kind::Plain(ParamKind::Enum) => self.known_words(),
            Kind::Plain(kind) => describe_kind(kind).to_owned(),
            Kind::IntOrRange => "a whole number or a range such as `2..4`".to_owned(),
            Kind::CountOr(word) => format!("a whole number or `{word}`"),
            Kind::SizeOrWord => format!("a size, {}", self.known_words()),
            Kind::HostPathOrFile => "a path in quotes or `file(\"...\")`".to_owned(),
            Kind::HostPath => "a path in quotes".to_owned(),
            Kind::End => "an IP address, with or without a port".to_owned(),
        };
        if self.list {
            format!("a list, each item {one}")
        } else {
            one
        }
    }

    fn known_words(&self) -> String {
        crate::diagnostics::one_of(self.words.iter().map(AsRef::as_ref))
    }

    /// The same number in each unit that makes it a value of the setting; without one where none is wanted.
    pub(crate) fn in_units(&self, given: &Value, units: &[&str]) -> Vec<String> {
        let number = match given {
            Value::Int(n) => Number::Int(*n),
            Value::Decimal(n) => Number::Decimal(*n),
            Value::Quantity { number, .. } => *number,
            _ => return Vec::new(),
        };
        let with = |unit: &&str| Value::Quantity {
            number,
            unit: Spanned::new((*unit).to_owned(), Span::default()),
        };
        let plain = match number {
            Number::Int(n) => Value::Int(n),
            Number::Decimal(n) => Value::Decimal(n),
        };
        let mut values: Vec<Value> = units.iter().map(with).collect();
        if units.is_empty() {
            values.push(plain);
        }
        values.retain(|value| self.read(value).is_ok());
        values.iter().map(notation).collect()
    }

    /// Reads one value, or one item of a list. `file("...")` is the caller's: it needs the host.
    pub(crate) fn read(&self, value: &Value) -> Result<toml::Value, Problem> {
        let read = match (self.kind, value) {
            (Kind::Plain(kind), value) => self.read_plain_kind(kind, value)?,
            (Kind::IntOrRange, Value::Range(low, high)) => {
                self.check_bounds(&(*low).into())?;
                self.check_bounds(&(*high).into())?;
                return Ok(vec![toml::Value::from(*low), (*high).into()].into());
            }
            (Kind::IntOrRange | Kind::CountOr(_), Value::Int(n)) => (*n).into(),
            (Kind::CountOr(word), Value::Word(given)) if given == word => given.clone().into(),
            (Kind::CountOr(_), Value::Word(word)) => return Err(Problem::Word { word: word.clone() }),
            (Kind::SizeOrWord, Value::Word(word)) => return self.read_word(word),
            (Kind::SizeOrWord, value) => self.read_plain_kind(ParamKind::Size, value)?,
            (Kind::HostPathOrFile | Kind::HostPath, Value::Str(path)) => path.clone().into(),
            (Kind::End, Value::AddrPort(end)) => end.to_string().into(),
            (Kind::End, value) => self.read_plain_kind(ParamKind::Address, value)?,
            (_, Value::Quantity { unit, .. }) => {
                return Err(Problem::Unit {
                    got: Some(unit.node.clone()),
                    units: Vec::new(),
                });
            }
            (_, other) => {
                return Err(Problem::Type {
                    got: describe_value(other),
                    fix: None,
                });
            }
        };
        self.check_bounds(&read)?;
        Ok(read)
    }

    fn read_plain_kind(&self, kind: ParamKind, value: &Value) -> Result<toml::Value, Problem> {
        let units = units::of_kind(kind);
        Ok(match (kind, value) {
            (ParamKind::Bool, Value::Bool(b)) => (*b).into(),
            (ParamKind::Int, Value::Int(n)) => (*n).into(),
            (ParamKind::Decimal, Value::Decimal(d)) => (*d).into(),
            #[allow(clippy::cast_precision_loss)]
            (ParamKind::Decimal, Value::Int(n)) => (*n as f64).into(),
            (ParamKind::String, Value::Str(s)) => s.clone().into(),
            (ParamKind::Enum, Value::Word(word)) => return self.read_word(word),
            (ParamKind::Enum, Value::Bool(b)) => return self.read_word(&b.to_string()),
            (ParamKind::Secret, Value::Secret(name)) if !onvm_bundle::is_name(&name.node) => {
                return Err(Problem::Form {
                    rule: "a name of letters, digits, `_`, `-` and `.`, such as `VPN_KEY`".to_owned(),
                });
            }
            (ParamKind::Secret, Value::Secret(name)) => toml::Value::Table(
                [("secret".to_owned(), name.node.clone().into())]
                    .into_iter()
                    .collect(),
            ),
            (_, Value::Quantity { number, unit }) => match units::normalise(kind, *number, unit) {
                Ok(n) => n.into(),
                Err(units::NoValue::WrongUnit) => {
                    return Err(Problem::Unit {
                        got: Some(unit.node.clone()),
                        units,
                    });
                }
                Err(units::NoValue::Negative) => {
                    return Err(match self.bounds() {
                        Some(range) => Problem::Range { range },
                        None => Problem::Form {
                            rule: "0 or more".to_owned(),
                        },
                    });
                }
                Err(units::NoValue::NotWhole) => {
                    let rule = format!(
                        "a whole number of `{}` below 2^63",
                        units.first().copied().unwrap_or("")
                    );
                    return Err(Problem::Form { rule });
                }
            },
            (_, Value::Int(0)) if !units.is_empty() => 0.into(),
            (_, Value::Int(_) | Value::Decimal(_)) if !units.is_empty() => {
                return Err(Problem::Unit { got: None, units });
            }
            (ParamKind::Address, Value::Ipv4(a)) => a.to_string().into(),
            (ParamKind::Address, Value::Ipv6(a)) => a.to_string().into(),
            (ParamKind::Prefix, Value::Ipv4(a)) => format!("{a}/32").into(),
            (ParamKind::Prefix, Value::Ipv6(a)) => format!("{a}/128").into(),
            (ParamKind::Prefix, Value::Prefix(p)) if p.has_host_bits() => {
                return Err(Problem::Form {
                    rule: format!("a prefix without host bits, such as {}", p.network()),
                });
            }
            (ParamKind::Prefix, Value::Prefix(p)) => p.to_string().into(),
            (ParamKind::Mac, Value::Mac(mac)) => mac.to_string().into(),
            (ParamKind::Endpoint, Value::AddrPort(a)) => a.to_string().into(),
            (kind, other) => {
                return Err(Problem::Type {
                    got: describe_value(other),
                    fix: fix_for(kind, other),
                });
            }
        })
    }

    fn read_word(&self, word: &str) -> Result<toml::Value, Problem> {
        match self.words.iter().any(|w| w == word) {
            true => Ok(word.into()),
            false => Err(Problem::Word {
                word: word.to_owned(),
            }),
        }
    }

    fn check_bounds(&self, value: &toml::Value) -> Result<(), Problem> {
        let low = self.min.as_ref().is_some_and(|b| less(value, &b.value));
        let high = self.max.as_ref().is_some_and(|b| less(&b.value, value));
        if !low && !high {
            return Ok(());
        }
        Err(Problem::Range {
            range: self.bounds().unwrap_or_default(),
        })
    }

    /// As in "from 1 to 64".
    pub(crate) fn bounds(&self) -> Option<String> {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => Some(format!("from {} to {}", min.text, max.text)),
            (Some(min), None) => Some(format!("from {}", min.text)),
            (None, Some(max)) => Some(format!("up to {}", max.text)),
            (None, None) => None,
        }
    }
}

/// Compares numbers; whatever is not a number is never less.
fn less(a: &toml::Value, b: &toml::Value) -> bool {
    match (a, b) {
        (toml::Value::Integer(a), toml::Value::Integer(b)) => a < b,
        (toml::Value::Float(a), toml::Value::Float(b)) => a < b,
        _ => false,
    }
}

fn read_plain(spec: &Spec, text: &str) -> Result<toml::Value, String> {
    let value = parse_value(text).ok_or("it is not a value of the language")?;
    spec.read(&value)
        .map_err(|_| format!("it must be {}", spec.wanted()))
}

fn read_default(spec: &Spec, text: &str) -> Result<toml::Value, String> {
    let value = parse_value(text).ok_or("it is not a value of the language")?;
    let wrong = |_| format!("it must be {}", spec.wanted());
    match (&value, spec.list) {
        (Value::List(items), true) => {
            let items = items.iter().map(|i| spec.read(&i.node).map_err(wrong));
            Ok(toml::Value::Array(items.collect::<Result<_, _>>()?))
        }
        (value, false) => spec.read(value).map_err(wrong),
        (_, true) => Err(format!("it must be {}", spec.wanted())),
    }
}

/// The bytes of a size such as `"16 MiB"`. None: it is not a size.
pub(crate) fn memory_bytes(text: &str) -> Option<u64> {
    let spec = Spec::plain("memory", ParamKind::Size, "");
    let value = parse_value(text).and_then(|v| spec.read(&v).ok())?;
    value.as_integer().and_then(|n| u64::try_from(n).ok())
}
