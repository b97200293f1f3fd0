//! Colours. The picture has its own background, light on paper and dark where the reader's screen is dark.

/// One for each chain, again from the first when they are used up. All stand out from both backgrounds.
const CHAINS: [&str; 8] = [
    "#2563eb", "#d97706", "#059669", "#c026d3", "#0891b2", "#65a30d", "#7c3aed", "#b45309",
];

pub(super) fn chain_colour(chain: usize) -> &'static str {
    CHAINS[chain % CHAINS.len()]
}

pub(super) const SHEET: &str = r#"text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, "Liberation Mono", monospace; fill: #0f172a }
.title { font: bold 18px system-ui, Helvetica, Arial, "DejaVu Sans", sans-serif }
.note { font: 12px system-ui, Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #475569 }
.name { font-size: 13px; font-weight: bold }
.kind { font-size: 11px; fill: #475569 }
.label { font-size: 11px; font-style: italic }
.pill { font-size: 12px; font-weight: bold; fill: #ffffff }
.dropped { fill: #b91c1c }
.page { fill: #ffffff }
.port { fill: #ecfdf5; stroke: #475569 }
.nf { fill: #f1f5f9; stroke: #475569 }
.end { fill: #fef2f2; stroke: #b91c1c }
.card { fill: #ffffff; stroke: #475569 }
.rule { stroke: #e2e8f0 }
.cross { stroke: #b91c1c; stroke-width: 2; fill: none }
.flow { fill: none; stroke-width: 2 }
.steer { stroke-dasharray: 6 4 }
@media screen and (prefers-color-scheme: dark) {
text { fill: #e2e8f0 }
.note, .kind { fill: #94a3b8 }
.dropped { fill: #f87171 }
.pill { fill: #ffffff }
.page { fill: #0f172a }
.port { fill: #064e3b; stroke: #94a3b8 }
.nf { fill: #1e293b; stroke: #94a3b8 }
.end { fill: #450a0a; stroke: #f87171 }
.card { fill: #0f172a; stroke: #94a3b8 }
.rule { stroke: #334155 }
.cross { stroke: #f87171 }
}
"#;
