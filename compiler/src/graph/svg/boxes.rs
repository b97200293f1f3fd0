//! Where everything is, in pixels.

use super::{
    columns::Plan,
    lanes::{BranchKind, Start, at},
    text,
};
use crate::graph::{
    At, Graph,
    network::{details_of_port, kind_of, kind_of_port},
    view::{Row as RuleRow, rows},
};

pub(super) const MARGIN: usize = 24;
/// The title's height.
const TOP: usize = 84;
/// From one lane to the next.
const LANE: usize = 46;
/// Between the lanes of two chains.
const BETWEEN_CHAINS: usize = 16;
pub(super) const BOX: usize = 36;
const CARD_HEAD: usize = 34;
pub(super) const RULE_LINE: usize = 17;
const RULE_PAD: usize = 7;
/// Characters of a filter in one line, and lines.
const FILTER_COLUMNS: usize = 40;
const FILTER_LINES: usize = 2;
/// For the curves from rules to chains.
const FAN: usize = 72;
const GAP: usize = 44;

/// A port and its rules.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) port: String,
    pub(super) kind: String,
    pub(super) details: String,
    pub(super) y: usize,
    pub(super) height: usize,
    pub(super) rules: Vec<RuleLine>,
}

#[derive(Debug)]
pub(super) struct RuleLine {
    pub(super) row: RuleRow,
    pub(super) lines: Vec<String>,
    /// Of the middle, from the card's top.
    pub(super) middle: usize,
    pub(super) height: usize,
    pub(super) drops: bool,
}

/// A part of a group without a gap: one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeBox {
    pub(super) group: usize,
    pub(super) x: usize,
    pub(super) width: usize,
    pub(super) top: usize,
    pub(super) bottom: usize,
}

#[derive(Debug)]
pub(super) struct Geometry {
    pub(super) cards: Vec<Card>,
    pub(super) card_width: usize,
    /// From a card's left edge to the text of its rules.
    pub(super) rule_indent: usize,
    pub(super) pill_x: usize,
    pub(super) pill_width: usize,
    /// Left edge and width of each group's boxes.
    pub(super) groups: Vec<(usize, usize)>,
    /// The middle of each lane.
    pub(super) lanes: Vec<usize>,
    pub(super) boxes: Vec<NodeBox>,
    pub(super) right: usize,
    pub(super) bottom: usize,
}

impl Geometry {
    pub(super) fn new(graph: &Graph, plan: &Plan) -> Self {
        let mut cards = cards(graph);
        let orders = cards
            .iter()
            .flat_map(|c| &c.rules)
            .map(|r| text::width(&r.row.order, 11));
        let rule_indent = orders.max().unwrap_or(0).max(14) + 18;
        let card_width = cards
            .iter()
            .map(|c| card_width(c, rule_indent))
            .max()
            .unwrap_or(0);
        let (lanes, lowest) = stack(plan, &mut cards);
        let pill_x = MARGIN + card_width + FAN;
        let pills = plan
            .rows
            .iter()
            .map(|r| text::width(&graph.chains[r.lane.chain].name, 12) + 24);
        let pill_width = pills.max().unwrap_or(0);
        let groups = columns(graph, plan, pill_x + pill_width + GAP);
        let right = groups.iter().map(|(x, width)| x + width).max().unwrap_or(pill_x) + MARGIN;
        let mut geometry = Self {
            cards,
            card_width,
            rule_indent,
            pill_x,
            pill_width,
            groups,
            lanes,
            boxes: Vec::new(),
            right,
            bottom: lowest + MARGIN,
        };
        for group in 0..plan.groups.len() {
            geometry.place(plan, group);
        }
        geometry
    }

    /// Cuts a group where the line of another lane goes through, and at the ends' column wherever another stands between.
    fn place(&mut self, plan: &Plan, group: usize) {
        let it = &plan.groups[group];
        let (x, width) = self.groups[group];
        let mut part: Option<(usize, usize)> = None;
        for &row in &it.rows {
            part = match part {
                Some((first, last)) if (last + 1..row).all(|r| !plan.touches(r, it.column)) => {
                    Some((first, row))
                }
                Some((first, last)) => {
                    self.boxes.push(self.node_box(group, x, width, first, last));
                    Some((row, row))
                }
                None => Some((row, row)),
            };
        }
        if let Some((first, last)) = part {
            self.boxes.push(self.node_box(group, x, width, first, last));
        }
    }

    fn node_box(&self, group: usize, x: usize, width: usize, first: usize, last: usize) -> NodeBox {
        let (top, bottom) = (self.lanes[first] - BOX / 2, self.lanes[last] + BOX / 2);
        NodeBox {
            group,
            x,
            width,
            top,
            bottom,
        }
    }
}

impl Plan {
    /// Whether a lane has its line or a box in a column.
    fn touches(&self, row: usize, column: usize) -> bool {
        let it = &self.rows[row];
        self.passes(row, column)
            || it
                .from
                .iter()
                .chain(&it.stops)
                .any(|g| self.groups[*g].column == column)
    }
}

fn cards(graph: &Graph) -> Vec<Card> {
    let mut cards: Vec<Card> = graph
        .steering
        .iter()
        .map(|steering| {
            let port = graph.port(&steering.port);
            let mut details = port.map_or_else(String::new, details_of_port);
            details.extend(steering.doc.iter().map(|doc| format!("\n{doc}")));
            let mut height = CARD_HEAD;
            let rules = rows(graph, steering).into_iter().map(|row| {
                let lines = text::wrapped(&row.text, FILTER_COLUMNS, FILTER_LINES);
                let tall = lines.len().max(1) * RULE_LINE + RULE_PAD;
                let middle = height + tall / 2;
                height += tall;
                RuleLine {
                    drops: graph.chains[row.chain].is_drop(),
                    row,
                    lines,
                    middle,
                    height: tall,
                }
            });
            let rules = rules.collect();
            Card {
                port: steering.port.clone(),
                kind: port.map_or("", |p| p.kind).to_owned(),
                details,
                y: 0,
                height: height + 4,
                rules,
            }
        })
        .collect();
    // Ports that nothing is steered from or leads to are shown, too.
    let is_end = |name: &str| {
        graph
            .chains
            .iter()
            .flat_map(|c| &c.hops)
            .any(|h| matches!(&h.at, At::Port(p) if p == name))
    };
    let idle = graph
        .ports
        .iter()
        .filter(|p| !graph.steering.iter().any(|s| s.port == p.name) && !is_end(&p.name));
    cards.extend(idle.map(|p| Card {
        port: p.name.clone(),
        kind: p.kind.to_owned(),
        details: details_of_port(p),
        y: 0,
        height: 28,
        rules: Vec::new(),
    }));
    cards
}

fn card_width(card: &Card, indent: usize) -> usize {
    let head = text::width(&card.port, 13) + text::width(&card.kind, 11) + 40;
    let lines = card.rules.iter().flat_map(|r| {
        let cross = if r.drops { 20 } else { 0 };
        r.lines
            .iter()
            .map(move |l| indent + text::width(l, 12) + 14 + cross)
    });
    lines.max().unwrap_or(0).max(head).max(120)
}

/// Puts cards and lanes beside each other: the taller of the two is packed, the other one keeps to it. Returns the middle
/// of each lane and the lowest edge.
fn stack(plan: &Plan, cards: &mut [Card]) -> (Vec<usize>, usize) {
    const BETWEEN_CARDS: usize = 18;
    let packed: usize = cards.iter().map(|c| c.height + BETWEEN_CARDS).sum();
    let mut y = TOP;
    for card in cards.iter_mut() {
        card.y = y;
        y += card.height + BETWEEN_CARDS;
    }
    let changes = plan
        .rows
        .windows(2)
        .filter(|w| w[0].lane.chain != w[1].lane.chain)
        .count();
    let cards_lead = packed > plan.rows.len() * LANE + changes * BETWEEN_CHAINS;
    let mut lanes = Vec::with_capacity(plan.rows.len());
    let mut y = TOP + BOX / 2;
    for (n, row) in plan.rows.iter().enumerate() {
        let chain = row.lane.chain;
        if n > 0 && plan.rows[n - 1].lane.chain != chain {
            y += BETWEEN_CHAINS;
        }
        if cards_lead && row.lane.start == Start::Entry {
            y = y.max(middle_of_rules(cards, chain));
        }
        lanes.push(y);
        y += LANE;
    }
    if !cards_lead {
        let mut free = TOP;
        for card in cards.iter_mut() {
            card.y = free.max(beside(plan, &lanes, card));
            free = card.y + card.height + BETWEEN_CARDS;
        }
    }
    let lowest_card = cards.iter().map(|c| c.y + c.height).max().unwrap_or(TOP);
    let lowest_lane = lanes.last().map_or(TOP, |y| y + BOX / 2);
    (lanes, lowest_card.max(lowest_lane))
}

/// The middle of the rules that lead to a chain; 0 if none does.
fn middle_of_rules(cards: &[Card], chain: usize) -> usize {
    let places = cards.iter().flat_map(|c| {
        c.rules
            .iter()
            .filter(|r| r.row.chain == chain)
            .map(|r| c.y + r.middle)
    });
    let places: Vec<usize> = places.collect();
    places
        .iter()
        .sum::<usize>()
        .checked_div(places.len())
        .unwrap_or(0)
}

/// The top of a card whose first rule with a lane is at the height of this lane.
fn beside(plan: &Plan, lanes: &[usize], card: &Card) -> usize {
    let first = card.rules.iter().find_map(|rule| {
        let lane = plan
            .rows
            .iter()
            .position(|r| r.lane.chain == rule.row.chain && r.lane.start == Start::Entry)?;
        lanes[lane].checked_sub(rule.middle)
    });
    first.unwrap_or(0)
}

/// Left edge and width of each group: columns are as wide as their widest box, and boxes stand in the middle.
fn columns(graph: &Graph, plan: &Plan, start: usize) -> Vec<(usize, usize)> {
    let width = |at: &At| {
        let (name, kind) = box_text(graph, at);
        (text::width(&name, 13).max(text::width(&kind, 11)) + 26).max(72)
    };
    let own: Vec<usize> = plan.groups.iter().map(|g| width(&g.at)).collect();
    let mut widths = vec![0; plan.columns];
    for (group, own) in plan.groups.iter().zip(&own) {
        widths[group.column] = widths[group.column].max(*own);
    }
    let mut gaps = vec![GAP; plan.columns];
    for row in &plan.rows {
        if let (
            Some(from),
            Start::Branch {
                kind: BranchKind::Output(name),
                ..
            },
        ) = (row.from, &row.lane.start)
        {
            let column = plan.groups[from].column;
            gaps[column] = gaps[column].max(text::width(name, 11) + 30);
        }
    }
    let mut x = start;
    let place = |(width, gap): (&usize, usize)| {
        let at = x;
        x += width + gap;
        at
    };
    let lefts: Vec<usize> = widths.iter().zip(gaps).map(place).collect();
    let group = |(group, own): (&super::columns::Group, usize)| {
        (lefts[group.column] + (widths[group.column] - own) / 2, own)
    };
    plan.groups.iter().zip(own).map(group).collect()
}

/// Name and second line of what stands in a box.
pub(super) fn box_text(graph: &Graph, at: &At) -> (String, String) {
    match at {
        At::Nf(name) => (
            name.clone(),
            graph.service(name).map_or_else(String::new, kind_of),
        ),
        At::Port(name) => (
            name.clone(),
            graph.port(name).map_or_else(String::new, kind_of_port),
        ),
        At::Drop => ("drop".to_owned(), String::new()),
    }
}

/// What the first hop of a lane stands at, for its tooltip.
pub(super) fn first_at<'a>(graph: &'a Graph, plan: &Plan, row: usize) -> Option<&'a At> {
    let lane = &plan.rows[row].lane;
    let hop = lane.hops.first().copied().or(lane.join)?;
    Some(at(graph, lane, hop))
}
