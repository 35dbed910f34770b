//! Version and shutdown.

use std::ffi::c_char;

use crate::guard::{self, guarded};
use crate::status::tea_status;

/// The version of the ABI that this header describes. It grows when functions or keys are added; a change that
/// breaks callers does not happen without a new soname.
pub const TEA_ABI_VERSION: u32 = 1;

/// The version of the ABI that the library has. A caller checks it once: it must be at least the
/// TEA_ABI_VERSION of the header that the caller was compiled with.
#[unsafe(no_mangle)]
pub extern "C" fn tea_abi_version() -> u32 {
    TEA_ABI_VERSION
}

/// The version of the library, such as "1.0.0": a static text that ends with a NUL and is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn tea_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Ends all calls into the host: when this returns, no callback is running on another thread, and none will be
/// called again, `destroy` functions included. Functions that would need one return TEA_ERR_SHUTDOWN; freeing
/// handles stays allowed. A host whose language is about to end calls this first (Python: `atexit`). It waits
/// for callbacks that run on other threads. Calling it twice is fine.
#[unsafe(no_mangle)]
pub extern "C" fn tea_shutdown() -> tea_status {
    // SAFETY: no error object is asked for.
    unsafe {
        guarded(std::ptr::null_mut(), || {
            guard::shut();
            Ok(tea_status::TEA_OK)
        })
    }
}
