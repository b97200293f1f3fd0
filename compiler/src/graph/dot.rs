//! The DOT language of Graphviz.
//!
//! Labels and tooltips are double-quoted strings, never HTML; see <https://graphviz.org/doc/info/lang.html>.

use super::{
    Graph,
    network::{EdgeKind, Network, Shape},
};

pub(super) fn render(graph: &Graph) -> String {
    let network = Network::new(graph);
    let mut out = format!("digraph {} {{\n", quoted(&graph.name));
    out.push_str("    graph [rankdir=LR, fontname=\"Helvetica\", nodesep=0.3, ranksep=0.7];\n");
    out.push_str(
        "    node [fontname=\"Helvetica\", fontsize=11, shape=box, style=\"rounded\", color=\"#475569\"];\n",
    );
    out.push_str("    edge [fontname=\"Helvetica\", fontsize=9, color=\"#475569\", arrowsize=0.7];\n");
    for (n, node) in network.nodes.iter().enumerate() {
        let label = quoted_lines(node.lines.iter().filter(|l| !l.is_empty()));
        let tooltip = quoted(&node.details);
        out.push_str(&format!(
            "    n{n} [label={label}, tooltip={tooltip}{}];\n",
            attributes(node.shape)
        ));
    }
    for edge in &network.edges {
        let label = quoted_lines(&edge.labels);
        let style = match edge.kind {
            EdgeKind::Steer | EdgeKind::Program => ", style=dashed",
            // It does not push its port to the right.
            EdgeKind::Lookup => ", style=dashed, constraint=false",
            EdgeKind::Output => ", style=bold",
            EdgeKind::Enter | EdgeKind::Next => "",
        };
        out.push_str(&format!(
            "    n{} -> n{} [label={label}{style}];\n",
            edge.from, edge.to
        ));
    }
    for (rank, shape) in [("min", Shape::Ingress), ("max", Shape::Egress)] {
        let nodes = network
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.shape == shape);
        let same: String = nodes.map(|(n, _)| format!("n{n}; ")).collect();
        if !same.is_empty() {
            out.push_str(&format!("    {{ rank={rank}; {same}}}\n"));
        }
    }
    out + "}\n"
}

fn attributes(shape: Shape) -> &'static str {
    match shape {
        Shape::Ingress | Shape::Egress => ", shape=cds, style=\"\"",
        Shape::Chain => ", shape=plaintext, style=\"\"",
        Shape::Nf => "",
        Shape::Shared => ", peripheries=2",
        Shape::Drop => ", shape=octagon, style=\"\", color=\"#b91c1c\"",
    }
}

/// A string in quotes. A backslash would begin an escape such as `\N`, so it is doubled.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, "\\n"))
}

/// Lines, each aligned to the left.
fn quoted_lines<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    let lines: Vec<String> = lines.into_iter().map(|l| escaped(l, " ")).collect();
    match lines.as_slice() {
        [one] => format!("\"{one}\""),
        many => format!(
            "\"{}\"",
            many.iter().map(|l| format!("{l}\\l")).collect::<String>()
        ),
    }
}

fn escaped(text: &str, line_break: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Graphviz reads HTML's character references in every label.
            '&' => out.push_str("&amp;"),
            '\n' => out.push_str(line_break),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
