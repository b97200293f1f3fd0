//! `onvmc status`.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use onvm_api::{Client, InstanceState, Isolation, Status};

use super::{
    Outcome,
    args::StatusArgs,
    client::{self, Failure, Wanted},
    output::Output,
    placement::ranges,
    watch,
};

/// Tables fit this many columns.
const WIDTH: u16 = 100;

/// For a manager to make its socket.
const START: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

pub(super) fn run(out: &Output, args: &StatusArgs) -> Outcome {
    let client = match await_manager(args) {
        Ok(client) => client,
        Err(e) => return e.report(out),
    };
    let look = || match args.verbose {
        true => client.verbose_status(),
        false => client.status(),
    };
    let show = |status: &Status| match out.json {
        true => format!("{}\n", serde_json::json!(status)),
        false => render(status, args.verbose),
    };
    if let Some(period) = args.watch {
        return watch::run(out, &client, period, look, show);
    }
    match look() {
        Err(e) => Failure::from(e).report(out),
        Ok(status) => {
            out.data(&show(&status));
            Outcome::Done
        }
    }
}

/// The manager that is meant; one that was started just before, as by `onvm-run … &`, may have no socket yet.
fn await_manager(args: &StatusArgs) -> Result<Client, Failure> {
    let began = Instant::now();
    loop {
        match client::find(&args.runtime, Wanted::Named(args.name.as_deref())) {
            Err(Failure::None(_)) if began.elapsed() < START => thread::sleep(LOOK),
            found => return found,
        }
    }
}

/// The means of isolation, and the parts of the jail that the operator waived.
fn isolation(isolation: &Isolation) -> String {
    let mut text = match (isolation.means.as_slice(), &isolation.containers) {
        ([], None) => "isolation: none by onvm-run, which starts no NFs".to_owned(),
        ([], Some(engine)) => format!("isolation: containers ({engine})"),
        (means, None) => format!("isolation: {}", means.join(", ")),
        (means, Some(engine)) => format!("isolation: {}; containers ({engine})", means.join(", ")),
    };
    if !isolation.waived.is_empty() {
        text.push_str(&format!("; waived: {}", isolation.waived.join(", ")));
    }
    // As wide as the tables.
    const WIDTH: usize = 100;
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        if column > 0 && column + 1 + word.len() > WIDTH {
            wrapped.push_str("\n          ");
            column = 10;
        }
        if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += word.len();
    }
    wrapped.push('\n');
    wrapped
}

/// The whole status as tables.
fn render(status: &Status, verbose: bool) -> String {
    let state = format!("{:?}", status.state).to_lowercase() + &lost(status);
    let generation = status.generation.get(..12).unwrap_or(&status.generation);
    let mut text = format!(
        "{}  {state}  up {}  pid {}  generation {generation}\n",
        status.bundle,
        uptime(status.uptime_s),
        status.pid,
    );
    text.push_str(&isolation(&status.isolation));
    let tables = [
        ports(status),
        chains(status),
        instances(status),
        cores(status),
        losses(status),
        replicas(status),
        domains(status),
        programmed(status),
        drops(status),
    ];
    let more = verbose.then(|| [rules(status), counters(status)]);
    for table in tables.into_iter().chain(more.into_iter().flatten()).flatten() {
        text.push('\n');
        text.push_str(&table.trim_fmt());
        text.push('\n');
    }
    let (buffers, b) = (&status.buffers, &status.balance);
    text.push_str(&format!(
        "\nbuffers   {} of {} in use\nbalance   received {} + generated {} = delivered {} + dropped {} + in flight {}\n",
        buffers.in_use, buffers.total, b.received, b.generated, b.delivered, b.dropped, b.in_flight
    ));
    text
}

/// Who shares packet memory with whom, where somebody does not.
fn domains(status: &Status) -> Option<Table> {
    let rows = status.domains.iter().map(|domain| {
        vec![
            domain.name.clone(),
            domain.members.join(", "),
            domain.buffers.in_use.to_string(),
            domain.buffers.total.to_string(),
        ]
    });
    table(2, &["domain", "ports and NFs", "buffers in use", "of"], rows)
}

/// How many instances do not serve, for the line that is read first.
fn lost(status: &Status) -> String {
    let all = || status.services.iter().flat_map(|s| &s.instances);
    let lost = |state: InstanceState| matches!(state, InstanceState::Lost | InstanceState::Failed);
    match all().filter(|i| lost(i.state)).count() {
        0 => String::new(),
        lost => format!(", {lost} of {} instances lost", all().count()),
    }
}

/// A table whose first `words` columns are text and whose others are numbers.
pub(super) fn table(
    words: usize,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Option<Table> {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    if rows.is_empty() {
        return None;
    }
    let cell = |(n, text): (usize, String)| {
        let cell = Cell::new(text);
        if n < words {
            cell
        } else {
            cell.set_alignment(CellAlignment::Right)
        }
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    table.set_header(header.iter().map(|h| (*h).to_owned()).enumerate().map(cell));
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(cell));
    }
    Some(table)
}

fn ports(status: &Status) -> Option<Table> {
    let rows = status.ports.iter().map(|p| {
        let drops: u64 = p.drops.values().sum();
        vec![
            p.name.clone(),
            match p.link.as_deref() {
                _ if p.done => format!("{}, done", p.kind),
                Some(link @ ("down" | "gone")) => format!("{}, {link}", p.kind),
                _ => p.kind.clone(),
            },
            p.rx_packets.to_string(),
            rate(p.rx_pps),
            p.tx_packets.to_string(),
            rate(p.tx_pps),
            drops.to_string(),
        ]
    });
    table(
        2,
        &["port", "kind", "received", "per s", "sent", "per s", "drops"],
        rows,
    )
}

fn chains(status: &Status) -> Option<Table> {
    let rows = status.chains.iter().map(|c| {
        let hops = c.hops.iter().map(|h| {
            let mut text = format!("{} {}", h.at, h.packets);
            if h.drops > 0 {
                text += &format!(" (-{})", h.drops);
            }
            if h.bypassed > 0 {
                text += &format!(" ({} bypassed)", h.bypassed);
            }
            if h.crossings > 0 {
                text += &format!(" ({} copied)", h.crossings);
            }
            text
        });
        vec![
            c.name.clone(),
            hops.collect::<Vec<_>>().join(", "),
            c.packets.to_string(),
        ]
    });
    table(2, &["chain", "packets by hop (-drops)", "packets"], rows)
}

fn instances(status: &Status) -> Option<Table> {
    let rows = status.services.iter().flat_map(|s| {
        s.instances.iter().map(move |i| {
            vec![
                i.name.clone(),
                s.nf_type.clone(),
                format!("{:?}", i.state).to_lowercase(),
                i.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                i.restarts.to_string(),
                i.rx_packets.to_string(),
                rate(i.rx_pps),
                i.drops.to_string(),
                format!("{}/{}", i.ring_used, i.ring_size),
            ]
        })
    });
    let header = [
        "instance", "type", "state", "pid", "restarts", "packets", "per s", "drops", "ring",
    ];
    table(3, &header, rows)
}

/// Which instances run where: those with the same cores in one row.
fn cores(status: &Status) -> Option<Table> {
    let mut rows: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    let instances = status.services.iter().flat_map(|s| &s.instances);
    for i in instances.filter(|i| !i.cores.is_empty()) {
        rows.entry((&i.cores, i.own_cores)).or_default().push(&i.name);
    }
    let rows = rows.into_iter().map(|((cores, own), names)| {
        let have = if own { "own" } else { "shared" };
        vec![ranges(cores), have.to_owned(), names.join(", ")]
    });
    table(3, &["cores", "are", "instances"], rows)
}

/// Of the instances that have been lost, or have not started, in their time.
fn losses(status: &Status) -> Option<Table> {
    let instances = status.services.iter().flat_map(|s| &s.instances);
    let rows = instances.filter_map(|i| {
        let again = match (i.restart_in_ms, i.state) {
            (Some(ms), InstanceState::Lost) => format!("in {}.{} s", ms / 1000, ms % 1000 / 100),
            (_, InstanceState::Failed) => "no".to_owned(),
            _ => "-".to_owned(),
        };
        Some(vec![i.name.clone(), i.last_loss.clone()?, again])
    });
    table(2, &["lost instance", "last reason", "restart"], rows)
}

/// Of the NFs that are scaled.
fn replicas(status: &Status) -> Option<Table> {
    let scaled = status.services.iter().filter(|s| s.replicas.min < s.replicas.max);
    let rows = scaled.map(|s| {
        let by = if s.replicas.automatic { "load" } else { "operator" };
        vec![
            s.name.clone(),
            by.to_owned(),
            format!("{}..{}", s.replicas.min, s.replicas.max),
            s.replicas.now.to_string(),
        ]
    });
    table(2, &["replicas of", "chosen by", "range", "now"], rows)
}

/// What NFs have made of the ports' tables.
fn programmed(status: &Status) -> Option<Table> {
    let rows = status.ports.iter().flat_map(|p| {
        p.programmed.iter().map(|of| {
            vec![
                p.name.clone(),
                of.nf.clone(),
                of.chain.clone(),
                of.entries.to_string(),
                of.packets.to_string(),
            ]
        })
    });
    let header = ["flow entries of", "made by", "chain", "entries", "packets"];
    table(3, &header, rows)
}

fn rules(status: &Status) -> Option<Table> {
    let rows = status.ports.iter().flat_map(|p| {
        p.rules.iter().map(|r| {
            vec![
                p.name.clone(),
                r.rule.clone(),
                r.chain.clone(),
                r.source.clone().unwrap_or_default(),
                r.packets.to_string(),
            ]
        })
    });
    table(4, &["rules of", "rule", "chain", "at", "packets"], rows)
}

fn counters(status: &Status) -> Option<Table> {
    let instances = status.services.iter().flat_map(|s| &s.instances);
    let rows = instances.flat_map(|i| {
        let counters = i.counters.iter();
        counters.map(|(name, value)| vec![i.name.clone(), name.clone(), value.to_string()])
    });
    table(2, &["counters of", "counter", "value"], rows)
}

fn drops(status: &Status) -> Option<Table> {
    let rows = status
        .drops
        .iter()
        .map(|d| vec![d.place.clone(), d.reason.clone(), d.packets.to_string()]);
    table(2, &["drops at", "reason", "packets"], rows)
}

/// Packets a second in three figures.
fn rate(pps: f64) -> String {
    match pps {
        p if p >= 1e6 => format!("{:.2} M", p / 1e6),
        p if p >= 1e3 => format!("{:.1} k", p / 1e3),
        p => format!("{p:.0}"),
    }
}

fn uptime(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use onvm_api::*;

    use super::*;

    fn example() -> Status {
        let instance = |name: &str, drops| InstanceStatus {
            name: name.into(),
            state: InstanceState::Running,
            pid: Some(1_234_567),
            container: None,
            restarts: 2,
            rx_packets: 123_456_789_012,
            tx_packets: 123_456_789_000,
            drops,
            overruled: 0,
            generated: 0,
            refused: 0,
            messages: 0,
            messages_missed: 0,
            messages_refused: 0,
            rx_pps: 14_880_952.0,
            ring_used: 17,
            ring_size: 4096,
            counters: Default::default(),
            gauges: Default::default(),
            last_loss: (drops > 0).then(|| "its process was ended by signal 9 (SIGKILL)".repeat(4)),
            restart_in_ms: None,
            cores: vec![2, 3, 4, 6],
            own_cores: drops > 0,
        };
        Status {
            version: API_VERSION,
            bundle: "edge".into(),
            generation: "0123456789abcdef".into(),
            bundle_dir: "/run/onvm/edge/bundle".into(),
            pid: 42,
            uptime_s: 75.5,
            state: ManagerState::Running,
            isolation: Isolation {
                containers: None,
                means: [
                    "system call filter",
                    "landlock 7",
                    "user ids",
                    "user namespace",
                    "pid namespace",
                    "ipc namespace",
                    "network namespace",
                ]
                .map(str::to_owned)
                .to_vec(),
                optional: Vec::new(),
                missing: Vec::new(),
                waived: vec!["files".to_owned()],
            },
            ports: vec![PortStatus {
                name: "wan".into(),
                kind: "pcap".into(),
                rx_packets: 123_456_789_012,
                rx_bytes: 1,
                tx_packets: 7,
                tx_bytes: 1,
                drops: [("no_buffer".to_owned(), 3)].into(),
                rx_pps: 1500.0,
                tx_pps: 0.0,
                done: true,
                link: None,
                rules: Vec::new(),
                programmed: vec![ProgrammedStatus {
                    nf: "sdn".into(),
                    chain: "fast".into(),
                    entries: 1_000_000,
                    packets: 123_456,
                    bytes: 1,
                }],
                rx_by_worker: Vec::new(),
                rss: None,
            }],
            chains: vec![ChainStatus {
                name: "inspect".into(),
                packets: 9,
                hops: vec![
                    HopStatus {
                        at: "fw".into(),
                        packets: 9,
                        drops: 2,
                        bypassed: 3,
                        crossings: 4,
                    },
                    HopStatus {
                        at: "lan".into(),
                        packets: 7,
                        drops: 0,
                        bypassed: 0,
                        crossings: 0,
                    },
                ],
            }],
            services: vec![ServiceStatus {
                name: "fw".into(),
                id: 1,
                nf_type: "firewall".into(),
                replicas: Replicas {
                    now: 2,
                    min: 1,
                    max: 4,
                    automatic: true,
                },
                instances: vec![instance("fw-0", 2), instance("fw-1", 0)],
            }],
            drops: vec![Drop {
                reason: "nf_verdict".into(),
                place: "inspect/0 fw".into(),
                packets: 2,
            }],
            domains: vec![DomainStatus {
                name: "default".into(),
                members: vec!["wan".into(), "fw".into()],
                buffers: BufferStatus {
                    total: 16384,
                    in_use: 4,
                },
            }],
            buffers: BufferStatus {
                total: 16_384,
                in_use: 12,
            },
            balance: Balance {
                received: 9,
                generated: 0,
                delivered: 7,
                dropped: 2,
                in_flight: 0,
            },
        }
    }

    #[test]
    fn the_status_fits_a_hundred_columns() {
        let text = render(&example(), false);
        assert!(
            text.lines().all(|l| l.chars().count() <= usize::from(WIDTH)),
            "{text}"
        );
        insta::assert_snapshot!(text);
    }

    #[test]
    fn verbose_adds_rules_and_counters_and_nothing_else() {
        let mut status = example();
        let rule = |rule: &str, packets| RuleStatus {
            rule: rule.into(),
            chain: "inspect".into(),
            source: Some("edge.chain:32".into()),
            packets,
        };
        status.ports[0].rules = vec![
            rule(
                &format!("udp port 53 and ({})", ["host 192.0.2.1"; 12].join(" or ")),
                7,
            ),
            rule("else", 123_456_789_005),
        ];
        status.services[0].instances[0].counters = [("denied".to_owned(), 2)].into();
        let plain = render(&example(), false);
        assert_eq!(render(&status, false), plain);
        let verbose = render(&status, true);
        assert!(
            verbose.lines().all(|l| l.chars().count() <= usize::from(WIDTH)),
            "{verbose}"
        );
        assert!(plain.lines().all(|line| verbose.contains(line)), "{verbose}");
        for words in [
            &["wan", "else", "inspect", "edge.chain:32", "123456789005"][..],
            &["fw-0", "denied", "2"],
        ] {
            let row = |line: &str| {
                words
                    .iter()
                    .all(|word| line.split_whitespace().any(|w| w == *word))
            };
            assert!(verbose.lines().any(row), "{words:?}\n{verbose}");
        }
    }

    #[test]
    fn lost_instances_show_in_the_first_line() {
        let mut status = example();
        status.services[0].instances[1].state = InstanceState::Lost;
        let text = render(&status, false);
        let first = text.lines().next().unwrap();
        assert!(first.contains("running, 1 of 2 instances lost"), "{first}");
    }

    #[test]
    fn empty_tables_are_left_out() {
        let status = Status {
            drops: Vec::new(),
            ports: Vec::new(),
            ..example()
        };
        let text = render(&status, false);
        assert!(
            !text.contains("drops at") && !text.contains("received     "),
            "{text}"
        );
    }
}
