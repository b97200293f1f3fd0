//! Messages for the manager's log.

use std::ffi::c_char;

use nflib::log::{Level, debug, error, info, trace, warn};

use crate::checked;

/// How important a message is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum onvm_level {
    ONVM_ERROR = 1,
    ONVM_WARN = 2,
    ONVM_INFO = 3,
    ONVM_DEBUG = 4,
    ONVM_TRACE = 5,
}

/// None where the number is not one of a level.
fn level(number: u32) -> Option<Level> {
    Some(match number {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        5 => Level::Trace,
        _ => return None,
    })
}

/// Whether a message of this level, one of `enum onvm_level`, would be shown: to be asked before it is put together. The manager
/// shows `ONVM_INFO` and above unless its operator asks for more.
#[unsafe(no_mangle)]
pub extern "C" fn onvm_log_enabled(level: u32) -> bool {
    self::level(level).is_some_and(|level| level <= nflib::log::max_level())
}

/// Writes a message into the manager's log, under the instance's name. Null and other levels are ignored. Lines beyond 200 a second
/// are left out and counted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_log(level: u32, text: *const c_char) {
    // SAFETY: the caller gives null or a text that ends with a zero byte, and it is not kept.
    let text = unsafe { checked::lossy(text) };
    match (self::level(level), text) {
        (Some(Level::Error), Some(text)) => error!("{text}"),
        (Some(Level::Warn), Some(text)) => warn!("{text}"),
        (Some(Level::Info), Some(text)) => info!("{text}"),
        (Some(Level::Debug), Some(text)) => debug!("{text}"),
        (Some(Level::Trace), Some(text)) => trace!("{text}"),
        _ => {}
    }
}
