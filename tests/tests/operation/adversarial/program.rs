//! Random programs and assertions about them.

use std::fmt::{self, Write};

use onvm_tests::Scratch;

use super::Random;

/// Ports with traffic, which are the first of [`PORTS`].
pub(crate) const IN_PORTS: usize = 2;
pub(crate) const PORTS: [&str; 5] = ["p0", "p1", "q0", "q1", "q2"];
const NFS: usize = 4;
/// Header fields that the functions know how to write.
pub(crate) const FIELDS: [&str; 8] = [
    "ether.src",
    "ip.dscp",
    "ip.ttl",
    "ip.src",
    "ip.dst",
    "tcp.dst_port",
    "udp.dst_port",
    "tcp.window",
];

/// A test of a filter, the fields that it reads, and what it means for the packets of this suite.
type Atom = (&'static str, &'static [&'static str], fn(&[u8]) -> bool);

const ATOMS: [Atom; 10] = [
    ("tcp", &[], |p| p[23] == 6),
    ("udp", &[], |p| p[23] == 17),
    ("greater 120", &[], |p| p.len() >= 120),
    ("tcp dst port 80", &["tcp.dst_port"], |p| {
        p[23] == 6 && p[37] == 80
    }),
    ("dst port 99", &["tcp.dst_port", "udp.dst_port"], |p| {
        p[36..38] == [0, 99]
    }),
    ("dst host 203.0.113.10", &["ip.dst"], |p| p[33] == 10),
    ("src net 198.51.128.0/17", &["ip.src"], |p| p[28] >= 128),
    ("ip[8] = 7", &["ip.ttl"], |p| p[22] == 7),
    ("dscp 46", &["ip.dscp"], |p| p[15] == 46 << 2),
    ("ether src 02:00:00:00:00:09", &["ether.src"], |p| p[11] == 9),
];

/// One atom, its contrary, or two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    All,
    Is(usize),
    Not(usize),
    Both(usize, usize),
    Either(usize, usize),
}

impl Filter {
    /// Of those that read no other header fields than these.
    fn random(random: &mut Random, read: &[&str]) -> Self {
        let allowed: Vec<usize> = (0..ATOMS.len())
            .filter(|&n| ATOMS[n].1.iter().all(|field| read.contains(field)))
            .collect();
        let (a, b) = (random.of(&allowed), random.of(&allowed));
        match random.below(5) {
            0 => Self::Not(a),
            1 => Self::Both(a, b),
            2 => Self::Either(a, b),
            _ => Self::Is(a),
        }
    }

    pub(crate) fn matches(self, packet: &[u8]) -> bool {
        let is = |n: usize| ATOMS[n].2(packet);
        match self {
            Self::All => true,
            Self::Is(a) => is(a),
            Self::Not(a) => !is(a),
            Self::Both(a, b) => is(a) && is(b),
            Self::Either(a, b) => is(a) || is(b),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |n: usize| ATOMS[n].0;
        match *self {
            Self::All => f.write_str("all"),
            Self::Is(a) => f.write_str(text(a)),
            Self::Not(a) => write!(f, "not ({})", text(a)),
            Self::Both(a, b) => write!(f, "({}) and ({})", text(a), text(b)),
            Self::Either(a, b) => write!(f, "({}) or ({})", text(a), text(b)),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    ReachesPort(&'static str),
    NeverReachesPort(&'static str),
    /// Of functions, which stamp what they hold.
    Passes(usize),
    PassesBefore(usize, &'static str),
    NeverPasses(usize),
    Dropped,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assertion {
    /// Among those with traffic.
    pub(crate) port: usize,
    pub(crate) filter: Filter,
    pub(crate) claim: Claim,
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "assert {}: {} ", PORTS[self.port], self.filter)?;
        match &self.claim {
            Claim::ReachesPort(port) => write!(f, "reaches {port}"),
            Claim::NeverReachesPort(port) => write!(f, "never reaches {port}"),
            Claim::Passes(nf) => write!(f, "passes n{nf}"),
            Claim::PassesBefore(nf, port) => write!(f, "passes n{nf} before {port}"),
            Claim::NeverPasses(nf) => write!(f, "never passes n{nf}"),
            Claim::Dropped => f.write_str("dropped"),
        }
    }
}

/// Assertions, most of them wrong. In a `wild` program they are about all packets, and not about stamps, which are written to.
pub(crate) fn candidates(random: &mut Random, wild: bool) -> Vec<Assertion> {
    let mut all = Vec::new();
    for port in 0..IN_PORTS {
        let mut filters = vec![Filter::All];
        if !wild {
            filters.extend(ATOMS.iter().enumerate().map(|(n, _)| Filter::Is(n)));
            filters.extend((0..6).map(|_| Filter::random(random, &FIELDS)));
        }
        for filter in filters {
            let mut claims = vec![Claim::Dropped];
            claims.extend(PORTS.map(Claim::NeverReachesPort));
            claims.extend(PORTS.map(Claim::ReachesPort));
            if !wild {
                claims.extend((0..NFS).flat_map(|nf| [Claim::Passes(nf), Claim::NeverPasses(nf)]));
                claims.push(Claim::PassesBefore(random.below(NFS), random.of(&PORTS)));
            }
            let assertion = |claim| Assertion { port, filter, claim };
            all.extend(claims.into_iter().map(assertion));
        }
    }
    all
}

pub(crate) struct Program {
    pub(crate) text: String,
}

impl Program {
    /// Its rules read `read`, and its functions write other fields than these wherever they like.
    pub(crate) fn random(random: &mut Random, read: &[&str], wild: bool, scratch: &Scratch) -> Self {
        let rules: Vec<Vec<Filter>> = (0..IN_PORTS)
            .map(|_| {
                (0..1 + random.below(4))
                    .map(|_| Filter::random(random, read))
                    .collect()
            })
            .collect();
        let mut text = String::from("manager { buffers = 2048, max_hops = 6, hugepages = off }\n");
        for port in PORTS {
            let read = match &port[..1] {
                "p" => format!("read = file(\"{port}.in\"), "),
                _ => String::new(),
            };
            let write = scratch.path(&format!("{port}.out"));
            _ = writeln!(
                text,
                "port {port} = pcap {{ {read}write = \"{}\" }}",
                write.display()
            );
        }
        for n in 0..NFS {
            text += &nf(random, n, wild, read, scratch);
        }
        for n in 0..3 {
            _ = writeln!(text, "chain c{n} = {}", line(random, 0));
        }
        for (port, rules) in rules.iter().enumerate() {
            _ = writeln!(text, "steer {} {{", PORTS[port]);
            for rule in rules {
                _ = writeln!(text, "    {rule} -> {}", target(random));
            }
            _ = writeln!(text, "    else -> {}\n}}", target(random));
        }
        for n in 0..NFS {
            text += &permits(random, n, wild);
            text += &programs(random, n, read);
        }
        Self { text }
    }

    pub(crate) fn with(&self, assertions: &[Assertion]) -> String {
        assertions
            .iter()
            .fold(self.text.clone(), |text, a| format!("{text}{a}\n"))
    }

    /// The assertions that hold; none for a program that is not one.
    pub(crate) fn prove(&self, scratch: &Scratch, candidates: &[Assertion]) -> Option<Vec<Assertion>> {
        let path = scratch.write("proofs.chain", self.with(candidates));
        let output = onvm_tests::programs::command("onvmc")
            .args(["check", "--json"])
            .arg(path)
            .current_dir(scratch.path(""))
            .output()
            .unwrap();
        let said: serde_json::Value = serde_json::from_slice(&output.stderr)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let before = self.text.lines().count();
        let mut holds = vec![true; candidates.len()];
        for found in said["diagnostics"].as_array().unwrap() {
            match found["code"].as_str().unwrap() {
                "C0607" | "C0608" => {
                    let line = found["labels"][0]["line"].as_u64().unwrap() as usize;
                    holds[line - before - 1] = false;
                }
                _ if found["severity"] == "error" => {
                    println!("not a program: {found}");
                    return None;
                }
                _ => {}
            }
        }
        let mut holds = holds.into_iter();
        let holding = candidates.iter().filter(|_| holds.next() == Some(true));
        Some(holding.cloned().collect())
    }
}

/// A function and its type. Of the fields that its manifest names it writes those in packets that it holds; those that no rule
/// reads, everywhere.
fn nf(random: &mut Random, n: usize, wild: bool, read: &[&str], scratch: &Scratch) -> String {
    let mut writes = FIELDS.to_vec();
    writes.retain(|_| random.one_in(2));
    writes.push("ip.checksum");
    let param = |name: &str, kind: &str| {
        format!("[[params]]\nname = \"{name}\"\ntype = \"{kind}\"\ndoc = \"For the test.\"\n")
    };
    let output = |name: &str| {
        format!("[[outputs]]\nname = \"{name}\"\ndoc = \"For the test.\"\nmust_handle = false\n")
    };
    let manifest = [
        format!("name = \"t{n}\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\nbypassable = true\n"),
        "[run]\nbinary = \"test-nf\"\nargs = [\"rogue\"]\n".to_owned(),
        format!(
            "[effects]\nwrites = {writes:?}\ndrops = true\nsteers = true\nlookups = true\nprograms = true\n"
        ),
        ["seed", "life", "stamp"].map(|p| param(p, "int")).concat(),
        ["held", "elsewhere"].map(|p| param(p, "string")).concat(),
        param("wild", "bool"),
        ["o0", "o1"].map(output).concat(),
    ];
    // Of one name for each set of fields: the second program must not change the first one's.
    let file = format!("t{n}-{}.nf.toml", writes.join("-"));
    scratch.write(&file, manifest.concat());
    let held = writes.join(",");
    writes.retain(|field| !read.contains(field));
    let life = if random.one_in(3) {
        0
    } else {
        200 + random.below(600)
    };
    let replicas = 1 + random.below(2);
    let on_loss = random.of(&["drop", "bypass"]);
    format!(
        "use \"{file}\" as t{n}\nnf n{n} = t{n} {{ seed = {}, life = {life}, stamp = {n}, held = \"{held}\", \
         elsewhere = \"{}\", wild = {wild} }} with {{ replicas = {replicas}, on_loss = {on_loss} }}\n",
        random.below(1 << 20),
        writes.join(",")
    )
}

/// Functions of rising number, so that there is no circle, and an end.
fn line(random: &mut Random, from: usize) -> String {
    let mut text = String::new();
    for n in from..NFS {
        if !random.one_in(2) {
            continue;
        }
        _ = write!(text, "n{n} ");
        let arm = |o| {
            let named = random.one_in(2);
            named.then(|| format!("o{o} -> {}", line(random, n + 1)))
        };
        let arms: Vec<String> = (0..2).filter_map(arm).collect();
        if !arms.is_empty() {
            _ = write!(text, "{{ {} }} ", arms.join(" "));
        }
        text += "-> ";
    }
    text + end(random)
}

fn end(random: &mut Random) -> &'static str {
    random.of(&["p0", "q0", "q1", "q2", "q2", "drop"])
}

fn target(random: &mut Random) -> String {
    match random.below(8) {
        0 => end(random).to_owned(),
        1 | 2 => line(random, 0),
        _ => format!("c{}", random.below(3)),
    }
}

/// What a function may make of a port's table, by filters that read no other header fields than these.
fn programs(random: &mut Random, n: usize, read: &[&str]) -> String {
    if !random.one_in(3) {
        return String::new();
    }
    let mut text = format!("allow n{n} to program {} {{\n", PORTS[random.below(IN_PORTS)]);
    for _ in 0..1 + random.below(2) {
        let filter = Filter::random(random, read);
        let target = random.of(&["c0", "c1", "c2", "drop", "c0, drop", "c1, c2"]);
        _ = writeln!(text, "    {filter} -> {target}");
    }
    text + "}\n"
}

/// A wild program permits no lookup, by which its writing counts.
fn permits(random: &mut Random, n: usize, wild: bool) -> String {
    let mut text = String::new();
    let mut to: Vec<String> = (n + 1..NFS).map(|n| format!("n{n}")).collect();
    to.extend(PORTS.map(str::to_owned));
    to.retain(|_| random.one_in(6));
    if !to.is_empty() {
        _ = writeln!(text, "allow n{n} to steer {}", to.join(", "));
    }
    if !wild && random.one_in(3) {
        _ = writeln!(text, "allow n{n} to lookup");
    }
    text
}
