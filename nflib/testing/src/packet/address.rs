//! Addresses and ports as tests write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address: one of the standard library, its bytes, or its text (`"10.0.0.1"`, `"2001:db8::1"`).
pub trait Address {
    /// # Panics
    /// When a text is not an address.
    fn address(self) -> IpAddr;
}

/// An IP address with a port: one of the standard library, a pair, or its text (`"10.0.0.1:80"`, `"[2001:db8::1]:80"`).
pub trait Endpoint {
    /// # Panics
    /// When a text is not an address with a port.
    fn endpoint(self) -> SocketAddr;
}

impl Address for IpAddr {
    fn address(self) -> IpAddr {
        self
    }
}

impl Address for Ipv4Addr {
    fn address(self) -> IpAddr {
        self.into()
    }
}

impl Address for Ipv6Addr {
    fn address(self) -> IpAddr {
        self.into()
    }
}

impl Address for [u8; 4] {
    fn address(self) -> IpAddr {
        self.into()
    }
}

impl Address for [u8; 16] {
    fn address(self) -> IpAddr {
        self.into()
    }
}

impl Address for &str {
    #[expect(clippy::panic, reason = "a test with a wrong address is to fail")]
    fn address(self) -> IpAddr {
        self.parse()
            .unwrap_or_else(|_| panic!("`{self}` is not an address: expected e.g. 10.0.0.1 or 2001:db8::1"))
    }
}

impl Endpoint for SocketAddr {
    fn endpoint(self) -> SocketAddr {
        self
    }
}

impl<A: Address> Endpoint for (A, u16) {
    fn endpoint(self) -> SocketAddr {
        (self.0.address(), self.1).into()
    }
}

impl Endpoint for &str {
    #[expect(clippy::panic, reason = "a test with a wrong address is to fail")]
    fn endpoint(self) -> SocketAddr {
        self.parse().unwrap_or_else(|_| {
            panic!("`{self}` is not an address with a port: expected e.g. 10.0.0.1:80 or [2001:db8::1]:80")
        })
    }
}
