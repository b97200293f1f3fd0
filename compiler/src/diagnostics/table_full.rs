//! C0701: too many for the runtime's tables.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0701",
    title: "too many for the runtime's tables",
    severity: Severity::Error,
    text: r#"The runtime's tables have fixed sizes: 64 ports, 32 of them of the kinds that DPDK serves (`pci`, `af_xdp`,
`memif`, `null` and `vdev`), 1024 services, 1024 instances, 16 security domains, 65535 chains, and 65535 hops of
all chains together. A chain that is spliced into another adds its hops there again."#,
    wrong: r#"port wan = null {}
port lan = null {}
nf s = payload_scan { patterns = file("web.patterns") }
chain c0 = s { match -> drop } -> lan
chain c1 = s { match -> c0 } -> c0
chain c2 = s { match -> c1 } -> c1
chain c3 = s { match -> c2 } -> c2
chain c4 = s { match -> c3 } -> c3
chain c5 = s { match -> c4 } -> c4
chain c6 = s { match -> c5 } -> c5
chain c7 = s { match -> c6 } -> c6
chain c8 = s { match -> c7 } -> c7
chain c9 = s { match -> c8 } -> c8
chain c10 = s { match -> c9 } -> c9
chain c11 = s { match -> c10 } -> c10
chain c12 = s { match -> c11 } -> c11
chain c13 = s { match -> c12 } -> c12
chain c14 = s { match -> c13 } -> c13
chain c15 = s { match -> c14 } -> c14
chain c16 = s { match -> c15 } -> c15
steer wan { else -> c16 }
"#,
    right: r#"port wan = null {}
port lan = null {}
nf s = payload_scan { patterns = file("web.patterns") }
chain c0 = s { match -> drop } -> lan
steer wan { else -> c0 }
"#,
};

/// `what` as in "hops".
pub(crate) fn table_full(place: Place, what: &str, count: usize, limit: usize) -> Diagnostic {
    PAGE.at(
        place,
        format!("{count} {what}, and at most {limit} fit"),
        "the table is full here",
    )
    .help(format!(
        "use fewer {what}, or split the work over several bundles"
    ))
}

/// Lowering stopped before it could count them all.
pub(crate) fn too_many_to_count(place: Place, what: &str, limit: usize) -> Diagnostic {
    PAGE.at(
        place,
        format!("more than {limit} {what}, and at most {limit} fit"),
        "the table is full here",
    )
    .help(format!(
        "use fewer {what}; a chain that is spliced in adds its hops each time"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn page() {
        crate::testing::check_page(&super::PAGE);
    }

    /// As many as DPDK's table has places, and then one more; ports that are not in it do not count.
    #[test]
    fn ports_that_dpdk_serves_are_counted() {
        let source = |served: usize| {
            let served: String = (0..served).map(|i| format!("port n{i} = null\n")).collect();
            let others: String = (0..20)
                .map(|i| format!("port t{i} = tap {{ name = \"t{i}\" }}\n"))
                .collect();
            format!("{served}{others}steer t0 {{ else -> t1 }}\n")
        };
        let found = |served| {
            let all = crate::testing::checked(&source(served)).diagnostics;
            let full = all.into_iter().filter(|d| d.code == "C0701");
            full.map(|d| d.message).collect::<Vec<_>>()
        };
        assert_eq!(found(32), [""; 0]);
        assert_eq!(found(33), ["33 ports that DPDK serves, and at most 32 fit"]);
    }
}
