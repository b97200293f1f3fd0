//! What a manager holds, so that a test can see whether anything is left behind.

use std::path::{Path, PathBuf};

use crate::{Manager, Scratch, process};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: usize,
    /// Mappings of memory files.
    pub regions: usize,
    pub threads: usize,
    /// In the run directory of a bundle with the name `test`.
    pub bundles: usize,
    pub nfs: usize,
}

impl Holdings {
    pub fn of(manager: &Manager, scratch: &Scratch) -> Self {
        let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
        let own = PathBuf::from(format!("/proc/{}", manager.pid()));
        let maps = std::fs::read_to_string(own.join("maps")).unwrap();
        Self {
            descriptors: process::descriptors(manager.pid()).len(),
            regions: maps.lines().filter(|l| l.contains("memfd:")).count(),
            threads: count(&own.join("task")),
            bundles: count(&scratch.run_dir().join("test/bundles")),
            nfs: manager.nf_processes().len(),
        }
    }
}

/// The manager's own memory in KiB: without that of packets, of which the traffic decides what is touched.
pub fn memory(manager: &Manager) -> usize {
    let text = process::status_field(manager.pid(), "RssAnon");
    text.split_whitespace().next().unwrap().parse().unwrap()
}
