use std::{
    ffi::{CString, c_char},
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dpdk_sys as sys;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    DpdkError,
    descriptors::CloseOnExec,
    error::{Attempt, current_errno, reason},
    log,
};

/// How the EAL is started.
#[derive(Debug, Clone)]
pub struct EalOptions {
    pub huge_pages: HugePages,
    /// Memory for DPDK's own objects in MiB; packet buffers are not in it. See
    /// [`onvm_bundle::ManagerConfig::dpdk_mib`].
    pub memory_mib: u32,
    /// The same for pools that are made later. With huge pages DPDK takes more when it needs it; of plain ones it has all addresses from
    /// the start, which take memory when they are used.
    pub spare_mib: u32,
    /// Names this process among those that use DPDK: letters, digits, `-` and `_`.
    pub file_prefix: String,
    /// PCI devices that may be probed, as `0000:3b:00.0`. With none, the PCI bus is left alone.
    pub pci: Vec<String>,
    /// CPUs for the EAL's own threads (interrupts, alarms). Empty: those that the calling thread may run on.
    pub main_cores: Vec<usize>,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self {
            huge_pages: HugePages::Auto,
            memory_mib: 64,
            spare_mib: 0,
            file_prefix: "onvm".to_owned(),
            pci: Vec::new(),
            main_cores: Vec::new(),
        }
    }
}

/// Where the EAL takes its own memory from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HugePages {
    /// Huge pages when enough of one size are free, else plain ones. Those that the packet file is to have must be taken
    /// before: the EAL does not know of it.
    Auto,
    /// Plain pages.
    Off,
    /// Free huge pages of this size must cover the memory.
    Size(PageSize),
}

/// The size of a page of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    Kib4,
    Mib2,
    Gib1,
}

impl PageSize {
    pub const fn bytes(self) -> usize {
        match self {
            Self::Kib4 => 4 << 10,
            Self::Mib2 => 2 << 20,
            Self::Gib1 => 1 << 30,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kib4 => "4 KiB",
            Self::Mib2 => "2 MiB",
            Self::Gib1 => "1 GiB",
        }
    }

    /// Huge pages of this size that nobody uses, in MiB.
    fn free_mib(self) -> u64 {
        let kib = self.bytes() as u64 >> 10;
        let counter = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB/free_hugepages");
        let pages = fs::read_to_string(counter)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        pages.unwrap_or(0) * (kib >> 10)
    }
}

/// The running Environment Abstraction Layer. It is cleaned up when this value and all pools, ports, queues and
/// registered threads made from it are gone.
#[derive(Debug)]
pub struct Eal {
    running: Arc<Running>,
    huge_pages: bool,
}

/// The fact that the EAL runs; everything that calls DPDK holds a share.
pub(super) struct Running {
    /// DPDK may keep pointers to its arguments.
    _arguments: Vec<CString>,
    runtime_folder: PathBuf,
}

impl Eal {
    /// Starts the EAL: no telemetry, no sharing with other processes, no file left behind, no output, and the calling
    /// thread's CPU set as it was. A process can do it once, even when it fails.
    ///
    /// IO addresses are virtual: PCI devices must be bound to `vfio-pci` behind an IOMMU (or use a bifurcated driver).
    pub fn init(options: &EalOptions) -> Result<Self, DpdkError> {
        static STARTED: AtomicBool = AtomicBool::new(false);
        let affinity = affinity()?;
        let huge_pages = use_huge_pages(options)?;
        let arguments = arguments(options, huge_pages, &affinity)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(DpdkError::AlreadyStarted);
        }
        let runtime_folder = runtime_folder(&options.file_prefix);
        if !log::capture() {
            return Err(start_error("no memory for the log".to_owned(), String::new()));
        }
        let _descriptors = CloseOnExec::begin();
        let attempt = Attempt::begin();
        let code = start(&arguments);
        // The EAL moves the calling thread to its main lcore's CPUs.
        let restored = sched_setaffinity(None, &affinity);
        remove_runtime_folder(&runtime_folder);
        if code < 0 {
            std::mem::forget(arguments);
            return Err(start_error(reason(-current_errno()), attempt.detail()));
        }
        let running = Running {
            _arguments: arguments,
            runtime_folder,
        };
        restored
            .map_err(|error| start_error(format!("the CPU set was not restored: {error}"), String::new()))?;
        Ok(Self {
            running: Arc::new(running),
            huge_pages,
        })
    }

    /// Whether DPDK's own memory is in huge pages.
    pub fn uses_huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// What DPDK logged, the newest 32 KiB.
    pub fn recent_log(&self) -> String {
        log::since(0)
    }

    /// Ends the EAL now if nothing made from it is left, else when the last of it goes.
    pub fn cleanup(self) {}

    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running)
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the EAL was started (a value exists only then) and this is the last share of it: ports are closed,
        // pools freed and threads unregistered. It runs once, as `Eal::init` succeeds at most once in a process.
        let _ = unsafe { sys::rte_eal_cleanup() };
        remove_runtime_folder(&self.runtime_folder);
    }
}

/// DPDK makes a folder even when asked to share nothing; it stays empty.
fn remove_runtime_folder(folder: &Path) {
    if fs::remove_dir(folder).is_ok() {
        // The folder of all prefixes; it stays while another process has its own in it.
        let _ = folder.parent().map(fs::remove_dir);
    }
}

fn start(arguments: &[CString]) -> i32 {
    let mut pointers: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
    let count = i32::try_from(pointers.len()).unwrap_or(i32::MAX);
    pointers.push(std::ptr::null_mut());
    // SAFETY: `pointers` holds `count` NUL-terminated strings and a null, as `main` gets them. DPDK permutes the pointers
    // and does not write to the strings; the strings live as long as the EAL (`Running`). `Eal::init` calls this once.
    unsafe { sys::rte_eal_init(count, pointers.as_mut_ptr()) }
}

fn start_error(reason: String, detail: String) -> DpdkError {
    DpdkError::Start { reason, detail }
}

fn affinity() -> Result<CpuSet, DpdkError> {
    sched_getaffinity(None).map_err(|error| start_error(format!("CPU set: {error}"), String::new()))
}

fn use_huge_pages(options: &EalOptions) -> Result<bool, DpdkError> {
    let wanted_mib = u64::from(options.memory_mib);
    match options.huge_pages {
        HugePages::Off | HugePages::Size(PageSize::Kib4) => Ok(false),
        HugePages::Auto => Ok([PageSize::Mib2, PageSize::Gib1]
            .iter()
            .any(|size| size.free_mib() >= wanted_mib)),
        HugePages::Size(size) => match size.free_mib() {
            free_mib if free_mib < wanted_mib => Err(DpdkError::HugePages {
                size: size.name(),
                kib: size.bytes() as u64 >> 10,
                wanted_mib,
                free_mib,
            }),
            _ => Ok(true),
        },
    }
}

fn arguments(options: &EalOptions, huge_pages: bool, affinity: &CpuSet) -> Result<Vec<CString>, DpdkError> {
    let prefix = &options.file_prefix;
    if prefix.is_empty()
        || !prefix
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        return Err(DpdkError::InvalidOption(format!(
            "file prefix `{prefix}`: letters, digits, `-` and `_` only"
        )));
    }
    let cpus = main_cpus(options, affinity)?;
    let memory_mib = match huge_pages {
        true => options.memory_mib,
        false => options.memory_mib.saturating_add(options.spare_mib),
    };
    let mut arguments = vec![
        "onvm-run".to_owned(),
        "--no-telemetry".to_owned(),
        "--iova-mode=va".to_owned(),
        format!("--file-prefix={prefix}"),
        // One lcore, for the calling thread. Workers register themselves.
        format!("--lcores=0@({cpus})"),
        format!("-m{memory_mib}"),
    ];
    // Plain pages are anonymous by themselves, and DPDK takes --in-memory for huge pages only.
    let storage: &[&str] = if huge_pages {
        &["--in-memory"]
    } else {
        &["--no-huge", "--no-shconf"]
    };
    arguments.extend(storage.iter().copied().map(str::to_owned));
    if options.pci.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    for address in &options.pci {
        super::requirements::check_pci_address(address)?;
        arguments.push(format!("--allow={address}"));
    }
    let invalid = |error: std::ffi::NulError| DpdkError::InvalidOption(error.to_string());
    arguments
        .into_iter()
        .map(|text| CString::new(text).map_err(invalid))
        .collect()
}

/// The list of `--lcores`, checked: DPDK's own message for a CPU that is not there says little.
fn main_cpus(options: &EalOptions, affinity: &CpuSet) -> Result<String, DpdkError> {
    let allowed = |cpu: usize| cpu < CpuSet::MAX_CPU && affinity.is_set(cpu);
    let cpus: Vec<usize> = match options.main_cores.as_slice() {
        [] => (0..CpuSet::MAX_CPU).filter(|&cpu| allowed(cpu)).collect(),
        named => named.to_vec(),
    };
    if let Some(cpu) = cpus.iter().find(|&&cpu| !allowed(cpu)) {
        return Err(DpdkError::InvalidOption(format!(
            "main core {cpu} is not among this process's CPUs"
        )));
    }
    Ok(cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
}

/// Where DPDK keeps run-time files of a prefix (`eal_create_runtime_dir`).
fn runtime_folder(prefix: &str) -> PathBuf {
    let base = if rustix::process::getuid().is_root() {
        PathBuf::from("/var/run")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    };
    base.join(Path::new("dpdk")).join(prefix)
}
