//! Two network namespaces that see each other only through a chain of three network functions. Needs root.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use onvm_tests::{
    Manager, Scratch, manager::SOON, namespace::Namespace, process::Background, programs::tool,
};

/// The example `veth.chain` between two namespaces.
struct Joined {
    manager: Manager,
    outside: Namespace,
    inside: Namespace,
    scratch: Scratch,
    _alone: MutexGuard<'static, ()>,
}

/// One test at a time: they measure losses.
static ALONE: Mutex<()> = Mutex::new(());

const INSIDE: &str = "10.9.0.2";

impl Joined {
    fn new(sides: [char; 2]) -> Self {
        Self::with(sides, "")
    }

    /// With declarations beside those of the example.
    fn with(sides: [char; 2], more: &str) -> Self {
        Self::edited(sides, |source| source.to_owned() + more)
    }

    fn edited(sides: [char; 2], edit: impl FnOnce(&str) -> String) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let outside = Namespace::new(sides[0], "10.9.0.1/24");
        let inside = Namespace::new(sides[1], "10.9.0.2/24");
        let scratch = Scratch::new();
        scratch.take_examples();
        let source = std::fs::read_to_string(scratch.path("veth.chain")).unwrap();
        scratch.write("veth.chain", edit(&source));
        let bundle = build(&scratch, "veth.chain", "veth.bundle", &outside, &inside);
        let manager = Manager::ready(&bundle, "veth", &scratch.run_dir(), &[]);
        Self {
            manager,
            outside,
            inside,
            scratch,
            _alone: alone,
        }
    }

    fn ping(&self, count: u32) -> Command {
        self.outside.command(
            "ping",
            &[
                "-n",
                "-q",
                "-i",
                "0.02",
                "-W",
                "2",
                "-c",
                &count.to_string(),
                INSIDE,
            ],
        )
    }

    /// Ends the manager; what the chain dropped by itself must be nothing.
    fn finish(self) -> onvm_tests::Summary {
        let summary = self.manager.terminate_whole(0);
        let lost = summary.balance.dropped - summary.dropped("shutdown");
        assert_eq!(lost, 0, "{:?}", summary.drops);
        summary
    }
}

fn build(scratch: &Scratch, file: &str, out: &str, outside: &Namespace, inside: &Namespace) -> PathBuf {
    scratch.build_as(
        file,
        "veth",
        out,
        &[("wan_if", &outside.interface), ("lan_if", &inside.interface)],
    )
}

fn assert_no_loss(ping: &str) {
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}

#[test]
fn ping_loses_nothing() {
    let joined = Joined::new(['a', 'b']);
    let line = Background::start(joined.ping(100));
    assert_no_loss(&line.finish(SOON));
    let summary = joined.finish();
    assert!(summary.balance.delivered >= 200);
}

/// A file that is served inside and fetched from outside.
struct Download {
    _server: Background,
    content: Vec<u8>,
    got: PathBuf,
    client: Background,
}

impl Download {
    fn start(joined: &Joined, bytes: u32) -> Self {
        let path = joined.scratch.path("big");
        // Bytes that repeat with no period that a buffer's size divides.
        let content: Vec<u8> = (0..bytes)
            .map(|i| (i % 8191 % 251) as u8 ^ (i >> 16) as u8)
            .collect();
        std::fs::write(&path, &content).unwrap();
        let directory = joined.scratch.path("");
        let directory = directory.to_str().unwrap();
        let arguments = [
            "-u",
            "-m",
            "http.server",
            "0",
            "--bind",
            INSIDE,
            "--directory",
            directory,
        ];
        let mut server = Background::start(joined.inside.command("python3", &arguments));
        let line = server.wait_for_line("port ");
        let port = line.split("port ").nth(1).and_then(|l| l.split(' ').next());
        let got = joined.scratch.path("got");
        let url = format!("http://{INSIDE}:{}/big", port.unwrap());
        let to = got.to_str().unwrap();
        let arguments = ["-sS", "--fail", "--max-time", "60", "-o", to, &url];
        let client = Background::start(joined.outside.command("curl", &arguments));
        Self {
            _server: server,
            content,
            got,
            client,
        }
    }

    /// It arrives as it is.
    fn finish(self) {
        self.client.finish(SOON);
        assert!(
            std::fs::read(&self.got).unwrap() == self.content,
            "what arrived is not what was sent"
        );
    }
}

#[test]
fn a_download_of_50_mb_arrives_as_it_is() {
    let joined = Joined::new(['c', 'd']);
    Download::start(&joined, 50_000_000).finish();
    joined.manager.terminate();
}

#[test]
fn iperf3_runs_through_the_chain() {
    let joined = Joined::new(['e', 'f']);
    let mut server = Background::start(joined.inside.command("iperf3", &["-s", "-1", "--forceflush"]));
    server.wait_for_line("listening");
    let client = joined.outside.command("iperf3", &["-c", INSIDE, "-t", "3", "-J"]);
    let report: serde_json::Value = serde_json::from_str(&Background::start(client).finish(SOON)).unwrap();
    let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap_or(0);
    assert!(received > 1_000_000, "{report:#}");
    drop(server);
    joined.manager.terminate();
}

/// One receive queue each way, whose flows a receiver spreads over two workers; each serves every instance.
#[test]
fn ping_and_iperf3_go_through_several_workers() {
    let joined = Joined::with(['k', 'l'], "manager { receivers = 1, workers = 2 }\n");
    let ping = Background::start(joined.ping(50));
    assert_no_loss(&ping.finish(SOON));
    let mut server = Background::start(joined.inside.command("iperf3", &["-s", "-1", "--forceflush"]));
    server.wait_for_line("listening");
    let client = joined
        .outside
        .command("iperf3", &["-c", INSIDE, "-t", "3", "-P", "8", "-J"]);
    let report: serde_json::Value = serde_json::from_str(&Background::start(client).finish(SOON)).unwrap();
    let streams = report["end"]["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 8, "{report:#}");
    for stream in streams {
        assert!(
            stream["receiver"]["bytes"].as_u64().unwrap_or(0) > 10_000,
            "{report:#}"
        );
    }
    drop(server);
    joined.manager.terminate();
}

#[test]
fn ten_edits_lose_no_ping() {
    let joined = Joined::new(['g', 'h']);
    let source = std::fs::read_to_string(joined.scratch.path("veth.chain")).unwrap();
    // Edits in turn: ICMP on a chain with an NF more, and everything as it was.
    let edited = source.replace("steer wan { else", "nf icmp_mon = monitor { every = 1 s }\nchain pings = fw -> icmp_mon -> lan\nsteer wan { icmp -> pings else");
    assert_ne!(edited, source);
    joined.scratch.write("edited.chain", edited);
    let bundles = [("edited.chain", "1"), ("veth.chain", "2")]
        .map(|(file, out)| build(&joined.scratch, file, out, &joined.outside, &joined.inside));
    let ping = Background::start(joined.ping(250));
    joined.manager.wait_for_traffic(20, SOON);
    for bundle in bundles.iter().cycle().take(10) {
        let reply = joined
            .manager
            .apply(bundle, None)
            .unwrap_or_else(|e| panic!("{e}\n{}", joined.manager.log()));
        assert_ne!(reply.generation, reply.previous);
        joined.manager.wait_for_traffic(10, SOON);
    }
    assert_no_loss(&ping.finish(SOON));
    joined.finish();
}

/// Replicas come and go under datagrams that carry sequence numbers, of flows that began before and after.
#[test]
fn scaling_and_edits_lose_and_reorder_nothing() {
    let scaled = "{ every = 1 s } with { replicas = 1..3 }";
    let joined = Joined::edited(['m', 'n'], |source| {
        source.replacen("{ every = 1 s }", scaled, 1) + "manager { receivers = 1, workers = 2 }\n"
    });
    let source = std::fs::read_to_string(joined.scratch.path("veth.chain")).unwrap();
    let edit = |rule: &str| {
        let edited = source.replacen("steer wan { ", &format!("steer wan {{ {rule} "), 1);
        let name = format!("{}.chain", rule.len());
        joined.scratch.write(&name, edited);
        let out = name.replace('.', "-");
        let bundle = build(&joined.scratch, &name, &out, &joined.outside, &joined.inside);
        let reply = joined.manager.apply(&bundle, None);
        reply.unwrap_or_else(|e| panic!("{e}\n{}", joined.manager.log()));
        joined.manager.wait_for_traffic(200, SOON);
    };
    let scale = |replicas: u16| {
        let reply = joined.manager.scale("mon", Some(replicas));
        let reply = reply.unwrap_or_else(|e| panic!("{e}\n{}", joined.manager.log()));
        joined.manager.wait_for_traffic(200, SOON);
        reply
    };
    let iperf3 = |port: &str| {
        let serve = ["-s", "-1", "--forceflush", "-p", port];
        let mut server = Background::start(joined.inside.command("iperf3", &serve));
        server.wait_for_line("listening");
        let arguments = [
            "-c", INSIDE, "-p", port, "-u", "-b", "1M", "-l", "500", "-t", "6", "-P", "8", "-J",
        ];
        let client = Background::start(joined.outside.command("iperf3", &arguments));
        (server, client)
    };
    let ping = Background::start(joined.ping(250));
    let before = iperf3("5201");
    joined.manager.wait_for_traffic(1000, SOON);
    assert_eq!(scale(3).started, ["mon-1", "mon-2"]);
    let after = iperf3("5202");
    joined.manager.wait_for_traffic(1000, SOON);
    edit("udp port 9 -> drop");
    assert_eq!(scale(1).draining, ["mon-1", "mon-2"]);
    edit("");
    // One of the two comes back if a flow of iperf3's random ports is still its own; else one is started.
    scale(2);
    let report = |(server, client): (Background, Background)| -> serde_json::Value {
        let report = serde_json::from_str(&client.finish(SOON)).unwrap();
        drop(server);
        report
    };
    for report in [report(before), report(after)] {
        let streams = report["end"]["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 8, "{report:#}");
        for stream in streams {
            assert_eq!(stream["udp"]["out_of_order"].as_u64(), Some(0), "{report:#}");
            assert!(
                stream["udp"]["packets"].as_u64().unwrap_or(0) > 1000,
                "{report:#}"
            );
        }
    }
    assert_no_loss(&ping.finish(SOON));
    joined.finish();
}

/// The counters of a namespace's TCP, by name.
fn tcp_counters(namespace: &Namespace) -> BTreeMap<String, u64> {
    let text = namespace.tool(&["cat", "/proc/net/snmp"]);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let [names, values] = [(); 2].map(|()| lines.next().unwrap_or_default().split(' '));
    names
        .zip(values)
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(0)))
        .collect()
}

/// With windows that keep what is under way within what the NFs may hold, nothing is lost that anybody would notice.
#[test]
fn scaling_and_edits_reset_no_connection_and_lose_no_ping() {
    let scaled = "{ every = 1 s } with { replicas = 1..3 }";
    let joined = Joined::edited(['o', 'p'], |source| {
        source.replacen("{ every = 1 s }", scaled, 1) + "manager { receivers = 1, workers = 2 }\n"
    });
    for namespace in [&joined.outside, &joined.inside] {
        for buffer in ["tcp_rmem", "tcp_wmem"] {
            let setting = format!("net.ipv4.{buffer}=4096 65536 131072");
            namespace.tool(&["sysctl", "-qw", &setting]);
        }
    }
    let source = std::fs::read_to_string(joined.scratch.path("veth.chain")).unwrap();
    joined.scratch.write(
        "edited.chain",
        source.replacen("steer wan { ", "steer wan { udp port 9 -> drop ", 1),
    );
    let bundles = ["edited.chain", "veth.chain"].map(|file| {
        build(
            &joined.scratch,
            file,
            &file.replace('.', "-"),
            &joined.outside,
            &joined.inside,
        )
    });
    let changed = |reply: Result<(), String>| {
        reply.unwrap_or_else(|e| panic!("{e}\n{}", joined.manager.log()));
        joined.manager.wait_for_traffic(2000, SOON);
    };
    let scale = |replicas| {
        changed(
            joined
                .manager
                .scale("mon", Some(replicas))
                .map(drop)
                .map_err(|e| e.to_string()),
        )
    };
    let edit = |bundle: &PathBuf| {
        changed(
            joined
                .manager
                .apply(bundle, None)
                .map(drop)
                .map_err(|e| e.to_string()),
        )
    };

    let ping = Background::start(joined.ping(500));
    let mut server = Background::start(joined.inside.command("iperf3", &["-s", "-1", "--forceflush"]));
    server.wait_for_line("listening");
    let arguments = ["-c", INSIDE, "-t", "12", "-P", "8", "-J"];
    let streams = Background::start(joined.outside.command("iperf3", &arguments));
    let download = Download::start(&joined, 200_000_000);
    joined.manager.wait_for_traffic(1000, SOON);
    scale(3);
    edit(&bundles[0]);
    scale(1);
    edit(&bundles[1]);
    scale(2);
    // The control connection and eight streams; at its end iperf3 resets them itself.
    for namespace in [&joined.outside, &joined.inside] {
        let counters = tcp_counters(namespace);
        assert!(counters["CurrEstab"] >= 9, "{counters:?}");
        assert_eq!(counters["EstabResets"], 0, "{counters:?}");
    }

    let report: serde_json::Value = serde_json::from_str(&streams.finish(SOON)).unwrap();
    let streams = report["end"]["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 8, "{report:#}");
    for stream in streams {
        let bytes = stream["receiver"]["bytes"].as_u64().unwrap_or(0);
        assert!(bytes > 100_000, "{report:#}");
    }
    download.finish();
    assert_no_loss(&ping.finish(SOON));
    drop(server);
    joined.finish();
}

#[test]
fn no_interface_is_left_or_changed() {
    let joined = Joined::new(['i', 'j']);
    let interface = joined.outside.interface.clone();
    let show = || {
        let text = tool("ip", &["-o", "link", "show", &interface]);
        // The flags, such as promiscuity, not the counters or the order of links.
        text.split('<')
            .nth(1)
            .and_then(|t| t.split('>').next())
            .unwrap()
            .to_owned()
    };
    assert!(show().contains("UP"));
    joined.manager.terminate().assert_nothing_left();
    assert!(!show().contains("PROMISC"), "{}", show());
}
