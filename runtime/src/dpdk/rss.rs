//! How a device spreads flows over its receive queues (receive-side scaling): asked for, and read back from it.
//!
//! Only the choice of the queue is left to the device. The hash by which packets choose an instance is always computed here, so
//! that it is the same for both directions of a flow whatever ports they come by.

use dpdk_sys as sys;

use super::{DpdkError, ethdev::Device, setup};

/// 0x6d5a over and over makes the Toeplitz hash symmetric: both directions of a flow get one hash (Woo and Park, "Scalable
/// TCP session monitoring with symmetric receive-side scaling", 2012). The longest key of a NIC has 52 bytes.
pub(super) static SYMMETRIC_KEY: [u8; 64] = {
    let mut key = [0x6d; 64];
    let mut at = 1;
    while at < key.len() {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

/// Kinds of packets, and what devices hash of them: addresses, and ports where a protocol is named.
const KINDS: [(u32, &str); 14] = [
    (sys::RTE_ETH_FLOW_IPV4, "ipv4"),
    (sys::RTE_ETH_FLOW_FRAG_IPV4, "ipv4-fragment"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV4_TCP, "ipv4-tcp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV4_UDP, "ipv4-udp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV4_SCTP, "ipv4-sctp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV4_OTHER, "ipv4-other"),
    (sys::RTE_ETH_FLOW_IPV6, "ipv6"),
    (sys::RTE_ETH_FLOW_FRAG_IPV6, "ipv6-fragment"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV6_TCP, "ipv6-tcp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV6_UDP, "ipv6-udp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV6_SCTP, "ipv6-sctp"),
    (sys::RTE_ETH_FLOW_NONFRAG_IPV6_OTHER, "ipv6-other"),
    (sys::RTE_ETH_FLOW_IPV6_TCP_EX, "ipv6-tcp-ext"),
    (sys::RTE_ETH_FLOW_IPV6_UDP_EX, "ipv6-udp-ext"),
];

/// How a device spreads flows over its receive queues, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rss {
    pub queues: u16,
    /// The kinds of packets that it hashes, a bit each.
    pub kinds: u64,
    /// It has the key that gives both directions of a flow the same hash.
    pub symmetric: bool,
    /// It has the table by which ports with as many queues send a hash to the same one.
    pub common_table: bool,
}

impl Rss {
    /// The kinds of packets that it hashes, e.g. `ipv4-udp`; of others it takes what is nearest, e.g. `ipv4`.
    pub fn names(&self) -> Vec<&'static str> {
        let hashed = KINDS.iter().filter(|(bit, _)| self.kinds & 1 << bit != 0);
        hashed.map(|(_, name)| *name).collect()
    }

    /// Reads it from a started device; none: the driver does not say it.
    pub(super) fn read(device: &Device, queues: u16) -> Result<Option<Self>, DpdkError> {
        let info = setup::info(device)?;
        let mut key = [0; SYMMETRIC_KEY.len()];
        let length = key_length(&info);
        if usize::from(length) > key.len() {
            return Ok(None);
        }
        let mut conf = sys::rte_eth_rss_conf {
            rss_key: key.as_mut_ptr(),
            rss_key_len: length,
            rss_hf: 0,
        };
        // SAFETY: the port exists and is configured; the key has room for what the driver says that it writes.
        let read = device.call("reading the hash", || unsafe {
            sys::rte_eth_dev_rss_hash_conf_get(device.id, &mut conf)
        });
        let kinds = conf.rss_hf;
        match read {
            Err(DpdkError::Unsupported { .. }) => return Ok(None),
            other => other?,
        }
        Ok(Some(Self {
            queues,
            kinds,
            symmetric: key[..usize::from(length)] == SYMMETRIC_KEY[..usize::from(length)],
            common_table: set_table(device, usize::from(info.reta_size), queues)?,
        }))
    }

    /// Has a started device hash these kinds alone, by the symmetric key.
    pub(super) fn set(device: &Device, kinds: u64) -> Result<(), DpdkError> {
        let mut key = SYMMETRIC_KEY;
        let mut conf = sys::rte_eth_rss_conf {
            rss_key: key.as_mut_ptr(),
            rss_key_len: key_length(&setup::info(device)?).min(SYMMETRIC_KEY.len() as u8),
            rss_hf: kinds,
        };
        // SAFETY: the port exists and is configured; the driver copies as much of the key as it says that it has.
        device.call("setting the hash", || unsafe {
            sys::rte_eth_dev_rss_hash_update(device.id, &mut conf)
        })
    }
}

/// Bytes of a device's key. Drivers that do not say it have the 40 that Microsoft's specification of RSS has.
fn key_length(info: &sys::rte_eth_dev_info) -> u8 {
    match info.hash_key_size {
        0 => 40,
        size => size,
    }
}

/// Sets the table from hashes to queues, and says whether the device has it then. Tables have 64 entries or a multiple; by their
/// lowest six bits hashes come to the same queue whatever the size.
fn set_table(device: &Device, size: usize, queues: u16) -> Result<bool, DpdkError> {
    let group = sys::RTE_ETH_RETA_GROUP_SIZE as usize;
    if size == 0 || !size.is_multiple_of(group) {
        return Ok(false);
    }
    let queue = |entry: usize| (entry % group) as u16 % queues;
    let mut wanted = vec![whole_group(); size / group];
    for part in &mut wanted {
        for (entry, to) in part.reta.iter_mut().enumerate() {
            *to = queue(entry);
        }
    }
    let entries = size as u16;
    // SAFETY: the port exists and is configured; the table has so many entries, in groups.
    let set = device.call("setting the table of queues", || unsafe {
        sys::rte_eth_dev_rss_reta_update(device.id, wanted.as_mut_ptr(), entries)
    });
    setup::where_supported(set)?;
    let mut found = vec![whole_group(); size / group];
    // SAFETY: as above; the driver writes the entries that are asked for by their bits.
    let read = device.call("reading the table of queues", || unsafe {
        sys::rte_eth_dev_rss_reta_query(device.id, found.as_mut_ptr(), entries)
    });
    match read {
        Err(DpdkError::Unsupported { .. }) => Ok(false),
        other => other.map(|()| found.iter().zip(&wanted).all(|(a, b)| a.reta == b.reta)),
    }
}

/// All entries of a group are meant.
fn whole_group() -> sys::rte_eth_rss_reta_entry64 {
    sys::rte_eth_rss_reta_entry64 {
        mask: u64::MAX,
        reta: [0; sys::RTE_ETH_RETA_GROUP_SIZE as usize],
    }
}
