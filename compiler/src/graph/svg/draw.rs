//! The elements of the picture.

use super::{
    boxes::{BOX, Card, Geometry, MARGIN, NodeBox, RULE_LINE, box_text, first_at},
    columns::Plan,
    lanes::{BranchKind, Start},
    style::chain_colour,
    text::escaped,
};
use crate::graph::{
    At, Graph,
    network::{described, details_of, details_of_port},
};

/// Writes elements; every text goes through [`escaped`].
#[derive(Debug, Default)]
pub(super) struct Pen {
    pub(super) out: String,
}

impl Pen {
    /// A group with a tooltip.
    pub(super) fn group(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        self.out.push_str("<g>");
        if !title.is_empty() {
            self.out.push_str(&format!("<title>{}</title>", escaped(title)));
        }
        draw(self);
        self.out.push_str("</g>\n");
    }

    pub(super) fn rect(
        &mut self,
        class: &str,
        x: usize,
        y: usize,
        width: usize,
        height: usize,
        radius: usize,
    ) {
        self.out.push_str(&format!(
            r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"/>"#
        ));
    }

    pub(super) fn text(&mut self, class: &str, anchor: &str, x: usize, y: usize, text: &str) {
        if !text.is_empty() {
            let text = escaped(text);
            self.out.push_str(&format!(
                r#"<text class="{class}" text-anchor="{anchor}" x="{x}" y="{y}">{text}</text>"#
            ));
        }
    }

    /// A line to the right with an arrow's head.
    pub(super) fn arrow(&mut self, from: usize, to: usize, y: usize, colour: &str, dashed: bool) {
        let class = if dashed { "flow steer" } else { "flow" };
        let (end, top, low) = (to.saturating_sub(6), y.saturating_sub(4), y + 4);
        self.out.push_str(&format!(
            r#"<path class="{class}" stroke="{colour}" d="M{from} {y}H{end}"/><path fill="{colour}" d="M{to} {y}L{} {top}V{low}Z"/>"#,
            to.saturating_sub(8),
        ));
    }

    pub(super) fn cross(&mut self, x: usize, y: usize) {
        let (left, right, top, low) = (x - 4, x + 4, y - 4, y + 4);
        self.out.push_str(&format!(
            r#"<path class="cross" d="M{left} {top}L{right} {low}M{left} {low}L{right} {top}"/>"#
        ));
    }
}

/// Curves from rules to chains.
pub(super) fn fans(pen: &mut Pen, plan: &Plan, geometry: &Geometry) {
    let from = MARGIN + geometry.card_width;
    let to = geometry.pill_x;
    let middle = from + (to - from) / 2;
    for card in &geometry.cards {
        for rule in &card.rules {
            let lane = plan
                .rows
                .iter()
                .position(|r| r.lane.chain == rule.row.chain && r.lane.start == Start::Entry);
            let Some(lane) = lane.map(|l| geometry.lanes[l]) else {
                continue;
            };
            let (y, colour) = (card.y + rule.middle, chain_colour(rule.row.chain));
            let class = match rule.row.programmed {
                true => "flow steer",
                false => "flow",
            };
            pen.group(&rule.row.details, |pen| {
                pen.out.push_str(&format!(
                    r#"<path class="{class}" stroke="{colour}" d="M{from} {y}C{middle} {y} {middle} {lane} {to} {lane}"/>"#
                ));
            });
        }
    }
}

/// A port with its rules.
pub(super) fn card(pen: &mut Pen, geometry: &Geometry, card: &Card) {
    let (x, y, width) = (MARGIN, card.y, geometry.card_width);
    pen.group(&card.details, |pen| {
        pen.rect("card", x, y, width, card.height, 6);
        pen.rect("port", x, y, width, 28, 6);
        pen.text("name", "start", x + 12, y + 19, &card.port);
        pen.text("kind", "end", x + width - 12, y + 19, &card.kind);
    });
    for (n, rule) in card.rules.iter().enumerate() {
        let middle = y + rule.middle;
        let top = middle - rule.height / 2;
        pen.group(&rule.row.details, |pen| {
            if n > 0 {
                pen.out.push_str(&format!(
                    r#"<path class="rule" d="M{} {top}H{}"/>"#,
                    x + 8,
                    x + width - 8
                ));
            }
            pen.text(
                "kind",
                "end",
                x + geometry.rule_indent - 8,
                top + 16,
                &rule.row.order,
            );
            for (n, line) in rule.lines.iter().enumerate() {
                pen.text(
                    "filter",
                    "start",
                    x + geometry.rule_indent,
                    top + 16 + n * RULE_LINE,
                    line,
                );
            }
            if rule.drops {
                pen.cross(x + width - 16, middle);
            }
        });
    }
}

/// The name at a chain's beginning.
pub(super) fn pill(pen: &mut Pen, graph: &Graph, plan: &Plan, geometry: &Geometry, row: usize) {
    let lane = &plan.rows[row].lane;
    if lane.start != Start::Entry {
        return;
    }
    let (chain, y) = (&graph.chains[lane.chain], geometry.lanes[row]);
    let details = described(
        format!("chain {} ({})", chain.name, chain.source),
        chain.doc.as_deref(),
    );
    let (x, width, colour) = (geometry.pill_x, geometry.pill_width, chain_colour(lane.chain));
    pen.group(&details, |pen| {
        pen.out.push_str(&format!(
            r#"<rect fill="{colour}" x="{x}" y="{}" width="{width}" height="24" rx="12"/>"#,
            y - 12
        ));
        pen.text("pill", "middle", x + width / 2, y + 4, &chain.name);
    });
}

/// The line of one lane.
pub(super) fn lane(pen: &mut Pen, graph: &Graph, plan: &Plan, geometry: &Geometry, row: usize) {
    let it = &plan.rows[row];
    let (y, colour) = (geometry.lanes[row], chain_colour(it.lane.chain));
    let edge = |group: usize| {
        let (x, width) = geometry.groups[group];
        (x, x + width)
    };
    let mut x = it
        .from
        .map_or(geometry.pill_x + geometry.pill_width, |g| edge(g).1);
    let mut dashed = matches!(
        it.lane.start,
        Start::Branch {
            kind: BranchKind::Steer,
            ..
        }
    );
    pen.group(&lane_details(graph, plan, row), |pen| {
        if let (
            Start::Branch {
                kind: BranchKind::Output(name),
                ..
            },
            Some(_),
        ) = (&it.lane.start, it.from)
        {
            pen.text("label", "start", x + 10, y - 6, name);
        }
        for &stop in &it.stops {
            let (left, right) = edge(stop);
            if left > x {
                pen.arrow(x, left, y, colour, dashed);
            }
            (x, dashed) = (right, false);
        }
    });
}

fn lane_details(graph: &Graph, plan: &Plan, row: usize) -> String {
    let lane = &plan.rows[row].lane;
    let chain = &graph.chains[lane.chain];
    let target = first_at(graph, plan, row).map_or_else(String::new, name_of);
    match &lane.start {
        Start::Entry => format!("chain {}", chain.name),
        Start::Branch {
            from,
            kind: BranchKind::Output(output),
        } => {
            format!(
                "chain {}: output {output} of {} leads to {target}",
                chain.name,
                name_of(&chain.hops[*from].at)
            )
        }
        Start::Branch {
            from,
            kind: BranchKind::Steer,
        } => {
            format!(
                "chain {}: {} may steer packets to {target}",
                chain.name,
                name_of(&chain.hops[*from].at)
            )
        }
    }
}

fn name_of(at: &At) -> String {
    match at {
        At::Nf(name) | At::Port(name) => name.clone(),
        At::Drop => "drop".to_owned(),
    }
}

/// What joins the parts of one service: it goes behind the lines of other chains.
pub(super) fn neck(pen: &mut Pen, above: &NodeBox, below: &NodeBox) {
    let x = above.x + above.width / 2;
    pen.rect("nf", x - 5, above.bottom - 2, 10, below.top + 4 - above.bottom, 0);
}

pub(super) fn node(pen: &mut Pen, graph: &Graph, plan: &Plan, it: &NodeBox) {
    let at = &plan.groups[it.group].at;
    let (name, kind) = box_text(graph, at);
    let (height, middle) = (it.bottom - it.top, it.x + it.width / 2);
    let centre = it.top + height / 2;
    pen.group(&details(graph, at), |pen| {
        match at {
            At::Nf(name) => {
                if graph.service(name).is_some_and(crate::graph::Service::is_shared) {
                    pen.rect("nf", it.x + 4, it.top + 4, it.width, height, 6);
                }
                pen.rect("nf", it.x, it.top, it.width, height, 6);
            }
            At::Port(_) => pen.rect("port", it.x, it.top, it.width, height, BOX / 2),
            At::Drop => pen.rect("end", it.x, it.top, it.width, height, BOX / 2),
        }
        if kind.is_empty() {
            pen.text(
                if *at == At::Drop { "name dropped" } else { "name" },
                "middle",
                middle,
                centre + 5,
                &name,
            );
        } else {
            pen.text("name", "middle", middle, centre - 2, &name);
            pen.text("kind", "middle", middle, centre + 12, &kind);
        }
    });
}

fn details(graph: &Graph, at: &At) -> String {
    match at {
        At::Nf(name) => graph.service(name).map_or_else(String::new, details_of),
        At::Port(name) => graph.port(name).map_or_else(String::new, details_of_port),
        At::Drop => "packets end here, counted as dropped by the chain".to_owned(),
    }
}
