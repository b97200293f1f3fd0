//! A virtual machine with a kernel as Debian ships it, the project's programs and a script, for what the host's kernel does not
//! offer or must not be used for. `make test-lab` fetches the kernel.

mod machine;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub use self::machine::{Hardware, Machine};
use crate::programs::{self, tool};

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
/// What the script stands in for init with.
const BEFORE: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
export PATH=/bin:/usr/bin
";
/// Drivers of DPDK that need no device, and what they are linked with.
const VIRTUAL: [&str; 5] = ["bus_pci", "bus_vdev", "mempool_ring", "net_null", "net_ring"];
const AFTER: &str = "\necho GUEST ENDS\npoweroff -f\n";
/// Emulated, on two cores, beside whatever else runs.
const LONGEST_S: &str = "240";

/// The root directory of a guest that has not been started.
#[derive(Debug)]
pub struct Guest {
    dir: tempfile::TempDir,
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

impl Guest {
    /// One with the project's programs and what they need.
    pub fn new() -> Self {
        let guest = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in [
            "bin",
            "dev",
            "etc",
            "proc",
            "run",
            "sys",
            "tmp",
            "usr/bin",
            "usr/lib64",
            LIBRARIES,
        ] {
            fs::create_dir_all(guest.path(dir)).unwrap();
        }
        symlink("usr/lib", guest.path("lib")).unwrap();
        symlink("usr/lib64", guest.path("lib64")).unwrap();
        guest.copy(Path::new("/bin/busybox"), "bin/busybox");
        for name in ["onvm-run", "onvm-nf", "test-nf"] {
            guest.add_own(name);
        }
        guest.add_drivers(&VIRTUAL);
        guest
    }

    /// Adds the drivers of network cards, of DPDK and of the kernel, and what these need.
    pub fn add_cards(&self) {
        self.add_drivers(&["net_e1000", "net_virtio"]);
        for dir in ["sbin", "var"] {
            fs::create_dir_all(self.path(dir)).unwrap();
        }
        symlink("/bin/busybox", self.path("sbin/modprobe")).unwrap();
        symlink("/run", self.path("var/run")).unwrap();
        // Asked for by the end of a thread.
        self.copy(
            &Path::new("/").join(LIBRARIES).join("libgcc_s.so.1"),
            &format!("{LIBRARIES}/libgcc_s.so.1"),
        );
        let modules = programs::directory().join("../guest/modules");
        assert!(
            modules.is_dir(),
            "{} is missing: run `make setup-lab`",
            modules.display()
        );
        self.add(&modules, "modules");
    }

    /// Adds a program of the project's.
    pub fn add_own(&self, name: &str) {
        let program = programs::path(name);
        let to = self.path("usr/bin").join(name);
        // Nobody reads their debugging information there, and all of it would be in memory.
        tool(
            "objcopy",
            &["--strip-debug", program.to_str().unwrap(), to.to_str().unwrap()],
        );
        self.add_libraries(&program);
    }

    /// Adds a program of the host's, by its path.
    pub fn add_program(&self, path: &str) {
        self.copy(Path::new(path), &path[1..]);
        self.add_libraries(Path::new(path));
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    fn copy(&self, from: &Path, inside: &str) {
        fs::copy(from, self.path(inside)).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    }

    /// The libraries that a program or library names.
    fn add_libraries(&self, of: &Path) {
        for word in tool("ldd", &[of.to_str().unwrap()]).split_whitespace() {
            let path = Path::new(word);
            if path.is_absolute() {
                let directory = match path.starts_with("/lib64") {
                    true => "usr/lib64",
                    false => LIBRARIES,
                };
                let name = path.file_name().unwrap().to_str().unwrap();
                let inside = format!("{directory}/{name}");
                match fs::read_link(path) {
                    // A driver's: two copies of it would be two drivers.
                    Ok(target) if target.starts_with("dpdk") => {
                        let _ = symlink(target, self.path(&inside));
                    }
                    _ => self.copy(path, &inside),
                }
            }
        }
    }

    /// Drivers of DPDK. It finds them in a directory of its own, by links that must stay links.
    fn add_drivers(&self, wanted: &[&str]) {
        let drivers = Path::new("/").join(LIBRARIES).join("dpdk");
        for version in fs::read_dir(&drivers).unwrap().map(|e| e.unwrap()) {
            let inside = format!("{LIBRARIES}/dpdk/{}", version.file_name().to_str().unwrap());
            fs::create_dir_all(self.path(&inside)).unwrap();
            for file in fs::read_dir(version.path()).unwrap().map(|e| e.unwrap()) {
                let name = file.file_name().into_string().unwrap();
                if !wanted
                    .iter()
                    .any(|driver| name.starts_with(&format!("librte_{driver}.")))
                {
                    continue;
                }
                match fs::read_link(file.path()) {
                    Ok(target) => symlink(target, self.path(&inside).join(&name)).unwrap(),
                    Err(_) => self.copy(&file.path(), &format!("{inside}/{name}")),
                }
                self.add_libraries(&file.path());
            }
        }
    }

    /// Copies a directory.
    pub fn add(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    }

    /// Starts it, to be told what to do.
    pub fn boot(&self, hardware: &Hardware) -> Machine {
        Machine::boot(self, hardware)
    }

    /// Runs a shell script as the guest's first process. Returns what the guest printed, once it has ended by itself.
    pub fn run(&self, script: &str) -> String {
        let image = self.pack(&format!("{script}{AFTER}"));
        let mut command = Command::new("timeout");
        qemu(&mut command, image.path(), "");
        let output = command
            .args(["-smp", "2", "-nic", "none", "-monitor", "none"])
            .stdin(Stdio::null())
            .output()
            .expect("QEMU can be started; `make setup-lab` installs it");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("GUEST ENDS"),
            "the guest does not end by itself:\n{text}"
        );
        text
    }

    /// Its root directory as the kernel takes it, with this script as the first process.
    fn pack(&self, script: &str) -> tempfile::NamedTempFile {
        let init = self.path("init");
        fs::write(&init, format!("{BEFORE}{script}")).unwrap();
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
        let image = tempfile::NamedTempFile::new().unwrap();
        let pack = "find . | busybox cpio -o -H newc 2>/dev/null";
        let packed = Command::new("sh")
            .args(["-c", pack])
            .current_dir(self.dir.path())
            .stdout(image.reopen().unwrap())
            .status();
        assert!(packed.unwrap().success(), "{pack} fails");
        image
    }
}

/// Emulated: the hosts of tests run no guests of their own.
fn qemu(timeout: &mut Command, image: &Path, kernel: &str) {
    let vmlinuz = programs::directory().join("../guest/vmlinuz");
    assert!(
        vmlinuz.is_file(),
        "{} is missing: run `make setup-lab`",
        vmlinuz.display()
    );
    timeout
        .args([
            LONGEST_S,
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ])
        .args(["-m", "1536", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 rdinit=/init {kernel}"))
        .arg("-kernel")
        .arg(&vmlinuz)
        .arg("-initrd")
        .arg(image);
}
