//! C0406: chain within itself.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0406",
    title: "chain within itself",
    severity: Severity::Error,
    text: r#"A chain that stands as a step of another is spliced in. A chain that contains itself, directly or through
others, would have no end."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain a = fw -> b
chain b = fw -> a
steer wan { else -> a }
steer lan { else -> drop }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf fw = forward
chain a = fw -> b
chain b = lan
steer wan { else -> a }
"#,
};

/// `path` is the way round, chain by chain; `place` closes it, and `way` are the places where the others are named.
pub(crate) fn chain_cycle(place: Place, path: &[&str], way: &[(Place, &str)]) -> Diagnostic {
    let closes = format!("this closes the circle {}", path.join(" -> "));
    let found = PAGE.at(place, "a chain contains itself", closes);
    way.iter()
        .take(3)
        .fold(found, |found, (at, name)| {
            found.label(at.span(), format!("`{name}` is named here"))
        })
        .help("end one of the chains in a port or `drop` instead")
}

pub(crate) fn nested_too_deep(place: Place, depth: usize) -> Diagnostic {
    PAGE.at(
        place,
        format!("chains are spliced more than {depth} deep here"),
        "the limit is reached here",
    )
    .help("write some of the chains out")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
