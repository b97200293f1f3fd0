//! `onvmc new`: starting points that work.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    Outcome,
    args::{New, NewArgs},
    output::Output,
};

pub(super) fn run(out: &Output, args: &NewArgs) -> Outcome {
    let (name, made) = match &args.what {
        New::Chain { name } => (name, chain(name)),
        New::Nf {
            name,
            nflib,
            container,
        } => match find_nflib(nflib.as_deref()) {
            Some(path) => (name, nf(name, &path, *container)),
            None => {
                let text = "cannot find the `nflib` crate. Install the package onvm-dev, or say where the crate is: `onvmc new nf NAME --nflib PATH`.";
                out.error("nflib", text);
                return Outcome::Usage;
            }
        },
    };
    if !is_short_name(name) {
        out.error(
            "name",
            &format!("`{name}` is not a valid name: use lower-case letters, digits and `_`, a letter first"),
        );
        return Outcome::Usage;
    }
    if let Some(why) = taken(name, matches!(args.what, New::Nf { .. })) {
        out.error(
            "name",
            &format!("`{name}` cannot be the name: {why}. Choose another."),
        );
        return Outcome::Usage;
    }
    let files = match made {
        Ok(files) => files,
        Err(e) => {
            out.error(
                "internal",
                &format!("a template does not fit its data: {e}. Please report this fault."),
            );
            return Outcome::Refused;
        }
    };
    if let Some(there) = files.iter().map(|(path, _)| Path::new(path)).find(|p| p.exists()) {
        out.error(
            "exists",
            &format!(
                "{} exists already; nothing was written. Choose another name.",
                there.display()
            ),
        );
        return Outcome::Refused;
    }
    for (path, content) in &files {
        if let Err(e) = write(Path::new(path), content) {
            out.error("write", &format!("cannot write {path}: {e}"));
            return Outcome::Refused;
        }
    }
    if out.json {
        let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
        out.data_json(&serde_json::json!({ "version": 1, "files": paths }));
    } else {
        files
            .iter()
            .for_each(|(path, _)| out.note(&format!("wrote {path}")));
        out.note(&match &args.what {
            New::Chain { .. } => format!(
                "try: onvmc test {name}.chain && onvmc build {name}.chain -o {name}.bundle && onvm-run {name}.bundle --exit-when-done"
            ),
            New::Nf { .. } => format!("try: cd {name} && cargo test && onvmc check {name}.chain"),
        });
    }
    Outcome::Done
}

fn is_short_name(name: &str) -> bool {
    name.len() <= 32 && onvm_lang::is_name(name)
}

/// Why what is made under this name could not be compiled.
fn taken(name: &str, nf: bool) -> Option<&'static str> {
    /// Names that cargo or rustc keep for themselves, and the crates that every NF depends on.
    const CRATES: &[&str] = &[
        "alloc",
        "build",
        "core",
        "deps",
        "examples",
        "incremental",
        "nflib",
        "nflib_testing",
        "proc_macro",
        "std",
        "test",
    ];
    /// Rust's keywords that are not words of the chain language.
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do",
        "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
        "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self",
        "static", "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
        "virtual", "where", "while", "yield",
    ];
    if !nf {
        return None;
    }
    let chain = format!("nf {name} = forward");
    if !onvm_lang::parse(&chain).diagnostics.is_empty() {
        Some("it is a word of the chain language")
    } else if ["wan", "lan"].contains(&name) {
        Some("a port of its chain has it")
    } else if CRATES.contains(&name) || KEYWORDS.contains(&name) {
        Some("no crate can have it")
    } else {
        None
    }
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

type Files = Result<Vec<(String, Vec<u8>)>, handlebars::RenderError>;

fn fill(template: &str, data: &serde_json::Value) -> Result<Vec<u8>, handlebars::RenderError> {
    let mut engine = handlebars::Handlebars::new();
    engine.set_strict_mode(true);
    engine.register_escape_fn(handlebars::no_escape);
    engine.render_template(template, data).map(String::into_bytes)
}

fn chain(name: &str) -> Files {
    let data = serde_json::json!({ "name": name });
    Ok(vec![
        (
            format!("{name}.chain"),
            fill(include_str!("templates/chain.chain.hbs"), &data)?,
        ),
        (
            format!("{name}.rules"),
            fill(include_str!("templates/chain.rules.hbs"), &data)?,
        ),
        (format!("{name}.pcap"), capture()),
    ])
}

fn nf(name: &str, nflib: &Path, container: bool) -> Files {
    let data = serde_json::json!({
        "name": name,
        "type": type_name(name),
        "nflib": toml_string(nflib),
        "nflib_testing": toml_string(&nflib.join("testing")),
    });
    let mut files = vec![
        (
            format!("{name}/Cargo.toml"),
            fill(include_str!("templates/nf.cargo.toml.hbs"), &data)?,
        ),
        (
            format!("{name}/src/main.rs"),
            fill(include_str!("templates/nf.main.rs.hbs"), &data)?,
        ),
        (
            format!("{name}/{name}.nf.toml"),
            fill(include_str!("templates/nf.manifest.toml.hbs"), &data)?,
        ),
        (
            format!("{name}/{name}.chain"),
            fill(include_str!("templates/nf.chain.hbs"), &data)?,
        ),
        (format!("{name}/{name}.pcap"), capture()),
        (
            format!("{name}/.gitignore"),
            b"/target\n*.bundle\n*-out.pcap\n".to_vec(),
        ),
    ];
    if let Some(vendor) = vendored(nflib) {
        let data = serde_json::json!({ "vendor": toml_string(&vendor) });
        files.push((
            format!("{name}/.cargo/config.toml"),
            fill(include_str!("templates/nf.cargo.config.toml.hbs"), &data)?,
        ));
    }
    if container {
        files.push((
            format!("{name}/Dockerfile"),
            fill(include_str!("templates/nf.dockerfile.hbs"), &data)?,
        ));
        files.push((
            format!("{name}/.dockerignore"),
            format!("*\n!target/release/{name}\n").into_bytes(),
        ));
        files.push((
            format!("{name}/tests/container.rs"),
            fill(include_str!("templates/nf.container.rs.hbs"), &data)?,
        ));
    }
    Ok(files)
}

/// A JSON string is a TOML string.
fn toml_string(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

fn camel_case(name: &str) -> String {
    let capital = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('_').filter(|p| !p.is_empty()).map(capital).collect()
}

/// The name of the NF's type; one that the program has already gets an ending.
fn type_name(name: &str) -> String {
    const TAKEN: &[&str] = &[
        "Burst",
        "Counter",
        "Nf",
        "Ok",
        "Params",
        "Reconfigured",
        "Result",
        "Self",
        "Setup",
        "SetupError",
        "Verdict",
    ];
    let plain = camel_case(name);
    match TAKEN.contains(&plain.as_str()) {
        true => plain + "Nf",
        false => plain,
    }
}

/// The crate that was named, the installed one, or the one of the workspace that this program was built from.
fn find_nflib(given: Option<&Path>) -> Option<PathBuf> {
    let is_crate = |path: &PathBuf| path.join("Cargo.toml").is_file();
    let found = |path: &Path| fs::canonicalize(path).ok().filter(is_crate);
    if let Some(path) = given {
        return found(path);
    }
    let program = std::env::current_exe().ok();
    let installed = program
        .as_deref()
        .and_then(Path::parent)
        .map(|bin| bin.join(INSTALLED));
    let built_from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../nflib"));
    installed
        .and_then(|path| found(&path))
        .or_else(|| found(built_from))
}

/// Where the package onvm-dev has the crate, from the directory of onvmc.
const INSTALLED: &str = "../share/onvm/crates/nflib";

/// The sources of the crates that an installed `nflib` needs, which come with it.
fn vendored(nflib: &Path) -> Option<PathBuf> {
    let vendor = nflib.parent()?.join("vendor");
    vendor.is_dir().then_some(vendor)
}

/// A capture of three packets: an ARP request, a TCP SYN to port 80, a DNS query over UDP.
fn capture() -> Vec<u8> {
    const ETHERNET: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let arp: &[u8] = &[
        8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 198, 51, 100, 7, 0, 0, 0, 0, 0, 0, 203, 0, 113, 9,
    ];
    // The checksums are those of these bytes.
    let syn: &[u8] = &[
        8, 0, 69, 0, 0, 40, 0, 1, 0, 0, 64, 6, 20, 139, 198, 51, 100, 7, 203, 0, 113, 9, 156, 64, 0, 80, 0,
        0, 0, 1, 0, 0, 0, 0, 80, 2, 255, 255, 173, 12, 0, 0,
    ];
    let dns: &[u8] = &[
        8, 0, 69, 0, 0, 45, 0, 2, 0, 0, 64, 17, 20, 122, 198, 51, 100, 7, 203, 0, 113, 9, 156, 65, 0, 53, 0,
        25, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1,
    ];
    let mut file = vec![
        0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    ];
    for (n, payload) in (0_u32..).zip([arp, syn, dns]) {
        let mut frame = [&ETHERNET[..], payload].concat();
        frame.resize(frame.len().max(60), 0);
        let length = (frame.len() as u32).to_le_bytes();
        for field in [
            1_700_000_000_u32.to_le_bytes(),
            (n * 1000).to_le_bytes(),
            length,
            length,
        ] {
            file.extend(field);
        }
        file.extend(frame);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capture_is_valid() {
        let bytes = capture();
        let mut reader = pcap_file::pcap::PcapReader::new(bytes.as_slice()).unwrap();
        let mut checked = 0;
        while let Some(packet) = reader.next_packet() {
            let packet = packet.unwrap();
            let frame = packet.data.as_ref();
            assert!(frame.len() >= 60);
            if frame[12..14] == [8, 0] {
                assert_eq!(checksum(&frame[14..34], 0), 0, "IPv4 header");
                let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                if frame[23] == 6 {
                    let segment = &frame[34..14 + total];
                    let pseudo: u32 = frame[26..34]
                        .chunks(2)
                        .map(|c| u32::from(c[0]) << 8 | u32::from(c[1]))
                        .sum();
                    assert_eq!(checksum(segment, pseudo + 6 + segment.len() as u32), 0, "TCP");
                }
                checked += 1;
            }
        }
        assert_eq!(checked, 2);
    }

    fn checksum(bytes: &[u8], start: u32) -> u16 {
        let words = bytes
            .chunks(2)
            .map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)));
        let mut sum = start + words.sum::<u32>();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn names() {
        assert_eq!(type_name("my_nf2"), "MyNf2");
        assert_eq!(type_name("counter"), "CounterNf");
        assert!(
            taken("port", true).is_some() && taken("match", true).is_some() && taken("nflib", true).is_some()
        );
        assert!(taken("counter", true).is_none() && taken("port", false).is_none());
        assert!(
            is_short_name("my_nf") && !is_short_name("My") && !is_short_name("a/b") && !is_short_name("")
        );
    }
}
