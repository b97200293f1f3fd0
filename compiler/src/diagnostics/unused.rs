//! C0104: unused declaration.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0104",
    title: "unused declaration",
    severity: Severity::Warning,
    text: r#"Nothing uses the declaration. It is often the trace of a misspelt name or of an edit that was left half done.
The same is reported for a parameter that its chain's steps do not name. Declarations and parameters of
imported files are not reported: a library may offer more than one file uses. An input (`param`) is not used
by `--set` alone."#,
    wrong: r#"port wan = null {}
port lan = null {}

let trusted = [10.0.0.0/8]
steer wan { else -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

let trusted = [10.0.0.0/8]
steer wan {
    src net $trusted -> drop
    else -> lan
}
"#,
};

/// `kind` as in "a constant".
pub(crate) fn unused(place: Place, name: &str, kind: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{name}` is never used"),
        format!("{kind} that nothing uses"),
    )
    .help("use it, or remove it")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    /// The messages of a program with a line more.
    fn told(line: &str) -> Vec<String> {
        let source = format!("port wan = null\nnf fw = forward\n{line}\n");
        let found = crate::testing::checked(&source).diagnostics;
        found
            .into_iter()
            .map(|d| format!("{} {}", d.code, d.message))
            .collect()
    }

    #[test]
    fn parameters_are_used_in_arms_and_calls() {
        let arm = "nf ids = payload_scan { patterns = file(\"web.patterns\") }\n\
                   chain s(p: port, q: port) = ids { match -> q } -> fw -> p\nsteer wan { else -> s(wan, wan) }";
        assert_eq!(told(arm), [""; 0]);
        let passed_on = "chain t(p: port) = fw -> p\nchain s(p: port) = t(p)\nsteer wan { else -> s(wan) }";
        assert_eq!(told(passed_on), [""; 0]);
    }

    #[test]
    fn inputs() {
        let steer = "steer wan { else -> fw -> wan }";
        assert_eq!(
            told(&format!("param speed: int = 5\n{steer}")),
            ["C0104 `speed` is never used"]
        );
        let set = format!("param speed: int = 5\n{steer}\n// built with: --set speed=6");
        assert_eq!(told(&set), ["C0104 `speed` is never used"]);
        let used = format!("param speed: int = 1500\n{steer}\nmanager {{ mtu = $speed }}");
        assert_eq!(told(&used), [""; 0]);
    }
}
