//! A port of DPDK from its creation to its removal.

use std::{
    ffi::CString,
    sync::{Arc, OnceLock},
};

use dpdk_sys as sys;

use super::{
    DpdkError, PacketPool,
    descriptors::CloseOnExec,
    eal::{Eal, Running},
    error::Attempt,
    private_pool::PrivatePool,
};

/// An ethdev. Shared by the port and the queues that it handed out.
pub(super) struct Device {
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) bus: Bus,
    pub(super) started: bool,
    /// Promiscuous mode was switched on here, and is to be switched off again.
    pub(super) promiscuous: bool,
    /// Pools whose mbufs may be in the driver; the first receives.
    pub(super) pools: Vec<Arc<PacketPool>>,
    /// For drivers that cannot receive into `pools`, one for each receive queue.
    pub(super) private_pools: Vec<PrivatePool>,
    closed: OnceLock<()>,
    _running: Arc<Running>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Vdev,
    Pci,
}

impl Bus {
    fn name(self) -> &'static std::ffi::CStr {
        match self {
            Self::Vdev => c"vdev",
            Self::Pci => c"pci",
        }
    }
}

impl Device {
    /// Creates the device, or finds the one probed when the EAL started.
    pub(super) fn open(eal: &Eal, bus: Bus, name: &str, args: &str) -> Result<Self, DpdkError> {
        let _descriptors = CloseOnExec::begin();
        let attempt = Attempt::begin();
        // A PCI device of the allow-list was probed when the EAL started.
        if port_number(name)?.is_none() {
            let (c_name, c_args) = (c_string(name, name)?, c_string(name, args)?);
            // SAFETY: the EAL runs; three NUL-terminated strings, copied by DPDK.
            let code =
                unsafe { sys::rte_eal_hotplug_add(bus.name().as_ptr(), c_name.as_ptr(), c_args.as_ptr()) };
            if code != 0 {
                return Err(attempt.port_error(name, "creating the device", code));
            }
        }
        let Some(id) = port_number(name)? else {
            unplug(bus, name);
            return Err(DpdkError::config(name, "the driver made no network port of it"));
        };
        Ok(Self {
            id,
            name: name.to_owned(),
            bus,
            started: false,
            promiscuous: false,
            pools: Vec::new(),
            private_pools: Vec::new(),
            closed: OnceLock::new(),
            _running: eal.running(),
        })
    }

    /// Whether the pool was named in the configuration, or is in the space of one that was.
    #[inline]
    pub(super) fn uses(&self, pool: &PacketPool) -> bool {
        self.pools.iter().any(|known| known.is_beside(pool))
    }

    pub(super) fn stop(&mut self) -> Result<(), DpdkError> {
        self.started = false;
        if std::mem::take(&mut self.promiscuous) {
            // A kernel interface would keep it. The port stops whether or not this works.
            // SAFETY: the port exists.
            let _ = self.call("promiscuous mode", || unsafe {
                sys::rte_eth_promiscuous_disable(self.id)
            });
        }
        // SAFETY: the port exists, and no queue of it is handed out: this is an exclusive reference.
        self.call("stopping", || unsafe { sys::rte_eth_dev_stop(self.id) })
    }

    pub(super) fn close(&mut self) -> Result<(), DpdkError> {
        if self.closed.set(()).is_err() {
            return Ok(());
        }
        let stopped = if self.started { self.stop() } else { Ok(()) };
        // SAFETY: the port exists, is stopped, and is closed here once; no queue of it is handed out.
        let closed = self.call("closing", || unsafe { sys::rte_eth_dev_close(self.id) });
        unplug(self.bus, &self.name);
        stopped.and(closed)
    }

    /// What a receive queue's driver takes its mbufs from.
    pub(super) fn rx_mempool(&self, queue: u16, pool: &PacketPool) -> *mut sys::rte_mempool {
        self.private_pools
            .get(usize::from(queue))
            .map_or(pool.raw().mp, PrivatePool::mempool)
    }

    pub(super) fn private_pool_count(&self) -> usize {
        self.private_pools.len()
    }

    pub(super) fn call(&self, action: &'static str, call: impl FnOnce() -> i32) -> Result<(), DpdkError> {
        let attempt = Attempt::begin();
        match call() {
            0 => Ok(()),
            code if code == -ENOTSUP => Err(DpdkError::Unsupported {
                port: self.name.clone(),
                action,
            }),
            code => Err(attempt.port_error(&self.name, action, code)),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

const ENOTSUP: i32 = 95;

/// The device, if no queue of it is handed out.
pub(super) fn exclusive<'a>(
    device: &'a mut Arc<Device>,
    action: &'static str,
) -> Result<&'a mut Device, DpdkError> {
    let port = device.name.clone();
    // Acquires what the last holder of a queue did, in whatever thread.
    Arc::get_mut(device).ok_or(DpdkError::QueuesInUse { port, action })
}

pub(super) fn port_number(name: &str) -> Result<Option<u16>, DpdkError> {
    let c_name = c_string(name, name)?;
    let mut id = 0;
    // SAFETY: a NUL-terminated string, and a valid place for a number.
    let code = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &mut id) };
    Ok((code == 0).then_some(id))
}

fn unplug(bus: Bus, name: &str) {
    if let Ok(c_name) = CString::new(name) {
        // SAFETY: the EAL runs; two NUL-terminated strings. A device that is gone already is an error without effect.
        unsafe { sys::rte_eal_hotplug_remove(bus.name().as_ptr(), c_name.as_ptr()) };
    }
}

fn c_string(port: &str, text: &str) -> Result<CString, DpdkError> {
    CString::new(text).map_err(|_| DpdkError::config(port, "a name or an argument holds a zero byte"))
}
