//! C0210: unusable `--set`.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0210",
    title: "unusable `--set`",
    severity: Severity::Error,
    text: r#"`--set NAME=VALUE` names no `param` of the source, or gives a value that cannot be read. The value is written
as in the source; a string may do without its quotes."#,
    wrong: r#"param uplink: string = "wan0"
port wan = tap { name = $uplink }
steer wan { else -> drop }
// built with: --set upling=wan1
"#,
    right: r#"param uplink: string = "wan0"
port wan = tap { name = $uplink }
steer wan { else -> drop }
// built with: --set uplink=wan1
"#,
};

pub(crate) fn no_such_input(place: Place, name: &str, close: Option<&str>) -> Diagnostic {
    let found = PAGE.at(
        place,
        format!("`--set` names `{name}`, but no such `param` exists"),
        "set here",
    );
    match close {
        Some(close) => found.help(format!("did you mean `{close}`?")),
        None => found.help(format!("declare `param {name}: TYPE`, or leave the `--set` out")),
    }
}

pub(crate) fn unreadable_field(place: Place, name: &str) -> Diagnostic {
    unreadable(place, name).help("write it as in a source, e.g. `time='10 s'` or `ports='[80, 443]'`")
}

fn unreadable(place: Place, name: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("the value for `{name}` cannot be read"),
        "not a value of the language",
    )
}

pub(crate) fn unreadable_override(place: Place, name: &str) -> Diagnostic {
    unreadable(place, name)
        .help("write it as in the source, e.g. `--set every='10 s'` or `--set nets='[10.0.0.0/8]'`")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
