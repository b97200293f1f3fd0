//! C0618: NFs that cannot share a process.

use onvm_lang::{Diagnostic, Severity};

use super::Page;
use crate::source::sources::Place;

pub(crate) const PAGE: Page = Page {
    code: "C0618",
    title: "NFs that cannot share a process",
    severity: Severity::Error,
    text: r#"NFs with the same `fuse` share a process: a packet goes from one to the next by a call. So they are started, ended
and scaled together, and agree in `replicas`, `run`, `affinity`, `restart`, `domain`, `cores` and `numa`. They come from one
program, whose manifests say that it can run several of its NFs at once (`fuses = true` under `[run]`); the standard NFs do. An
NF that makes packets or programs flows needs a process of its own, as does one whose number changes while it runs. A process
may be given 250 files by parameters, and have 4096 counters."#,
    wrong: r#"port wan = null {}
port lan = null {}

nf a = forward with { fuse = "edge", replicas = 2 }
nf b = forward with { fuse = "edge" }
steer wan { else -> a -> b -> lan }
"#,
    right: r#"port wan = null {}
port lan = null {}

nf a = forward with { fuse = "edge", replicas = 2 }
nf b = forward with { fuse = "edge", replicas = 2 }
steer wan { else -> a -> b -> lan }
"#,
};

/// Of one NF, for a reason of its own.
pub(crate) fn cannot_be_fused(place: Place, nf: &str, why: &str, help: &str) -> Diagnostic {
    PAGE.at(
        place,
        format!("`{nf}` cannot be fused with others: {why}"),
        "asked for here",
    )
    .help(help.to_owned())
}

/// The NF, what it has, and where it is fused.
pub(crate) type Fused<'a> = (&'a str, String, Place);

/// Of two that do not agree.
pub(crate) fn fused_unlike(first: Fused<'_>, other: Fused<'_>, what: &str) -> Diagnostic {
    let ((a, of_a, at_a), (b, of_b, at_b)) = (first, other);
    PAGE.at(
        at_b,
        format!("`{b}` cannot share a process with `{a}`: {what} is `{of_b}` here and `{of_a}` there"),
        "fused here",
    )
    .label(at_a.span(), "and here")
    .help(format!(
        "give both the same {what}, or leave `fuse` out of one of them"
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        Inputs, check,
        source::host::MemoryHost,
        testing::{check_page, checked},
    };

    #[test]
    fn page() {
        check_page(&super::PAGE);
    }

    /// What is said of NFs that are declared so.
    fn said(nfs: &[String]) -> Vec<String> {
        let names: Vec<String> = (0..nfs.len()).map(|n| format!("n{n}")).collect();
        let declared: String = names
            .iter()
            .zip(nfs)
            .map(|(name, nf)| format!("nf {name} = {nf}\n"))
            .collect();
        let types = ["guard", "maker", "steersman"];
        let types: String = types
            .iter()
            .map(|ty| format!("use \"{ty}.nf.toml\" as {ty}\n"))
            .collect();
        let source = format!(
            "{types}port wan = null {{}}\nport lan = null {{}}\n{declared}\
             steer wan {{ else -> {} -> lan }}\nmanager {{ max_hops = 40 }}\n",
            names.join(" -> ")
        );
        let found = checked(&source).diagnostics.into_iter();
        let found = found.filter(|d| d.code == super::PAGE.code);
        found.map(|d| d.message).collect()
    }

    #[test]
    fn each_reason_is_said() {
        let of = |nfs: &[&str]| said(&nfs.iter().map(|nf| (*nf).to_owned()).collect::<Vec<_>>());
        let fused = "forward with { fuse = \"edge\" }";
        assert_eq!(of(&[fused, fused]), [""; 0]);
        assert_eq!(
            of(&["guard with { fuse = \"edge\" }"]),
            ["`n0` cannot be fused with others: its program runs one NF in a process"]
        );
        assert_eq!(
            of(&["forward with { fuse = \"edge\", replicas = 1..2 }"]),
            ["`n0` cannot be fused with others: its number changes while it runs"]
        );
        assert_eq!(
            of(&["maker with { fuse = \"edge\" }"]),
            ["`n0` cannot be fused with others: it makes packets"]
        );
        assert_eq!(
            of(&["steersman with { fuse = \"edge\" }"]),
            ["`n0` cannot be fused with others: it programs flows"]
        );
        assert_eq!(
            of(&["forward with { fuse = \"n1\" }", "forward"]),
            ["`n0` cannot be fused with others: `n1` is the name of an NF"]
        );
        assert_eq!(
            of(&["forward with { fuse = \"no name\" }"]),
            ["`n0` cannot be fused with others: \"no name\" is no name"]
        );
        assert_eq!(
            of(&[fused, "forward with { fuse = \"edge\", restart = never }"]),
            ["`n1` cannot share a process with `n0`: `restart` is `never` here and `always` there"]
        );
        assert_eq!(
            of(&[fused, "forward with { fuse = \"edge\", domain = \"red\" }"]),
            ["`n1` cannot share a process with `n0`: `domain` is `red` here and `default` there"]
        );
        assert_eq!(said(&vec![fused.to_owned(); 15]), [""; 0]);
        assert_eq!(
            said(&vec![fused.to_owned(); 16]),
            ["`n15` cannot be fused with others: 15 NFs share `edge` already"]
        );
    }

    /// A firewall has a counter for each of 1024 rules, and of a process the last of four takes what is left.
    #[test]
    fn what_one_process_has_no_room_for_is_refused() {
        let rules: String = (1..1100)
            .map(|port| format!("drop udp dst port {port}\n"))
            .collect();
        let fused = |count: usize| {
            let nf = |n| {
                format!(
                    "nf n{n} = firewall {{ rules = file(\"long.rules\"), default = accept }} with {{ fuse = \"edge\" }}\n"
                )
            };
            let declared: String = (0..count).map(nf).collect();
            let line: String = (0..count).map(|n| format!("n{n} -> ")).collect();
            let source = format!(
                "port wan = null {{}}\nport lan = null {{}}\n{declared}steer wan {{ else -> {line}lan }}\n"
            );
            let host = MemoryHost::default()
                .with("test.chain", source)
                .with("long.rules", rules.clone());
            let checked = check(&host, Path::new("test.chain"), &Inputs::default()).unwrap();
            let found = checked.diagnostics.into_iter();
            let found = found.filter(|d| d.code == super::PAGE.code);
            found.map(|d| d.message).collect::<Vec<_>>()
        };
        assert_eq!(fused(4), [""; 0]);
        assert_eq!(
            fused(5),
            ["`n4` cannot be fused with others: the process would have 4102 counters, and may have 4096"]
        );
    }
}
