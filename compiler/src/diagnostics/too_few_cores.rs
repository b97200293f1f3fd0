//! C0706: more cores asked for than the manager may use.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::{placement::CoreDemand, source::sources::Place};

pub(crate) const PAGE: Page = Page {
    code: "C0706",
    title: "more cores asked for than the manager may use",
    severity: Severity::Error,
    text: r#"`cores` in the `manager` block names the cores that the workers and the NFs run on. Each worker needs one,
each instance of an NF with `with { cores = N }` needs N, and NFs without `cores` need at least one that is
not reserved. `onvmc build --explain-placement` shows the sum of an accepted program, and the place of each
part."#,
    wrong: r#"port wan = null {}

nf scan = payload_scan { patterns = file("web.patterns") } with { replicas = 2, cores = 2 }
nf mon = monitor

manager { cores = [0, 1, 2, 3] }
steer wan { else -> scan -> mon -> wan }
"#,
    right: r#"port wan = null {}

nf scan = payload_scan { patterns = file("web.patterns") } with { replicas = 2, cores = shared }
nf mon = monitor

manager { cores = [0, 1, 2, 3] }
steer wan { else -> scan -> mon -> wan }
"#,
};

pub(crate) fn too_few_cores(place: Place, demand: &CoreDemand, named: u64) -> Diagnostic {
    let missing = demand.asked.saturating_sub(named);
    let sum: String = demand.rows().iter().map(|row| format!("\n{row}")).collect();
    PAGE.at(
        place,
        format!(
            "{} cores are asked for, and the manager may use {named}",
            demand.asked
        ),
        format!("{missing} more must be named here, or fewer asked for"),
    )
    .help(format!("the sum is{sum}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }
}
