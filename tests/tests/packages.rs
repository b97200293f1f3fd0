//! The Debian packages, installed in a Debian that has nothing else: they bring what they need, work, and leave nothing
//! behind. These run in `make test-lab`, which makes the packages before.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use onvm_tests::{Scratch, programs};

/// A copy of the clean system, which commands run in as root. What they start and mount ends with them.
struct System {
    scratch: Scratch,
}

impl System {
    fn new() -> Self {
        let clean = programs::directory().parent().unwrap().join("clean-debian");
        assert!(
            clean.is_dir(),
            "{} does not exist: run `make setup-lab` first",
            clean.display()
        );
        let system = Self {
            scratch: Scratch::new(),
        };
        programs::tool(
            "cp",
            &["-a", clean.to_str().unwrap(), system.root().to_str().unwrap()],
        );
        system
    }

    fn root(&self) -> PathBuf {
        self.scratch.path("root")
    }

    /// Runs a script of which each command must succeed, and gives all that it prints.
    fn run(&self, script: &str) -> String {
        self.run_apart(&[], script)
    }

    /// The same with more namespaces of its own.
    fn run_apart(&self, namespaces: &[&str], script: &str) -> String {
        // Where rustup keeps it, or the system.
        let toolchain = programs::tool("rustc", &["--print", "sysroot"]);
        let enter = format!(
            "set -e; cd '{}'\nmkdir -p opt/rust\nmount --rbind '{}' opt/rust\nmount -t proc proc proc\n\
             mount -t sysfs sysfs sys\nmount -t tmpfs tmpfs run\nmount -t devpts devpts dev/pts\n\
             exec chroot . /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
             PATH=/usr/sbin:/usr/bin:/sbin:/bin:/opt/rust/bin bash -e /script",
            self.root().display(),
            toolchain.trim(),
        );
        fs::write(
            self.root().join("script"),
            format!("exec 2>&1\ncd /root\n{script}"),
        )
        .unwrap();
        let output = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .args(namespaces)
            .args(["sh", "-c", &enter])
            .output()
            .expect("unshare runs");
        fs::remove_file(self.root().join("script")).unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{script}\nended with {}:\n{text}",
            output.status
        );
        text.into_owned()
    }

    /// Installs packages of ours, with what they depend on and nothing more.
    fn install(&self, names: &[&str]) {
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian");
        for name in names {
            let found = fs::read_dir(&made).into_iter().flatten().flatten();
            let mut found =
                found.filter(|e| e.file_name().to_string_lossy().starts_with(&format!("{name}_")));
            let package = found.next().unwrap_or_else(|| {
                panic!(
                    "no package {name} in {}: run `PROFILE=debug sh .ci/deb` first",
                    made.display()
                )
            });
            fs::copy(package.path(), self.root().join(format!("root/{name}.deb"))).unwrap();
        }
        let files: Vec<String> = names.iter().map(|n| format!("./{n}.deb")).collect();
        self.run(&format!(
            "apt-get update -q\napt-get install -q -y --no-install-recommends {}\nrm *.deb",
            files.join(" ")
        ));
    }

    /// Every file, except of what the packages of Debian itself leave behind.
    fn files(&self) -> BTreeSet<String> {
        let listed = self.run(
            "find / -xdev ! -path '/var/*' ! -path '/opt/rust*' ! -path '/script' ! -path '/etc/ld.so.cache'",
        );
        listed.lines().map(str::to_owned).collect()
    }
}

#[test]
#[ignore = "needs a clean Debian and packages, which `make test-lab` makes"]
fn onvm_runs_on_a_clean_system_and_leaves_nothing_behind() {
    let system = System::new();
    let before = system.files();
    system.install(&["onvm"]);

    let versions = system.run("onvmc --version\nonvm-run --version\nonvm-nf --version");
    for program in ["onvmc", "onvm-run", "onvm-nf"] {
        assert!(
            versions.contains(&format!("{program} {}", env!("CARGO_PKG_VERSION"))),
            "{versions}"
        );
    }

    // The manual and completions where Debian's programs look for them.
    for page in ["onvmc", "onvmc-image", "onvm-run", "onvm-nf"] {
        let text = system.run(&format!("zcat /usr/share/man/man1/{page}.1.gz"));
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let completed = system.run(
        "source /usr/share/bash-completion/completions/onvmc\nsource /usr/share/bash-completion/completions/onvm-run\n\
         COMP_WORDS=(onvmc ima) COMP_CWORD=1\n_onvmc onvmc ima onvmc\necho \"${COMPREPLY[*]}\"\n\
         COMP_WORDS=(onvm-run --exit) COMP_CWORD=1\n$(complete -p onvm-run | sed 's/.*-F \\([^ ]*\\).*/\\1/') onvm-run --exit onvm-run\n\
         echo \"${COMPREPLY[*]}\"",
    );
    assert_eq!(completed, "image\n--exit-when-done\n");
    system.run("test -s /usr/share/zsh/vendor-completions/_onvmc -a -s /usr/share/fish/vendor_completions.d/onvmc.fish");

    // The unit file has no mistake, as systemd sees it; its program is there.
    let unit = fs::read_to_string(system.root().join("usr/lib/systemd/system/onvm@.service")).unwrap();
    let command = "ExecStart=/usr/bin/onvm-run ";
    assert!(unit.contains(command), "{unit}");
    let here = format!("ExecStart={} ", programs::path("onvm-run").display());
    let file = system
        .scratch
        .write("onvm@edge.service", unit.replace(command, &here));
    let checked = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(file)
        .output()
        .expect("systemd-analyze runs: `make setup-lab` installs it");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && !said.contains("onvm@"), "{said}");

    // The examples, as a user gets them.
    let examples = "cp -r /usr/share/doc/onvm/examples . && cd examples\n";
    system.run(&format!(
        "{examples}for chain in *.chain; do onvmc check $chain; done\nrm -r ~/examples"
    ));
    let replayed = system.run(&format!(
        "{examples}onvmc build edge.chain -o edge.bundle --set lan_out=lan.pcap --set wan_out=wan.pcap --set jail_out=jail.pcap\n\
         onvm-run edge.bundle --exit-when-done\nls -l lan.pcap\nrm -r ~/examples"
    ));
    let balance = "balance 3401 received = 3259 delivered + 142 dropped + 0 in flight";
    assert!(replayed.contains(balance), "{replayed}");

    // A port that is a driver of DPDK.
    let driven = system.run(
        "printf 'port wan = null {}\\nnf fw = forward\\nsteer wan { else -> fw -> wan }\\n' >a.chain\n\
         onvmc build a.chain -o a.bundle\nonvm-run a.bundle 2>a.log &\n\
         until grep READY a.log; do kill -0 $!; sleep 0.1; done\nonvmc stop\nwait $!\nrm -r a.*",
    );
    assert!(driven.contains(" + 0 in flight"), "{driven}");

    system.run("apt-get purge -q -y onvm\napt-get autoremove -q -y --purge");
    let left: Vec<String> = system.files().difference(&before).cloned().collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}

#[test]
#[ignore = "needs a clean Debian and packages, which `make test-lab` makes"]
fn a_new_nf_is_built_against_onvm_dev_without_a_registry() {
    let system = System::new();
    system.install(&["onvm", "onvm-dev"]);
    // No network, and no crate that was fetched before. The image's program is made without the time that optimising takes.
    let tested = system.run_apart(
        &["--net"],
        "export CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_DEV_DEBUG=false\n\
         onvmc new nf my_nf --container\ncd my_nf\ncargo test --offline\ncargo build --offline\n\
         onvmc build my_nf.chain -o my_nf.bundle\n\
         onvm-run my_nf.bundle --nf-path target/debug --exit-when-done\n\
         onvmc image --binary target/release/my_nf --tag my_nf:0.1.0 --format oci -o my_nf.tar",
    );
    let passed = tested.matches("test result: ok. 1 passed").count();
    assert_eq!(passed, 2, "the NF's test and that of its image: {tested}");
    let balance = "balance 3 received = 3 delivered + 0 dropped + 0 in flight";
    assert!(tested.contains(balance), "{tested}");
    assert!(tested.contains("my_nf:0.1.0-"), "{tested}");

    // In C and Python, as the package recommends tools for them.
    let c = system.run(
        "apt-get install -q -y --no-install-recommends make pkg-config python3 >/dev/null\n\
         cp -r /usr/share/doc/onvm/examples .\ncd examples/c-nf\nmake\nonvmc build c-nf.chain -o c-nf.bundle\n\
         onvm-run c-nf.bundle --nf-path . --exit-when-done",
    );
    let balance = "balance 1958 received = 1958 delivered + 0 dropped + 0 in flight";
    assert!(c.contains(balance), "{c}");
    let python = system.run(
        "python3 -m zipfile -e /usr/share/onvm/python/onvm_nf-*.whl wheel\n\
         PYTHONPATH=wheel python3 -c 'import onvm_nf; print(onvm_nf.lib.library)'",
    );
    assert!(python.contains("libonvm_nf"), "{python}");

    let owned = system.run("dpkg -L onvm-dev");
    assert!(
        owned.contains("/usr/share/onvm/crates/nflib/Cargo.toml"),
        "{owned}"
    );
    system.run("apt-get purge -q -y onvm onvm-dev");
    let is_left =
        |path: &&str| path.contains("onvm") && system.root().join(path.trim_start_matches('/')).exists();
    let left: Vec<&str> = owned.lines().filter(is_left).collect();
    assert!(left.is_empty(), "left behind: {left:#?}");
}
