//! Mermaid, as Markdown pages of GitHub and GitLab show it.
//!
//! Only what every version since 9 reads: a `flowchart`, quoted labels, two kinds of arrows. Mermaid has tooltips only
//! with scripts allowed, so descriptions are left out.

use super::{
    Graph,
    network::{EdgeKind, Network, Shape},
};

pub(super) fn render(graph: &Graph) -> String {
    let network = Network::new(graph);
    let mut out = "flowchart LR\n".to_owned();
    for (n, node) in network.nodes.iter().enumerate() {
        let label = label(node.lines.iter().filter(|l| !l.is_empty()));
        let (open, close) = match node.shape {
            Shape::Ingress | Shape::Egress => ("([", "])"),
            Shape::Chain => (">", "]"),
            Shape::Nf => ("[", "]"),
            Shape::Shared => ("[[", "]]"),
            Shape::Drop => ("{{", "}}"),
        };
        out.push_str(&format!("    n{n}{open}{label}{close}\n"));
    }
    for edge in &network.edges {
        let arrow = match edge.kind {
            EdgeKind::Steer | EdgeKind::Lookup | EdgeKind::Program => "-.->",
            EdgeKind::Output => "==>",
            EdgeKind::Enter | EdgeKind::Next => "-->",
        };
        let text = match edge.labels.is_empty() {
            true => String::new(),
            false => format!("|{}|", label(&edge.labels)),
        };
        out.push_str(&format!("    n{} {arrow}{text} n{}\n", edge.from, edge.to));
    }
    out
}

/// A quoted label. Everything that Mermaid, Markdown or HTML could take for syntax is a character code.
fn label<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    let lines: Vec<String> = lines.into_iter().map(|l| coded(l)).collect();
    format!("\"{}\"", lines.join("<br/>"))
}

fn coded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " .,:/_-@".contains(c) => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push_str(&format!("#{};", u32::from(c))),
        }
    }
    out
}
