use std::{fmt, mem::MaybeUninit, sync::Arc};

use dpdk_sys as sys;

use super::{
    DpdkError, Eal, PacketPool, RxQueue, TxQueue,
    descriptors::CloseOnExec,
    ethdev::{Bus, Device, exclusive, port_number},
    requirements,
    rss::Rss,
    setup,
};

/// How a port is set up.
#[derive(Debug, Clone)]
pub struct PortConfig {
    pub rx_queues: u16,
    /// As many as the driver has, if it has fewer; see [`Port::tx_queues`].
    pub tx_queues: u16,
    /// Descriptors of a queue; rounded to what the driver allows.
    pub rx_desc: u16,
    pub tx_desc: u16,
    /// Bytes of an IP packet. `None` keeps the device's. For `af_packet` and tap it changes the kernel interface too.
    pub mtu: Option<u16>,
    /// Receive frames for other stations, too; ignored by drivers that receive all anyway.
    pub promiscuous: bool,
    pub mac: Option<[u8; 6]>,
    /// Spread flows over the receive queues, with a key that gives both directions of a flow the same hash. Drivers without
    /// RSS ignore it; see [`Effective::rss`] and [`Port::rss`].
    pub rss: bool,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_desc: 512,
            tx_desc: 512,
            mtu: None,
            promiscuous: true,
            mac: None,
            rss: true,
        }
    }
}

/// A [`PortConfig`] as the driver applied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    pub rx_desc: u16,
    pub tx_desc: u16,
    pub mtu: u16,
    /// Whether the driver was asked to spread flows by hash. The null driver accepts and hashes nothing.
    pub rss: bool,
}

/// The driver's counters since the port was created, or as the driver resets them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortStats {
    pub ipackets: u64,
    pub opackets: u64,
    pub ibytes: u64,
    pub obytes: u64,
    /// Dropped by the device because no descriptor was free.
    pub imissed: u64,
    pub ierrors: u64,
    pub oerrors: u64,
    /// Receive attempts that found the pool empty.
    pub rx_nombuf: u64,
}

/// A network device under DPDK. Dropped, it is stopped, closed and removed (as soon as no worker holds a queue):
/// sockets and capture files are closed, a tap interface disappears, a NIC can be used by others.
///
/// # Virtual devices
/// - `net_null0`, `size=64,copy=0,no-rx=0`: receives a full burst of packets of `size` bytes (as the buffer last was;
///   `copy=1` fills in zeroes and reads what is sent), and swallows what is sent. With `no-rx=1` nothing arrives.
/// - `net_pcap0`, `rx_pcap=in.pcap,tx_pcap=out.pcap`: at the end of the input `rx_burst` returns 0 for ever, and no counter
///   shows the end. `infinite_rx=1` loads the whole input into buffers of the pool (they count as in use)
///   and repeats it. Without a `tx_pcap` or `tx_iface`, what is sent is counted and dropped. Every
///   [`Port::start`] begins the output anew. The output has nanosecond time stamps of the sending. As many queues as
///   `rx_pcap=` (`tx_pcap=`) arguments. MTU 1500 by default, so longer packets are refused until it is raised.
/// - `net_af_packet0`, `iface=eth0`: needs `CAP_NET_RAW`. Frames longer than `framesz` (2048) less the socket's header are
///   cut by the kernel, and checksums that the sending kernel left to the NIC are missing: turn off tx checksum, GSO, GRO
///   and TSO on veth pairs (`ethtool -K veth0 tx off gro off gso off tso off`).
/// - `net_af_xdp0`, `iface=eth0`: needs `CAP_NET_ADMIN`. The kernel writes to memory of the driver, so that packets are
///   copied once on the way in and once on the way out; a receive queue takes 10 MiB of [`super::EalOptions::memory_mib`].
/// - `net_tap0`, `iface=onvm0`: needs `CAP_NET_ADMIN` and `/dev/net/tun`; creates the interface.
pub struct Port {
    device: Arc<Device>,
    /// One for each queue; a queue that is handed out holds a second share.
    rx_leases: Vec<Arc<()>>,
    tx_leases: Vec<Arc<()>>,
    promiscuous: bool,
    mtu: u16,
    /// It was asked to spread flows.
    spreads: bool,
    rss: Option<Rss>,
}

impl Port {
    /// Creates a virtual device. `name` starts with the driver's, as `net_pcap0`; `args` are the driver's, as
    /// `rx_pcap=in.pcap,tx_pcap=out.pcap`.
    pub fn create_vdev(eal: &Eal, name: &str, args: &str) -> Result<Self, DpdkError> {
        if port_number(name)?.is_some() {
            return Err(DpdkError::config(name, "there is a port of this name already"));
        }
        requirements::check_vdev(name, args)?;
        Ok(Self::of(Device::open(eal, Bus::Vdev, name, args)?))
    }

    /// Opens a NIC by its PCI address, which must be in [`super::EalOptions::pci`].
    pub fn open_pci(eal: &Eal, address: &str) -> Result<Self, DpdkError> {
        requirements::check_pci_device(address)?;
        Ok(Self::of(Device::open(eal, Bus::Pci, address, "")?))
    }

    fn of(device: Device) -> Self {
        Self {
            device: Arc::new(device),
            rx_leases: Vec::new(),
            tx_leases: Vec::new(),
            promiscuous: false,
            mtu: 0,
            spreads: false,
            rss: None,
        }
    }

    /// Sets the stopped port up. It receives into the first of `pools`, and sends from any of them.
    pub fn configure(
        &mut self,
        config: &PortConfig,
        pools: &[Arc<PacketPool>],
    ) -> Result<Effective, DpdkError> {
        self.stop()?;
        let _descriptors = CloseOnExec::begin();
        let device = exclusive(&mut self.device, "configuring")?;
        let config = &setup::fitting(device, config)?;
        let Some(rx_pool) = pools.first() else {
            return Err(DpdkError::config(&device.name, "no packet pool to receive into"));
        };
        let effective = setup::configure(device, config, rx_pool)?;
        for pool in pools {
            if device.bus == Bus::Pci && requirements::behind_vfio(&device.name) {
                pool.map_for_vfio()?;
            }
            if !device.uses(pool) {
                device.pools.push(Arc::clone(pool));
            }
        }
        device.pools.sort_by_key(|pool| !Arc::ptr_eq(pool, rx_pool));
        let private_pools = setup::private_pools(device, config)?;
        device.private_pools.extend(private_pools);
        setup::queues(device, config, effective, rx_pool)?;
        self.rx_leases = (0..config.rx_queues).map(|_| Arc::new(())).collect();
        self.tx_leases = (0..config.tx_queues).map(|_| Arc::new(())).collect();
        self.promiscuous = config.promiscuous;
        self.mtu = effective.mtu;
        self.spreads = effective.rss && config.rx_queues > 1;
        Ok(effective)
    }

    /// Starts a configured port; nothing happens to a started one.
    pub fn start(&mut self) -> Result<(), DpdkError> {
        if self.device.started {
            return Ok(());
        }
        let _descriptors = CloseOnExec::begin();
        let device = exclusive(&mut self.device, "starting")?;
        if device.pools.is_empty() {
            return Err(DpdkError::config(
                &device.name,
                "must be configured before it is started",
            ));
        }
        // SAFETY: the port exists and is configured, and no other thread uses it (`exclusive`).
        device.call("starting", || unsafe { sys::rte_eth_dev_start(device.id) })?;
        device.started = true;
        if self.promiscuous {
            // SAFETY: the port exists.
            let set = device.call("promiscuous mode", || unsafe {
                sys::rte_eth_promiscuous_enable(device.id)
            });
            device.promiscuous = set.is_ok();
            setup::where_supported(set)?;
        }
        self.look_at_rss()
    }

    /// How the started port spreads flows over several queues; none: it does not, or does not say it.
    pub fn rss(&self) -> Option<Rss> {
        self.rss
    }

    /// Has the started port hash these kinds of packets alone, as [`Rss::kinds`] has them. [`Self::rss`] says whether it does.
    pub fn restrict_rss(&mut self, kinds: u64) -> Result<(), DpdkError> {
        Rss::set(&self.device, kinds)?;
        self.look_at_rss()
    }

    fn look_at_rss(&mut self) -> Result<(), DpdkError> {
        let read = || match self.spreads {
            true => Rss::read(&self.device, self.rx_leases.len() as u16),
            false => Ok(None),
        };
        let mut rss = read()?;
        // Some drivers leave out the key of the configuration and take it now.
        if let Some(Rss {
            symmetric: false,
            kinds,
            ..
        }) = rss
        {
            // Where it is refused, that is what is read.
            let _ = Rss::set(&self.device, kinds);
            rss = read()?;
        }
        self.rss = rss;
        Ok(())
    }

    /// Stops a started port once all its queues are given back; nothing happens to a stopped one.
    pub fn stop(&mut self) -> Result<(), DpdkError> {
        if !self.device.started {
            return Ok(());
        }
        exclusive(&mut self.device, "stopping")?.stop()
    }

    /// Stops, closes and removes the port, and reports what dropping it would not.
    pub fn close(mut self) -> Result<(), DpdkError> {
        exclusive(&mut self.device, "closing")?.close()
    }

    /// Hands out a receive queue of a started port. A queue has one holder at a time.
    pub fn rx_queue(&mut self, queue: u16) -> Result<RxQueue, DpdkError> {
        let _lease = self.lease(queue, true)?;
        let pool = self.device.pools.first().map(Arc::clone);
        let pool = pool.ok_or_else(|| DpdkError::config(&self.device.name, "has no packet pool"))?;
        Ok(RxQueue {
            device: Arc::clone(&self.device),
            pool,
            queue,
            _lease,
        })
    }

    /// Receive queues of a configured port.
    pub fn rx_queues(&self) -> u16 {
        self.rx_leases.len() as u16
    }

    /// Transmit queues of a configured port.
    pub fn tx_queues(&self) -> u16 {
        self.tx_leases.len() as u16
    }

    /// Hands out a transmit queue of a started port. A queue has one holder at a time.
    pub fn tx_queue(&mut self, queue: u16) -> Result<TxQueue, DpdkError> {
        let _lease = self.lease(queue, false)?;
        // Some NICs (i40e, for one) take a frame below 17 bytes for an attack and stop the queue.
        let min_len = if self.device.bus == Bus::Pci { 17 } else { 14 };
        let limits = sys::onvm_tx_limits {
            min_len,
            max_len: self.mtu.saturating_add(setup::FRAMING),
        };
        Ok(TxQueue {
            device: Arc::clone(&self.device),
            queue,
            limits,
            _lease,
        })
    }

    pub fn name(&self) -> &str {
        &self.device.name
    }

    pub fn started(&self) -> bool {
        self.device.started
    }

    pub fn stats(&self) -> PortStats {
        let mut stats = MaybeUninit::<sys::rte_eth_stats>::zeroed();
        // SAFETY: the port exists; `stats` is valid for writes, and all of its fields are integers, so that zeroes are a
        // value where the driver writes none.
        let stats = unsafe {
            sys::rte_eth_stats_get(self.device.id, stats.as_mut_ptr());
            stats.assume_init()
        };
        PortStats {
            ipackets: stats.ipackets,
            opackets: stats.opackets,
            ibytes: stats.ibytes,
            obytes: stats.obytes,
            imissed: stats.imissed,
            ierrors: stats.ierrors,
            oerrors: stats.oerrors,
            rx_nombuf: stats.rx_nombuf,
        }
    }

    pub fn mac(&self) -> [u8; 6] {
        let mut address = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: the port exists; `address` is valid for writes.
        unsafe { sys::rte_eth_macaddr_get(self.device.id, &mut address) };
        address.addr_bytes
    }

    /// Whether the driver reports a carrier.
    pub fn link_up(&self) -> bool {
        let mut link = MaybeUninit::<sys::rte_eth_link>::zeroed();
        // SAFETY: the port exists; `link` is valid for writes, and all of its fields are integers.
        let link = unsafe {
            sys::rte_eth_link_get_nowait(self.device.id, link.as_mut_ptr());
            link.assume_init()
        };
        link.link_status() != 0
    }

    /// The NUMA node of the device; `None` for virtual ones.
    pub fn socket_id(&self) -> Option<u32> {
        // SAFETY: the port exists.
        u32::try_from(unsafe { sys::rte_eth_dev_socket_id(self.device.id) }).ok()
    }

    fn lease(&mut self, queue: u16, receive: bool) -> Result<Arc<()>, DpdkError> {
        let name = &self.device.name;
        if !self.device.started {
            return Err(DpdkError::config(name, "is not started"));
        }
        let (leases, kind) = if receive {
            (&mut self.rx_leases, "receive")
        } else {
            (&mut self.tx_leases, "transmit")
        };
        let count = leases.len();
        let Some(lease) = leases.get_mut(usize::from(queue)) else {
            return Err(DpdkError::config(
                name,
                format!("has {count} {kind} queues, no number {queue}"),
            ));
        };
        // Exclusive means that the last holder, in whatever thread, is done with the queue.
        if Arc::get_mut(lease).is_none() {
            return Err(DpdkError::config(
                name,
                format!("{kind} queue {queue} is in use already"),
            ));
        }
        Ok(Arc::clone(lease))
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.device.name)
            .field("started", &self.device.started)
            .finish_non_exhaustive()
    }
}
