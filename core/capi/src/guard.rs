//! What every exported function goes through: panics are caught, handles are borrowed by one thread at a
//! time, calls after shutdown are refused.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, TryLockError};
use std::time::Duration;

use crate::error::{Failed, tea_error};
use crate::status::tea_status::{self, *};

thread_local! {
    /// Depth of guarded calls on this thread: while above 0, a panic is ours to report.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Message and place of the last panic on this thread.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// A panic inside the library is reported by status, not on stderr; elsewhere the host's hook decides.
fn install_hook() {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if DEPTH.with(Cell::get) == 0 {
                return before(info);
            }
            let place =
                info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = text.unwrap_or("no message");
            PANIC.with(|text| *text.borrow_mut() = Some(format!("defect in libtea: {message}{place}")));
        }));
    });
}

/// Runs the body of an exported function. A panic becomes a status.
///
/// # Safety
/// `err` is NULL or points to a writable pointer.
pub(crate) unsafe fn guarded<T: From<tea_status>>(
    err: *mut *mut tea_error,
    body: impl FnOnce() -> Result<T, Failed>,
) -> T {
    install_hook();
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(body));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    let failed = match result {
        Ok(Ok(value)) => return value,
        Ok(Err(failed)) => failed,
        Err(_) => {
            let text = PANIC.with(|text| text.borrow_mut().take());
            Failed::new(TEA_ERR_PANIC, text.unwrap_or_else(|| "defect in libtea".to_owned()))
        }
    };
    // SAFETY: the caller's promise.
    unsafe { failed.report(err) }.into()
}

impl From<tea_status> for i64 {
    fn from(status: tea_status) -> Self {
        status as i64
    }
}

/// A handle that one thread at a time may use.
pub(crate) struct Exclusive<T>(Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Exclusive(Mutex::new(value))
    }

    /// The value, if nobody else has it.
    pub(crate) fn get(&self) -> Result<MutexGuard<'_, T>, Failed> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::WouldBlock) => Err(Failed::new(
                TEA_ERR_BUSY,
                "the handle is in use, by another thread or by its own callback",
            )),
            Err(TryLockError::Poisoned(_)) => {
                Err(Failed::new(TEA_ERR_POISONED, "the handle was in use when a defect of libtea showed"))
            }
        }
    }
}

/// Borrows a handle.
///
/// # Safety
/// `pointer` is NULL or a live handle of the library.
pub(crate) unsafe fn handle<'a, T>(pointer: *const T, what: &str) -> Result<&'a T, Failed> {
    // SAFETY: the caller's promise.
    unsafe { pointer.as_ref() }.ok_or_else(|| Failed::new(TEA_ERR_NULL, format!("{what} is NULL")))
}

/// Hands out a new handle. The place is checked before the handle is made, so that nothing is done in vain.
///
/// # Safety
/// `pointer` is NULL or writable.
pub(crate) unsafe fn output<T>(
    pointer: *mut *mut T,
    what: &str,
    make: impl FnOnce() -> Result<T, Failed>,
) -> Result<(), Failed> {
    if pointer.is_null() {
        return Err(Failed::new(TEA_ERR_NULL, format!("the output {what} is NULL")));
    }
    let handle = Box::into_raw(Box::new(make()?));
    // SAFETY: not NULL, and writable by the caller's promise.
    unsafe { pointer.write(handle) };
    Ok(())
}

static SHUT: AtomicBool = AtomicBool::new(false);
static CALLBACKS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Callbacks of the host that are running on this thread.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// Held while a callback of the host runs. There is none after shutdown.
pub(crate) struct Upcall(());

impl Upcall {
    pub(crate) fn begin() -> Result<Self, Failed> {
        CALLBACKS.fetch_add(1, Ordering::SeqCst);
        RUNNING.with(|running| running.set(running.get() + 1));
        let upcall = Upcall(());
        if is_shut() {
            return Err(Failed::new(TEA_ERR_SHUTDOWN, "libtea was shut down"));
        }
        Ok(upcall)
    }
}

impl Drop for Upcall {
    fn drop(&mut self) {
        RUNNING.with(|running| running.set(running.get() - 1));
        CALLBACKS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether callbacks are forbidden.
pub(crate) fn is_shut() -> bool {
    SHUT.load(Ordering::SeqCst)
}

/// Forbids callbacks and waits for those that run on other threads.
pub(crate) fn shut() {
    SHUT.store(true, Ordering::SeqCst);
    let own = RUNNING.with(Cell::get);
    while CALLBACKS.load(Ordering::SeqCst) > own {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;
    use crate::error::{tea_error_free, tea_error_message, tea_error_status};

    /// Runs a body as an exported function would; the status and the message.
    fn outcome(body: impl FnOnce() -> Result<tea_status, Failed>) -> (tea_status, String) {
        let mut error = null_mut();
        // SAFETY: `error` is writable; the error is read before it is freed, once.
        unsafe {
            let status = guarded(&raw mut error, body);
            assert_eq!(tea_error_status(error), if error.is_null() { TEA_OK } else { status });
            let message = tea_error_message(error).text("message").unwrap_or_default().to_owned();
            tea_error_free(error);
            (status, message)
        }
    }

    #[test]
    fn a_panic_becomes_a_status_with_its_place() {
        let (status, message) = outcome(|| panic!("on purpose, {}", 7));
        assert_eq!(status, TEA_ERR_PANIC);
        assert!(message.starts_with("defect in libtea: on purpose, 7 at "), "{message}");
        assert!(message.contains("guard.rs:"), "{message}");
        let (status, message) = outcome(|| std::panic::panic_any(7));
        assert_eq!(status, TEA_ERR_PANIC);
        assert!(message.starts_with("defect in libtea: no message at "), "{message}");
        // Nobody wants the error.
        // SAFETY: NULL is allowed.
        let status: i64 = unsafe { guarded(null_mut(), || panic!("again")) };
        assert_eq!(status, TEA_ERR_PANIC as i64);
        // The next call is as good as any.
        assert_eq!(outcome(|| Ok(TEA_DONE)), (TEA_DONE, String::new()));
    }

    #[test]
    fn a_panic_poisons_the_handle_in_use() {
        let (handle, other) = (Exclusive::new(1), Exclusive::new(2));
        let (status, _) = outcome(|| {
            let _value = handle.get()?;
            panic!("in use")
        });
        assert_eq!(status, TEA_ERR_PANIC);
        let (status, message) = outcome(|| handle.get().map(|_| TEA_OK));
        assert_eq!(status, TEA_ERR_POISONED);
        assert_eq!(message, "the handle was in use when a defect of libtea showed");
        assert_eq!(outcome(|| other.get().map(|_| TEA_OK)).0, TEA_OK);
    }

    #[test]
    fn a_handle_in_use_is_busy() {
        let handle = Exclusive::new(1);
        let value = handle.get().unwrap();
        assert_eq!(outcome(|| handle.get().map(|_| TEA_OK)).0, TEA_ERR_BUSY);
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(outcome(|| handle.get().map(|_| TEA_OK)).0, TEA_ERR_BUSY));
        });
        drop(value);
        assert_eq!(outcome(|| handle.get().map(|_| TEA_OK)).0, TEA_OK);
    }

    #[test]
    fn a_panic_of_the_host_is_the_hosts() {
        // Outside a guarded call the hook leaves the panic alone.
        outcome(|| Ok(TEA_OK));
        assert!(std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new("host"))).is_err());
        assert_eq!(PANIC.with(|text| text.borrow().clone()), None);
    }
}
