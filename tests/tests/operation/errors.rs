//! What cannot be run is refused: one paragraph that names the place and the remedy, exit code 1, nothing left behind.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use onvm_tests::{Finished, Manager, Scratch, capture, manager::unprivileged, programs};

const SOON: Duration = Duration::from_secs(30);

fn start(scratch: &Scratch, bundle: &Path) -> Finished {
    Manager::start(bundle, "test", &scratch.run_dir(), &["--exit-when-done"]).finish(SOON)
}

/// A bundle that works, of a capture of three packets.
fn sound(scratch: &Scratch) -> PathBuf {
    build(
        scratch,
        "port a = pcap { read = file(\"in.pcap\") }",
        "nf fwd = forward {}",
    )
}

fn build(scratch: &Scratch, port: &str, nf: &str) -> PathBuf {
    capture::write(
        &scratch.path("in.pcap"),
        &[
            capture::udp(1, 1, 30),
            capture::udp(1, 2, 30),
            capture::udp(1, 3, 30),
        ],
    );
    let head = nf
        .lines()
        .filter(|l| l.starts_with("use"))
        .collect::<Vec<_>>()
        .join("\n");
    let nf = nf
        .lines()
        .filter(|l| !l.starts_with("use"))
        .collect::<Vec<_>>()
        .join("\n");
    let chain = format!(
        "{head}\n{port}\nport b = pcap {{ write = \"/dev/null\" }}\n{nf}\nsteer a {{ else -> fwd -> b }}\n"
    );
    scratch.build(&chain, "bundle")
}

#[test]
fn a_damaged_bundle_is_refused_and_the_file_named() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    start(&scratch, &bundle).summary();

    let path = bundle.join("manager.toml");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&path, &flipped).unwrap();
    start(&scratch, &bundle).assert_refused(&["manager.toml", "onvmc build"]);

    fs::remove_file(&path).unwrap();
    start(&scratch, &bundle).assert_refused(&["manager.toml", "onvmc build"]);
    fs::write(&path, &whole).unwrap();

    fs::write(bundle.join("extra.toml"), "x = 1\n").unwrap();
    start(&scratch, &bundle).assert_refused(&["extra.toml"]);
    fs::remove_file(bundle.join("extra.toml")).unwrap();

    let index = fs::read_to_string(bundle.join("bundle.toml")).unwrap();
    let newer = index.replacen("format = 5", "format = 99", 1);
    assert_ne!(newer, index);
    fs::write(bundle.join("bundle.toml"), newer).unwrap();
    start(&scratch, &bundle).assert_refused(&["bundle.toml", "99"]);
}

#[test]
fn what_is_no_bundle_is_refused() {
    let scratch = Scratch::new();
    start(&scratch, &scratch.path("nothing.bundle")).assert_refused(&["nothing.bundle"]);
    fs::create_dir(scratch.path("empty.bundle")).unwrap();
    start(&scratch, &scratch.path("empty.bundle")).assert_refused(&["empty.bundle", "onvmc build"]);
    let source = scratch.write("some.chain", "port a = null {}\n");
    start(&scratch, &source).assert_refused(&["some.chain", "onvmc build"]);
}

#[test]
fn a_program_that_is_not_installed_is_named_with_where_it_was_looked_for() {
    let scratch = Scratch::new();
    let text =
        "name = \"lost\"\nversion = \"0.1.0\"\nsummary = \"x\"\n\n[run]\nbinary = \"no-such-program\"\n";
    scratch.write("lost.nf.toml", text);
    let bundle = build(
        &scratch,
        "port a = pcap { read = file(\"in.pcap\") }",
        "use \"lost.nf.toml\" as lost\nnf fwd = lost {}",
    );
    start(&scratch, &bundle).assert_refused(&["fwd-0", "no-such-program", "--nf-path"]);
}

#[test]
fn a_capture_that_is_not_there_is_named_with_its_place() {
    let scratch = Scratch::new();
    let path = scratch.path("missing.pcap").display().to_string();
    let bundle = build(
        &scratch,
        &format!("port a = pcap {{ read = \"{path}\" }}"),
        "nf fwd = forward {}",
    );
    start(&scratch, &bundle).assert_refused(&["port `a`", "test.chain:2", &path]);
}

#[test]
fn an_interface_that_is_not_there_or_taken_is_named() {
    let scratch = Scratch::new();
    let bundle = build(
        &scratch,
        "port a = af_packet { interface = \"onvm-none\" }",
        "nf fwd = forward {}",
    );
    start(&scratch, &bundle).assert_refused(&["port `a`", "test.chain:2", "`onvm-none`", "ip link"]);
    let bundle = build(&scratch, "port a = tap { name = \"lo\" }", "nf fwd = forward {}");
    start(&scratch, &bundle).assert_refused(&["port `a`", "test.chain:2", "`lo`", "af_packet"]);
}

const NOBODY: u32 = 65_534;

#[test]
fn without_the_right_to_raw_sockets_the_capability_is_named() {
    let scratch = Scratch::new();
    let bundle = build(
        &scratch,
        "port a = af_packet { interface = \"lo\" }",
        "nf fwd = forward {}",
    );
    let run = Manager::spawn(
        unprivileged(&scratch, &bundle, &["--exit-when-done"]),
        "test",
        &scratch.run_dir(),
    );
    run.finish(SOON)
        .assert_refused(&["port `a`", "CAP_NET_RAW", "setcap cap_net_raw+ep"]);
}

#[test]
fn captures_need_no_right_at_all() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    let run = Manager::spawn(
        unprivileged(&scratch, &bundle, &["--exit-when-done"]),
        "test",
        &scratch.run_dir(),
    );
    assert_eq!(run.finish(SOON).summary().balance.delivered, 3);
}

#[test]
fn a_second_manager_in_the_same_place_is_refused_and_the_first_goes_on() {
    let scratch = Scratch::new();
    scratch.pacer();
    let bundle = build(
        &scratch,
        "port a = pcap { read = file(\"in.pcap\"), repeat = true }",
        "use \"pacer.nf.toml\" as pacer\nnf fwd = pacer { pause = 5 ms }",
    );
    let first = Manager::ready(&bundle, "test", &scratch.run_dir(), &[]);
    let pid = first.nf_processes();
    let mut second = programs::command("onvm-run");
    second.arg(&bundle).arg("--run-dir").arg(scratch.run_dir());
    let second = second.output().unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(
        (second.status.code(), second.stdout.len()),
        (Some(1), 0),
        "{text}"
    );
    for word in [&format!("process {}", first.pid()), "--run-dir"] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(first.nf_processes(), pid);
    first.wait_for_traffic(100, SOON);
    first.terminate_whole(3);
}

#[test]
fn parameters_that_an_nf_refuses_are_named() {
    let scratch = Scratch::new();
    // The program wants a parameter that this manifest does not have.
    scratch.manifest("attacker", "");
    let bundle = build(
        &scratch,
        "use \"attacker.nf.toml\" as attacker\nport a = pcap { read = file(\"in.pcap\") }",
        "nf fwd = attacker {}",
    );
    start(&scratch, &bundle).assert_refused(&["fwd-0", "parameter `how` is missing"]);
}

#[test]
fn a_run_directory_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    let file = scratch.write("file", "");
    Manager::start(&bundle, "test", &file, &["--exit-when-done"])
        .finish(SOON)
        .assert_refused(&["/file: ", "not a directory", "--run-dir"]);
}

/// Somebody else made it, or may write to it, or it is a link to something of one's own: in a directory that all may write
/// to, each can lie where the run directory would be.
#[test]
fn a_run_directory_that_others_could_have_made_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    let precious = scratch.path("precious/test/bundles/mine");
    fs::create_dir_all(&precious).unwrap();
    let refused = |what: &str, words: &[&str]| {
        let run = Manager::start(&bundle, "test", &scratch.path(what), &["--exit-when-done"]);
        let finished = run.finish(SOON);
        finished.assert_error(words);
        assert!(precious.exists(), "{what}");
    };

    std::os::unix::fs::symlink("precious", scratch.path("link")).unwrap();
    refused("link", &["/link: this is a symbolic link", "--run-dir"]);
    refused("link/", &["/link: this is a symbolic link", "--run-dir"]);

    fs::create_dir(scratch.path("shared")).unwrap();
    fs::set_permissions(scratch.path("shared"), fs::Permissions::from_mode(0o1777)).unwrap();
    refused(
        "shared",
        &["/shared: others may write here (mode 1777)", "chmod go-w"],
    );

    fs::create_dir(scratch.path("foreign")).unwrap();
    std::os::unix::fs::chown(scratch.path("foreign"), Some(NOBODY), None).unwrap();
    refused("foreign", &["/foreign: this belongs to user 65534", "--run-dir"]);

    // The same one step below.
    fs::create_dir(scratch.path("own")).unwrap();
    std::os::unix::fs::symlink("../precious/test", scratch.path("own/test")).unwrap();
    refused("own", &["/own/test: this is a symbolic link"]);
    fs::remove_file(scratch.path("own/test")).unwrap();
    fs::create_dir(scratch.path("own/test")).unwrap();
    std::os::unix::fs::chown(scratch.path("own/test"), Some(NOBODY), None).unwrap();
    refused("own", &["/own/test: this belongs to user 65534"]);
    fs::remove_dir(scratch.path("own/test")).unwrap();

    // And for the lock, which a link once had truncated.
    let victim = scratch.write("victim", "precious");
    fs::create_dir(scratch.path("own/test")).unwrap();
    std::os::unix::fs::symlink(&victim, scratch.path("own/test/manager.lock")).unwrap();
    refused("own", &["/own/test/manager.lock"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    // What a killed manager could have left is the user's own, and goes.
    fs::remove_file(scratch.path("own/test/manager.lock")).unwrap();
    std::os::unix::fs::symlink(
        scratch.path("precious/test/bundles"),
        scratch.path("own/test/bundles"),
    )
    .unwrap();
    std::os::unix::fs::symlink(&victim, scratch.path("own/test/control.sock")).unwrap();
    let run = Manager::start(&bundle, "test", &scratch.path("own"), &["--exit-when-done"]);
    assert_eq!(run.finish(SOON).summary().balance.delivered, 3);
    assert!(precious.exists() && victim.exists());
}

#[test]
fn a_pipe_in_a_bundles_place_is_refused_and_not_waited_for() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    for name in ["bundle.toml", "flows.toml"] {
        let whole = fs::read(bundle.join(name)).unwrap();
        fs::remove_file(bundle.join(name)).unwrap();
        programs::tool("mkfifo", &[&bundle.join(name).display().to_string()]);
        start(&scratch, &bundle).assert_refused(&[name, "not a regular file"]);
        fs::remove_file(bundle.join(name)).unwrap();
        fs::write(bundle.join(name), whole).unwrap();
    }
    start(&scratch, &bundle).summary();
}

#[test]
fn a_run_directory_whose_path_is_too_long_for_a_socket_is_named() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    let deep = scratch.path(&"d".repeat(120));
    Manager::start(&bundle, "test", &deep, &["--exit-when-done"])
        .finish(SOON)
        .assert_refused(&["too long", "--run-dir"]);
}

#[test]
fn a_run_directory_may_be_relative() {
    let scratch = Scratch::new();
    let bundle = sound(&scratch);
    let mut command = programs::command("onvm-run");
    command.current_dir(scratch.path("")).arg(bundle).args([
        "--run-dir",
        "here",
        "--json",
        "--exit-when-done",
    ]);
    let run = Manager::spawn(command, "test", &scratch.path("here"));
    assert_eq!(run.finish(SOON).summary().balance.delivered, 3);
}

#[test]
fn onvm_run_used_wrongly_says_how_it_is_used() {
    for arguments in [
        &[][..],
        &["--no-such-option"],
        &["a", "b"],
        &["a", "--nfs", "magic"],
    ] {
        let output = programs::command("onvm-run").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("--help"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_repeated_capture_that_would_take_the_buffers_is_refused_with_how_many_it_needs() {
    let scratch = Scratch::new();
    capture::write(&scratch.path("long.pcap"), &vec![capture::udp(1, 1, 30); 20_000]);
    let bundle = build(
        &scratch,
        "port a = pcap { read = file(\"long.pcap\"), repeat = true }",
        "nf fwd = forward {}",
    );
    start(&scratch, &bundle).assert_refused(&["port `a`", "20000", "`buffers ="]);
}

#[test]
fn two_ports_on_one_capture_are_refused_and_the_file_is_left_as_it_is() {
    let scratch = Scratch::new();
    let file = scratch.write("out.pcap", "precious");
    let path = file.display();
    // The same file by another name, which the compiler cannot know of.
    let other = scratch.path("link.pcap");
    std::os::unix::fs::symlink(&file, &other).unwrap();
    let ports = format!(
        "port a = pcap {{ read = file(\"in.pcap\"), write = \"{path}\" }}\nport c = pcap {{ write = \"{}\" }}",
        other.display()
    );
    let bundle = build(&scratch, &ports, "nf fwd = forward {}");
    start(&scratch, &bundle).assert_refused(&["port `c`", "test.chain:3", "port `a` writes this file"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let port = format!("port a = pcap {{ read = \"{path}\", write = \"{path}\" }}");
    let bundle = build(&scratch, &port, "nf fwd = forward {}");
    start(&scratch, &bundle).assert_refused(&["port `a`", "test.chain:2", "port `a` reads this file"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn a_directory_is_no_output() {
    let scratch = Scratch::new();
    let path = scratch.run_dir().parent().unwrap().display().to_string();
    let port = format!("port a = pcap {{ read = file(\"in.pcap\"), write = \"{path}\" }}");
    let bundle = build(&scratch, &port, "nf fwd = forward {}");
    start(&scratch, &bundle).assert_refused(&["port `a`", "test.chain:2", &path, "directory"]);
}

#[test]
fn a_device_that_no_driver_makes_and_a_core_that_is_not_there_are_named() {
    let scratch = Scratch::new();
    let bundle = build(
        &scratch,
        "port a = vdev { device = \"net_nothere0\" }",
        "nf fwd = forward {}",
    );
    Manager::start(&bundle, "test", &scratch.run_dir(), &[])
        .finish(SOON)
        .assert_refused(&["port `a`", "no driver", "`net_nothere0`"]);
    let bundle = build(
        &scratch,
        "manager { cores = [1023] }\nport a = pcap { read = file(\"in.pcap\") }",
        "nf fwd = forward {}",
    );
    start(&scratch, &bundle).assert_refused(&["core 1023", "`cores`"]);
}

/// A file system of 64 KiB. Needs root.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let target = at.display().to_string();
        programs::tool("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs", &target]);
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn an_output_that_its_file_system_could_not_hold_is_an_error_beside_the_balance() {
    let scratch = Scratch::new();
    let small = Small::mount(scratch.path("small"));
    capture::write(&scratch.path("long.pcap"), &vec![capture::udp(1, 1, 1000); 200]);
    let chain = format!(
        "port a = pcap {{ read = file(\"long.pcap\") }}\nport b = pcap {{ write = \"{}\" }}\n\
         nf fwd = forward {{}}\nsteer a {{ else -> fwd -> b }}\n",
        small.0.join("out.pcap").display()
    );
    let output = programs::command("onvm-run")
        .arg(scratch.build(&chain, "bundle"))
        .args(["--exit-when-done", "--run-dir"])
        .arg(scratch.run_dir())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(out.contains("balance 200 received = 200 delivered"), "{out}");
    assert!(
        err.contains("port `b`") && err.contains("the capture is cut"),
        "{err}"
    );
}
