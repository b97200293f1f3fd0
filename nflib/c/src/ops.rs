//! The table of callbacks, and the NF that it makes.

use std::{
    cell::Cell,
    ffi::{c_char, c_int, c_void},
    mem::MaybeUninit,
    rc::Rc,
};

use nflib::{
    Burst, Message, Nf, Params, Reconfigured, Sent, Setup, SetupError, Time, flows::FlowNews, messages::Value,
};

use crate::{
    burst::onvm_burst,
    checked,
    counters::Kept,
    error::{self, Error, Result, keep, onvm_status},
    flows::onvm_flow_news,
    messages::{onvm_answer, onvm_message, onvm_sent},
    params::onvm_params,
    setup::onvm_setup,
};

/// The version of this interface. It changes when a program that was compiled with an earlier header would not run with this
/// library; what is only added does not change it.
pub const ONVM_NF_ABI: u32 = 1;

/// An NF: its callbacks. All are called by the thread that called `onvm_nf_run`, never two at a time. Those that may be null are
/// marked so. None of them may block for long: an instance that holds packets and hands none back for 2 s is killed and restarted.
/// None may be left by `longjmp` or an exception.
///
/// Initialise it with `ONVM_NF_OPS_INIT` and then by name, so that callbacks that a later version adds are null.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct onvm_nf_ops {
    /// `ONVM_NF_ABI` of the header that the program was compiled with.
    pub abi: u32,
    /// `sizeof(onvm_nf_ops)` of that header.
    pub size: u32,
    /// Builds the NF from its parameters, within 10 s of the start of the process. What it leaves in `nf` is passed to the other
    /// callbacks. After an error, whose text is shown to the operator, no other callback is called. It is called again, after `stop`,
    /// when a manager that went away has come back.
    pub start: Option<unsafe extern "C-unwind" fn(setup: *mut onvm_setup, nf: *mut *mut c_void) -> c_int>,
    /// Handles a burst of 1 to 32 packets. Each packet goes on by `ONVM_NEXT` where nothing else is said. The burst, and all
    /// pointers into its packets, are over when it returns.
    pub process: Option<unsafe extern "C-unwind" fn(nf: *mut c_void, burst: *mut onvm_burst)>,
    /// May be null. Called about as often as `onvm_tick_every` asked for, between bursts, with the time in nanoseconds.
    pub tick: Option<unsafe extern "C-unwind" fn(nf: *mut c_void, now: u64)>,
    /// May be null. Takes a message of a kind that the manifest declares. `ONVM_OK`, or an error whose text goes to the operator
    /// who sent it; the answer is set by `onvm_answer_json`. `message` and `answer` are over when it returns.
    pub message: Option<
        unsafe extern "C-unwind" fn(
            nf: *mut c_void,
            message: *const onvm_message,
            answer: *mut onvm_answer,
        ) -> c_int,
    >,
    /// May be null. What has become of a message to the other instances of the service.
    pub sent: Option<unsafe extern "C-unwind" fn(nf: *mut c_void, sent: *const onvm_sent)>,
    /// May be null. Takes new parameters while packets flow, where the manifest says `reconfigure = true`. Either all of them or
    /// none: after an error, whose text is shown to the operator, or `ONVM_UNSUPPORTED`, which has the manager replace the
    /// instance, the former ones are in force. `params` is over when it returns.
    pub reconfigure:
        Option<unsafe extern "C-unwind" fn(nf: *mut c_void, params: *const onvm_params) -> c_int>,
    /// May be null. What has become of requests about flow entries, and of entries.
    pub flow_news: Option<unsafe extern "C-unwind" fn(nf: *mut c_void, news: *const onvm_flow_news)>,
    /// May be null. The last call: frees what `start` made. Not called where the process is killed.
    pub stop: Option<unsafe extern "C-unwind" fn(nf: *mut c_void)>,
}

thread_local! {
    /// The table that this thread runs.
    static TABLE: Cell<Option<onvm_nf_ops>> = const { Cell::new(None) };
}

/// `ONVM_NF_ABI` of the library, for programs that load it by name.
#[unsafe(no_mangle)]
pub extern "C" fn onvm_nf_abi() -> u32 {
    ONVM_NF_ABI
}

/// The version of the library, e.g. `0.1.0`. Always valid.
#[unsafe(no_mangle)]
pub extern "C" fn onvm_nf_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Runs the NF as the environment variable `ONVM_NF_SOCKET` says, which the manager sets, until the manager says stop. Use as
/// the whole of `main`: gives its exit code. What goes wrong is written to standard error.
///
/// Ends with exit code 2 where the table is of another version of this interface, or a callback is missing that must be there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_nf_run(ops: *const onvm_nf_ops) -> c_int {
    // SAFETY: the caller gives null or a table with `size` set to its bytes, which is alive through the call.
    let table = match unsafe { table(ops) } {
        Ok(table) => table,
        Err(e) => {
            error::status(Err(e));
            // SAFETY: the text is a C string that lives until the next call of this library.
            let text = unsafe { checked::lossy(error::onvm_error_text()) }.unwrap_or_default();
            eprintln!("error: {text}");
            return 2;
        }
    };
    TABLE.set(Some(table));
    nflib::run_to_code::<FromTable>().into()
}

/// The table, filled up with null where it is of an earlier header that had fewer callbacks.
///
/// # Safety
/// The pointer is null, or valid for reads of the eight bytes of `abi` and `size`, and of `size` bytes where `abi` is
/// [`ONVM_NF_ABI`].
unsafe fn table(ops: *const onvm_nf_ops) -> Result<onvm_nf_ops> {
    if ops.is_null() {
        return Err(Error::argument("onvm_nf_run: `ops` is a null pointer"));
    }
    // SAFETY: both fields are there, by the caller's promise; no reference to the rest is made.
    let (abi, size) = unsafe { ((&raw const (*ops).abi).read(), (&raw const (*ops).size).read()) };
    if abi != ONVM_NF_ABI {
        return Err(Error::argument(format_args!(
            "the NF was compiled for version {abi} of the interface of libonvm_nf, and this library has version {ONVM_NF_ABI}: \
             compile it with the header of this library"
        )));
    }
    let mut whole = MaybeUninit::<onvm_nf_ops>::zeroed();
    let known = size_of::<onvm_nf_ops>().min(size as usize);
    // SAFETY: so many bytes can be read, by the caller's promise, and written, as they are no more than the table has; the two
    // do not overlap, since one is new. Null pointers are what `None` is, so that zeroes are a table.
    let whole = unsafe {
        std::ptr::copy_nonoverlapping(ops.cast::<u8>(), whole.as_mut_ptr().cast(), known);
        whole.assume_init()
    };
    for (callback, name) in [
        (whole.start.is_some(), "start"),
        (whole.process.is_some(), "process"),
    ] {
        if !callback {
            return Err(Error::argument(format_args!(
                "the NF's table has no `{name}`: set `abi` and `size` by ONVM_NF_OPS_INIT and `{name}` to a function"
            )));
        }
    }
    Ok(whole)
}

/// An NF whose methods are the callbacks of the table.
#[derive(Debug)]
struct FromTable {
    ops: onvm_nf_ops,
    nf: *mut c_void,
    /// What the NF holds a pointer to while it handles a burst.
    burst: Rc<onvm_burst>,
    /// What it holds pointers to until `stop` has returned.
    _kept: Kept,
}

impl std::fmt::Debug for onvm_nf_ops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("onvm_nf_ops")
            .field("abi", &self.abi)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The result of a callback that says by a code how it went.
fn result(name: &str, code: c_int) -> std::result::Result<(), String> {
    match code {
        0 => Ok(()),
        code => Err(error::of_callback(name, code)),
    }
}

impl Nf for FromTable {
    fn new(setup: &mut Setup) -> std::result::Result<Self, SetupError> {
        let missing = || SetupError::Other("the NF was not started by onvm_nf_run".to_owned());
        let ops = TABLE.get().ok_or_else(missing)?;
        let start = ops.start.ok_or_else(missing)?;
        let mut nf = std::ptr::null_mut();
        let mut wrapped = onvm_setup::new(setup);
        error::forget();
        // SAFETY: the table's author gave a function of this type; both pointers are valid through the call.
        let code = unsafe { start(&raw mut wrapped, &raw mut nf) };
        result("start", code).map_err(SetupError::Other)?;
        Ok(Self {
            ops,
            nf,
            burst: Rc::default(),
            _kept: wrapped.into_kept(),
        })
    }

    #[inline]
    fn process(&mut self, burst: &mut Burst<'_>) {
        let Some(process) = self.ops.process else { return };
        let during = self.burst.begin(burst);
        // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it. The burst's handle is valid
        // through the call, and refuses to be used after it.
        unsafe { process(self.nf, during.handle()) };
    }

    fn tick(&mut self, now: Time) {
        if let Some(tick) = self.ops.tick {
            // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it.
            unsafe { tick(self.nf, now.as_nanos()) };
        }
    }

    fn message(&mut self, message: &Message) -> std::result::Result<Value, String> {
        let Some(take) = self.ops.message else {
            return Err(message.unknown());
        };
        let (wrapped, mut answer) = (onvm_message::new(message), onvm_answer::default());
        error::forget();
        // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it; the other two pointers are
        // valid through the call.
        match unsafe { take(self.nf, &raw const wrapped, &raw mut answer) } {
            code if code == onvm_status::ONVM_UNSUPPORTED as c_int => Err(message.unknown()),
            code => result("message", code).map(|()| answer.value),
        }
    }

    fn sent(&mut self, sent: &Sent) {
        if let Some(hear) = self.ops.sent {
            onvm_sent::with(sent, |sent| {
                // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it; `sent` is valid
                // through the call.
                unsafe { hear(self.nf, sent) };
            });
        }
    }

    fn flow_news(&mut self, news: &FlowNews) {
        if let Some(hear) = self.ops.flow_news {
            onvm_flow_news::with(news, |news| {
                // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it; `news` is valid
                // through the call.
                unsafe { hear(self.nf, news) };
            });
        }
    }

    fn reconfigure(&mut self, params: &Params) -> std::result::Result<Reconfigured, SetupError> {
        let Some(reconfigure) = self.ops.reconfigure else {
            return Ok(Reconfigured::Unsupported);
        };
        let params = onvm_params::new(params.clone());
        error::forget();
        // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it; `params` is valid through
        // the call.
        match unsafe { reconfigure(self.nf, &raw const params) } {
            code if code == onvm_status::ONVM_UNSUPPORTED as c_int => Ok(Reconfigured::Unsupported),
            code => match result("reconfigure", code) {
                Ok(()) => Ok(Reconfigured::Done),
                Err(text) => Err(SetupError::Other(text)),
            },
        }
    }
}

impl Drop for FromTable {
    fn drop(&mut self) {
        if let Some(stop) = self.ops.stop {
            // SAFETY: the table's author gave a function of this type, and `nf` is what `start` left for it; nothing is called after
            // it.
            unsafe { stop(self.nf) };
        }
        keep("");
    }
}
