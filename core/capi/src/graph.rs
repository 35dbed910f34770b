//! Building graphs by calls, describing them as a whole, asking about them.

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tea_core::agent::Context;
use tea_core::checkpoint::Store;
use tea_core::graph::{
    Action, BuildError, CompileOptions, Edge, EdgeLabel, Graph, Library, MapEntry, NodeId, Parallel, Rule,
    Topology,
};
use tea_core::value::{Key, Map, Value, text};

use crate::call::{Function, tea_function};
use crate::engine::{Shared, tea_engine};
use crate::error::{Failed, tea_error};
use crate::guard::{guarded, handle, output};
use crate::host::Foreign;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// A graph: nodes, edges, settings. May be built, changed and run by several threads at once; a run sees a
/// change at its next step.
///
///     tea_graph_new ─▶ tea_graph_add_node … tea_graph_add_edge … tea_graph_compile ─▶ tea_run_new … ─▶ tea_graph_free
#[allow(non_camel_case_types)]
pub struct tea_graph(pub(crate) Arc<GraphShared>);

impl tea_graph {
    /// A handle of a graph.
    pub(crate) fn made(graph: Arc<Graph>, engine: Arc<Shared>, context: Option<Arc<Context>>) -> Self {
        tea_graph(Arc::new(GraphShared { graph, engine, functions: RwLock::default(), context }))
    }
}

/// What runs keep alive of their graph.
pub(crate) struct GraphShared {
    pub(crate) graph: Arc<Graph>,
    pub(crate) engine: Arc<Shared>,
    /// Functions of the host by the numbers that actions and conditions carry. A place is empty if the call
    /// that brought the function was refused.
    functions: RwLock<Vec<Option<Arc<Function>>>>,
    /// What the programs of an agent share, if the graph is an agent's.
    pub(crate) context: Option<Arc<Context>>,
}

impl GraphShared {
    pub(crate) fn function(&self, reference: u32) -> Option<Arc<Function>> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(reference as usize).cloned().flatten()
    }

    /// Gives a function its number for a building call. If the call is refused, the function goes at once.
    fn register<T>(
        &self,
        function: Arc<Function>,
        build: impl FnOnce(u32) -> Result<T, BuildError>,
    ) -> Result<(), Failed> {
        let place = {
            let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
            functions.push(Some(function));
            functions.len() - 1
        };
        let built = build(u32::try_from(place).unwrap_or(u32::MAX));
        if built.is_err() {
            let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
            let gone = functions.get_mut(place).and_then(Option::take);
            // Its destructor is the host's code, which runs without the lock.
            drop(functions);
            drop(gone);
        }
        built?;
        Ok(())
    }
}

/// Reads a JSON map of options; an empty text is an empty map.
///
/// # Safety
/// `json` is valid text.
pub(crate) unsafe fn options(json: tea_str, known: &[&str]) -> Result<Arc<Map>, Failed> {
    // SAFETY: the caller's promise.
    let json = unsafe { json.bytes("options") }?;
    if json.is_empty() {
        return Ok(Arc::default());
    }
    let Value::Map(map) = Value::from_json(json)? else {
        return Err(Failed::new(TEA_ERR_JSON, "options are a JSON map"));
    };
    if let Some(key) = map.keys().find(|key| key.as_str().is_none_or(|key| !known.contains(&key))) {
        let key = text(key.value());
        let message = format!("unknown option '{key}'; known are {}", known.join(", "));
        return Err(Failed::new(TEA_ERR_ARGUMENT, message));
    }
    Ok(map)
}

pub(crate) fn flag(options: &Map, key: &str) -> Result<bool, Failed> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(expected(key, "true or false", other)),
    }
}

pub(crate) fn expected(key: &str, what: &str, got: &Value) -> Failed {
    Failed::new(TEA_ERR_ARGUMENT, format!("option '{key}': {what} is expected, not {}", got.type_name()))
}

pub(crate) fn names(options: &Map, key: &str) -> Result<Vec<String>, Failed> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => items
            .iter()
            .map(|item| match item {
                Value::Str(name) => Ok(name.to_string()),
                other => Err(expected(key, "a list of names", other)),
            })
            .collect(),
        Some(other) => Err(expected(key, "a list of names", other)),
    }
}

fn limit(options: &Map) -> Result<Option<u64>, Failed> {
    match options.get("step_limit") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Int(limit)) if *limit > 0 => Ok(Some(limit.unsigned_abs())),
        Some(other) => Err(expected("step_limit", "a number above 0 or null", other)),
    }
}

fn configure(graph: &Graph, options: &Map) -> Result<(), Failed> {
    let (raises, values) = (flag(options, "raise_exceptions")?, flag(options, "log_state_values")?);
    let limit = limit(options)?;
    graph.configure(|settings| {
        if options.contains_key("raise_exceptions") {
            settings.raise_exceptions = raises;
        }
        if options.contains_key("log_state_values") {
            settings.log_state_values = values;
        }
        if options.contains_key("step_limit") {
            settings.step_limit = limit;
        }
    });
    Ok(())
}

const SETTINGS: [&str; 3] = ["raise_exceptions", "log_state_values", "step_limit"];

/// Makes a graph with the nodes `__start__` and `__end__`. `options` is a JSON map or empty: `raise_exceptions`
/// (false: a failing node ends the run with an `error` event; true: with TEA_ERR_RUN), `log_state_values`
/// (false: records never show state contents), `step_limit` (null: how many nodes a run may enter).
///
/// # Safety
/// `engine` is a live engine, `options` valid text, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_new(
    engine: *const tea_engine,
    options: tea_str,
    out: *mut *mut tea_graph,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let engine = Arc::clone(&handle(engine, "engine")?.0);
        let options = self::options(options, &SETTINGS)?;
        let graph = Arc::new(Graph::new());
        configure(&graph, &options)?;
        output(out, "graph", || Ok(tea_graph::made(graph, engine, None)))?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Frees a graph. Its runs go on working. NULL is fine.
///
/// # Safety
/// `graph` is NULL or a graph that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_free(graph: *mut tea_graph) {
    if !graph.is_null() {
        // SAFETY: made by `tea_graph_new`, and the caller gives it up.
        drop(unsafe { Box::from_raw(graph) });
    }
}

/// Changes settings of a graph; the options of tea_graph_new. Runs see it at their next step.
///
/// # Safety
/// `graph` is a live graph, `options` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_configure(
    graph: *const tea_graph,
    options: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = handle(graph, "graph")?;
        let options = self::options(options, &SETTINGS)?;
        configure(&graph.0.graph, &options)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds a node. `function` may be NULL: the node is passed through without an event.
///
/// # Safety
/// `graph` is a live graph, `name` valid text, `function` NULL or callable with `user_data` until `destroy` is
/// called; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_add_node(
    graph: *const tea_graph,
    name: tea_str,
    function: tea_function,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    err: *mut *mut tea_error,
) -> tea_status {
    let foreign = Foreign { data: user_data, destroy };
    let body = move || {
        // SAFETY: the caller's promise.
        let (graph, name) = unsafe { (handle(graph, "graph")?, name.text("name")?) };
        let add = |action| graph.0.graph.add_node(name, action);
        match function {
            Some(_) => {
                let function = Function::new(function, foreign)?;
                graph.0.register(function, |reference| add(Action::Call { reference }))?;
            }
            None => {
                add(Action::None)?;
            }
        }
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds a node that runs an action registered under a name (tea_engine_register_action).
///
/// # Safety
/// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_add_action_node(
    graph: *const tea_graph,
    name: tea_str,
    action: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (graph, name) = (handle(graph, "graph")?, name.text("name")?);
        let action = action.text("action")?;
        let Some(function) = graph.0.engine.action(action) else {
            return Err(Failed::new(TEA_ERR_BUILD, format!("Action '{action}' is not registered.")));
        };
        let add = |reference| graph.0.graph.add_node(name, Action::Call { reference });
        graph.0.register(function, add)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds an unconditional edge. The names `__start__` and `__end__` are ordinary ends. An edge that is there
/// already keeps its place and becomes unconditional.
///
/// # Safety
/// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_add_edge(
    graph: *const tea_graph,
    from: tea_str,
    to: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = handle(graph, "graph")?;
        graph.0.graph.add_edge(from.text("from")?, to.text("to")?)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds conditional edges: the condition's value chooses the target. `targets` is a JSON list of pairs
/// `[value, "target"]`; a value is anything but a list or a map, and 1, 1.0 and true are one value.
///
/// # Safety
/// `graph` is a live graph, the texts are valid, `condition` callable with `user_data` until `destroy` is
/// called; `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_add_conditional_edges(
    graph: *const tea_graph,
    from: tea_str,
    condition: tea_function,
    user_data: *mut c_void,
    destroy: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    targets: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    let foreign = Foreign { data: user_data, destroy };
    let body = move || {
        let function = Function::new(condition, foreign)?;
        // SAFETY: the caller's promise.
        let (graph, from, targets) =
            unsafe { (handle(graph, "graph")?, from.text("from")?, targets.bytes("targets")?) };
        let targets = pairs(&Value::from_json(targets)?)?;
        graph
            .0
            .register(function, |reference| graph.0.graph.add_conditional_edges(from, reference, targets))?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

fn pairs(targets: &Value) -> Result<Vec<(Key, String)>, Failed> {
    let bad = || Failed::new(TEA_ERR_JSON, "targets are a JSON list of pairs [value, \"target\"]");
    let pair = |item: &Value| match item.as_list() {
        Some([value, Value::Str(target)]) => {
            let key = Key::new(value.clone()).map_err(|value| {
                let message = format!("a {} cannot choose an edge", value.type_name());
                Failed::new(TEA_ERR_ARGUMENT, message)
            })?;
            Ok((key, target.to_string()))
        }
        _ => Err(bad()),
    };
    targets.as_list().ok_or_else(bad)?.iter().map(pair).collect()
}

/// Adds an edge that starts a branch at `to`, which runs beside the others until it stands on `join`. `config`
/// is a JSON map of reliability settings, or empty; none are supported yet.
///
/// # Safety
/// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_add_parallel_edge(
    graph: *const tea_graph,
    from: tea_str,
    to: tea_str,
    join: tea_str,
    config: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = handle(graph, "graph")?;
        // Reliability settings come with the executors; until then none is accepted, rather than ignored.
        let config = Value::Map(options(config, &[])?);
        let (from, to, join) = (from.text("from")?, to.text("to")?, join.text("join")?);
        graph.0.graph.add_parallel_edge(from, to, join, config)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds the edge from `__start__`.
///
/// # Safety
/// `graph` is a live graph, `name` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_set_entry_point(
    graph: *const tea_graph,
    name: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        handle(graph, "graph")?.0.graph.set_entry_point(name.text("name")?)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Adds the edge to `__end__`.
///
/// # Safety
/// `graph` is a live graph, `name` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_set_finish_point(
    graph: *const tea_graph,
    name: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        handle(graph, "graph")?.0.graph.set_finish_point(name.text("name")?)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Sets interrupts and storage; everything is overwritten. `options` is a JSON map or empty:
/// `interrupt_before`, `interrupt_after` (lists of names), `checkpointer` ("memory": kept by the engine for all
/// its graphs), `checkpoint_dir` (a folder for files), `step_limit`. Optional: a graph runs without it.
///
/// # Safety
/// `graph` is a live graph, `options` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_compile(
    graph: *const tea_graph,
    options: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = handle(graph, "graph")?;
        let known = ["interrupt_before", "interrupt_after", "checkpointer", "checkpoint_dir", "step_limit"];
        let options = self::options(options, &known)?;
        let store = match (options.get("checkpointer"), options.get("checkpoint_dir")) {
            (None | Some(Value::Null), None | Some(Value::Null)) => Store::None,
            (Some(Value::Str(kind)), _) if **kind == *"memory" => {
                Store::Memory(Arc::clone(&graph.0.engine.memory))
            }
            (Some(other), _) if *other != Value::Null => {
                return Err(expected("checkpointer", "\"memory\" or null", other));
            }
            (_, Some(Value::Str(directory))) => Store::Directory(PathBuf::from(&**directory)),
            (_, Some(other)) => return Err(expected("checkpoint_dir", "a path", other)),
            (_, None) => Store::None,
        };
        graph.0.graph.compile(CompileOptions {
            interrupt_before: names(&options, "interrupt_before")?,
            interrupt_after: names(&options, "interrupt_after")?,
            store,
            step_limit: limit(&options)?,
        })?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The graph as JSON: `nodes` (names), `edges` (maps of `from`, `to` and, for parallel ones, `fan_in`),
/// `interrupt_before`, `interrupt_after`, `mermaid`.
///
/// # Safety
/// `graph` is a live graph, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_shape(
    graph: *const tea_graph,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = handle(graph, "graph")?;
        let (topology, settings) = (graph.0.graph.topology(), graph.0.graph.settings());
        let name = |id: &NodeId| Value::from(topology.name(*id));
        let list = |ids: &[NodeId]| Value::list(ids.iter().map(name).collect());
        let mut edges = Vec::new();
        for from in topology.order() {
            for edge in topology.edges(*from) {
                let mut map = Map::new();
                map.insert("from".into(), name(from));
                map.insert("to".into(), name(&edge.target));
                if let Some(parallel) = &edge.parallel {
                    map.insert("fan_in".into(), parallel.join.as_ref().map_or(Value::Null, name));
                }
                edges.push(Value::map(map));
            }
        }
        let shape = tea_core::map! {
            "nodes" => list(topology.order()),
            "edges" => edges,
            "interrupt_before" => list(&settings.interrupt_before),
            "interrupt_after" => list(&settings.interrupt_after),
            "mermaid" => topology.to_mermaid(|_, _| None),
        };
        tea_buffer::put(out, shape.to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The graph as Mermaid text. `labels` is empty, or a JSON list that tells what the engine does not know about
/// edges whose conditions the host evaluates: `[from, to, named, [[label, is_true, target], ...]]` with node
/// numbers (`target` may be null); `named`: the condition has a name of its own.
///
/// # Safety
/// `graph` is a live graph, `labels` valid text, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_mermaid(
    graph: *const tea_graph,
    labels: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (graph, labels) = (handle(graph, "graph")?, labels.bytes("labels")?);
        let labels = if labels.is_empty() { Value::list(Vec::new()) } else { Value::from_json(labels)? };
        let labels = read_labels(&labels)
            .ok_or_else(|| Failed::new(TEA_ERR_JSON, "labels are a list of [from, to, named, entries]"))?;
        let find = |from: NodeId, edge: &Edge| {
            let label = labels.iter().find(|(source, target, _)| (*source, *target) == (from, edge.target));
            label.map(|(_, _, label)| label.clone())
        };
        tea_buffer::put(out, graph.0.graph.topology().to_mermaid(find))?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

fn read_labels(labels: &Value) -> Option<Vec<(NodeId, NodeId, EdgeLabel)>> {
    let id = |value: &Value| match value {
        Value::Int(id) => NodeId::try_from(*id).ok(),
        _ => None,
    };
    let entry = |value: &Value| match value.as_list()? {
        [Value::Str(label), Value::Bool(is_true), target] => {
            Some(MapEntry { label: label.to_string(), is_true: *is_true, target: id(target) })
        }
        _ => None,
    };
    let label = |value: &Value| match value.as_list()? {
        [from, to, Value::Bool(named), entries] => {
            let map = entries.as_list()?.iter().map(entry).collect::<Option<_>>()?;
            Some((id(from)?, id(to)?, EdgeLabel { map, named: *named }))
        }
        _ => None,
    };
    labels.as_list()?.iter().map(label).collect()
}

/// The number of a node by name, for hosts that describe their graphs with tea_graph_describe; a new number if
/// need be. `key` tells names apart, `label` is how the name prints (they differ where names are no texts).
/// Returns the number, or a status below 0.
///
/// # Safety
/// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_intern(
    graph: *const tea_graph,
    key: tea_str,
    label: tea_str,
    err: *mut *mut tea_error,
) -> i64 {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (graph, key, label) = (handle(graph, "graph")?, key.text("key")?, label.text("label")?);
        Ok(i64::from(graph.0.graph.edit(|topology| topology.intern(key, label))))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Describes the whole graph anew, for hosts that hold the structure themselves. `words` is, for each node in
/// order: its number, the number of its function or -1, the number of its edges; then for each edge: the
/// target, the number of its condition or -1 for unconditional, and -1 for a normal edge, else the number of
/// the node where the branch joins, or -2 for a parallel edge without one. The host answers conditions by the
/// target (TEA_ANSWER_TARGET). In the place of a function or condition, -2 - n is number n of those that an
/// agent brought with it.
///
/// # Safety
/// `graph` is a live graph, `words` points to `n` numbers, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_describe(
    graph: *const tea_graph,
    words: *const i64,
    n: usize,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let graph = unsafe { handle(graph, "graph") }?;
        let words = match (words.is_null(), n) {
            (_, 0) => &[],
            (true, _) => return Err(Failed::new(TEA_ERR_NULL, "words is NULL")),
            // SAFETY: not NULL, and `n` numbers by the caller's promise.
            (false, _) => unsafe { std::slice::from_raw_parts(words, n) },
        };
        let library = graph.0.graph.library();
        let nodes = read_words(words, graph.0.graph.topology().capacity(), &library)?;
        graph.0.graph.edit(|topology| {
            topology.clear();
            for (id, action, edges) in nodes {
                topology.insert(id, action);
                for edge in edges {
                    topology.append(id, edge);
                }
            }
        });
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Reads the whole description before anything changes.
fn read_words(
    words: &[i64],
    capacity: usize,
    library: &Library,
) -> Result<Vec<(NodeId, Action, Vec<Edge>)>, Failed> {
    let short = || Failed::new(TEA_ERR_ARGUMENT, "the description of the graph ends in the middle of a node");
    let bad = |word: i64| Failed::new(TEA_ERR_ARGUMENT, format!("{word} is not the number of a function"));
    let id = |word: i64| {
        let id = NodeId::try_from(word).ok().filter(|id| (*id as usize) < capacity);
        id.ok_or_else(|| Failed::new(TEA_ERR_UNKNOWN_ID, format!("{word} is not the number of a node")))
    };
    let own = |word: i64| usize::try_from((-2_i64).saturating_sub(word)).unwrap_or(usize::MAX);
    let action = |word: i64| match (u32::try_from(word), word) {
        (Ok(reference), _) => Ok(Action::Call { reference }),
        (_, -1) => Ok(Action::None),
        _ => library.programs.get(own(word)).cloned().map(Action::Program).ok_or_else(|| bad(word)),
    };
    let rule = |word: i64| match (u32::try_from(word), word) {
        (Ok(reference), _) => Ok(Rule::Host { reference }),
        (_, -1) => Ok(Rule::Always),
        _ => library.conditions.get(own(word)).cloned().map(Rule::Choose).ok_or_else(|| bad(word)),
    };
    let mut nodes = Vec::new();
    let mut rest = words;
    while let Some((head, tail)) = rest.split_first_chunk::<3>() {
        let [node, function, count] = *head;
        rest = tail;
        let mut edges = Vec::new();
        if count < 0 {
            return Err(Failed::new(TEA_ERR_ARGUMENT, format!("{count} is not a number of edges")));
        }
        for _ in 0..count {
            let (edge, tail) = rest.split_first_chunk::<3>().ok_or_else(short)?;
            let [target, condition, join] = *edge;
            rest = tail;
            let parallel = match join {
                -1 => None,
                -2 => Some(Parallel { join: None, config: Value::Null }),
                join => Some(Parallel { join: Some(id(join)?), config: Value::Null }),
            };
            edges.push(Edge { target: id(target)?, rule: rule(condition)?, parallel });
        }
        nodes.push((id(node)?, action(function)?, edges));
    }
    if rest.is_empty() { Ok(nodes) } else { Err(short()) }
}

/// Refuses a number that no node has.
pub(crate) fn known(topology: &Topology, node: NodeId) -> Result<(), Failed> {
    if (node as usize) < topology.capacity() {
        return Ok(());
    }
    Err(Failed::new(TEA_ERR_UNKNOWN_ID, format!("{node} is not the number of a node")))
}

/// Whether edges lead from one node (by number) to another: 1 or 0, or a status below 0. No node has a path to
/// itself.
///
/// # Safety
/// `graph` is a live graph, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_path_exists(
    graph: *const tea_graph,
    from: u32,
    to: u32,
    err: *mut *mut tea_error,
) -> i64 {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let topology = handle(graph, "graph")?.0.graph.topology();
        known(&topology, from)?;
        known(&topology, to)?;
        Ok(i64::from(topology.path_exists(from, to)))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The numbers of the nodes that can be reached from one node without going past another one, breadth-first,
/// as a JSON list.
///
/// # Safety
/// `graph` is a live graph, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_nodes_between(
    graph: *const tea_graph,
    from: u32,
    to: u32,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let topology = handle(graph, "graph")?.0.graph.topology();
        known(&topology, from)?;
        known(&topology, to)?;
        let ids = topology.nodes_between(from, to);
        let ids = Value::list(ids.into_iter().map(|id| Value::Int(i64::from(id))).collect());
        tea_buffer::put(out, ids.to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}
