//! Handles through the exported functions, in every order, from Rust: small enough for Miri.
#![allow(clippy::unwrap_used, clippy::undocumented_unsafe_blocks)]

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use tea::*;

fn text(text: &str) -> tea_str {
    tea_str { ptr: text.as_ptr(), len: text.len() }
}

const NOTHING: tea_str = tea_str { ptr: null(), len: 0 };

fn buffer() -> tea_buffer {
    tea_buffer { ptr: null_mut(), len: 0, cap: 0 }
}

/// Counts of one registration.
#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    destroyed: AtomicUsize,
}

impl Counts {
    fn pointer(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
    fn destroyed(&self) -> usize {
        self.destroyed.load(Ordering::SeqCst)
    }
}

unsafe extern "C" fn count(data: *mut c_void, call: *mut tea_call) -> i32 {
    let counts = unsafe { &*data.cast::<Counts>() };
    counts.calls.fetch_add(1, Ordering::SeqCst);
    unsafe { tea_call_return(call, text(r#"{"n":1}"#), null_mut()) as i32 }
}

unsafe extern "C" fn destroy(data: *mut c_void) {
    let counts = unsafe { &*data.cast::<Counts>() };
    counts.destroyed.fetch_add(1, Ordering::SeqCst);
}

fn engine() -> *mut tea_engine {
    let mut engine = null_mut();
    assert_eq!(unsafe { tea_engine_new(&raw mut engine, null_mut()) }, tea_status::TEA_OK);
    engine
}

fn graph(engine: *const tea_engine, counts: &Counts) -> *mut tea_graph {
    let mut graph = null_mut();
    unsafe {
        assert_eq!(tea_graph_new(engine, NOTHING, &raw mut graph, null_mut()), tea_status::TEA_OK);
        let added =
            tea_graph_add_node(graph, text("a"), Some(count), counts.pointer(), Some(destroy), null_mut());
        assert_eq!(added, tea_status::TEA_OK);
        assert_eq!(tea_graph_set_entry_point(graph, text("a"), null_mut()), tea_status::TEA_OK);
        assert_eq!(tea_graph_set_finish_point(graph, text("a"), null_mut()), tea_status::TEA_OK);
    }
    graph
}

fn run(graph: *const tea_graph) -> *mut tea_run {
    let mut run = null_mut();
    let options = text(r#"{"method":"stream"}"#);
    assert_eq!(unsafe { tea_run_new(graph, options, &raw mut run, null_mut()) }, tea_status::TEA_OK);
    run
}

#[test]
fn handles_are_freed_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let counts = Counts::default();
        let engine = engine();
        let graph = graph(engine, &counts);
        let run = run(graph);
        let mut gone = Vec::new();
        for handle in order {
            match handle {
                0 => unsafe { tea_engine_free(engine) },
                1 => unsafe { tea_graph_free(graph) },
                _ => {
                    let mut event = buffer();
                    let status = unsafe { tea_run_next(run, &raw mut event, null_mut()) };
                    assert_eq!(status, tea_status::TEA_OK);
                    let json = unsafe { std::slice::from_raw_parts(event.ptr, event.len) };
                    assert_eq!(json, br#"{"type":"state","node":"a","state":{"n":1}}"#);
                    unsafe { tea_buffer_free(&raw mut event) };
                    unsafe { tea_run_free(run) };
                }
            }
            // The function goes with the graph and the last run of it, whatever becomes of the engine.
            gone.push(handle);
            let expected = usize::from(gone.contains(&1) && gone.contains(&2));
            assert_eq!(counts.destroyed(), expected, "{order:?}");
        }
        assert_eq!((counts.calls.load(Ordering::SeqCst), counts.destroyed()), (1, 1), "{order:?}");
    }
}

#[test]
fn null_is_freed() {
    unsafe {
        tea_engine_free(null_mut());
        tea_graph_free(null_mut());
        tea_run_free(null_mut());
        tea_cursor_free(null_mut());
        tea_error_free(null_mut());
        tea_buffer_free(null_mut());
    }
}

#[test]
fn refused_registrations_are_destroyed_once() {
    let (kept, refused) = (
        Counts::default(),
        [const { Counts { calls: AtomicUsize::new(0), destroyed: AtomicUsize::new(0) } }; 4],
    );
    let engine = engine();
    let graph = graph(engine, &kept);
    let broken = tea_str { ptr: b"\xff".as_ptr(), len: 1 };
    unsafe {
        let add = |counts: &Counts, name| {
            tea_graph_add_node(graph, name, Some(count), counts.pointer(), Some(destroy), null_mut())
        };
        assert_eq!(add(&refused[0], text("a")), tea_status::TEA_ERR_BUILD);
        assert_eq!(add(&refused[1], broken), tea_status::TEA_ERR_UTF8);
        let status = tea_graph_add_conditional_edges(
            graph,
            text("a"),
            Some(count),
            refused[2].pointer(),
            Some(destroy),
            text(r#"[[1,"nowhere"]]"#),
            null_mut(),
        );
        assert_eq!(status, tea_status::TEA_ERR_BUILD);
        let status = tea_engine_register_action(
            null(),
            text("x"),
            Some(count),
            refused[3].pointer(),
            Some(destroy),
            null_mut(),
        );
        assert_eq!(status, tea_status::TEA_ERR_NULL);
    }
    assert!(refused.iter().all(|counts| counts.destroyed() == 1));
    unsafe {
        tea_graph_free(graph);
        tea_engine_free(engine);
    }
    assert!(refused.iter().chain([&kept]).all(|counts| counts.destroyed() == 1));
}

#[test]
fn errors_belong_to_the_caller() {
    let mut error = null_mut();
    let status = unsafe { tea_engine_new(null_mut(), &raw mut error) };
    assert_eq!(status, tea_status::TEA_ERR_NULL);
    assert_eq!(unsafe { tea_error_status(error) }, tea_status::TEA_ERR_NULL);
    let message = unsafe { tea_error_message(error) };
    let message = unsafe { std::slice::from_raw_parts(message.ptr, message.len) };
    assert_eq!(message, b"the output engine is NULL");
    unsafe { tea_error_free(error) };
}

#[test]
fn several_threads_share_a_graph() {
    let counts = Counts::default();
    let engine = engine();
    let graph = graph(engine, &counts);
    struct Shared(*const tea_graph);
    unsafe impl Sync for Shared {}
    let shared = Shared(graph);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let run = run({ &shared }.0);
                let mut event = buffer();
                while unsafe { tea_run_next(run, &raw mut event, null_mut()) } == tea_status::TEA_OK {}
                unsafe { tea_buffer_free(&raw mut event) };
                unsafe { tea_run_free(run) };
            });
        }
    });
    assert_eq!((counts.calls.load(Ordering::SeqCst), counts.destroyed()), (3, 0));
    unsafe {
        tea_engine_free(engine);
        tea_graph_free(graph);
    }
    assert_eq!(counts.destroyed(), 1);
}
