//! The captures that ports read: refusals before anything is started, and reading in advance.

use std::{fs, path::Path};

use onvm_bundle::{ManagerConfig, PathRef};
use onvm_captures::Capture;
use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::capture::Chunk;

/// A capture that a port reads.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub path: std::path::PathBuf,
    pub repeat: bool,
    /// Packets that a repeated one may have, and bytes that each of them may.
    most: usize,
    room: usize,
}

impl Reading {
    /// Refuses what is not there or cannot be read; nothing is opened, since a FIFO may have no writer yet.
    pub(crate) fn plan(
        manager: &ManagerConfig,
        bundle: &onvm_bundle::Bundle,
        read: &PathRef,
        repeat: bool,
    ) -> Result<Self, String> {
        let path = bundle.resolve(read);
        let shown = path.display();
        let refused =
            |e: std::io::Error| format!("{shown}: {e}. Name a capture that exists and can be read.");
        if fs::metadata(&path).map_err(refused)?.is_dir() {
            return Err(format!("{shown}: this is a directory. Name a capture."));
        }
        accessat(CWD, &path, Access::READ_OK, AtFlags::EACCESS).map_err(|e| refused(e.into()))?;
        Ok(Self {
            repeat,
            most: manager.buffers.count as usize / 2,
            room: manager.buffer_room() as usize,
            path,
        })
    }

    /// Reads the capture once before it is run, so that damage is found before anything is started. A repeated one is kept. A
    /// FIFO that is played once can be read only once.
    pub(crate) fn load(&self) -> Result<Option<Chunk>, String> {
        if self.repeat {
            return Chunk::whole(&self.path, self.most, self.room).map(Some);
        }
        if is_file(&self.path) {
            let read = Capture::open(&self.path).and_then(|capture| capture.for_each(|_| {}));
            read.map_err(|e| e.to_string())?;
        }
        Ok(None)
    }
}

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| there.is_file())
}
