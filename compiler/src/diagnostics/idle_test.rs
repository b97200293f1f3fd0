//! C0803: a test that expects nothing.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0803",
    title: "a test that expects nothing",
    severity: Severity::Warning,
    text: r#"The last statement of the test is not an `expect`, so nothing checks its packets: the test passes
whatever the chains do with them."#,
    wrong: r#"port wan = null {}
port lan = null {}
steer wan { else -> lan }

test "requests reach the servers" {
    send wan tcp { dst = 203.0.113.9:80 }
}
"#,
    right: r#"port wan = null {}
port lan = null {}
steer wan { else -> lan }

test "requests reach the servers" {
    send wan tcp { dst = 203.0.113.9:80 }
    expect lan
}
"#,
};

/// `last` is the statement after which nothing is expected; none in an empty test.
pub(crate) fn idle_test(test: Place, name: &str, last: Option<Place>) -> Diagnostic {
    let found = match last {
        Some(last) => PAGE.at(
            last,
            format!("nothing is expected after this in test \"{name}\""),
            "no `expect` follows",
        ),
        None => PAGE.at(
            test,
            format!("test \"{name}\" is empty"),
            "sends and expects nothing",
        ),
    };
    found.help("state the expected outcome, as in `expect fw -> lan` or `expect drop`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
