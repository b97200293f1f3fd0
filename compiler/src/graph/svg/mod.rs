//! A picture that stands by itself: no scripts, no fonts of its own, no other files.
//!
//! Every chain is a horizontal lane, every arm of it a lane of its own below, and what stands in the lanes is put into
//! columns from left to right. An NF that stands in several lanes is put into one column for all of them where the
//! order of the steps allows it, and drawn as one box across these lanes, since it is one service. All lines between
//! steps are then straight, and none crosses a box. (The layering is that of Sugiyama, Tagawa and Toda, "Methods for
//! Visual Understanding of Hierarchical System Structures", 1981: longest path; the order within a layer is that of
//! the lanes.)

mod boxes;
mod columns;
mod draw;
mod lanes;
mod page;
mod style;
mod text;

use super::Graph;

pub(super) fn render(graph: &Graph) -> String {
    let plan = columns::Plan::new(graph, lanes::lanes(graph));
    page::render(graph, &plan)
}

/// Each lane's stops stand further to the right than the one before, and every hop of a chain is in one lane.
#[cfg(test)]
pub(super) fn check_plan(graph: &Graph) {
    let plan = columns::Plan::new(graph, lanes::lanes(graph));
    let geometry = boxes::Geometry::new(graph, &plan);
    for (n, row) in plan.rows.iter().enumerate() {
        let stops: Vec<usize> = row.from.iter().chain(&row.stops).copied().collect();
        let columns: Vec<usize> = stops.iter().map(|g| plan.groups[*g].column).collect();
        assert!(columns.windows(2).all(|w| w[0] < w[1]), "lane {n}: {columns:?}");
        let y = geometry.lanes[n];
        for it in geometry
            .boxes
            .iter()
            .filter(|b| b.top <= y && y <= b.bottom && !stops.contains(&b.group))
        {
            assert!(
                !plan.passes(n, plan.groups[it.group].column),
                "lane {n} goes through {it:?}"
            );
        }
    }
    // What leads back leads to the very box that the other lane visits.
    for row in plan.rows.iter() {
        let Some(join) = row.lane.join else { continue };
        let other = plan.rows.iter().find_map(|other| {
            let place = other.lane.hops.iter().position(|hop| *hop == join)?;
            (other.lane.chain == row.lane.chain).then(|| other.stops[place])
        });
        assert_eq!(row.stops.last().copied(), other);
    }
    for (n, chain) in graph.chains.iter().enumerate().filter(|(_, c)| !c.is_drop()) {
        let mut hops: Vec<usize> = plan
            .rows
            .iter()
            .filter(|r| r.lane.chain == n)
            .flat_map(|r| r.lane.hops.clone())
            .collect();
        hops.sort_unstable();
        assert_eq!(hops, (0..chain.hops.len()).collect::<Vec<_>>());
    }
}
