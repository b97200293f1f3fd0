//! Hosts for tests.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use crate::doctor::{Access, Machine, facts};

/// A host that is made up. Everything that is there is named.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake {
    pub(super) files: HashMap<PathBuf, String>,
    pub(super) links: HashMap<PathBuf, String>,
    /// May be neither read nor written.
    pub(super) closed: HashSet<PathBuf>,
    pub(super) variables: HashMap<String, String>,
    pub(super) programs: HashMap<String, Result<String, String>>,
}

impl Fake {
    /// Root on a host of eight cores with everything that the programs below need.
    pub(super) fn sound() -> Self {
        let mut fake = Self::default();
        fake.file(
            "/proc/self/status",
            "Name:\tonvmc\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\nCpus_allowed_list:\t0-7\n",
        );
        fake.file("/proc/self/limits", "Limit                     Soft Limit           Hard Limit           Units\nMax locked memory         8388608              8388608              bytes\nMax open files            256                  1024                 files\n");
        fake.file("/proc/self/cgroup", "0::/user.slice/a.service\n");
        fake.file(
            "/proc/meminfo",
            "MemTotal:       16000000 kB\nMemAvailable:    8388608 kB\n",
        );
        fake.file("/sys/devices/system/node/online", "0-1\n");
        fake.file("/dev/net/tun", "");
        fake.file("/run/onvm", "");
        fake.pages(2 << 20, 0, 0).pages(1 << 30, 0, 0);
        for program in ["onvm-nf", "guard", "screen"] {
            fake.programs.insert(program.into(), Ok(String::new()));
        }
        fake.programs.insert(
            "onvm-run".into(),
            Ok(format!("onvm-run {} (DPDK 22.11.5)\n", env!("CARGO_PKG_VERSION"))),
        );
        fake.isolation(r#"{"means":["system call filter","pid namespace"],"missing":[],"waived":[]}"#)
            .clone()
    }

    /// What `onvm-run` says of NFs' isolation.
    pub(super) fn isolation(&mut self, json: &str) -> &mut Self {
        self.programs
            .insert("onvm-run --isolation".into(), Ok(json.to_owned()));
        self
    }

    pub(super) fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.files.insert(path.into(), text.into());
        self
    }

    pub(super) fn pages(&mut self, page: u64, all: u64, free: u64) -> &mut Self {
        let dir = facts::pages_dir(page);
        self.files.insert(dir.join("nr_hugepages"), format!("{all}\n"));
        self.files.insert(dir.join("free_hugepages"), format!("{free}\n"));
        self
    }

    pub(super) fn not_root(&mut self) -> &mut Self {
        self.file(
            "/proc/self/status",
            "Uid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-7\n",
        )
    }
}

impl Machine for Fake {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn link(&self, path: &Path) -> Option<String> {
        self.links.get(path).cloned()
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("/") || self.files.keys().any(|p| p.starts_with(path)) || self.closed.contains(path)
    }

    fn may(&self, path: &Path, _: Access) -> bool {
        self.exists(path) && !self.closed.contains(path)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn program(&self, name: &str, _: &[PathBuf]) -> Option<PathBuf> {
        self.programs
            .contains_key(name)
            .then(|| Path::new("/usr/local/bin").join(name))
    }

    fn run(&self, program: &Path, args: &[&str]) -> Result<String, String> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        // What it says to some option, or to any.
        let with_option = format!("{name} {}", args.first().unwrap_or(&""));
        self.programs
            .get(&with_option)
            .or_else(|| self.programs.get(name.as_ref()))
            .cloned()
            .unwrap_or_else(|| Err("not found".into()))
    }
}
