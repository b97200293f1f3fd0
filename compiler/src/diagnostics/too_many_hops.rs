//! C0703: path longer than `max_hops`.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0703",
    title: "path longer than `max_hops`",
    severity: Severity::Error,
    text: r#"A packet may visit at most `manager { max_hops = N }` NFs (64 unless set, 255 at most); the runtime drops it
after that. A path that is longer by construction would always be cut, so it is refused."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf a = forward
nf b = forward
nf c = forward
manager { max_hops = 2 }
steer wan { else -> a -> b -> c -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf a = forward
nf b = forward
nf c = forward
manager { max_hops = 3 }
steer wan { else -> a -> b -> c -> lan }
"#,
};

pub(crate) fn too_many_hops(place: Place, chain: &str, limit: usize) -> Diagnostic {
    PAGE.at(place, format!("a path of `{chain}` visits more than {limit} NFs"), format!("`max_hops` is {limit}"))
        .help("shorten the chain or the circles that `allow` permits, or set `manager { max_hops = N }`, at most 255")
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
