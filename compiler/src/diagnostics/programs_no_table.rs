//! C0616: an NF may program a port without rules.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0616",
    title: "a port to program has no `steer` block",
    severity: Severity::Error,
    text: r#"The entries of an NF stand in front of the port's rules, and what no entry takes goes by these. A port
without a `steer` block drops all that it receives, so there is nothing to put entries in front of."#,
    wrong: r#"use "sdn.nf.toml" as sdn

port wan = null {}
port lan = null {}

nf ctl = sdn

chain fast = wan

steer wan { else -> ctl -> lan }
allow ctl to program lan { tcp -> fast }
"#,
    right: r#"use "sdn.nf.toml" as sdn

port wan = null {}
port lan = null {}

nf ctl = sdn

chain fast = lan

steer wan { else -> ctl -> lan }
allow ctl to program wan { tcp -> fast }
"#,
};

pub(crate) fn programs_no_table(place: Place, port: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{port}` has no `steer` block, so there is no table to program"),
        "this port",
    )
    .help(format!(
        "write `steer {port} {{ else -> ... }}` for what no entry takes"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
