//! `onvmc send`: a message to an NF while it runs.

use onvm_api::{API_VERSION, ApiError, SendAnswer, SendReply, SendRequest, Status};
use onvm_bundle::{MessageKind, Sender, kind_for};
use onvmc::messages::{Mistakes, fields, meant};
use serde_json::{Map, Value};

use super::{
    Outcome,
    args::SendArgs,
    client::{self, Failure, Wanted},
    output::Output,
};

/// Columns of a line of an answer.
const WIDTH: usize = 100;

pub(super) fn run(out: &Output, args: &SendArgs) -> Outcome {
    let client = match client::find(&args.runtime, Wanted::Named(args.to.as_deref())) {
        Ok(client) => client,
        Err(e) => return e.report(out),
    };
    let status = match client.status() {
        Ok(status) => status,
        Err(e) => return Failure::from(e).report(out),
    };
    let fields = match read(out, &status, args) {
        Ok(fields) => fields,
        Err(outcome) => return outcome,
    };
    let request = SendRequest {
        version: API_VERSION,
        nf: args.nf.clone(),
        kind: args.kind.clone(),
        fields,
    };
    match client.send(&request) {
        Err(e) => Failure::from(e).report(out),
        Ok(reply) => {
            match out.json {
                true => out.data_json(&serde_json::json!(reply)),
                false => show(out, &reply),
            }
            match reply.instances.iter().all(|answer| answer.error.is_none()) {
                true => Outcome::Done,
                false => Outcome::ApplyFailed,
            }
        }
    }
}

/// Reads the fields by the manifest of the NF that runs. One that the running bundle has not is the manager's to refuse.
fn read(out: &Output, status: &Status, args: &SendArgs) -> Result<Map<String, Value>, Outcome> {
    let running = client::running_bundle(out, status)?;
    let named = |name: &str| {
        let mut of_nf = running.instances.values().filter(|config| config.service == name);
        of_nf.next().map(|config| config.manifest.messages.as_slice())
    };
    let of_instance = || named(args.nf.rsplit_once('-')?.0);
    let kinds: &[MessageKind] = match named(&args.nf).or_else(of_instance) {
        Some(kinds) => kinds,
        None => return Ok(Map::new()),
    };
    let kind = kind_for(kinds, &args.kind, Sender::Operator).map_err(|why| {
        let of_operator = kinds.iter().filter(|kind| kind.from.contains(&Sender::Operator));
        let close = meant(&args.kind, of_operator.map(|kind| kind.name.as_str()));
        let close = close.map_or_else(String::new, |close| format!(". Did you mean `{close}`?"));
        let error = format!("NF `{}` does not take this message: {why}{close}", args.nf);
        out.error(ApiError::BAD_MESSAGE, &error);
        Outcome::Refused
    })?;
    fields(kind, &args.fields).map_err(|Mistakes { sources, found }| {
        out.diagnostics(&sources, &found, false);
        Outcome::Refused
    })
}

/// The answers to stdout, each behind its instance; what went wrong to stderr.
fn show(out: &Output, reply: &SendReply) {
    for SendAnswer {
        instance,
        answer,
        error,
    } in &reply.instances
    {
        match (answer, error) {
            (_, Some(why)) => out.error("no_answer", &format!("{instance}: {why}")),
            (Some(answer), None) => out.data(&format!("{instance}:{}\n", text(answer))),
            (None, None) => out.data(&format!("{instance}: done\n")),
        }
    }
}

/// Behind the instance's name: on its line where there is room, else on lines of its own.
fn text(answer: &Value) -> String {
    match answer {
        Value::Null => " done".to_owned(),
        Value::String(text) => format!(" {text}"),
        answer => match answer.to_string() {
            line if line.len() <= WIDTH => format!(" {line}"),
            _ => "\n  ".to_owned() + &lay_out(answer, 2),
        },
    }
}

/// As JSON, with each part on one line that fits there.
fn lay_out(value: &Value, indent: usize) -> String {
    let line = value.to_string();
    let within = indent + 2;
    let items: Vec<String> = match value {
        Value::Array(items) if line.len() + indent > WIDTH => {
            items.iter().map(|item| lay_out(item, within)).collect()
        }
        Value::Object(fields) if line.len() + indent > WIDTH => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::from(name.as_str()), lay_out(value, within))
            };
            fields.iter().map(field).collect()
        }
        _ => return line,
    };
    let (open, close) = match value {
        Value::Array(_) => ('[', ']'),
        _ => ('{', '}'),
    };
    let (inner, outer) = (" ".repeat(within), " ".repeat(indent));
    let items = items.join(&format!(",\n{inner}"));
    format!("{open}\n{inner}{items}\n{outer}{close}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_takes_one_line_or_a_line_for_each_part() {
        assert_eq!(text(&Value::Null), " done");
        assert_eq!(text(&json!("as it is")), " as it is");
        assert_eq!(text(&json!({ "a": [1, 2] })), r#" {"a":[1,2]}"#);
        let long = "x".repeat(80);
        let shown = text(&json!({ "a": [1, 2], "b": [[long, 1], [long, { "c": long }], []] }));
        let expected = format!(
            r#"
  {{
    "a": [1,2],
    "b": [
      ["{long}",1],
      [
        "{long}",
        {{"c":"{long}"}}
      ],
      []
    ]
  }}"#
        );
        assert_eq!(shown, expected);
        let same: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(same["b"][1][1]["c"], json!(long));
    }
}
