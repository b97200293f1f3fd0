//! The security domains of ports and NFs.

use onvm_bundle::{MAX_DOMAINS, ParamKind, domain_name};

use super::Table;
use crate::{
    diagnostics::{out_of_range, table_full},
    resolve::{spec::Spec, values::Settings},
    source::{context::Context, sources::Place},
};

pub(crate) fn spec() -> Spec {
    Spec::plain(
        "domain",
        ParamKind::String,
        "security domain: packet memory is shared with those of the same one alone",
    )
}

/// The domain that is given, if any. None: it is not a name, which is reported.
pub(crate) fn read(cx: &Context<'_>, read: &Settings) -> Option<Option<String>> {
    let domain = read.values.text("domain");
    let bad = domain
        .as_deref()
        .filter(|name| !onvm_lang::is_name(name) || *name == domain_name(None));
    let Some((bad, place)) = bad.zip(read.places.get("domain")) else {
        return Some(domain);
    };
    let rule = match bad == domain_name(None) {
        true => "another name: this one has the domain of those that name none",
        false => "a name: letters, digits and `_`, the first not a digit",
    };
    cx.report(out_of_range::malformed(
        *place,
        "domain",
        &format!("{bad:?}"),
        rule,
    ));
    None
}

/// Refuses more of them than a manager has. `all`: the domain of each port and NF, and where that is declared.
pub(crate) fn count<'a>(cx: &Context<'_>, all: impl Iterator<Item = (Option<&'a str>, Place)>) {
    let mut found = Vec::new();
    for (domain, place) in all {
        if found.contains(&domain) {
            continue;
        }
        found.push(domain);
        if found.len() == MAX_DOMAINS + 1 {
            cx.report(table_full::table_full(
                place,
                "security domains",
                found.len(),
                MAX_DOMAINS,
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::checked;

    fn found(source: &str) -> Vec<(&'static str, String)> {
        let all = checked(source).diagnostics.into_iter();
        all.map(|d| (d.code, d.message)).collect()
    }

    #[test]
    fn a_domain_has_a_name_of_its_own() {
        let of = |port: &str, nf: &str| {
            found(&format!(
                "port wan = null {{ domain = {port} }}\nnf mon = monitor with {{ domain = {nf} }}\n\
                 steer wan {{ else -> mon -> wan }}\n"
            ))
        };
        assert_eq!(of("\"a\"", "\"a\""), []);
        assert_eq!(of("\"wan\"", "\"mon\""), []);
        for bad in ["\"\"", "\"a b\"", "\"default\"", "\"../a\""] {
            let expected = ("C0203", format!("`domain` cannot be {bad}"));
            assert_eq!(of(bad, "\"a\""), std::slice::from_ref(&expected));
            assert_eq!(of("\"a\"", bad), [expected]);
        }
    }

    #[test]
    fn more_domains_than_a_manager_has_are_refused_once() {
        let source = |named: usize| {
            let nfs: String = (0..named)
                .map(|n| format!("nf m{n} = monitor with {{ domain = \"d{n}\" }}\n"))
                .collect();
            let path: String = (0..named).map(|n| format!("m{n} -> ")).collect();
            format!("port wan = null {{}}\n{nfs}steer wan {{ else -> {path}wan }}\n")
        };
        // With the port's.
        assert_eq!(found(&source(15)), []);
        let full = ("C0701", "17 security domains, and at most 16 fit".to_owned());
        assert_eq!(found(&source(18)), [full]);
    }
}
