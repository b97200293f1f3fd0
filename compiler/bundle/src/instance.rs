//! `nfs/<instance>.toml`: the parameters of one NF instance.

use serde::{Deserialize, Serialize};

use crate::Manifest;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// The instance's name, `<service>-<k>`.
    pub instance: String,
    pub service: String,
    /// Values by parameter name, defaults filled in and units normalised: times in nanoseconds, sizes in bytes, bit
    /// rates in bits a second, packet rates in packets a second; addresses, prefixes and MACs as text. A file is
    /// `{ file = "files/<hash>-<name>" }`, a secret `{ secret = "NAME" }`.
    pub params: toml::Table,
    pub manifest: Manifest,
}
