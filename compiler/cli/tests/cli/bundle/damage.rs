//! Bundles that somebody has touched, or that were never right, are refused.

use super::*;

#[test]
fn every_damage_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let index = Bundle::load(&dir).unwrap().index;
    let files = index.files.iter().map(|f| f.path.as_str()).chain(["bundle.toml"]);
    for name in files {
        let path = dir.join(name);
        let good = fs::read(&path).unwrap();
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let error = Bundle::load(&dir).expect_err(&format!("{name}, byte {at}"));
            assert!(error.to_string().contains(name), "the file is named: {error}");
            if name != "bundle.toml" {
                assert!(matches!(error, BundleError::Hash { .. }), "{error}");
            }
        }
        // The last byte of bundle.toml is a line break, which means nothing.
        let cut = if name == "bundle.toml" {
            good.len() / 2
        } else {
            good.len() - 1
        };
        fs::write(&path, &good[..cut]).unwrap();
        assert!(Bundle::load(&dir).is_err(), "{name} cut short");
        fs::remove_file(&path).unwrap();
        let error = Bundle::load(&dir).expect_err(name);
        match name {
            "bundle.toml" => assert!(matches!(error, BundleError::NotABundle(_)), "{error}"),
            _ => assert!(matches!(error, BundleError::Missing(_)), "{error}"),
        }
        fs::write(&path, &good).unwrap();
    }
    Bundle::load(&dir).unwrap();

    fs::write(dir.join("nfs/extra.toml"), "").unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Unlisted(p)) if p.ends_with("nfs/extra.toml")));
    fs::remove_file(dir.join("nfs/extra.toml")).unwrap();
    // A tree that nothing lists is not walked.
    fs::create_dir_all(dir.join("files/deep/deeper")).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Unlisted(p)) if p.ends_with("files/deep")));
    fs::remove_dir_all(dir.join("files/deep")).unwrap();
}

/// Replaces the index by an edited one whose own hash is right.
fn forge(dir: &Path, edit: impl FnOnce(&mut Index)) {
    let text = fs::read_to_string(dir.join("bundle.toml")).unwrap();
    let mut index: Index = toml::from_str(&text).unwrap();
    edit(&mut index);
    index.generation = generation_id(&index);
    fs::write(dir.join("bundle.toml"), toml::to_string(&index).unwrap()).unwrap();
}

#[test]
fn a_newer_format_is_refused_with_the_remedy() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let path = dir.join("bundle.toml");
    let newer = fs::read_to_string(&path)
        .unwrap()
        .replace("format = 5", "format = 6\nsurprise = true");
    fs::write(&path, newer).unwrap();
    let error = Bundle::load(&dir).unwrap_err();
    assert!(
        matches!(
            error,
            BundleError::Version {
                found: 6,
                supported: 5,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("onvmc"), "{error}");
}

#[test]
fn nothing_leads_outside() {
    for outside in [
        "../secret",
        "/etc/hostname",
        "files/../../secret",
        "files/./x",
        "files//x",
        "files/",
        "",
    ] {
        let root = tempfile::tempdir().unwrap();
        let (_, dir) = written(root.path());
        fs::write(root.path().join("secret"), "mine").unwrap();
        forge(&dir, |index| {
            index.files.push(FileEntry {
                path: outside.into(),
                sha256: hash_bytes(b"mine"),
                size: 4,
            });
        });
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            matches!(error, BundleError::Escapes { .. }),
            "{outside:?}: {error}"
        );
    }
}

#[test]
fn a_name_that_is_a_path_is_refused() {
    for name in ["../secret", "/tmp/a", "", "a b"] {
        let root = tempfile::tempdir().unwrap();
        let (_, dir) = written(root.path());
        forge(&dir, |index| index.name = name.into());
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            error.to_string().contains("is not a name for a bundle"),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn links_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let flows = dir.join("flows.toml");
    fs::rename(&flows, root.path().join("flows.toml")).unwrap();
    std::os::unix::fs::symlink("../flows.toml", &flows).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Escapes { .. })));

    let (_, dir) = written(root.path());
    fs::rename(dir.join("nfs"), root.path().join("nfs")).unwrap();
    std::os::unix::fs::symlink("../nfs", dir.join("nfs")).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Escapes { .. })));
}

#[test]
fn a_linked_index_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    fs::rename(dir.join("bundle.toml"), root.path().join("bundle.toml")).unwrap();
    std::os::unix::fs::symlink("../bundle.toml", dir.join("bundle.toml")).unwrap();
    let error = Bundle::load(&dir).unwrap_err();
    assert!(
        matches!(&error, BundleError::Escapes { entry, .. } if entry == "bundle.toml"),
        "{error}"
    );
}

/// Changes a file and what the index says of it.
fn rewrite(dir: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{file}: {from}");
    let text = text.replacen(from, to, 1);
    fs::write(dir.join(file), &text).unwrap();
    forge(dir, |index| {
        let entry = index.files.iter_mut().find(|f| f.path == file).unwrap();
        (entry.sha256, entry.size) = (hash_bytes(text.as_bytes()), text.len() as u64);
    });
}

#[test]
fn whatever_becomes_a_path_is_a_plain_name() {
    let root = tempfile::tempdir().unwrap();
    for (file, from, to, word) in [
        (
            "manager.toml",
            "name = \"fw\"\n",
            "name = \"fw\"\nfuse = \"../x\"\n",
            "`fuse = \"../x\"`: expected a name",
        ),
        (
            "manager.toml",
            "name = \"fw\"\n",
            "name = \"fw\"\nfuse = \"ids\"\n",
            "`fuse = \"ids\"`: expected a name that no NF has",
        ),
        (
            "manager.toml",
            "name = \"fw\"\n",
            "name = \"fw\"\ndomain = \"a\\nb\"\n",
            "`a\\nb` is not a name for a domain",
        ),
        (
            "manager.toml",
            "\"fw-0\"",
            "\"..\"",
            "`..` is not a name for an instance",
        ),
        (
            "manager.toml",
            "\"fw-0\"",
            "\"../../x\"",
            "`../../x` is not a name for an instance",
        ),
        (
            "manager.toml",
            "\"fw-0\"",
            "\"a\\u0000b\"",
            "is not a name for an instance",
        ),
        (
            "nfs/guard-0.toml",
            "secret = \"WAF_KEY\"",
            "secret = \"../shadow\"",
            "is not a name for a secret",
        ),
        (
            "nfs/guard-0.toml",
            "binary = \"waf\"",
            "binary = \"/bin/sh\"",
            "run.binary",
        ),
    ] {
        let (_, dir) = written(root.path());
        rewrite(&dir, file, from, to);
        let error = Bundle::load(&dir).expect_err(to).to_string();
        assert!(error.contains(word) && error.contains(file), "{to}: {error}");
    }
    let (_, dir) = written(root.path());
    forge(&dir, |index| index.secrets = vec!["../shadow".into()]);
    let error = Bundle::load(&dir).unwrap_err().to_string();
    assert!(
        error.contains("`../shadow` is not a name for a secret"),
        "{error}"
    );
    forge(&dir, |index| {
        index.secrets.clear();
        index.files.push(index.files[0].clone());
    });
    let error = Bundle::load(&dir).unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

fn fifo(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A file of many gigabytes that take no room, a pipe that nobody writes: neither is read nor waited for.
#[test]
fn what_is_no_ordinary_file_of_the_listed_size_is_refused_unread() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let sparse = fs::File::options()
        .write(true)
        .open(dir.join("flows.toml"))
        .unwrap();
    sparse.set_len(1 << 42).unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Size { found, .. }) if found == 1 << 42));
    // The index may say so too.
    forge(&dir, |index| {
        let entry = index.files.iter_mut().find(|f| f.path == "flows.toml").unwrap();
        entry.size = 1 << 42;
    });
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Large { found, .. }) if found > 1 << 42));
    let (_, dir) = written(root.path());
    fs::File::options()
        .write(true)
        .open(dir.join("bundle.toml"))
        .unwrap()
        .set_len(1 << 42)
        .unwrap();
    assert!(matches!(Bundle::load(&dir), Err(BundleError::Large { .. })));

    for name in ["flows.toml", "bundle.toml"] {
        let (_, dir) = written(root.path());
        fs::remove_file(dir.join(name)).unwrap();
        fifo(&dir.join(name));
        let error = Bundle::load(&dir).unwrap_err();
        assert!(
            error.to_string().contains("not a regular file"),
            "{name}: {error}"
        );
    }
}

#[test]
fn what_is_read_later_is_still_what_was_verified() {
    let root = tempfile::tempdir().unwrap();
    let (_, dir) = written(root.path());
    let bundle = Bundle::load(&dir).unwrap();
    let text = bundle.read("flows.toml").unwrap();
    let all = || {
        let mut files = 0;
        bundle.hand_out(|_| {
            files += 1;
            Ok::<_, BundleError>(|_: &[u8]| Ok(()))
        })?;
        Ok::<_, BundleError>(files)
    };
    assert_eq!(all().unwrap(), bundle.index.files.len() + 1);
    let mut other = text.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(dir.join("flows.toml"), other).unwrap();
    assert!(matches!(bundle.read("flows.toml"), Err(BundleError::Hash { .. })));
    assert!(matches!(all(), Err(BundleError::Hash { .. })));
    fs::write(dir.join("flows.toml"), text).unwrap();
    forge(&dir, |index| index.compiler.push('x'));
    assert!(matches!(all(), Err(BundleError::Changed(_))));
    assert!(matches!(bundle.read("../secret"), Err(BundleError::Missing(_))));
}

#[test]
fn a_bundle_that_contradicts_itself_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let cases = [
        ("manager.toml", "ring = 1024", "ring = 1000"),
        ("manager.toml", "at = { nf = \"fw\" }", "at = { nf = \"wf\" }"),
        ("manager.toml", "next = 1\n", "next = 60000\n"),
        ("manager.toml", "name = \"lan\"", "name = \"wan\""),
        (
            "manager.toml",
            "at = { port = \"lan\" }",
            "lookup = true\nat = { port = \"lan\" }",
        ),
        ("nfs/guard-0.toml", "lookups = true", "lookups = false"),
        ("flows.toml", "chain = \"inspect\"", "chain = \"nowhere\""),
        ("flows.toml", "(tcp)", "(tpc)"),
        ("nfs/fw-0.toml", "files/", "filez/"),
        ("nfs/fw-0.toml", "files/", "../files/"),
    ];
    for (file, from, to) in cases {
        let (_, dir) = written(root.path());
        rewrite(&dir, file, from, to);
        let error = Bundle::load(&dir).expect_err(&format!("{file}: {to}"));
        assert!(!matches!(error, BundleError::Hash { .. }), "{error}");
    }
}
