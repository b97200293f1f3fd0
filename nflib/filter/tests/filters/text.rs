//! The text form: what is refused and where, and its limits.

use onvm_filter::{Expr, MAX_DEPTH, MAX_TEXT};
use proptest::prelude::*;

#[track_caller]
fn refused(text: &str) -> String {
    match text.parse::<Expr>() {
        Ok(expr) => panic!("`{text}` is read as {expr}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn refusals_name_the_place() {
    for (text, why) in [
        ("", "at byte 0: expected `(`"),
        ("(", "at byte 1: expected a name"),
        ("(tcp", "at byte 4: expected `)`"),
        ("(tcp) (udp)", "at byte 6: more text after the filter"),
        ("(and (tcp))", "at byte 10: expected `(`"),
        ("(not)", "at byte 4: expected `(`"),
        ("(telnet)", "at byte 1: no test is called `telnet`"),
        (
            "(ip@256)",
            "at byte 1: `256` does not say what stands before a header",
        ),
        (
            "(less@1 5)",
            "at byte 1: `less` does not look behind these headers",
        ),
        ("(port dst)", "at byte 9: expected a port or a range of ports"),
        (
            "(port 65536)",
            "at byte 6: `65536` is not a port or a range of ports",
        ),
        (
            "(port 90-80)",
            "at byte 6: `90-80` is not a port or a range of ports",
        ),
        (
            "(net 10.0.0.1/8)",
            "at byte 5: `10.0.0.1/8` is not an address prefix",
        ),
        ("(net 10.0.0.1)", "at byte 5: `10.0.0.1` is not an address prefix"),
        ("(vlan 4096)", "at byte 6: `4096` is not a VLAN id (0-4095)"),
        ("(dscp 64)", "at byte 6: `64` is not a code point (0-63)"),
        ("(proto 256)", "at byte 7: `256` is not a number"),
        (
            "(mac 1:2:3:4:5:6)",
            "at byte 5: `1:2:3:4:5:6` is not an Ethernet address",
        ),
        ("(= (l3 0 3) 1)", "a load of 3 bytes; it may be 1, 2 or 4"),
        ("(= (** 1 2) 1)", "at byte 4: no operator is called `**`"),
        ("(= 4294967296 1)", "at byte 3: `4294967296` is not a number"),
        ("(tcp)\u{a0}", "at byte 5: more text after the filter"),
    ] {
        let error = refused(text);
        assert!(error.contains(why), "`{text}`: {error}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| format!("{}(tcp){}", "(not ".repeat(levels - 1), ")".repeat(levels - 1));
    assert!(nested(MAX_DEPTH).parse::<Expr>().is_ok());
    assert!(refused(&nested(MAX_DEPTH + 1)).contains("nested deeper than 256 levels"));
    assert!(refused(&nested(1_000_000)).contains("nested deeper"));
    let sums = |levels: usize| format!("(= {}1{} 1)", "(neg ".repeat(levels), ")".repeat(levels));
    let deepest: Expr = sums(MAX_DEPTH - 2).parse().unwrap();
    assert_eq!(deepest.depth(), MAX_DEPTH);
    assert!(deepest.check_depth());
    assert!(refused(&sums(MAX_DEPTH - 1)).contains("nested deeper"));
}

#[test]
fn length_is_bounded() {
    let text = " ".repeat(MAX_TEXT) + "(tcp)";
    assert!(refused(&text).contains("longer than"));
}

#[test]
fn reads_back_in_canonical_form() {
    for (text, canonical) in [
        ("( and (tcp)(and (ip) (udp)) )", "(and (tcp) (ip) (udp))"),
        ("(or (or (ip) (arp)) (tcp))", "(or (ip) (arp) (tcp))"),
        ("(ether-proto 2048)", "(ip)"),
        ("(proto 6)", "(tcp)"),
        ("(ip-proto 6)", "(ip-proto 6)"),
        ("(vlan 7 5 7)", "(vlan 5 7)"),
        ("(port 443 80-80)", "(port 443 80)"),
        (
            "(= (& (ip4-payload 0xd 1) 18) 2)",
            "(= (& (ip4-payload 13 1) 18) 2)",
        ),
    ] {
        assert_eq!(text.parse::<Expr>().unwrap().to_string(), canonical);
    }
}

#[test]
fn is_a_string_in_toml() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Rule {
        filter: Expr,
    }
    let rule = Rule {
        filter: "(tcp-port dst 80 443)".parse().unwrap(),
    };
    let text = toml::to_string(&rule).unwrap();
    assert_eq!(text, "filter = \"(tcp-port dst 80 443)\"\n");
    assert_eq!(toml::from_str::<Rule>(&text).unwrap(), rule);
    let error = toml::from_str::<Rule>("filter = \"(tcp\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("bad filter at byte 4: expected `)`"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

    /// Any text is read or refused, and what is read comes back the same.
    #[test]
    fn any_text(text in r"(\(|\)| |@|and|or|not|tcp|vlan|net|port|src|both|=|\+|l3|[0-9]{1,3}|10\.0\.0\.0/8|-|é){0,24}") {
        match text.parse::<Expr>() {
            Ok(expr) => prop_assert_eq!(expr.to_string().parse(), Ok(expr)),
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }

    /// The same, starting from a good filter with one place damaged.
    #[test]
    fn damaged_text(at in 0..76_usize, with in r"[()@ 0-9a-z-]{0,3}") {
        let good = "(or (and (vlan 5) (tcp-port@1 dst 80 443-500)) (< (+ (l3 2 2) 14) (len)) (arp))";
        let text = format!("{}{with}{}", &good[..at], &good[at + 1..]);
        match text.parse::<Expr>() {
            Ok(expr) => prop_assert_eq!(expr.to_string().parse(), Ok(expr)),
            Err(error) => prop_assert!(error.offset <= text.len()),
        }
    }
}
