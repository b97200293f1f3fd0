//! Parameters, and the fields of messages, by name and type.

use std::{
    cell::RefCell,
    ffi::{CString, c_char},
};

use nflib::{Params, messages::Value};

use crate::{
    checked,
    error::{Error, Result, onvm_status, status},
};

/// Parameters, or the fields of a message, by name. The compiler has checked types and ranges and filled in defaults by the
/// manifest. Over when the callback that got them returns, with every text and byte that they gave.
#[derive(Debug)]
pub struct onvm_params {
    pub(crate) params: Params,
    /// Those that were given as C strings.
    texts: RefCell<Vec<CString>>,
}

impl onvm_params {
    pub(crate) fn new(params: Params) -> Self {
        Self {
            params,
            texts: RefCell::default(),
        }
    }

    /// The same text as one of C, which lives as long as this.
    fn text(&self, name: &str, text: String) -> Result<*const c_char> {
        let text = CString::new(text).map_err(|_| {
            let text = format!("parameter `{name}`: its text has a zero byte, which a text of C cannot have");
            Error::new(onvm_status::ONVM_VALUE, text)
        })?;
        // The bytes stay where they are when the list grows.
        let pointer = text.as_ptr();
        self.texts.borrow_mut().push(text);
        Ok(pointer)
    }
}

/// Reads something by name.
///
/// # Safety
/// `params` is null or the handle of a callback that is under way, on its thread; `name` null or a text that ends with a zero byte;
/// `place` null or valid for a write.
pub(crate) unsafe fn read<T>(
    params: *const onvm_params,
    name: *const c_char,
    place: *mut T,
    read: impl FnOnce(&onvm_params, &str) -> Result<T>,
) -> onvm_status {
    // SAFETY: as the caller of this function promises.
    let both = unsafe {
        checked::reference(params, "params").and_then(|params| Ok((params, checked::text(name, "name")?)))
    };
    let value = both.and_then(|(params, name)| read(params, name));
    // SAFETY: as the caller of this function promises.
    status(value.and_then(|value| unsafe { checked::give(place, "the place for the value", value) }))
}

/// The element of a list parameter.
fn element(params: &onvm_params, name: &str, index: usize) -> Result<Value> {
    let mut list: Vec<Value> = params.params.get(name)?;
    if index >= list.len() {
        let text = format!(
            "parameter `{name}` has {} values: there is no value {index}",
            list.len()
        );
        return Err(Error::new(onvm_status::ONVM_MISSING, text));
    }
    Ok(list.swap_remove(index))
}

/// The element as one of this type.
fn typed<T: serde::de::DeserializeOwned>(params: &onvm_params, name: &str, index: usize) -> Result<T> {
    serde_json::from_value(element(params, name, index)?)
        .map_err(|e| Error::from(nflib::ParamsError::value(name, e)))
}

/// Whether the parameter is there. One that is `optional` in the manifest may not be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_given(params: *const onvm_params, name: *const c_char) -> bool {
    // SAFETY: the caller gives null or parameters of the callback under way, and null or a text.
    let both = unsafe { (checked::reference(params, "params"), checked::text(name, "name")) };
    match both {
        (Ok(params), Ok(name)) => matches!(params.params.optional::<Value>(name), Ok(Some(_))),
        _ => false,
    }
}

/// A `bool`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_bool(
    params: *const onvm_params,
    name: *const c_char,
    value: *mut bool,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| Ok(params.params.get(name)?)) }
}

/// An `int` that is not negative, a `time` in nanoseconds, a `size` in bytes, a `bit_rate` in bits a second, a `packet_rate` in
/// packets a second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_uint(
    params: *const onvm_params,
    name: *const c_char,
    value: *mut u64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| Ok(params.params.get(name)?)) }
}

/// An `int`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_int(
    params: *const onvm_params,
    name: *const c_char,
    value: *mut i64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| Ok(params.params.get(name)?)) }
}

/// A `decimal`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_double(
    params: *const onvm_params,
    name: *const c_char,
    value: *mut f64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| Ok(params.params.get(name)?)) }
}

/// The text of a `string`, `enum`, `secret`, `address`, `prefix`, `mac` or `endpoint`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_string(
    params: *const onvm_params,
    name: *const c_char,
    value: *mut *const c_char,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe {
        read(params, name, value, |params, name| {
            params.text(name, params.params.get(name)?)
        })
    }
}

/// The content of a `file`, which may have zero bytes, and how many bytes it has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_file(
    params: *const onvm_params,
    name: *const c_char,
    content: *mut *const u8,
    length: *mut usize,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or places.
    unsafe {
        read(params, name, content, |params, name| {
            let content = params.params.file(name)?;
            checked::give(length, "length", content.len())?;
            Ok(content.as_ptr())
        })
    }
}

/// How many values a parameter with `list = true` has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_length(
    params: *const onvm_params,
    name: *const c_char,
    length: *mut usize,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe {
        read(params, name, length, |params, name| {
            Ok(params.params.get::<Vec<Value>>(name)?.len())
        })
    }
}

/// As `onvm_param_uint`, of a list, by the place in it from 0 on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_uint_at(
    params: *const onvm_params,
    name: *const c_char,
    index: usize,
    value: *mut u64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| typed(params, name, index)) }
}

/// As `onvm_param_int`, of a list, by the place in it from 0 on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_int_at(
    params: *const onvm_params,
    name: *const c_char,
    index: usize,
    value: *mut i64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| typed(params, name, index)) }
}

/// As `onvm_param_double`, of a list, by the place in it from 0 on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_double_at(
    params: *const onvm_params,
    name: *const c_char,
    index: usize,
    value: *mut f64,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe { read(params, name, value, |params, name| typed(params, name, index)) }
}

/// As `onvm_param_string`, of a list, by the place in it from 0 on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_string_at(
    params: *const onvm_params,
    name: *const c_char,
    index: usize,
    value: *mut *const c_char,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe {
        read(params, name, value, |params, name| {
            params.text(name, typed(params, name, index)?)
        })
    }
}

/// The output that the manifest has under this name. Ask at the start, and keep the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_param_output(
    params: *const onvm_params,
    name: *const c_char,
    output: *mut u16,
) -> onvm_status {
    // SAFETY: the caller gives null or parameters of the callback under way, null or a text, and null or a place.
    unsafe {
        read(params, name, output, |params, name| {
            Ok(params.params.output(name)?.into())
        })
    }
}

/// All parameters as one JSON object, for languages that read JSON more easily. A file is an object with its name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onvm_params_json(
    params: *const onvm_params,
    text: *mut *const c_char,
) -> onvm_status {
    let json = |params: &onvm_params| {
        let invalid = |e: serde_json::Error| Error::new(onvm_status::ONVM_VALUE, e);
        let all = serde_json::to_value(&params.params).map_err(invalid)?;
        let values = all
            .get("values")
            .map_or_else(|| "{}".to_owned(), Value::to_string);
        params.text("all", values)
    };
    // SAFETY: the caller gives null or parameters of the callback under way.
    let value = unsafe { checked::reference(params, "params") }.and_then(json);
    // SAFETY: the caller gives null or a place for a pointer.
    status(value.and_then(|value| unsafe { checked::give(text, "text", value) }))
}
