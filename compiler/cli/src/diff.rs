//! `onvmc diff`, and showing what differs.

use onvm_bundle::diff::{Action, Diff, diff};
use onvmc::Inputs;

use super::{Outcome, args::DiffArgs, input::Side, output::Output, traffic};

pub(super) fn run(out: &Output, args: &DiffArgs) -> Outcome {
    let Some(old) = Side::read(out, &args.old, &args.source, &Inputs::default()) else {
        return Outcome::Refused;
    };
    let inputs = Inputs {
        previous: Some(old.contents().manager),
        ..Inputs::default()
    };
    let Some(new) = Side::read(out, &args.new, &args.source, &inputs) else {
        return Outcome::Refused;
    };
    let found = diff(old.contents(), new.contents());
    let compared = traffic::compare(out, &old, &new, &found);
    let moved = compared.as_ref().ok().and_then(Option::as_ref);
    if out.json {
        out.data_json(&serde_json::json!({
            "version": 1, "from": old.generation(), "to": new.generation(),
            "changes": found.changes, "needs_restart": found.needs_restart, "instances": found.instances,
            "traffic": moved.map(traffic::json),
        }));
    } else {
        out.data(&text(&found));
        out.data(&moved.map(traffic::text).unwrap_or_default());
    }
    compared.err().unwrap_or(Outcome::Done)
}

/// For people: one line for each change, `+` added, `~` changed, `-` removed.
pub(super) fn text(found: &Diff) -> String {
    let mut text = String::new();
    for change in &found.changes {
        let sign = match change.action {
            Action::Added => '+',
            Action::Changed => '~',
            Action::Removed => '-',
        };
        let name = if change.kind == change.name {
            ""
        } else {
            &change.name
        };
        text.push_str(format!("  {sign} {} {name}", change.kind).trim_end());
        text.push('\n');
        for d in &change.details {
            text.push_str(&format!("      {}: {} => {}\n", d.what, d.from, d.to));
        }
    }
    if found.is_empty() {
        text.push_str("No changes.\n");
    }
    if !found.needs_restart.is_empty() {
        let fixed = found.needs_restart.join(", ");
        text.push_str(&format!(
            "This edit needs a restart of onvm-run, `onvmc apply` refuses it: {fixed}\n"
        ));
    }
    let instances = &found.instances;
    let lists = [
        ("start", &instances.started),
        ("stop", &instances.stopped),
        ("replace", &instances.replaced),
        (
            "reconfigure while they run, or else replace",
            &instances.reconfigured,
        ),
        ("keep", &instances.kept),
    ];
    if !found.is_empty() {
        for (verb, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
            text.push_str(&format!("Instances to {verb}: {}\n", names.join(", ")));
        }
    }
    text
}
