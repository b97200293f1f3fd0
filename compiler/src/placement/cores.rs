//! Cores asked for, against those that `manager { cores = ... }` names.

use onvm_bundle::ManagerConfig;
use onvm_lang::syntax;
use serde::Serialize;

use super::{Line, rows};
use crate::{
    diagnostics::too_few_cores::too_few_cores,
    source::{context::Context, sources::FileId},
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreDemand {
    pub lines: Vec<Line>,
    pub asked: u64,
    /// How many `manager { cores = ... }` names; none: as many as the host allows.
    pub named: Option<u64>,
}

impl CoreDemand {
    pub(super) fn new(manager: &ManagerConfig) -> Self {
        let workers = u64::from(manager.workers.count);
        let mut lines = vec![Line::new("workers", format!("{workers} x 1"), workers)];
        let receivers = u64::from(manager.workers.receivers);
        if receivers > 0 {
            lines.push(Line::new("receivers", format!("{receivers} x 1"), receivers));
        }
        let own = lines.len();
        let mut sharing = 0;
        let hosts = manager.hosts();
        for service in hosts.iter().map(|host| host.service.as_ref()) {
            let count = service.instances.len() as u64;
            match service.instances.first().and_then(|i| i.cores) {
                Some(each) => lines.push(Line::new(
                    &service.name,
                    format!("{count} x {each}"),
                    count * u64::from(each),
                )),
                None => sharing += count,
            }
        }
        // Where nobody has a core of their own but the workers, others may share theirs if need be.
        if lines.len() > own && sharing > 0 {
            lines.push(Line::new(
                format!("shared by {sharing} NF {}", plural(sharing)),
                "1",
                1,
            ));
        }
        let named = manager.named_cores().len() as u64;
        Self {
            asked: lines.iter().map(|l| l.amount).sum(),
            lines,
            named: (named > 0).then_some(named),
        }
    }

    /// The sum, aligned, a line of text each.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = rows(&self.lines, ("cores asked for", self.asked), |n| n.to_string());
        if let (Some(named), Some(width)) = (self.named, rows.last().map(|r| r.chars().count())) {
            let what = "named by `cores`";
            rows.push(format!(
                "{what}{named:>rest$}",
                rest = width.saturating_sub(what.len()).max(2)
            ));
        }
        rows
    }
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "instance" } else { "instances" }
}

/// Refuses a program that asks for more cores than its `manager` block names.
pub(crate) fn check_cores(
    cx: &Context<'_>,
    manager: &ManagerConfig,
    services: &[&onvm_bundle::Service],
    block: Option<(FileId, &syntax::Manager)>,
) {
    let asked = ManagerConfig {
        services: services.iter().map(|s| (*s).clone()).collect(),
        ..manager.clone()
    };
    let demand = CoreDemand::new(&asked);
    let (Some(named), Some((file, block))) = (demand.named, block) else {
        return;
    };
    if demand.asked <= named {
        return;
    }
    let field = block.settings.fields.iter().find(|f| f.name.node == "cores");
    let place = cx.place(file, field.map_or(block.settings.span, |f| f.value.span));
    cx.report(too_few_cores(place, &demand, named));
}
