//! Status codes. Bands of a hundred by subject; a number is never given to another meaning.

/// Outcome of a call. Functions return it as `int32_t` (or within an `int64_t`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_status {
    /// Done.
    TEA_OK = 0,
    /// The run has ended; there is no further event.
    TEA_DONE = 1,
    /// Nothing yet.
    TEA_PENDING = 2,
    /// A pointer that must not be NULL is NULL.
    TEA_ERR_NULL = -1,
    /// Text that is not UTF-8.
    TEA_ERR_UTF8 = -2,
    /// Text that is not JSON, or JSON of another shape than expected.
    TEA_ERR_JSON = -3,
    /// Another thread is using the handle, or the handle is used from within its own callback.
    TEA_ERR_BUSY = -4,
    /// A defect of the library.
    TEA_ERR_PANIC = -5,
    /// The handle was in use when a defect showed, and refuses further use.
    TEA_ERR_POISONED = -6,
    /// An id that does not name anything.
    TEA_ERR_UNKNOWN_ID = -7,
    /// An argument with a value that is not allowed.
    TEA_ERR_ARGUMENT = -8,
    /// The answer does not fit the item before it.
    TEA_ERR_ANSWER = -9,
    /// The library was shut down.
    TEA_ERR_SHUTDOWN = -10,
    /// A building call was refused (Python: ValueError).
    TEA_ERR_BUILD = -100,
    /// The run failed (Python: RuntimeError).
    TEA_ERR_RUN = -200,
    /// The run stands on a name that is not in the graph (Python: KeyError).
    TEA_ERR_NODE = -201,
    /// A callback of the host failed.
    TEA_ERR_HOST = -202,
    /// There is no such checkpoint (Python: FileNotFoundError, KeyError).
    TEA_ERR_NOT_FOUND = -300,
    /// A checkpoint that is damaged or foreign (Python: ValueError).
    TEA_ERR_CORRUPT = -301,
    /// The operating system refused to read or write a checkpoint.
    TEA_ERR_IO = -302,
    /// The state holds what a checkpoint cannot hold (Python: TypeError).
    TEA_ERR_NOT_STORABLE = -303,
    /// A template or a condition could not be compiled or evaluated (Python: the class of the error).
    TEA_ERR_TEMPLATE = -400,
    /// An agent could not be loaded (Python: the class of the error).
    TEA_ERR_AGENT = -401,
}
