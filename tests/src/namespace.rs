//! Network namespaces joined to this one.

use std::process::Command;

use crate::programs::tool;

/// A namespace with one interface `eth0`, whose other end is in this namespace; removed, with both ends, when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// The end in this namespace.
    pub interface: String,
}

impl Namespace {
    /// Joins a namespace whose `eth0` has this address (with prefix length). `side` is a letter that tells the test's
    /// namespaces apart; names hold the process id, so that tests of several processes do not meet. The interfaces are as the kernel
    /// makes them: it leaves checksums and segments to a card that there is not.
    pub fn new(side: char, address: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run the tests as root, or with `sudo -E`"
        );
        let pid = std::process::id();
        let made = Self {
            name: format!("onvm-{pid}-{side}"),
            interface: format!("onvm{pid}{side}"),
        };
        tool("ip", &["netns", "add", &made.name]);
        tool("ip", &["-n", &made.name, "link", "set", "lo", "up"]);
        made.plug(address);
        made
    }

    /// Removes the interface in this namespace, and with it the other end.
    pub fn unplug(&self) {
        tool("ip", &["link", "del", &self.interface]);
    }

    /// Joins the namespace anew, by interfaces of the same names.
    pub fn plug(&self, address: &str) {
        let (name, interface) = (self.name.as_str(), self.interface.as_str());
        let pair = [
            "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", name,
        ];
        tool("ip", &pair);
        self.tool(&["sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"]);
        tool("ip", &["-n", name, "addr", "add", address, "dev", "eth0"]);
        tool("ip", &["-n", name, "link", "set", "eth0", "up"]);
        tool("ip", &["link", "set", interface, "up"]);
    }

    /// Moves an interface of this namespace into it.
    pub fn take(&self, interface: &str) {
        tool("ip", &["link", "set", interface, "netns", &self.name]);
    }

    /// A command that runs in the namespace.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .args(arguments);
        command
    }

    /// Runs a tool in the namespace to its end; fails, with what it said, when it fails.
    pub fn tool(&self, line: &[&str]) -> String {
        tool("ip", &[&["netns", "exec", self.name.as_str()][..], line].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The interface in it goes with it, and the other end with that one, sooner or later: now, so that no test's end
        // leaves any.
        let _ = Command::new("ip").args(["link", "del", &self.interface]).output();
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// A namespace with a bridge and two taps of so many queues, by which a guest's two cards are joined; removed when dropped.
#[derive(Debug)]
pub struct Wire {
    name: String,
    queues: usize,
}

impl Wire {
    pub fn new(side: char, queues: usize) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run the tests as root, or with `sudo -E`"
        );
        let made = Self {
            name: format!("onvm-{}-{side}", std::process::id()),
            queues,
        };
        let name = made.name.as_str();
        tool("ip", &["netns", "add", name]);
        // Nothing but what the guest sends is to be on it.
        let quiet = "net.ipv6.conf.default.disable_ipv6=1";
        tool("ip", &["netns", "exec", name, "sysctl", "-qw", quiet]);
        tool("ip", &["-n", name, "link", "add", "wire", "type", "bridge"]);
        for tap in ["tap0", "tap1"] {
            let add = [
                "-n",
                name,
                "tuntap",
                "add",
                "dev",
                tap,
                "mode",
                "tap",
                "multi_queue",
            ];
            tool("ip", &add);
            tool(
                "ip",
                &[
                    "-n",
                    name,
                    "link",
                    "set",
                    tap,
                    "mtu",
                    "9200",
                    "txqueuelen",
                    "10000",
                    "master",
                    "wire",
                ],
            );
            tool("ip", &["-n", name, "link", "set", tap, "up"]);
        }
        tool("ip", &["-n", name, "link", "set", "wire", "mtu", "9200", "up"]);
        made
    }

    pub fn namespace(&self) -> &str {
        &self.name
    }

    /// As QEMU takes them.
    pub fn netdevs(&self) -> impl Iterator<Item = String> {
        let queues = self.queues;
        (0..2).map(move |n| {
            format!("tap,id=wire{n},ifname=tap{n},queues={queues},vhost=off,script=no,downscript=no")
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}
