//! The programs in C and in Python.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use onvm_tests::programs;

/// The directory of the programs in C and in Python, which are built once in each run.
pub(crate) fn directory() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let to = programs::directory().join("conformance");
        fs::create_dir_all(&to).unwrap();
        let (root, libraries) = (root(), programs::directory().join("deps"));
        compile_c(
            &root.join("tests/src/nfs/conform/conform.c"),
            &to.join("conform-c"),
        );
        let script = to.join("conform.py");
        fs::copy(root.join("tests/src/nfs/conform/conform.py"), &script).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let [maker, library] = [
            root.join("nflib/python/build_wheel.py"),
            libraries.join("libonvm_nf.so"),
        ];
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let made = [text(&maker), text(&library), text(&to), "0.0.0".to_owned()];
        let wheel = programs::tool("python3", &made.each_ref().map(String::as_str));
        // As pip does with a wheel like this one.
        programs::tool("python3", &["-m", "zipfile", "-e", wheel.trim(), &text(&to)]);
        to
    })
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn compile_c(source: &Path, to: &Path) {
    // Its symbols are those of the crate that this test is built with.
    assert_eq!(onvm_nf::onvm_nf_abi(), onvm_nf::ONVM_NF_ABI);
    let output = Command::new("cc")
        .args([
            "-std=c11",
            "-g",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-I",
        ])
        .arg(root().join("nflib/c/include"))
        .arg(source)
        .arg("-o")
        .arg(to)
        .arg(programs::directory().join("deps/libonvm_nf.a"))
        .arg("-lm")
        .output()
        .expect("there is a C compiler; `make setup` installs it");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{said}", source.display());
}
