//! An instance's parameters, already checked against the manifest by the compiler.

use std::{
    collections::BTreeMap,
    fmt::{self, Display},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Verdict,
    filter::{Expr, Rules},
    flows::Target,
};

/// Parameters by name, and the names of the manifest's outputs. Times are nanoseconds, sizes bytes, bit rates bits a
/// second, packet rates packets a second, addresses, prefixes and MACs text; a file's content and a secret's value are here
/// as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Params {
    #[serde(default)]
    values: BTreeMap<String, Value>,
    /// Contents of the file parameters, by the file's name in the bundle.
    #[serde(skip)]
    files: BTreeMap<String, Vec<u8>>,
    /// Names of the manifest's outputs, in order.
    #[serde(skip)]
    outputs: Vec<String>,
    /// Chains that the NF's flow entries may lead to, by port.
    #[serde(skip)]
    targets: Vec<FlowTarget>,
    /// Those of the NFs that are fused in the process, by place.
    #[serde(skip)]
    members: Vec<MemberParams>,
}

/// The parameters of one of several fused NFs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MemberParams {
    /// The name that it would have as an instance.
    pub(crate) name: String,
    /// The NF, as its program names it.
    pub(crate) program: String,
    pub(crate) params: Params,
}

/// A chain that flow entries of a port may lead to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlowTarget {
    pub port: String,
    /// `drop` for none.
    pub chain: String,
}

/// An output of the manifest, found by its name ([`Params::output`]); for [`Packet::output`](crate::Packet::output).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Output(u16);

impl From<Output> for u16 {
    /// The index in the manifest's list.
    fn from(output: Output) -> Self {
        output.0
    }
}

impl From<Output> for Verdict {
    fn from(output: Output) -> Self {
        Self::Output(output.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    #[error("parameter `{0}` is missing")]
    Missing(String),
    #[error("parameter `{name}`: {reason}")]
    Value { name: String, reason: String },
    #[error("parameter `{name}`: {mistakes}")]
    File { name: String, mistakes: FileMistakes },
    #[error("the NF has no output `{name}`: its manifest declares {}", listed(.declared))]
    Output { name: String, declared: Vec<String> },
    #[error(
        "the NF may not make flow entries of port `{}` that lead to `{}`: it may make {}. Permit it by `allow NF to program {} {{ … }}`",
        .asked.port, .asked.chain, targets(.permitted), .asked.port
    )]
    Target {
        asked: FlowTarget,
        permitted: Vec<FlowTarget>,
    },
}

fn targets(permitted: &[FlowTarget]) -> String {
    match permitted {
        [] => "none".to_owned(),
        permitted => {
            let targets = permitted.iter().map(|t| format!("`{}` -> `{}`", t.port, t.chain));
            targets.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Names as a sentence has them.
fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The mistakes in the file of a file parameter: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistakes {
    /// The file's name, as the operator wrote it.
    pub file: String,
    /// In the order in which they stand there.
    pub mistakes: Vec<FileMistake>,
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistake {
    /// None: the file as a whole.
    pub at: Option<FileSpan>,
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

/// A part of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpan {
    /// From 1.
    pub line: usize,
    /// In characters, from 1. Where the text is not UTF-8, each faulty part of it counts as one.
    pub column: usize,
    /// In characters.
    pub length: usize,
}

impl FileMistake {
    pub fn new(line: usize, column: usize, length: usize, message: impl Into<String>) -> Self {
        Self {
            at: Some(FileSpan { line, column, length }),
            message: message.into(),
            help: None,
        }
    }

    /// About the file as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self {
            at: None,
            message: message.into(),
            help: None,
        }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The first of them, and how many more there are.
impl Display for FileMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.mistakes.first() else {
            return f.write_str(&self.file);
        };
        match first.at {
            Some(FileSpan { line, column, .. }) => {
                write!(f, "{}:{line}:{column}: {}", self.file, first.message)?;
            }
            None => write!(f, "{}: {}", self.file, first.message)?,
        }
        match self.mistakes.len() - 1 {
            0 => Ok(()),
            1 => f.write_str(" (and 1 more mistake)"),
            more => write!(f, " (and {more} more mistakes)"),
        }
    }
}

impl ParamsError {
    /// An error about the value of `name`.
    pub fn value(name: &str, reason: impl Display) -> Self {
        Self::Value {
            name: name.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl Params {
    pub fn new(values: BTreeMap<String, Value>, files: BTreeMap<String, Vec<u8>>) -> Self {
        Self {
            values,
            files,
            outputs: Vec::new(),
            targets: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The chains that flow entries may lead to, in the manager's order.
    #[must_use]
    pub fn with_targets(mut self, targets: impl IntoIterator<Item = FlowTarget>) -> Self {
        self.targets = targets.into_iter().collect();
        self
    }

    #[must_use]
    pub(crate) fn with_members(mut self, members: Vec<MemberParams>) -> Self {
        self.members = members;
        self
    }

    pub(crate) fn take_members(&mut self) -> Vec<MemberParams> {
        std::mem::take(&mut self.members)
    }

    /// The names of the manifest's outputs, in order.
    #[must_use]
    pub fn with_outputs(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.outputs = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds or replaces a value; for tests of an NF.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a file parameter; for tests of an NF.
    #[must_use]
    pub fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        self.values
            .insert(name.to_owned(), serde_json::json!({ "file": name }));
        self.files.insert(name.to_owned(), content.to_vec());
        self
    }

    /// Adds a `filter` parameter by the lowered text of the filter, e.g. `(and (tcp) (port dst 80))`; for tests of an NF.
    #[must_use]
    pub fn with_filter(self, name: &str, lowered: &str) -> Self {
        self.with(name, lowered)
    }

    /// Adds a `rules` parameter by its lowered text, e.g. `drop no_telnet (and (tcp) (port dst 23))`, one rule a line; for tests of
    /// an NF.
    #[must_use]
    pub fn with_rules(self, name: &str, lowered: &str) -> Self {
        self.with_file(name, lowered.as_bytes())
    }

    /// The value as a `T`, e.g. `u64`, `bool`, `String`, `IpAddr`, `Vec<u16>`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, ParamsError> {
        self.optional(name)?
            .ok_or_else(|| ParamsError::Missing(name.to_owned()))
    }

    /// As [`Self::get`], or none when the parameter was not given.
    pub fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ParamsError> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        T::deserialize(value)
            .map(Some)
            .map_err(|e| ParamsError::value(name, e))
    }

    /// The output that the manifest has under this name. Ask at the start: an error then says what the manifest lacks, and
    /// a packet costs no look-up.
    pub fn output(&self, name: &str) -> Result<Output, ParamsError> {
        let index = self.outputs.iter().position(|output| output == name);
        let index = index.and_then(|index| u16::try_from(index).ok());
        index.map(Output).ok_or_else(|| ParamsError::Output {
            name: name.to_owned(),
            declared: self.outputs.clone(),
        })
    }

    /// The target of flow entries of a port that lead to a chain, or to `drop`. Only what the program permits can be named.
    pub fn target(&self, port: &str, chain: &str) -> Result<Target, ParamsError> {
        let asked = FlowTarget {
            port: port.to_owned(),
            chain: chain.to_owned(),
        };
        let index = self.targets.iter().position(|target| *target == asked);
        match index.and_then(|index| u16::try_from(index).ok()) {
            Some(index) => Ok(Target(index)),
            None => Err(ParamsError::Target {
                asked,
                permitted: self.targets.clone(),
            }),
        }
    }

    /// All of them, for an NF that leaves the choice to its parameters.
    pub fn targets(&self) -> impl Iterator<Item = (&FlowTarget, Target)> {
        self.targets
            .iter()
            .zip(0..)
            .map(|(named, index)| (named, Target(index)))
    }

    pub fn duration(&self, name: &str) -> Result<Duration, ParamsError> {
        self.get(name).map(Duration::from_nanos)
    }

    /// The content of a file parameter.
    pub fn file(&self, name: &str) -> Result<&[u8], ParamsError> {
        self.named_file(name).map(|(_, content)| content)
    }

    /// The filter that a parameter of type `filter` is.
    pub fn filter(&self, name: &str) -> Result<Expr, ParamsError> {
        self.get(name)
    }

    /// As [`Self::filter`], or none when the parameter was not given.
    pub fn optional_filter(&self, name: &str) -> Result<Option<Expr>, ParamsError> {
        self.optional(name)
    }

    /// The rules that a parameter of type `rules` holds. `verdicts` are the words of the manifest; each rule's verdict is an index
    /// among them.
    pub fn rules(&self, name: &str, verdicts: &[&str]) -> Result<Rules, ParamsError> {
        let (file, content) = self.named_file(name)?;
        let text = str::from_utf8(content).map_err(|e| ParamsError::value(name, e))?;
        Rules::parse(text, verdicts).map_err(|error| ParamsError::File {
            name: name.to_owned(),
            mistakes: FileMistakes {
                file,
                mistakes: vec![FileMistake::new(error.line, 1, 1, error.reason)],
            },
        })
    }

    /// As [`Self::rules`], or none when the parameter was not given.
    pub fn optional_rules(&self, name: &str, verdicts: &[&str]) -> Result<Option<Rules>, ParamsError> {
        let given = self.values.contains_key(name);
        given.then(|| self.rules(name, verdicts)).transpose()
    }

    /// The file of a file parameter: its name in the bundle and its content.
    fn named_file(&self, name: &str) -> Result<(String, &[u8]), ParamsError> {
        #[derive(Deserialize)]
        struct Reference {
            file: String,
        }
        let reference: Reference = self.get(name)?;
        match self.files.get(&reference.file) {
            Some(content) => Ok((reference.file, content)),
            None => Err(ParamsError::value(name, "the manager did not send the file")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const VERDICTS: [&str; 2] = ["accept", "drop"];

    fn frame() -> Vec<u8> {
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        frame
    }

    #[test]
    fn a_filter_is_read_and_its_faults_are_named() {
        let params = Params::default()
            .with_filter("only", "(arp)")
            .with("bad", "(arp")
            .with("number", 7);
        assert!(params.filter("only").unwrap().matches(&frame(), 60));
        assert!(params.optional_filter("only").unwrap().is_some());
        assert_eq!(params.optional_filter("other"), Ok(None));
        let error = |name: &str| params.filter(name).unwrap_err().to_string();
        assert_eq!(error("other"), "parameter `other` is missing");
        assert!(
            error("bad").starts_with("parameter `bad`: bad filter at byte "),
            "{}",
            error("bad")
        );
        assert!(
            error("number").starts_with("parameter `number`: "),
            "{}",
            error("number")
        );
    }

    #[test]
    fn outputs_are_found_by_name() {
        let params = Params::default().with_outputs(["denied", "suspect"]);
        let output = params.output("suspect").unwrap();
        assert_eq!(
            (u16::from(output), Verdict::from(output)),
            (1, Verdict::Output(1))
        );
        let error = |params: &Params| params.output("match").unwrap_err().to_string();
        assert_eq!(
            error(&params),
            "the NF has no output `match`: its manifest declares `denied`, `suspect`"
        );
        assert_eq!(
            error(&Params::default()),
            "the NF has no output `match`: its manifest declares none"
        );
    }

    #[test]
    fn rules_are_read_and_their_faults_are_named() {
        let params = Params::default()
            .with_rules("rules", "# the first\n\ndrop no_arp (arp)\naccept rest (all)\n")
            .with_rules("bad", "drop a (arp)\nreject b (all)\n")
            .with_file("bytes", &[0xff])
            .with("lost", serde_json::json!({ "file": "lost" }));
        let rules = params.rules("rules", &VERDICTS).unwrap();
        let first = rules
            .first(&frame(), 60)
            .and_then(|rule| rules.get(rule))
            .unwrap();
        assert_eq!((first.verdict, first.name.as_str()), (1, "no_arp"));
        assert_eq!(rules.len(), 2);
        assert!(params.optional_rules("rules", &VERDICTS).unwrap().is_some());
        assert!(params.optional_rules("none", &VERDICTS).unwrap().is_none());
        let error = |name: &str| params.rules(name, &VERDICTS).unwrap_err().to_string();
        assert_eq!(
            error("bad"),
            "parameter `bad`: bad:2:1: `reject` is not a verdict; expected `accept` or `drop`"
        );
        assert_eq!(error("none"), "parameter `none` is missing");
        assert!(
            error("bytes").starts_with("parameter `bytes`: invalid utf-8"),
            "{}",
            error("bytes")
        );
        assert_eq!(
            error("lost"),
            "parameter `lost`: the manager did not send the file"
        );
        assert!(params.optional_rules("bad", &VERDICTS).is_err());
    }
}
