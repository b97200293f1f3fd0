//! Units of quantities and the numbers that they stand for.

use onvm_bundle::ParamKind;
use onvm_lang::syntax::Number;

/// The units of a kind, smallest first; none for a kind that has no units.
pub(crate) fn of_kind(kind: ParamKind) -> Vec<&'static str> {
    kind.units().iter().map(|(unit, _)| *unit).collect()
}

/// Why a quantity has no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The unit belongs to another kind of quantity.
    WrongUnit,
    /// Below zero.
    Negative,
    /// Not a whole number of the smallest unit, or beyond 64 bits.
    NotWhole,
}

/// The quantity in the kind's smallest unit: nanoseconds, bytes, bits or packets a second.
pub(crate) fn normalise(kind: ParamKind, number: Number, unit: &str) -> Result<i64, NoValue> {
    let known = kind.units().iter().find(|(u, _)| *u == unit);
    let factor = known.map(|(_, factor)| *factor);
    let factor = factor.ok_or(NoValue::WrongUnit)?;
    let negative = match number {
        Number::Int(n) => n < 0,
        Number::Decimal(d) => d < 0.0,
    };
    if negative {
        return Err(NoValue::Negative);
    }
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
    Ok(value)
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
            Err(NoValue::Negative)
        );
    }

    #[test]
    fn every_unit_of_the_language_is_known() {
        for unit in onvm_lang::UNITS {
            let kinds = [
                ParamKind::Time,
                ParamKind::Size,
                ParamKind::BitRate,
                ParamKind::PacketRate,
            ];
            assert!(kinds.iter().any(|k| of_kind(*k).contains(&unit)), "{unit}");
        }
    }
}
