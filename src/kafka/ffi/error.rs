//! Error codes, error objects and strings of librdkafka as Rust values.

use std::ffi::{CStr, CString, c_char};

use rdkafka::types::RDKafkaErrorCode;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as RespErr;

use super::super::admin_types::ApiError;

/// A buffer into which constructors write why they refused.
pub(super) struct ErrorText([c_char; 512]);

impl Default for ErrorText {
    fn default() -> Self {
        Self([0; 512])
    }
}

impl ErrorText {
    pub(super) fn ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn error(&self, code: RDKafkaErrorCode) -> ApiError {
        // SAFETY: zeroed at first and written by snprintf only, hence always terminated.
        ApiError::new(code, unsafe { text_of(self.0.as_ptr()) })
    }

    pub(super) fn check(&mut self, call: impl FnOnce(*mut c_char, usize) -> RespErr) -> Result<(), ApiError> {
        let code = call(self.ptr(), self.len());
        check(code, self.0.as_ptr())
    }
}

pub(super) fn check(code: RespErr, text: *const c_char) -> Result<(), ApiError> {
    if code == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let code = RDKafkaErrorCode::from(code);
    // SAFETY: null or a live, terminated string of the object that the caller holds.
    let text = unsafe { text_of(text) };
    Err(ApiError::new(code, if text.is_empty() { code.to_string() } else { text }))
}

/// # Safety
/// `error` must be null or a live error object that belongs to somebody else.
pub(super) unsafe fn borrowed_error(error: *const sys::rd_kafka_error_t) -> Result<(), ApiError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: by the caller's word.
    unsafe { check(sys::rd_kafka_error_code(error), sys::rd_kafka_error_string(error)) }
}

/// Takes an error object that was returned to us: null is success.
pub(super) fn take_error(error: *mut sys::rd_kafka_error_t) -> Result<(), ApiError> {
    // SAFETY: null, or alive and ours to destroy.
    unsafe {
        let outcome = borrowed_error(error);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
        }
        outcome
    }
}

/// # Safety
/// `text` must be null or a live, terminated string.
pub(super) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller's word.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

pub(super) fn object<T>(pointer: *mut T) -> Result<*mut T, ApiError> {
    if pointer.is_null() { Err(no_memory()) } else { Ok(pointer) }
}

pub(super) fn no_memory() -> ApiError {
    ApiError::new(RDKafkaErrorCode::Fail, "librdkafka refused to make an object".to_owned())
}

pub(super) fn c_string(text: &str) -> Result<CString, ApiError> {
    CString::new(text)
        .map_err(|_| ApiError::new(RDKafkaErrorCode::InvalidArgument, format!("{text:?} holds a NUL byte")))
}

/// The short name of a code, such as `UNKNOWN_TOPIC_OR_PART`.
pub(in crate::kafka) fn error_name(code: RDKafkaErrorCode) -> &'static str {
    let Ok(code) = RespErr::try_from(code as i32) else { return "UNKNOWN" };
    // SAFETY: librdkafka returns a static string for every code.
    unsafe { CStr::from_ptr(sys::rd_kafka_err2name(code)) }.to_str().unwrap_or("UNKNOWN")
}
