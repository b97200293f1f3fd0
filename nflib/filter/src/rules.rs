//! Rules as an NF gets them: each a verdict, a name and a filter.

use crate::Expr;

/// Rules in order; the first that matches a packet decides.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Index in the verdicts that the rules were read with.
    pub verdict: usize,
    /// The name of its counter.
    pub name: String,
    /// The packets that it decides on.
    pub filter: Expr,
}

impl Rules {
    /// Reads lines of `VERDICT NAME FILTER`.
    ///
    /// # Errors
    /// The first line that is not such a one, and why.
    pub fn parse(text: &str, verdicts: &[&str]) -> Result<Self, String> {
        let lines = text.lines().enumerate();
        let rules =
            lines.map(|(n, line)| one(line, verdicts).map_err(|reason| format!("line {}: {reason}", n + 1)));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// The first rule that takes a packet.
    pub fn first(&mut self, packet: &[u8], wire_len: u32) -> Option<usize> {
        self.rules
            .iter()
            .position(|rule| rule.filter.matches(packet, wire_len))
    }

    /// The rule at an index.
    pub fn get(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }
}

fn one(line: &str, verdicts: &[&str]) -> Result<Rule, String> {
    let mut parts = line.splitn(3, ' ');
    let verdict = parts.next().unwrap_or_default();
    let (Some(name), Some(filter)) = (parts.next(), parts.next()) else {
        return Err("expected a verdict, a name and a filter".to_owned());
    };
    let Some(verdict) = verdicts.iter().position(|known| *known == verdict) else {
        return Err(format!(
            "expected one of {}, found `{verdict}`",
            verdicts.join(", ")
        ));
    };
    Ok(Rule {
        verdict,
        name: name.to_owned(),
        filter: filter.parse().map_err(|e: crate::ParseError| e.to_string())?,
    })
}
