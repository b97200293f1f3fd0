//! `--explain-placement`.

use comfy_table::{ContentArrangement, Table, presets};
use onvmc::placement::{Domain, FusedProcess, Fusion, Placement, Seat, Visits, bytes, rows};

/// For people: the place of each part, and the sums.
pub(super) fn text(placement: &Placement) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(100);
    table.set_header([
        "",
        "type",
        "cores asked",
        "runs on cores",
        "NUMA node",
        "memory limit",
        "rings",
    ]);
    for seat in &placement.seats {
        table.add_row(cells(seat));
    }
    let mut text = table.trim_fmt() + "\n";
    let section = |title: &str, lines: Vec<String>| {
        let lines: String = lines.iter().map(|l| format!("  {l}\n")).collect();
        format!("\n{title}\n{lines}")
    };
    if !placement.fused.is_empty() {
        text += &section("Fused", placement.fused.iter().map(fused).collect());
    }
    if !placement.domains.is_empty() {
        text += &section("Domains", placement.domains.iter().map(domain).collect());
    }
    text += &section("Cores", cores(placement));
    text += &section(
        "Memory",
        rows(
            &placement.memory.lines,
            ("asked for", placement.memory.asked),
            bytes,
        ),
    );
    text += &section("Huge pages", pages(placement));
    text += &section("Buffers", buffers(placement));
    text
}

fn cells(seat: &Seat) -> [String; 7] {
    let worker = seat.kind == "worker";
    [
        seat.name.clone(),
        seat.kind.clone(),
        seat.cores_asked.map_or("shared".to_owned(), |n| n.to_string()),
        seat.runs_on
            .as_deref()
            .map_or("as the host allows".to_owned(), ranges),
        seat.numa.map_or("any".to_owned(), |n| n.to_string()),
        match seat.memory_limit {
            Some(limit) => bytes(limit),
            None if worker => String::new(),
            None => "none".to_owned(),
        },
        if worker { String::new() } else { bytes(seat.region) },
    ]
}

/// Pages have whole sizes.
fn page_size(bytes: u64) -> &'static str {
    if bytes < 1 << 30 { "2 MiB" } else { "1 GiB" }
}

/// `0-3, 8`.
pub(super) fn ranges(cores: &[u16]) -> String {
    let mut sorted = cores.to_vec();
    sorted.sort_unstable();
    let mut parts: Vec<(u16, u16)> = Vec::new();
    for core in sorted {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => parts.push((core, core)),
        }
    }
    let shown = parts
        .iter()
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(", ")
}

/// What an operator is to know of NFs that share a process.
fn fused(process: &FusedProcess) -> String {
    let FusedProcess { name, nfs, writers } = process;
    let rights = match writers.len() {
        0 => "packets are read-only for all of them".to_owned(),
        all if all == nfs.len() => "all of them may write to packets".to_owned(),
        _ => format!("all of them can write to packets, as {} may", writers.join(", ")),
    };
    format!("{name}: {}; {rights}", nfs.join(", "))
}

/// What shares packet memory, and sees all packets in it.
fn domain(domain: &Domain) -> String {
    let Domain {
        name,
        ports,
        nfs,
        writers,
    } = domain;
    let ports = match ports.len() {
        0 => "nothing is received into it".to_owned(),
        _ => format!("{} receive into it", ports.join(", ")),
    };
    let nfs = match (nfs.len(), writers.len()) {
        (0, _) => "no NF sees it".to_owned(),
        (_, 0) => format!("{} see it", nfs.join(", ")),
        _ => format!(
            "{} see it, {} may write to it",
            nfs.join(", "),
            writers.join(", ")
        ),
    };
    format!("{name}: {ports}; {nfs}")
}

/// `--explain-fusion`, for people.
pub(super) fn proposals(fusions: &[Fusion]) -> String {
    if fusions.is_empty() {
        return "No NFs that follow each other on a chain could share a process without giving one of them more rights.\n"
            .to_owned();
    }
    let one = |fusion: &Fusion| {
        let Fusion {
            name,
            nfs,
            cycles,
            chains,
        } = fusion;
        let visits = chains.iter().map(|Visits { chain, now, fused }| {
            format!("  {chain}: a packet is handed over {fused} times in place of {now}\n")
        });
        format!(
            "{} could share a process: `with {{ fuse = \"{name}\" }}`\n{}  their own work, by their manifests: {cycles} cycles a packet\n",
            nfs.join(", "),
            visits.collect::<String>()
        )
    };
    fusions.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn cores(placement: &Placement) -> Vec<String> {
    let mut lines = placement.cores.rows();
    if placement.cores.named.is_none() {
        lines
            .push("`cores` in `manager` names none: the manager takes those that the host allows".to_owned());
    }
    lines
}

fn pages(placement: &Placement) -> Vec<String> {
    let Some(first) = placement.huge_pages.first() else {
        return vec!["none: `hugepages = off`".to_owned()];
    };
    let line = |p: &onvmc::placement::PageDemand| format!("{}: {} of {}", p.what, p.pages, page_size(p.page));
    let mut lines: Vec<String> = placement.huge_pages.iter().map(line).collect();
    lines.push(match first.required {
        true => "`onvm-run` refuses to start without them".to_owned(),
        false => "where so many are free; ordinary pages otherwise".to_owned(),
    });
    lines
}

fn buffers(placement: &Placement) -> Vec<String> {
    let b = &placement.buffers;
    vec![
        match placement.domains.len() {
            0 | 1 => format!("{} in all", b.buffers),
            n => format!("{} in each of {n} domains", b.buffers),
        },
        format!("{} at most in the rings of one instance", b.held_by_one),
        format!("{} if the rings of all instances were full", b.held_by_all),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn cores_in_ranges() {
        assert_eq!(super::ranges(&[8, 1, 0, 2, 12]), "0-2, 8, 12");
        assert_eq!(super::ranges(&[]), "");
    }
}
