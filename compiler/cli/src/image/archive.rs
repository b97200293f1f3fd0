//! The image and its archive: JSON and tar, with nothing in them that differs from run to run.
//!
//! Formats: <https://github.com/opencontainers/image-spec>; docker's `manifest.json` names the same files.

use std::{fmt::Write, io};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ImageFormat, name::Name, program::Program};

/// `nobody`: an NF needs no rights of any user.
const USER: &str = "65534:65534";
/// A time that says nothing, as for all reproducible images.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A file of the archive, which its hash names.
#[derive(Debug)]
pub(super) struct Blob {
    /// `sha256:` and 64 digits.
    pub(super) digest: String,
    bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Image {
    /// As engines show it: the hash of `config`.
    pub(super) id: String,
    pub(super) manifest: Blob,
    config: Blob,
    layer: Blob,
}

/// The only file of the image is the program, which it starts with the arguments that the container gives.
pub(super) fn image(program: &Program) -> io::Result<Image> {
    let layer = Blob::new(tar([(program.name.as_str(), 0o755, program.bytes.as_slice())])?);
    // Keys in the order of the alphabet, so that the bytes do not depend on how serde_json keeps maps.
    let config = Blob::json(&json!({
        "architecture": program.architecture,
        "config": { "Entrypoint": [format!("/{}", program.name)], "User": USER, "WorkingDir": "/" },
        "created": CREATED,
        "history": [{ "created": CREATED, "created_by": "onvmc image" }],
        "os": "linux",
        "rootfs": { "diff_ids": [&layer.digest], "type": "layers" },
    }));
    let manifest = Blob::json(&json!({
        "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
        "layers": [layer.descriptor("application/vnd.oci.image.layer.v1.tar")],
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "schemaVersion": 2,
    }));
    Ok(Image {
        id: config.digest.clone(),
        manifest,
        config,
        layer,
    })
}

/// An OCI layout; docker's has a file more, by which older engines find the others.
pub(super) fn archive(image: &Image, names: &[Name], format: ImageFormat) -> io::Result<Vec<u8>> {
    let named = |name: &Name| {
        let mut descriptor = image
            .manifest
            .descriptor("application/vnd.oci.image.manifest.v1+json");
        descriptor["annotations"] = json!({
            "io.containerd.image.name": name.in_full(),
            "org.opencontainers.image.ref.name": name.to_string(),
        });
        descriptor
    };
    let index = json!({
        "manifests": names.iter().map(named).collect::<Vec<_>>(),
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "schemaVersion": 2,
    });
    let docker = json!([{
        "Config": image.config.path(),
        "Layers": [image.layer.path()],
        "RepoTags": names.iter().map(Name::to_string).collect::<Vec<_>>(),
    }]);
    let blobs = [&image.config, &image.layer, &image.manifest];
    let mut files: Vec<(String, Vec<u8>)> = blobs.map(|b| (b.path(), b.bytes.clone())).into();
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    if format == ImageFormat::Docker {
        files.push(("manifest.json".to_owned(), docker.to_string().into_bytes()));
    }
    let layout = json!({ "imageLayoutVersion": "1.0.0" });
    files.push(("oci-layout".to_owned(), layout.to_string().into_bytes()));
    tar(files
        .iter()
        .map(|(path, bytes)| (path.as_str(), 0o644, bytes.as_slice())))
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes)
            .iter()
            .fold("sha256:".to_owned(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
        Self { digest, bytes }
    }

    fn json(value: &serde_json::Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({ "digest": self.digest, "mediaType": media_type, "size": self.bytes.len() })
    }
}

/// Files in this order, of root, at the epoch.
fn tar<'a>(files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        tar.append_data(&mut header, path, bytes)?;
    }
    tar.into_inner()
}
