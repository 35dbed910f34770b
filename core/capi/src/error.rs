//! Errors as objects: code, class and text. Readable from any thread.

use tea_core::checkpoint::CheckpointError;
use tea_core::graph::{BuildError, ScopeError};
use tea_core::host::HostError;
use tea_core::run::StepError;
use tea_core::value::JsonError;

use crate::status::tea_status;
use crate::text::tea_str;

/// What went wrong. Freed with tea_error_free.
#[allow(non_camel_case_types)]
pub struct tea_error {
    status: tea_status,
    class: String,
    message: String,
}

/// A failed call on its way out.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) status: tea_status,
    pub(crate) class: String,
    pub(crate) message: String,
}

impl Failed {
    pub(crate) fn new(status: tea_status, message: impl Into<String>) -> Self {
        Failed { status, class: class_of(status).to_owned(), message: message.into() }
    }

    /// Hands the error to the caller, if it wants one.
    ///
    /// # Safety
    /// `err` is NULL or points to a writable pointer.
    pub(crate) unsafe fn report(self, err: *mut *mut tea_error) -> tea_status {
        let Failed { status, class, message } = self;
        if !err.is_null() {
            let error = Box::into_raw(Box::new(tea_error { status, class, message }));
            // SAFETY: not NULL, and writable by the caller's promise.
            unsafe { err.write(error) };
        }
        status
    }
}

/// The name of the Python class that goes with a status.
fn class_of(status: tea_status) -> &'static str {
    match status {
        tea_status::TEA_ERR_BUILD | tea_status::TEA_ERR_CORRUPT | tea_status::TEA_ERR_ARGUMENT => {
            "ValueError"
        }
        tea_status::TEA_ERR_NODE | tea_status::TEA_ERR_UNKNOWN_ID => "KeyError",
        tea_status::TEA_ERR_NOT_FOUND => "FileNotFoundError",
        tea_status::TEA_ERR_IO => "OSError",
        tea_status::TEA_ERR_NOT_STORABLE => "TypeError",
        _ => "RuntimeError",
    }
}

impl From<BuildError> for Failed {
    fn from(error: BuildError) -> Self {
        Failed::new(tea_status::TEA_ERR_BUILD, error.to_string())
    }
}

impl From<ScopeError> for Failed {
    fn from(error: ScopeError) -> Self {
        Failed::new(tea_status::TEA_ERR_BUILD, error.to_string())
    }
}

impl From<JsonError> for Failed {
    fn from(error: JsonError) -> Self {
        Failed::new(tea_status::TEA_ERR_JSON, error.to_string())
    }
}

impl From<HostError> for Failed {
    fn from(error: HostError) -> Self {
        // After shutdown the host was not asked, so it has no error of its own to raise.
        let shut = crate::guard::is_shut();
        let status = if shut { tea_status::TEA_ERR_SHUTDOWN } else { tea_status::TEA_ERR_HOST };
        Failed::new(status, error.to_string())
    }
}

impl From<CheckpointError> for Failed {
    fn from(error: CheckpointError) -> Self {
        let status = match &error {
            CheckpointError::NotFound(_) | CheckpointError::UnknownId(_) => tea_status::TEA_ERR_NOT_FOUND,
            CheckpointError::Unreadable { .. } | CheckpointError::Unwritable { .. } => tea_status::TEA_ERR_IO,
            CheckpointError::Corrupt { .. } => tea_status::TEA_ERR_CORRUPT,
            CheckpointError::NotStorable { .. } => tea_status::TEA_ERR_NOT_STORABLE,
        };
        let mut failed = Failed::new(status, error.to_string());
        if let CheckpointError::UnknownId(_) = error {
            failed.class = "KeyError".to_owned();
        }
        failed
    }
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Host(error) => error.into(),
            StepError::Checkpoint(error) => error.into(),
            error @ StepError::WrongAnswer { .. } => {
                Failed::new(tea_status::TEA_ERR_ANSWER, error.to_string())
            }
        }
    }
}

/// The status code of an error; TEA_OK for NULL.
///
/// # Safety
/// `error` is NULL or an error of the library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_error_status(error: *const tea_error) -> tea_status {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(tea_status::TEA_OK, |error| error.status)
}

/// One line that says what is wrong, where, and what would be right. Valid until the error is freed.
///
/// # Safety
/// `error` is NULL or an error of the library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_error_message(error: *const tea_error) -> tea_str {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(tea_str::EMPTY, |error| tea_str::of(&error.message))
}

/// The class of the error as Python names it (`ValueError`, `RuntimeError`, ...); for a failure of the host's
/// own function the class that the function gave. Valid until the error is freed.
///
/// # Safety
/// `error` is NULL or an error of the library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_error_class(error: *const tea_error) -> tea_str {
    // SAFETY: the caller's promise.
    unsafe { error.as_ref() }.map_or(tea_str::EMPTY, |error| tea_str::of(&error.class))
}

/// Frees an error. NULL is fine.
///
/// # Safety
/// `error` is NULL or an error of the library that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_error_free(error: *mut tea_error) {
    if !error.is_null() {
        // SAFETY: made by `Failed::report`, and the caller gives it up.
        drop(unsafe { Box::from_raw(error) });
    }
}
