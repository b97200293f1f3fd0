//! The report of a failed expectation: the path taken against the path expected, in the places of the source.

use onvm_lang::Diagnostic;
use serde::Serialize;

use super::{Expectation, Expected};
use crate::{
    interpret::Story,
    source::sources::{Place, Sources},
};

/// The word that stands where other diagnostics have their code.
const CODE: &str = "failed";

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub diagnostic: Diagnostic,
    /// In the notation of `expect`.
    pub expected: String,
    pub found: String,
    /// Of a packet that was sent: its whole way.
    pub taken: Option<Story>,
}

/// The report of it to programs.
#[derive(Debug, Serialize)]
pub struct FailureReport<'a> {
    pub message: &'a str,
    pub source: String,
    pub expected: &'a str,
    pub found: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<&'a Story>,
}

impl Failure {
    /// Says which NFs were not run.
    pub(super) fn assuming<'a>(mut self, nfs: impl Iterator<Item = &'a str>) -> Self {
        let mut names: Vec<&str> = nfs.collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return self;
        }
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let (names, were) = (names.join(", "), if names.len() == 1 { "was" } else { "were" });
        let note =
            format!("{names} {were} assumed to pass every packet on: third-party NFs are not run here");
        let help = self.diagnostic.help.take();
        self.diagnostic.help = Some(help.map_or_else(|| note.clone(), |help| format!("{help}\n{note}")));
        self
    }

    pub fn report<'a>(&'a self, sources: &Sources) -> FailureReport<'a> {
        FailureReport {
            message: &self.diagnostic.message,
            source: sources.reference_of(self.diagnostic.span()).0,
            expected: &self.expected,
            found: &self.found,
            taken: self.taken.as_ref(),
        }
    }
}

impl Expectation {
    /// A number that is another one.
    pub(super) fn other_number(&self, of: &str, found: u64, expected: u64) -> Failure {
        Failure {
            diagnostic: Diagnostic::error(
                CODE,
                format!("{of} is {found}, not {expected}"),
                self.place.span(),
                format!("{expected} was expected"),
            ),
            expected: expected.to_string(),
            found: found.to_string(),
            taken: None,
        }
    }

    /// Something that is not there to be looked at, or looks different; `found` is a sentence's rest.
    pub(super) fn unlike(&self, message: String, found: String) -> Failure {
        Failure {
            diagnostic: Diagnostic::error(CODE, message, self.place.span(), found.clone()),
            expected: self.what.notation(),
            found,
            taken: None,
        }
    }

    /// A packet that went another way, one of `wrong` among `all`.
    pub(super) fn other_way(
        &self,
        sources: &Sources,
        sent: Place,
        taken: Story,
        wrong: u64,
        all: u64,
    ) -> Failure {
        let found = taken.names().join(" -> ");
        let message = match &self.what {
            Expected::Path(_) => "the packet takes another path".to_owned(),
            Expected::Passes(nf) => format!("the packet does not pass `{nf}`"),
            Expected::Drop { .. } if taken.exit.dropped.is_some() => {
                format!("the packet is dropped at `{}`", taken.last_node())
            }
            _ => format!("the packet is not dropped: it leaves by `{}`", taken.exit.at),
        };
        let message = match all {
            1 => message,
            _ => format!("{message} ({wrong} of {all} packets)"),
        };
        let mut diagnostic = Diagnostic::error(CODE, message, self.place.span(), "this was expected");
        diagnostic = diagnostic.label(sent.span(), "of this packet");
        if let Some((place, text)) = self.turning_point(sources, &taken) {
            diagnostic = diagnostic.label(place.span(), text);
        }
        let expected = self.what.notation();
        let help = format!("expected {expected}\n   taken {found}{}", way_in(&taken));
        let failure = Failure {
            diagnostic: diagnostic.help(help),
            expected,
            found,
            taken: None,
        };
        Failure {
            taken: Some(taken.clone()),
            ..failure.assuming(taken.assumed())
        }
    }

    /// Where the packet left the expected path, or went its way, with what happened there.
    fn turning_point(&self, sources: &Sources, taken: &Story) -> Option<(Place, String)> {
        let names = taken.names();
        let at = match &self.what {
            Expected::Path(expected) => names
                .iter()
                .zip(expected)
                .take_while(|(taken, expected)| taken == expected)
                .count(),
            Expected::Passes(_) => 0,
            _ => taken.hops.len(),
        };
        let Some(hop) = at.checked_sub(1).and_then(|i| taken.hops.get(i)) else {
            let rule = taken.rule.as_ref()?;
            return match rule.text.as_str() {
                "else" => Some((
                    sources.find(&rule.source, &taken.port)?,
                    format!("no rule matches it here, and `else` leads to `{}`", rule.target),
                )),
                text => Some((
                    sources.find(&rule.source, text)?,
                    format!("this rule takes it, to `{}`", rule.target),
                )),
            };
        };
        let text = match (&hop.verdict, hop.assumed) {
            (None, _) => match taken.exit.dropped {
                Some(reason) => format!("dropped here ({reason})"),
                None => "it leaves here".to_owned(),
            },
            (Some(_), true) => format!("`{}` is assumed to pass it on", hop.at),
            (Some(verdict), false) => format!("`{}` answers `{verdict}` here", hop.at),
        };
        Some((sources.find(&hop.source, &hop.at)?, text))
    }
}

fn way_in(taken: &Story) -> String {
    match &taken.rule {
        Some(rule) => format!(", by the rule `{}` of `{}`", rule.text, taken.port),
        None => format!(", `{}` has no rules", taken.port),
    }
}

impl Expected {
    /// As it is written behind `expect`.
    pub fn notation(&self) -> String {
        match self {
            Self::Path(nodes) => nodes.join(" -> "),
            Self::Passes(nf) => format!("passes {nf}"),
            Self::Drop { at: None } => "drop".to_owned(),
            Self::Drop { at: Some(node) } => format!("drop at {node}"),
            Self::Packets { port, count } => format!("{port} {count} packets"),
            Self::SameAs { port, capture } => format!("{port} same as file(\"{}\")", capture.name),
            Self::Counter { nf, counter, value } => format!("{nf} counter {counter} == {value}"),
        }
    }
}
