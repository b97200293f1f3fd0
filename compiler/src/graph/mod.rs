//! `onvmc graph`: ports, steering rules and chains as a picture, or as data for other tools.
//!
//! [`Graph`] is the model, the same for a source and for a bundle; each format is one module over it. Every text that
//! comes from a source (names, filters, comments) is escaped where it is written, by the format's own rule.

mod docs;
mod dot;
mod mermaid;
mod model;
mod network;
mod svg;
mod view;

pub use docs::Docs;
pub use model::{At, Chain, Graph, Hop, Port, Programmed, Rule, Service, Steering};

/// The formats of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A picture of its own, for screens and paper.
    Svg,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
    /// The model itself.
    Json,
}

impl Graph {
    /// The graph as text with a line break at its end. The same graph gives the same text.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Svg => svg::render(self),
            Format::Dot => dot::render(self),
            Format::Mermaid => mermaid::render(self),
            Format::Json => format!("{:#}\n", serde_json::json!(self)),
        }
    }
}

#[cfg(test)]
mod tests;
