/* libtea: one engine for AI-agent workflows. Generated from core/capi by `make header`; do not edit.
 *
 * CONVENTIONS
 *
 * Names      tea_<noun>_<verb>(noun, inputs, outputs, tea_error **err).
 * Status     Negative: an error. TEA_OK: done. Positive: an outcome that is no error (TEA_DONE). Outputs are
 *            written only when the status is not negative. `err` may be NULL; otherwise it receives an error
 *            that the caller frees. There is no "last error" of a thread.
 * Text       UTF-8 as pointer and length (tea_str); U+0000 is allowed inside. A length of 0 may have a NULL
 *            pointer. Values cross as JSON in that form.
 * Ownership  Inputs are borrowed for the call. What the library hands out is freed by its own _free function,
 *            which takes NULL. Handles may be freed in any order: a run keeps its graph alive, a graph its
 *            engine.
 * Threads    A handle taken as `const` may be used by several threads at once. Any other handle belongs to one
 *            thread at a time; a second one gets TEA_ERR_BUSY.
 * Callbacks  Every function pointer travels with `user_data` and a `destroy` that is called exactly once, also
 *            when the registration fails; both may be NULL. No lock of the library is held while a callback
 *            runs. After tea_shutdown no callback is called any more.
 * Panics     A defect of the library becomes TEA_ERR_PANIC and the handle refuses further use
 *            (TEA_ERR_POISONED); it never crosses into the caller.
 *
 * JSON       Integers of any size, insertion-ordered maps. What JSON lacks travels as a map with the one key
 *            "$tea": ["f64","nan"], ["date","2024-01-31"], ["datetime",ISO], ["bytes",BASE64], ["set",[..]],
 *            ["tuple",[..]], ["map",[[k,v],..]], ["host",id] for an object of the host, and ["esc",{..}] for a
 *            map that really has the lone key "$tea".
 */

#ifndef TEA_H
#define TEA_H

#include <stddef.h>
#include <stdint.h>

// The version of the ABI that this header describes. It grows when functions or keys are added; a change that
// breaks callers does not happen without a new soname.
#define TEA_ABI_VERSION 1

// Outcome of a call. Functions return it as `int32_t` (or within an `int64_t`).
typedef enum tea_status {
  // Done.
  TEA_OK = 0,
  // The run has ended; there is no further event.
  TEA_DONE = 1,
  // Nothing yet.
  TEA_PENDING = 2,
  // A pointer that must not be NULL is NULL.
  TEA_ERR_NULL = -1,
  // Text that is not UTF-8.
  TEA_ERR_UTF8 = -2,
  // Text that is not JSON, or JSON of another shape than expected.
  TEA_ERR_JSON = -3,
  // Another thread is using the handle, or the handle is used from within its own callback.
  TEA_ERR_BUSY = -4,
  // A defect of the library.
  TEA_ERR_PANIC = -5,
  // The handle was in use when a defect showed, and refuses further use.
  TEA_ERR_POISONED = -6,
  // An id that does not name anything.
  TEA_ERR_UNKNOWN_ID = -7,
  // An argument with a value that is not allowed.
  TEA_ERR_ARGUMENT = -8,
  // The answer does not fit the item before it.
  TEA_ERR_ANSWER = -9,
  // The library was shut down.
  TEA_ERR_SHUTDOWN = -10,
  // A building call was refused (Python: ValueError).
  TEA_ERR_BUILD = -100,
  // The run failed (Python: RuntimeError).
  TEA_ERR_RUN = -200,
  // The run stands on a name that is not in the graph (Python: KeyError).
  TEA_ERR_NODE = -201,
  // A callback of the host failed.
  TEA_ERR_HOST = -202,
  // There is no such checkpoint (Python: FileNotFoundError, KeyError).
  TEA_ERR_NOT_FOUND = -300,
  // A checkpoint that is damaged or foreign (Python: ValueError).
  TEA_ERR_CORRUPT = -301,
  // The operating system refused to read or write a checkpoint.
  TEA_ERR_IO = -302,
  // The state holds what a checkpoint cannot hold (Python: TypeError).
  TEA_ERR_NOT_STORABLE = -303,
  // A template or a condition could not be compiled or evaluated (Python: the class of the error).
  TEA_ERR_TEMPLATE = -400,
  // An agent could not be loaded (Python: the class of the error).
  TEA_ERR_AGENT = -401,
} tea_status;

// Kind of the answer to an item: the low 8 bits of the `answer` of tea_cursor_step. Bits 8 to 15 are
// tea_flag's, the payload begins at bit 16.
typedef enum tea_answer_kind {
  // Begin (first step). Payload 1: write the records of the start, then end.
  TEA_ANSWER_START = 0,
  // Done. To a call: the host has merged the result into its state.
  TEA_ANSWER_DONE = 1,
  // The condition leads to the node whose number plus one is the payload; 0: nowhere.
  TEA_ANSWER_TARGET = 2,
  // The function failed, as told by tea_cursor_fail.
  TEA_ANSWER_FAILED = 3,
  // The function answers for the whole run; its status was told by tea_cursor_note.
  TEA_ANSWER_RESPOND = 4,
  // The checkpoint is stored; the host keeps its path.
  TEA_ANSWER_STORED = 5,
  // The host keeps an event or a result under the reference in the payload.
  TEA_ANSWER_KEPT = 6,
  // The result was told by tea_cursor_result.
  TEA_ANSWER_RESULT = 7,
  // The action is the engine's own.
  TEA_ANSWER_CORE = 8,
  // As many functions of TEA_ITEM_CALLS were called as the payload says.
  TEA_ANSWER_RAN = 9,
  // All functions of TEA_ITEM_CALLS were called, and the condition leads to the node whose number plus one is in
  // the low 25 bits of the payload; 0: nowhere. Above it: how often it was all done again before, see there.
  TEA_ANSWER_RAN_TO = 10,
} tea_answer_kind;

// Kind of an item: the low 8 bits of what tea_cursor_step returns. The first three are complete in that
// number, whose upper bits are the reference or node number given here; for the others see tea_item.
typedef enum tea_item_kind {
  // The end.
  TEA_ITEM_DONE = 0,
  // Call a node's function: upper bits are the node. Answer DONE, FAILED or RESPOND.
  TEA_ITEM_CALL = 1,
  // Evaluate a condition: upper bits are its reference. Answer TARGET, or FAILED in a branch.
  TEA_ITEM_CONDITION = 2,
  // Deliver the `state` event of the node in the upper bits. Answer DONE; in a branch KEPT.
  TEA_ITEM_STATE = 3,
  // Store a checkpoint: `node`, `flag` 1 for after the node. Answer STORED.
  TEA_ITEM_STORE = 4,
  // The run stopped at an interrupt: `node`, `flag` 1 for after it.
  TEA_ITEM_INTERRUPT = 5,
  // The run failed: `node`, `text` of the event, `raised`, `reference` of the cause, `json` its class, `result`
  // of a branch.
  TEA_ITEM_ERROR = 6,
  // A function answered for the whole run: `node`; if it was the engine's own, `json` is a map of `status`,
  // `body` and `headers`.
  TEA_ITEM_RESPONSE = 7,
  // The run reached the end; `flag` 1: the event has the key `output`.
  TEA_ITEM_FINAL = 8,
  // Start a branch at `node`, launched by the node `other`: tea_cursor_branch, then DONE.
  TEA_ITEM_LAUNCH = 9,
  // Nothing to do until a branch reports: tea_cursor_wait, then DONE.
  TEA_ITEM_WAIT = 10,
  // Deliver what is kept under `reference` for a branch's event.
  TEA_ITEM_KEPT = 11,
  // A branch failed (`stream`): `node` is the branch, `text`; `flag` 1: with the state it began with.
  // Answer KEPT.
  TEA_ITEM_BRANCH_ERROR = 12,
  // A branch ended: `node`, `text` and `raised` (class) if it failed, `flag` bit 0: with the state it began
  // with, bit 1: the join wants the plain state. Answer KEPT.
  TEA_ITEM_OUTCOME = 13,
  // Raise what is kept under `reference`, unchanged; if it is 0, an error with this `text`, whose class is in
  // `json`.
  TEA_ITEM_RAISE = 14,
  // The run stands on `node`, which is not in the graph.
  TEA_ITEM_UNKNOWN_NODE = 15,
  // Nothing to do but to look for signals. Answer DONE.
  TEA_ITEM_PAUSE = 16,
  // The engine's own work on `node` asks the host. `flag` 0: run the action named `text` with the arguments
  // `json`; answer RESULT, FAILED, RESPOND, or CORE if the action is the engine's own. `flag` 1: run the code
  // `raised` in the language `text`, with the further names `json`; answer RESULT, FAILED or RESPOND. `flag` 2:
  // let `milliseconds` pass; answer DONE. `result` is the state that the action or the code sees if that is not
  // the run's own, as in the steps of a node, else 0.
  TEA_ITEM_REQUEST = 17,
  // Call the functions of several nodes, one after the other; tea_cursor_nodes tells which. The upper bits stand
  // for this list of nodes: the same number means the same nodes again. Deliver a `state` event after each (`stream`). When the structure, an
  // interrupt or the log level changes meanwhile, stop after the present one. Answer RAN with the number of those
  // called; or FAILED or RESPOND, with the number of those called before as payload. If there is a condition behind
  // the last node and nothing changed, evaluate it and answer RAN_TO with the target; where tea_cursor_nodes allows
  // it, and still nothing changed, a host may do it all again at once if the target is the first node.
  TEA_ITEM_CALLS = 18,
} tea_item_kind;

// What the host's attributes say at the moment of an answer.
typedef enum tea_flag {
  // Some interrupt is set: `stops` is asked about each node.
  TEA_FLAG_STOPS = 1,
  // Records of level INFO are wanted.
  TEA_FLAG_INFO = 2,
  // Records of level DEBUG are wanted.
  TEA_FLAG_DEBUG = 4,
  // Records may show state contents.
  TEA_FLAG_VALUES = 8,
  // Errors are raised.
  TEA_FLAG_RAISES = 16,
} tea_flag;

// How a run is driven.
typedef enum tea_mode {
  // Each executed node gives an event (`stream`); without it only what ends the run does (`invoke`).
  TEA_MODE_STREAM = 1,
  // The host takes TEA_ITEM_CALLS.
  TEA_MODE_RUNS = 2,
} tea_mode;

// Kind of a tea_value.
typedef enum tea_value_tag {
  // No value; `bits`: after `resolve`, the index of the first step that led nowhere.
  TEA_VALUE_MISSING = 0,
  // Null.
  TEA_VALUE_NULL = 1,
  // `bits` is 0 or 1.
  TEA_VALUE_BOOL = 2,
  // `bits` is an int64_t.
  TEA_VALUE_INT = 3,
  // `bits` holds the bits of a double.
  TEA_VALUE_FLOAT = 4,
  // `ptr` and `len` are UTF-8 text.
  TEA_VALUE_TEXT = 5,
  // `ptr` and `len` are JSON text.
  TEA_VALUE_JSON = 6,
  // `bits` is the id of an object of the host. Handing it to the library hands over one reference, which
  // the library gives back through `release`.
  TEA_VALUE_HOST = 7,
} tea_value_tag;

// How `get` looks a key up.
typedef enum tea_lookup {
  // As an item only.
  TEA_LOOKUP_ITEM = 0,
  // As an attribute only.
  TEA_LOOKUP_ATTRIBUTE = 1,
  // As an attribute, then as an item.
  TEA_LOOKUP_ATTRIBUTE_ITEM = 2,
  // As an item, then as an attribute.
  TEA_LOOKUP_ITEM_ATTRIBUTE = 3,
} tea_lookup;

// What `query` asks about an object.
typedef enum tea_query {
  // Number of elements.
  TEA_QUERY_LENGTH = 0,
  // Its truth.
  TEA_QUERY_TRUTH = 1,
  // Its text.
  TEA_QUERY_STR = 2,
  // Its representation.
  TEA_QUERY_REPR = 3,
  // Comparison with the argument: -1, 0 or 1.
  TEA_QUERY_COMPARE = 4,
  // Equality with the argument.
  TEA_QUERY_EQUAL = 5,
  // Whether the argument is in it.
  TEA_QUERY_CONTAINS = 6,
  // The name of its type.
  TEA_QUERY_TYPE_NAME = 7,
  // The representation of the list of its keys.
  TEA_QUERY_KEYS_REPR = 8,
} tea_query;

// One call of a function of the host. Only valid within the call, on its thread.
//
//     read:    tea_call_state, tea_call_get, tea_call_config, tea_call_arguments, tea_call_node, tea_call_graph
//     answer:  tea_call_return (once; without it the result is null), tea_call_fail, tea_call_respond
typedef struct tea_call tea_call;

// One flow of a run: the main flow, a branch, or a scoped run.
//
//     tea_cursor_new ─▶ tea_cursor_step until TEA_ITEM_DONE ─▶ tea_cursor_free (at any time: abandons the run)
typedef struct tea_cursor tea_cursor;

// An engine. Shared by its graphs; usable by several threads at once.
//
//     tea_engine_new ─▶ tea_engine_set_host (hosts with live objects)
//                    ─▶ tea_engine_register_action …
//                    ─▶ tea_graph_new …
//                    ─▶ tea_engine_free
typedef struct tea_engine tea_engine;

// What went wrong. Freed with tea_error_free.
typedef struct tea_error tea_error;

// A graph: nodes, edges, settings. May be built, changed and run by several threads at once; a run sees a
// change at its next step.
//
//     tea_graph_new ─▶ tea_graph_add_node … tea_graph_add_edge … tea_graph_compile ─▶ tea_run_new … ─▶ tea_graph_free
typedef struct tea_graph tea_graph;

// A run over a state that lives in the engine. Functions of the host are called on the thread that asks for the
// next event.
//
//     tea_run_new ─▶ tea_run_next until TEA_DONE ─▶ tea_run_free (at any time: abandons the run)
typedef struct tea_run tea_run;

// Borrowed UTF-8 text: pointer and length in bytes. Not terminated by a NUL; may hold one.
typedef struct tea_str {
  // First byte; may be NULL if `len` is 0.
  const uint8_t *ptr;
  // Length in bytes.
  size_t len;
} tea_str;

// Text that the library hands out. Free it with tea_buffer_free; it is then empty and may be freed again.
// Start with an empty one: `tea_buffer text = {0};`. What it held before a call is freed by the call.
typedef struct tea_buffer {
  // First byte; NULL if the buffer is empty. A NUL byte follows the text, for convenience.
  uint8_t *ptr;
  // Length in bytes, without the NUL.
  size_t len;
  // Size of the allocation; the library's own.
  size_t cap;
} tea_buffer;

// Details of an item. Texts are valid until the next step of the cursor.
typedef struct tea_item {
  // Number of a node.
  uint32_t node;
  // Number of another node.
  uint32_t other;
  // See the kind.
  uint32_t flag;
  // An object of the host, or 0.
  uint64_t reference;
  // The kept result of a branch, or 0.
  uint64_t result;
  // Time since the launch of a branch.
  double milliseconds;
  // See the kind.
  struct tea_str text;
  // See the kind.
  struct tea_str raised;
  // See the kind.
  struct tea_str json;
} tea_item;

// One step of a path: a key, or an element if `is_index` is not 0.
typedef struct tea_step {
  // The key.
  struct tea_str key;
  // The element; below 0 counts from the end.
  int64_t index;
  // Not 0: `index` counts, not `key`.
  uint8_t is_index;
} tea_step;

// A path into an object.
typedef struct tea_path {
  // The steps.
  const struct tea_step *steps;
  // How many.
  size_t len;
} tea_path;

// A small value. Text that a host returns must stay valid until its next callback on the same thread.
typedef struct tea_value {
  // A tea_value_tag.
  uint8_t tag;
  // See the tag.
  uint64_t bits;
  // See the tag.
  const uint8_t *ptr;
  // See the tag.
  size_t len;
} tea_value;

// The callbacks of a host whose states are live objects. All members may be NULL: a question that a host
// cannot answer is an error of the run that asked it. They return a tea_status; below 0 is an error too: the host
// keeps its own error object and raises it when the step that asked returns TEA_ERR_HOST. Where there is a
// tea_value to write, the host may write the reason there, as a text such as "TypeError: no number", which
// templates treat like an error of their own.
//
// Callbacks run on the thread that pulls the run. `size` is sizeof(tea_host), so that the table can grow.
typedef struct tea_host {
  // sizeof(tea_host).
  size_t size;
  // Handed back to every callback.
  void *user_data;
  // Called once when the engine no longer needs the table.
  void (*destroy)(void *user_data);
  // Follows `n` paths from an object; writes `n` values.
  int32_t (*resolve)(void *user_data,
                     uint64_t root,
                     const struct tea_path *paths,
                     size_t n,
                     struct tea_value *out);
  // The value under a key; TEA_VALUE_MISSING if there is none. `how` is a tea_lookup.
  int32_t (*get)(void *user_data,
                 uint64_t object,
                 const struct tea_value *key,
                 uint32_t how,
                 struct tea_value *out);
  // What iteration yields, as a JSON list.
  int32_t (*keys)(void *user_data, uint64_t object, struct tea_value *out);
  // One question; `what` is a tea_query, `argument` may be NULL.
  int32_t (*query)(void *user_data,
                   uint64_t object,
                   uint32_t what,
                   const struct tea_value *argument,
                   struct tea_value *out);
  // Calls a method; `arguments` is a JSON list.
  int32_t (*call)(void *user_data,
                  uint64_t object,
                  struct tea_str method,
                  struct tea_str arguments,
                  struct tea_value *out);
  // The object as JSON; what has no JSON form stays a reference.
  int32_t (*export_json)(void *user_data, uint64_t object, struct tea_value *out);
  // A new object from JSON.
  int32_t (*import_json)(void *user_data, struct tea_str json, uint64_t *out);
  // Merges a JSON map into a state.
  int32_t (*apply)(void *user_data, uint64_t state, struct tea_str delta);
  // Copies an object; `deep` is 0 or 1.
  int32_t (*copy)(void *user_data, uint64_t object, uint32_t deep, uint64_t *out);
  // Whether an interrupt is set on a node: `*out` becomes 0 or 1. `after` is 0 for before the node.
  int32_t (*stops)(void *user_data, uint64_t run, uint32_t node, uint32_t after, uint32_t *out);
  // A log record; `level` is numbered as Python's `logging` (10, 20, 30, 40).
  void (*log)(void *user_data, int32_t level, struct tea_str target, struct tea_str text);
  // The library's references to these objects are gone.
  void (*release)(void *user_data, const uint64_t *objects, size_t n);
} tea_host;

// A function of the host: node, condition or action. It reads from `call` and answers through it. It returns
// TEA_OK, or a status below 0 if it failed; say why by tea_call_fail.
typedef int32_t (*tea_function)(void *user_data, struct tea_call *call);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Renders a template and hands out the result as JSON: the value of a template that is a single expression, the
// text of any other. References to objects of the host in the result stay valid until the next call of this kind on
// the same thread. `scope` is a JSON map:
// `roots` (map of the names that the template sees; a map or an object of the host among them answers null for a
// missing key), `env` (true: the name `env` is the environment of the process), `strict` (false: an ordinary
// failure in a single expression gives the text of the template), `text` (false; true: the text also of a single
// expression), `plain` (false; true: roots are plain maps, whose missing keys are undefined). Compiled templates are
// kept.
//
// Errors: TEA_ERR_TEMPLATE, with the class of the exception that the reference raises.
//
// # Safety
// `engine` is a live engine, the texts are valid, `out` a buffer, `err` NULL or writable.
enum tea_status tea_template_render(const struct tea_engine *engine,
                                    struct tea_str template_,
                                    struct tea_str scope,
                                    struct tea_buffer *out,
                                    struct tea_error **err);

// Evaluates a condition: 1 if it is true, 0 if not, or a status below 0. `dialect` 0: of
// edges and loops, where the truth of the value decides and a bare name is a key of `state`; 1: of goto rules, where
// the text of the result decides and an error is false. `scope` as for tea_template_render.
//
// # Safety
// `engine` is a live engine, the texts are valid, `err` NULL or writable.
int64_t tea_condition_eval(const struct tea_engine *engine,
                           struct tea_str condition,
                           uint32_t dialect,
                           struct tea_str scope,
                           struct tea_error **err);

// Loads an agent. `source` is the path of a YAML file; with the option `text` the YAML text itself; with `json` the
// document as JSON (objects of the host in it are handed over). `options` is a JSON map or empty: `text`, `json`
// (false), `base_dir` (null: against which relative paths count), `host_actions` (false: TEA_ITEM_REQUEST asks the
// host for every action first), `languages` (list of the languages of code that the host runs: "python",
// "python-expression"), `overlays` (list of maps, merged over the agent), `lua_enabled` (false: code without
// `language` may be Lua), `lua_timeout` (30, in seconds), `strict_templates` (null: as the agent says), `secrets` (a
// map, or null), `raw_parameters` (map: parameters that actions of the host get as they are written),
// `checkpointer` ("memory", or null: a directory if the agent has interrupts), `detail` (false; true: the message of
// an error names file, line, column and the path in the document).
//
// The graph is an ordinary one, ready to run. `info` (may be NULL) receives a JSON map that describes the agent:
// `name`, `nodes` (`name`, number of the `program` or null, `fan_in`, `interrupt`), `edges` (`from`, `to`, number of
// the `condition` or null, `fan_in`), `interrupt_before`, `interrupt_after`, `config` (the whole document),
// `warnings`, and more. A program or condition with number n is -2 - n in tea_graph_describe.
//
// Errors: TEA_ERR_AGENT with the class that the reference raises.
//
// # Safety
// `engine` is a live engine, the texts are valid, `out` writable, `info` NULL or a buffer, `err` NULL or writable.
enum tea_status tea_agent_load(const struct tea_engine *engine,
                               struct tea_str source,
                               struct tea_str options,
                               struct tea_graph **out,
                               struct tea_buffer *info,
                               struct tea_error **err);

// Replaces roots of what the templates of an agent see, also while it runs: a JSON map with any of `variables`,
// `secrets`, `data`, `checkpoint` (map of `dir` and `last`), `llm_settings`. A root is a map, or an object of the host,
// which is then read each time it is used.
//
// # Safety
// `graph` is a live graph made by tea_agent_load, `roots` valid text, `err` NULL or writable.
enum tea_status tea_agent_context(const struct tea_graph *graph,
                                  struct tea_str roots,
                                  struct tea_error **err);

// Evaluates a condition of an agent by its number, over a live state that the host keeps alive: 1 or 0, or a status
// below 0.
//
// # Safety
// `graph` is a live graph made by tea_agent_load, `err` NULL or writable.
int64_t tea_agent_choose(const struct tea_graph *graph,
                         uint32_t condition,
                         uint64_t state,
                         struct tea_error **err);

// The actions that the engine does itself, as a JSON map: names, and the parameters that each gets as they are
// written (see `raw_parameters` of tea_agent_load).
//
// # Safety
// `engine` is a live engine, `out` a buffer, `err` NULL or writable.
enum tea_status tea_engine_actions(const struct tea_engine *engine,
                                   struct tea_buffer *out,
                                   struct tea_error **err);

// The whole state as JSON.
//
// # Safety
// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
enum tea_status tea_call_state(const struct tea_call *call, struct tea_buffer *out, struct tea_error **err);

// The value under a top-level key of the state as JSON. Without such a key: TEA_ERR_UNKNOWN_ID.
//
// # Safety
// `call` is the call at hand, `key` valid text, `out` a buffer, `err` NULL or writable.
enum tea_status tea_call_get(const struct tea_call *call,
                             struct tea_str key,
                             struct tea_buffer *out,
                             struct tea_error **err);

// The configuration of the run as JSON.
//
// # Safety
// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
enum tea_status tea_call_config(const struct tea_call *call, struct tea_buffer *out, struct tea_error **err);

// The arguments of an action as a JSON map; empty for a node and a condition.
//
// # Safety
// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
enum tea_status tea_call_arguments(const struct tea_call *call,
                                   struct tea_buffer *out,
                                   struct tea_error **err);

// The name of the node; for a condition the node that is left. Valid within the call.
//
// # Safety
// `call` is NULL or the call at hand.
struct tea_str tea_call_node(const struct tea_call *call);

// The graph that is running, which may be changed. Borrowed: valid within the call, not to be freed.
//
// # Safety
// `call` is NULL or the call at hand.
const struct tea_graph *tea_call_graph(const struct tea_call *call);

// The result of the function, as JSON. Of a node: a map is merged into the state, anything else becomes its
// key `result`. Of a condition: the value that chooses the edge.
//
// # Safety
// `call` is the call at hand, `json` valid text, `err` NULL or writable.
enum tea_status tea_call_return(struct tea_call *call, struct tea_str json, struct tea_error **err);

// The function failed; `error_class` names the kind of the error, as in `ValueError`, and may be empty.
//
// # Safety
// `call` is the call at hand, the texts valid, `err` NULL or writable.
enum tea_status tea_call_fail(struct tea_call *call,
                              struct tea_str error_class,
                              struct tea_str message,
                              struct tea_error **err);

// Answers for the whole run, which ends with an `http_response` event: a JSON map with `status` (default
// 200), `body` (default null) and `headers` (default empty).
//
// # Safety
// `call` is the call at hand, `json` valid text, `err` NULL or writable.
enum tea_status tea_call_respond(struct tea_call *call, struct tea_str json, struct tea_error **err);

// The document of a checkpoint in the engine's JSON format. `checkpoint` is a JSON map of `node`, `state`,
// `config`, `timestamp` (seconds since 1970) and perhaps `interrupt` ("before" or "after").
//
// # Safety
// `checkpoint` is valid text, `out` a buffer, `err` NULL or writable.
enum tea_status tea_checkpoint_encode(struct tea_str checkpoint,
                                      struct tea_buffer *out,
                                      struct tea_error **err);

// Checks a document in the engine's JSON format and hands it out as a JSON map of `state`, `node`, `config`,
// `timestamp`, `version` and, if known, `interrupt`. The error says only what is wrong, not where: the caller
// knows the file.
//
// # Safety
// The texts are valid, `out` is a buffer, `err` NULL or writable.
enum tea_status tea_checkpoint_decode(struct tea_str json, struct tea_buffer *out, struct tea_error **err);

// Starts a run over a live state: nothing happens before the first step. `mode` combines
// tea_mode's. `state` is the id of the state, which the host keeps alive as long as the cursor. `run` is handed
// back to `stops`. `node` is -1 for a fresh run, else the number of the checkpoint's node; `interrupt` says
// which one made the checkpoint: 1 before the node, 2 after it, 0 unknown.
//
// # Safety
// `graph` is a live graph, `out` writable, `err` NULL or writable.
enum tea_status tea_cursor_new(const struct tea_graph *graph,
                               uint32_t mode,
                               uint64_t state,
                               uint64_t run,
                               int64_t node,
                               uint32_t interrupt,
                               struct tea_cursor **out,
                               struct tea_error **err);

// Starts a scoped run over a live state: from node `entry` until before node `exit`, without events. Refused
// with TEA_ERR_BUILD if an end is not in the graph, both are the same, or no path joins them.
//
// # Safety
// `graph` is a live graph, `out` writable, `err` NULL or writable.
enum tea_status tea_cursor_new_scoped(const struct tea_graph *graph,
                                      uint64_t state,
                                      uint32_t entry,
                                      uint32_t exit,
                                      struct tea_cursor **out,
                                      struct tea_error **err);

// Starts one program of an agent by itself, over a live state: as if it were the function of the only node, which has
// this name and the number 2. The run gives no events but the one that ends it.
//
// # Safety
// `graph` is a live graph made by tea_agent_load, `name` valid text, `out` writable, `err` NULL or writable.
enum tea_status tea_cursor_new_program(const struct tea_graph *graph,
                                       uint32_t program,
                                       struct tea_str name,
                                       uint64_t state,
                                       struct tea_cursor **out,
                                       struct tea_error **err);

// Makes the cursor of the branch that a TEA_ITEM_LAUNCH asked for. `state` is the id of the branch's own copy
// of the state. Any thread may drive it; freeing it before its end counts as a failure of the branch.
//
// # Safety
// `cursor` is a live cursor, `out` writable, `err` NULL or writable.
enum tea_status tea_cursor_branch(struct tea_cursor *cursor,
                                  uint64_t state,
                                  struct tea_cursor **out,
                                  struct tea_error **err);

// Frees a cursor, which abandons its run; `release` may be called. NULL is fine.
//
// # Safety
// `cursor` is NULL or a cursor that was not freed and that no thread is using.
void tea_cursor_free(struct tea_cursor *cursor);

// Tells why the function of the present call failed, before TEA_ANSWER_FAILED. `reference` is the host's own
// number for its error object, handed back when the object is to be raised (0: none); `fatal` is 1 for what is
// no ordinary error and must end the run unchanged.
//
// # Safety
// `cursor` is a live cursor, the texts are valid, `err` is NULL or writable.
enum tea_status tea_cursor_fail(struct tea_cursor *cursor,
                                uint64_t reference,
                                struct tea_str error_class,
                                struct tea_str message,
                                uint32_t fatal,
                                struct tea_error **err);

// A text that goes with the next answer: the value of a condition for the record of its edge (only needed with
// TEA_FLAG_DEBUG), or the status of a response.
//
// # Safety
// `cursor` is a live cursor, `text` valid, `err` NULL or writable.
enum tea_status tea_cursor_note(struct tea_cursor *cursor,
                                struct tea_str text,
                                struct tea_error **err);

// Copies the nodes of the last TEA_ITEM_CALLS into an array of the caller, at most `n`; behind them, if there is a
// condition, -1 minus its reference, and then 1 if all may be done again when it leads to the first node, else 0.
// Returns how many numbers there are.
//
// # Safety
// `cursor` is a live cursor, `nodes` points to room for `n` numbers, `err` is NULL or writable.
int64_t tea_cursor_nodes(struct tea_cursor *cursor,
                         int64_t *nodes,
                         size_t n,
                         struct tea_error **err);

// The result that goes with TEA_ANSWER_RESULT, as JSON; references to objects of the host are handed over.
//
// # Safety
// `cursor` is a live cursor, `json` valid text, `err` NULL or writable.
enum tea_status tea_cursor_result(struct tea_cursor *cursor, struct tea_str json, struct tea_error **err);

// Waits until a branch has reported, at most `milliseconds`: TEA_OK if there is something, TEA_PENDING if not.
// Holds nothing: other threads may work on the branches.
//
// # Safety
// `cursor` is a live cursor, `err` NULL or writable.
enum tea_status tea_cursor_wait(struct tea_cursor *cursor,
                                uint32_t milliseconds,
                                struct tea_error **err);

// Answers the item before and advances to the next one. Returns a tea_item_kind in the low 8 bits with a
// number above it, or a status below 0. `item` is filled for the kinds that say so; it may be NULL, and then
// its details are lost.
//
// # Safety
// `cursor` is a live cursor, `item` NULL or writable, `err` NULL or writable.
int64_t tea_cursor_step(struct tea_cursor *cursor,
                        int64_t answer,
                        struct tea_item *item,
                        struct tea_error **err);

// Makes an engine.
//
// # Safety
// `out` is writable; `err` is NULL or writable.
enum tea_status tea_engine_new(struct tea_engine **out, struct tea_error **err);

// Frees an engine. Its graphs and runs go on working. NULL is fine.
//
// # Safety
// `engine` is NULL or an engine that was not freed.
void tea_engine_free(struct tea_engine *engine);

// Registers the callbacks of a host with live objects; they count for runs that start afterwards. The table is
// copied; its `destroy` is called when the engine and its last run are gone, and also when this call fails.
//
// # Safety
// `engine` is a live engine, `host` points to a table of at least `host->size` bytes, `err` is NULL or
// writable.
enum tea_status tea_engine_set_host(const struct tea_engine *engine,
                                    const struct tea_host *host,
                                    struct tea_error **err);

// Registers a function under a name, for nodes that are added by that name
// (tea_graph_add_action_node). A name can be registered again; nodes keep the function they were added with.
//
// # Safety
// `engine` is a live engine, `name` valid text, `function` callable with `user_data` until `destroy` is
// called; `err` is NULL or writable.
enum tea_status tea_engine_register_action(const struct tea_engine *engine,
                                           struct tea_str name,
                                           tea_function function,
                                           void *user_data,
                                           void (*destroy)(void *user_data),
                                           struct tea_error **err);

// The status code of an error; TEA_OK for NULL.
//
// # Safety
// `error` is NULL or an error of the library that was not freed.
enum tea_status tea_error_status(const struct tea_error *error);

// One line that says what is wrong, where, and what would be right. Valid until the error is freed.
//
// # Safety
// `error` is NULL or an error of the library that was not freed.
struct tea_str tea_error_message(const struct tea_error *error);

// The class of the error as Python names it (`ValueError`, `RuntimeError`, ...); for a failure of the host's
// own function the class that the function gave. Valid until the error is freed.
//
// # Safety
// `error` is NULL or an error of the library that was not freed.
struct tea_str tea_error_class(const struct tea_error *error);

// Frees an error. NULL is fine.
//
// # Safety
// `error` is NULL or an error of the library that was not freed.
void tea_error_free(struct tea_error *error);

// Makes a graph with the nodes `__start__` and `__end__`. `options` is a JSON map or empty: `raise_exceptions`
// (false: a failing node ends the run with an `error` event; true: with TEA_ERR_RUN), `log_state_values`
// (false: records never show state contents), `step_limit` (null: how many nodes a run may enter).
//
// # Safety
// `engine` is a live engine, `options` valid text, `out` writable, `err` NULL or writable.
enum tea_status tea_graph_new(const struct tea_engine *engine,
                              struct tea_str options,
                              struct tea_graph **out,
                              struct tea_error **err);

// Frees a graph. Its runs go on working. NULL is fine.
//
// # Safety
// `graph` is NULL or a graph that was not freed.
void tea_graph_free(struct tea_graph *graph);

// Changes settings of a graph; the options of tea_graph_new. Runs see it at their next step.
//
// # Safety
// `graph` is a live graph, `options` valid text, `err` NULL or writable.
enum tea_status tea_graph_configure(const struct tea_graph *graph,
                                    struct tea_str options,
                                    struct tea_error **err);

// Adds a node. `function` may be NULL: the node is passed through without an event.
//
// # Safety
// `graph` is a live graph, `name` valid text, `function` NULL or callable with `user_data` until `destroy` is
// called; `err` is NULL or writable.
enum tea_status tea_graph_add_node(const struct tea_graph *graph,
                                   struct tea_str name,
                                   tea_function function,
                                   void *user_data,
                                   void (*destroy)(void *user_data),
                                   struct tea_error **err);

// Adds a node that runs an action registered under a name (tea_engine_register_action).
//
// # Safety
// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
enum tea_status tea_graph_add_action_node(const struct tea_graph *graph,
                                          struct tea_str name,
                                          struct tea_str action,
                                          struct tea_error **err);

// Adds an unconditional edge. The names `__start__` and `__end__` are ordinary ends. An edge that is there
// already keeps its place and becomes unconditional.
//
// # Safety
// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
enum tea_status tea_graph_add_edge(const struct tea_graph *graph,
                                   struct tea_str from,
                                   struct tea_str to,
                                   struct tea_error **err);

// Adds conditional edges: the condition's value chooses the target. `targets` is a JSON list of pairs
// `[value, "target"]`; a value is anything but a list or a map, and 1, 1.0 and true are one value.
//
// # Safety
// `graph` is a live graph, the texts are valid, `condition` callable with `user_data` until `destroy` is
// called; `err` is NULL or writable.
enum tea_status tea_graph_add_conditional_edges(const struct tea_graph *graph,
                                                struct tea_str from,
                                                tea_function condition,
                                                void *user_data,
                                                void (*destroy)(void *user_data),
                                                struct tea_str targets,
                                                struct tea_error **err);

// Adds an edge that starts a branch at `to`, which runs beside the others until it stands on `join`. `config`
// is a JSON map of reliability settings, or empty; none are supported yet.
//
// # Safety
// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
enum tea_status tea_graph_add_parallel_edge(const struct tea_graph *graph,
                                            struct tea_str from,
                                            struct tea_str to,
                                            struct tea_str join,
                                            struct tea_str config,
                                            struct tea_error **err);

// Adds the edge from `__start__`.
//
// # Safety
// `graph` is a live graph, `name` valid text, `err` NULL or writable.
enum tea_status tea_graph_set_entry_point(const struct tea_graph *graph,
                                          struct tea_str name,
                                          struct tea_error **err);

// Adds the edge to `__end__`.
//
// # Safety
// `graph` is a live graph, `name` valid text, `err` NULL or writable.
enum tea_status tea_graph_set_finish_point(const struct tea_graph *graph,
                                           struct tea_str name,
                                           struct tea_error **err);

// Sets interrupts and storage; everything is overwritten. `options` is a JSON map or empty:
// `interrupt_before`, `interrupt_after` (lists of names), `checkpointer` ("memory": kept by the engine for all
// its graphs), `checkpoint_dir` (a folder for files), `step_limit`. Optional: a graph runs without it.
//
// # Safety
// `graph` is a live graph, `options` valid text, `err` NULL or writable.
enum tea_status tea_graph_compile(const struct tea_graph *graph,
                                  struct tea_str options,
                                  struct tea_error **err);

// The graph as JSON: `nodes` (names), `edges` (maps of `from`, `to` and, for parallel ones, `fan_in`),
// `interrupt_before`, `interrupt_after`, `mermaid`.
//
// # Safety
// `graph` is a live graph, `out` a buffer, `err` NULL or writable.
enum tea_status tea_graph_shape(const struct tea_graph *graph,
                                struct tea_buffer *out,
                                struct tea_error **err);

// The graph as Mermaid text. `labels` is empty, or a JSON list that tells what the engine does not know about
// edges whose conditions the host evaluates: `[from, to, named, [[label, is_true, target], ...]]` with node
// numbers (`target` may be null); `named`: the condition has a name of its own.
//
// # Safety
// `graph` is a live graph, `labels` valid text, `out` a buffer, `err` NULL or writable.
enum tea_status tea_graph_mermaid(const struct tea_graph *graph,
                                  struct tea_str labels,
                                  struct tea_buffer *out,
                                  struct tea_error **err);

// The number of a node by name, for hosts that describe their graphs with tea_graph_describe; a new number if
// need be. `key` tells names apart, `label` is how the name prints (they differ where names are no texts).
// Returns the number, or a status below 0.
//
// # Safety
// `graph` is a live graph, the texts are valid, `err` is NULL or writable.
int64_t tea_graph_intern(const struct tea_graph *graph,
                         struct tea_str key,
                         struct tea_str label,
                         struct tea_error **err);

// Describes the whole graph anew, for hosts that hold the structure themselves. `words` is, for each node in
// order: its number, the number of its function or -1, the number of its edges; then for each edge: the
// target, the number of its condition or -1 for unconditional, and -1 for a normal edge, else the number of
// the node where the branch joins, or -2 for a parallel edge without one. The host answers conditions by the
// target (TEA_ANSWER_TARGET). In the place of a function or condition, -2 - n is number n of those that an
// agent brought with it.
//
// # Safety
// `graph` is a live graph, `words` points to `n` numbers, `err` is NULL or writable.
enum tea_status tea_graph_describe(const struct tea_graph *graph,
                                   const int64_t *words,
                                   size_t n,
                                   struct tea_error **err);

// Whether edges lead from one node (by number) to another: 1 or 0, or a status below 0. No node has a path to
// itself.
//
// # Safety
// `graph` is a live graph, `err` NULL or writable.
int64_t tea_graph_path_exists(const struct tea_graph *graph,
                              uint32_t from,
                              uint32_t to,
                              struct tea_error **err);

// The numbers of the nodes that can be reached from one node without going past another one, breadth-first,
// as a JSON list.
//
// # Safety
// `graph` is a live graph, `out` a buffer, `err` NULL or writable.
enum tea_status tea_graph_nodes_between(const struct tea_graph *graph,
                                        uint32_t from,
                                        uint32_t to,
                                        struct tea_buffer *out,
                                        struct tea_error **err);

// The version of the ABI that the library has. A caller checks it once: it must be at least the
// TEA_ABI_VERSION of the header that the caller was compiled with.
uint32_t tea_abi_version(void);

// The version of the library, such as "1.0.0": a static text that ends with a NUL and is never freed.
const char *tea_version(void);

// Ends all calls into the host: when this returns, no callback is running on another thread, and none will be
// called again, `destroy` functions included. Functions that would need one return TEA_ERR_SHUTDOWN; freeing
// handles stays allowed. A host whose language is about to end calls this first (Python: `atexit`). It waits
// for callbacks that run on other threads. Calling it twice is fine.
enum tea_status tea_shutdown(void);

// Starts a run; nothing happens before the first tea_run_next. `options` is a JSON map:
// `method` ("invoke", the default: only what ends the run is an event; "stream": each node is one, too),
// `input` (a map, the state to begin with, or the update of a resumed run; default empty; null says that there
// is none, and needs a checkpoint), `config` (a map), `checkpoint` (path or id from which to resume).
//
// # Safety
// `graph` is a live graph, `options` valid text, `out` writable, `err` NULL or writable.
enum tea_status tea_run_new(const struct tea_graph *graph,
                            struct tea_str options,
                            struct tea_run **out,
                            struct tea_error **err);

// Runs on until there is an event and hands it out as JSON: TEA_OK with an event, TEA_DONE without one at the
// end. An error ends the run.
//
// # Safety
// `run` is a live run, `event` a buffer, `err` NULL or writable.
enum tea_status tea_run_next(struct tea_run *run, struct tea_buffer *event, struct tea_error **err);

// Frees a run, which abandons it. NULL is fine.
//
// # Safety
// `run` is NULL or a run that was not freed and that no thread is using.
void tea_run_free(struct tea_run *run);

// Runs from node `entry` until before node `exit`, without events, interrupts or checkpoints, and hands out the
// state. `options` is a JSON map of `entry`, `exit`, `input`, `config`. A failing node: with
// `raise_exceptions` TEA_ERR_RUN, else the state has the key `_scoped_error`.
//
// # Safety
// `graph` is a live graph, `options` valid text, `state` a buffer, `err` NULL or writable.
enum tea_status tea_graph_run_scoped(const struct tea_graph *graph,
                                     struct tea_str options,
                                     struct tea_buffer *state,
                                     struct tea_error **err);

// Frees the text of a buffer, which is then empty. NULL and empty buffers are fine.
//
// # Safety
// `buffer` is NULL or points to a buffer that is empty or was filled by the library.
void tea_buffer_free(struct tea_buffer *buffer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TEA_H */
