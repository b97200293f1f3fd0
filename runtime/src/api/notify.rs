//! Notifying a service manager that the NFs are ready (the sd_notify protocol of systemd).

use std::os::unix::net::UnixDatagram;

/// Sends `READY=1` to the socket in `NOTIFY_SOCKET`, if there is one.
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let sent = UnixDatagram::unbound().and_then(|socket| match path.to_string_lossy().strip_prefix('@') {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name.as_bytes())?;
            socket.send_to_addr(b"READY=1", &address)
        }
        None => socket.send_to(b"READY=1", &path),
    });
    if let Err(e) = sent {
        tracing::warn!(
            "the service manager at {} could not be notified: {e}",
            path.to_string_lossy()
        );
    }
}
