mod fake;

use std::path::Path;

use fake::Fake;

use super::*;
use crate::testing::checked;

const PLAIN: &str = "port wan = null {}\nnf fw = forward\nsteer wan { else -> fw -> wan }\n";

fn examined(fake: &Fake, source: &str) -> Vec<Check> {
    let checked = checked(source);
    let shown = crate::render::human(&checked.sources, &checked.diagnostics, false, 100);
    let program = checked.program.expect(&shown);
    let subject = Subject {
        name: "a",
        manager: &program.manager,
        instances: &program.instances,
        secrets: &program.secrets,
    };
    examine(
        fake,
        Some(subject),
        &Options {
            run_dir: "/run/onvm".into(),
            ..Options::default()
        },
    )
}

/// The one check of this host and program that is not ok: its name, state and what fixes it.
#[track_caller]
fn wrong(fake: &Fake, source: &str) -> (String, State, String) {
    let checks = examined(fake, source);
    let wrong: Vec<&Check> = checks.iter().filter(|c| c.state != State::Ok).collect();
    let [only] = wrong.as_slice() else {
        panic!("{checks:#?}")
    };
    (only.name.clone(), only.state, only.fix.clone().unwrap())
}

fn expected(name: &str, state: State, fix: &str) -> (String, State, String) {
    (name.to_owned(), state, fix.to_owned())
}

#[test]
fn a_sound_host_is_all_right() {
    let all = examined(&Fake::sound(), PLAIN);
    assert!(
        all.iter().all(|c| c.state == State::Ok && c.fix.is_none()),
        "{all:#?}"
    );
    let names: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "onvm-run",
            "isolation",
            "run directory",
            "cores",
            "NUMA nodes",
            "memory",
            "huge pages of 2 MiB",
            "open files",
            "memory files",
            "port wan",
            "program onvm-nf"
        ]
    );
    assert!(all[0].found.contains("DPDK 22.11.5"));
    let without = examine(
        &Fake::sound(),
        None,
        &Options {
            run_dir: "/run/onvm".into(),
            ..Options::default()
        },
    );
    assert!(without.iter().all(|c| c.state == State::Ok), "{without:#?}");
}

#[test]
fn the_runtime_itself() {
    let mut fake = Fake::sound();
    fake.programs.remove("onvm-run");
    assert_eq!(
        wrong(&fake, PLAIN),
        expected("onvm-run", State::Failed, "make release && sudo make install")
    );
    fake.programs.insert(
        "onvm-run".into(),
        Err("librte_eal.so.23: cannot open shared object file".into()),
    );
    assert_eq!(wrong(&fake, PLAIN).1, State::Failed);
    fake.programs
        .insert("onvm-run".into(), Ok("onvm-run 9.9.9 (DPDK 99.11.0)\n".into()));
    assert_eq!(wrong(&fake, PLAIN).1, State::Warning);
    let mut fake = Fake::sound();
    fake.closed.insert("/run/onvm".into());
    assert_eq!(wrong(&fake, PLAIN).0, "run directory");
    let mut fake = Fake::sound();
    fake.programs.remove("onvm-nf");
    assert_eq!(wrong(&fake, PLAIN).0, "program onvm-nf");
}

#[test]
fn isolation_is_what_onvm_run_can_have_here() {
    let lacking = r#"{"means":["landlock 7"],"missing":[{"means":"user ids","reason":"onvm-run is not root"}],"waived":[]}"#;
    let mut fake = Fake::sound();
    assert_eq!(
        wrong(fake.isolation(lacking).clone().not_root(), PLAIN),
        expected("isolation", State::Warning, "sudo onvm-run BUNDLE")
    );
    assert_eq!(wrong(&fake, PLAIN).1, State::Warning);
    fake.programs.insert(
        "onvm-run --isolation".into(),
        Err("error: NFs cannot be jailed here: nothing keeps them from `files`".into()),
    );
    assert_eq!(wrong(&fake, PLAIN).1, State::Failed);
    assert_eq!(
        wrong(fake.isolation("of another version"), PLAIN).1,
        State::Failed
    );
}

#[test]
fn cores_and_nodes() {
    let with = |block: &str| format!("{PLAIN}manager {{ {block} }}\n");
    let (name, state, fix) = wrong(&Fake::sound(), &with("cores = [6, 7, 8, 9]"));
    assert_eq!((name.as_str(), state), ("cores", State::Failed));
    assert_eq!(fix, "manager { cores = [0, 1, 2, 3, 4, 5, 6, 7] }");
    assert_eq!(wrong(&Fake::sound(), &with("cores = [3]")).0, "cores");
    let greedy = PLAIN.replace("forward", "forward with { cores = 8 }");
    assert_eq!(wrong(&Fake::sound(), &greedy).0, "cores");
    let far = PLAIN.replace("forward", "forward with { numa = 2 }");
    assert_eq!(wrong(&Fake::sound(), &far).0, "NUMA nodes");
    assert!(
        examined(&Fake::sound(), &far.replace("numa = 2", "numa = 1"))
            .iter()
            .all(|c| c.state == State::Ok)
    );
}

#[test]
fn memory_of_the_host_and_of_its_control_groups() {
    let mut fake = Fake::sound();
    fake.file("/proc/meminfo", "MemAvailable:    60000 kB\n");
    let (name, state, fix) = wrong(&fake, PLAIN);
    assert_eq!(
        (name.as_str(), state, fix.as_str()),
        ("memory", State::Failed, "manager { buffers = 4096 }")
    );
    let fixed = format!("{PLAIN}{fix}\n");
    assert!(
        examined(&fake, &fixed).iter().all(|c| c.state != State::Failed),
        "what it says helps"
    );
    // Each of two domains has so many.
    fake.file("/proc/meminfo", "MemAvailable:    80000 kB\n");
    let two = PLAIN.replace("forward", "forward with { domain = \"red\" }");
    let (name, _, fix) = wrong(&fake, &two);
    assert_eq!(
        (name.as_str(), fix.as_str()),
        ("memory", "manager { buffers = 2048 }")
    );
    let fixed = format!("{two}{fix}\n");
    assert!(
        examined(&fake, &fixed).iter().all(|c| c.state != State::Failed),
        "what it says helps with two domains"
    );
    let mut fake = Fake::sound();
    fake.file("/sys/fs/cgroup/user.slice/memory.max", "104857600\n")
        .file("/sys/fs/cgroup/user.slice/memory.current", "100000000\n");
    assert_eq!(wrong(&fake, PLAIN).1, State::Failed);
    fake.file("/sys/fs/cgroup/user.slice/memory.max", "max\n");
    assert!(examined(&fake, PLAIN).iter().all(|c| c.state == State::Ok));
    let mut fake = Fake::sound();
    let large = PLAIN.replace("forward", "forward with { memory = 20 GiB }");
    assert_eq!(wrong(&fake, &large).1, State::Warning);
    fake.files.remove(Path::new("/proc/meminfo"));
    assert_eq!(wrong(&fake, PLAIN).1, State::Warning);
}

#[test]
fn huge_pages_that_are_required() {
    let with = |size: &str| format!("{PLAIN}manager {{ hugepages = {size} }}\n");
    let mut fake = Fake::sound();
    // 38 MiB for DPDK and 35 MiB of packets.
    let small = "echo 47 | sudo tee /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
    assert_eq!(
        wrong(fake.pages(2 << 20, 20, 10), &with("2 MiB")),
        expected("huge pages of 2 MiB", State::Failed, small)
    );
    assert!(
        examined(fake.pages(2 << 20, 47, 37), &with("2 MiB"))
            .iter()
            .all(|c| c.state == State::Ok)
    );
    let large = "echo 1 | sudo tee /sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";
    assert_eq!(
        wrong(&fake, &with("1 GiB")),
        expected("huge pages of 1 GiB", State::Failed, large)
    );
    assert!(
        examined(&Fake::sound(), &with("auto"))
            .iter()
            .all(|c| c.state == State::Ok)
    );
}

#[test]
fn limits() {
    let many = |n| PLAIN.replace("forward", &format!("forward with {{ replicas = {n} }}"));
    assert_eq!(
        wrong(&Fake::sound(), &many(200)),
        expected(
            "open files",
            State::Failed,
            "sudo prlimit --pid $$ --nofile=4096:4096"
        )
    );
    assert_eq!(
        wrong(&Fake::sound(), &many(100)),
        expected(
            "open files",
            State::Warning,
            "sudo prlimit --pid $$ --nofile=2048:2048"
        )
    );
    let mut fake = Fake::sound();
    fake.file("/proc/sys/vm/memfd_noexec", "2\n");
    assert_eq!(
        wrong(&fake, PLAIN),
        expected("memory files", State::Failed, "sudo sysctl -w vm.memfd_noexec=1")
    );
}

#[test]
fn ports_on_the_host() {
    let source = |port: &str| PLAIN.replace("null {}", port);
    let state = |fake: &Fake, port: &str| {
        let checks = examined(fake, &source(port));
        let check = checks.into_iter().find(|c| c.name == "port wan").unwrap();
        (check.state, check.fix.unwrap_or_default())
    };
    let ok = (State::Ok, String::new());
    let failed = |fix: &str| (State::Failed, fix.to_owned());
    let mut fake = Fake::sound();
    let packet = "af_packet { interface = \"eth0\" }";
    assert_eq!(state(&fake, packet), failed("ip -brief link"));
    fake.file("/sys/class/net/eth0/flags", "0x1002\n");
    assert_eq!(state(&fake, packet), failed("sudo ip link set eth0 up"));
    fake.file("/sys/class/net/eth0/flags", "0x1003\n");
    assert_eq!(state(&fake, packet), ok);
    assert_eq!(
        state(fake.clone().not_root(), packet),
        failed("sudo setcap cap_net_raw+ep \"$(command -v onvm-run)\"")
    );
    let mut given = fake.clone();
    given.programs.insert(
        "getcap".into(),
        Ok("/usr/local/bin/onvm-run cap_net_raw=ep\n".into()),
    );
    assert_eq!(state(given.not_root(), packet), ok);
    assert_eq!(state(&fake, "tap { name = \"tap0\" }"), ok);
    assert_eq!(
        state(&fake, "tap { name = \"eth0\" }"),
        failed("sudo ip link delete eth0")
    );
    fake.files.remove(Path::new("/dev/net/tun"));
    assert_eq!(
        state(&fake, "tap { name = \"tap0\" }"),
        failed("sudo modprobe tun")
    );
    let nic = "pci { address = \"0000:3b:00.0\" }";
    assert_eq!(state(&fake, nic), failed("lspci -D | grep -i ethernet"));
    fake.file("/sys/bus/pci/devices/0000:3b:00.0/vendor", "0x8086");
    fake.links
        .insert("/sys/bus/pci/devices/0000:3b:00.0/driver".into(), "ice".into());
    assert_eq!(
        state(&fake, nic),
        failed("sudo modprobe vfio-pci && sudo dpdk-devbind.py --bind=vfio-pci 0000:3b:00.0")
    );
    fake.links.insert(
        "/sys/bus/pci/devices/0000:3b:00.0/driver".into(),
        "vfio-pci".into(),
    );
    assert_eq!(state(&fake, nic), ok);
    let client = "memif { socket = \"/run/x.sock\", role = client }";
    assert_eq!(state(&fake, client).0, State::Failed);
    fake.file("/run/x.sock", "");
    assert_eq!(state(&fake, client), ok);
    fake.file("/full/out.pcap", "")
        .closed
        .insert("/full/out.pcap".into());
    assert_eq!(
        state(&fake, "pcap { write = \"/full/out.pcap\" }"),
        failed("sudo chown \"$USER\" /full/out.pcap")
    );
    assert_eq!(
        state(&fake, "pcap { read = \"/in.pcap\" }"),
        failed("ls -l /in.pcap")
    );
    assert_eq!(
        state(&fake, "pcap { write = \"/data/it's/out.pcap\" }"),
        failed(r"mkdir -p '/data/it'\''s'")
    );
    fake.file("/data/it's/other", "").file("/in.pcap", "");
    assert_eq!(
        state(
            &fake,
            "pcap { write = \"/data/it's/out.pcap\", read = \"/in.pcap\" }"
        ),
        ok
    );
}

#[test]
fn devices_lock_memory() {
    let mut fake = Fake::sound();
    let nic = PLAIN.replace("null {}", "pci { address = \"0000:3b:00.0\" }");
    let check = |fake: &Fake| {
        examined(fake, &nic)
            .into_iter()
            .find(|c| c.name == "locked memory")
            .unwrap()
    };
    assert_eq!(check(&fake).state, State::Ok, "root may");
    let refused = check(fake.not_root());
    assert_eq!(refused.fix.as_deref(), Some("ulimit -l unlimited"));
    assert!(
        refused.found.starts_with("ports of kind pci lock "),
        "{}",
        refused.found
    );
}

#[test]
fn secrets() {
    let nf = "name = \"keyed\"\nversion = \"1.0.0\"\nsummary = \"x\"\n[run]\nbinary = \"onvm-nf\"\n[[params]]\nname = \"key\"\ntype = \"secret\"\ndoc = \"x\"\n";
    let main = "use \"keyed.nf.toml\" as keyed\nport wan = null {}\nnf a = keyed { key = secret(\"API_KEY\") }\nsteer wan { else -> a -> wan }\n";
    let host = crate::source::host::MemoryHost::default()
        .with("test.chain", main)
        .with("keyed.nf.toml", nf);
    let program = crate::check(&host, Path::new("test.chain"), &crate::Inputs::default())
        .unwrap()
        .program
        .unwrap();
    let subject = Subject {
        name: "a",
        manager: &program.manager,
        instances: &program.instances,
        secrets: &program.secrets,
    };
    let options = Options {
        run_dir: "/run/onvm".into(),
        secrets: Some("/etc/secrets".into()),
        ..Options::default()
    };
    let state = |fake: &Fake| {
        let checks = examine(fake, Some(subject), &options);
        checks
            .into_iter()
            .find(|c| c.name == "secret API_KEY")
            .map(|c| (c.state, c.fix.unwrap_or_default()))
            .unwrap()
    };
    let mut fake = Fake::sound();
    assert_eq!(
        state(&fake),
        (State::Failed, "read -rs API_KEY && export API_KEY".into())
    );
    fake.variables.insert("API_KEY".into(), "x".into());
    assert_eq!(state(&fake).0, State::Ok);
    fake.closed.insert("/etc/secrets/API_KEY".into());
    assert_eq!(
        state(&fake),
        (State::Failed, "sudo chown \"$USER\" /etc/secrets/API_KEY".into())
    );
}

#[test]
fn containers_need_an_engine() {
    let source = PLAIN.replace("forward", "forward with { run = container }");
    let mut fake = Fake::sound();
    fake.programs
        .insert("docker-compose".into(), Ok("1.29.2\n".into()));
    assert_eq!(
        wrong(&fake, &source).2,
        "sudo apt-get install docker.io docker-compose"
    );
    fake.programs
        .insert("docker".into(), Err("Cannot connect to the Docker daemon".into()));
    assert_eq!(wrong(&fake, &source).2, "sudo systemctl start docker");
    fake.programs
        .insert("docker".into(), Ok("28.2.2 28.2.2\n".into()));
    assert!(examined(&fake, &source).iter().all(|c| c.state == State::Ok));
    fake.programs
        .insert("docker-compose".into(), Err("not found".into()));
    fake.programs
        .insert("docker".into(), Err("unknown command: compose".into()));
    let missing = examined(&fake, &source);
    let compose = missing.iter().find(|c| c.name == "compose").unwrap();
    assert_eq!(compose.state, State::Failed);
}

#[test]
fn lists_of_the_kernel() {
    assert_eq!(facts::list("0-3,8\n"), [0, 1, 2, 3, 8]);
    assert_eq!(facts::list(""), Vec::<u64>::new());
    assert_eq!(facts::list("0-18446744073709551615").len(), 65_536);
}
