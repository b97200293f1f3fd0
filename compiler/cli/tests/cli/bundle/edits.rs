//! What differs between two bundles, and what that means for the instances that run.

use super::*;

#[test]
fn service_ids_stay() {
    let (before, _) = build(FULL, &Inputs::default());
    let id = |p: &Program, name: &str| p.manager.services.iter().find(|s| s.name == name).unwrap().id;
    assert_eq!(id(&before, "fw"), 9, "pinned");
    let edited = FULL
        .replace("nf fw =", "nf first = monitor { every = 1 s }\nnf fw =")
        .replace("-> fast_raw", "-> first -> fast_raw");
    let (after, _) = build(
        &edited,
        &Inputs {
            previous: Some(&before.manager),
            ..Inputs::default()
        },
    );
    for name in ["fw", "ids", "guard", "mon"] {
        assert_eq!(id(&after, name), id(&before, name), "{name}");
    }
    let changes = diff(before.contents(), after.contents());
    let lines: Vec<String> = changes
        .changes
        .iter()
        .map(|c| format!("{:?} {} {}", c.action, c.kind, c.name))
        .collect();
    assert_eq!(lines, ["Added nf first", "Changed rule wan: else"]);
    assert_eq!(changes.instances.started, ["first-0"]);
    assert!(changes.instances.stopped.is_empty() && changes.instances.replaced.is_empty());
}

#[test]
fn a_move_in_the_source_is_no_change() {
    let (before, _) = build(FULL, &Inputs::default());
    let (after, _) = build(&format!("// a comment\n\n{FULL}"), &Inputs::default());
    assert_ne!(
        before.flows, after.flows,
        "inline chains are named after their lines"
    );
    assert!(diff(before.contents(), after.contents()).is_empty());
}

#[test]
fn a_diff_names_what_was_changed() {
    let (before, _) = build(FULL, &Inputs::default());
    let edited = FULL
        .replace("every = 250 ms", "every = 2 s")
        .replace("vlan 7 -> shared", "vlan 6 -> shared")
        .replace("} -> mon -> lan\nchain end", "} -> lan\nchain end")
        .replace("replicas = 2..3", "replicas = 3")
        .replace("max_hops = 20", "max_hops = 21")
        .replace("size = 128", "size = 256");
    let (after, _) = build(&edited, &Inputs::default());
    let changes = diff(before.contents(), after.contents());
    let text: Vec<String> = changes
        .changes
        .iter()
        .flat_map(|c| {
            let sign = match c.action {
                Action::Added => '+',
                Action::Changed => '~',
                Action::Removed => '-',
            };
            let head = format!("{sign} {} {}", c.kind, c.name);
            let details = c
                .details
                .iter()
                .map(|d| format!("    {}: {} => {}", d.what, d.from, d.to));
            [head].into_iter().chain(details).collect::<Vec<_>>()
        })
        .collect();
    insta::assert_snapshot!(text.join("\n"));
    assert_eq!(changes.instances.started, ["ids-2"]);
    // `ids` has an instance more, `mon` another parameter, and the port's change needs a restart, which replaces all.
    assert_eq!(changes.needs_restart, ["ports"]);
    assert_eq!(
        changes.instances.replaced,
        ["fw-0", "guard-0", "ids-0", "ids-1", "mon-0"]
    );
    assert!(changes.instances.kept.is_empty());
}

/// As `runtime/src/fleet/scale.rs` decides: a service whose parameters or `with` clause changed is started anew as a whole, every
/// other goes on, and so do the replicas that it has before and after.
#[test]
fn a_plan_of_instances_is_what_the_manager_does() {
    let (before, _) = build(FULL, &Inputs::default());
    let planned = |edits: &[(&str, &str)]| {
        let edited = edits.iter().fold(FULL.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let (after, _) = build(&edited, &Inputs::default());
        let changes = diff(before.contents(), after.contents());
        assert!(changes.needs_restart.is_empty(), "{:?}", changes.needs_restart);
        changes.instances
    };

    let parameter = planned(&[("every = 250 ms", "every = 2 s")]);
    assert_eq!(parameter.reconfigured, ["mon-0"]);
    assert_eq!(parameter.kept, ["fw-0", "guard-0", "ids-0", "ids-1"]);
    let another = ("every = 250 ms", "every = 2 s");
    let and_more = planned(&[another, ("max_hops = 20", "max_hops = 21")]);
    assert_eq!(and_more.replaced, ["mon-0"]);

    let more = planned(&[("replicas = 2..3", "replicas = 3")]);
    assert_eq!(
        (&more.started[..], more.replaced.len()),
        (&["ids-2".to_owned()][..], 0)
    );
    assert_eq!(more.kept.len(), 5, "{more:?}");
    let fewer = planned(&[("replicas = 2..3", "replicas = 1")]);
    assert_eq!(
        (&fewer.stopped[..], fewer.replaced.len()),
        (&["ids-1".to_owned()][..], 0)
    );
    assert_eq!(fewer.kept.len(), 4, "{fewer:?}");

    let with = planned(&[("restart = never", "restart = always")]);
    assert_eq!(with.replaced, ["guard-0"]);
    let another_id = planned(&[
        ("service = 9", "service = 10"),
        ("max_hops = 20", "max_hops = 21"),
    ]);
    assert_eq!(another_id.kept.len(), 5, "{another_id:?}");
}
