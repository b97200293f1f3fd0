//! `onvmc query`: where packets of a filter can go, and which packets can get to a port.

use onvmc::{
    Inputs, Program,
    interpret::Interpreter,
    sets::Witness,
    traffic::{Answers, Certainty, Models, Programmable, Reached, Unwritten, Which, query},
};

use super::{
    Outcome,
    args::QueryArgs,
    check::look,
    output::{Output, count},
    trace::does_not_start,
    traffic::hex,
};

pub(super) fn run(out: &Output, args: &QueryArgs) -> Outcome {
    let port = args.port.as_ref().or(args.from.as_ref());
    let port = port.map_or("", String::as_str);
    let filter = match args.filter.as_slice() {
        [] => "all".to_owned(),
        words => words.join(" "),
    };
    let inputs = Inputs {
        question: Some((port, &filter)),
        ..Inputs::default()
    };
    let Some((program, _)) = look(out, &args.file, &args.source, &inputs) else {
        return Outcome::Refused;
    };
    if let Some(to) = args.to.as_deref().filter(|to| !is_end(&program, to)) {
        let ports: Vec<&str> = program.manager.ports.iter().map(|p| p.name.as_str()).collect();
        let ports = ports.join(", ");
        out.error(
            "port",
            &format!("there is no port `{to}`: --to takes `drop` or one of {ports}"),
        );
        return Outcome::Usage;
    }
    let Some(question) = &program.question else {
        out.error("filter", "FILTER is one filter, such as 'tcp dst port 23'");
        return Outcome::Usage;
    };
    let started = Models::new(program.contents(), &program.files)
        .and_then(|models| Ok((models, Interpreter::new(program.contents(), &program.files)?)));
    let (models, mut interpreter) = match started {
        Ok(started) => started,
        Err(e) => {
            does_not_start(out, &e);
            return Outcome::Refused;
        }
    };
    let found = query(
        program.contents(),
        &models,
        &mut interpreter,
        question,
        args.to.as_deref(),
    );
    if out.json {
        out.data_json(&json(port, &filter, &found));
    } else {
        out.data(&text(&found));
    }
    Outcome::Done
}

fn is_end(program: &Program, name: &str) -> bool {
    name == "drop" || program.manager.ports.iter().any(|p| p.name == name)
}

fn text(found: &Answers) -> String {
    let ways = found.ways.iter().map(one);
    let mut text: String = ways.collect();
    let others = match (found.ways.is_empty(), found.programmable.is_empty()) {
        (true, true) => "No such packet gets there",
        (true, false) => "By the rules no such packet gets there",
        (false, true) => "They go no other way",
        (false, false) => "By the rules they go no other way",
    };
    text += &match found.certainty {
        Certainty::Proved => format!("{others}: proved.\n"),
        Certainty::Modelled => {
            format!(
                "{others}, by the rules and patterns of the NFs; malformed packets may be dropped besides.\n"
            )
        }
        Certainty::Partial => {
            let ways = count(found.ways.len(), "way");
            format!("{ways} found. There may be more: not everything was searched.\n")
        }
    };
    text + &found.programmable.iter().map(programmable).collect::<String>()
}

/// Where an NF may have some of the packets go, whatever the rules say.
fn programmable(way: &Programmable) -> String {
    let (rule, source) = (&way.rule, &way.rule.source.0);
    let mut text = format!(
        "Besides, `{}` may have some of them go {}\n    by       `{rule}` at {source}\n",
        way.nf, way.path
    );
    if let Some(packet) = &way.packet {
        text += &format!("    packet   {packet}\n");
    }
    text
}

fn one(way: &Reached) -> String {
    let end = match &way.dropped_at {
        Some(at) => format!("dropped at `{at}`"),
        None => format!("`{}`", way.end),
    };
    let mut text = format!("{end}   {}\n", way.path);
    text += &format!("    which    {}\n", set(&way.which, !way.given.is_empty()));
    if way.which.except_cut_off {
        text += "    except   frames that end before a byte that a rule reads: another rule may take them\n";
    }
    text += &format!("    rule     {} at {}\n", way.rule, way.rule.source.0);
    for decided in &way.decided {
        text += &format!(
            "    by       `{}` {} by {}\n",
            decided.nf, decided.does, decided.rule
        );
    }
    for given in &way.given {
        text += &format!("    if       `{}` {}\n", given.nf, given.does);
    }
    text + &format!("    packet   {}\n", way.packet)
}

/// The packets as a filter, or why they are not written as one.
fn set(which: &Which, conditional: bool) -> String {
    let reason = match (&which.filter, which.unwritten) {
        (Some(filter), _) if conditional => return format!("some of: {filter}"),
        (Some(filter), _) => return format!("all of: {filter}"),
        (None, Some(Unwritten::OnlyCutOff)) => {
            return "only frames that end before a byte that a rule reads".to_owned();
        }
        (None, Some(Unwritten::TooLong)) => "their filter would be too long",
        (None, _) => "filters that look behind labels or tunnels cannot be joined to one",
    };
    format!("not shown: {reason}")
}

fn json(port: &str, filter: &str, found: &Answers) -> serde_json::Value {
    let bytes = |packet: &Witness| hex(&packet.frame.bytes);
    let ways = found.ways.iter().map(|way| {
        let mut value = serde_json::json!(way);
        value["bytes"] = bytes(&way.packet).into();
        value
    });
    serde_json::json!({
        "version": 1, "port": port, "filter": filter, "ways": ways.collect::<Vec<_>>(),
        "programmable": found.programmable, "certainty": found.certainty,
    })
}
