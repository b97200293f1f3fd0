//! Every diagnostic of the compiler, one file each: its rule, its text, its explanation, and examples that are tested.
//!
//! `C00xx` syntax (in `onvm-lang`), `C01xx` names, `C02xx` types and values, `C03xx` filters, `C04xx` chain shape,
//! `C05xx` steering, `C06xx` contracts, `C07xx` capacity, `C08xx` tests.

use std::path::Path;

use onvm_lang::{Diagnostic, Severity};

use crate::{
    context::globalise,
    sources::{Place, Sources},
};

mod syntax;

macro_rules! pages {
    ($($module:ident),* $(,)?) => {
        $(pub(crate) mod $module;)*

        /// The pages of all codes of this crate but the filters', in the order of the codes.
        pub(crate) const PAGES: &[&Page] = &[$(&$module::PAGE),*];
    };
}

pages![
    unknown_name,
    duplicate_name,
    wrong_kind,
    unused,
    import_cycle,
    unreadable_file,
    unknown_type,
    bad_manifest,
    reference_cycle,
    empty_program,
    wrong_value_type,
    wrong_unit,
    out_of_range,
    unknown_word,
    missing_setting,
    unknown_setting,
    set_twice,
    missing_file,
    missing_input,
    bad_override,
    refused_parameter,
    open_chain,
    unknown_output,
    unhandled_output,
    unreachable_step,
    visited_twice,
    chain_cycle,
    wrong_arguments,
    arms_without_outputs,
    output_twice,
    missing_else,
    after_else,
    two_steers,
    no_steer,
    shadowed_rule,
    empty_filter,
    partial_overlap,
    unused_permission,
    missing_permission,
    stateful_without_affinity,
    endless_path,
    no_effect_yet,
    reads_rewritten,
    refuted,
    unproved,
    untagged_only,
    first_fragments_only,
    unanswered_neighbours,
    table_full,
    rings_and_buffers,
    too_many_hops,
    frame_too_large,
    service_id_taken,
    contradictory_packet,
    misplaced_expectation,
    idle_test,
    too_few_cores,
    device_twice,
];

/// What `onvmc explain CODE` shows.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub code: &'static str,
    pub title: &'static str,
    pub severity: Severity,
    /// The rule and the reason for it.
    pub text: &'static str,
    /// A source that gets this diagnostic.
    pub wrong: &'static str,
    /// The same, mended.
    pub right: &'static str,
}

impl Page {
    /// The page in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}: {}\n\n{}\n", self.code, self.title, self.text.trim_end());
        let level = self.severity.word();
        for (what, fence, example) in [
            ("This gets it", format!("chain {level}={}", self.code), self.wrong),
            ("This is right", "chain".to_owned(), self.right),
        ] {
            if !example.is_empty() {
                text.push_str(&format!("\n{what}:\n\n```{fence}\n{}\n```\n", example.trim_end()));
            }
        }
        text
    }

    pub(crate) fn at(
        &self,
        place: Place,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Diagnostic {
        match self.severity {
            Severity::Error => Diagnostic::error(self.code, message, place.span(), label),
            Severity::Warning => Diagnostic::warning(self.code, message, place.span(), label),
            Severity::Note => Diagnostic::note(self.code, message, place.span(), label),
        }
    }
}

/// Whether it says that an assertion does not hold, or is not proved.
pub(crate) fn is_claim(code: &str) -> bool {
    [&refuted::PAGE, &unproved::PAGE]
        .iter()
        .any(|page| page.code == code)
}

/// The page of a code.
pub fn explain(code: &str) -> Option<&'static Page> {
    all_pages()
        .into_iter()
        .find(|p| p.code.eq_ignore_ascii_case(code))
}

/// Every page, in the order of the codes.
pub fn all_pages() -> Vec<&'static Page> {
    let mut pages: Vec<_> = PAGES
        .iter()
        .chain(crate::filter::PAGES)
        .chain(syntax::PAGES)
        .copied()
        .collect();
    pages.sort_by_key(|p| p.code);
    pages
}

/// The code that was perhaps meant.
pub fn closest_code(code: &str) -> Option<&'static str> {
    closest(&code.to_uppercase(), all_pages().iter().map(|p| p.code))
}

/// Diagnostics of one source that stands alone, ready to be rendered.
pub fn of_one_file(path: &Path, text: String, found: Vec<Diagnostic>) -> (Sources, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let file = sources.add(path, path.display().to_string(), text);
    let found = found.into_iter().map(|d| globalise(&sources, file, d)).collect();
    (sources, found)
}

/// The nearest of the known names, for "did you mean".
pub(crate) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let near = known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(name, k), k));
    near.filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, k)| k)
}

/// Asks whether `close` was meant in place of `name`, which ends where the place does: a `$` may stand before it.
pub(crate) fn did_you_mean(found: Diagnostic, place: Place, name: &str, close: &str) -> Diagnostic {
    found
        .help(format!("did you mean `{close}`?"))
        .write(place.span().tail(name), close)
}

/// `a`, `b` or `c`, for messages.
pub(crate) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = names.into_iter().map(|n| format!("`{n}`")).collect();
    match quoted.pop() {
        None => String::new(),
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} or {last}", quoted.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{applied, checked};

    #[test]
    fn codes_are_unique_and_in_order() {
        let codes: Vec<_> = all_pages().iter().map(|p| p.code).collect();
        assert!(codes.windows(2).all(|w| w[0] < w[1]), "{codes:?}");
    }

    /// Every fix of every page's example makes its mistake go away, and no other come. What is left of an example may be
    /// unused.
    #[test]
    fn fixes_mend() {
        let mut mended = std::collections::BTreeSet::new();
        for page in all_pages() {
            let before = checked(page.wrong).diagnostics;
            for (found, fix) in before.iter().flat_map(|d| d.fixes.iter().map(move |f| (d, f))) {
                let source = applied(page.wrong, fix);
                let after = checked(&source).diagnostics;
                let same = |d: &&Diagnostic| d.code == found.code;
                let fewer = after.iter().filter(same).count() < before.iter().filter(same).count();
                let new = after
                    .iter()
                    .find(|a| a.code != "C0104" && before.iter().all(|b| b.code != a.code));
                assert!(fewer && new.is_none(), "{}: {source}\n{after:?}", found.code);
                mended.insert(found.code);
            }
        }
        let with_fixes = [
            "C0002", "C0006", "C0008", "C0023", "C0026", "C0101", "C0107", "C0202", "C0206", "C0301",
            "C0305", "C0402", "C0501",
        ];
        assert_eq!(mended, with_fixes.into());
    }

    #[test]
    fn near_names() {
        assert_eq!(closest("firewal", ["firewall", "forward"]), Some("firewall"));
        assert_eq!(closest("x", ["firewall", "forward"]), None);
        assert_eq!(closest("fw", ["wf"]), Some("wf"));
    }
}
