//! The units of quantities.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::syntax::Spanned;

/// The units that a quantity may carry: time, size, bit rate, packet rate.
pub const UNITS: [&str; 17] = [
    "ns", "us", "ms", "s", "min", "h", "B", "KiB", "MiB", "GiB", "bps", "kbps", "Mbps", "Gbps", "pps",
    "kpps", "Mpps",
];

/// The error for a unit that is not known. Whether a known one suits its place is the compiler's
/// question.
pub(crate) fn check(unit: &Spanned<String>) -> Option<Diagnostic> {
    let word = unit.node.as_str();
    if UNITS.contains(&word) {
        return None;
    }
    let near = UNITS
        .into_iter()
        .find(|u| u.eq_ignore_ascii_case(word))
        .or(match word {
            "sec" | "secs" | "second" | "seconds" => Some("s"),
            "m" | "mins" | "minute" | "minutes" => Some("min"),
            "hour" | "hours" | "hr" => Some("h"),
            "k" | "K" | "KB" | "kB" | "kb" => Some("KiB"),
            "M" | "MB" | "mb" => Some("MiB"),
            "G" | "GB" | "gb" => Some("GiB"),
            "bytes" | "byte" => Some("B"),
            _ => None,
        });
    let known = "time ns us ms s min h, size B KiB MiB GiB, bit rate bps kbps Mbps Gbps, \
                 packet rate pps kpps Mpps";
    let help = match near {
        Some(near) => format!("did you mean `{near}`? The units are: {known}"),
        None => format!("the units are: {known}"),
    };
    let found = Diagnostic::error(
        codes::UNIT,
        format!("`{word}` is not a unit"),
        unit.span,
        "unknown unit",
    )
    .help(help);
    Some(match near {
        Some(near) => found.write(unit.span, near),
        None => found,
    })
}
