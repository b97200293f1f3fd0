//! The settings of an interface that a port changes and restores.

use std::{io, os::fd::BorrowedFd};

use super::{Config, Kind, requests};

/// Settings as they were before.
#[derive(Debug, Default)]
pub(super) struct Settings {
    mtu: Option<Changed<u32>>,
    mac: Option<Changed<[u8; 6]>>,
}

#[derive(Debug, Clone, Copy)]
struct Changed<T> {
    before: T,
    to: T,
}

impl Settings {
    pub(super) fn make(any: BorrowedFd<'_>, config: &Config) -> Result<Self, (&'static str, io::Error)> {
        let name = &config.name;
        let mut settings = Self::default();
        let put_back_on_failure = |settings: &Self, what, e| {
            settings.put_back(any, name);
            (what, e)
        };
        if let Some(mtu) = config.mtu {
            let (before, to) = (
                requests::mtu(any, name).map_err(|e| ("its MTU", e))?,
                u32::from(mtu),
            );
            if before != to {
                requests::set_mtu(any, name, to).map_err(|e| ("setting its MTU", e))?;
                settings.mtu = Some(Changed { before, to });
            }
        }
        if let Some(to) = config.mac {
            let before =
                requests::mac(any, name).map_err(|e| put_back_on_failure(&settings, "its address", e))?;
            if before != to {
                requests::set_mac(any, name, to)
                    .map_err(|e| put_back_on_failure(&settings, "setting its address", e))?;
                settings.mac = Some(Changed { before, to });
            }
        }
        if config.kind == Kind::Tap {
            let flags = requests::flags(any, name).map_err(|e| ("its flags", e))?;
            requests::set_flags(any, name, flags | libc::IFF_UP).map_err(|e| ("switching it on", e))?;
        }
        Ok(settings)
    }

    /// Undoes changes that are still as they were made here. An interface that has gone needs nothing.
    pub(super) fn put_back(&self, any: BorrowedFd<'_>, name: &str) {
        if let Some(mtu) = self.mtu
            && requests::mtu(any, name).is_ok_and(|now| now == mtu.to)
            && let Err(e) = requests::set_mtu(any, name, mtu.before)
        {
            tracing::warn!(
                interface = name,
                "its MTU cannot be set back to {}: {e}",
                mtu.before
            );
        }
        if let Some(mac) = self.mac
            && requests::mac(any, name).is_ok_and(|now| now == mac.to)
            && let Err(e) = requests::set_mac(any, name, mac.before)
        {
            tracing::warn!(interface = name, "its address cannot be set back: {e}");
        }
    }
}
