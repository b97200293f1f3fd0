//! What is written is what was meant, the same every time, and refused once anybody has touched it.

mod compose;
mod damage;
mod edits;

use std::{
    fs,
    path::{Path, PathBuf},
};

use onvm_bundle::{
    Bundle, BundleError, FileEntry, HugePages, Idle, Index, InstanceConfig, PathRef, PortKind, Target,
    diff::{Action, diff},
    generation_id, hash_bytes,
};
use onvmc::{Inputs, Program, artifact::Artifact, check, host::MemoryHost};
use onvmc_cli::disk::{DiskHost, write_bundle};

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
    with { replicas = 2..3, memory = 64 MiB, cores = 1, numa = 0, restart = on_failure }
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
    // The sources here use every setting and every kind of port.
    let expected = |code: &str| ["C0504", "C0614", "C0615"].contains(&code);
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
        format!("files/{}-edge.rules", &hash_bytes(b"drop rule_1 (tcp)\n")[..16])
    );
    let instances: Vec<&InstanceConfig> = program
        .instances
        .values()
        .filter(|i| i.service == "ids")
        .collect();
    assert_eq!(instances.len(), 3, "the high end of a range");
    let ids = m.services.iter().find(|s| s.name == "ids").unwrap();
    assert_eq!(ids.replicas(), onvm_bundle::Replicas { min: 2, max: 3 });
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
    let chains = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chains");
    let files = fs::read_dir(chains).unwrap().map(|e| e.unwrap().path());
    let sources: Vec<PathBuf> = files
        .filter(|p| p.extension().is_some_and(|e| e == "chain"))
        .collect();
    assert!(!sources.is_empty());
    for source in sources {
        let checked = check(&DiskHost, &source, &Inputs::default()).unwrap();
        let shown = onvmc::render::human(&checked.sources, &checked.diagnostics, false, 100);
        assert!(checked.diagnostics.is_empty(), "{}\n{shown}", source.display());
        let artifact = Artifact::new(&checked.program.unwrap(), &checked.sources).unwrap();
        let root = tempfile::tempdir().unwrap();
        write_bundle(&artifact, &root.path().join("b")).unwrap();
        Bundle::load(&root.path().join("b")).unwrap();
    }
}
