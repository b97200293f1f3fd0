use std::ffi::CStr;

use dpdk_sys as sys;

use super::log;

/// Why DPDK, or something that it needs, failed. The text names the thing, the reason and, where there is one, a remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DpdkError {
    #[error("DPDK can be started once in the life of a process, and was started before")]
    AlreadyStarted,

    #[error("invalid EAL option: {0}")]
    InvalidOption(String),

    #[error(
        "{wanted_mib} MiB of free {size} huge pages were asked for, {free_mib} MiB are free; reserve more \
         (echo N > /sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages) or run without huge pages"
    )]
    HugePages {
        size: &'static str,
        kib: u64,
        wanted_mib: u64,
        free_mib: u64,
    },

    #[error("DPDK did not start: {reason}{}", with_log(.detail))]
    Start { reason: String, detail: String },

    #[error("the packet memory could not be mapped: {reason}")]
    Mapping { reason: String },

    #[error("packet pool `{pool}`: {reason}{}", with_log(.detail))]
    Pool {
        pool: String,
        reason: String,
        detail: String,
    },

    #[error("this thread could not be registered with DPDK: {reason}{}", with_log(.detail))]
    Thread { reason: String, detail: String },

    #[error("port `{port}`: there is no network interface `{interface}` in this network namespace")]
    NoInterface { port: String, interface: String },

    #[error(
        "port `{port}`: no permission: the process needs the capability {capability} \
         (run as root, or give it with `setcap {}+ep` to the program)", .capability.to_lowercase()
    )]
    NoPermission { port: String, capability: &'static str },

    #[error("port `{port}`: {reason}")]
    Config { port: String, reason: String },

    #[error("port `{port}`: {action} failed: {reason}{}", with_log(.detail))]
    Port {
        port: String,
        action: &'static str,
        reason: String,
        detail: String,
    },

    #[error("port `{port}`: its driver does not support this: {action}")]
    Unsupported { port: String, action: &'static str },

    #[error("port `{port}`: {action} must wait until its workers have given their queues back")]
    QueuesInUse { port: String, action: &'static str },
}

impl DpdkError {
    pub(super) fn config(port: &str, reason: impl Into<String>) -> Self {
        Self::Config {
            port: port.to_owned(),
            reason: reason.into(),
        }
    }
}

fn with_log(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!("\nDPDK's log:\n{detail}")
    }
}

/// One call into DPDK: where its log stood before, so that an error can carry what the call logged.
pub(super) struct Attempt {
    log_start: u64,
}

impl Attempt {
    pub(super) fn begin() -> Self {
        Self {
            log_start: log::position(),
        }
    }

    /// The error of a port operation that returned `code` (a negated errno, or -1 with the number in `rte_errno`).
    pub(super) fn port_error(&self, port: &str, action: &'static str, code: i32) -> DpdkError {
        DpdkError::Port {
            port: port.to_owned(),
            action,
            reason: reason(code),
            detail: self.detail(),
        }
    }

    pub(super) fn pool_error(&self, pool: &str, what: &str, code: i32) -> DpdkError {
        let reason = format!("{what}: {}", reason(code));
        DpdkError::Pool {
            pool: pool.to_owned(),
            reason,
            detail: self.detail(),
        }
    }

    /// The last lines that DPDK logged since the attempt began, indented, without an end of line.
    pub(super) fn detail(&self) -> String {
        const LINES: usize = 8;
        let text = log::since(self.log_start);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let newest = lines.iter().skip(lines.len().saturating_sub(LINES));
        newest
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The text of a DPDK return code.
pub(super) fn reason(code: i32) -> String {
    // -1 is EPERM by number, but nearly everywhere in DPDK it means "see rte_errno", or nothing at all.
    let number = if code == -1 { current_errno() } else { code.abs() };
    if number == 0 {
        return "no reason given".to_owned();
    }
    // SAFETY: rte_strerror takes any number and returns a NUL-terminated string that is either static or in a buffer
    // of this thread; it is copied before this thread can call it again.
    unsafe { CStr::from_ptr(sys::rte_strerror(number)) }
        .to_string_lossy()
        .into_owned()
}

pub(super) fn current_errno() -> i32 {
    // SAFETY: reads a thread-local number; no precondition.
    unsafe { sys::onvm_errno() }
}
