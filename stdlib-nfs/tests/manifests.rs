//! The manifests are well-formed and describe what the code has.

#![allow(clippy::unwrap_used, clippy::panic)]

use onvm_bundle::Manifest;

#[test]
fn manifests_are_read_and_name_their_nf() {
    let names: Vec<&str> = stdlib_nfs::NFS.iter().map(|nf| nf.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    for nf in stdlib_nfs::NFS {
        let manifest: Manifest = toml::from_str(nf.manifest).unwrap_or_else(|e| panic!("{}: {e}", nf.name));
        assert_eq!(
            (manifest.name.as_str(), manifest.summary.as_str()),
            (nf.name, nf.summary())
        );
        assert_eq!(
            (manifest.run.binary.as_str(), &manifest.run.args[..]),
            ("onvm-nf", &[nf.name.to_owned()][..])
        );
        // The name of their image, which `onvmc image` gives it by its own version.
        assert_eq!(manifest.version, env!("CARGO_PKG_VERSION"), "{}", nf.name);
        assert!(
            !manifest.effects.writes_packets(),
            "{} needs no writable packets",
            nf.name
        );
    }
}

/// Each page lists every parameter, output, counter and message.
#[test]
fn pages_name_all_that_the_manifests_name() {
    for nf in stdlib_nfs::NFS {
        let path = format!("{}/../docs/nfs/{}.md", env!("CARGO_MANIFEST_DIR"), nf.name);
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let manifest: Manifest = toml::from_str(nf.manifest).unwrap();
        let params = manifest.params.iter().map(|p| &p.name);
        let outputs = manifest.outputs.iter().map(|o| &o.name);
        let counters = manifest.counters.iter().map(|c| &c.name);
        let messages = manifest.messages.iter();
        let messages =
            messages.flat_map(|m| std::iter::once(&m.name).chain(m.fields.iter().map(|f| &f.name)));
        for name in params.chain(outputs).chain(counters).chain(messages) {
            assert!(
                page.contains(&format!("`{name}`")),
                "{path} does not mention `{name}`"
            );
        }
    }
}
