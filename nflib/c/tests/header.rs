//! `include/onvm_nf.h` is generated from the sources, and C and C++ take it.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{fs, path::Path, process::Command};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The header as the sources have it.
fn generated() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    // The modules are found from it.
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/lib.rs"));
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn the_header_is_that_of_the_sources() {
    let (path, generated) = (root().join("include/onvm_nf.h"), generated());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == generated,
        "{} is not that of the sources: run UPDATE_DOCS=1 cargo test -p nflib-c",
        path.display()
    );
}

#[test]
fn every_function_is_declared_once() {
    let header = generated();
    let mut functions = 0;
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in source.lines() {
            let Some((_, name)) = line.split_once("extern \"C\" fn ") else {
                continue;
            };
            let name = name.split('(').next().unwrap();
            let declares = |line: &&str| {
                let is_one = line.starts_with(|first: char| first.is_ascii_alphabetic());
                is_one
                    && [' ', '*']
                        .iter()
                        .any(|before| line.contains(&format!("{before}{name}(")))
            };
            assert_eq!(
                header.lines().filter(declares).count(),
                1,
                "declarations of {name}"
            );
            functions += 1;
        }
    }
    assert!(functions > 50, "{functions}");
}

/// Compiles what includes nothing but the header, and uses what of it is code.
fn compile(compiler: &str, standard: &str, language: &str) {
    const PROGRAM: &str = "#include \"onvm_nf.h\"\n\
        onvm_nf_ops ops = ONVM_NF_OPS_INIT;\n\
        int use_both(void) { onvm_logf(ONVM_INFO, \"%d\", 1); return onvm_failf(\"%s\", \"x\"); }\n";
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("program");
    fs::write(&source, PROGRAM).unwrap();
    fs::write(directory.path().join("onvm_nf.h"), generated()).unwrap();
    let output = Command::new(compiler)
        .args(["-x", language, &format!("-std={standard}")])
        .args([
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Wconversion",
            "-Werror",
            "-c",
            "-I",
        ])
        .arg(directory.path())
        .arg(&source)
        .arg("-o")
        .arg(directory.path().join("object"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{compiler} -std={standard}:\n{said}");
}

#[test]
fn the_shared_library_is_named_by_the_version_of_the_interface() {
    let name = format!("libonvm_nf.so.{}", onvm_nf::ONVM_NF_ABI);
    let build = fs::read_to_string(root().join("build.rs")).unwrap();
    assert!(build.contains(&format!("-soname,{name}\"")), "{name}");
}

#[test]
fn it_is_c11_and_c17() {
    compile("cc", "c11", "c");
    compile("cc", "c17", "c");
}

#[test]
fn it_is_cxx17_and_cxx20() {
    compile("c++", "c++17", "c++");
    compile("c++", "c++20", "c++");
}
