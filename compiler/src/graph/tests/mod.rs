mod any;
mod page;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use any::any_graph;
use page::{sound, svg_of};

use super::{model::*, *};
use crate::{Inputs, check, testing::beside};

/// What could end a string, an element or a comment in one of the formats.
const HOSTILE: &str = "\"></title><script>alert(1)</script>]]>--> & \\\" \\ end; click n0 href \"x\" #quot; `x` \u{1}\u{202e}\u{fffe}é\ntwo";

fn edge() -> Graph {
    of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains/edge.chain"))
}

fn of_file(path: &Path) -> Graph {
    let checked = check(
        &beside(path),
        Path::new(path.file_name().unwrap()),
        &Inputs::default(),
    )
    .unwrap();
    let program = checked.program.expect("no errors");
    let docs = Docs::new(checked.sources.files().iter().map(|f| f.text.as_str()));
    Graph::new(&program.name, program.contents(), &docs)
}

fn hostile() -> Graph {
    let mut graph = edge();
    graph.name = HOSTILE.into();
    for port in &mut graph.ports {
        (port.device, port.doc) = (HOSTILE.into(), Some(HOSTILE.into()));
    }
    for service in &mut graph.services {
        (service.nf_type, service.summary, service.doc) =
            (HOSTILE.into(), HOSTILE.into(), Some(HOSTILE.into()));
    }
    for steering in &mut graph.steering {
        steering.programs = vec![Programmed {
            nf: HOSTILE.into(),
            filter: HOSTILE.into(),
            meaning: HOSTILE.into(),
            chains: vec!["plain".into(), HOSTILE.into()],
            source: HOSTILE.into(),
        }];
    }
    for rule in graph.steering.iter_mut().flat_map(|s| &mut s.rules) {
        (rule.filter, rule.source) = (Some(HOSTILE.into()), HOSTILE.into());
    }
    for chain in &mut graph.chains {
        (chain.doc, chain.source) = (Some(HOSTILE.into()), HOSTILE.into());
        for hop in &mut chain.hops {
            hop.outputs = hop.outputs.values().map(|to| (HOSTILE.to_owned(), *to)).collect();
        }
    }
    for rule in graph
        .steering
        .iter_mut()
        .flat_map(|s| &mut s.rules)
        .filter(|r| r.chain == "plain")
    {
        rule.chain = HOSTILE.into();
    }
    graph
        .chains
        .iter_mut()
        .filter(|c| c.name == "plain")
        .for_each(|c| c.name = HOSTILE.into());
    graph
}

#[test]
fn the_example_in_text_formats() {
    let graph = edge();
    insta::assert_snapshot!("dot", graph.render(Format::Dot));
    insta::assert_snapshot!("mermaid", graph.render(Format::Mermaid));
    insta::assert_snapshot!("json", graph.render(Format::Json));
}

/// Dashed lines, with the NF that may make them.
#[test]
fn what_nfs_may_program_is_shown() {
    let graph = of_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains/sdn/sdn.chain"));
    insta::assert_snapshot!("programmed", graph.render(Format::Dot));
    let json: serde_json::Value = serde_json::from_str(&graph.render(Format::Json)).unwrap();
    let arm = &json["steering"][0]["programs"][0];
    assert_eq!(
        (&arm["nf"], &arm["filter"], &arm["chains"]),
        (
            &"ctl".into(),
            &"web".into(),
            &serde_json::json!(["trusted", "watched"])
        )
    );
    let mermaid = graph.render(Format::Mermaid);
    let dashed = mermaid
        .lines()
        .filter(|line| line.contains("-.->|\"ctl") || line.contains("-.->|\"ids"));
    assert_eq!(dashed.count(), 4, "{mermaid}");
    let svg = graph.render(Format::Svg);
    let page = svg_of(&svg);
    sound(&page);
    for text in ["ctl: web", "ids: tcp or udp", "may be programmed by an NF"] {
        assert!(page.texts.iter().any(|t| t.text == text), "no {text}");
    }
    assert_eq!(svg.matches(r#"<path class="flow steer""#).count(), 4 + 1);
}

#[test]
fn doc_comments_are_kept() {
    let graph = edge();
    assert_eq!(
        graph.ports[2].doc.as_deref(),
        Some("Requests that look like attacks, kept for a person to look at.")
    );
    let docs = Docs::new(["/// one\n/// two\nsteer wan { else -> drop }\n/// of a let\nlet x = 1\n"]);
    assert_eq!(docs.of_steering("wan").as_deref(), Some("one\ntwo"));
    assert_eq!(docs.of("x"), None);
    for format in [Format::Svg, Format::Dot, Format::Json] {
        assert!(graph.render(format).contains("kept for a person"), "{format:?}");
    }
}

#[test]
fn the_documentation_shows_the_picture_of_today() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/edge.svg");
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(
        kept == edge().render(Format::Svg),
        "make it anew: onvmc graph chains/edge.chain -o docs/edge.svg"
    );
}

#[test]
fn the_example_fits_a_page() {
    let svg = edge().render(Format::Svg);
    let page = svg_of(&svg);
    // A4 landscape less 10 mm on each side, at 96 pixels an inch.
    assert!(
        page.width <= 1046.0 && page.height <= 717.0,
        "{} x {}",
        page.width,
        page.height
    );
    sound(&page);
    for word in [
        "wan", "web", "else", "inspect", "fw", "firewall", "scan", "match", "jail",
    ] {
        assert!(page.texts.iter().any(|t| t.text == word), "no {word}");
    }
}

#[test]
fn nothing_from_a_source_becomes_markup() {
    let graph = hostile();
    let svg = graph.render(Format::Svg);
    let page = svg_of(&svg);
    assert!(
        page.titles
            .iter()
            .any(|t| t.contains("<script>alert(1)</script>")),
        "it is there as text"
    );
    let mermaid = graph.render(Format::Mermaid);
    for line in mermaid.lines().skip(1) {
        let quotes: Vec<&str> = line.split('"').collect();
        assert!(
            quotes.len() % 2 == 1 && quotes.len() <= 3,
            "one label at most: {line}"
        );
        let plain = quotes.get(1).unwrap_or(&"").replace("<br/>", "");
        let coded = |c: char| c.is_alphanumeric() || " .,:/_-@#;".contains(c);
        assert!(plain.chars().all(coded), "{line}");
    }
    serde_json::from_str::<serde_json::Value>(&graph.render(Format::Json)).unwrap();
}

/// Graphviz itself reads what is written, and finds the nodes that are meant; where it is not installed, quotes are
/// counted by the rule of its language.
#[test]
fn dot_is_read_by_graphviz() {
    for graph in [edge(), hostile()] {
        let text = graph.render(Format::Dot);
        for line in text.lines().filter(|l| l.trim_start().starts_with('n')) {
            let bare = line.replace("\\\\", "").replace("\\\"", "");
            assert!(bare.matches('"').count() % 2 == 0, "{line}");
        }
        let Ok(mut dot) = Command::new("dot")
            .arg("-Tplain")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            continue;
        };
        std::io::Write::write_all(&mut dot.stdin.take().unwrap(), text.as_bytes()).unwrap();
        let output = dot.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
        let nodes = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|l| l.starts_with("node n"))
            .count();
        assert_eq!(nodes, network::Network::new(&graph).nodes.len(), "{text}");
    }
}

#[test]
fn long_lists_of_rules_are_folded() {
    let mut graph = edge();
    let rule = graph.steering[0].rules[0].clone();
    let last = graph.steering[0].rules[1].clone();
    graph.steering[0].rules = (1..=1000)
        .map(|order| Rule {
            order,
            ..rule.clone()
        })
        .chain([Rule { order: 1001, ..last }])
        .collect();
    let rows = view::rows(&graph, &graph.steering[0]);
    assert_eq!(rows.len(), 25);
    assert_eq!(
        (rows[23].text.as_str(), rows[24].text.as_str()),
        ("977 more rules", "else")
    );
    assert_eq!(rows[23].details, "977 of the rules 24 to 1000 of `wan`");
    sound(&svg_of(&graph.render(Format::Svg)));
}

#[test]
fn empty_programs_have_a_picture() {
    let graph = Graph {
        ports: vec![],
        services: vec![],
        steering: vec![],
        chains: vec![],
        ..edge()
    };
    for format in [Format::Svg, Format::Dot, Format::Mermaid, Format::Json] {
        assert!(!graph.render(format).is_empty());
    }
    svg_of(&graph.render(Format::Svg));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_picture_is_sound(graph in any_graph()) {
        let svg = graph.render(Format::Svg);
        prop_assert_eq!(&svg, &graph.clone().render(Format::Svg));
        let page = svg_of(&svg);
        sound(&page);
        // Every kind of step that a chain has is drawn.
        for chain in graph.chains.iter().filter(|c| !c.is_drop()) {
            prop_assert!(page.texts.iter().any(|t| t.text == chain.name));
            for hop in &chain.hops {
                let name = match &hop.at { At::Nf(n) | At::Port(n) => n.as_str(), At::Drop => "drop" };
                prop_assert!(page.texts.iter().any(|t| t.text == name), "no {}", name);
            }
            for output in chain.hops.iter().flat_map(|h| h.outputs.keys()) {
                prop_assert!(page.texts.iter().any(|t| t.text == *output));
            }
        }
    }

    /// A lane's line goes from left to right, and never through a box of another lane.
    #[test]
    fn lines_go_forward_and_around_boxes(graph in any_graph()) {
        svg::check_plan(&graph);
    }
}
