use super::*;
use crate::testing::checked;

fn placed(source: &str) -> Placement {
    let checked = checked(source);
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    Placement::new(&checked.program.expect(&shown).manager)
}

const TWO: &str = "port wan = null {}\nnf a = forward with { replicas = 2, memory = 64 MiB }\nnf b = monitor\nsteer wan { else -> a -> b -> wan }\n";

#[test]
fn memory_is_what_the_manager_takes() {
    let placement = placed(TWO);
    let amounts: Vec<u64> = placement.memory.lines.iter().map(|l| l.amount).collect();
    // 8192 of header, a command and three bells, two rings of 4096 slots of 16 bytes, 4096 counters of 8 bytes.
    let region: u64 = 8192 + 64 * 3 + 2 * (128 + 4096 * 16) + 4096 * 8;
    let region = region.next_multiple_of(4096);
    assert_eq!(amounts[0], 16_384 * 2240);
    assert_eq!(amounts[1], 3 * region);
    assert_eq!(amounts[2], (32 + 5 + 1) << 20);
    assert_eq!(amounts[3], 128 << 20);
    assert_eq!(placement.memory.asked, amounts.iter().sum::<u64>());
    assert_eq!(
        placement.buffers,
        BufferDemand {
            buffers: 16_384,
            held_by_one: 8192,
            held_by_all: 24_576
        }
    );
}

#[test]
fn larger_packets_and_packet_sockets_need_larger_buffers() {
    let jumbo = placed(&format!("{TWO}manager {{ mtu = 9000, buffers = 1024 }}\n"));
    let stride = jumbo.memory.lines[0].amount / 1024;
    assert!(stride >= 9000 + 26 + 128 && stride % 128 == 64, "{stride}");
    let ring = placed(&TWO.replace("null {}", "af_packet { interface = \"eth0\" }"));
    assert!(ring.memory.lines[0].amount >= 16_384 * 2240);
}

#[test]
fn huge_pages_cover_what_they_are_asked_for() {
    let pages = |manager: &str| placed(&format!("{TWO}manager {{ {manager} }}\n")).huge_pages;
    assert!(pages("hugepages = off").is_empty());
    for (setting, size, required) in [
        ("auto", 2 << 20, false),
        ("2 MiB", 2 << 20, true),
        ("1 GiB", 1 << 30, true),
    ] {
        let [dpdk, packets] = pages(&format!("hugepages = {setting}")).try_into().unwrap();
        assert_eq!(
            (dpdk.page, dpdk.required, packets.page, packets.required),
            (size, required, 2 << 20, required)
        );
        assert!(dpdk.pages * dpdk.page >= 38 << 20 && (dpdk.pages - 1) * dpdk.page < 38 << 20);
        assert_eq!(packets.pages, (16_384_u64 * 2240).div_ceil(2 << 20));
    }
}

#[test]
fn workers_have_the_first_core_and_nfs_the_others() {
    let seats = |cores: &str| placed(&format!("{TWO}manager {{ cores = {cores} }}\n")).seats;
    let on = |seats: Vec<Seat>| {
        seats
            .into_iter()
            .map(|s| (s.name, s.runs_on.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let names = ["worker-0", "a-0", "a-1", "b-0"].map(str::to_owned);
    let expect = |worker: &[u16], nfs: &[u16]| {
        let cores = [worker, nfs, nfs, nfs].map(<[u16]>::to_vec);
        names.iter().cloned().zip(cores).collect::<Vec<_>>()
    };
    assert_eq!(on(seats("[4, 2, 3]")), expect(&[4], &[2, 3]));
    assert_eq!(on(seats("[7, 7]")), expect(&[7], &[7]));
    assert!(placed(TWO).seats.iter().all(|s| s.runs_on.is_none()));
}

#[test]
fn cores_are_counted_once_each() {
    let codes = |manager: &str, with: &str| {
        let source = TWO.replace("replicas = 2", with);
        let checked = checked(&format!("{source}manager {{ {manager} }}\n"));
        checked.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    let two_of_two = "replicas = 2, cores = 2";
    // One for the worker, two times two, one for the NF that shares.
    assert_eq!(codes("cores = [0, 1, 2, 3, 4]", two_of_two), ["C0706"]);
    assert_eq!(codes("cores = [0, 1, 2, 3, 4, 4]", two_of_two), ["C0706"]);
    let none = Vec::<&str>::new();
    assert_eq!(codes("cores = [0, 1, 2, 3, 4, 5]", two_of_two), none);
    assert_eq!(codes("cores = [0]", "replicas = 2"), none);
    assert_eq!(
        codes("idle = spin", two_of_two),
        none,
        "without a list the host decides"
    );
}

#[test]
fn sums_are_aligned() {
    let lines = [
        Line::new("workers", "1 x 1", 1),
        Line::new("a long name", "2 x 64", 128),
    ];
    let rows = rows(&lines, ("all", 129), |n| n.to_string());
    insta::assert_snapshot!(rows.join("\n"), @r"
    workers       1 x 1    1
    a long name  2 x 64  128
    ------------------------
    all                  129
    ");
    assert_eq!(
        (bytes(1023), bytes(1024), bytes((2 << 20) + 1)),
        ("1023 B".into(), "1.0 KiB".into(), "2.1 MiB".into())
    );
}

#[test]
fn several_workers_have_the_first_cores_and_a_queue_each() {
    let source = format!("{TWO}manager {{ cores = [4, 5, 6], workers = 2 }}\n");
    let checked = checked(&source);
    let manager = checked.program.unwrap().manager;
    assert_eq!(manager.ports[0].queues, 2);
    let on: Vec<_> = Placement::new(&manager)
        .seats
        .into_iter()
        .map(|s| s.runs_on.unwrap())
        .collect();
    assert_eq!(on, [vec![4], vec![5], vec![6], vec![6], vec![6]]);
    // With as many workers as cores none is left for NFs.
    let shared = placed(&source.replace("workers = 2", "workers = 3"));
    assert!(
        shared
            .seats
            .iter()
            .all(|s| s.runs_on.as_deref() == Some(&[4, 5, 6]))
    );
}

#[test]
fn instances_have_the_cores_that_they_ask_for() {
    let seats = |with: &str| {
        let source = TWO.replace("replicas = 2", with);
        let seats = placed(&format!("{source}manager {{ cores = [9, 1, 2, 3, 4, 5] }}\n")).seats;
        seats.into_iter().map(|s| s.runs_on).collect::<Vec<_>>()
    };
    let expected = [vec![9], vec![1, 2], vec![3, 4], vec![5]].map(Some);
    assert_eq!(seats("replicas = 2, cores = 2"), expected);
    // Which cores are on a node is seen on the host.
    let expected = [Some(vec![9]), None, None, None];
    assert_eq!(seats("replicas = 2, cores = 2, numa = 1"), expected);
}

#[test]
fn domains_say_who_shares_memory_with_whom() {
    assert!(placed(TWO).domains.is_empty());
    let source = TWO
        .replace("replicas = 2", "replicas = 2, domain = \"red\"")
        .replace("null {}", "null { domain = \"red\" }")
        .replace("nf b = monitor", "nf b = firewall { default = accept }");
    let placement = placed(&source);
    let members = |d: &Domain| [&d.ports, &d.nfs].map(|names| names.join(" "));
    let domains: Vec<_> = placement
        .domains
        .iter()
        .map(|d| (d.name.as_str(), members(d)))
        .collect();
    let own = |ports: &str, nfs: &str| [ports.to_owned(), nfs.to_owned()];
    assert_eq!(domains, [("default", own("", "b")), ("red", own("wan", "a"))]);
    let lines: Vec<_> = placement.memory.lines.iter().take(2).collect();
    assert_eq!(
        lines
            .iter()
            .map(|l| (l.what.as_str(), l.amount))
            .collect::<Vec<_>>(),
        [
            ("packet buffers of default", 16_384 * 2240),
            ("packet buffers of red", 16_384 * 2240)
        ]
    );
}
