//! `onvmc scale`: another number of replicas of an NF.

use onvm_api::{API_VERSION, ScaleReply, ScaleRequest};

use super::{
    Outcome,
    args::{Replicas, ScaleArgs},
    client::{self, Failure, Wanted},
    output::Output,
};

pub(super) fn run(out: &Output, args: &ScaleArgs) -> Outcome {
    let request = ScaleRequest {
        version: API_VERSION,
        nf: args.nf.clone(),
        replicas: match args.replicas {
            Replicas::Auto => None,
            Replicas::Fixed(replicas) => Some(replicas),
        },
    };
    let found = client::find(&args.runtime, Wanted::Named(args.name.as_deref()));
    match found.and_then(|client| client.scale(&request).map_err(Failure::from)) {
        Err(e) => return e.report(out),
        Ok(reply) if out.json => out.data_json(&serde_json::json!(reply)),
        Ok(reply) => text(&reply).iter().for_each(|line| out.note(line)),
    }
    Outcome::Done
}

fn text(reply: &ScaleReply) -> Vec<String> {
    let (nf, before, now) = (&reply.nf, reply.before, reply.replicas);
    let chosen = match now.automatic {
        true => format!("; the manager chooses from {} to {} by load", now.min, now.max),
        false => String::new(),
    };
    let mut lines = vec![match before == now.now {
        true => format!("{nf} has {before} replicas{chosen}."),
        false => format!(
            "{nf} has {} replicas after {before}, within {:.1} ms{chosen}.",
            now.now, reply.took_ms
        ),
    }];
    if !reply.draining.is_empty() {
        let names = reply.draining.join(", ");
        lines.push(format!("Stopping once their flows have ended: {names}."));
    }
    lines
}
