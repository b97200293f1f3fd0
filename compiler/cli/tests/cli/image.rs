//! Images without an engine: reproducible bytes, and a structure that programs of others can read.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{run, text};

/// Compiles a program with the system's C compiler.
fn program(dir: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let (source, program) = (dir.join("nf.c"), dir.join(name));
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let status = Command::new("cc")
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("cc runs: `make setup` installs it");
    assert!(status.success());
    program
}

/// Reads an archive with Python's own modules, and checks it as an engine would: every hash, the layer, the names.
const READER: &str = r#"
import hashlib, io, json, sys, tarfile
files = {}
archive = tarfile.open(sys.argv[1])
for member in archive:
    assert member.isfile() and (member.uid, member.gid, member.mtime, member.mode) == (0, 0, 0, 0o644), member
    files[member.name] = archive.extractfile(member).read()
assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
def blob(descriptor, media_type):
    assert descriptor["mediaType"] == media_type, descriptor
    data = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert descriptor["size"] == len(data)
    assert descriptor["digest"] == "sha256:" + hashlib.sha256(data).hexdigest()
    return data
oci = "application/vnd.oci.image."
index = json.loads(files["index.json"])
assert len({m["digest"] for m in index["manifests"]}) == 1
names = [m["annotations"]["org.opencontainers.image.ref.name"] for m in index["manifests"]]
manifest = json.loads(blob(index["manifests"][0], oci + "manifest.v1+json"))
config = json.loads(blob(manifest["config"], oci + "config.v1+json"))
[layer] = manifest["layers"]
data = blob(layer, oci + "layer.v1.tar")
assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
[program] = tarfile.open(fileobj=io.BytesIO(data))
assert program.isfile() and (program.uid, program.gid, program.mtime, program.mode) == (0, 0, 0, 0o755)
if "manifest.json" in files:
    [docker] = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == names
    assert docker["Config"] == "blobs/" + manifest["config"]["digest"].replace(":", "/")
    assert docker["Layers"] == ["blobs/" + layer["digest"].replace(":", "/")]
content = tarfile.open(fileobj=io.BytesIO(data)).extractfile(program).read()
print(json.dumps({
    "id": manifest["config"]["digest"], "names": names, "program": program.name,
    "hash": hashlib.sha256(content).hexdigest(), "config": config["config"], "os": config["os"],
    "docker": "manifest.json" in files,
}))
"#;

fn read(archive: &Path) -> serde_json::Value {
    let output = Command::new("python3")
        .args(["-c", READER])
        .arg(archive)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sha256sum(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    text(&output.stdout)[..64].to_owned()
}

#[test]
fn an_image_is_the_program_and_nothing_else_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let nf = program(dir.path(), "my_nf", &["-static"]);
    let make = |format: &str, file: &str| {
        let args = [
            "image",
            "--binary",
            "my_nf",
            "--tag",
            "my_nf:1.2.3",
            "--format",
            format,
            "-o",
            file,
        ];
        let (name, _) = run(dir.path(), &args, 0);
        (name.trim_end().to_owned(), read(&dir.path().join(file)))
    };
    let (name, oci) = make("oci", "a.tar");
    assert_eq!(oci["program"], "my_nf");
    assert_eq!(oci["hash"], sha256sum(&nf));
    let config = serde_json::json!({ "Entrypoint": ["/my_nf"], "User": "65534:65534", "WorkingDir": "/" });
    assert_eq!((&oci["config"], &oci["os"]), (&config, &"linux".into()));
    let id = oci["id"].as_str().unwrap().trim_start_matches("sha256:");
    assert_eq!(name, format!("my_nf:1.2.3-{}", &id[..12]));
    assert_eq!(oci["names"], serde_json::json!([name, "my_nf:1.2.3"]));

    // Neither the time nor the file's mode and age get into it.
    fs::write(&nf, fs::read(&nf).unwrap()).unwrap();
    fs::set_permissions(&nf, fs::Permissions::from_mode(0o700)).unwrap();
    make("oci", "b.tar");
    assert_eq!(
        fs::read(dir.path().join("a.tar")).unwrap(),
        fs::read(dir.path().join("b.tar")).unwrap()
    );
    let (other_form, docker) = make("docker", "c.tar");
    assert_eq!((&other_form, &docker["id"]), (&name, &oci["id"]));
    assert_eq!((&oci["docker"], &docker["docker"]), (&false.into(), &true.into()));

    // Another program, another name.
    let mut changed = fs::read(&nf).unwrap();
    changed.push(0);
    fs::write(&nf, changed).unwrap();
    assert_ne!(make("oci", "d.tar").0, name);
}

#[test]
fn programs_that_could_not_start_in_an_image_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    program(dir.path(), "dynamic", &[]);
    program(dir.path(), "static", &["-static"]);
    fs::write(dir.path().join("script"), "#!/bin/sh\n").unwrap();
    let whole = fs::read(dir.path().join("static")).unwrap();
    fs::write(dir.path().join("cut"), &whole[..100]).unwrap();
    let refused = |name: &str| {
        let args = [
            "image", "--binary", name, "--tag", "a:1", "--format", "oci", "-o", "a.tar",
        ];
        let (out, err) = run(dir.path(), &args, 1);
        assert!(out.is_empty() && !dir.path().join("a.tar").exists());
        err
    };
    let dynamic = refused("dynamic");
    assert!(
        dynamic.contains("dynamically") && dynamic.contains("+crt-static"),
        "{dynamic}"
    );
    for name in ["script", "cut"] {
        let err = refused(name);
        assert!(err.contains("is not a program for 64-bit Linux"), "{err}");
    }
    assert!(refused(".").contains("it is not a file"));
    assert!(refused("none").contains("cannot read none"));
    // The tests' own onvm-nf, beside onvmc, is dynamic.
    let (_, err) = run(
        dir.path(),
        &["image", "--binary", "static", "--format", "oci", "-o", "a.tar"],
        2,
    );
    assert!(err.contains("--tag BINARY:VERSION"), "{err}");
    let args = ["image", "--binary", "static", "--tag", "A:1", "--json"];
    let (_, err) = run(dir.path(), &args, 2);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!(error["error"]["code"], "tag");
    let args = [
        "image",
        "--binary",
        "static",
        "--tag",
        "a:1",
        "--format",
        "oci",
        "-o",
        "none/a.tar",
    ];
    let (_, err) = run(dir.path(), &args, 1);
    assert!(err.contains("cannot write none/a.tar"), "{err}");
}

/// With a PATH of our own, so that it does not matter what is installed.
#[test]
fn without_an_engine_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    program(dir.path(), "nf", &["-static"]);
    let path = dir.path().join("bin");
    fs::create_dir(&path).unwrap();
    let image = || {
        let output = Command::new(env!("CARGO_BIN_EXE_onvmc"))
            .args(["image", "--binary", "nf", "--tag", "nf:1"])
            .current_dir(dir.path())
            .env("PATH", &path)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let engine = |name: &str, script: &str| {
        fs::write(path.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let (code, out, err) = image();
    assert_eq!((code, out.as_str()), (Some(4), ""));
    assert!(
        err.contains("apt install docker.io") && err.contains("--format oci"),
        "{err}"
    );

    engine("docker", "echo 'Cannot connect. Is it running?' >&2; exit 1");
    let (code, _, err) = image();
    assert_eq!(code, Some(4));
    assert!(
        err.contains("docker: Cannot connect. Is it running? Start it") && err.contains("--format oci"),
        "{err}"
    );

    // The next one answers, and gets the archive.
    engine(
        "podman",
        "if [ $1 = info ]; then echo 4.3; else exec /bin/cat >loaded.tar; fi",
    );
    let (code, out, err) = image();
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("loaded into podman"), "{err}");
    let loaded = read(&dir.path().join("loaded.tar"));
    assert_eq!(
        (&loaded["names"][0], &loaded["docker"]),
        (&out.trim_end().into(), &true.into())
    );

    engine(
        "podman",
        "if [ $1 = info ]; then echo 4.3; else echo 'no space left' >&2; exit 125; fi",
    );
    let (code, _, err) = image();
    assert_eq!(code, Some(1));
    assert!(err.contains("does not take the image: no space left"), "{err}");
}
