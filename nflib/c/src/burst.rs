//! Packets of a burst: their bytes, sizes and verdicts, and new packets.

use std::{cell::Cell, ffi::c_void};

use nflib::{Burst, Packet, Verdict};

use crate::{
    checked,
    error::{Error, Result, onvm_status, status},
};

/// The packets that the NF holds while `process` runs. Packets are named by number: those that came from 0 on, in order, and
/// behind them those that the NF has made of this burst.
#[derive(Debug, Default)]
pub struct onvm_burst {
    /// Null while no burst is handled.
    current: Cell<*mut c_void>,
}

/// A burst under way.
#[derive(Debug)]
pub(crate) struct During<'a>(&'a onvm_burst);

impl onvm_burst {
    pub(crate) fn begin<'a>(&'a self, burst: &'a mut Burst<'_>) -> During<'a> {
        self.current.set(std::ptr::from_mut(burst).cast());
        During(self)
    }
}

impl During<'_> {
    pub(crate) fn handle(&self) -> *mut onvm_burst {
        std::ptr::from_ref(self.0).cast_mut()
    }
}

impl Drop for During<'_> {
    fn drop(&mut self) {
        self.0.current.set(std::ptr::null_mut());
    }
}

/// What to do with a packet, for `onvm_set_verdict`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum onvm_verdict {
    /// Follow the chain; the verdict of a packet of which nothing is said.
    ONVM_NEXT = 0,
    /// Leave by an output of the manifest: the argument is what `onvm_param_output` has given, or the index in its list.
    ONVM_OUTPUT = 1,
    /// Counted as `nf_verdict`.
    ONVM_DROP = 2,
    /// Visit the service whose id is the argument; needs `allow NF to steer` in the operator's source.
    ONVM_STEER = 3,
    /// Leave by the port whose id is the argument; needs `allow NF to steer`.
    ONVM_OUT = 4,
    /// Be classified again by its present headers; needs `allow NF to lookup`.
    ONVM_LOOKUP = 5,
}

fn over() -> Error {
    Error::new(
        onvm_status::ONVM_OVER,
        "the burst is over: its packets belong to the NF only until `process` returns",
    )
}

/// Does something with the burst that is under way.
///
/// # Safety
/// The pointer is null, or the handle that `process` was given, of an NF that has not stopped; and this is its thread.
#[inline(always)]
pub(crate) unsafe fn with_burst<T>(
    burst: *const onvm_burst,
    with: impl FnOnce(&mut Burst<'_>) -> Result<T>,
) -> Result<T> {
    // SAFETY: the handle lives until the NF has stopped, and only its fields of `Cell` change.
    let handle = unsafe { checked::reference(burst, "burst") }?;
    // SAFETY: the pointer is null or that of the burst whose `process` is running, which is borrowed to it until it returns. This
    // is the NF's thread, so that no other function of this library runs; the reference ends with this call, as `with` cannot keep
    // it.
    match unsafe { handle.current.get().cast::<Burst<'_>>().as_mut() } {
        Some(burst) => with(burst),
        None => Err(over()),
    }
}

/// Does something with a packet of the burst.
///
/// # Safety
/// As of [`with_burst`].
#[inline(always)]
pub(crate) unsafe fn with_packet<T>(
    burst: *const onvm_burst,
    n: u32,
    with: impl FnOnce(Packet<'_>) -> Result<T>,
) -> Result<T> {
    let with = |burst: &mut Burst<'_>| {
        let (came, made) = (burst.len(), burst.made_count());
        let n = n as usize;
        let packet = match n < came {
            true => burst.packet(n),
            false => burst.made(n - came),
        };
        with(packet.ok_or_else(|| {
            let text =
                format!("the burst has {came} packets, and {made} made of them: there is no packet {n}");
            Error::new(onvm_status::ONVM_MISSING, text)
        })?)
    };
    // SAFETY: as the caller of this function promises.
    unsafe { with_burst(burst, with) }
}

/// Packets that came, 1 to 32; 0 when the burst is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_burst_length(burst: *const onvm_burst) -> u32 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_burst(burst, |burst| Ok(burst.len() as u32)) }.unwrap_or(0)
}

/// Bytes of all packets that came.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_burst_bytes(burst: *const onvm_burst) -> u64 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_burst(burst, |burst| Ok(burst.bytes())) }.unwrap_or(0)
}

/// The time, in nanoseconds since a point that differs between processes; it never goes back. Each call reads the clock, which
/// takes some 20 ns: call it once a burst, and only if it is needed. 0 when the burst is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_burst_now(burst: *const onvm_burst) -> u64 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_burst(burst, |burst| Ok(burst.now().as_nanos())) }.unwrap_or(0)
}

/// The packet from its first Ethernet byte, without frame check sequence, and its length in bytes, of which there is at least one.
/// `length` may be null. Null, with a length of 0, on an error. The pointer is over when `process` returns, and when the packet
/// gets another size. Packets may be cut, malformed and hostile: look at the length before each index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_data(burst: *mut onvm_burst, n: u32, length: *mut u32) -> *const u8 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    let found = unsafe {
        with_packet(burst, n, |packet| {
            Ok((packet.data().as_ptr(), packet.len() as u32))
        })
    };
    // SAFETY: the caller gives null or a place for a length.
    unsafe { data(found, std::ptr::null(), length) }
}

/// As `onvm_packet_data`, for writing. Null where the manifest declares no write (`ONVM_READ_ONLY`); there, a write by any other
/// way ends the process by SIGSEGV. Every header field that an NF ever writes belongs into `effects.writes` of its manifest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_data_mut(burst: *mut onvm_burst, n: u32, length: *mut u32) -> *mut u8 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    let found = unsafe {
        with_packet(burst, n, |mut packet| {
            let data = packet.data_mut()?;
            Ok((data.as_mut_ptr(), data.len() as u32))
        })
    };
    // SAFETY: the caller gives null or a place for a length.
    unsafe { data(found, std::ptr::null_mut(), length) }
}

/// # Safety
/// `length` is null or valid for a write.
#[inline(always)]
unsafe fn data<P>(found: Result<(P, u32)>, null: P, length: *mut u32) -> P {
    let (pointer, found) = match found {
        Ok(found) => found,
        Err(e) => {
            status(Err(e));
            (null, 0)
        }
    };
    if !length.is_null() {
        // SAFETY: as the caller of this function promises.
        unsafe { length.write(found) };
    }
    pointer
}

/// The symmetric flow hash: both directions of a flow have the same; 0 where the packet is not IP, and on an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_hash(burst: *const onvm_burst, n: u32) -> u32 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_packet(burst, n, |packet| Ok(packet.hash())) }.unwrap_or(0)
}

/// Gives a packet a verdict, one of `enum onvm_verdict`, in place of the one that it has. One that the bundle does not permit is
/// overruled: the packet follows the chain, and `onvmc status` counts it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_set_verdict(
    burst: *mut onvm_burst,
    n: u32,
    verdict: u32,
    argument: u16,
) -> onvm_status {
    let decoded = u8::try_from(verdict)
        .ok()
        .and_then(|verdict| Verdict::decode(verdict, argument));
    let give = |mut packet: Packet<'_>| {
        let invalid = || Error::argument(format_args!("expected a verdict from 0 to 5, found {verdict}"));
        packet.set_verdict(decoded.ok_or_else(invalid)?);
        Ok(())
    };
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe { with_packet(burst, n, give) })
}

/// Drops a packet: `ONVM_DROP` as its verdict.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_drop(burst: *mut onvm_burst, n: u32) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { onvm_set_verdict(burst, n, onvm_verdict::ONVM_DROP as u32, 0) }
}

/// Sends a packet to an output that `onvm_param_output` has given: `ONVM_OUTPUT` as its verdict.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_output(burst: *mut onvm_burst, n: u32, output: u16) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { onvm_set_verdict(burst, n, onvm_verdict::ONVM_OUTPUT as u32, output) }
}

/// Bytes that `onvm_packet_push` has room for: at least 128 in a packet that no NF has changed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_headroom(burst: *const onvm_burst, n: u32) -> u32 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_packet(burst, n, |packet| Ok(packet.headroom() as u32)) }.unwrap_or(0)
}

/// Bytes that `onvm_packet_extend` has room for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_tailroom(burst: *const onvm_burst, n: u32) -> u32 {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    unsafe { with_packet(burst, n, |packet| Ok(packet.tailroom() as u32)) }.unwrap_or(0)
}

/// Adds so many bytes of zero in front. Needs `payload = "write"` in the manifest, as all changes of size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_push(burst: *mut onvm_burst, n: u32, bytes: u32) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe {
        with_packet(burst, n, |mut packet| {
            packet.push(bytes as usize)?;
            Ok(())
        })
    })
}

/// Removes the first so many bytes. At least one must stay.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_pull(burst: *mut onvm_burst, n: u32, bytes: u32) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe { with_packet(burst, n, |mut packet| Ok(packet.pull(bytes as usize)?)) })
}

/// Adds so many bytes of zero at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_extend(burst: *mut onvm_burst, n: u32, bytes: u32) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe {
        with_packet(burst, n, |mut packet| {
            packet.extend(bytes as usize)?;
            Ok(())
        })
    })
}

/// Removes what stands behind the first `length` bytes, 1 or more; a packet that is not longer stays as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_packet_truncate(burst: *mut onvm_burst, n: u32, length: u32) -> onvm_status {
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe { with_packet(burst, n, |mut packet| Ok(packet.truncate(length as usize)?)) })
}

/// Makes a packet of these bytes in the name of the packet `of` that came, and leaves its number in `made`, under which it can be
/// written, resized and given a verdict; `made` may be null. It goes where its verdict says, at first `ONVM_NEXT`, from the hop at
/// which that packet is, and leaves the NF before it. Needs `effects.generates` in the manifest (`ONVM_UNDECLARED`).
/// `ONVM_NO_ROOM`: no blank buffer is left for now; go on without.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_generate(
    burst: *mut onvm_burst,
    of: u32,
    bytes: *const u8,
    length: u32,
    made: *mut u32,
) -> onvm_status {
    let make = |burst: &mut Burst<'_>| {
        // SAFETY: the caller gives so many bytes, which stay as they are through the call. They may be those of another packet of the
        // burst: the new one lies in a buffer of its own.
        let bytes = unsafe { checked::list(bytes, length as usize, "bytes") }?;
        burst.generate(of as usize, bytes)?;
        // SAFETY: the caller gives null or a place for a number.
        unsafe { number_of_last(burst, made) };
        Ok(())
    };
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe { with_burst(burst, make) })
}

/// Makes a copy of the packet `of` that came, as it is by now, in its name: see `onvm_generate`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_copy(burst: *mut onvm_burst, of: u32, made: *mut u32) -> onvm_status {
    let make = |burst: &mut Burst<'_>| {
        burst.copy(of as usize)?;
        // SAFETY: the caller gives null or a place for a number.
        unsafe { number_of_last(burst, made) };
        Ok(())
    };
    // SAFETY: the caller gives null or a burst's handle, on the NF's thread.
    status(unsafe { with_burst(burst, make) })
}

/// # Safety
/// `made` is null or valid for a write.
unsafe fn number_of_last(burst: &Burst<'_>, made: *mut u32) {
    if !made.is_null() {
        let number = burst.len() + burst.made_count() - 1;
        // SAFETY: as the caller of this function promises.
        unsafe { made.write(number as u32) };
    }
}
