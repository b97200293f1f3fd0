//! `onvmc explain`.

use onvmc::diagnostics::{Page, all_pages, closest_code, explain};

use super::{Outcome, args::ExplainArgs, output::Output};

pub(super) fn run(out: &Output, args: &ExplainArgs) -> Outcome {
    let Some(code) = &args.code else {
        let line = |p: &&Page| format!("{}  {}\n", p.code, p.title);
        out.data(&all_pages().iter().map(line).collect::<String>());
        return Outcome::Done;
    };
    match explain(code) {
        Some(page) if out.json => {
            out.data_json(&serde_json::json!({
                "version": 1, "code": page.code, "title": page.title, "severity": page.severity.word(), "text": page.text,
                "wrong": page.wrong, "right": page.right,
            }));
            Outcome::Done
        }
        Some(page) => {
            out.data(&text(page));
            Outcome::Done
        }
        None => {
            let near = closest_code(code).map_or_else(String::new, |c| format!(" Did you mean {c}?"));
            out.error(
                "code",
                &format!("there is no diagnostic {code}.{near} `onvmc explain` lists all of them."),
            );
            Outcome::Usage
        }
    }
}

fn text(page: &Page) -> String {
    let mut text = format!(
        "{}: {} ({})\n\n{}\n",
        page.code,
        page.title,
        page.severity.word(),
        page.text.trim_end()
    );
    for (what, example) in [("This gets it:", page.wrong), ("This is right:", page.right)] {
        if !example.is_empty() {
            let lines: String = example.lines().map(|l| format!("    {l}\n")).collect();
            text.push_str(&format!("\n{what}\n\n{lines}"));
        }
    }
    text
}
