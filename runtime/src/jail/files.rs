//! Which files an NF may open, as a Landlock ruleset: programs and libraries of the system, to be read and executed.
//!
//! The ruleset also takes from it all signals to processes outside, abstract Unix sockets and TCP, as far as the kernel's Landlock
//! knows these. It stands beside the root directory of [`super::root`]: either is enough.

use std::{io, os::fd::OwnedFd, path::Path};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    Scope, path_beneath_rules,
};

use super::{
    child::check,
    root::{FILES, SYSTEM},
};

/// The newest version that this module knows; older kernels hold to what they know of it.
const NEWEST: ABI = ABI::V6;

/// The version of the kernel's Landlock; 0: it has none.
pub(super) fn version() -> u32 {
    /// The call gives a number and makes no ruleset.
    const VERSION: u32 = 1;
    // SAFETY: with this flag the call takes no attributes and only returns a number.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    check(result).map_or(0, |()| u32::try_from(result).unwrap_or(0))
}

/// The ruleset of an instance with these files and directories of its own.
pub(super) fn ruleset<'a>(own: impl Iterator<Item = &'a Path>) -> io::Result<Option<OwnedFd>> {
    let failed = |e: landlock::RulesetError| io::Error::other(format!("the Landlock ruleset: {e}"));
    let there = SYSTEM.iter().chain(&FILES).map(Path::new);
    let paths = there.chain(own).filter(|p| p.exists());
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|r| r.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|r| r.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(|r| r.add_rules(path_beneath_rules(paths, AccessFs::from_read(NEWEST))))
        .map_err(failed)?;
    Ok(ruleset.into())
}
