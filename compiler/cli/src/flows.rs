//! `onvmc flows`: the flow entries that NFs have made.

use onvm_api::{
    API_VERSION, FlowEntry, FlowsDeleteReply, FlowsDeleteRequest, FlowsReply, FlowsRequest, WhichFlows,
};

use super::{
    Outcome,
    args::{FlowsArgs, FlowsCommand, FlowsDeleteArgs, WhichFlowsArgs},
    client::{self, Failure, Wanted},
    output::Output,
    status::table,
};

pub(super) fn run(out: &Output, args: &FlowsArgs) -> Outcome {
    match &args.command {
        Some(FlowsCommand::Delete(args)) => delete(out, args),
        None => list(out, args),
    }
}

fn which(args: &WhichFlowsArgs, ids: &[u64]) -> WhichFlows {
    WhichFlows {
        ids: ids.to_vec(),
        port: args.port.clone(),
        nf: args.nf.clone(),
        cookie: args.cookie,
    }
}

fn list(out: &Output, args: &FlowsArgs) -> Outcome {
    let request = FlowsRequest {
        version: API_VERSION,
        which: which(&args.which, &[]),
        after: args.after,
        limit: usize::try_from(args.limit).unwrap_or(usize::MAX),
    };
    let found = client::find(&args.runtime, Wanted::Named(args.name.as_deref()));
    match found.and_then(|client| client.flows(&request).map_err(Failure::from)) {
        Err(e) => return e.report(out),
        Ok(reply) if out.json => out.data_json(&serde_json::json!(reply)),
        Ok(reply) => {
            out.data(&text(&reply));
            if let (true, Some(last)) = (reply.more, reply.entries.last()) {
                out.note(&format!(
                    "{} of {} entries are shown. For those that follow: --after {}.",
                    reply.entries.len(),
                    reply.total,
                    last.id
                ));
            }
        }
    }
    Outcome::Done
}

fn text(reply: &FlowsReply) -> String {
    let rows = reply.entries.iter().map(|entry| {
        vec![
            entry.id.to_string(),
            entry.nf.clone(),
            entry.port.clone(),
            matches(entry),
            entry.chain.clone(),
            times(entry),
            entry.priority.to_string(),
            entry.packets.to_string(),
        ]
    });
    let header = [
        "id",
        "made by",
        "port",
        "packets of",
        "chain",
        "ends",
        "priority",
        "packets",
    ];
    match table(6, &header, rows) {
        Some(table) => table.trim_fmt() + "\n",
        None => "There are no such flow entries.\n".to_owned(),
    }
}

/// In the language of filters where it is a filter.
fn matches(entry: &FlowEntry) -> String {
    match (&entry.flow, &entry.filter) {
        (Some(flow), _) if entry.both_ways => format!("{flow}, both ways"),
        (Some(flow), _) => flow.clone(),
        (None, Some(lowered)) => {
            let filter = lowered.parse().ok();
            let written = filter.and_then(|filter| onvmc::filter::written(&filter));
            written.unwrap_or_else(|| lowered.clone())
        }
        (None, None) => String::new(),
    }
}

/// When it ends.
fn times(entry: &FlowEntry) -> String {
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let idle = entry.idle_ms.map(|ms| format!("idle {}", seconds(ms.into())));
    let hard = entry.hard_ms.map(|ms| {
        let left = u64::from(ms).saturating_sub(entry.age_ms);
        format!("in {}", seconds(left))
    });
    let times: Vec<String> = idle.into_iter().chain(hard).collect();
    match times.as_slice() {
        [] if entry.keep => "never".to_owned(),
        [] => "with its NF".to_owned(),
        times => times.join(", "),
    }
}

fn delete(out: &Output, args: &FlowsDeleteArgs) -> Outcome {
    let request = FlowsDeleteRequest {
        version: API_VERSION,
        which: which(&args.which, &args.ids),
        all: args.all,
    };
    let found = client::find(&args.runtime, Wanted::Named(args.name.as_deref()));
    match found.and_then(|client| client.delete_flows(&request).map_err(Failure::from)) {
        Err(e) => return e.report(out),
        Ok(reply) if out.json => out.data_json(&serde_json::json!(reply)),
        Ok(FlowsDeleteReply { removed, .. }) => out.note(&match removed {
            0 => "There were no such flow entries.".to_owned(),
            1 => "1 flow entry was removed.".to_owned(),
            n => format!("{n} flow entries were removed."),
        }),
    }
    Outcome::Done
}
