//! What a case is run on: the NF's manifest, a chain with it, a capture.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nflib_testing::packet;
use onvm_api::{ApiError, SendReply, Status};
use onvm_tests::{
    Manager, Scratch, Summary, capture,
    manager::{SOON, all_have_left, instance},
};
use serde_json::Value;

use crate::programs;

pub(crate) const EFFECTS: &str = "[effects]\nreads = [\"ip.src\"]\n\
    writes = [\"ether\", \"ip.src\", \"ip.dst\", \"ip.ttl\", \"ip.dscp\", \"udp.src_port\", \"udp.dst_port\", \"vlan.id\"]\n\
    payload = \"write\"\ndrops = true\ngenerates = true\nsteers = true\nlookups = true\nprograms = true\n";

pub(crate) const PARAMS: &str = r#"
params = [
    { name = "flag", type = "bool", doc = "x" },
    { name = "offset", type = "int", doc = "x" },
    { name = "ratio", type = "decimal", doc = "x" },
    { name = "text", type = "string", doc = "x" },
    { name = "mode", type = "enum", values = ["slow", "fast"], doc = "x" },
    { name = "blob", type = "file", doc = "x" },
    { name = "key", type = "secret", doc = "x" },
    { name = "pause", type = "time", doc = "x" },
    { name = "room", type = "size", doc = "x" },
    { name = "bits", type = "bit_rate", doc = "x" },
    { name = "packets", type = "packet_rate", doc = "x" },
    { name = "address", type = "address", doc = "x" },
    { name = "prefix", type = "prefix", doc = "x" },
    { name = "mac", type = "mac", doc = "x" },
    { name = "endpoint", type = "endpoint", doc = "x" },
    { name = "ports", type = "int", list = true, doc = "x" },
    { name = "names", type = "string", list = true, doc = "x" },
    { name = "absent", type = "int", optional = true, doc = "x" },
    { name = "only", type = "filter", doc = "x" },
    { name = "rules", type = "rules", values = ["accept", "drop"], doc = "x" },
]
messages = [
    { name = "params", from = ["operator"], doc = "x" },
    { name = "refuse", from = ["operator"], doc = "x" },
    { name = "say", from = ["operator"], doc = "x" },
    { name = "tell", from = ["operator"], doc = "x", fields = [{ name = "n", type = "int", doc = "x" }] },
    { name = "hear", from = ["peers"], doc = "x", fields = [{ name = "n", type = "int", doc = "x" }] },
]
"#;

pub(crate) const GIVEN: &str = "flag = true, offset = -5, ratio = 2.5, mode = fast, blob = file(\"blob\"), key = secret(\"KEY\"), \
    pause = 5 ms, bits = 10 Mbps, packets = 2 kpps, address = 192.0.2.7, prefix = 10.0.0.0/8, mac = 02:00:00:00:00:07, \
    endpoint = 192.0.2.7:53, ports = [80, 443], names = [\"a\", \"b\"], only = udp src port 5000, \
    rules = {\nodd: drop udp src port 5001\naccept ip\n}";

pub(crate) const NO_EFFECTS: &str = "[effects]\nreads = [\"ip.src\"]\n";

pub(crate) struct Case {
    pub(crate) scratch: Scratch,
    /// The capture that its traffic is read from, as in a source.
    pub(crate) input: String,
    /// Its manifest permits everything.
    does_all: bool,
}

impl Case {
    /// With packets to these ports as its traffic.
    pub(crate) fn new(run: &'static str, effects: &str, ports: &[u16]) -> Self {
        let scratch = Scratch::new();
        let manifest = format!(
            "name = \"conform\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\nreconfigure = true\n\
             outputs = [{{ name = \"side\", doc = \"x\" }}]\n{PARAMS}\n[run]\n{run}\n{effects}\n\
             [resources]\nmemory = \"64 MiB\"\n"
        );
        scratch.write("conform.nf.toml", manifest);
        scratch.write("blob", b"a\0b");
        fs::create_dir(scratch.path("secrets")).unwrap();
        scratch.write("secrets/KEY", "hush\n");
        let packets: Vec<_> = ports.iter().map(|port| sent(5000, *port)).collect();
        capture::write(&scratch.path("in.pcap"), &packets);
        Self {
            scratch,
            input: "file(\"in.pcap\")".to_owned(),
            does_all: effects == EFFECTS,
        }
    }

    pub(crate) fn all(run: &'static str, ports: &[u16]) -> Self {
        Self::new(run, EFFECTS, ports)
    }

    /// Compiles it with these parameters beside those of all.
    pub(crate) fn bundle(&self, name: &str, params: &str, settings: &str) -> PathBuf {
        let out = |port: &str| self.scratch.path(&format!("{port}.pcap")).display().to_string();
        // The ids of ports count from 0, those of NFs from 1.
        let chain = format!(
            "use \"conform.nf.toml\" as conform\n\
             port wan = pcap {{ read = {} }}\nport lan = pcap {{ write = \"{}\" }}\n\
             port out = pcap {{ write = \"{}\" }}\nport side = pcap {{ write = \"{}\" }}\n\
             port looked = pcap {{ write = \"{}\" }}\nport quick = pcap {{ write = \"{}\" }}\nchain fast = quick\n\
             nf c = conform {{ {GIVEN}, {params} }} {settings}\nnf two = forward {{}}\n\
             steer wan {{\nudp dst port 7001 -> looked\nudp dst port 7002 -> two -> lan\nelse -> c {{ side -> side }} -> lan\n}}\n{}",
            self.input,
            out("lan"),
            out("out"),
            out("side"),
            out("looked"),
            out("quick"),
            match self.does_all {
                true =>
                    "allow c to steer two, out\nallow c to lookup\nallow c to program wan { udp -> fast }\n",
                false => "",
            }
        );
        self.scratch.build(&chain, name)
    }

    pub(crate) fn start(&self, bundle: &Path) -> Manager {
        let secrets = self.scratch.path("secrets");
        let arguments = ["--nf-path", programs::directory().to_str().unwrap()];
        let arguments = [&arguments[..], &["--secrets", secrets.to_str().unwrap()]].concat();
        Manager::start(bundle, "test", &self.scratch.run_dir(), &arguments)
    }

    pub(crate) fn ready(&self) -> Manager {
        self.ready_with("")
    }

    /// With these settings of the NF.
    pub(crate) fn ready_with(&self, settings: &str) -> Manager {
        let manager = self.start(&self.bundle("bundle", NORMAL, settings));
        manager.wait_for_log("READY");
        manager
    }

    /// Once all of its packets have left: the status, and the balance.
    pub(crate) fn done(&self, packets: u64) -> (Status, Summary) {
        let manager = self.ready();
        manager.wait_until("every packet has left", SOON, |s| all_have_left(s, packets));
        let status = manager.status();
        (status, manager.terminate_whole(0))
    }

    pub(crate) fn came_out(&self, port: &str) -> Vec<Vec<u8>> {
        capture::read(&self.scratch.path(&format!("{port}.pcap")))
    }
}

pub(crate) const NORMAL: &str = "text = \"hello\", room = 3 KiB";

pub(crate) fn sent(source: u16, port: u16) -> Vec<u8> {
    udp(source, port).build()
}

pub(crate) fn udp(source: u16, port: u16) -> packet::Frame<packet::Ip<packet::Udp>> {
    let ends = [format!("198.51.100.7:{source}"), format!("203.0.113.9:{port}")];
    packet::udp(ends[0].as_str(), ends[1].as_str()).payload(b"thirty bytes of some payload..")
}

pub(crate) fn counter(status: &Status, name: &str) -> u64 {
    let counters = &instance(status, "c-0").counters;
    *counters
        .get(name)
        .unwrap_or_else(|| panic!("no {name}: {counters:?}"))
}

pub(crate) fn answer(reply: Result<SendReply, ApiError>) -> Result<Value, String> {
    let answer = reply.unwrap().instances.remove(0);
    answer.error.map_or(Ok(answer.answer.unwrap_or_default()), Err)
}
