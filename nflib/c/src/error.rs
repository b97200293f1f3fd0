//! Status codes, and the text behind the last one.

use std::{
    cell::RefCell,
    ffi::{CString, c_char, c_int},
    fmt::Display,
};

use nflib::{GenerateError, ParamsError, ResizeError, SetupError, headers::WriteError};

use crate::checked;

/// What functions return, and callbacks.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum onvm_status {
    ONVM_OK = 0,
    /// Of the callbacks `reconfigure` and `message` only: this NF does not do that.
    ONVM_UNSUPPORTED = 1,
    /// Failed; `onvm_error_text` says why. A callback says it by `onvm_fail`.
    ONVM_FAILED = 2,
    /// A null pointer, a number out of range, or a text that is not UTF-8.
    ONVM_ARGUMENT = 3,
    /// There is no such parameter, output, header field or packet.
    ONVM_MISSING = 4,
    /// The parameter has another type, or the value does not fit.
    ONVM_VALUE = 5,
    /// The manifest declares no write (`effects.writes`).
    ONVM_READ_ONLY = 6,
    /// No room: in the buffer, for more counters, among blank buffers, or in a queue to the manager.
    ONVM_NO_ROOM = 7,
    /// The manifest does not declare that the NF makes packets (`effects.generates`).
    ONVM_UNDECLARED = 8,
    /// The handle's time is over, e.g. that of a burst after `process` has returned.
    ONVM_OVER = 9,
}

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Error {
    status: onvm_status,
    text: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

impl Error {
    pub(crate) fn new(status: onvm_status, text: impl Display) -> Self {
        let text = text.to_string();
        Self { status, text }
    }

    pub(crate) fn argument(text: impl Display) -> Self {
        Self::new(onvm_status::ONVM_ARGUMENT, text)
    }
}

impl From<ParamsError> for Error {
    fn from(e: ParamsError) -> Self {
        let status = match e {
            ParamsError::Missing(_) | ParamsError::Output { .. } | ParamsError::Target { .. } => {
                onvm_status::ONVM_MISSING
            }
            ParamsError::Value { .. } | ParamsError::File { .. } => onvm_status::ONVM_VALUE,
        };
        Self::new(status, e)
    }
}

impl From<SetupError> for Error {
    fn from(e: SetupError) -> Self {
        match e {
            SetupError::Params(e) => e.into(),
            SetupError::Counters(_) => Self::new(onvm_status::ONVM_NO_ROOM, e),
            SetupError::Other(_) => Self::argument(e),
        }
    }
}

impl From<nflib::ReadOnly> for Error {
    fn from(e: nflib::ReadOnly) -> Self {
        Self::new(onvm_status::ONVM_READ_ONLY, e)
    }
}

impl From<ResizeError> for Error {
    fn from(e: ResizeError) -> Self {
        let status = match e {
            ResizeError::ReadOnly(_) => onvm_status::ONVM_READ_ONLY,
            ResizeError::NoRoom { .. } => onvm_status::ONVM_NO_ROOM,
            ResizeError::TooShort { .. } => onvm_status::ONVM_ARGUMENT,
        };
        Self::new(status, e)
    }
}

impl From<GenerateError> for Error {
    fn from(e: GenerateError) -> Self {
        let status = match e {
            GenerateError::Undeclared => onvm_status::ONVM_UNDECLARED,
            GenerateError::NoBlank => onvm_status::ONVM_NO_ROOM,
            GenerateError::NoPacket { .. } => onvm_status::ONVM_MISSING,
            GenerateError::Length { .. } => onvm_status::ONVM_ARGUMENT,
            GenerateError::ReadOnly(_) => onvm_status::ONVM_READ_ONLY,
        };
        Self::new(status, e)
    }
}

impl From<WriteError> for Error {
    fn from(e: WriteError) -> Self {
        let status = match e {
            WriteError::OtherFamily | WriteError::TooLarge { .. } => onvm_status::ONVM_VALUE,
            _ => onvm_status::ONVM_MISSING,
        };
        Self::new(status, e)
    }
}

/// The status of a result; an error's text is kept.
pub(crate) fn status(result: Result<()>) -> onvm_status {
    match result {
        Ok(()) => onvm_status::ONVM_OK,
        Err(e) => {
            keep(&e.text);
            e.status
        }
    }
}

/// Keeps a text as that of the last error.
pub(crate) fn keep(text: &str) {
    // Cut at a zero byte, which a text of C cannot hold.
    let text = text.split('\0').next().unwrap_or_default();
    LAST.with_borrow_mut(|last| *last = CString::new(text).unwrap_or_default());
}

/// Takes the text that a callback has left, or says that it left none.
pub(crate) fn of_callback(name: &str, code: c_int) -> String {
    let last = LAST.take();
    match last.as_bytes() {
        [] => format!("`{name}` returned {code} without a text; set one by onvm_fail"),
        _ => last.to_string_lossy().into_owned(),
    }
}

/// Forgets the last error, so that a callback's own can be told from one before it.
pub(crate) fn forget() {
    LAST.take();
}

/// The text of the last error of this thread, in English, without a line end; empty where there was none. Valid until the next
/// call of a function of this library by this thread.
#[unsafe(no_mangle)]
pub extern "C" fn onvm_error_text() -> *const c_char {
    LAST.with_borrow(|last| last.as_ptr())
}

/// Sets the text of the error that a callback returns, and gives `ONVM_FAILED`: `return onvm_fail("no such route");`. An operator
/// reads it: say what is wrong, and what would be right.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_fail(text: *const c_char) -> onvm_status {
    // SAFETY: the caller gives null or a text that ends with a zero byte, and it is not kept.
    match unsafe { checked::lossy(text) } {
        Some(text) => keep(&text),
        None => keep("the NF failed and gave no reason"),
    }
    onvm_status::ONVM_FAILED
}
