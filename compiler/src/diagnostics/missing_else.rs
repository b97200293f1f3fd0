//! C0501: steering without `else`.

use onvm_lang::{Diagnostic, Severity, syntax::Span};

use super::Page;
use crate::{sets::Answer, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0501",
    title: "steering without `else`",
    severity: Severity::Error,
    text: r#"Every packet that a port receives goes somewhere. The last rule of a `steer` block is `else`, which takes the
packets that no other rule matches; `else -> drop` is the usual end of a list of allowed traffic."#,
    wrong: r#"port wan = null {}
port lan = null {}

steer wan { tcp -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

steer wan {
    tcp -> lan
    else -> drop
}
"#,
};

/// `left` is a packet that no rule takes, `text` that of the block with its braces.
pub(crate) fn missing_else(port: Place, name: &str, block: Place, text: &str, left: &Answer) -> Diagnostic {
    let label = match left {
        Answer::Yes(packet) => format!("no rule takes {packet}, for example"),
        Answer::No => "the rules take every packet, and `else` has to say so".to_owned(),
        Answer::Unknown => "packets that match no rule have nowhere to go".to_owned(),
    };
    PAGE.at(port, format!("the rules of `{name}` have no `else`"), label)
        .label(block.span(), "`else` belongs at the end of this block")
        .help("add `else -> drop`, or steer the rest into a chain")
        .fix("add `else -> drop`", last_rule_end(block, text), last_line(text))
}

/// Where what is last in the block ends.
fn last_rule_end(block: Place, text: &str) -> Span {
    let len = within(text).trim_end().len();
    Span::new(len, len).shift(block.span().start)
}

/// `else -> drop` as it is to stand behind the last rule: on a line of its own, unless the block is one line.
fn last_line(text: &str) -> String {
    let within = within(text);
    if !within.contains('\n') {
        return " else -> drop".to_owned();
    }
    let last = within.trim_end().lines().last().unwrap_or("");
    let indent: String = last.chars().take_while(|c| c.is_whitespace()).collect();
    let indent = if indent.is_empty() {
        "    "
    } else {
        indent.as_str()
    };
    format!("\n{indent}else -> drop")
}

fn within(text: &str) -> &str {
    text.strip_suffix('}').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::testing::{applied, checked};

    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    #[test]
    fn the_rule_that_is_missing_stands_where_an_operator_would_put_it() {
        let mended = |rules: &str| {
            let source = format!("port wan = null\nsteer wan {rules}\n");
            let found = checked(&source).diagnostics.swap_remove(0);
            let mended = applied(&source, &found.fixes[0]);
            assert!(checked(&mended).program.is_some(), "{mended}");
            mended
                .lines()
                .skip(1)
                .map(|l| format!("{l}\n"))
                .collect::<String>()
        };
        assert_eq!(
            mended("{ tcp -> wan }"),
            "steer wan { tcp -> wan else -> drop }\n"
        );
        assert_eq!(
            mended("{\n  tcp -> wan // web\n}"),
            "steer wan {\n  tcp -> wan // web\n  else -> drop\n}\n"
        );
        assert_eq!(
            mended("{ tcp -> wan\n}"),
            "steer wan { tcp -> wan\n    else -> drop\n}\n"
        );
    }
}
