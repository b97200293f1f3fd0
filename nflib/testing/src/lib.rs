//! For the unit tests of an NF: [`bench`] runs it without a manager and holds it to its manifest, [`packet`] makes packets to send
//! through it. A dev-dependency, so that an NF itself is built without what tests need.
//!
//! ```
//! use nflib::{Burst, Nf, Params, Setup, SetupError};
//! use nflib_testing::{bench, packet};
//!
//! /// Sends every packet on to one server.
//! struct Redirect;
//!
//! impl Nf for Redirect {
//!     fn new(_: &mut Setup) -> Result<Self, SetupError> {
//!         Ok(Self)
//!     }
//!
//!     fn process(&mut self, burst: &mut Burst<'_>) {
//!         for mut packet in burst.packets() {
//!             if let Ok(mut headers) = packet.headers_mut() {
//!                 let _ = headers.set_destination([10, 0, 0, 9]);
//!             }
//!         }
//!     }
//! }
//!
//! const MANIFEST: &str = r#"
//!     name = "redirect"
//!     version = "0.1.0"
//!     summary = "Sends every packet on to one server"
//!     run = { binary = "redirect" }
//!     effects = { writes = ["ip.dst"] }
//! "#;
//!
//! let mut bench = bench::<Redirect>(MANIFEST, Params::default()).unwrap();
//! let web = packet::tcp("198.51.100.7:40000", "203.0.113.9:80").syn();
//! let handled = bench.send(&[web.build()]);
//! assert_eq!(
//!     handled[0].data,
//!     packet::tcp("198.51.100.7:40000", "10.0.0.9:80").syn().build(),
//! );
//! ```

pub mod packet;

use nflib::{
    Nf, Params, SetupError,
    testing::{Bench, Declared},
};
use onvm_bundle::{Manifest, Payload};

/// The NF with these parameters, as one that has this manifest (its text, by `include_str!`). [`Bench::send`] then fails the test
/// when the NF changes a header field, or a payload, that the manifest does not declare.
///
/// Parameters are not filled in from the manifest: give all that the NF reads.
pub fn bench<N: Nf>(manifest: &str, params: Params) -> Result<Bench<N>, SetupError> {
    Bench::declaring(declared(manifest)?, params)
}

/// What a manifest declares. The error names the line that is wrong.
pub fn declared(manifest: &str) -> Result<Declared, SetupError> {
    let manifest: Manifest =
        toml::from_str(manifest).map_err(|e| SetupError::Other(format!("the manifest is not valid: {e}")))?;
    Ok(Declared {
        writes: manifest.effects.writes,
        writes_payload: manifest.effects.payload == Payload::Write,
        generates: manifest.effects.generates,
        outputs: manifest.outputs.into_iter().map(|output| output.name).collect(),
    })
}
