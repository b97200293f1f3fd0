//! A virtual machine with a kernel as Debian ships it, the project's programs and a script, for what the host's kernel does not
//! offer or must not be used for. `make test-lab` fetches the kernel.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

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
            let program = programs::path(name);
            let to = guest.path("usr/bin").join(name);
            // Nobody reads their debugging information there, and all of it would be in memory.
            tool(
                "objcopy",
                &["--strip-debug", program.to_str().unwrap(), to.to_str().unwrap()],
            );
            guest.add_libraries(&program);
        }
        guest.add_drivers();
        guest
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
                self.copy(path, &format!("{directory}/{name}"));
            }
        }
    }

    /// Those of DPDK that need no device. It finds them in a directory of its own, by links that must stay links.
    fn add_drivers(&self) {
        let drivers = Path::new("/").join(LIBRARIES).join("dpdk");
        for version in fs::read_dir(&drivers).unwrap().map(|e| e.unwrap()) {
            let inside = format!("{LIBRARIES}/dpdk/{}", version.file_name().to_str().unwrap());
            fs::create_dir_all(self.path(&inside)).unwrap();
            for file in fs::read_dir(version.path()).unwrap().map(|e| e.unwrap()) {
                let name = file.file_name().into_string().unwrap();
                let wanted = ["bus_vdev", "mempool_ring", "net_null", "net_ring"];
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

    /// Runs a shell script as the guest's first process. Returns what the guest printed, once it has ended by itself.
    pub fn run(&self, script: &str) -> String {
        let init = self.path("init");
        fs::write(&init, format!("{BEFORE}{script}{AFTER}")).unwrap();
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
        let image = tempfile::NamedTempFile::new().unwrap();
        let pack = "find . | busybox cpio -o -H newc 2>/dev/null";
        let packed = Command::new("sh")
            .args(["-c", pack])
            .current_dir(self.dir.path())
            .stdout(image.reopen().unwrap())
            .status();
        assert!(packed.unwrap().success(), "{pack} fails");
        let kernel = programs::directory().join("../guest/vmlinuz");
        assert!(
            kernel.is_file(),
            "{} is missing: run `make setup-lab`",
            kernel.display()
        );
        let output = Command::new("timeout")
            .args([
                LONGEST_S,
                "qemu-system-x86_64",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
            ])
            .args([
                "-smp",
                "2",
                "-m",
                "1536",
                "-nographic",
                "-no-reboot",
                "-nic",
                "none",
            ])
            .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
            .arg("-kernel")
            .arg(&kernel)
            .arg("-initrd")
            .arg(image.path())
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
}
