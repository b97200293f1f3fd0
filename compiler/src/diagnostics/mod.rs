//! Every diagnostic of the compiler, one file each: its rule, its text, its explanation, and examples that are tested.
//!
//! `C00xx` syntax (in `onvm-lang`), `C01xx` names, `C02xx` types and values, `C03xx` filters, `C04xx` chain shape,
//! `C05xx` steering, `C06xx` contracts, `C07xx` capacity, `C08xx` tests.

pub(crate) mod after_else;
pub(crate) mod arms_without_outputs;
pub(crate) mod bad_manifest;
pub(crate) mod bad_override;
pub(crate) mod cannot_be_fused;
pub(crate) mod chain_cycle;
pub(crate) mod contradictory_packet;
pub(crate) mod device_twice;
pub(crate) mod drops_first_fragments_only;
pub(crate) mod drops_untagged_only;
pub(crate) mod duplicate_name;
pub(crate) mod empty_filter;
pub(crate) mod empty_program;
pub(crate) mod endless_path;
pub(crate) mod filters;
pub(crate) mod first_fragments_only;
pub(crate) mod frame_too_large;
pub(crate) mod idle_test;
pub(crate) mod import_cycle;
pub(crate) mod misplaced_expectation;
pub(crate) mod missing_else;
pub(crate) mod missing_file;
pub(crate) mod missing_input;
pub(crate) mod missing_permission;
pub(crate) mod missing_setting;
pub(crate) mod no_steer;
pub(crate) mod not_bypassable;
pub(crate) mod open_chain;
pub(crate) mod out_of_range;
pub(crate) mod output_twice;
pub(crate) mod partial_overlap;
pub(crate) mod programs_no_table;
pub(crate) mod reads_rewritten;
pub(crate) mod reference_cycle;
pub(crate) mod refused_parameter;
pub(crate) mod refuted;
pub(crate) mod rings_and_buffers;
pub(crate) mod service_id_taken;
pub(crate) mod set_twice;
pub(crate) mod shadowed_rule;
pub(crate) mod stateful_without_affinity;
mod syntax;
pub(crate) mod table_full;
pub(crate) mod too_few_cores;
pub(crate) mod too_many_hops;
pub(crate) mod two_steers;
pub(crate) mod unanswered_neighbours;
pub(crate) mod unhandled_output;
pub(crate) mod unknown_name;
pub(crate) mod unknown_output;
pub(crate) mod unknown_setting;
pub(crate) mod unknown_type;
pub(crate) mod unknown_word;
pub(crate) mod unproved;
pub(crate) mod unreachable_step;
pub(crate) mod unreadable_file;
pub(crate) mod untagged_only;
pub(crate) mod unused;
pub(crate) mod unused_permission;
pub(crate) mod visited_twice;
pub(crate) mod wrong_arguments;
pub(crate) mod wrong_kind;
pub(crate) mod wrong_unit;
pub(crate) mod wrong_value_type;

use std::path::Path;

use onvm_lang::{Diagnostic, Severity};

use crate::source::{
    context::globalise,
    sources::{Place, Sources},
};

/// The pages of all codes of this crate except those of filters, in the order of the codes.
pub(crate) const PAGES: &[&Page] = &[
    &unknown_name::PAGE,
    &duplicate_name::PAGE,
    &wrong_kind::PAGE,
    &unused::PAGE,
    &import_cycle::PAGE,
    &unreadable_file::PAGE,
    &unknown_type::PAGE,
    &bad_manifest::PAGE,
    &reference_cycle::PAGE,
    &empty_program::PAGE,
    &wrong_value_type::PAGE,
    &wrong_unit::PAGE,
    &out_of_range::PAGE,
    &unknown_word::PAGE,
    &missing_setting::PAGE,
    &unknown_setting::PAGE,
    &set_twice::PAGE,
    &missing_file::PAGE,
    &missing_input::PAGE,
    &bad_override::PAGE,
    &refused_parameter::PAGE,
    &open_chain::PAGE,
    &unknown_output::PAGE,
    &unhandled_output::PAGE,
    &unreachable_step::PAGE,
    &visited_twice::PAGE,
    &chain_cycle::PAGE,
    &wrong_arguments::PAGE,
    &arms_without_outputs::PAGE,
    &output_twice::PAGE,
    &missing_else::PAGE,
    &after_else::PAGE,
    &programs_no_table::PAGE,
    &two_steers::PAGE,
    &no_steer::PAGE,
    &shadowed_rule::PAGE,
    &empty_filter::PAGE,
    &partial_overlap::PAGE,
    &unused_permission::PAGE,
    &missing_permission::PAGE,
    &stateful_without_affinity::PAGE,
    &endless_path::PAGE,
    &reads_rewritten::PAGE,
    &refuted::PAGE,
    &unproved::PAGE,
    &untagged_only::PAGE,
    &first_fragments_only::PAGE,
    &unanswered_neighbours::PAGE,
    &not_bypassable::PAGE,
    &drops_untagged_only::PAGE,
    &cannot_be_fused::PAGE,
    &drops_first_fragments_only::PAGE,
    &table_full::PAGE,
    &rings_and_buffers::PAGE,
    &too_many_hops::PAGE,
    &frame_too_large::PAGE,
    &service_id_taken::PAGE,
    &contradictory_packet::PAGE,
    &misplaced_expectation::PAGE,
    &idle_test::PAGE,
    &too_few_cores::PAGE,
    &device_twice::PAGE,
];

/// The page that `onvmc explain CODE` shows.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    pub code: &'static str,
    pub title: &'static str,
    pub severity: Severity,
    /// The rule and the reason for it.
    pub text: &'static str,
    /// A source that gets this diagnostic.
    pub wrong: &'static str,
    /// The same, put right.
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
        .chain(filters::PAGES)
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
    fn every_page_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnostics");
        let files = std::fs::read_dir(folder).unwrap();
        let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
        let with_page = texts.filter(|text| text.contains("\npub(crate) const PAGE: Page = Page {"));
        assert_eq!(with_page.count(), PAGES.len());
    }

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
