//! Along chains and rules.

use super::{RULE, STEP, Want};

/// Along a path, or along rules.
pub(super) fn steps<'a>(tokens: &[&'a str], rules: bool) -> Vec<Want<'a>> {
    #[derive(Clone, Copy)]
    enum At<'a> {
        Filter,
        Step,
        Behind(&'a str),
        Argument,
        BehindArgument,
        Output,
        BehindOutput,
    }
    // The NFs whose arms are open.
    let mut arms: Vec<&str> = Vec::new();
    let mut fresh = true;
    let mut at = if rules { At::Filter } else { At::Step };
    for token in tokens {
        let was = std::mem::replace(&mut fresh, false);
        at = match (at, *token) {
            (_, "->") => At::Step,
            (At::Behind(nf), "{") => {
                arms.push(nf);
                At::Output
            }
            (At::Behind(_), "(") => At::Argument,
            (At::Argument | At::BehindArgument, ",") => At::Argument,
            (At::Argument, _) => At::BehindArgument,
            (At::BehindArgument, _) => At::Behind(""),
            (At::Step, name) => At::Behind(name),
            (_, "}") => match arms.pop() {
                Some(nf) => At::Behind(nf),
                None => return Vec::new(),
            },
            (At::Behind(_), _) if arms.is_empty() && rules => {
                fresh = *token == ",";
                At::Filter
            }
            (At::Behind(_) | At::BehindOutput, ",") => At::Output,
            (At::Behind(_) | At::Output, _) => At::BehindOutput,
            (At::Filter, ",") if was => At::Filter,
            (other, _) => other,
        };
    }
    match at {
        At::Filter if fresh => RULE.to_vec(),
        At::Filter => vec![Want::Filter],
        At::Step | At::Argument => STEP.to_vec(),
        At::Behind(_) | At::Output => match arms.last() {
            Some(nf) => vec![Want::Output(nf)],
            None if rules => RULE.to_vec(),
            None => Vec::new(),
        },
        At::BehindArgument | At::BehindOutput => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::at, *};

    #[test]
    fn paths() {
        assert_eq!(at("chain c = $0"), STEP);
        assert_eq!(at("chain c = a -> b$0"), STEP);
        assert_eq!(at("chain c = a $0"), []);
        assert_eq!(at("chain c = a { $0"), [Want::Output("a")]);
        assert_eq!(at("chain c = a { m -> $0"), STEP);
        assert_eq!(at("chain c = a { m -> drop $0"), [Want::Output("a")]);
        assert_eq!(at("chain c = a { m -> b { n -> x } $0"), [Want::Output("a")]);
        assert_eq!(at("chain c = a { m -> drop } -> $0"), STEP);
        assert_eq!(at("chain c = seg(x, $0"), STEP);
        assert_eq!(at("chain c = seg(x) -> $0"), STEP);
        assert_eq!(at("chain c(p: $0"), [Want::Words(&["port", "nf", "chain"])]);
    }

    #[test]
    fn rules() {
        assert_eq!(at("steer $0"), [Want::Port]);
        assert_eq!(at("steer wan { $0"), RULE);
        assert_eq!(at("steer wan { tcp and $0"), [Want::Filter]);
        assert_eq!(at("steer wan { tcp -> $0"), STEP);
        assert_eq!(at("steer wan { tcp -> a $0"), RULE);
        assert_eq!(at("steer wan { tcp -> a udp and (port $0"), [Want::Filter]);
        assert_eq!(
            at("steer wan { tcp -> a { m -> drop } -> b udp $0"),
            [Want::Filter]
        );
        assert_eq!(at("steer wan { else -> a }$0"), []);
        assert_eq!(at("steer wan { else -> a }\n$0"), [Want::Declaration]);
    }
}
