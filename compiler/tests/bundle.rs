//! What is written is what was meant, the same every time, and refused once anybody has touched it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use onvm_bundle::{
    Bundle, BundleError, FileEntry, HugePages, Idle, Index, InstanceConfig, PathRef, PortKind, Target,
    diff::{Action, diff},
    generation_id, hash_bytes,
};
use onvmc::{Inputs, Program, artifact::Artifact, check, disk::write_bundle, host::MemoryHost};

/// Uses everything that a bundle can hold.
const FULL: &str = r#"
param uplink: string = "0000:3b:00.0"
let trusted = [10.0.0.0/8, 192.168.0.0/16]
class web = tcp and dst port (80 or 443)
use "waf.nf.toml" as waf

port wan = pci { address = $uplink, queues = 2, mtu = 1400, mac = 02:00:00:00:00:01, promiscuous = false }
port lan = tap { name = "lan0" }
port raw = af_packet { interface = "eth1" }
port fast_raw = af_xdp { interface = "eth2" }
port trace = pcap { read = file("in.pcap"), write = "out \"quoted\".pcap", repeat = true }
port shared = memif { socket = "/run/memif.sock", role = server, id = 3 }
port nothing = null { size = 128 }
port other = vdev { device = "net_ring0" }

nf fw = firewall { rules = file("edge.rules"), default = drop } with { service = 9 }
nf ids = payload_scan { patterns = file("web.patterns") }
    with { replicas = 2..4, memory = 64 MiB, cores = 1, numa = 0, restart = on_failure }
nf guard = waf { key = secret("WAF_KEY"), limits = [10 kpps, 1 Mpps], nets = $trusted, wait = 1.5 s }
    with { run = container, image = "acme/waf:2", restart = never }
nf mon = monitor { every = 250 ms } with { affinity = none }

manager {
    cores = [2, 3, 4, 5, 6, 7], workers = 2, buffers = 65536, mtu = 2000, hugepages = 2 MiB, idle = spin,
    backpressure = off, ring = 1024, max_hops = 20
}

chain inspect = fw -> ids { match -> guard { alert -> drop } -> drop } -> mon -> lan
chain end(p: port, n: nf) = n -> p
steer wan {
    web and not src net $trusted -> inspect
    src net $trusted -> drop
    udp -> mon -> trace
    arp -> end(raw, mon)
    vlan 7 -> shared
    vlan 8 -> nothing
    vlan 9 -> other
    else -> fast_raw
}
steer lan { else -> mon -> wan }
allow guard to steer mon, lan
allow guard to lookup
"#;

const WAF: &str = r#"
name = "waf"
version = "2.1.0"
summary = "A third party's \"firewall\""
state = "flow"
[run]
binary = "waf"
args = ["--quiet", "it's $HOME"]
[effects]
reads = ["ip.src"]
writes = ["tcp.window"]
payload = "write"
steers = true
lookups = true
[[params]]
name = "key"
type = "secret"
doc = "Its key."
[[params]]
name = "limits"
type = "packet_rate"
list = true
doc = "Limits."
[[params]]
name = "nets"
type = "prefix"
list = true
doc = "Nets."
[[params]]
name = "wait"
type = "time"
min = "1 ms"
doc = "How long."
[[outputs]]
name = "alert"
doc = "Alerts."
must_handle = true
[[counters]]
name = "alerts"
doc = "Alerts."
"#;

fn host(main: &str) -> MemoryHost {
    MemoryHost::default()
        .with("edge.chain", main)
        .with("waf.nf.toml", WAF)
        .with("in.pcap", [0xd4, 0xc3, 0xb2, 0xa1])
        .with("edge.rules", "drop tcp\n")
        .with("web.patterns", "attack\n")
}

fn build(main: &str, inputs: &Inputs<'_>) -> (Program, Artifact) {
    let checked = check(&host(main), Path::new("edge.chain"), inputs).unwrap();
    let shown = onvmc::render::human(&checked.sources, &checked.diagnostics, false, 100);
    let program = checked.program.unwrap_or_else(|| panic!("{shown}"));
    // The sources here use every setting and every kind of port, those without effect among them.
    let expected = |code: &str| ["C0504", "C0606"].contains(&code);
    assert!(checked.diagnostics.iter().all(|d| expected(d.code)), "{shown}");
    let artifact = Artifact::new(&program, &checked.sources).unwrap();
    (program, artifact)
}

fn written(root: &Path) -> (Program, PathBuf) {
    let (program, artifact) = build(FULL, &Inputs::default());
    let dir = root.join("edge.bundle");
    write_bundle(&artifact, &dir).unwrap();
    (program, dir)
}

#[test]
fn everything_is_read_back_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let (program, dir) = written(root.path());
    let bundle = Bundle::load(&dir).unwrap();
    assert_eq!(bundle.manager, program.manager);
    assert_eq!(bundle.flows, program.flows);
    assert_eq!(bundle.instances, program.instances);
    assert_eq!(bundle.index.secrets, ["WAF_KEY"]);
    assert_eq!(bundle.index.params["uplink"], "\"0000:3b:00.0\"");
    assert_eq!(bundle.index.main, "edge.chain");
    assert_eq!(fs::read_to_string(dir.join("source/edge.chain")).unwrap(), FULL);
    assert!(
        !String::from_utf8(fs::read(dir.join("nfs/guard-0.toml")).unwrap())
            .unwrap()
            .contains("secret value")
    );
}

#[test]
fn values_are_normalised() {
    let (program, _) = build(FULL, &Inputs::default());
    let m = &program.manager;
    assert_eq!((m.ring, m.max_hops, m.backpressure), (1024, 20, false));
    assert_eq!((m.hugepages, m.idle), (HugePages::Size(2 << 20), Idle::Spin));
    assert_eq!(
        (m.workers.count, m.workers.cores.as_slice()),
        (2, &[2, 3, 4, 5, 6, 7][..])
    );
    let params = &program.instances["guard-0"].params;
    assert_eq!(params["wait"], toml::Value::Integer(1_500_000_000));
    assert_eq!(params["limits"].to_string(), "[10000, 1000000]");
    assert_eq!(params["nets"].to_string(), r#"["10.0.0.0/8", "192.168.0.0/16"]"#);
    assert_eq!(params["key"]["secret"].as_str(), Some("WAF_KEY"));
    assert_eq!(
        program.instances["guard-0"].manifest.run.image.as_deref(),
        Some("acme/waf:2")
    );
    let file = program.instances["fw-0"].params["rules"]["file"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        file,
        format!("files/{}-edge.rules", &hash_bytes(b"drop tcp\n")[..16])
    );
    let instances: Vec<&InstanceConfig> = program
        .instances
        .values()
        .filter(|i| i.service == "ids")
        .collect();
    assert_eq!(instances.len(), 2, "the low end of a range");
    let PortKind::Pcap {
        read,
        write,
        repeat: true,
    } = &m.ports[4].kind
    else {
        panic!("{:?}", m.ports[4])
    };
    assert!(matches!(read, Some(PathRef::Bundle(p)) if p.ends_with("-in.pcap")));
    assert_eq!(*write, Some(PathRef::Host("out \"quoted\".pcap".into())));
}

#[test]
fn steers_become_hops() {
    let (program, _) = build(FULL, &Inputs::default());
    let inspect = program
        .manager
        .chains
        .iter()
        .find(|c| c.name == "inspect")
        .unwrap();
    let (_, guard) = inspect
        .hops
        .iter()
        .enumerate()
        .find(|(_, h)| h.at == Target::Nf("guard".into()))
        .unwrap();
    let after = guard.next.unwrap();
    let mon = &inspect.hops[usize::from(guard.steers["mon"])];
    assert_eq!(
        (&mon.at, mon.next),
        (&Target::Nf("mon".into()), Some(after)),
        "it goes on where guard's next leads"
    );
    assert_eq!(
        inspect.hops[usize::from(guard.steers["lan"])].at,
        Target::Port("lan".into())
    );
}

#[test]
fn a_permitted_lookup_stands_at_each_hop_of_its_nf() {
    let (program, _) = build(FULL, &Inputs::default());
    let hops = || program.manager.chains.iter().flat_map(|c| &c.hops);
    let is_guard = |h: &&onvm_bundle::Hop| h.at == Target::Nf("guard".into());
    assert!(hops().any(|h| h.lookup) && hops().all(|h| h.lookup == is_guard(&h)));
    // Only `allow` makes a difference.
    let silent = FULL.replace("allow guard to lookup\n", "");
    let without = check(&host(&silent), Path::new("edge.chain"), &Inputs::default()).unwrap();
    let warned = without.diagnostics.iter().filter(|d| d.code == "C0602");
    assert_eq!(warned.count(), 1);
    let without = without.program.unwrap();
    let changes = diff(without.contents(), program.contents());
    let [change] = changes.changes.as_slice() else {
        panic!("{changes:?}")
    };
    assert_eq!((change.kind.as_str(), change.name.as_str()), ("nf", "guard"));
    let detail = &change.details[0];
    assert_eq!(
        (detail.what.as_str(), detail.from.as_str(), detail.to.as_str()),
        ("lookup", "not permitted", "permitted")
    );
    assert!(
        changes.instances.replaced.is_empty(),
        "no NF is started anew for it"
    );
}

#[test]
fn a_bounded_circle_is_counted_out() {
    let source = |bound: &str| {
        format!(
            "use \"waf.nf.toml\" as waf\nport wan = null {{}}\nlet l = [1 pps]\nlet n = [10.0.0.0/8]\n\
             nf a = waf {{ key = secret(\"K\"), limits = $l, nets = $n, wait = 1 s }}\n\
             nf b = waf {{ key = secret(\"K\"), limits = $l, nets = $n, wait = 1 s }}\n\
             steer wan {{ else -> a {{ alert -> drop }} -> wan }}\n\
             allow a to steer b\nallow b to steer a max_hops {bound}\n\
             allow a to lookup\nallow b to lookup\n"
        )
    };
    let (program, _) = build(&source("3"), &Inputs::default());
    let chain = &program.manager.chains[0];
    let mut at = 0;
    let mut path = Vec::new();
    // As an NF would that always steers when it may.
    while let Target::Nf(name) = &chain.hops[at].at {
        path.push(name.clone());
        let hop = &chain.hops[at];
        let to = hop.steers.values().next().copied().or(hop.next).unwrap();
        at = usize::from(to);
        assert!(path.len() < 100, "the circle has an end");
    }
    assert_eq!(path.concat(), "abababab", "three times from b to a");
    let long = check(&host(&source("200")), Path::new("edge.chain"), &Inputs::default()).unwrap();
    let codes: Vec<_> = long.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["C0703"], "more visits than max_hops allows");
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let (_, first) = build(FULL, &Inputs::default());
    for _ in 0..5 {
        assert_eq!(build(FULL, &Inputs::default()).1, first);
    }
    let other = FULL.replace("max_hops = 20", "max_hops = 21");
    assert_ne!(
        build(&other, &Inputs::default()).1.index.generation,
        first.index.generation
    );
}

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
        .replace("replicas = 2..4", "replicas = 3")
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

/// As `runtime/src/control/fleet.rs` decides: a service whose parameters, `with` clause or number of instances changed is
/// started anew as a whole, every other goes on.
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
    assert_eq!(parameter.replaced, ["mon-0"]);
    assert_eq!(parameter.kept, ["fw-0", "guard-0", "ids-0", "ids-1"]);

    let more = planned(&[("replicas = 2..4", "replicas = 3")]);
    assert_eq!(
        (more.started, more.replaced),
        (
            vec!["ids-2".to_owned()],
            vec!["ids-0".to_owned(), "ids-1".to_owned()]
        )
    );
    let fewer = planned(&[("replicas = 2..4", "replicas = 1")]);
    assert_eq!(
        (fewer.stopped, fewer.replaced),
        (vec!["ids-1".to_owned()], vec!["ids-0".to_owned()])
    );

    let with = planned(&[("restart = never", "restart = always")]);
    assert_eq!(with.replaced, ["guard-0"]);
    let another_id = planned(&[
        ("service = 9", "service = 10"),
        ("max_hops = 20", "max_hops = 21"),
    ]);
    assert_eq!(another_id.kept.len(), 5, "{another_id:?}");
}

#[test]
fn every_damage_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let index = Bundle::load(&dir).unwrap().index;
    let files = index.files.iter().map(|f| f.path.as_str()).chain(["bundle.toml"]);
    for name in files {
        let path = dir.join(name);
        let good = fs::read(&path).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let error = Bundle::load(&dir).expect_err(&format!("{name}, byte {at}"));
            assert!(error.to_string().contains(name), "the file is named: {error}");
            if name != "bundle.toml" {
                assert!(matches!(error, BundleError::Hash { .. }), "{error}");
            }
        }
        // The last byte of bundle.toml is a line break, which means nothing.
        let cut = if name == "bundle.toml" {
            good.len() / 2
        } else {
            good.len() - 1
        };
        fs::write(&path, &good[..cut]).unwrap();
        assert!(Bundle::load(&dir).is_err(), "{name} cut short");
        fs::remove_file(&path).unwrap();
        let error = Bundle::load(&dir).expect_err(name);
        match name {
            "bundle.toml" => assert!(matches!(error, BundleError::NotABundle(_)), "{error}"),
            _ => assert!(matches!(error, BundleError::Missing(_)), "{error}"),
        }
        fs::write(&path, &good).unwrap();
    }
    Bundle::load(&dir).unwrap();

    fs::write(dir.join("nfs/extra.toml"), "").unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Unlisted(p)) if p.ends_with("nfs/extra.toml")));
    fs::remove_file(dir.join("nfs/extra.toml")).unwrap();
    // A tree that nothing lists is not walked.
    fs::create_dir_all(dir.join("files/deep/deeper")).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Unlisted(p)) if p.ends_with("files/deep")));
    fs::remove_dir_all(dir.join("files/deep")).unwrap();
}

/// Replaces the index by an edited one whose own hash is right.
fn forge(dir: &Path, edit: impl FnOnce(&mut Index)) {
    let text = fs::read_to_string(dir.join("bundle.toml")).unwrap();
    let mut index: Index = toml::from_str(&text).unwrap();
    edit(&mut index);
    index.generation = generation_id(&index);
    fs::write(dir.join("bundle.toml"), toml::to_string(&index).unwrap()).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let path = dir.join("bundle.toml");
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replace("format = 4", "format = 5\nsurprise = true");
    fs::write(&path, newer).unwrap();
    let error = Bundle::load(&dir).unwrap_err();
    assert!(
        matches!(
            error,
            BundleError::Version {
                found: 5,
                supported: 4,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("onvmc"), "{error}");
}

#[test]
fn nothing_leads_outside() {
    for outside in [
        "../secret",
        "/etc/hostname",
        "files/../../secret",
        "files/./x",
        "files//x",
        "files/",
        "",
    ] {
        let root = tempfile::tempdir().unwrap();
        let (_, dir) = written(root.path());
        fs::write(root.path().join("secret"), "mine").unwrap();
        forge(&dir, |index| {
            index.files.push(FileEntry {
                path: outside.into(),
                sha256: hash_bytes(b"mine"),
                size: 4,
            });
        });
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            matches!(error, BundleError::Escapes { .. }),
            "{outside:?}: {error}"
        );
    }
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    for name in ["../secret", "/tmp/a", "", "a b"] {
        let root = tempfile::tempdir().unwrap();
        let (_, dir) = written(root.path());
        forge(&dir, |index| index.name = name.into());
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            error.to_string().contains("is not a name for a bundle"),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn links_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let flows = dir.join("flows.toml");
    fs::rename(&flows, root.path().join("flows.toml")).unwrap();
    std::os::unix::fs::symlink("../flows.toml", &flows).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Escapes { .. })));

    let (_, dir) = written(root.path());
    fs::rename(dir.join("nfs"), root.path().join("nfs")).unwrap();
    std::os::unix::fs::symlink("../nfs", dir.join("nfs")).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Escapes { .. })));
}

#[test]
fn a_linked_index_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    fs::rename(dir.join("bundle.toml"), root.path().join("bundle.toml")).unwrap();
    std::os::unix::fs::symlink("../bundle.toml", dir.join("bundle.toml")).unwrap();
    let error = Bundle::load(&dir).unwrap_err();
    assert!(
        matches!(&error, BundleError::Escapes { entry, .. } if entry == "bundle.toml"),
        "{error}"
    );
}

/// Changes a file and what the index says of it.
fn rewrite(dir: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{file}: {from}");
    let text = text.replacen(from, to, 1);
    fs::write(dir.join(file), &text).unwrap();
    forge(dir, |index| {
        let entry = index.files.iter_mut().find(|f| f.path == file).unwrap();
        (entry.sha256, entry.size) = (hash_bytes(text.as_bytes()), text.len() as u64);
    });
}

#[test]
fn whatever_becomes_a_path_is_a_plain_name() {
    let root = tempfile::tempdir().unwrap();
    for (file, from, to, word) in [
        (
            "manager.toml",
            "\"fw-0\"",
            "\"..\"",
            "`..` is not a name for an instance",
        ),
        (
            "manager.toml",
            "\"fw-0\"",
            "\"../../x\"",
            "`../../x` is not a name for an instance",
        ),
        (
            "manager.toml",
            "\"fw-0\"",
            "\"a\\u0000b\"",
            "is not a name for an instance",
        ),
        (
            "nfs/guard-0.toml",
            "secret = \"WAF_KEY\"",
            "secret = \"../shadow\"",
            "is not a name for a secret",
        ),
        (
            "nfs/guard-0.toml",
            "binary = \"waf\"",
            "binary = \"/bin/sh\"",
            "run.binary",
        ),
    ] {
        let (_, dir) = written(root.path());
        rewrite(&dir, file, from, to);
        let error = Bundle::load(&dir).expect_err(to).to_string();
        assert!(error.contains(word) && error.contains(file), "{to}: {error}");
    }
    let (_, dir) = written(root.path());
    forge(&dir, |index| index.secrets = vec!["../shadow".into()]);
    let error = Bundle::load(&dir).unwrap_err().to_string();
    assert!(
        error.contains("`../shadow` is not a name for a secret"),
        "{error}"
    );
    forge(&dir, |index| {
        index.secrets.clear();
        index.files.push(index.files[0].clone());
    });
    let error = Bundle::load(&dir).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A file of many gigabytes that take no room, a pipe that nobody writes: neither is read nor waited for.
#[test]
fn what_is_no_ordinary_file_of_the_listed_size_is_refused_unread() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let sparse = fs::File::options()
        .write(true)
        .open(dir.join("flows.toml"))
        .unwrap();
    sparse.set_len(1 << 42).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Size { found, .. }) if found == 1 << 42));
    // The index may say so too.
    forge(&dir, |index| {
        let entry = index.files.iter_mut().find(|f| f.path == "flows.toml").unwrap();
        entry.size = 1 << 42;
    });
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Large { found, .. }) if found > 1 << 42));
    let (_, dir) = written(root.path());
    fs::File::options()
        .write(true)
        .open(dir.join("bundle.toml"))
        .unwrap()
        .set_len(1 << 42)
        .unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Large { .. })));

    for name in ["flows.toml", "bundle.toml"] {
        let (_, dir) = written(root.path());
        fs::remove_file(dir.join(name)).unwrap();
        fifo(&dir.join(name));
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            error.to_string().contains("not a regular file"),
            "{name}: {error}"
        );
    }
}

#[test]
fn what_is_read_later_is_still_what_was_verified() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let bundle = Bundle::load(&dir).unwrap();
    let text = bundle.read("flows.toml").unwrap();
    let all = || {
        let mut files = 0;
        bundle.hand_out(|_| {
            files += 1;
            Ok::<_, BundleError>(|_: &[u8]| Ok(()))
        })?;
        Ok::<_, BundleError>(files)
    };
    assert_eq!(all().unwrap(), bundle.index.files.len() + 1);
    let mut other = text.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(dir.join("flows.toml"), other).unwrap();
    assert!(matches!(bundle.read("flows.toml"), Err(BundleError::Hash { .. })));
    assert!(matches!(all(), Err(BundleError::Hash { .. })));
    fs::write(dir.join("flows.toml"), text).unwrap();
    forge(&dir, |index| index.compiler.push('x'));
    assert!(matches!(all(), Err(BundleError::Changed(_))));
    assert!(matches!(bundle.read("../secret"), Err(BundleError::Missing(_))));
}

#[test]
fn a_bundle_that_contradicts_itself_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let cases = [
        ("manager.toml", "ring = 1024", "ring = 1000"),
        ("manager.toml", "at = { nf = \"fw\" }", "at = { nf = \"wf\" }"),
        ("manager.toml", "next = 1\n", "next = 60000\n"),
        ("manager.toml", "name = \"lan\"", "name = \"wan\""),
        (
            "manager.toml",
            "at = { port = \"lan\" }",
            "lookup = true\nat = { port = \"lan\" }",
        ),
        ("nfs/guard-0.toml", "lookups = true", "lookups = false"),
        ("flows.toml", "chain = \"inspect\"", "chain = \"nowhere\""),
        ("flows.toml", "(tcp)", "(tpc)"),
        ("nfs/fw-0.toml", "files/", "filez/"),
        ("nfs/fw-0.toml", "files/", "../files/"),
    ];
    for (file, from, to) in cases {
        let (_, dir) = written(root.path());
        rewrite(&dir, file, from, to);
        let error = Bundle::load(&dir).expect_err(&format!("{file}: {to}"));
        assert!(!matches!(error, BundleError::Hash { .. }), "{error}");
    }
}

#[test]
fn compose_is_hardened_and_valid() {
    let (_, artifact) = build(FULL, &Inputs::default());
    let text = String::from_utf8(artifact.files["compose.yaml"].clone()).unwrap();
    let yaml: serde_norway::Value = serde_norway::from_str(&text).unwrap();
    let services = yaml["services"].as_mapping().unwrap();
    let names: Vec<&str> = services.keys().map(|k| k.as_str().unwrap()).collect();
    assert_eq!(names, ["fw-0", "ids-0", "ids-1", "guard-0", "mon-0"]);
    for (name, service) in services {
        let name = name.as_str().unwrap();
        assert_eq!(service["network_mode"].as_str(), Some("none"));
        assert_eq!(service["cap_drop"][0].as_str(), Some("ALL"));
        assert_eq!(
            service["security_opt"][0].as_str(),
            Some("no-new-privileges:true")
        );
        assert_eq!(service["read_only"].as_bool(), Some(true));
        assert_eq!(service["restart"].as_str(), Some("no"));
        assert!(!service["user"].as_str().unwrap().starts_with('0'));
        assert!(service["mem_limit"].as_u64().unwrap() >= 1 << 20);
        assert!(service["pids_limit"].as_u64().unwrap() > 0);
        assert!(service["cpuset"].as_str().unwrap().starts_with("${ONVM_CPUSET_"));
        let volumes = service["volumes"].as_sequence().unwrap();
        assert_eq!(volumes.len(), 1, "its own socket directory and nothing else");
        assert!(
            volumes[0]
                .as_str()
                .unwrap()
                .ends_with(&format!("/edge/nf/{name}:/run/onvm")),
            "{volumes:?}"
        );
        for forbidden in ["privileged", "pid", "ipc", "cap_add", "devices", "ports"] {
            assert!(service.get(forbidden).is_none(), "{forbidden}");
        }
    }
    let guard = &services["guard-0"];
    assert_eq!(guard["image"].as_str(), Some("acme/waf:2"));
    assert_eq!(
        guard["command"][1].as_str(),
        Some("it's $$HOME"),
        "Compose must not expand it"
    );
    let environment = guard["environment"].as_sequence().unwrap();
    assert!(
        environment.iter().any(|e| e.as_str() == Some("WAF_KEY")),
        "passed through by name alone"
    );
}

#[test]
fn a_program_without_nfs_has_valid_compose() {
    let (_, artifact) = build(
        "port wan = null {}\nsteer wan { else -> wan }\n",
        &Inputs::default(),
    );
    let text = String::from_utf8(artifact.files["compose.yaml"].clone()).unwrap();
    let yaml: serde_norway::Value = serde_norway::from_str(&text).unwrap();
    assert!(yaml["services"].as_mapping().unwrap().is_empty(), "{text}");
}

#[test]
fn the_files_read_well() {
    let (_, artifact) = build(FULL, &Inputs::default());
    let text = |name: &str| String::from_utf8(artifact.files[name].clone()).unwrap();
    insta::assert_snapshot!("manager.toml", text("manager.toml"));
    insta::assert_snapshot!("flows.toml", text("flows.toml"));
    insta::assert_snapshot!("compose.yaml", text("compose.yaml"));
    insta::assert_snapshot!("nfs_guard-0.toml", text("nfs/guard-0.toml"));
}

/// The examples that the project ships.
#[test]
fn every_example_compiles_cleanly() {
    let chains = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains");
    let files = fs::read_dir(chains).unwrap().map(|e| e.unwrap().path());
    let sources: Vec<PathBuf> = files
        .filter(|p| p.extension().is_some_and(|e| e == "chain"))
        .collect();
    assert!(!sources.is_empty());
    for source in sources {
        let checked = check(&onvmc::disk::DiskHost, &source, &Inputs::default()).unwrap();
        let shown = onvmc::render::human(&checked.sources, &checked.diagnostics, false, 100);
        assert!(checked.diagnostics.is_empty(), "{}\n{shown}", source.display());
        let artifact = Artifact::new(&checked.program.unwrap(), &checked.sources).unwrap();
        let root = tempfile::tempdir().unwrap();
        write_bundle(&artifact, &root.path().join("b")).unwrap();
        Bundle::load(&root.path().join("b")).unwrap();
    }
}
