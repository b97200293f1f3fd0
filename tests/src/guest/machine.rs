//! A guest that runs: it carries out commands one after the other, and its network cards can lose their links.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use super::Guest;
use crate::{manager::SOON, process};

/// The guest's first process: it carries out each line that comes by the console.
const SERVE: &str = "stty -echo
dmesg -n 1
echo GUEST READY
while read -r line; do
    eval \"$line\"
    echo \"GUEST DONE $?\"
done
";
const DONE: &str = "GUEST DONE ";

/// What of a guest is not the same for all.
#[derive(Debug, Default)]
pub struct Hardware {
    /// Arguments of QEMU.
    pub arguments: Vec<String>,
    /// Words for the kernel's command line.
    pub kernel: &'static str,
    /// The network namespace that QEMU runs in.
    pub namespace: Option<String>,
}

/// It is killed when dropped.
#[derive(Debug)]
pub struct Machine {
    child: Child,
    commands: ChildStdin,
    output: BufReader<ChildStdout>,
    monitor: PathBuf,
    /// All that it has printed.
    text: String,
    _image: tempfile::NamedTempFile,
    _monitor: tempfile::TempDir,
}

impl Machine {
    pub(super) fn boot(guest: &Guest, hardware: &Hardware) -> Self {
        let image = guest.pack(SERVE);
        let directory = tempfile::tempdir().unwrap();
        let monitor = directory.path().join("monitor");
        let mut command = match &hardware.namespace {
            None => Command::new("timeout"),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, "timeout"]);
                command
            }
        };
        super::qemu(&mut command, image.path(), hardware.kernel);
        command
            .args(&hardware.arguments)
            .arg("-monitor")
            .arg(format!("unix:{},server,nowait", monitor.display()));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("QEMU can be started; `make setup-lab` installs it");
        let mut machine = Self {
            commands: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            monitor,
            text: String::new(),
            _image: image,
            _monitor: directory,
        };
        machine.read_until("GUEST READY");
        machine
    }

    /// Carries out a line of shell; fails where that fails. Gives what it printed.
    pub fn run(&mut self, line: &str) -> String {
        writeln!(self.commands, "{line}").unwrap();
        let (output, status) = self.read_until(DONE);
        assert_eq!(status, "0", "`{line}` fails:\n{}", self.text);
        output
    }

    /// Repeats a line of shell until what it prints holds, and gives that.
    pub fn wait_for(&mut self, what: &str, line: &str, holds: impl Fn(&str) -> bool) -> String {
        // Emulated, and beside whatever else runs.
        let found = process::wait_for(3 * SOON, || {
            let output = self.run(line);
            if holds(&output) {
                return Some(output);
            }
            std::thread::sleep(Duration::from_millis(100));
            None
        });
        found.unwrap_or_else(|| panic!("{what} does not come about:\n{}", self.text))
    }

    /// Plugs the cable of a network device in, or out.
    pub fn set_link(&self, device: &str, up: bool) {
        let mut monitor = UnixStream::connect(&self.monitor).unwrap();
        let state = if up { "on" } else { "off" };
        writeln!(monitor, "set_link {device} {state}").unwrap();
        // It carries out what it has read before it sees the end.
        let prompt = monitor.try_clone().unwrap();
        monitor.shutdown(std::net::Shutdown::Write).unwrap();
        for line in BufReader::new(prompt).lines() {
            let line = line.unwrap();
            assert!(!line.contains("not found"), "{line}");
        }
    }

    /// Puts a file's bytes out of the guest.
    pub fn fetch(&mut self, path: &Path) -> Vec<u8> {
        let text = self.run(&format!("base64 -w 0 {}; echo", path.display()));
        let text = text.trim();
        let value = |c: u8| match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => panic!("not base64: {:?}", char::from(c)),
        };
        let digits = text.bytes().filter(|c| *c != b'=');
        let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
        for digit in digits {
            (bits, held) = (bits << 6 | u32::from(value(digit)), held + 6);
            if held >= 8 {
                held -= 8;
                bytes.push((bits >> held) as u8);
            }
        }
        bytes
    }

    /// What is printed before a line with this mark, and what follows the mark there.
    fn read_until(&mut self, mark: &str) -> (String, String) {
        let mut output = String::new();
        loop {
            let mut line = Vec::new();
            let read = self.output.read_until(b'\n', &mut line).unwrap();
            assert!(read > 0, "the guest has ended:\n{}", self.text);
            let line = String::from_utf8_lossy(&line).replace('\r', "");
            self.text.push_str(&line);
            if let Some((before, after)) = line.split_once(mark) {
                output.push_str(before);
                return (output, after.trim().to_owned());
            }
            output.push_str(&line);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // `timeout` passes it on; a kill would leave QEMU behind.
        process::signal(self.child.id(), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
