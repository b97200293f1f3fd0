//! A directory of a test's own, with the chains, captures and bundles that it makes.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use crate::programs;

/// Removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    pub fn new() -> Self {
        // Directly below /tmp: the path of a control socket may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("onvm-e2e-").tempdir_in("/tmp");
        let made = Self {
            dir: dir.expect("/tmp can be written to"),
        };
        // For programs that run as another user.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(made.dir.path(), mode).expect("a directory of one's own has any mode");
        made
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The run directory that managers of this test get.
    pub fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("the scratch directory can be written to");
        path
    }

    /// Copies the example chains and what belongs to them here.
    pub fn take_examples(&self) {
        let chains = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chains");
        for entry in fs::read_dir(&chains).expect("there are example chains") {
            let path = entry.expect("the directory can be read").path();
            if path.is_file() {
                let to = self.dir.path().join(path.file_name().expect("a file has a name"));
                fs::copy(&path, to).expect("examples can be copied");
            }
        }
    }

    /// Compiles `source` into the bundle `NAME.bundle`, whatever the name of its file, under the name `name`.
    pub fn build_as(&self, file: &str, name: &str, out: &str, set: &[(&str, &str)]) -> PathBuf {
        let bundle = self.path(out);
        let output = self.onvmc_build(file, name, &bundle, set);
        assert!(
            output.status.success(),
            "onvmc build {file} fails: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        bundle
    }

    fn onvmc_build(&self, file: &str, name: &str, bundle: &Path, set: &[(&str, &str)]) -> Output {
        let mut command = programs::command("onvmc");
        command.current_dir(self.dir.path()).arg("build").arg(file);
        command.args(["--name", name, "-o"]).arg(bundle);
        for (name, value) in set {
            command.arg("--set").arg(format!("{name}={value}"));
        }
        command.output().expect("onvmc can be started")
    }

    /// Writes `source` to `test.chain` and compiles it into `out`. All bundles of a test have the name `test`, so that
    /// each can be applied over another.
    pub fn build(&self, source: &str, out: &str) -> PathBuf {
        self.write("test.chain", source);
        self.build_as("test.chain", "test", out, &[])
    }

    /// Writes the manifest of a network function of `test-nf`, for `use "NAME.nf.toml" as NAME` in a chain.
    pub fn manifest(&self, name: &str, more: &str) -> PathBuf {
        let text = format!(
            "name = \"{name}\"\nversion = \"0.1.0\"\nsummary = \"For tests\"\n\n[run]\nbinary = \"test-nf\"\nargs = [\"{name}\"]\n\n{more}"
        );
        self.write(&format!("{name}.nf.toml"), text)
    }

    /// The manifest of `misuse`, which does what its parameter `how` names.
    pub fn misuse(&self) {
        let how = "[[params]]\nname = \"how\"\ntype = \"string\"\ndoc = \"Which misuse.\"\n";
        self.manifest("misuse", &format!("[effects]\ndrops = true\n{how}"));
    }

    /// The manifest of `pacer`, which pauses at each burst (`pause`) and before it is ready (`startup`).
    pub fn pacer(&self) {
        let time = |name: &str, default: &str| {
            format!(
                "[[params]]\nname = \"{name}\"\ntype = \"time\"\ndoc = \"A pause.\"\ndefault = \"{default}\"\n"
            )
        };
        self.manifest("pacer", &(time("pause", "1 ms") + &time("startup", "0 ms")));
    }
}
