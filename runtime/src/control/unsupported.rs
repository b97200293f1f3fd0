//! Features of the language that this version does not support.

use onvm_bundle::ManagerConfig;

use super::cores::refuse_missing;
use crate::{error::RunError, worker::BURST};

/// Refuses it, in an operator's words, before anything is started.
pub(super) fn refuse_unsupported(manager: &ManagerConfig) -> Result<(), RunError> {
    let of_worker = 2 * BURST as u64 + u64::from(manager.ring.min(256));
    if u64::from(manager.buffers.count) < u64::from(manager.workers.count) * of_worker {
        let text = format!(
            "{} buffers are too few for rings of {} and workers {}. Write more `buffers` in `manager`.",
            manager.buffers.count, manager.ring, manager.workers.count
        );
        return Err(RunError::Unsupported(text));
    }
    refuse_missing(manager)
}
