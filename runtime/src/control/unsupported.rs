//! Features of the language that this version does not support.

use onvm_bundle::ManagerConfig;

use super::cores::refuse_missing;
use crate::{error::RunError, worker::BURST};

/// Refuses it, in an operator's words, before anything is started.
pub(super) fn refuse_unsupported(manager: &ManagerConfig) -> Result<(), RunError> {
    let domain = manager.services.first().and_then(|s| s.domain.as_ref());
    if let Some(other) = manager.services.iter().find(|s| s.domain.as_ref() != domain) {
        let text = format!(
            "all NFs of this onvm-run share one packet memory, and `{}` is to be in another domain than `{}`. Give all the same \
             `domain`, or none, or run them under managers of their own.",
            other.name, manager.services[0].name
        );
        return Err(RunError::Unsupported(text));
    }
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
