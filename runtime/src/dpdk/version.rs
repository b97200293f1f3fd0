use dpdk_sys as sys;

/// Version of the libdpdk that this process runs with, e.g. `22.11.5`. The EAL need not be started.
pub fn version() -> String {
    // SAFETY: the three functions take nothing, return constants of the loaded library and touch no state of it.
    let (year, month, minor) = unsafe {
        (
            sys::rte_version_year(),
            sys::rte_version_month(),
            sys::rte_version_minor(),
        )
    };
    format!("{year}.{month:02}.{minor}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_one_that_is_supported() {
        let version = super::version();
        let numbers: Vec<u32> = version.split('.').map(|n| n.parse().unwrap()).collect();
        assert!(
            matches!(numbers.as_slice(), [year, month, _] if (*year, *month) >= (21, 11)),
            "{version}"
        );
    }
}
