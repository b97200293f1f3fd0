//! Guards the version of the API: the shape of all messages is recorded in `messages.txt` with the version that has it.
//!
//! Readers ignore fields that they do not know and do without optional ones. So an optional field may be added at any
//! time; after every other change a program of the older version and one of the newer would misread each other.

use std::{collections::BTreeMap, fs, path::Path};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::*;

/// Set to `1`: records the present shape, where its version permits that.
const UPDATE: &str = "UPDATE_API";

#[test]
fn a_changed_message_raises_the_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("messages.txt");
    let recorded = fs::read_to_string(&path).unwrap();
    let shape = shape();
    match compare(&recorded, API_VERSION, &shape) {
        Change::None => {}
        Change::Unreadable(lines) => panic!(
            "messages of the control socket have changed, and API_VERSION is still {API_VERSION}:\n{lines}\n\
             A program of the older version cannot read them. Raise API_VERSION in runtime/api/src/lib.rs, or make a new \
             field optional (`#[serde(default)]`); then record the shape: {UPDATE}=1 cargo test -p onvm-api"
        ),
        Change::Readable(_) if std::env::var_os(UPDATE).is_some_and(|set| set == "1") => {
            fs::write(&path, text(API_VERSION, &shape)).unwrap();
        }
        Change::Readable(lines) => panic!(
            "runtime/api/messages.txt is not what the messages of the control socket are:\n{lines}\n\
             Record their shape: {UPDATE}=1 cargo test -p onvm-api"
        ),
    }
}

/// A message that is in no request of [`shape`] would not be guarded.
#[test]
fn every_message_is_recorded() {
    let shape = shape();
    let source = include_str!("lib.rs").lines();
    let messages: Vec<&str> = source
        .filter_map(|line| {
            let line = line
                .strip_prefix("pub struct ")
                .or(line.strip_prefix("pub enum "));
            line?.split(' ').next()
        })
        .collect();
    assert!(messages.contains(&"Status") && messages.contains(&"ManagerState"));
    for name in messages {
        assert!(shape.iter().any(|line| owner(line) == name), "{name}");
    }
}

#[test]
fn only_optional_fields_and_new_types_leave_the_version() {
    let shape = ["A.x: uint64", "A.y?: string", "S = one | two"].map(str::to_owned);
    let recorded = text(1, &shape);
    let is_readable = |version, lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        match compare(&recorded, version, &lines) {
            Change::None => panic!("{lines:?} differs"),
            Change::Readable(_) => true,
            Change::Unreadable(_) => false,
        }
    };
    let [x, y, s] = ["A.x: uint64", "A.y?: string", "S = one | two"];
    assert!(matches!(compare(&recorded, 1, &shape), Change::None));
    assert!(is_readable(2, &[x, y, s]), "raised, and not yet recorded");
    assert!(is_readable(1, &[x, y, s, "A.z?: T", "T.a: string"]));
    let changes = [
        ("a field that has to be there", &[x, y, s, "A.z: string"][..]),
        ("a field less", &[x, s]),
        ("another name", &[x, "A.why?: string", s]),
        ("another type", &["A.x: string", y, s]),
        ("optional", &["A.x?: uint64", y, s]),
        ("no longer optional", &[x, "A.y: string", s]),
        ("a word more", &[x, y, "S = one | three | two"]),
    ];
    for (what, lines) in changes {
        assert!(!is_readable(1, lines), "{what}");
        assert!(is_readable(2, lines), "{what}, with a version of its own");
    }
}

/// Lines that were added or removed.
enum Change {
    None,
    /// Both versions can read each other, or the version says that they cannot.
    Readable(String),
    Unreadable(String),
}

fn compare(recorded: &str, version: u32, shape: &[String]) -> Change {
    if recorded == text(version, shape) {
        return Change::None;
    }
    let mut old = recorded.lines();
    let raised = old.next() != Some(&heading(version));
    let old: Vec<&str> = old.collect();
    let removed = old.iter().filter(|line| !shape.iter().any(|l| l == *line));
    let added = shape.iter().filter(|line| !old.contains(&line.as_str()));
    let may_be_new = |line: &String| line.contains("?: ") || !old.iter().any(|old| owner(old) == owner(line));
    let readable = removed.clone().count() == 0 && added.clone().all(may_be_new);
    let removed = removed.map(|line| format!("- {line}\n"));
    let lines: String = removed.chain(added.map(|line| format!("+ {line}\n"))).collect();
    match readable || raised {
        true => Change::Readable(lines),
        false => Change::Unreadable(lines),
    }
}

fn heading(version: u32) -> String {
    format!("version {version}")
}

fn text(version: u32, shape: &[String]) -> String {
    format!("{}\n{}\n", heading(version), shape.join("\n"))
}

/// The type or the request that a line is about.
fn owner(line: &str) -> &str {
    let end = line.find(['.', ':', '=']).unwrap_or(line.len());
    line[..end].trim()
}

/// A line for each request, each field and each enumeration.
fn shape() -> Vec<String> {
    let mut messages = Messages::default();
    let status = messages.name::<Status>();
    let (apply, applied) = (messages.name::<ApplyRequest>(), messages.name::<ApplyReply>());
    let (scale, scaled) = (messages.name::<ScaleRequest>(), messages.name::<ScaleReply>());
    let (flows, listed) = (messages.name::<FlowsRequest>(), messages.name::<FlowsReply>());
    let delete = messages.name::<FlowsDeleteRequest>();
    let deleted = messages.name::<FlowsDeleteReply>();
    let (send, answered) = (messages.name::<SendRequest>(), messages.name::<SendReply>());
    let (logs, printed) = (messages.name::<LogsRequest>(), messages.name::<LogsReply>());
    let stopped = messages.name::<StopReply>();
    let error = messages.name::<ApiError>();
    let mut lines = vec![
        format!("GET {STATUS_PATH}: {status}"),
        format!("GET {STATUS_PATH}?{VERBOSE}: {status}"),
        format!("POST {APPLY_PATH}: {apply} to {applied}"),
        format!("POST {FLOWS_PATH}: {flows} to {listed}"),
        format!("POST {FLOWS_DELETE_PATH}: {delete} to {deleted}"),
        format!("POST {LOGS_PATH}: {logs} to {printed}"),
        format!("POST {SCALE_PATH}: {scale} to {scaled}"),
        format!("POST {SEND_PATH}: {send} to {answered}"),
        format!("POST {STOP_PATH}: {stopped}"),
        format!("every failure: {error}"),
    ];
    let types = messages.generator.take_definitions(true);
    let types: BTreeMap<&String, &Value> = types.iter().collect();
    lines.extend(types.into_iter().flat_map(|(name, schema)| members(name, schema)));
    lines
}

#[derive(Default)]
struct Messages {
    generator: SchemaGenerator,
}

impl Messages {
    fn name<T: JsonSchema>(&mut self) -> String {
        let schema: Schema = self.generator.subschema_for::<T>();
        kind(schema.as_value())
    }
}

/// The lines of one type.
fn members(name: &str, schema: &Value) -> Vec<String> {
    let Some(fields) = schema["properties"].as_object() else {
        return vec![format!("{name} = {}", kind(schema))];
    };
    let required = schema["required"].as_array();
    let fields = fields.iter().map(|(field, schema)| {
        let is_required = required.is_some_and(|names| names.contains(&field.as_str().into()));
        let mark = if is_required { "" } else { "?" };
        format!("{name}.{field}{mark}: {}", kind(schema))
    });
    fields.collect()
}

/// A type in words; of one that has none here, the schema itself.
fn kind(schema: &Value) -> String {
    // A comment at a word of an enumeration, or its place, is not a change.
    let any = |kinds: &[Value]| {
        let kinds: Vec<String> = kinds.iter().map(kind).collect();
        let mut words: Vec<&str> = kinds.iter().flat_map(|kind| kind.split(" | ")).collect();
        words.sort_unstable();
        words.join(" | ")
    };
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or(reference).to_owned();
    }
    if let Some(kinds) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
        return any(kinds);
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().map(word).collect();
        return words.join(" | ");
    }
    if !schema["const"].is_null() {
        return word(&schema["const"]);
    }
    let name = |kind: &str| match kind {
        "array" => format!("[{}]", self::kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("{{{}}}", self::kind(&schema["additionalProperties"]))
        }
        kind => schema["format"].as_str().unwrap_or(kind).to_owned(),
    };
    match &schema["type"] {
        Value::String(kind) => name(kind),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            let kinds: Vec<String> = kinds
                .map(|kind| match kind {
                    "null" => "null".to_owned(),
                    kind => name(kind),
                })
                .collect();
            kinds.join(" | ")
        }
        _ => schema.to_string(),
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
