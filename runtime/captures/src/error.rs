use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a capture cannot be read, or not to its end. Each text names the file, the place and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    #[error("{}: {source}. Name a capture that exists and can be read.", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "{}: this is neither a pcap nor a pcapng file, plain or compressed by gzip or zstd. Name a capture, as \
         `tcpdump -w` writes it.", path.display()
    )]
    NotACapture { path: PathBuf },
    #[error(
        "{}: the capture is cut short after packet {after}: {found}. Keep the packets before it (`editcap IN OUT`), or \
         take another.", path.display()
    )]
    CutShort {
        path: PathBuf,
        after: u64,
        found: String,
    },
    #[error(
        "{}: the capture is damaged after packet {after}: {found}. Repair it (for example with `editcap IN OUT`) or take \
         another.", path.display()
    )]
    Damaged {
        path: PathBuf,
        after: u64,
        found: String,
    },
    #[error("{}: reading fails after packet {after}: {source}. Repair the disk or the mount, or take a copy.", path.display())]
    Read {
        path: PathBuf,
        after: u64,
        source: io::Error,
    },
    #[error(
        "{}: packet {packet}: {found}, and a port takes Ethernet frames. Convert the capture with \
         `tcprewrite --dlt=enet --infile=IN --outfile=OUT`, or, where its packets are Ethernet frames and only the type is \
         wrong, with `editcap -T ether IN OUT`.", path.display()
    )]
    Link {
        path: PathBuf,
        packet: u64,
        found: String,
    },
}

/// A mistake whose place is not known yet.
#[derive(Debug)]
pub(crate) enum Fault {
    CutShort(String),
    Damaged(String),
    Link(String),
    Io(io::Error),
}

impl Fault {
    /// After so many packets of the file.
    pub(crate) fn at(self, path: &Path, after: u64) -> CaptureError {
        let path = path.to_path_buf();
        match self {
            Self::CutShort(found) => CaptureError::CutShort { path, after, found },
            Self::Damaged(found) => CaptureError::Damaged { path, after, found },
            Self::Link(found) => CaptureError::Link {
                path,
                packet: after + 1,
                found,
            },
            Self::Io(source) => match source.kind() {
                io::ErrorKind::UnexpectedEof => CaptureError::CutShort {
                    path,
                    after,
                    found: "its compressed data end too early".to_owned(),
                },
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => CaptureError::Damaged {
                    path,
                    after,
                    found: source.to_string(),
                },
                _ => CaptureError::Read { path, after, source },
            },
        }
    }
}
