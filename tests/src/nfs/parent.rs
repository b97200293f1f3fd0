//! Starts a process of its own, which is to end with it.

use std::process::{Child, Command, Stdio};

use nflib::{Burst, Nf, Setup, SetupError};

#[derive(Debug)]
pub(crate) struct Parent {
    _child: Child,
}

impl Nf for Parent {
    fn new(_: &mut Setup) -> Result<Self, SetupError> {
        let child = Command::new("/bin/sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .spawn();
        Ok(Self {
            _child: child.map_err(|e| SetupError::Other(e.to_string()))?,
        })
    }

    fn process(&mut self, _: &mut Burst<'_>) {}
}
