//! Ports on interfaces as the kernel makes them: offloads on, tags of all kinds, large frames, and links that go and come back.
//! Needs root.

use std::{path::PathBuf, time::Duration};

use onvm_tests::{
    Manager, Scratch,
    manager::SOON,
    namespace::Namespace,
    process::{Background, wait_for},
    programs::tool,
};

const OUTSIDE: &str = "10.9.0.1";
const INSIDE: &str = "10.9.0.2";

/// Two namespaces with a chain between them.
struct Joined {
    manager: Manager,
    outside: Namespace,
    inside: Namespace,
    scratch: Scratch,
}

impl Joined {
    /// `port` stands in the settings of both ports, `manager` before them.
    fn new(sides: [char; 2], port: &str, manager: &str) -> Self {
        let outside = Namespace::new(sides[0], &format!("{OUTSIDE}/24"));
        let inside = Namespace::new(sides[1], &format!("{INSIDE}/24"));
        Self::between(outside, inside, port, manager)
    }

    fn between(outside: Namespace, inside: Namespace, port: &str, manager: &str) -> Self {
        Self::on("af_packet", outside, inside, port, manager)
    }

    fn on(kind: &str, outside: Namespace, inside: Namespace, port: &str, manager: &str) -> Self {
        let scratch = Scratch::new();
        let (a, b) = (&outside.interface, &inside.interface);
        let bundle = scratch.build(
            &format!(
                "{manager}\nport wan = {kind} {{ interface = \"{a}\"{port} }}\nport lan = {kind} {{ interface = \"{b}\"{port} }}\n\
                 nf look = monitor {{}}\nsteer wan {{ else -> look -> lan }}\nsteer lan {{ else -> look -> wan }}\n"
            ),
            "out.bundle",
        );
        let manager = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
        Self {
            manager,
            outside,
            inside,
            scratch,
        }
    }

    fn ping(&self, arguments: &[&str]) -> String {
        let common = ["-n", "-q", "-i", "0.02", "-W", "2"];
        let all = [&common[..], arguments, &[INSIDE]].concat();
        Background::start(self.outside.command("ping", &all)).finish(SOON)
    }

    fn link(&self, port: &str) -> Option<String> {
        let status = self.manager.status();
        status.ports.into_iter().find(|p| p.name == port).unwrap().link
    }
}

/// What a capture at the far end holds of some packets, a line each.
struct Capture {
    tcpdump: Background,
    file: PathBuf,
}

impl Capture {
    fn begin(joined: &Joined, filter: &str) -> Self {
        let file = joined.scratch.path("far.pcap");
        // What it says of itself goes to standard error.
        let line = format!(
            "exec tcpdump --immediate-mode -B 20480 -i eth0 -U -p -Q in -w {} '{filter}' 2>&1",
            file.display()
        );
        let mut tcpdump = Background::start(joined.inside.command("sh", &["-c", &line]));
        tcpdump.wait_for_line("listening on");
        Self { tcpdump, file }
    }

    /// The file, once nothing more is written to it.
    fn end(self) -> PathBuf {
        let mut length = 0;
        let still = || {
            std::thread::sleep(Duration::from_millis(200));
            let now = std::fs::metadata(&self.file).unwrap().len();
            (std::mem::replace(&mut length, now) == now).then_some(())
        };
        wait_for(SOON, still).expect("a capture ends");
        drop(self.tcpdump);
        self.file
    }

    /// The fields of each packet, as tshark shows them.
    fn fields(self, options: &[&str], fields: &[&str]) -> Vec<Vec<String>> {
        let file = self.end();
        let mut arguments = vec!["-r", file.to_str().unwrap(), "-T", "fields"];
        arguments.extend_from_slice(options);
        fields.iter().for_each(|field| arguments.extend(["-e", field]));
        let text = tool("tshark", &arguments);
        text.lines()
            .map(|line| line.split('\t').map(str::to_owned).collect())
            .collect()
    }
}

#[test]
fn tcp_runs_where_the_kernel_leaves_checksums_and_segments_to_a_card() {
    let joined = Joined::new(['q', 'r'], "", "");
    let capture = Capture::begin(&joined, "tcp");
    let mut server = Background::start(joined.inside.command("iperf3", &["-s", "-1", "--forceflush"]));
    server.wait_for_line("listening");
    let client = joined
        .outside
        .command("iperf3", &["-c", INSIDE, "-n", "8M", "-J"]);
    let report: serde_json::Value = serde_json::from_str(&Background::start(client).finish(SOON)).unwrap();
    let received = report["end"]["sum_received"]["bytes"].as_u64().unwrap_or(0);
    // It reports what had arrived when the sender had written all.
    assert!(received >= 4 << 20, "{report:#}");
    let rows = capture.fields(
        &["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"],
        &["frame.len", "tcp.checksum.status", "ip.checksum.status"],
    );
    // The capture may lose some.
    assert!(rows.len() > 1000, "{} packets were captured", rows.len());
    for row in &rows {
        assert!(
            row[0].parse::<usize>().unwrap() <= 1514,
            "longer than the MTU: {row:?}"
        );
        assert_eq!(row[1..], ["1", "1"], "a checksum is wrong: {row:?}");
    }
    joined.manager.terminate_whole(0);
}

/// Sends frames with one, two and three tags, whose outer one the kernel takes off for a card's sake.
const SEND_TAGGED: &str = "
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for n, tags in enumerate([[0x8100], [0x88a8], [0x88a8, 0x8100], [0x8100, 0x8100], [0x88a8, 0x88a8, 0x8100], []]):
    head = b'\\xff' * 6 + bytes([2, 0, 0, 0, 0, n])
    for i, tag in enumerate(tags):
        head += struct.pack('!HH', tag, 0xa000 + 16 * n + i)
    s.send(head + struct.pack('!H', 0x88b5) + bytes([n]) * 60)
";

/// Each takes memory of DPDK's for its packets.
#[test]
fn two_af_xdp_ports_carry_packets() {
    let outside = Namespace::new('m', &format!("{OUTSIDE}/24"));
    let inside = Namespace::new('n', &format!("{INSIDE}/24"));
    let joined = Joined::on("af_xdp", outside, inside, "", "");
    let said = joined.ping(&["-c", "50"]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    joined.manager.terminate().assert_nothing_left();
}

/// Whatever their names and run directories are.
#[test]
fn an_interface_has_one_manager() {
    let joined = Joined::new(['o', 'p'], "", "");
    let scratch = Scratch::new();
    let interface = joined.outside.interface.as_str();
    let chain = format!(
        "port a = af_packet {{ interface = \"{interface}\" }}\nport b = null\nsteer a {{ else -> b }}\n"
    );
    scratch.write("other.chain", chain);
    let bundle = scratch.build_as("other.chain", "other", "other.bundle", &[]);
    let start = || Manager::start(&bundle, "other", &scratch.run_dir(), &[]);
    let holder = format!("`test` (process {})", joined.manager.pid());
    let words = ["port `a`", interface, holder.as_str(), "`onvmc stop test`"];
    start().finish(SOON).assert_refused(&words);
    joined.manager.terminate().assert_nothing_left();
    let manager = start();
    manager.wait_for_log("READY");
    manager.terminate().assert_nothing_left();
}

#[test]
fn tags_of_every_protocol_number_are_what_they_were() {
    let joined = Joined::new(['s', 't'], "", "");
    let capture = Capture::begin(
        &joined,
        "ether src host 02:00:00:00:00:00 or (ether[6] = 2 and ether[7] = 0 and ether[10] = 0)",
    );
    joined.outside.tool(&["python3", "-c", SEND_TAGGED]);
    joined
        .manager
        .wait_until("all frames have left", SOON, |s| s.balance.delivered >= 6);
    let frames = onvm_tests::capture::read(&capture.end());
    let mut got: Vec<Vec<u8>> = frames
        .into_iter()
        .filter(|f| f[6..11] == [2, 0, 0, 0, 0])
        .collect();
    got.sort_by_key(|f| f[11]);
    let tags: [&[u16]; 6] = [
        &[0x8100],
        &[0x88a8],
        &[0x88a8, 0x8100],
        &[0x8100, 0x8100],
        &[0x88a8, 0x88a8, 0x8100],
        &[],
    ];
    let sent = tags.iter().enumerate().map(|(n, tags)| {
        let mut frame = [[0xff; 6], [2, 0, 0, 0, 0, n as u8]].concat();
        for (i, tag) in tags.iter().enumerate() {
            frame.extend(tag.to_be_bytes());
            frame.extend((0xa000 + 16 * n as u16 + i as u16).to_be_bytes());
        }
        frame.extend(0x88b5_u16.to_be_bytes());
        frame.extend([n as u8; 60]);
        frame
    });
    assert_eq!(got, sent.collect::<Vec<_>>());
    joined.manager.terminate_whole(0);
}

#[test]
fn large_frames_pass_and_the_interface_is_left_as_it_was() {
    let outside = Namespace::new('u', &format!("{OUTSIDE}/24"));
    let inside = Namespace::new('v', &format!("{INSIDE}/24"));
    for namespace in [&outside, &inside] {
        namespace.tool(&["ip", "link", "set", "eth0", "mtu", "9000"]);
    }
    let joined = Joined::between(outside, inside, ", mtu = 9000", "manager { mtu = 9000 }");
    let mtu = |interface: &str| std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).unwrap();
    assert_eq!(mtu(&joined.outside.interface), "9000\n");
    let said = joined.ping(&["-c", "20", "-M", "do", "-s", "8972"]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    joined.manager.terminate_whole(0);
    for interface in [&joined.outside.interface, &joined.inside.interface] {
        assert_eq!(mtu(interface), "1500\n", "{interface}");
    }
}

#[test]
fn what_a_link_does_not_carry_is_refused_and_one_that_comes_back_is_used() {
    let joined = Joined::new(['w', 'x'], "", "");
    let said = joined.ping(&["-c", "5"]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    assert_eq!(joined.link("lan").as_deref(), Some("up"));

    // The far end is switched off: no carrier.
    joined.inside.tool(&["ip", "link", "set", "eth0", "down"]);
    joined.manager.wait_for_log("its link is down");
    let before = joined.manager.status();
    joined.outside.tool(&["python3", "-c", SEND_TAGGED]);
    let refused = |s: &onvm_api::Status| {
        s.drops
            .iter()
            .filter(|d| d.reason == "port_refused")
            .map(|d| d.packets)
            .sum::<u64>()
    };
    let after = joined
        .manager
        .wait_until("all are refused", SOON, |s| refused(s) >= refused(&before) + 6);
    let sent = |s: &onvm_api::Status| s.ports.iter().find(|p| p.name == "lan").unwrap().tx_packets;
    assert_eq!(sent(&after), sent(&before));
    assert_eq!(joined.link("lan").as_deref(), Some("down"));
    let capture = Capture::begin_when_up(&joined);
    joined.manager.wait_until("the link is up", SOON, |s| {
        s.ports.iter().all(|p| p.link.as_deref() == Some("up"))
    });
    let said = joined.ping(&["-c", "20"]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    let late = capture.fields(&["-Y", "eth.type == 0x88b5 or vlan"], &["frame.number"]);
    assert_eq!(
        late,
        Vec::<Vec<String>>::new(),
        "packets were sent after the link came back"
    );

    // The interface goes, and another one of its name comes.
    joined.inside.unplug();
    joined.manager.wait_for_log("its interface is gone");
    assert_eq!(joined.link("lan").as_deref(), Some("gone"));
    joined.outside.tool(&["python3", "-c", SEND_TAGGED]);
    let before = refused(&after);
    joined
        .manager
        .wait_until("all are refused", SOON, |s| refused(s) >= before + 6);
    joined.inside.plug(&format!("{INSIDE}/24"));
    joined.manager.wait_until("the link is up", SOON, |s| {
        s.ports.iter().all(|p| p.link.as_deref() == Some("up"))
    });
    // The new one has another address.
    joined.outside.tool(&["ip", "neigh", "flush", "all"]);
    let said = joined.ping(&["-c", "20"]);
    assert!(said.contains(" 0% packet loss"), "{said}");
    joined.manager.terminate_whole(0);
}

/// As for a virtual machine or a container: the interface is then not in the manager's namespace.
#[test]
fn tap_interfaces_serve_other_namespaces_with_large_frames() {
    let scratch = Scratch::new();
    let pid = std::process::id();
    let taps = ["a", "b"].map(|side| format!("ovt{pid}{side}"));
    let [a, b] = &taps;
    let chain = format!(
        "manager {{ mtu = 9000 }}\nport wan = tap {{ name = \"{a}\", mtu = 9000, mac = 02:00:00:00:00:07 }}\n\
         port lan = tap {{ name = \"{b}\", mtu = 9000 }}\nnf look = monitor {{}}\n\
         steer wan {{ else -> look -> lan }}\nsteer lan {{ else -> look -> wan }}\n"
    );
    let manager = Manager::ready(
        &scratch.build(&chain, "out.bundle"),
        "test",
        &scratch.run_dir(),
        &[],
    );
    let shown = tool("ip", &["link", "show", a]);
    assert!(
        shown.contains("mtu 9000") && shown.contains("02:00:00:00:00:07"),
        "{shown}"
    );
    let namespaces = ['y', 'z'].map(|side| Namespace::new(side, "10.9.1.1/24"));
    for (n, (namespace, tap)) in namespaces.iter().zip(&taps).enumerate() {
        namespace.take(tap);
        namespace.tool(&["ip", "addr", "add", &format!("10.9.9.{}/24", n + 1), "dev", tap]);
        namespace.tool(&["ip", "link", "set", tap, "up"]);
    }
    let ping = [
        "-n", "-q", "-i", "0.02", "-c", "20", "-M", "do", "-s", "8972", "10.9.9.2",
    ];
    let said = Background::start(namespaces[0].command("ping", &ping)).finish(SOON);
    assert!(said.contains(" 0% packet loss"), "{said}");
    let log = manager.log();
    assert!(!log.contains("gone") && !log.contains("down"), "{log}");
    manager.terminate().assert_nothing_left();
    let left = namespaces[0].tool(&["ip", "-o", "link"]);
    assert!(!left.contains(a.as_str()), "{left}");
}

impl Capture {
    /// Switches the far end on and captures from the first packet on.
    fn begin_when_up(joined: &Joined) -> Self {
        joined.inside.tool(&["ip", "link", "set", "eth0", "up"]);
        Self::begin(joined, "")
    }
}
