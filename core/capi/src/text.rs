//! Text and bytes across the boundary.

use std::ptr;

use crate::error::Failed;
use crate::status::tea_status::{TEA_ERR_NULL, TEA_ERR_UTF8};

/// Borrowed UTF-8 text: pointer and length in bytes. Not terminated by a NUL; may hold one.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_str {
    /// First byte; may be NULL if `len` is 0.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

impl tea_str {
    /// The empty text.
    pub(crate) const EMPTY: tea_str = tea_str { ptr: ptr::null(), len: 0 };

    /// Borrows a text for as long as the library keeps it.
    pub(crate) fn of(text: &str) -> Self {
        tea_str { ptr: text.as_ptr(), len: text.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` must point to `len` readable bytes that nobody changes during `'a`.
    pub(crate) unsafe fn bytes<'a>(self, what: &str) -> Result<&'a [u8], Failed> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.ptr.is_null() {
            return Err(Failed::new(TEA_ERR_NULL, format!("{what} is NULL")));
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }

    /// The text.
    ///
    /// # Safety
    /// As for [`tea_str::bytes`].
    pub(crate) unsafe fn text<'a>(self, what: &str) -> Result<&'a str, Failed> {
        // SAFETY: the caller's promise.
        let bytes = unsafe { self.bytes(what) }?;
        std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            Failed::new(TEA_ERR_UTF8, format!("{what} is not UTF-8: invalid byte at offset {at}"))
        })
    }
}

/// Text that the library hands out. Free it with tea_buffer_free; it is then empty and may be freed again.
/// Start with an empty one: `tea_buffer text = {0};`. What it held before a call is freed by the call.
#[repr(C)]
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct tea_buffer {
    /// First byte; NULL if the buffer is empty. A NUL byte follows the text, for convenience.
    pub ptr: *mut u8,
    /// Length in bytes, without the NUL.
    pub len: usize,
    /// Size of the allocation; the library's own.
    pub cap: usize,
}

impl tea_buffer {
    fn take(&mut self) -> String {
        let (pointer, len, cap) = (self.ptr, self.len, self.cap);
        *self = tea_buffer { ptr: ptr::null_mut(), len: 0, cap: 0 };
        if pointer.is_null() {
            return String::new();
        }
        // SAFETY: the three fields were made by `put` from a String that held `len + 1` bytes of UTF-8, and
        // have just been taken out of the struct, so that they are used once.
        unsafe { String::from_raw_parts(pointer, len + 1, cap) }
    }

    /// Refuses NULL, for calls that do something before they fill the buffer.
    pub(crate) fn check(buffer: *const tea_buffer) -> Result<(), Failed> {
        if buffer.is_null() { Err(Failed::new(TEA_ERR_NULL, "the buffer is NULL")) } else { Ok(()) }
    }

    /// Puts a text into a caller's buffer.
    ///
    /// # Safety
    /// `buffer` is NULL or points to a `tea_buffer` that is empty or was filled by the library.
    pub(crate) unsafe fn put(buffer: *mut tea_buffer, mut text: String) -> Result<(), Failed> {
        // SAFETY: the caller's promise.
        let Some(buffer) = (unsafe { buffer.as_mut() }) else {
            return Err(Failed::new(TEA_ERR_NULL, "the buffer is NULL".to_owned()));
        };
        drop(buffer.take());
        text.push('\0');
        let mut text = std::mem::ManuallyDrop::new(text);
        *buffer = tea_buffer { ptr: text.as_mut_ptr(), len: text.len() - 1, cap: text.capacity() };
        Ok(())
    }
}

/// Frees the text of a buffer, which is then empty. NULL and empty buffers are fine.
///
/// # Safety
/// `buffer` is NULL or points to a buffer that is empty or was filled by the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_buffer_free(buffer: *mut tea_buffer) {
    // SAFETY: the caller's promise.
    if let Some(buffer) = unsafe { buffer.as_mut() } {
        drop(buffer.take());
    }
}
