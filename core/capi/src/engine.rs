//! The engine: what graphs share. Nothing is global to the process, so that two copies of the library, or two
//! users of one, do not meet.

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::{Arc, Mutex, PoisonError};

use tea_core::checkpoint::MemoryStore;
use tea_core::host::References;

use crate::agent::Compiled;
use crate::call::{Function, tea_function};
use crate::error::{Failed, tea_error};
use crate::guard::{guarded, handle, output};
use crate::host::{Foreign, TableHost, tea_host};
use crate::status::tea_status::{self, *};
use crate::text::tea_str;

/// An engine. Shared by its graphs; usable by several threads at once.
///
///     tea_engine_new ─▶ tea_engine_set_host (hosts with live objects)
///                    ─▶ tea_engine_register_action …
///                    ─▶ tea_graph_new …
///                    ─▶ tea_engine_free
#[allow(non_camel_case_types)]
pub struct tea_engine(pub(crate) Arc<Shared>);

/// What graphs keep alive of their engine.
pub(crate) struct Shared {
    pub(crate) host: Mutex<Option<Arc<TableHost>>>,
    pub(crate) references: Arc<References>,
    /// Checkpoints of all graphs that were compiled with `"checkpointer": "memory"`.
    pub(crate) memory: Arc<MemoryStore>,
    /// Templates and conditions that a host had rendered or evaluated by themselves.
    pub(crate) compiled: Compiled,
    actions: Mutex<HashMap<String, Arc<Function>>>,
}

impl Shared {
    pub(crate) fn table_host(&self) -> Option<Arc<TableHost>> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn action(&self, name: &str) -> Option<Arc<Function>> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Makes an engine.
///
/// # Safety
/// `out` is writable; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_engine_new(out: *mut *mut tea_engine, err: *mut *mut tea_error) -> tea_status {
    let body = || {
        let shared = Shared {
            host: Mutex::default(),
            references: Arc::default(),
            memory: Arc::default(),
            compiled: Compiled::default(),
            actions: Mutex::default(),
        };
        // SAFETY: the caller's promise.
        unsafe { output(out, "engine", || Ok(tea_engine(Arc::new(shared)))) }?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Frees an engine. Its graphs and runs go on working. NULL is fine.
///
/// # Safety
/// `engine` is NULL or an engine that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_engine_free(engine: *mut tea_engine) {
    if !engine.is_null() {
        // SAFETY: made by `tea_engine_new`, and the caller gives it up.
        drop(unsafe { Box::from_raw(engine) });
    }
}

/// Registers the callbacks of a host with live objects; they count for runs that start afterwards. The table is
/// copied; its `destroy` is called when the engine and its last run are gone, and also when this call fails.
///
/// # Safety
/// `engine` is a live engine, `host` points to a table of at least `host->size` bytes, `err` is NULL or
/// writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_engine_set_host(
    engine: *const tea_engine,
    host: *const tea_host,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        if host.is_null() {
            return Err(Failed::new(TEA_ERR_NULL, "host is NULL"));
        }
        // SAFETY: not NULL, and every table begins with its size.
        let size = unsafe { (&raw const (*host).size).read() };
        let wrong = || {
            let message = format!("host.size is {size}, {} is expected", size_of::<tea_host>());
            Failed::new(TEA_ERR_ARGUMENT, message)
        };
        // Of a table of another version, only what is sure to be there is read.
        if size < offset_of!(tea_host, resolve) {
            return Err(wrong());
        }
        // SAFETY: the table is that long.
        let foreign = unsafe {
            Foreign {
                data: (&raw const (*host).user_data).read(),
                destroy: (&raw const (*host).destroy).read(),
            }
        };
        // SAFETY: the caller's promise.
        let engine = unsafe { handle(engine, "engine") }?;
        if size != size_of::<tea_host>() {
            return Err(wrong());
        }
        // SAFETY: the table is that long.
        let table = unsafe { host.read() };
        let host = Arc::new(TableHost::new(table, foreign, Arc::clone(&engine.0.references)));
        let before = engine.0.host.lock().unwrap_or_else(PoisonError::into_inner).replace(host);
        drop(before);
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Registers a function under a name, for nodes that are added by that name
/// (tea_graph_add_action_node). A name can be registered again; nodes keep the function they were added with.
///
/// # Safety
/// `engine` is a live engine, `name` valid text, `function` callable with `user_data` until `destroy` is
/// called; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_engine_register_action(
    engine: *const tea_engine,
    name: tea_str,
    function: tea_function,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut tea_error,
) -> tea_status {
    let foreign = Foreign { data: user_data, destroy };
    let body = || {
        let function = Function::new(function, foreign)?;
        // SAFETY: the caller's promise.
        let (engine, name) = unsafe { (handle(engine, "engine")?, name.text("name")?) };
        let mut actions = engine.0.actions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = actions.insert(name.to_owned(), function);
        drop(actions);
        drop(before);
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}
