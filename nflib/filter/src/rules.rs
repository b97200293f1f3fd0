//! Rules as a network function gets them: verdicts, names and lowered filters, and the first rule that takes a packet.
//!
//! Their text, a file of a bundle, has one rule a line:
//!
//! ```text
//! # VERDICT NAME (FILTER)
//! drop no_telnet (and (tcp) (port dst 23))
//! accept rule_2 (ip)
//! ```
//!
//! Verdicts and names are words (`[a-z][a-z0-9_]*`). A name is unique; a rule's counter is called by it. Empty lines and those that
//! begin with `#` are skipped.

use std::{
    collections::HashMap,
    fmt::{self, Display},
};

use crate::{Classifier, Expr, Fields};

/// The most rules of a text.
pub const MAX_RULES: usize = 100_000;
/// The longest line of a text, in bytes without its end.
pub const MAX_LINE: usize = 1 << 20;
/// The longest verdict or name, in bytes.
pub const MAX_WORD: usize = 64;

/// Rules in order. See [`Rules::parse`].
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    classifier: Classifier,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Index among the verdicts that the text was read with.
    pub verdict: usize,
    /// The name of its counter.
    pub name: String,
    /// The packets that it takes.
    pub filter: Expr,
}

/// A rule as text, on one line: what [`Rules::parse`] reads.
#[derive(Debug, Clone, Copy)]
pub struct RuleText<'a> {
    /// A word.
    pub verdict: &'a str,
    /// A word.
    pub name: &'a str,
    /// The filter.
    pub filter: &'a Expr,
}

/// What is wrong with a text of rules, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct RulesError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

impl Display for RuleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verdict, self.name, self.filter)
    }
}

impl Rules {
    /// Reads rules, of which each has one of these verdicts.
    pub fn parse(text: &str, verdicts: &[&str]) -> Result<Self, RulesError> {
        let mut rules = Vec::new();
        let mut lines_of = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let fail = |reason: String| RulesError { line, reason };
            if text.len() > MAX_LINE {
                return Err(fail(format!("longer than {MAX_LINE} bytes")));
            }
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if rules.len() == MAX_RULES {
                return Err(fail(format!("more than {MAX_RULES} rules")));
            }
            let rule = Rule::parse(text, verdicts).map_err(fail)?;
            if let Some(first) = lines_of.insert(rule.name.clone(), line) {
                return Err(fail(format!(
                    "the name `{}` is that of the rule in line {first}",
                    rule.name
                )));
            }
            rules.push(rule);
        }
        Ok(Self::new(rules))
    }

    /// These rules.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        let classifier = Classifier::new(rules.iter().map(|rule| &rule.filter));
        Self { rules, classifier }
    }

    /// The number of the first rule that takes the packet: its captured bytes from the Ethernet header on, and its length on the
    /// wire in bytes.
    #[inline]
    pub fn first(&self, packet: &[u8], wire_len: u32) -> Option<usize> {
        let filter = |rule: usize| self.rules.get(rule).map(|rule| &rule.filter);
        self.classifier.first(filter, packet, wire_len)
    }

    /// Everything that the first rule to take a packet can depend on.
    pub fn uses(&self) -> Fields {
        let filters = self.rules.iter().map(|rule| rule.filter.uses());
        filters.fold(Fields::NONE, |uses, of| uses | of)
    }

    /// Bytes from a packet's first on that it can depend on; `usize::MAX` where no number says it.
    pub fn reach(&self) -> usize {
        let reach = self.rules.iter().map(|rule| rule.filter.reach());
        reach.max().unwrap_or(0)
    }

    /// A rule by its number, from 0.
    pub fn get(&self, number: usize) -> Option<&Rule> {
        self.rules.get(number)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter()
    }
}

impl Rule {
    fn parse(line: &str, verdicts: &[&str]) -> Result<Self, String> {
        let (verdict, rest) = word(line, "a verdict")?;
        let Some(verdict) = verdicts.iter().position(|known| *known == verdict) else {
            let known: Vec<String> = verdicts.iter().map(|known| format!("`{known}`")).collect();
            return Err(format!(
                "`{verdict}` is not a verdict; expected {}",
                known.join(" or ")
            ));
        };
        let (name, filter) = word(rest, "a name")?;
        Ok(Self {
            verdict,
            name: name.to_owned(),
            filter: filter.parse().map_err(|error| format!("{error}"))?,
        })
    }
}

/// The word that a text begins with, and what comes after it.
fn word<'a>(text: &'a str, what: &str) -> Result<(&'a str, &'a str), String> {
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if is_word(word) {
        return Ok((word, rest.trim_start()));
    }
    let found: String = word.chars().take(MAX_WORD).collect();
    Err(if found.is_empty() {
        format!("expected {what}, found the end of the line")
    } else {
        format!("expected {what} ([a-z][a-z0-9_]*, at most {MAX_WORD} bytes), found `{found}`")
    })
}

/// Whether a text can be a verdict or a name.
#[must_use]
pub fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
}
