//! Which traffic goes another way after an edit, for `onvmc diff`, `plan` and `apply`.

use onvm_bundle::diff::Diff;
use onvmc::{
    interpret::Interpreter,
    traffic::{Certainty, Changes, May, Models, PathChange, ProgramChange, Taken, changes},
};

use super::{Outcome, input::Side, output::Output, trace::does_not_start};

/// More changes of path are only counted.
const MAX_SHOWN: usize = 40;

/// None: nothing is changed.
///
/// # Errors
/// A standard NF does not take its parameters, which has been said.
pub(super) fn compare(out: &Output, old: &Side, new: &Side, diff: &Diff) -> Result<Option<Changes>, Outcome> {
    if diff.is_empty() {
        return Ok(None);
    }
    let files = [old.files(), new.files()];
    let contents = [old.contents(), new.contents()];
    let started = |n: usize| {
        let models = Models::new(contents[n], &files[n])?;
        Ok((models, Interpreter::new(contents[n], &files[n])?))
    };
    match (started(0), started(1)) {
        (Ok((before, mut was)), Ok((after, mut now))) => Ok(Some(changes(
            (contents[0], &before, &mut was),
            (contents[1], &after, &mut now),
        ))),
        (Err(e), _) | (_, Err(e)) => {
            does_not_start(out, &e);
            Err(Outcome::Refused)
        }
    }
}

pub(super) fn text(found: &Changes) -> String {
    let mut text = String::new();
    if !found.paths.is_empty() {
        text.push_str("Traffic that changes path, a packet of each kind:\n");
    }
    found
        .paths
        .iter()
        .take(MAX_SHOWN)
        .for_each(|change| text.push_str(&one(change)));
    if found.paths.len() > MAX_SHOWN {
        let left = found.paths.len() - MAX_SHOWN;
        text.push_str(&format!("  and {left} more kinds; --json shows all\n"));
    }
    if !found.programs.is_empty() {
        text.push_str("Traffic that NFs may program otherwise, a packet of each kind:\n");
    }
    let programs = found.programs.iter().take(MAX_SHOWN);
    programs.for_each(|change| text.push_str(&programmed(change)));
    if found.programs.len() > MAX_SHOWN {
        let left = found.programs.len() - MAX_SHOWN;
        text.push_str(&format!("  and {left} more kinds; --json shows all\n"));
    }
    let other = if found.paths.is_empty() && found.programs.is_empty() {
        "traffic"
    } else {
        "other traffic"
    };
    text.push_str(&match found.certainty {
        Certainty::Proved => format!("No {other} changes path.\n"),
        Certainty::Modelled => format!(
            "No {other} changes path, by the rules and patterns of the NFs; malformed packets, and payloads behind several \
             VLAN tags, are not looked at.\n"
        ),
        Certainty::Partial => "There may be more: not everything was searched.\n".to_owned(),
    });
    for nf in &found.unknown {
        text.push_str(&format!(
            "`{nf}` is changed: for which packets it decides otherwise is not known here.\n"
        ));
    }
    for nf in &found.looked_up {
        text.push_str(&format!(
            "Packets that `{nf}` has looked up go by changed rules: their headers are not known here.\n"
        ));
    }
    text
}

fn one(change: &PathChange) -> String {
    let given = change.given.iter().map(|c| format!(", if `{}` {}", c.nf, c.does));
    let given: String = given.collect();
    let side = |taken: &Taken| match &taken.rule {
        Some(rule) => format!("{}   by `{rule}` at {}", taken.path, rule.source),
        None => format!("{}   (no `steer` block)", taken.path),
    };
    format!(
        "  {} {}{given}\n      was {}\n      now {}\n",
        change.port,
        change.packet,
        side(&change.was),
        side(&change.now)
    )
}

fn programmed(change: &ProgramChange) -> String {
    let may = match change.may {
        May::Now => "may now have it go",
        May::NoLonger => "may no longer have it go",
    };
    let rule = change.way.rule.as_ref();
    let rule = rule.map_or_else(String::new, |rule| format!("   by `{rule}` at {}", rule.source));
    format!(
        "  {} {}\n      `{}` {may} {}{rule}\n",
        change.port, change.packet, change.nf, change.way.path
    )
}

pub(super) fn json(found: &Changes) -> serde_json::Value {
    let paths = found.paths.iter().map(|change| {
        serde_json::json!({
            "port": change.port, "packet": change.packet.to_string(), "bytes": hex(&change.packet.frame.bytes),
            "was": change.was, "now": change.now, "given": change.given,
        })
    });
    let programs = found.programs.iter().map(|change| {
        serde_json::json!({
            "port": change.port, "nf": change.nf, "packet": change.packet.to_string(),
            "bytes": hex(&change.packet.frame.bytes), "may": change.may, "way": change.way,
        })
    });
    serde_json::json!({
        "paths": paths.collect::<Vec<_>>(), "programs": programs.collect::<Vec<_>>(), "certainty": found.certainty, "unknown": found.unknown, "looked_up": found.looked_up,
    })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
