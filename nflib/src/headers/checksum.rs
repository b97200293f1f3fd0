//! The Internet checksum (RFC 1071) of a header whose fields change.
//!
//! [`updated`] computes it from the old checksum and the bytes that changed, by equation 3 of RFC 1624:
//! `HC' = ~(~HC + ~m + m')` in one's complement arithmetic. So the cost depends on the bytes that change and not on the packet's
//! length, a packet that was cut needs no bytes that are missing, and a checksum that was wrong before is as wrong after: damage
//! on the way stays visible to the receiver.

/// The checksum after the covered bytes `old` have become `new`.
///
/// Both begin at an even offset from the start of what the checksum covers; a last odd byte counts as the high half of a word. The
/// result is the one that a computation over all bytes gives, unless `checksum` is 0xffff, the other representation of zero: that
/// may come back, and receivers take both for the same. For UDP write a result of 0 as 0xffff, as 0 says there that no checksum
/// was computed (RFC 768).
///
/// ```
/// # use nflib::headers::checksum::updated;
/// // The example of RFC 1624, section 4.
/// assert_eq!(updated(0xdd2f, &[0x55, 0x55], &[0x32, 0x85]), 0x0000);
/// ```
#[inline]
pub fn updated(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    let mut sum = u64::from(!checksum);
    sum += words(old).map(|word| u64::from(!word)).sum::<u64>();
    sum += words(new).map(u64::from).sum::<u64>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[inline(always)]
fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let (pairs, rest) = bytes.as_chunks();
    let rest = rest.iter().map(|last| u16::from_be_bytes([*last, 0]));
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).chain(rest)
}
