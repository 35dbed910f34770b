//! The table of a host with live objects, and the engine's view of it.

use std::ffi::c_void;
use std::sync::Arc;

use tea_core::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use tea_core::value::{Map, Value};

use crate::guard::Upcall;
use crate::text::tea_str;

/// Kind of a tea_value.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_value_tag {
    /// No value; `bits`: after `resolve`, the index of the first step that led nowhere.
    TEA_VALUE_MISSING = 0,
    /// Null.
    TEA_VALUE_NULL = 1,
    /// `bits` is 0 or 1.
    TEA_VALUE_BOOL = 2,
    /// `bits` is an int64_t.
    TEA_VALUE_INT = 3,
    /// `bits` holds the bits of a double.
    TEA_VALUE_FLOAT = 4,
    /// `ptr` and `len` are UTF-8 text.
    TEA_VALUE_TEXT = 5,
    /// `ptr` and `len` are JSON text.
    TEA_VALUE_JSON = 6,
    /// `bits` is the id of an object of the host. Handing it to the library hands over one reference, which
    /// the library gives back through `release`.
    TEA_VALUE_HOST = 7,
}

/// A small value. Text that a host returns must stay valid until its next callback on the same thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_value {
    /// A tea_value_tag.
    pub tag: u8,
    /// See the tag.
    pub bits: u64,
    /// See the tag.
    pub ptr: *const u8,
    /// See the tag.
    pub len: usize,
}

/// One step of a path: a key, or an element if `is_index` is not 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_step {
    /// The key.
    pub key: tea_str,
    /// The element; below 0 counts from the end.
    pub index: i64,
    /// Not 0: `index` counts, not `key`.
    pub is_index: u8,
}

/// A path into an object.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_path {
    /// The steps.
    pub steps: *const tea_step,
    /// How many.
    pub len: usize,
}

/// How `get` looks a key up.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_lookup {
    /// As an item only.
    TEA_LOOKUP_ITEM = 0,
    /// As an attribute only.
    TEA_LOOKUP_ATTRIBUTE = 1,
    /// As an attribute, then as an item.
    TEA_LOOKUP_ATTRIBUTE_ITEM = 2,
    /// As an item, then as an attribute.
    TEA_LOOKUP_ITEM_ATTRIBUTE = 3,
}

/// What `query` asks about an object.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_query {
    /// Number of elements.
    TEA_QUERY_LENGTH = 0,
    /// Its truth.
    TEA_QUERY_TRUTH = 1,
    /// Its text.
    TEA_QUERY_STR = 2,
    /// Its representation.
    TEA_QUERY_REPR = 3,
    /// Comparison with the argument: -1, 0 or 1.
    TEA_QUERY_COMPARE = 4,
    /// Equality with the argument.
    TEA_QUERY_EQUAL = 5,
    /// Whether the argument is in it.
    TEA_QUERY_CONTAINS = 6,
    /// The name of its type.
    TEA_QUERY_TYPE_NAME = 7,
    /// The representation of the list of its keys.
    TEA_QUERY_KEYS_REPR = 8,
}

/// The callbacks of a host whose states are live objects. All members may be NULL: a question that a host
/// cannot answer is an error of the run that asked it. They return a tea_status; below 0 is an error too: the host
/// keeps its own error object and raises it when the step that asked returns TEA_ERR_HOST. Where there is a
/// tea_value to write, the host may write the reason there, as a text such as "TypeError: no number", which
/// templates treat like an error of their own.
///
/// Callbacks run on the thread that pulls the run. `size` is sizeof(tea_host), so that the table can grow.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_host {
    /// sizeof(tea_host).
    pub size: usize,
    /// Handed back to every callback.
    pub user_data: *mut c_void,
    /// Called once when the engine no longer needs the table.
    pub destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    /// Follows `n` paths from an object; writes `n` values.
    pub resolve: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            root: u64,
            paths: *const tea_path,
            n: usize,
            out: *mut tea_value,
        ) -> i32,
    >,
    /// The value under a key; TEA_VALUE_MISSING if there is none. `how` is a tea_lookup.
    pub get: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            object: u64,
            key: *const tea_value,
            how: u32,
            out: *mut tea_value,
        ) -> i32,
    >,
    /// What iteration yields, as a JSON list.
    pub keys: Option<unsafe extern "C" fn(user_data: *mut c_void, object: u64, out: *mut tea_value) -> i32>,
    /// One question; `what` is a tea_query, `argument` may be NULL.
    pub query: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            object: u64,
            what: u32,
            argument: *const tea_value,
            out: *mut tea_value,
        ) -> i32,
    >,
    /// Calls a method; `arguments` is a JSON list.
    pub call: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            object: u64,
            method: tea_str,
            arguments: tea_str,
            out: *mut tea_value,
        ) -> i32,
    >,
    /// The object as JSON; what has no JSON form stays a reference.
    pub export_json:
        Option<unsafe extern "C" fn(user_data: *mut c_void, object: u64, out: *mut tea_value) -> i32>,
    /// A new object from JSON.
    pub import_json:
        Option<unsafe extern "C" fn(user_data: *mut c_void, json: tea_str, out: *mut u64) -> i32>,
    /// Merges a JSON map into a state.
    pub apply: Option<unsafe extern "C" fn(user_data: *mut c_void, state: u64, delta: tea_str) -> i32>,
    /// Copies an object; `deep` is 0 or 1.
    pub copy:
        Option<unsafe extern "C" fn(user_data: *mut c_void, object: u64, deep: u32, out: *mut u64) -> i32>,
    /// Whether an interrupt is set on a node: `*out` becomes 0 or 1. `after` is 0 for before the node.
    pub stops: Option<
        unsafe extern "C" fn(user_data: *mut c_void, run: u64, node: u32, after: u32, out: *mut u32) -> i32,
    >,
    /// A log record; `level` is numbered as Python's `logging` (10, 20, 30, 40).
    pub log: Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, target: tea_str, text: tea_str)>,
    /// The library's references to these objects are gone.
    pub release: Option<unsafe extern "C" fn(user_data: *mut c_void, objects: *const u64, n: usize)>,
}

/// User data with its destructor, which runs once.
pub(crate) struct Foreign {
    pub(crate) data: *mut c_void,
    pub(crate) destroy: Option<unsafe extern "C" fn(*mut c_void)>,
}

// SAFETY: the header says that a callback and its data may be used by whatever thread drives a run.
unsafe impl Send for Foreign {}
// SAFETY: as above; the library itself never looks into the data.
unsafe impl Sync for Foreign {}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let (Some(destroy), Ok(_upcall)) = (self.destroy, Upcall::begin()) {
            // SAFETY: registered together with the data; this runs once.
            unsafe { destroy(self.data) };
        }
    }
}

/// The engine's view of a host.
pub(crate) struct TableHost {
    table: tea_host,
    foreign: Foreign,
    references: Arc<References>,
}

// SAFETY: function pointers are plain addresses; for the data see `Foreign`.
unsafe impl Send for TableHost {}
// SAFETY: as above.
unsafe impl Sync for TableHost {}

fn value_out() -> tea_value {
    tea_value { tag: tea_value_tag::TEA_VALUE_MISSING as u8, bits: 0, ptr: std::ptr::null(), len: 0 }
}

/// A value on its way to the host, with the text that it borrows.
struct Lent {
    value: tea_value,
    _text: Option<String>,
}

fn lend(value: &Value) -> Lent {
    use tea_value_tag::*;
    let plain = |tag: tea_value_tag, bits: u64| tea_value { tag: tag as u8, bits, ..value_out() };
    let value = match value {
        Value::Null => plain(TEA_VALUE_NULL, 0),
        Value::Bool(flag) => plain(TEA_VALUE_BOOL, u64::from(*flag)),
        Value::Int(number) => plain(TEA_VALUE_INT, number.cast_unsigned()),
        Value::Float(float) => plain(TEA_VALUE_FLOAT, float.to_bits()),
        Value::Host(object) => plain(TEA_VALUE_HOST, object.id()),
        Value::Str(text) => {
            return Lent {
                value: tea_value { ptr: text.as_ptr(), len: text.len(), ..plain(TEA_VALUE_TEXT, 0) },
                _text: None,
            };
        }
        other => {
            let json = other.to_json();
            let value = tea_value { ptr: json.as_ptr(), len: json.len(), ..plain(TEA_VALUE_JSON, 0) };
            return Lent { value, _text: Some(json) };
        }
    };
    Lent { value, _text: None }
}

fn failed(what: &str) -> HostError {
    HostError { message: format!("the host failed to answer: {what}") }
}

impl TableHost {
    /// Takes over the table and its data.
    pub(crate) fn new(table: tea_host, foreign: Foreign, references: Arc<References>) -> Self {
        TableHost { table, foreign, references }
    }

    fn upcall(&self) -> Result<(Upcall, *mut c_void), HostError> {
        let upcall = Upcall::begin().map_err(|failed| HostError { message: failed.message })?;
        Ok((upcall, self.foreign.data))
    }

    /// Reads what a callback wrote; `None` for nothing.
    fn read(&self, value: &tea_value, what: &str) -> Result<Option<Value>, HostError> {
        let text = tea_str { ptr: value.ptr, len: value.len };
        let bad = |message: String| HostError { message };
        Ok(Some(match value.tag {
            tag if tag == tea_value_tag::TEA_VALUE_MISSING as u8 => return Ok(None),
            tag if tag == tea_value_tag::TEA_VALUE_NULL as u8 => Value::Null,
            tag if tag == tea_value_tag::TEA_VALUE_BOOL as u8 => Value::Bool(value.bits != 0),
            tag if tag == tea_value_tag::TEA_VALUE_INT as u8 => Value::Int(value.bits.cast_signed()),
            tag if tag == tea_value_tag::TEA_VALUE_FLOAT as u8 => Value::Float(f64::from_bits(value.bits)),
            tag if tag == tea_value_tag::TEA_VALUE_HOST as u8 && value.bits != 0 => {
                Value::Host(HostRef::new(value.bits, &self.references))
            }
            tag if tag == tea_value_tag::TEA_VALUE_TEXT as u8 => {
                // SAFETY: the host keeps returned text valid until its next callback on this thread.
                let text = unsafe { text.text("text of the host") };
                Value::from(text.map_err(|failed| bad(failed.message))?)
            }
            tag if tag == tea_value_tag::TEA_VALUE_JSON as u8 => {
                // SAFETY: as above.
                let json = unsafe { text.bytes("JSON of the host") }.map_err(|failed| bad(failed.message))?;
                Value::from_json_with(json, &self.references).map_err(|error| bad(error.message))?
            }
            tag => return Err(bad(format!("the host answered {what} with an unknown tag {tag}"))),
        }))
    }

    fn expect(&self, value: &tea_value, what: &str) -> Result<Value, HostError> {
        self.read(value, what)?.ok_or_else(|| failed(what))
    }

    /// Whether [`TableHost::release`] has something to tell.
    pub(crate) fn has_released(&self) -> bool {
        self.references.is_waiting()
    }

    /// Tells the host which references are gone. Called at a step, so on a thread of the host.
    pub(crate) fn release(&self) {
        let ids = self.references.drain();
        if ids.is_empty() {
            return;
        }
        if let (Some(release), Ok((_upcall, data))) = (self.table.release, self.upcall()) {
            // SAFETY: the host's own function with its data; the ids are alive for the call.
            unsafe { release(data, ids.as_ptr(), ids.len()) };
        }
    }
}

fn check(status: i32, what: &str) -> Result<(), HostError> {
    if status < 0 { Err(failed(what)) } else { Ok(()) }
}

/// As [`check`], where the host may have written its reason.
fn check_out(status: i32, out: &tea_value, what: &str) -> Result<(), HostError> {
    if status >= 0 {
        return Ok(());
    }
    if out.tag != tea_value_tag::TEA_VALUE_TEXT as u8 {
        return Err(failed(what));
    }
    // SAFETY: the host keeps returned text valid until its next callback on this thread.
    let reason = unsafe { tea_str { ptr: out.ptr, len: out.len }.text("reason of the host") };
    Err(reason.map_or_else(|_| failed(what), |reason| HostError { message: reason.to_owned() }))
}

impl Host for TableHost {
    fn resolve(&self, root: u64, paths: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError> {
        let resolve = self.table.resolve.ok_or_else(|| failed("resolve"))?;
        let (_upcall, data) = self.upcall()?;
        let steps: Vec<Vec<tea_step>> = paths
            .iter()
            .map(|path| {
                let step = |step: &PathStep| match step {
                    PathStep::Key(key) => tea_step { key: tea_str::of(key), index: 0, is_index: 0 },
                    PathStep::Index(index) => tea_step { key: tea_str::EMPTY, index: *index, is_index: 1 },
                };
                path.iter().map(step).collect()
            })
            .collect();
        let lent: Vec<tea_path> =
            steps.iter().map(|steps| tea_path { steps: steps.as_ptr(), len: steps.len() }).collect();
        let mut out = vec![value_out(); paths.len()];
        // SAFETY: the host's own function with its data; all arrays are alive for the call and of length n.
        let status = unsafe { resolve(data, root, lent.as_ptr(), lent.len(), out.as_mut_ptr()) };
        check_out(status, out.first().unwrap_or(&value_out()), "resolve")?;
        out.iter()
            .map(|value| {
                Ok(match self.read(value, "resolve")? {
                    Some(found) => Resolved::Found(found),
                    None => Resolved::Missing { depth: usize::try_from(value.bits).unwrap_or(usize::MAX) },
                })
            })
            .collect()
    }

    fn get(&self, object: u64, key: &Value, how: Lookup) -> Result<Option<Value>, HostError> {
        let get = self.table.get.ok_or_else(|| failed("get"))?;
        let (_upcall, data) = self.upcall()?;
        let how = match how {
            Lookup::Item => tea_lookup::TEA_LOOKUP_ITEM,
            Lookup::Attribute => tea_lookup::TEA_LOOKUP_ATTRIBUTE,
            Lookup::AttributeThenItem => tea_lookup::TEA_LOOKUP_ATTRIBUTE_ITEM,
            Lookup::ItemThenAttribute => tea_lookup::TEA_LOOKUP_ITEM_ATTRIBUTE,
        };
        let (key, mut out) = (lend(key), value_out());
        // SAFETY: the host's own function with its data; the pointers are alive for the call.
        let status = unsafe { get(data, object, &raw const key.value, how as u32, &raw mut out) };
        check_out(status, &out, "get")?;
        self.read(&out, "get")
    }

    fn keys(&self, object: u64) -> Result<Vec<Value>, HostError> {
        let keys = self.table.keys.ok_or_else(|| failed("keys"))?;
        let (_upcall, data) = self.upcall()?;
        let mut out = value_out();
        // SAFETY: the host's own function with its data; the pointer is alive for the call.
        let status = unsafe { keys(data, object, &raw mut out) };
        check_out(status, &out, "keys")?;
        match self.expect(&out, "keys")? {
            Value::List(items) => Ok(items.to_vec()),
            _ => Err(failed("keys: a list is expected")),
        }
    }

    fn query(&self, object: u64, what: Query, argument: Option<&Value>) -> Result<Value, HostError> {
        let query = self.table.query.ok_or_else(|| failed("query"))?;
        let (_upcall, data) = self.upcall()?;
        let what = match what {
            Query::Length => tea_query::TEA_QUERY_LENGTH,
            Query::Truth => tea_query::TEA_QUERY_TRUTH,
            Query::Str => tea_query::TEA_QUERY_STR,
            Query::Repr => tea_query::TEA_QUERY_REPR,
            Query::Compare => tea_query::TEA_QUERY_COMPARE,
            Query::Equal => tea_query::TEA_QUERY_EQUAL,
            Query::Contains => tea_query::TEA_QUERY_CONTAINS,
            Query::TypeName => tea_query::TEA_QUERY_TYPE_NAME,
            Query::KeysRepr => tea_query::TEA_QUERY_KEYS_REPR,
        };
        let argument = argument.map(lend);
        let pointer = argument.as_ref().map_or(std::ptr::null(), |lent| &raw const lent.value);
        let mut out = value_out();
        // SAFETY: the host's own function with its data; the pointers are alive for the call.
        let status = unsafe { query(data, object, what as u32, pointer, &raw mut out) };
        check_out(status, &out, "query")?;
        self.expect(&out, "query")
    }

    fn call(&self, object: u64, method: &str, arguments: &[Value]) -> Result<Value, HostError> {
        let call = self.table.call.ok_or_else(|| failed("call"))?;
        let (_upcall, data) = self.upcall()?;
        let arguments = Value::list(arguments.to_vec()).to_json();
        let mut out = value_out();
        let (method, arguments) = (tea_str::of(method), tea_str::of(&arguments));
        // SAFETY: the host's own function with its data; the texts are alive for the call.
        let status = unsafe { call(data, object, method, arguments, &raw mut out) };
        check_out(status, &out, "call")?;
        self.expect(&out, "call")
    }

    fn export(&self, object: u64) -> Result<Value, HostError> {
        let export = self.table.export_json.ok_or_else(|| failed("export_json"))?;
        let (_upcall, data) = self.upcall()?;
        let mut out = value_out();
        // SAFETY: the host's own function with its data; the pointer is alive for the call.
        check_out(unsafe { export(data, object, &raw mut out) }, &out, "export_json")?;
        self.expect(&out, "export_json")
    }

    fn import(&self, value: &Value) -> Result<HostRef, HostError> {
        let import = self.table.import_json.ok_or_else(|| failed("import_json"))?;
        let (_upcall, data) = self.upcall()?;
        let json = value.to_json();
        let mut out = 0;
        // SAFETY: the host's own function with its data; text and pointer are alive for the call.
        check(unsafe { import(data, tea_str::of(&json), &raw mut out) }, "import_json")?;
        self.object(out, "import_json")
    }

    fn apply(&self, state: u64, delta: &Map) -> Result<(), HostError> {
        let apply = self.table.apply.ok_or_else(|| failed("apply"))?;
        let (_upcall, data) = self.upcall()?;
        let json = Value::map(delta.clone()).to_json();
        // SAFETY: the host's own function with its data; the text is alive for the call.
        check(unsafe { apply(data, state, tea_str::of(&json)) }, "apply")
    }

    fn copy(&self, object: u64, depth: CopyDepth) -> Result<HostRef, HostError> {
        let copy = self.table.copy.ok_or_else(|| failed("copy"))?;
        let (_upcall, data) = self.upcall()?;
        let mut out = 0;
        let deep = u32::from(depth == CopyDepth::Deep);
        // SAFETY: the host's own function with its data; the pointer is alive for the call.
        check(unsafe { copy(data, object, deep, &raw mut out) }, "copy")?;
        self.object(out, "copy")
    }

    fn stops(&self, run: u64, node: u32, when: When) -> Result<bool, HostError> {
        let Some(stops) = self.table.stops else { return Ok(false) };
        let (_upcall, data) = self.upcall()?;
        let mut out = 0;
        // SAFETY: the host's own function with its data; the pointer is alive for the call.
        check(unsafe { stops(data, run, node, u32::from(when == When::After), &raw mut out) }, "stops")?;
        Ok(out != 0)
    }

    fn log(&self, level: LogLevel, target: &str, text: &str) {
        if let (Some(log), Ok((_upcall, data))) = (self.table.log, self.upcall()) {
            // SAFETY: the host's own function with its data; the texts are alive for the call.
            unsafe { log(data, level as i32, tea_str::of(target), tea_str::of(text)) };
        }
    }

    fn references(&self) -> &Arc<References> {
        &self.references
    }
}

impl TableHost {
    fn object(&self, id: u64, what: &str) -> Result<HostRef, HostError> {
        if id == 0 { Err(failed(what)) } else { Ok(HostRef::new(id, &self.references)) }
    }
}
