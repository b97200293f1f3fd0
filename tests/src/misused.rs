//! A network function that misuses what it is given, beside an honest one.

use std::path::PathBuf;

use crate::{Scratch, capture};

/// Packets of the repeated capture.
pub const STOCK: usize = 64;

pub fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.misuse();
    scratch.pacer();
    let packets: Vec<_> = (0..STOCK as u32).map(|i| capture::udp(i as u16, i, 30)).collect();
    capture::write(&scratch.path("in.pcap"), &packets);
    scratch
}

/// A quarter of the flows meets `bad`, which misuses `how`; the others go by an honest function.
pub fn bundle(scratch: &Scratch, how: &str) -> PathBuf {
    build(
        scratch,
        "bundle",
        &format!("nf bad = misuse {{ how = \"{how}\" }}"),
        "ip[15] & 3 = 1 -> bad -> b",
    )
}

/// With these functions and rules before the one for the honest function.
pub fn build(scratch: &Scratch, out: &str, nfs: &str, rules: &str) -> PathBuf {
    let chain = format!(
        "use \"pacer.nf.toml\" as pacer\nuse \"misuse.nf.toml\" as misuse\n\
         port a = pcap {{ read = file(\"in.pcap\"), repeat = true }}\nport b = pcap {{ write = \"/dev/null\" }}\n\
         nf pace = pacer {{}}\n{nfs}\nsteer a {{ {rules} else -> pace -> b }}\n"
    );
    scratch.build(&chain, out)
}
