//! The runtime: one Lua state with its limits.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use mlua::chunk::ChunkMode;
use mlua::{
    AnyUserData, Error, Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value as LuaValue,
};

use super::chunk::Chunk;
use super::error::{ErrorKind, LuaError, from_lua, not_utf8, raise};
use super::export::{Exporter, Floats};
use super::import::{
    Data, Importer, Objects, Source, Tables, located, make_ordinary, tables, without_own_place,
};
use super::limit::{Guard, Limits, OWN_CHUNK};
use super::pattern::{self, Length};
use crate::host::Host;
use crate::state::State;
use crate::value::{Map, Value};

/// Compiled chunks and chunks by text that a runtime keeps before it starts anew.
const MOST_CHUNKS: usize = 1024;

/// A state of at most this many entries is copied rather than searched for in Lua's memory,
const CHEAP_COPY: usize = 256;

/// and so is one that is small beside that memory: bytes to search through instead of copying an entry.
const SEARCHED: usize = 512;

/// Where a line of output comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `print`.
    Print,
    /// `warn`.
    Warn,
}

/// Takes a line of output, without its line feed.
pub type Output = Arc<dyn Fn(Channel, &str) + Send + Sync>;

/// How a runtime is made.
#[derive(Clone, Default)]
pub struct Options {
    /// The limits of each call.
    pub limits: Limits,
    /// Set by another thread to stop the code that runs, and all later code.
    pub cancel: Arc<AtomicBool>,
    /// Where `print` and `warn` go. Without it: to the process's stderr, never to its stdout.
    pub output: Option<Output>,
    /// Seed of `math.random`; random without it (`LU-52`).
    pub seed: Option<i64>,
    /// What floats with an integral value become in results.
    pub floats: Floats,
    /// What objects of the host are in Lua, other than maps and lists.
    pub objects: Objects,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("limits", &self.limits)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The values that code sees under its local names. Owns references only; give it away before the state is
/// written to, or the writer has to copy the state.
#[derive(Clone, Default)]
pub struct Scope {
    names: Vec<(&'static str, Value)>,
    host: Option<Arc<dyn Host>>,
}

impl Scope {
    /// A scope without names.
    pub fn new() -> Self {
        Scope::default()
    }

    /// The name `state` for the state of a flow. A live state of the host is read as the code reads it.
    pub fn of(state: &State) -> Self {
        let host = match state {
            State::Core(_) => None,
            State::Host { host, .. } => Some(Arc::clone(host)),
        };
        Scope { names: vec![("state", state.value())], host }
    }

    /// Adds a name, for chunks that ask for it ([`Chunk::function`]).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.names.push((name, value));
        self
    }

    /// The host whose objects the values are or hold.
    #[must_use]
    pub fn host(mut self, host: Arc<dyn Host>) -> Self {
        self.host = Some(host);
        self
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.names.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Scope {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names.iter().map(|(name, _)| name)).finish()
    }
}

/// A sandboxed Lua 5.4. Globals live as long as it does (`LU-10`), so a run and each of its branches has one of
/// its own. It may move to another thread between two calls, but never serves two threads: calls need `&mut`,
/// and it is not `Sync`.
pub struct Runtime {
    lua: Lua,
    options: Options,
    guard: Arc<Guard>,
    tables: Tables,
    run: Function,
    seen: Arc<Seen>,
    functions: HashMap<u64, Function>,
    scripts: HashMap<(String, bool), Chunk>,
    _one_thread: PhantomData<Cell<()>>,
}

/// What the functions inside of Lua tell the runtime.
#[derive(Default)]
struct Seen {
    /// The code made globals, which may hold what it was given.
    kept: AtomicBool,
    /// An error was raised that is not a lack of memory.
    error: AtomicBool,
    traceback: Mutex<Option<String>>,
}

impl Runtime {
    /// A new state. Fails only if its memory limit does not hold the libraries.
    pub fn new(options: Options) -> Result<Self, LuaError> {
        Runtime::build(options).map_err(|error| from_lua(&error))
    }

    fn build(options: Options) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH | StdLib::UTF8 | StdLib::COROUTINE;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let guard = Arc::new(Guard::new(Arc::clone(&options.cancel)));
        let seen = Arc::new(Seen::default());
        if let Some(limit) = options.limits.memory {
            lua.set_memory_limit(limit.max(1))?;
        }
        let next: Function = lua.globals().raw_get("next")?;
        let tables = tables(&lua, options.objects, next)?;
        lua.set_app_data(tables.clone());
        let host = own_functions(&lua, &guard, &seen, &tables, options.output.clone())?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name(format!("={OWN_CHUNK}"));
        sandbox.call::<()>(&host)?;
        // Lua's own seed is the time in seconds and an address, which the next runtime may have too.
        let seed = options.seed.unwrap_or_else(|| RandomState::new().build_hasher().finish().cast_signed());
        let math: Table = lua.globals().raw_get("math")?;
        math.raw_get::<Function>("randomseed")?.call::<()>(seed)?;
        guard.install(&lua)?;
        Ok(Runtime {
            run: host.raw_get("run")?,
            lua,
            options,
            guard,
            tables,
            seen,
            functions: HashMap::new(),
            scripts: HashMap::new(),
            _one_thread: PhantomData,
        })
    }

    /// How it was made.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes the limits of time and instructions of later calls; the memory limit stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.options.limits = Limits { memory: self.options.limits.memory, ..limits };
    }

    /// Bytes that the state uses now.
    pub fn used_memory(&self) -> usize {
        self.lua.used_memory()
    }

    /// Compiles a chunk, if that was not done yet. Running it does this too.
    pub fn compile(&mut self, chunk: &Chunk) -> Result<(), LuaError> {
        self.function(chunk).map(drop)
    }

    /// Runs a node's code and gives its update: always a map. No result is an empty one, a result that is no map
    /// is under `result` (`LU-7`).
    pub fn run_node(&mut self, chunk: &Chunk, scope: Scope) -> Result<Value, LuaError> {
        let result = match self.call(chunk, scope)? {
            Value::Null => return Ok(Value::map(Map::new())),
            Value::Map(map) => return Ok(Value::Map(map)),
            other => other,
        };
        Ok(crate::map! { "result" => result })
    }

    /// Evaluates a condition: a text, `true` or `false` as a text, or nothing for nil (`LU-6`).
    pub fn eval_condition(&mut self, chunk: &Chunk, scope: Scope) -> Result<Option<Arc<str>>, LuaError> {
        self.start(chunk, scope, |_, results| {
            let kind = match results.as_slice() {
                [] | [LuaValue::Nil] => return Ok(None),
                [LuaValue::Boolean(flag)] => return Ok(Some(if *flag { "true" } else { "false" }.into())),
                [LuaValue::String(text)] => {
                    let bytes = text.as_bytes();
                    return match std::str::from_utf8(&bytes) {
                        Ok(text) => Ok(Some(text.into())),
                        Err(error) => raise(ErrorKind::Convert, not_utf8(&bytes, error)),
                    };
                }
                [LuaValue::Integer(_)] => "int",
                [LuaValue::Number(_)] => "float",
                [LuaValue::Table(_)] => "_LuaTable",
                [LuaValue::Function(_)] => "function",
                [_] => "userdata",
                _ => "tuple",
            };
            let message = format!("Condition must return string, boolean, or nil, got: {kind}");
            raise(ErrorKind::Convert, message)
        })
    }

    /// Runs a chunk; gives its result, a tuple if there are several, null if there is none.
    pub fn call(&mut self, chunk: &Chunk, scope: Scope) -> Result<Value, LuaError> {
        let (floats, memory) = (self.options.floats, self.options.limits.memory);
        self.start(chunk, scope, |this, results| {
            let mut exporter = Exporter::new(&this.lua, &this.tables, floats, memory);
            match results.as_slice() {
                [] => Ok(Value::Null),
                [one] => exporter.value(one),
                several => {
                    let items: mlua::Result<Vec<Value>> =
                        several.iter().map(|value| exporter.value(value)).collect();
                    Ok(Value::Tuple(Arc::new(items?)))
                }
            }
        })
    }

    /// Runs code that sees the state as the *global* `state`, which stays (`LU-5`).
    pub fn execute(&mut self, code: &str, scope: Scope) -> Result<Value, LuaError> {
        let chunk = self.script(code, false);
        self.set_state(&scope)?;
        self.call(&chunk, scope)
    }

    /// Evaluates an expression over the *global* `state`, as [`Runtime::execute`] does.
    pub fn execute_condition(&mut self, code: &str, scope: Scope) -> Result<Option<Arc<str>>, LuaError> {
        let chunk = self.script(code, true);
        self.set_state(&scope)?;
        self.eval_condition(&chunk, scope)
    }

    /// Sets a global for the code to come.
    pub fn set_global(
        &mut self,
        name: &str,
        value: &Value,
        host: Option<&Arc<dyn Host>>,
    ) -> Result<(), LuaError> {
        let importer = Importer { lua: &self.lua, tables: &self.tables, host };
        let set = importer.value(value).and_then(|value| self.lua.globals().raw_set(name, value));
        set.map_err(|error| from_lua(&error))
    }

    fn set_state(&mut self, scope: &Scope) -> Result<(), LuaError> {
        let state = scope.get("state").unwrap_or(&Value::Null);
        self.set_global("state", state, scope.host.as_ref())
    }

    fn script(&mut self, code: &str, condition: bool) -> Chunk {
        let key = (code.to_owned(), condition);
        if let Some(chunk) = self.scripts.get(&key) {
            return chunk.clone();
        }
        if self.scripts.len() >= MOST_CHUNKS {
            self.scripts.clear();
        }
        let chunk = if condition { Chunk::script_condition(code) } else { Chunk::script(code) };
        self.scripts.insert(key, chunk.clone());
        chunk
    }

    fn function(&mut self, chunk: &Chunk) -> Result<Function, LuaError> {
        if let Some(function) = self.functions.get(&chunk.id()) {
            return Ok(function.clone());
        }
        if self.functions.len() >= MOST_CHUNKS {
            self.functions.clear();
        }
        let code = self.lua.load(chunk.text()).set_name(chunk.name()).set_mode(ChunkMode::Text);
        let function = code.into_function().map_err(|error| from_lua(&error))?;
        self.functions.insert(chunk.id(), function.clone());
        Ok(function)
    }

    /// Runs a chunk and lets `convert` look at its results.
    fn start<T>(
        &mut self,
        chunk: &Chunk,
        scope: Scope,
        convert: impl FnOnce(&Self, &mut Results) -> mlua::Result<T>,
    ) -> Result<T, LuaError> {
        let function = self.function(chunk)?;
        let mut roots = Roots::default();
        let outcome = self.run(function, chunk, scope, &mut roots);
        let outcome = match outcome {
            Ok(Outcome::Results(mut results)) => {
                convert(self, &mut results).map_err(|error| from_lua(&error))
            }
            Ok(Outcome::Raised(error)) => Err(self.raised(error)),
            Err(error) => Err(from_lua(&error)),
        };
        let released = self.release(roots);
        if let Some(stop) = self.guard.stopped() {
            let mut error = LuaError::new(stop.kind(), stop.text());
            error.line = self.guard.line();
            return Err(error);
        }
        let value = outcome?;
        released.map_err(|error| from_lua(&error))?;
        Ok(value)
    }

    fn run(
        &self,
        function: Function,
        chunk: &Chunk,
        scope: Scope,
        roots: &mut Roots,
    ) -> mlua::Result<Outcome> {
        let importer = Importer { lua: &self.lua, tables: &self.tables, host: scope.host.as_ref() };
        let mut arguments = MultiValue::new();
        for name in chunk.names() {
            arguments.push_back(match scope.get(name) {
                None => LuaValue::Nil,
                Some(Value::Map(map)) => {
                    let (table, source) = importer.root(map)?;
                    roots.largest = roots.largest.max(map.len());
                    roots.sources.push(source);
                    LuaValue::Table(table)
                }
                Some(Value::Host(object)) if *name == "state" => importer.host_root(object)?,
                Some(value) => importer.value(value)?,
            });
        }
        drop(scope);
        arguments.push_front(LuaValue::Function(function));
        self.seen.error.store(false, Relaxed);
        self.guard.arm(&self.lua, &self.options.limits)?;
        let mut results: MultiValue = self.run.call(arguments)?;
        Ok(match results.pop_front() {
            Some(LuaValue::Boolean(true)) => Outcome::Results(Results(results)),
            _ => Outcome::Raised(results.pop_front().unwrap_or_default()),
        })
    }

    /// Takes the state back that the code was given, so that the engine can write to it without copying it. Code
    /// that has made globals may have kept it: what it did keep stays valid.
    fn release(&self, roots: Roots) -> mlua::Result<()> {
        if self.seen.kept.load(Relaxed) {
            let large = roots.largest > CHEAP_COPY && self.lua.used_memory() / SEARCHED <= roots.largest;
            drop(roots);
            return if large { self.lua.gc_collect() } else { Ok(()) };
        }
        for source in roots.sources {
            source.borrow_mut::<Source>()?.data = Data::Gone;
        }
        Ok(())
    }

    /// An error object that the code raised.
    fn raised(&self, object: LuaValue) -> LuaError {
        let traceback = self.seen.traceback.lock().unwrap_or_else(PoisonError::into_inner).take();
        if !self.seen.error.load(Relaxed)
            && object.as_string().is_some_and(|text| text == "not enough memory")
        {
            return from_lua(&Error::MemoryError(String::new()));
        }
        let mut error = match &object {
            LuaValue::Error(error) => from_lua(error),
            LuaValue::Nil => LuaError::new(ErrorKind::Runtime, "<no error object>"),
            LuaValue::String(text) => LuaError::new(ErrorKind::Runtime, text.to_string_lossy()),
            other => {
                // `__tostring` is code, so the limits hold for it too.
                let shown = other.to_string().unwrap_or_else(|error| from_lua(&error).message);
                LuaError::new(ErrorKind::Runtime, shown)
            }
        };
        error.traceback = error.traceback.or(traceback);
        error
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("options", &self.options).finish_non_exhaustive()
    }
}

enum Outcome {
    Results(Results),
    Raised(LuaValue),
}

struct Results(MultiValue);

impl Results {
    fn as_slice(&mut self) -> &[LuaValue] {
        self.0.make_contiguous()
    }
}

/// The states that a call lent to Lua.
#[derive(Default)]
struct Roots {
    sources: Vec<AnyUserData>,
    largest: usize,
}

/// Text, pattern, where to begin (from 0), whether `^` is an anchor, an end that does not count.
type FindArguments = (LuaString, LuaString, usize, bool, Option<usize>);

fn as_integer(position: usize) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

/// An error in a pattern, with the place in the user's code.
fn with_place(lua: &Lua, error: Error) -> Error {
    let found = from_lua(&error);
    if found.is_stop() {
        return error;
    }
    Error::RuntimeError(located(lua, &found.message))
}

/// The engine's functions for the sandbox.
fn own_functions(
    lua: &Lua,
    guard: &Arc<Guard>,
    seen: &Arc<Seen>,
    tables: &Tables,
    output: Option<Output>,
) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let watch = Arc::clone(guard);
    host.raw_set("check", lua.create_function(move |_, ()| watch.check())?)?;
    let watch = Arc::clone(guard);
    host.raw_set("check_coroutine", lua.create_function(move |_, ()| watch.check_coroutine())?)?;
    let watch = Arc::clone(guard);
    host.raw_set("stopped", lua.create_function(move |_, ()| Ok(watch.stopped().is_some()))?)?;
    let watch = Arc::clone(guard);
    let find = move |lua: &Lua, (text, part, from, anchors, not_end): FindArguments| {
        let (text, part) = (text.as_bytes(), part.as_bytes());
        let mut results = MultiValue::new();
        let found = pattern::find(&text, &part, from, anchors, not_end, &watch);
        let found = found.map_err(|error| with_place(lua, error))?;
        if found.is_none() {
            results.push_back(LuaValue::Nil);
        }
        if let Some(found) = found {
            results.push_back(LuaValue::Integer(as_integer(found.start + 1)));
            results.push_back(LuaValue::Integer(as_integer(found.end)));
            for (start, length) in found.captures {
                results.push_back(match length {
                    Length::Position => LuaValue::Integer(as_integer(start + 1)),
                    Length::Bytes(length) => {
                        let bytes = text.get(start..start + length).unwrap_or_default();
                        LuaValue::String(lua.create_string(bytes)?)
                    }
                    Length::Open => return raise(ErrorKind::Runtime, "unfinished capture"),
                });
            }
        }
        Ok(results)
    };
    host.raw_set("find", lua.create_function(find)?)?;
    let watch = Arc::clone(guard);
    let find_plain = move |_: &Lua, (text, part, from): (LuaString, LuaString, usize)| -> mlua::Result<_> {
        let part = part.as_bytes();
        let found = pattern::find_plain(&text.as_bytes(), &part, from, &watch)?;
        Ok((found.map(|start| start + 1), found.map(|start| start + part.len())))
    };
    host.raw_set("find_plain", lua.create_function(find_plain)?)?;
    // The same error as the code should see it: a text, with a place in the user's code or none.
    let seen_by_code = |lua: &Lua, error: LuaValue| match &error {
        LuaValue::Error(error) => lua.create_string(from_lua(error).message).map(LuaValue::String),
        LuaValue::String(message) => match without_own_place(&message.as_bytes()) {
            Some(message) => lua.create_string(message).map(LuaValue::String),
            None => Ok(error),
        },
        _ => Ok(error),
    };
    host.raw_set("seen_by_code", lua.create_function(seen_by_code)?)?;
    let ordinary = |lua: &Lua, table: Table| make_ordinary(lua, &table);
    host.raw_set("make_ordinary", lua.create_function(ordinary)?)?;
    let on_demand = lua.create_table()?;
    on_demand.raw_set(&tables.map, true)?;
    on_demand.raw_set(&tables.list, true)?;
    host.raw_set("on_demand", on_demand)?;
    let hidden = lua.create_table()?;
    for metatable in [&tables.map, &tables.list, &tables.was_list] {
        hidden.raw_set(metatable, true)?;
    }
    host.raw_set("hidden", hidden)?;
    for (name, channel) in [("print", Channel::Print), ("warn", Channel::Warn)] {
        let output = output.clone();
        let write = move |_: &Lua, text: LuaString| {
            let text = text.to_string_lossy();
            match &output {
                Some(output) => output(channel, &text),
                None => eprintln!("{text}"),
            }
            Ok(())
        };
        host.raw_set(name, lua.create_function(write)?)?;
    }
    let note = Arc::clone(seen);
    let mark = move |_: &Lua, ()| {
        note.kept.store(true, Relaxed);
        Ok(())
    };
    host.raw_set("mark_kept", lua.create_function(mark)?)?;
    let note = Arc::clone(seen);
    let on_error = move |lua: &Lua, object: LuaValue| {
        note.error.store(true, Relaxed);
        let traceback = lua.traceback(None, 1).map(|text| text.to_string_lossy()).ok();
        *note.traceback.lock().unwrap_or_else(PoisonError::into_inner) = traceback;
        let own = object.as_string().and_then(|text| Some(without_own_place(&text.as_bytes())?.to_owned()));
        match own {
            Some(message) => {
                let message = located(lua, &String::from_utf8_lossy(&message));
                lua.create_string(message).map(LuaValue::String)
            }
            None => Ok(object),
        }
    };
    host.raw_set("on_error", lua.create_function(on_error)?)?;
    Ok(host)
}
