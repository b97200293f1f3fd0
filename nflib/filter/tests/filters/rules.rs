//! The text of rules: what is read and written, what is refused and where, and its limits.

use onvm_filter::{Expr, MAX_LINE, MAX_RULES, MAX_WORD, RuleText, Rules, is_word};

const VERDICTS: [&str; 2] = ["accept", "drop"];

#[track_caller]
fn refused(text: &str) -> String {
    match Rules::parse(text, &VERDICTS) {
        Ok(rules) => panic!("`{text}` is read as {rules:?}"),
        Err(error) => error.to_string(),
    }
}

fn arp() -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame
}

#[test]
fn rules_are_read_in_order() {
    let text = "# two\n\ndrop  no_arp\t(arp)\r\n  accept rule_2 (and (tcp) (port dst 22))\naccept rest (all)";
    let rules = Rules::parse(text, &VERDICTS).unwrap();
    let of: Vec<(usize, &str)> = rules
        .iter()
        .map(|rule| (rule.verdict, rule.name.as_str()))
        .collect();
    assert_eq!(of, [(1, "no_arp"), (0, "rule_2"), (0, "rest")]);
    assert_eq!(rules.first(&arp(), 60), Some(0));
    assert_eq!(rules.first(&[], 0), Some(2));
    assert_eq!(
        rules.get(1).map(|rule| rule.filter.to_string()).unwrap(),
        "(and (tcp) (port dst 22))"
    );
    assert!(rules.get(3).is_none() && !rules.is_empty());
    let none = Rules::parse("# none\n", &VERDICTS).unwrap();
    assert!(none.is_empty() && none.first(&arp(), 60).is_none());
}

#[test]
fn what_is_written_is_read_back() {
    let filter: Expr = "(or (arp) (net src 10.0.0.0/8 2001:db8::/32))".parse().unwrap();
    let rule = RuleText {
        verdict: "drop",
        name: "rule_12",
        filter: &filter,
    };
    let rules = Rules::parse(&format!("{rule}\n"), &VERDICTS).unwrap();
    let read = rules.get(0).unwrap();
    assert_eq!(
        (read.verdict, read.name.as_str(), &read.filter),
        (1, "rule_12", &filter)
    );
}

#[test]
fn faults_are_named_with_their_line() {
    for (text, error) in [
        (
            "accept a (arp)\nreject b (all)",
            "line 2: `reject` is not a verdict; expected `accept` or `drop`",
        ),
        (
            "Drop a (all)",
            "line 1: expected a verdict ([a-z][a-z0-9_]*, at most 64 bytes), found `Drop`",
        ),
        ("drop", "line 1: expected a name, found the end of the line"),
        (
            "drop (all)",
            "line 1: expected a name ([a-z][a-z0-9_]*, at most 64 bytes), found `(all)`",
        ),
        (
            "drop a-b (all)",
            "line 1: expected a name ([a-z][a-z0-9_]*, at most 64 bytes), found `a-b`",
        ),
        (
            "\ndrop a (all)\n#\ndrop a (arp)",
            "line 4: the name `a` is that of the rule in line 2",
        ),
        (
            "drop a (all) (all)",
            "line 1: bad filter at byte 6: more text after the filter",
        ),
    ] {
        assert_eq!(refused(text), error);
    }
    for text in ["drop a", "drop a (", "drop a all", "drop é (all)"] {
        assert!(refused(text).starts_with("line 1: "), "{text}");
    }
}

#[test]
fn limits_hold() {
    let rules = |n: usize| {
        let lines = (0..n).map(|n| format!("drop r{n} (none)\n"));
        Rules::parse(&lines.collect::<String>(), &VERDICTS)
    };
    assert_eq!(rules(MAX_RULES).map(|rules| rules.len()), Ok(MAX_RULES));
    assert_eq!(
        rules(MAX_RULES + 1).unwrap_err().to_string(),
        format!("line {}: more than {MAX_RULES} rules", MAX_RULES + 1)
    );
    let long = format!("drop a (all){}", " ".repeat(MAX_LINE));
    assert_eq!(refused(&long), format!("line 1: longer than {MAX_LINE} bytes"));
    let name = |length: usize| format!("drop {} (all)", "n".repeat(length));
    assert!(Rules::parse(&name(MAX_WORD), &VERDICTS).is_ok());
    assert!(refused(&name(MAX_WORD + 1)).starts_with("line 1: expected a name"));
}

#[test]
fn words() {
    for word in ["a", "rule_12", "x9"] {
        assert!(is_word(word), "{word}");
    }
    for word in ["", "A", "9a", "_a", "a-b", "a b", "é"] {
        assert!(!is_word(word), "{word}");
    }
}
