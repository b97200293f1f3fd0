//! Arithmetic as people write it: what, how much of it, and the sum below a line.

use serde::Serialize;

/// One part of a sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub what: String,
    /// As in `2 x 4`; empty for what is one thing.
    pub how: String,
    pub amount: u64,
}

impl Line {
    pub(super) fn new(what: impl Into<String>, how: impl Into<String>, amount: u64) -> Self {
        Self {
            what: what.into(),
            how: how.into(),
            amount,
        }
    }
}

/// The lines of a sum, aligned, a rule above the total.
pub fn rows(lines: &[Line], total: (&str, u64), shown: impl Fn(u64) -> String) -> Vec<String> {
    let amounts: Vec<String> = lines.iter().map(|l| shown(l.amount)).collect();
    let sum = shown(total.1);
    let widest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|t| t.chars().count()).max().unwrap_or(0);
    let what = widest(&mut lines.iter().map(|l| l.what.as_str()).chain([total.0]));
    let how = widest(&mut lines.iter().map(|l| l.how.as_str()));
    let amount = widest(&mut amounts.iter().map(String::as_str).chain([sum.as_str()]));
    let row = |a: &str, b: &str, c: &str| format!("{a:<what$}  {b:>how$}  {c:>amount$}");
    let mut rows: Vec<String> = lines
        .iter()
        .zip(&amounts)
        .map(|(l, a)| row(&l.what, &l.how, a))
        .collect();
    rows.push("-".repeat(what + how + amount + 4));
    rows.push(row(total.0, "", &sum));
    rows
}

/// A size with one decimal in the unit that suits it.
pub fn bytes(n: u64) -> String {
    let (unit, size) = match n {
        0..1024 => return format!("{n} B"),
        1024..1_048_576 => ("KiB", 10),
        1_048_576..1_073_741_824 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    // In tenths, rounded up: a demand is never shown as less.
    let tenths = (u128::from(n) * 10).div_ceil(1 << size);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}
