//! A running `onvm-run`.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use onvm_api::{
    self as wire, ApiError, ApplyReply, ApplyRequest, InstanceStatus, ScaleReply, ScaleRequest, SendReply,
    SendRequest, Status,
};
use rustix::process::Signal;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Scratch, http, process, programs};

/// For everything that should happen at once but shares two cores with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// `onvm-run` and its network functions; all of them are killed when this is dropped.
#[derive(Debug)]
pub struct Manager {
    child: Option<Child>,
    pid: u32,
    name: String,
    run_dir: PathBuf,
    log: Arc<Mutex<String>>,
    logger: Option<JoinHandle<()>>,
    output: Option<JoinHandle<String>>,
    /// Processes of its network functions that were seen.
    seen: Mutex<HashSet<process::Identity>>,
}

/// What is left of an `onvm-run` that has ended.
#[derive(Debug)]
pub struct Finished {
    pid: u32,
    /// `<run dir>/<bundle name>`.
    dir: PathBuf,
    /// None: ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Its network functions that had not ended when it had.
    pub left: Vec<u32>,
}

/// The final balance, as `--json` prints it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Summary {
    pub ports: Vec<wire::PortStatus>,
    pub chains: Vec<wire::ChainStatus>,
    pub services: Vec<wire::ServiceStatus>,
    pub drops: Vec<wire::Drop>,
    pub buffers: wire::BufferStatus,
    pub balance: wire::Balance,
    pub balanced: bool,
}

impl Summary {
    /// Packets dropped for a reason, at all places.
    pub fn dropped(&self, reason: &str) -> u64 {
        dropped(&self.drops, reason)
    }

    /// Nothing is missing and nothing is left inside, except for the packets that ports of repeated captures keep in stock.
    pub fn assert_whole(&self, stock: usize) {
        let b = &self.balance;
        assert!(
            self.balanced && b.received + b.generated == b.delivered + b.dropped + b.in_flight,
            "{self:#?}"
        );
        assert_eq!(b.in_flight, 0, "{self:#?}");
        assert_eq!(self.buffers.in_use as usize, stock, "buffers leaked: {self:#?}");
        let by_reason: u64 = self.drops.iter().map(|d| d.packets).sum();
        assert_eq!(by_reason, b.dropped, "drops without a reason: {self:#?}");
        self.assert_sums();
    }

    /// What ports, hops and instances count, over all workers, is what became of the packets.
    fn assert_sums(&self) {
        let b = &self.balance;
        let ports = |of: fn(&wire::PortStatus) -> u64| self.ports.iter().map(of).sum::<u64>();
        assert_eq!(ports(|p| p.rx_packets), b.received, "{self:#?}");
        assert_eq!(ports(|p| p.tx_packets), b.delivered, "{self:#?}");
        // Chains of former programs are not among these.
        let hops = self.chains.iter().flat_map(|chain| &chain.hops);
        let hops: u64 = hops.map(|hop| hop.drops).sum();
        assert!(hops <= b.dropped, "{hops} dropped at hops: {self:#?}");
        for instance in self.services.iter().flat_map(|s| &s.instances) {
            // What it was given and did not hand back is counted as lost with it.
            let kept = instance.rx_packets.checked_sub(instance.tx_packets);
            assert!(
                kept.is_some_and(|kept| kept <= b.dropped),
                "{instance:?}\n{self:#?}"
            );
        }
    }
}

/// Packets dropped for a reason, at all places.
pub fn dropped(drops: &[wire::Drop], reason: &str) -> u64 {
    drops
        .iter()
        .filter(|d| d.reason == reason)
        .map(|d| d.packets)
        .sum()
}

/// Whether so many packets have come in and all have left. What is inside is told at intervals only, so that a packet may have come of
/// which it does not know yet.
pub fn all_have_left(status: &Status, received: u64) -> bool {
    let b = &status.balance;
    b.received == received && b.in_flight == 0 && b.received + b.generated == b.delivered + b.dropped
}

/// The instance of a status.
pub fn instance<'a>(status: &'a Status, name: &str) -> &'a InstanceStatus {
    let mut all = status.services.iter().flat_map(|s| &s.instances);
    all.find(|i| i.name == name)
        .unwrap_or_else(|| panic!("status names no instance {name}: {status:#?}"))
}

/// What the host lacks to hold functions with.
pub fn lacks(status: &Status) -> Vec<&str> {
    status
        .isolation
        .missing
        .iter()
        .map(|m| m.means.as_str())
        .collect()
}

/// A manager that is not root. The programs lie where any user may run them, whatever the rights of the directory that they were
/// built in.
pub fn unprivileged(scratch: &Scratch, bundle: &Path, arguments: &[&str]) -> Command {
    const NOBODY: u32 = 65_534;
    for name in ["onvm-run", "onvm-nf", "test-nf"] {
        let to = scratch.path(name);
        fs::copy(programs::path(name), to).expect("the programs can be copied");
    }
    let run_dir = scratch.run_dir();
    fs::create_dir_all(&run_dir).expect("the run directory can be made");
    std::os::unix::fs::chown(&run_dir, Some(NOBODY), Some(NOBODY))
        .expect("root can give files away; run as root");
    let mut command = Command::new(scratch.path("onvm-run"));
    command.arg(bundle).arg("--run-dir").arg(run_dir);
    command.arg("--json").args(arguments);
    command.uid(NOBODY).gid(NOBODY).env("HOME", "/nonexistent");
    command
}

/// The manager on a host whose kernel lacks some system calls.
pub fn lacking(scratch: &Scratch, calls: &str, bundle: &Path, arguments: &[&str]) -> Command {
    let mut command = programs::command("test-nf");
    command
        .args(["without", calls])
        .arg(programs::path("onvm-run"))
        .arg(bundle);
    command
        .arg("--run-dir")
        .arg(scratch.run_dir())
        .arg("--json")
        .args(arguments);
    command
}

impl Manager {
    /// Starts onvm-run on a bundle whose name is `name`. It logs to a string and prints its balance as JSON.
    pub fn start(bundle: &Path, name: &str, run_dir: &Path, arguments: &[&str]) -> Self {
        let mut command = programs::command("onvm-run");
        command
            .arg(bundle)
            .arg("--run-dir")
            .arg(run_dir)
            .arg("--json")
            .args(arguments);
        Self::spawn(command, name, run_dir)
    }

    /// As [`Self::start`], with a command line made by the caller.
    pub fn spawn(mut command: Command, name: &str, run_dir: &Path) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("onvm-run can be started");
        let log = Arc::new(Mutex::new(String::new()));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let sink = log.clone();
        let logger = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let output = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = BufReader::new(stdout).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self {
            pid: child.id(),
            child: Some(child),
            name: name.to_owned(),
            run_dir: run_dir.to_path_buf(),
            log,
            logger: Some(logger),
            output: Some(output),
            seen: Mutex::default(),
        }
    }

    /// As [`Self::start`], and waits until all network functions run.
    pub fn ready(bundle: &Path, name: &str, run_dir: &Path, arguments: &[&str]) -> Self {
        let manager = Self::start(bundle, name, run_dir, arguments);
        manager.wait_for_log("READY");
        manager
    }

    pub fn wait_for_log(&self, text: &str) {
        let found = process::wait_for(SOON, || {
            let found = self.log().contains(text);
            (found || process::has_ended(self.pid)).then_some(found || self.log().contains(text))
        });
        assert!(
            found == Some(true),
            "onvm-run did not log {text:?}; its log:\n{}",
            self.log()
        );
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn socket(&self) -> PathBuf {
        self.run_dir.join(&self.name).join(wire::CONTROL_SOCKET)
    }

    /// The socket of an instance that is started by hand.
    pub fn nf_socket(&self, instance: &str) -> PathBuf {
        self.run_dir
            .join(&self.name)
            .join("nf")
            .join(instance)
            .join("nf.sock")
    }

    pub fn status(&self) -> Status {
        let (code, body) = self.get(wire::STATUS_PATH);
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("status: {e}: {body}"))
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        http::request(&self.socket(), "GET", path, None)
            .unwrap_or_else(|e| panic!("GET {path}: {e}; the log of onvm-run:\n{}", self.log()))
    }

    /// Waits until `holds` is true of a status, and gives that status.
    pub fn wait_until(&self, what: &str, within: Duration, holds: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let found = process::wait_for(within, || {
            let status = self.status();
            let good = holds(&status);
            last = Some(status.clone());
            std::thread::sleep(Duration::from_millis(if good { 0 } else { 15 }));
            good.then_some(status)
        });
        found.unwrap_or_else(|| {
            let log = self.log();
            panic!("not within {within:?}: {what}; the last status: {last:#?}\nthe log of onvm-run:\n{log}")
        })
    }

    /// Waits until `packets` more have been delivered than now.
    pub fn wait_for_traffic(&self, packets: u64, within: Duration) -> Status {
        let from = self.status().balance.delivered;
        let what = format!("{packets} packets more than {from} are delivered");
        self.wait_until(&what, within, |s| s.balance.delivered >= from + packets)
    }

    /// Waits until the instance runs and has been given a process other than `not`; gives the process id.
    pub fn wait_for_instance(&self, name: &str, not: Option<u32>, within: Duration) -> u32 {
        let running = |s: &Status| {
            let i = instance(s, name);
            (i.state == wire::InstanceState::Running && i.pid != not)
                .then_some(i.pid)
                .flatten()
        };
        let status = self.wait_until(&format!("{name} runs anew"), within, |s| running(s).is_some());
        running(&status).unwrap()
    }

    pub fn apply(&self, bundle: &Path, base: Option<&str>) -> Result<ApplyReply, ApiError> {
        apply(&self.socket(), bundle, base)
    }

    /// Asks for so many replicas of an NF, or as many as its load asks for.
    pub fn scale(&self, nf: &str, replicas: Option<u16>) -> Result<ScaleReply, ApiError> {
        let request = ScaleRequest {
            version: wire::API_VERSION,
            nf: nf.to_owned(),
            replicas,
        };
        post(&self.socket(), wire::SCALE_PATH, &request)
    }

    /// Sends a message to an NF or one instance, with fields as a JSON object.
    pub fn send(&self, nf: &str, kind: &str, fields: serde_json::Value) -> Result<SendReply, ApiError> {
        let request = SendRequest {
            version: wire::API_VERSION,
            nf: nf.to_owned(),
            kind: kind.to_owned(),
            fields: fields.as_object().cloned().unwrap_or_default(),
        };
        post(&self.socket(), wire::SEND_PATH, &request)
    }

    /// Asks for an orderly end.
    pub fn terminate(self) -> Finished {
        self.nf_processes();
        process::signal(self.pid, Signal::TERM);
        self.finish(SOON)
    }

    /// Asks for an orderly end and reads the final balance, which must add up. The ports of repeated captures keep
    /// `stock` packets: one buffer for each packet of their captures.
    pub fn terminate_whole(self, stock: usize) -> Summary {
        self.terminate().summary_with(stock)
    }

    /// Kills onvm-run alone, as `kill -9` does.
    pub fn kill(&mut self) {
        // After its end nothing leads from it to them.
        self.nf_processes();
        let mut child = self.child.take().expect("it has not been killed before");
        process::signal(self.pid, Signal::KILL);
        child.wait().expect("a killed child can be waited for");
    }

    /// Waits for its end.
    pub fn finish(mut self, within: Duration) -> Finished {
        let mut child = self.child.take().expect("it has not ended");
        let status = process::wait_for(within, || child.try_wait().expect("a child can be waited for"));
        let Some(status) = status else {
            let log = self.log();
            self.child = Some(child);
            panic!("onvm-run did not end within {within:?}; its log:\n{log}");
        };
        // A process that has just been killed takes a moment to go.
        process::wait_for(Duration::from_millis(500), || {
            self.nf_processes().is_empty().then_some(())
        });
        let left = self.nf_processes();
        self.end_nfs();
        let stdout = self.output.take().unwrap().join().unwrap();
        self.logger.take().unwrap().join().unwrap();
        Finished {
            pid: self.pid,
            dir: self.run_dir.join(&self.name),
            code: status.code(),
            stdout,
            stderr: self.log(),
            left,
        }
    }

    /// The running processes of its network functions, those included that have outlived it.
    pub fn nf_processes(&self) -> Vec<u32> {
        let mut seen = self.seen.lock().unwrap();
        seen.extend(process::descendants(self.pid));
        seen.retain(process::Identity::runs);
        seen.iter().map(|process| process.pid).collect()
    }

    fn end_nfs(&self) {
        for pid in self.nf_processes() {
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.nf_processes();
        // In order first, so that interfaces go away as they came.
        if let Some(mut child) = self.child.take() {
            if let Some(pid) = rustix::process::Pid::from_raw(self.pid as i32) {
                let _ = rustix::process::kill_process(pid, Signal::TERM);
            }
            process::wait_for(Duration::from_secs(5), || child.try_wait().ok().flatten());
            let _ = child.kill();
            let _ = child.wait();
        }
        self.end_nfs();
        if std::thread::panicking() {
            eprintln!("the log of onvm-run:\n{}", self.log());
        }
    }
}

impl Finished {
    /// The balance of a run that ended well.
    pub fn summary(&self) -> Summary {
        self.summary_with(0)
    }

    pub fn summary_with(&self, stock: usize) -> Summary {
        assert_eq!(self.code, Some(0), "onvm-run failed:\n{}", self.stderr);
        self.assert_nothing_left();
        let summary: Summary = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("the balance is no JSON ({e}): {:?}", self.stdout));
        summary.assert_whole(stock);
        summary
    }

    /// Exit code 1, nothing on stdout, and on stderr one paragraph that holds all of these words.
    pub fn assert_refused(&self, words: &[&str]) {
        self.assert_error(words);
        self.assert_nothing_left();
    }

    /// As [`Self::assert_refused`], where something lay in the place of its run directory before.
    pub fn assert_error(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert_eq!(self.stdout, "", "{}", self.stderr);
        let errors: Vec<&str> = self
            .stderr
            .lines()
            .skip_while(|l| !l.starts_with("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "not one paragraph:\n{}", self.stderr);
        for word in words {
            assert!(errors[0].contains(word), "{word:?} is missing in: {}", errors[0]);
        }
        for noise in ["panicked", "EAL:", "RUST_BACKTRACE", "PMD:", "ended by a fault"] {
            assert!(
                !self.stderr.contains(noise),
                "{noise} in the output:\n{}",
                self.stderr
            );
        }
    }

    /// No process, run directory, shared memory or huge page of it.
    pub fn assert_nothing_left(&self) {
        assert_eq!(
            self.left, [0_u32; 0],
            "processes are left; the log of onvm-run:\n{}",
            self.stderr
        );
        assert!(
            !self.dir.exists(),
            "{} is left:\n{}",
            self.dir.display(),
            self.stderr
        );
        // DPDK's files carry the prefix that onvm-run gives it.
        let prefix = format!("onvm-{}", self.pid);
        for place in [
            "/dev/shm",
            "/dev/hugepages",
            "/run/dpdk",
            "/var/run/dpdk",
            "/tmp/dpdk",
        ] {
            let entries = fs::read_dir(place).into_iter().flatten().flatten();
            let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
            let ours: Vec<String> = names
                .filter(|n| n.split('_').next() == Some(&prefix) || *n == prefix)
                .collect();
            assert!(ours.is_empty(), "{place}: {ours:?} is left");
        }
    }
}

/// An apply to a manager of any user.
pub fn apply(socket: &Path, bundle: &Path, base: Option<&str>) -> Result<ApplyReply, ApiError> {
    let request = ApplyRequest {
        version: wire::API_VERSION,
        bundle: bundle.display().to_string(),
        base: base.map(str::to_owned),
    };
    post(socket, wire::APPLY_PATH, &request)
}

fn post<T: DeserializeOwned>(socket: &Path, path: &str, request: &impl Serialize) -> Result<T, ApiError> {
    let body = serde_json::to_string(request).unwrap();
    let (code, body) = http::request(socket, "POST", path, Some(&body)).unwrap();
    match code {
        200 => Ok(serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))),
        _ => Err(serde_json::from_str(&body).unwrap_or_else(|e| panic!("{code}: {e}: {body}"))),
    }
}
