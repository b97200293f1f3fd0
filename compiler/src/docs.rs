//! The documentation is a test suite: its examples are executed, its links followed, and its pages of diagnostics are
//! those of the code (`UPDATE_DOCS=1 cargo test -p onvmc docs` writes them).
//!
//! A fence that begins with
//! - `chain` holds a whole source that gets no diagnostic, and whose tests pass;
//! - `chain error=C0501` holds one that gets this error and no other (`error=C0003,C0107` for several); `warning=` and
//!   `note=` likewise. A name that is unused because of the mistake is not another mistake;
//! - `chain fragment` holds declarations that parse, of a source that is not whole. So do all in `docs/nfs`.
//!
//! What parses is also laid out: with the same comments, and without a change in a second pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Once,
};

use onvm_lang::Severity;

use crate::{
    Checked,
    diagnostics::all_pages,
    interpret::Interpreter,
    render,
    scenarios::{self, Body},
    testing::checked,
};

/// A fenced example.
struct Fence {
    line: usize,
    info: Vec<String>,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file of the project, as a path from its root.
fn pages() -> Vec<PathBuf> {
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(write_diagnostics);
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = dir.join(&name);
            if entry.file_type().unwrap().is_dir() {
                if !name.starts_with('.') && name != "target" {
                    open.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() > 80, "{found:?}");
    found
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

fn fences(text: &str) -> Vec<Fence> {
    let mut fences = Vec::new();
    let mut open: Option<Fence> = None;
    for (n, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(_), Some(fence)) => fences.push(fence),
            (Some(info), None) => {
                open = Some(Fence {
                    line: n + 1,
                    info: info.split_whitespace().map(str::to_owned).collect(),
                    text: String::new(),
                });
            }
            (None, Some(mut fence)) => {
                fence.text += line;
                fence.text += "\n";
                open = Some(fence);
            }
            (None, None) => {}
        }
    }
    fences
}

/// The fault of an example, if any.
fn fault(fence: &Fence, fragment: bool) -> Option<String> {
    let wanted = |severity: &str| -> BTreeSet<&str> {
        let codes = fence.info.iter().filter_map(|i| i.strip_prefix(severity));
        codes.flat_map(|c| c.split(',')).collect()
    };
    let (errors, warnings, notes) = (wanted("error="), wanted("warning="), wanted("note="));
    let known = |i: &String| i.contains('=') || matches!(i.as_str(), "chain" | "fragment");
    if let Some(odd) = fence.info.iter().find(|i| !known(i)) {
        return Some(format!("what is `{odd}` behind the fence?"));
    }
    if fragment || fence.info.iter().any(|i| i == "fragment") {
        let parsed = onvm_lang::parse(&fence.text);
        return match parsed.diagnostics.first() {
            Some(first) => Some(format!("does not parse: {}", first.message)),
            None => layout_fault(&fence.text),
        };
    }
    let checked = checked(&fence.text);
    let found = |severity: Severity| -> BTreeSet<&str> {
        let those = checked.diagnostics.iter().filter(|d| d.severity == severity);
        those.map(|d| d.code).collect()
    };
    let mut also = found(Severity::Warning);
    let mistaken = !errors.is_empty() || !warnings.is_empty();
    if mistaken && !warnings.contains("C0104") {
        also.remove("C0104");
    }
    if found(Severity::Error) != errors || also != warnings || found(Severity::Note) != notes {
        let shown = render::short(&checked.sources, &checked.diagnostics);
        return Some(format!("gets something else than it says:\n{shown}"));
    }
    failed_test(&checked).or_else(|| layout_fault(&fence.text))
}

/// The first test of an example that does not pass. Replays need captures, which examples have none of.
fn failed_test(checked: &Checked) -> Option<String> {
    let program = checked.program.as_ref()?;
    program.tests.iter().find_map(|test| {
        let Body::Paths(statements) = &test.body else {
            return None;
        };
        let nfs = Interpreter::new(program.contents(), &program.files);
        let passed =
            nfs.is_ok_and(|mut nfs| scenarios::run(&mut nfs, &checked.sources, statements).is_empty());
        (!passed).then(|| format!("its test \"{}\" does not pass", test.name))
    })
}

fn layout_fault(source: &str) -> Option<String> {
    let once = onvm_lang::format(source).ok()?;
    if onvm_lang::format(&once).as_ref() != Ok(&once) {
        return Some(format!(
            "a second `onvmc fmt` changes the text of the first:\n{once}"
        ));
    }
    if onvm_lang::parse(source).file != onvm_lang::parse(&once).file {
        return Some(format!("`onvmc fmt` changes the meaning:\n{once}"));
    }
    let count = |text: &str| text.matches("//").count();
    (count(source) != count(&once)).then(|| format!("`onvmc fmt` loses a comment:\n{once}"))
}

#[test]
fn every_example_does_what_the_page_says() {
    let mut faults = Vec::new();
    let mut examples = 0;
    for page in pages() {
        let fragment = page.starts_with("docs/nfs");
        let fences = fences(&read(&page));
        for fence in fences
            .iter()
            .filter(|f| f.info.first().is_some_and(|i| i == "chain"))
        {
            examples += 1;
            if let Some(fault) = fault(fence, fragment) {
                faults.push(format!("{}:{}: this example {fault}", page.display(), fence.line));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(examples > 100, "{examples} examples");
}

#[test]
fn every_link_leads_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        for target in links(&read(&page)) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            if file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let there = root().join(&path);
            let found = there.exists()
                && (anchor.is_empty() || anchors(&fs::read_to_string(&there).unwrap()).contains(anchor));
            if !found {
                faults.push(format!("{}: the link {target} leads nowhere", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The text outside of fences and of `code`.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let starts = prose.match_indices("](").map(|(at, _)| at + 2);
    let ends = starts.filter_map(|at| prose[at..].find(')').map(|len| prose[at..at + len].to_owned()));
    ends.collect()
}

/// The places that links can name: headings in lower case, with `-` for spaces and without marks.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|l| l.starts_with('#'));
    let slug = |l: &str| {
        let kept = l.trim_start_matches('#').trim().chars();
        kept.filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
            .collect()
    };
    headings.map(slug).collect()
}

/// The pages of diagnostics by file name.
fn diagnostics() -> Vec<(String, String)> {
    let mut wanted = vec![("README.md".to_owned(), index())];
    for page in all_pages() {
        let mut text = page.markdown();
        let wrong = checked(page.wrong);
        let shown = render::human(&wrong.sources, &wrong.diagnostics, false, 100);
        if !page.wrong.is_empty() {
            text.push_str(&format!(
                "\nWhat is shown for the first:\n\n```text\n{shown}```\n"
            ));
        }
        wanted.push((format!("{}.md", page.code), text));
    }
    wanted
}

fn write_diagnostics() {
    if std::env::var_os("UPDATE_DOCS").is_none() {
        return;
    }
    let dir = root().join("docs/diagnostics");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in diagnostics() {
        fs::write(dir.join(name), text).unwrap();
    }
}

#[test]
fn every_kind_of_port_has_a_row_and_a_section() {
    let page = read(Path::new("docs/ports.md"));
    for kind in onvm_bundle::PortKind::WORDS {
        let (row, section) = (format!("| [`{kind}`](#{kind}) |"), format!("\n## {kind}\n"));
        assert!(page.contains(&row) && page.contains(&section), "{kind}");
    }
}

#[test]
fn the_pages_of_diagnostics_are_those_of_the_code() {
    pages();
    let dir = root().join("docs/diagnostics");
    let wanted = diagnostics();
    let there = fs::read_dir(&dir).unwrap().count();
    let current =
        |(name, text): &(String, String)| fs::read_to_string(dir.join(name)).is_ok_and(|t| t == *text);
    assert!(
        there == wanted.len() && wanted.iter().all(current),
        "docs/diagnostics is not current: run `UPDATE_DOCS=1 cargo test -p onvmc docs`"
    );
}

fn index() -> String {
    let mut text =
        "# Diagnostics\n\nEvery diagnostic of `onvmc`. `onvmc explain CODE` shows the same page.\n"
            .to_owned();
    let groups = [
        ("C00", "Syntax"),
        ("C01", "Names"),
        ("C02", "Types and values"),
        ("C03", "Filters"),
        ("C04", "Chains"),
        ("C05", "Steering"),
        ("C06", "Contracts and claims"),
        ("C07", "Capacity"),
        ("C08", "Tests"),
    ];
    let pages = all_pages();
    for (prefix, title) in groups {
        text.push_str(&format!("\n## {title}\n\n| code | | |\n|---|---|---|\n"));
        for page in pages.iter().filter(|p| p.code.starts_with(prefix)) {
            let level = page.severity.word();
            let code = page.code;
            text.push_str(&format!("| [{code}]({code}.md) | {level} | {} |\n", page.title));
        }
    }
    assert!(
        pages.iter().all(|p| text.contains(&format!("[{}]", p.code))),
        "a group is missing"
    );
    text
}
