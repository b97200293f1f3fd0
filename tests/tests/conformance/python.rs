//! What holds in Python alone.

use std::{fs, os::unix::fs::PermissionsExt};

use onvm_tests::{
    Manager,
    manager::{SOON, all_have_left, instance},
    programs::tool,
};

use crate::{
    PYTHON,
    case::{Case, NORMAL, counter},
    programs,
};

/// A slice of a view that is kept could read what lies in its buffer later.
#[test]
fn a_view_that_python_keeps_ends_the_nf() {
    let case = Case::all(PYTHON, &[22]);
    let running = case.ready();
    running.wait_until("it has failed", SOON, |s| instance(s, "c-0").restarts == 1);
    running.wait_for_log("BufferError: a view of a packet was kept beyond `process`");
    running.terminate_whole(0);
}

#[test]
fn a_view_that_python_keeps_is_released() {
    // More than one burst has room for.
    let ports = [&[23][..], &[1; 32], &[24]].concat();
    let case = Case::all(PYTHON, &ports);
    let running = case.ready();
    running.wait_for_log("written: cannot modify read-only memory");
    let log = running.log();
    assert!(
        log.contains("kept: operation forbidden on released memoryview object"),
        "{log}"
    );
    let status = running.wait_until("all have left", SOON, |s| all_have_left(s, 34));
    assert_eq!(
        (instance(&status, "c-0").restarts, counter(&status, "refused")),
        (0, 0)
    );
    running.terminate_whole(0);
}

/// What it sees it says as the reason why it does not start.
#[test]
fn a_script_sees_itself_and_its_files_and_nothing_beside() {
    const SCRIPT: &str = "#!/usr/bin/python3\nimport os\nfrom onvm_nf import Nf, Refused, run\n\
        def look(setup):\n    here = os.path.dirname(os.path.abspath(__file__))\n\
        \x20   seen = os.listdir(here) + ['/' + name for name in os.listdir('/')]\n\
        \x20   for name in ('secret', '../secret', '/etc/passwd'):\n\
        \x20       try:\n            open(os.path.join(here, name))\n            seen.append('read ' + name)\n\
        \x20       except OSError:\n            pass\n\
        \x20   raise Refused('seen: ' + ', '.join(sorted(seen)) + '.')\n\
        run(look)\n";
    let case = Case::all("binary = \"look.py\"\nfiles = [\"onvm_nf\", \"table\"]\n", &[1]);
    let nfs = case.scratch.path("nfs");
    fs::create_dir(&nfs).unwrap();
    let package = programs::directory().join("onvm_nf");
    let copied = tool("cp", &["-r", package.to_str().unwrap(), nfs.to_str().unwrap()]);
    assert_eq!(copied, "");
    for (name, content, mode) in [
        ("look.py", SCRIPT, 0o755),
        ("table", "", 0o644),
        ("secret", "", 0o644),
    ] {
        fs::write(nfs.join(name), content).unwrap();
        fs::set_permissions(nfs.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    case.scratch.write("secret", "");
    let bundle = case.bundle("bundle", NORMAL, "");
    let secrets = case.scratch.path("secrets");
    let arguments = [
        "--nf-path",
        nfs.to_str().unwrap(),
        "--secrets",
        secrets.to_str().unwrap(),
    ];
    let finished = Manager::start(&bundle, "test", &case.scratch.run_dir(), &arguments).finish(SOON);
    finished.assert_refused(&["seen: "]);
    let (_, seen) = finished.stderr.rsplit_once("seen: ").unwrap();
    let seen: Vec<&str> = seen.trim().trim_end_matches('.').split(", ").collect();
    let own: Vec<&&str> = seen.iter().filter(|name| !name.starts_with('/')).collect();
    assert_eq!(own, [&"look.py", &"onvm_nf", &"table"], "{seen:?}");
    let tops = [
        "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu", "/opt", "/sbin",
        "/tmp", "/usr",
    ];
    let roots = seen.iter().filter(|name| name.starts_with('/'));
    assert!(roots.into_iter().all(|name| tops.contains(name)), "{seen:?}");
}
