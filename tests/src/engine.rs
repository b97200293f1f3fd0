//! A container engine for tests: the one that runs, or else one that is started here and stopped again.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{Pid, Signal, kill_process},
};

use crate::{process, programs};

/// For a daemon to answer, and to end.
const DAEMON_DEADLINE: Duration = Duration::from_secs(60);

/// A container engine with the images of `onvm-nf` and `test-nf`.
#[derive(Debug)]
pub struct Engine {
    /// As `DOCKER_HOST` names it.
    pub host: String,
    own: Option<Daemon>,
    loaded: OnceLock<()>,
}

/// A daemon of the tests' own.
#[derive(Debug)]
struct Daemon {
    dir: tempfile::TempDir,
    child: Mutex<Child>,
    options: &'static [&'static str],
}

impl Engine {
    /// The one that all tests share: it is started by the first and stopped when no test uses it any more.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return engine;
        }
        let engine = Arc::new(Self::running().unwrap_or_else(Self::start));
        *shared = Arc::downgrade(&engine);
        engine
    }

    /// The engine of this machine, if there is one.
    fn running() -> Option<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let engine = Self {
            host,
            own: None,
            loaded: OnceLock::new(),
        };
        engine.answers().then_some(engine)
    }

    /// A new one that nobody else uses.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more options of the daemon.
    pub fn start_with(options: &'static [&'static str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("onvm-engine-")
            .tempdir_in("/tmp")
            .expect("/tmp can be written to");
        let host = format!("unix://{}", dir.path().join("docker.sock").display());
        // Not by a macro, whose text is shown only where the test fails.
        let _ = writeln!(
            std::io::stderr(),
            "no container engine runs: starting dockerd for tests at {host}"
        );
        let child = Mutex::new(dockerd(dir.path(), options));
        let engine = Self {
            host,
            own: Some(Daemon { dir, child, options }),
            loaded: OnceLock::new(),
        };
        engine.wait_until_it_answers();
        engine
    }

    fn answers(&self) -> bool {
        let output = self.command("docker").args(["version", "--format", "x"]).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn wait_until_it_answers(&self) {
        let answered = process::wait_for(DAEMON_DEADLINE, || self.answers().then_some(()));
        assert!(
            answered.is_some(),
            "dockerd does not answer; its log:\n{}",
            self.log()
        );
    }

    fn own(&self) -> &Daemon {
        self.own.as_ref().expect("a daemon of the test's own")
    }

    fn log(&self) -> String {
        let own = self.own.as_ref();
        own.map_or_else(String::new, |own| {
            fs::read_to_string(own.dir.path().join("log")).unwrap_or_default()
        })
    }

    /// Lets every user speak to it, as its group may, with the images loaded.
    pub fn let_everybody_in(&self) {
        use std::os::unix::fs::PermissionsExt;
        self.load_images();
        let dir = self.own().dir.path();
        for (path, mode) in [(dir.to_path_buf(), 0o755), (dir.join("docker.sock"), 0o666)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("these are the test's own");
        }
    }

    /// Kills the daemon, which leaves containers and their shims.
    pub fn kill_daemon(&self) {
        let mut child = self.own().child.lock().unwrap();
        child.kill().expect("the daemon can be killed");
        child.wait().expect("the daemon can be waited for");
    }

    /// Starts it again.
    pub fn restart_daemon(&self) {
        let own = self.own();
        // Its containerd ended with it. Where nobody reaps orphans, the daemon would take what is left for a running one.
        let _ = fs::remove_file(own.dir.path().join("exec/containerd/containerd.pid"));
        *own.child.lock().unwrap() = dockerd(own.dir.path(), own.options);
        self.wait_until_it_answers();
    }

    /// A program that speaks to this engine.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("DOCKER_HOST", &self.host);
        command
    }

    /// `onvm-run` with this engine, as [`crate::Manager::spawn`] takes it.
    pub fn onvm_run(&self, bundle: &Path, run_dir: &Path, arguments: &[&str]) -> Command {
        self.load_images();
        let mut command = programs::command("onvm-run");
        command.env("DOCKER_HOST", &self.host);
        command
            .arg(bundle)
            .arg("--run-dir")
            .arg(run_dir)
            .arg("--json")
            .args(arguments);
        command
    }

    /// What `docker` prints.
    pub fn docker(&self, arguments: &[&str]) -> String {
        let output = self
            .command("docker")
            .args(arguments)
            .output()
            .expect("docker can be started; `make setup` installs it");
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ids of the containers of bundle `name` with a state like `running` or `created`; none: with any.
    pub fn containers(&self, run_dir: &Path, name: &str, state: Option<&str>) -> Vec<String> {
        // Managers of other tests have bundles of this name.
        let mount = run_dir.join(name).join("nf");
        let ids = self.docker(&[
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            "--filter",
            "label=onvm.manager",
        ]);
        let of_this = |id: &&str| {
            let form = "{{.State.Status}} {{range .Mounts}}{{.Source}}{{end}}";
            // One may have gone meanwhile.
            let output = self
                .command("docker")
                .args(["inspect", "--format", form, id])
                .output();
            let text = String::from_utf8_lossy(&output.expect("docker can be started").stdout).into_owned();
            text.trim().split_once(' ').is_some_and(|(found, source)| {
                Path::new(source).starts_with(&mount) && state.is_none_or(|state| state == found)
            })
        };
        ids.lines().filter(of_this).map(str::to_owned).collect()
    }

    fn load_images(&self) {
        self.loaded.get_or_init(|| {
            let output = programs::command("onvmc")
                .env("DOCKER_HOST", &self.host)
                .args(["image", "--binary"])
                .arg(programs::static_onvm_nf())
                .output()
                .expect("onvmc can be started");
            assert!(
                output.status.success(),
                "onvmc image: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            self.import("test-nf");
        });
    }

    /// Makes an image `NAME:0.1.0` of a program and the libraries that it needs.
    fn import(&self, name: &str) {
        let program = programs::path(name);
        let libraries = programs::tool("ldd", &[program.to_str().unwrap()]);
        let libraries = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(PathBuf::from);
        let mut tar = Command::new("tar");
        tar.args(["--create", "--dereference", "--absolute-names", "--transform"])
            .arg(format!("s|^{}$|/{name}|", program.display()))
            .arg(&program)
            .args(libraries)
            .stdout(Stdio::piped());
        let archive = tar.output().expect("tar can be started");
        assert!(
            archive.status.success(),
            "{}",
            String::from_utf8_lossy(&archive.stderr)
        );
        let entry = format!("ENTRYPOINT [\"/{name}\"]");
        let mut import = self
            .command("docker")
            .args(["import", "--change", &entry, "-", &format!("{name}:0.1.0")])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("docker can be started");
        let mut input = import.stdin.take().unwrap();
        input
            .write_all(&archive.stdout)
            .expect("docker reads the archive");
        drop(input);
        assert!(import.wait().unwrap().success(), "docker import fails");
    }
}

fn dockerd(dir: &Path, options: &[&str]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("the log can be written");
    let option = |name: &str, path: &str| format!("--{name}={}", dir.join(path).display());
    Command::new("dockerd")
        // Those that it would make and set otherwise break every bridge of the machine.
        .args(["--bridge=none", "--iptables=false"])
        .args(options)
        .args([
            option("data-root", "data"),
            option("exec-root", "exec"),
            option("pidfile", "pid"),
        ])
        .arg(format!("--host=unix://{}", dir.join("docker.sock").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file can be opened twice"))
        .stderr(log)
        .spawn()
        .expect("dockerd can be started; `make setup` installs it (docker.io)")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let ended = process::wait_for(DAEMON_DEADLINE, || child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // One that was killed leaves its containerd, shims and mounts behind.
        let dir = self.dir.path().as_os_str().as_encoded_bytes();
        for pid in process::all() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let is_of_it = line.windows(dir.len()).any(|part| part == dir);
            if let Some(pid) = Pid::from_raw(pid as i32).filter(|_| is_of_it) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        // The innermost first.
        for point in points
            .rev()
            .filter(|point| Path::new(point).starts_with(self.dir.path()))
        {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
}
