//! Setting a stopped port up: the request is checked against what the driver reports, since drivers fail with a bare number.

use std::{ffi::CStr, mem::MaybeUninit};

use dpdk_sys as sys;

use super::{
    DpdkError, Effective, PacketPool, PortConfig, ethdev::Device, pool::HEADROOM, private_pool::PrivatePool,
    rss::SYMMETRIC_KEY,
};

/// Ethernet header and two VLAN tags, in bytes.
pub(crate) const FRAMING: u16 = 14 + 8;

/// The request with no more transmit queues than the driver has.
pub(super) fn fitting(device: &Device, config: &PortConfig) -> Result<PortConfig, DpdkError> {
    let most = info(device)?.max_tx_queues.max(1);
    Ok(PortConfig {
        tx_queues: config.tx_queues.min(most),
        ..config.clone()
    })
}

/// Configures the device itself; its queues come next.
pub(super) fn configure(
    device: &Device,
    config: &PortConfig,
    rx_pool: &PacketPool,
) -> Result<Effective, DpdkError> {
    let info = info(device)?;
    check_queues(device, &info, config)?;
    let mtu = mtu(device, &info, config.mtu, rx_pool)?;
    let mut rss_key = SYMMETRIC_KEY;
    let mut settings = ethernet_config();
    if config.mtu.is_some() {
        settings.rxmode.mtu = u32::from(mtu);
    }
    // SAFETY: a constant of the shim, initialised at load time and never written.
    let hashed = unsafe { sys::ONVM_RSS_ANY_FLOW } & info.flow_type_rss_offloads;
    let rss = config.rss && hashed != 0;
    if rss {
        settings.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
        settings.rx_adv_conf.rss_conf.rss_hf = hashed;
        if usize::from(info.hash_key_size) <= rss_key.len() && info.hash_key_size > 0 {
            settings.rx_adv_conf.rss_conf.rss_key = rss_key.as_mut_ptr();
            settings.rx_adv_conf.rss_conf.rss_key_len = info.hash_key_size;
        }
    }
    // SAFETY: the port exists and is stopped, `device` being borrowed from its only user; `settings` is a whole
    // configuration, and the key that it points to lives until the end of this function. Drivers copy the key.
    device.call("configuring", || unsafe {
        sys::rte_eth_dev_configure(device.id, config.rx_queues, config.tx_queues, &settings)
    })?;
    if config.mtu.is_some() {
        // SAFETY: the port exists. Drivers over a kernel interface set its MTU only by this call.
        where_supported(device.call("setting the MTU", || unsafe {
            sys::rte_eth_dev_set_mtu(device.id, mtu)
        }))?;
    }
    if let Some(mac) = config.mac {
        let mut address = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port exists; the address is valid for the call.
        device.call("setting the MAC address", || unsafe {
            sys::rte_eth_dev_default_mac_addr_set(device.id, &mut address)
        })?;
    }
    let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
    // SAFETY: the port exists; both numbers are valid for reads and writes.
    device.call("adjusting the number of descriptors", || unsafe {
        sys::rte_eth_dev_adjust_nb_rx_tx_desc(device.id, &mut rx_desc, &mut tx_desc)
    })?;
    Ok(Effective {
        rx_desc,
        tx_desc,
        mtu,
        rss,
    })
}

/// The private pools that the driver needs and the device lacks yet.
pub(super) fn private_pools(device: &Device, config: &PortConfig) -> Result<Vec<PrivatePool>, DpdkError> {
    let info = info(device)?;
    // SAFETY: a driver's name is a static string, and null only for a broken driver.
    let driver = unsafe { (!info.driver_name.is_null()).then(|| CStr::from_ptr(info.driver_name)) };
    if !driver.is_some_and(|name| PrivatePool::wanted_by(&name.to_string_lossy())) {
        return Ok(Vec::new());
    }
    // SAFETY: the port exists.
    let socket = unsafe { sys::rte_eth_dev_socket_id(device.id) };
    (device.private_pool_count()..usize::from(config.rx_queues))
        .map(|_| PrivatePool::new(&device.name, socket))
        .collect()
}

/// Sets all queues of the configured device up.
pub(super) fn queues(
    device: &Device,
    config: &PortConfig,
    effective: Effective,
    rx_pool: &PacketPool,
) -> Result<(), DpdkError> {
    // SAFETY: the port exists; a null configuration means the driver's default.
    let socket = unsafe { sys::rte_eth_dev_socket_id(device.id) } as u32;
    for queue in 0..config.rx_queues {
        // SAFETY: the port is configured with more than `queue` queues; the device holds both pools until it is closed.
        device.call("setting up a receive queue", || unsafe {
            sys::rte_eth_rx_queue_setup(
                device.id,
                queue,
                effective.rx_desc,
                socket,
                std::ptr::null(),
                device.rx_mempool(queue, rx_pool),
            )
        })?;
    }
    for queue in 0..config.tx_queues {
        // SAFETY: as above.
        device.call("setting up a transmit queue", || unsafe {
            sys::rte_eth_tx_queue_setup(device.id, queue, effective.tx_desc, socket, std::ptr::null())
        })?;
    }
    Ok(())
}

/// Takes "the driver cannot do this" for success.
pub(super) fn where_supported(result: Result<(), DpdkError>) -> Result<(), DpdkError> {
    match result {
        Err(DpdkError::Unsupported { .. }) => Ok(()),
        other => other,
    }
}

pub(super) fn info(device: &Device) -> Result<sys::rte_eth_dev_info, DpdkError> {
    let mut info = MaybeUninit::<sys::rte_eth_dev_info>::zeroed();
    // SAFETY: the port exists; `info` is valid for writes.
    device.call("reading what the device can do", || unsafe {
        sys::rte_eth_dev_info_get(device.id, info.as_mut_ptr())
    })?;
    // SAFETY: zeroes are a value of every field (integers, pointers and enums that have a 0), and DPDK wrote the rest.
    Ok(unsafe { info.assume_init() })
}

fn ethernet_config() -> sys::rte_eth_conf {
    // SAFETY: a plain C structure of integers, pointers and enums that all have a 0; zeroes are its documented default.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn check_queues(device: &Device, info: &sys::rte_eth_dev_info, config: &PortConfig) -> Result<(), DpdkError> {
    let kinds = [
        ("receive", config.rx_queues, info.max_rx_queues),
        ("transmit", config.tx_queues, info.max_tx_queues),
    ];
    for (kind, wanted, most) in kinds {
        if wanted == 0 || wanted > most {
            let reason = format!("{wanted} {kind} queues were asked for; the device has 1 to {most}");
            return Err(DpdkError::config(&device.name, reason));
        }
    }
    Ok(())
}

/// The MTU in effect: what was asked for if it fits device and buffers, else the device's own.
fn mtu(
    device: &Device,
    info: &sys::rte_eth_dev_info,
    wanted: Option<u16>,
    rx_pool: &PacketPool,
) -> Result<u16, DpdkError> {
    let Some(wanted) = wanted else {
        let mut current = 0;
        // SAFETY: the port exists; the number is valid for writes.
        device.call("reading the MTU", || unsafe {
            sys::rte_eth_dev_get_mtu(device.id, &mut current)
        })?;
        return Ok(current);
    };
    let room = rx_pool.stride() - u32::from(HEADROOM);
    let reason = if !(info.min_mtu..=info.max_mtu).contains(&wanted) {
        format!(
            "MTU {wanted}: the device takes {} to {}",
            info.min_mtu, info.max_mtu
        )
    } else if u32::from(wanted) + u32::from(FRAMING) > room {
        format!("MTU {wanted} and {FRAMING} bytes of headers do not fit the {room} bytes of a packet buffer")
    } else {
        return Ok(wanted);
    };
    Err(DpdkError::config(&device.name, reason))
}
