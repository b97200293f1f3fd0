//! Packets that a test sends to a running manager when it wants to: by a FIFO that a `pcap` port reads.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{OFlags, fcntl_setfl};

use crate::{Manager, Scratch, manager::SOON, process, programs, variants};

/// The writing end. When it is dropped, the port is done.
#[derive(Debug)]
pub struct Feed(File);

impl Feed {
    /// Makes the FIFO.
    pub fn make(scratch: &Scratch, name: &str) -> PathBuf {
        let path = scratch.path(name);
        programs::tool("mkfifo", &[path.to_str().unwrap()]);
        path
    }

    /// Opens it as soon as the manager reads, writes the capture's header, and waits until the manager is ready.
    pub fn begin(manager: &Manager, fifo: &Path) -> Self {
        // Does not wait, and fails as long as nobody reads.
        let open = || {
            let flags = OFlags::NONBLOCK.bits() as i32;
            File::options().write(true).custom_flags(flags).open(fifo).ok()
        };
        let opened = process::wait_for(SOON, open);
        let mut fifo = opened.unwrap_or_else(|| panic!("nobody reads the FIFO:\n{}", manager.log()));
        fcntl_setfl(&fifo, OFlags::empty()).unwrap();
        fifo.write_all(&capture(&[])).unwrap();
        manager.wait_for_log("READY");
        Self(fifo)
    }

    pub fn send(&mut self, packets: &[Vec<u8>]) {
        self.0.write_all(&capture(packets)[24..]).unwrap();
    }
}

fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
    variants::pcap(packets, 1, false, 0xa1b2_c3d4, 65_535).bytes
}
