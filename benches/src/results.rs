//! What a benchmark found, as data: the JSON file holds it and the report draws it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Everything of one call.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub host: Host,
    pub quick: bool,
    /// Seconds since 1970-01-01 UTC.
    pub taken_at: u64,
    pub records: Vec<Record>,
}

/// One benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// As on the command line.
    pub id: String,
    pub title: String,
    /// What was done, in one or two sentences.
    pub method: String,
    /// The figure of the paper or of the reference that this one stands beside.
    pub reference: String,
    pub metrics: Vec<Metric>,
    pub goals: Vec<Goal>,
    /// What a reader must know to judge the figures.
    pub notes: Vec<String>,
    /// Why there are no figures.
    pub failure: Option<String>,
}

/// One measured quantity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metric {
    pub name: String,
    pub unit: String,
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// In the order in which they were taken.
    pub samples: Vec<f64>,
}

/// A target and whether it was met.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Goal {
    pub text: String,
    pub target: f64,
    pub found: f64,
    pub unit: String,
    pub met: bool,
}

impl Metric {
    /// None without a sample.
    pub fn new(name: impl Into<String>, unit: &str, samples: Vec<f64>) -> Option<Self> {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match (sorted.get(middle)?, sorted.len() % 2) {
            (&upper, 1) => upper,
            (&upper, _) => (sorted[middle - 1] + upper) / 2.0,
        };
        Some(Self {
            name: name.into(),
            unit: unit.to_owned(),
            median,
            min: *sorted.first()?,
            max: *sorted.last()?,
            samples,
        })
    }
}

impl Goal {
    pub fn at_least(text: impl Into<String>, unit: &str, target: f64, found: f64) -> Self {
        Self::judged(text.into(), unit, target, found, found >= target)
    }

    pub fn below(text: impl Into<String>, unit: &str, target: f64, found: f64) -> Self {
        Self::judged(text.into(), unit, target, found, found < target)
    }

    fn judged(text: String, unit: &str, target: f64, found: f64, met: bool) -> Self {
        Self {
            text,
            target,
            found,
            unit: unit.to_owned(),
            met,
        }
    }

    pub fn verdict(&self) -> &'static str {
        if self.met { "PASS" } else { "FAIL" }
    }
}

impl Record {
    /// A record without figures yet.
    pub fn new(id: &str, title: &str, method: &str, reference: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            method: method.to_owned(),
            reference: reference.to_owned(),
            metrics: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
            failure: None,
        }
    }

    /// Adds a metric, unless nothing was sampled, and returns its median.
    pub fn add(&mut self, name: impl Into<String>, unit: &str, samples: Vec<f64>) -> Option<f64> {
        let metric = Metric::new(name, unit, samples)?;
        let median = metric.median;
        self.metrics.push(metric);
        Some(median)
    }
}

/// Three or four significant digits, which is more than these figures repeat to.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.id, self.title)?;
        for m in &self.metrics {
            let (median, min, max) = (rounded(m.median), rounded(m.min), rounded(m.max));
            writeln!(f, "  {:<44} {median:>8} {}  ({min} to {max})", m.name, m.unit)?;
        }
        writeln!(f, "  {:<44} {}", "reference", self.reference)?;
        for g in &self.goals {
            let (found, target) = (rounded(g.found), rounded(g.target));
            writeln!(
                f,
                "  {} {}: {found} {unit}, goal {target} {unit}",
                g.verdict(),
                g.text,
                unit = g.unit
            )?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  note: {note}"))?;
        match &self.failure {
            Some(failure) => writeln!(f, "  NOT MEASURED: {failure}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_sample_or_the_mean_of_the_middle_two() {
        let median =
            |samples: &[f64]| Metric::new("x", "s", samples.to_vec()).map(|m| (m.median, m.min, m.max));
        assert_eq!(median(&[3.0, 1.0, 9.0]), Some((3.0, 1.0, 9.0)));
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), Some((3.0, 1.0, 9.0)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn goals_are_judged_in_their_own_direction() {
        assert!(Goal::at_least("rate", "M/s", 30.0, 30.0).met);
        assert!(!Goal::at_least("rate", "M/s", 30.0, 29.9).met);
        assert!(Goal::below("time", "ms", 10.0, 9.9).met);
        assert!(!Goal::below("time", "ms", 10.0, 10.0).met);
    }

    #[test]
    fn figures_keep_three_digits() {
        let shown: Vec<_> = [441.6, 30.26, 4.219, 0.5264, 0.0].map(rounded).into();
        assert_eq!(shown, ["442", "30.3", "4.22", "0.526", "0"]);
    }
}
