//! `onvmc logs`: what the instances of an NF have printed, whatever runs them.

use std::{
    thread,
    time::{Duration, UNIX_EPOCH},
};

use onvm_api::{API_VERSION, LogLine, LogsRequest};

use super::{
    Outcome,
    args::LogsArgs,
    client::{self, Failure, Wanted},
    output::Output,
};

/// Between looks for more.
const LOOK: Duration = Duration::from_millis(200);

pub(super) fn run(out: &Output, args: &LogsArgs) -> Outcome {
    let client = match client::find(&args.runtime, Wanted::Named(args.of.as_deref())) {
        Ok(client) => client,
        Err(e) => return e.report(out),
    };
    let mut request = LogsRequest {
        version: API_VERSION,
        nf: args.nf.clone(),
        after: None,
        limit: args.tail,
    };
    loop {
        let reply = match client.logs(&request) {
            Ok(reply) => reply,
            // Its end is the end of what there is to follow.
            Err(_) if request.after.is_some() && !client.is_left() => {
                out.note("The manager has stopped.");
                return Outcome::Done;
            }
            Err(e) => return Failure::from(e).report(out),
        };
        for line in &reply.lines {
            match out.json {
                true => out.data(&format!("{}\n", serde_json::json!(line))),
                false => out.data(&text(line)),
            }
        }
        if !args.follow || out.is_unread() {
            return Outcome::Done;
        }
        request.after = Some(reply.last);
        request.limit = None;
        // A full answer has a next one.
        if reply.lines.is_empty() {
            thread::sleep(LOOK);
        }
    }
}

/// `12:30:01.250 fw-0 warn: text`, in UTC as in the manager's own log.
fn text(line: &LogLine) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(line.at_ms);
    let of_day = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() % (24 * 3600 * 1000);
    let (seconds, ms) = (of_day / 1000, of_day % 1000);
    format!(
        "{:02}:{:02}:{:02}.{ms:03} {} {}: {}\n",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        line.instance,
        line.level,
        line.text
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_time_its_instance_and_its_level() {
        let line = LogLine {
            number: 1,
            at_ms: 1_795_889_738_045,
            instance: "fw-0".to_owned(),
            level: "warn".to_owned(),
            text: "no route".to_owned(),
        };
        assert_eq!(text(&line), "18:15:38.045 fw-0 warn: no route\n");
    }
}
