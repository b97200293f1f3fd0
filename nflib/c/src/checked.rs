//! Arguments from C as what they stand for, or an error that names the argument.

use std::{
    borrow::Cow,
    ffi::{CStr, c_char},
};

use crate::error::{Error, Result};

fn null(name: &str) -> Error {
    Error::argument(format_args!("`{name}` is a null pointer"))
}

/// # Safety
/// The pointer is null, or valid and aligned for reads of a `T` that nothing writes during `'a`.
pub(crate) unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: as the caller of this function promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// # Safety
/// The pointer is null, or valid and aligned for a `T` that nothing else reads or writes during `'a`.
pub(crate) unsafe fn exclusive<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    // SAFETY: as the caller of this function promises.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(name))
}

/// Leaves a result where the caller wants it.
///
/// # Safety
/// The pointer is null, or valid and aligned for a write of a `T`; what lies there need not be initialised.
pub(crate) unsafe fn give<T>(pointer: *mut T, name: &str, value: T) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: as the caller of this function promises; `write` reads and drops nothing.
    unsafe { pointer.write(value) };
    Ok(())
}

/// # Safety
/// The pointer is null, or that of a text which ends with a zero byte and which nothing writes during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: as the caller of this function promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|e| Error::argument(format_args!("`{name}` is not UTF-8: {e}")))
}

/// The same of a text for people, whatever its bytes; none for null.
///
/// # Safety
/// As of [`text`].
pub(crate) unsafe fn lossy<'a>(pointer: *const c_char) -> Option<Cow<'a, str>> {
    // SAFETY: as the caller of this function promises.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) }.to_string_lossy())
}

/// Null is as good as any pointer where there is nothing.
///
/// # Safety
/// The pointer is null, or valid and aligned for reads of so many `T` that nothing writes during `'a`.
pub(crate) unsafe fn list<'a, T>(pointer: *const T, count: usize, name: &str) -> Result<&'a [T]> {
    match (pointer.is_null(), count) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null(name)),
        // SAFETY: as the caller of this function promises.
        (false, _) => Ok(unsafe { std::slice::from_raw_parts(pointer, count) }),
    }
}
