//! The examples of `chains` in C and in Python, made as their pages say.

use std::{fs, path::Path};

use onvm_tests::{Manager, Scratch, Summary, capture, manager::SOON, programs};

use crate::programs::root;

/// The example in this directory of `chains`, with what is built for it beside its program, run to the end. Gives the directory of
/// what came out.
fn run_example(name: &str, make: impl FnOnce(&Path, &Path), set: &[&str]) -> (Scratch, Summary) {
    let scratch = Scratch::new();
    let sdk = scratch.path("sdk");
    let (chains, libraries) = (root().join("chains"), programs::directory().join("deps"));
    let layout = root().join(".ci/sdk");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    programs::tool("sh", &[&text(&layout), &text(&libraries), &text(&sdk)]);
    programs::tool("cp", &["-r", &text(&chains.join(name)), &text(&scratch.path(""))]);
    programs::tool(
        "cp",
        &[&text(&chains.join("edge.pcap")), &text(&scratch.path(""))],
    );
    let directory = scratch.path(name);
    make(&directory, &sdk);
    let bundle = scratch.path("bundle");
    let lan = format!("lan_out={}", scratch.path("lan.pcap").display());
    let mut build = programs::command("onvmc");
    build
        .arg("build")
        .arg(directory.join(format!("{name}.chain")))
        .arg("-o")
        .arg(&bundle);
    for value in [&[lan.as_str()], set].concat() {
        build.args(["--set", value]);
    }
    let output = build.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let arguments = ["--exit-when-done", "--nf-path", directory.to_str().unwrap()];
    let run = Manager::start(&bundle, name, &scratch.run_dir(), &arguments);
    let summary = run.finish(SOON).summary();
    (scratch, summary)
}

#[test]
fn the_example_in_c_is_made_and_marks_packets() {
    let make = |directory: &Path, sdk: &Path| {
        let sdk = format!("SDK={}", sdk.display());
        let said = programs::tool("make", &["-C", directory.to_str().unwrap(), &sdk]);
        assert!(said.contains("ttl_guard"), "{said}");
    };
    let (scratch, summary) = run_example("c-nf", make, &[]);
    assert_eq!(summary.balance.delivered, 1958);
    let marked = capture::read(&scratch.path("lan.pcap"));
    // Some are cut or broken, and pass as they are.
    let v4 = |frame: &&Vec<u8>| frame.len() >= 34 && frame[12..15] == [8, 0, 0x45];
    let v4: Vec<_> = marked.iter().filter(v4).collect();
    assert!(v4.len() > 1000, "{}", v4.len());
    assert!(v4.iter().all(|frame| frame[15] >> 2 == 46 && frame[22] == 57));
    let (scratch, summary) = run_example("c-nf", make, &["min_ttl=64"]);
    assert_eq!(summary.balance.delivered, 1958);
    assert_eq!(capture::read(&scratch.path("lan.pcap")).len(), 45);
}

#[test]
fn the_example_in_python_drops_long_packets() {
    let make = |directory: &Path, sdk: &Path| {
        let wheel = fs::read_dir(sdk.join("wheel"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let [wheel, to] = [wheel.as_path(), directory].map(|path| path.to_str().unwrap());
        programs::tool("python3", &["-m", "zipfile", "-e", wheel, to]);
    };
    let (scratch, summary) = run_example("python-nf", make, &[]);
    let sent = capture::read(&scratch.path("edge.pcap"));
    let short: Vec<_> = sent.into_iter().filter(|frame| frame.len() <= 200).collect();
    assert!(
        capture::read(&scratch.path("lan.pcap")) == short,
        "the short ones, in order"
    );
    assert_eq!(summary.dropped("nf_verdict") as usize, 1958 - short.len());
}
