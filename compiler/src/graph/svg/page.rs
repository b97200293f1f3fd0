//! The whole page: title, picture, legend.

use super::{
    boxes::{Geometry, MARGIN},
    columns::Plan,
    draw::{self, Pen},
    lanes::{BranchKind, Start},
    style::SHEET,
    text,
};
use crate::graph::{At, Graph, Service};

/// Narrow pictures keep room for the title and a line of the legend.
const LEAST_WIDTH: usize = 560;
const LEGEND_LINE: usize = 26;

pub(super) fn render(graph: &Graph, plan: &Plan) -> String {
    let geometry = Geometry::new(graph, plan);
    let mut pen = Pen::default();
    picture(&mut pen, graph, plan, &geometry);
    let width = geometry
        .right
        .max(LEAST_WIDTH)
        .max(text::width(&graph.name, 18) + 2 * MARGIN);
    let height = legend(&mut pen, graph, plan, width, geometry.bottom + 8);
    let summary = summary(graph);
    let name = text::escaped(&graph.name);
    let mut page = Pen::default();
    page.out.push_str(&format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{name}: {summary}">
<style>
{SHEET}</style>
<rect class="page" width="{width}" height="{height}"/>
"#
    ));
    page.text("title", "start", MARGIN, 36, &graph.name);
    page.text("note", "start", MARGIN, 57, &summary);
    format!("{}\n{}</svg>\n", page.out, pen.out)
}

fn summary(graph: &Graph) -> String {
    let count = |n: usize, what: &str| {
        if n == 1 {
            format!("1 {what}")
        } else {
            format!("{n} {what}s")
        }
    };
    let rules = graph.steering.iter().map(|s| s.rules.len()).sum();
    let chains = graph.chains.iter().filter(|c| !c.is_drop()).count();
    [
        count(graph.ports.len(), "port"),
        count(rules, "rule"),
        count(chains, "chain"),
        count(graph.services.len(), "NF"),
    ]
    .join(", ")
}

fn picture(pen: &mut Pen, graph: &Graph, plan: &Plan, geometry: &Geometry) {
    draw::fans(pen, plan, geometry);
    for pair in geometry.boxes.windows(2) {
        let same = pair[0].group == pair[1].group && !plan.groups[pair[0].group].is_end();
        if same {
            draw::neck(pen, &pair[0], &pair[1]);
        }
    }
    for row in 0..plan.rows.len() {
        draw::lane(pen, graph, plan, geometry, row);
    }
    for row in 0..plan.rows.len() {
        draw::pill(pen, graph, plan, geometry, row);
    }
    geometry
        .cards
        .iter()
        .for_each(|card| draw::card(pen, geometry, card));
    geometry
        .boxes
        .iter()
        .for_each(|it| draw::node(pen, graph, plan, it));
}

/// What the signs mean that occur in the picture. Returns the height of the page.
fn legend(pen: &mut Pen, graph: &Graph, plan: &Plan, width: usize, top: usize) -> usize {
    let (mut x, mut y) = (MARGIN, top);
    for (sign, words) in signs(graph, plan) {
        // Words of the legend are ASCII in a proportional font: half a pixel less for each.
        let wide = 40 + words.len() * 13 / 2 + 20;
        if x > MARGIN && x + wide > width {
            (x, y) = (MARGIN, y + LEGEND_LINE);
        }
        pen.group("", |pen| {
            sign.draw(pen, x, y);
            pen.text("note", "start", x + 40, y + 13, words);
        });
        x += wide;
    }
    y + LEGEND_LINE + 8
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Port,
    Nf,
    Shared,
    Chain,
    Output,
    Steer,
    Program,
    Dropped,
}

fn signs(graph: &Graph, plan: &Plan) -> Vec<(Sign, &'static str)> {
    let branches = |steer: bool| {
        plan.rows.iter().any(
            |r| matches!(&r.lane.start, Start::Branch { kind, .. } if (*kind == BranchKind::Steer) == steer),
        )
    };
    let drops = graph
        .chains
        .iter()
        .flat_map(|c| &c.hops)
        .any(|h| h.at == At::Drop);
    let all = [
        (Sign::Port, "port", !graph.ports.is_empty()),
        (Sign::Nf, "NF", !graph.services.is_empty()),
        (
            Sign::Shared,
            "NF in several chains: one service",
            graph.services.iter().any(Service::is_shared),
        ),
        (Sign::Chain, "chain", !plan.rows.is_empty()),
        (Sign::Output, "named output of an NF", branches(false)),
        (Sign::Steer, "permitted steer", branches(true)),
        (
            Sign::Program,
            "may be programmed by an NF",
            graph.steering.iter().any(|s| !s.programs.is_empty()),
        ),
        (Sign::Dropped, "dropped", drops),
    ];
    all.into_iter()
        .filter(|(_, _, there)| *there)
        .map(|(sign, words, _)| (sign, words))
        .collect()
}

impl Sign {
    fn draw(self, pen: &mut Pen, x: usize, y: usize) {
        const COLOUR: &str = "#64748b";
        match self {
            Self::Port => pen.rect("port", x, y, 32, 18, 9),
            Self::Nf => pen.rect("nf", x, y, 32, 18, 4),
            Self::Shared => {
                pen.rect("nf", x + 3, y + 3, 30, 17, 4);
                pen.rect("nf", x, y, 30, 17, 4);
            }
            Self::Chain => pen.arrow(x, x + 32, y + 9, COLOUR, false),
            Self::Output => {
                pen.text("label", "start", x + 4, y + 5, "x");
                pen.arrow(x, x + 32, y + 9, COLOUR, false);
            }
            Self::Steer | Self::Program => pen.arrow(x, x + 32, y + 9, COLOUR, true),
            Self::Dropped => pen.cross(x + 16, y + 9),
        }
    }
}
