//! Finds the system's libdpdk, compiles the shim and generates the bindings.
//!
//! Only the libraries that are called directly are linked. Drivers (null, pcap, `af_packet`, tap, NICs) are
//! plug-ins which the EAL of a shared build loads from the directory compiled into `librte_eal`.

use std::{env, error::Error, path::PathBuf, process::Command};

/// The LTS release from which on every name used here exists (`RTE_ETH_*`, `RTE_MBUF_F_*`).
const OLDEST: &str = "21.11";

/// What the bindings and the shim call; the rest of libdpdk stays out of the program's needed libraries.
const LIBRARIES: [&str; 5] = ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring"];

const FUNCTIONS: &str = "onvm_.*|rte_eal_(init|cleanup|hotplug_add|hotplug_remove)|rte_strerror\
    |rte_version_(year|month|minor)|rte_thread_register|rte_extmem_(un)?register|rte_vfio_container_dma_(un)?map|rte_pktmbuf_pool_create(_extbuf)?\
    |rte_mempool_(free|in_use_count|avail_count)\
    |rte_eth_dev_(info_get|configure|start|stop|close|get_port_by_name|set_mtu|get_mtu|adjust_nb_rx_tx_desc|socket_id\
    |default_mac_addr_set|rss_hash_conf_get|rss_hash_update|rss_reta_query|rss_reta_update)\
    |rte_eth_(rx|tx)_queue_setup|rte_eth_promiscuous_enable|rte_eth_promiscuous_disable|rte_eth_stats_get|rte_eth_macaddr_get|rte_eth_link_get_nowait";

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["wrapper.h", "shim.c", "shim.h"] {
        println!("cargo:rerun-if-changed={input}");
    }
    let dpdk = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .env_metadata(true)
        .probe("libdpdk")
        .map_err(|error| {
            format!(
                "libdpdk {OLDEST} or newer was not found by pkg-config.\n\
                 On Debian or Ubuntu: apt-get install libdpdk-dev libpcap-dev libclang-dev\n\
                 For DPDK in another place set PKG_CONFIG_PATH to the folder of its libdpdk.pc.\n\n{error}"
            )
        })?;
    let march = machine_flag();
    compile_shim(&dpdk, march.as_deref());
    for path in &dpdk.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
    generate_bindings(&dpdk, march)
}

/// DPDK's headers need the instruction set that libdpdk was built for; the pkg-config crate does not report it.
fn machine_flag() -> Option<String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(tool)
        .args(["--cflags-only-other", "libdpdk"])
        .output()
        .ok()?;
    let flags = String::from_utf8(output.stdout).ok()?;
    flags
        .split_whitespace()
        .find(|flag| flag.starts_with("-march=") || flag.starts_with("-mcpu="))
        .map(str::to_owned)
}

fn compile_shim(dpdk: &pkg_config::Library, march: Option<&str>) {
    let mut build = cc::Build::new();
    // -O2 in every profile: without it the inline functions of DPDK become real calls on the packet path.
    build
        .file("shim.c")
        .includes(&dpdk.include_paths)
        .opt_level(2)
        .flag("-Wno-deprecated-declarations");
    if let Some(march) = march {
        build.flag(march);
    }
    build.compile("onvm_dpdk_shim");
}

fn generate_bindings(dpdk: &pkg_config::Library, march: Option<String>) -> Result<(), Box<dyn Error>> {
    let includes = dpdk
        .include_paths
        .iter()
        .map(|path| format!("-I{}", path.display()));
    bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(includes.chain(march))
        .allowlist_function(FUNCTIONS)
        .allowlist_var("ONVM_.*|RTE_ETH_FLOW_.*|RTE_ETH_RETA_GROUP_SIZE")
        .opaque_type("rte_mempool|rte_device|rte_mbuf|rte_eth_switch_info|rte_intr_handle")
        .prepend_enum_name(false)
        .derive_debug(false)
        .generate_comments(false)
        .layout_tests(false)
        .generate()
        .map_err(|error| format!("bindgen failed on DPDK's headers (is libclang-dev installed?): {error}"))?
        .write_to_file(PathBuf::from(env::var("OUT_DIR")?).join("bindings.rs"))?;
    Ok(())
}
