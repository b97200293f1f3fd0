//! Reading a capture once before it is run: how many packets it has, and whether they can be used.

use std::{fs::File, io::BufReader, path::Path};

use pcap_file::{
    DataLink,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};

/// Counts the packets of a pcap or pcapng file, or says in what way it cannot be used.
pub(super) fn count_packets(path: &Path) -> Result<u64, String> {
    let open = || {
        File::open(path).map(BufReader::new).map_err(|e| {
            format!(
                "{}: {e}. Name a capture that is there and can be read.",
                path.display()
            )
        })
    };
    let fault = |n: u64, e: &dyn std::fmt::Display| {
        format!(
            "{}: the capture is damaged after packet {n}: {e}. Repair it (for example with `editcap IN OUT`) or take \
             another.",
            path.display()
        )
    };
    match PcapReader::new(open()?) {
        Ok(mut reader) => {
            check_link(path, reader.header().datalink)?;
            let mut count = 0;
            while let Some(packet) = reader.next_raw_packet() {
                packet.map_err(|e| fault(count, &e))?;
                count += 1;
            }
            Ok(count)
        }
        Err(_) => count_pcapng(path, open()?, &fault),
    }
}

fn count_pcapng(
    path: &Path,
    file: BufReader<File>,
    fault: &dyn Fn(u64, &dyn std::fmt::Display) -> String,
) -> Result<u64, String> {
    let mut reader = PcapNgReader::new(file).map_err(|e| {
        format!(
            "{}: this is neither a pcap nor a pcapng file ({e}). Name a capture, as `tcpdump -w` writes it.",
            path.display()
        )
    })?;
    let mut count = 0;
    while let Some(block) = reader.next_block() {
        match block.map_err(|e| fault(count, &e))? {
            Block::InterfaceDescription(interface) => check_link(path, interface.linktype)?,
            Block::EnhancedPacket(_) | Block::SimplePacket(_) | Block::Packet(_) => count += 1,
            _ => {}
        }
    }
    Ok(count)
}

fn check_link(path: &Path, link: DataLink) -> Result<(), String> {
    match link {
        DataLink::ETHERNET => Ok(()),
        other => Err(format!(
            "{}: its link type is {other:?}, and a port reads Ethernet. Capture on an Ethernet interface (not on `any`).",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};

    use super::*;

    fn capture(link: DataLink, packets: usize) -> Vec<u8> {
        let header = PcapHeader {
            datalink: link,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
        for _ in 0..packets {
            writer
                .write_packet(&PcapPacket::new(std::time::Duration::ZERO, 60, &[0; 60]))
                .unwrap();
        }
        writer.into_writer()
    }

    fn count(bytes: &[u8]) -> Result<u64, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        count_packets(file.path())
    }

    #[test]
    fn packets_are_counted() {
        assert_eq!(count(&capture(DataLink::ETHERNET, 3)), Ok(3));
        assert_eq!(count(&capture(DataLink::ETHERNET, 0)), Ok(0));
    }

    #[test]
    fn a_cut_capture_is_refused_with_the_place() {
        let mut bytes = capture(DataLink::ETHERNET, 3);
        bytes.truncate(bytes.len() - 10);
        let error = count(&bytes).unwrap_err();
        assert!(error.contains("damaged after packet 2"), "{error}");
    }

    #[test]
    fn what_is_no_capture_or_no_ethernet_is_refused() {
        assert!(
            count(b"hello, this is text")
                .unwrap_err()
                .contains("neither a pcap nor a pcapng")
        );
        assert!(
            count(&capture(DataLink::RAW, 1))
                .unwrap_err()
                .contains("link type")
        );
        assert!(
            count_packets(Path::new("/nonexistent.pcap"))
                .unwrap_err()
                .contains("/nonexistent.pcap")
        );
    }
}
