//! Units of quantities and the numbers that they stand for.

use onvm_bundle::ParamKind;
use onvm_lang::syntax::Number;

/// Unit, the kind of quantity that carries it, and its size in that kind's smallest unit.
const UNITS: &[(&str, ParamKind, i64)] = &[
    ("ns", ParamKind::Time, 1),
    ("us", ParamKind::Time, 1_000),
    ("ms", ParamKind::Time, 1_000_000),
    ("s", ParamKind::Time, 1_000_000_000),
    ("min", ParamKind::Time, 60_000_000_000),
    ("h", ParamKind::Time, 3_600_000_000_000),
    ("B", ParamKind::Size, 1),
    ("KiB", ParamKind::Size, 1 << 10),
    ("MiB", ParamKind::Size, 1 << 20),
    ("GiB", ParamKind::Size, 1 << 30),
    ("bps", ParamKind::BitRate, 1),
    ("kbps", ParamKind::BitRate, 1_000),
    ("Mbps", ParamKind::BitRate, 1_000_000),
    ("Gbps", ParamKind::BitRate, 1_000_000_000),
    ("pps", ParamKind::PacketRate, 1),
    ("kpps", ParamKind::PacketRate, 1_000),
    ("Mpps", ParamKind::PacketRate, 1_000_000),
];

/// The units of a kind, smallest first; none for a kind that has no units.
pub(crate) fn of_kind(kind: ParamKind) -> Vec<&'static str> {
    UNITS
        .iter()
        .filter(|(_, k, _)| *k == kind)
        .map(|(unit, _, _)| *unit)
        .collect()
}

/// Why a quantity has no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The unit belongs to another kind of quantity.
    WrongUnit,
    /// Not a whole number of the smallest unit, negative, or beyond 64 bits.
    NotWhole,
}

/// The quantity in the kind's smallest unit: nanoseconds, bytes, bits or packets a second.
pub(crate) fn normalise(kind: ParamKind, number: Number, unit: &str) -> Result<i64, NoValue> {
    let factor = UNITS
        .iter()
        .find(|(u, k, _)| *u == unit && *k == kind)
        .map(|(_, _, factor)| *factor);
    let factor = factor.ok_or(NoValue::WrongUnit)?;
    let value = match number {
        Number::Int(n) => n.checked_mul(factor).ok_or(NoValue::NotWhole)?,
        Number::Decimal(d) => {
            #[allow(clippy::cast_precision_loss)]
            let exact = d * factor as f64;
            // 2^53: up to here every whole number is a double, so the rounding below is exact.
            if !(0.0..=9_007_199_254_740_992.0).contains(&exact)
                || (exact - exact.round()).abs() > 1e-6 * exact.max(1.0)
            {
                return Err(NoValue::NotWhole);
            }
            #[allow(clippy::cast_possible_truncation)]
            let whole = exact.round() as i64;
            whole
        }
    };
    if value < 0 {
        Err(NoValue::NotWhole)
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(
            normalise(ParamKind::Time, Number::Decimal(1.5), "s"),
            Ok(1_500_000_000)
        );
        assert_eq!(normalise(ParamKind::Size, Number::Int(64), "MiB"), Ok(64 << 20));
        assert_eq!(
            normalise(ParamKind::Size, Number::Decimal(0.1), "MiB"),
            Err(NoValue::NotWhole)
        );
        assert_eq!(
            normalise(ParamKind::Size, Number::Int(1), "s"),
            Err(NoValue::WrongUnit)
        );
        assert_eq!(
            normalise(ParamKind::Time, Number::Int(i64::MAX), "h"),
            Err(NoValue::NotWhole)
        );
        assert_eq!(
            normalise(ParamKind::Time, Number::Int(-1), "s"),
            Err(NoValue::NotWhole)
        );
    }

    #[test]
    fn every_unit_of_the_language_is_known() {
        for unit in onvm_lang::UNITS {
            assert!(UNITS.iter().any(|(u, _, _)| *u == unit), "{unit}");
        }
    }
}
