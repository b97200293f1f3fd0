//! The report: one HTML page with its drawings in it, readable without a network.

use std::fmt::Write as _;

use crate::{
    host::Host,
    results::{Goal, Metric, Record, Results, rounded},
};

/// The whole page.
pub fn html(results: &Results) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>onvm benchmarks</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>onvm benchmarks</h1>\n{}",
        host(&results.host, results)
    );
    page.push_str(&summary(&results.records));
    results
        .records
        .iter()
        .for_each(|record| page.push_str(&section(record)));
    page.push_str("</body></html>\n");
    page
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
 table{border-collapse:collapse;margin:.7em 0}td,th{padding:.15em .8em;border-bottom:1px solid #ddd;text-align:left}\
 td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.PASS{color:#0a6b2d;font-weight:600}.FAIL{color:#b00020;font-weight:600}\
 .dim{color:#666}svg{display:block;margin:.7em 0;max-width:100%}svg text{font:13px system-ui,sans-serif;fill:#222}";

fn host(host: &Host, results: &Results) -> String {
    let huge = match host.huge_pages_free {
        0 => "no huge pages".to_owned(),
        n => format!("{n} huge pages free"),
    };
    let effort = if results.quick { "quick subset" } else { "full run" };
    format!(
        "<p>{} cores of {} at {} MHz; kernel {}; {huge}; DPDK {}; {}. Load before the run {}. <span class=\"dim\">{effort}, \
         {} s after 1970.</span></p>\n<p>Medians, with the smallest and largest sample. Clock times on a shared machine vary; \
         ratios within one run are worth more than the figures themselves.</p>\n",
        host.cores,
        escape(&host.cpu),
        rounded(host.clock_mhz),
        escape(&host.kernel),
        escape(&host.dpdk),
        escape(&host.rustc),
        host.load,
        results.taken_at
    )
}

fn summary(records: &[Record]) -> String {
    let mut table = String::from(
        "<h2>Goals</h2><table><tr><th></th><th>goal</th><th class=\"n\">target</th><th class=\"n\">found</th><th></th></tr>\n",
    );
    for record in records {
        record
            .goals
            .iter()
            .for_each(|goal| table.push_str(&goal_row(record, goal)));
    }
    table + "</table>\n"
}

fn goal_row(record: &Record, goal: &Goal) -> String {
    format!(
        "<tr><td><a href=\"#{id}\">{id}</a></td><td>{}</td><td class=\"n\">{} {unit}</td><td class=\"n\">{} {unit}</td>\
         <td class=\"{verdict}\">{verdict}</td></tr>\n",
        escape(&goal.text),
        rounded(goal.target),
        rounded(goal.found),
        id = escape(&record.id),
        unit = escape(&goal.unit),
        verdict = goal.verdict()
    )
}

fn section(record: &Record) -> String {
    let mut text = format!(
        "<h2 id=\"{id}\">{id}: {}</h2>\n<p>{}</p>\n",
        escape(&record.title),
        escape(&record.method),
        id = escape(&record.id)
    );
    if let Some(failure) = &record.failure {
        let _ = writeln!(
            text,
            "<p class=\"FAIL\">Not measured:</p><pre>{}</pre>",
            escape(failure)
        );
        return text;
    }
    let mut drawn: Vec<&str> = Vec::new();
    for metric in &record.metrics {
        if !drawn.contains(&metric.unit.as_str()) {
            drawn.push(&metric.unit);
            let same: Vec<&Metric> = record.metrics.iter().filter(|m| m.unit == metric.unit).collect();
            text.push_str(&bars(&same, &metric.unit));
        }
    }
    let _ = writeln!(text, "<p><b>Beside it</b>: {}</p>", escape(&record.reference));
    if !record.notes.is_empty() {
        let items: String = record
            .notes
            .iter()
            .map(|n| format!("<li>{}</li>", escape(n)))
            .collect();
        let _ = writeln!(text, "<ul class=\"dim\">{items}</ul>");
    }
    text
}

/// Pixels.
const LABEL_WIDTH: f64 = 270.0;
const BAR_WIDTH: f64 = 380.0;
const VALUE_WIDTH: f64 = 230.0;
const ROW: f64 = 24.0;

/// Horizontal bars of the medians with whiskers from the smallest to the largest sample, on one linear scale from zero.
fn bars(metrics: &[&Metric], unit: &str) -> String {
    let longest = metrics.iter().map(|m| m.max).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LABEL_WIDTH + BAR_WIDTH * value / longest;
    let (width, height) = (LABEL_WIDTH + BAR_WIDTH + VALUE_WIDTH, ROW * metrics.len() as f64);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n"
    );
    for (row, m) in metrics.iter().enumerate() {
        let top = ROW * row as f64;
        let (middle, base) = (top + ROW / 2.0, top + ROW / 2.0 + 4.5);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABEL_WIDTH}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#7aa6d6\"/>\
             <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#123a66\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\">{} {} ({} to {})</text>",
            LABEL_WIDTH - 8.0,
            escape(&m.name),
            top + 4.0,
            BAR_WIDTH * m.median / longest,
            ROW - 8.0,
            x(m.min),
            x(m.max),
            LABEL_WIDTH + BAR_WIDTH + 8.0,
            rounded(m.median),
            escape(unit),
            rounded(m.min),
            rounded(m.max)
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record::new("b0", "A <title>", "method", "reference");
        record.add("one", "ms", vec![1.0, 2.0, 4.0]);
        record.goals.push(Goal::below("time", "ms", 1.0, 2.0));
        record
    }

    #[test]
    fn a_section_draws_medians_and_escapes_text() {
        let text = section(&record());
        assert!(text.contains("A &lt;title&gt;"), "{text}");
        assert!(text.contains("2.00 ms (1.00 to 4.00)"), "{text}");
        // The median is half of the largest sample, which fills the width.
        assert!(text.contains("width=\"190.0\""), "{text}");
    }

    #[test]
    fn a_missed_goal_and_a_failure_are_said() {
        let mut record = record();
        assert!(summary(std::slice::from_ref(&record)).contains("class=\"FAIL\">FAIL"));
        record.failure = Some("no cores".to_owned());
        assert!(section(&record).contains("no cores"));
    }
}
