//! Limits that code cannot evade.
//!
//! A count hook looks at the clock, the instructions used so far and the flag of cancellation. A stop is sticky:
//! until the call ends every hook, every failed `pcall` and every failed `coroutine.resume` raises it again, so
//! code makes no progress by catching it. Creating a coroutine is a check too, because a coroutine begins with a
//! hook count of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mlua::debug::Debug;
use mlua::{HookTriggers, Lua, VmState};

use super::error::{ErrorKind, raise};

/// Instructions between two looks at the limits.
const STRIDE: u32 = 1000;

/// What creating a coroutine costs, in instructions.
const COROUTINE: u64 = 200;

/// Name of the chunk that holds the sandbox's own functions; its lines are never reported.
pub(super) const OWN_CHUNK: &str = "(sandbox)";

/// Limits of one runtime. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Wall time of each call; looked at every 1000 instructions, so shorter code is never stopped.
    pub time: Option<Duration>,
    /// Instructions of each call, to within 1000.
    pub instructions: Option<u64>,
    /// Bytes of the whole runtime, its libraries (about 40 KB) included. Also bounds the size of a result.
    pub memory: Option<usize>,
}

impl Default for Limits {
    /// 30 s, 256 MiB, any number of instructions.
    fn default() -> Self {
        Limits { time: Some(Duration::from_secs(30)), instructions: None, memory: Some(256 << 20) }
    }
}

/// Why code was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Time = 1,
    Instructions = 2,
    Cancelled = 3,
}

/// Watches one runtime. Shared by the runtime and the functions that it put into Lua.
#[derive(Debug)]
pub(super) struct Guard {
    origin: Instant,
    /// Nanoseconds since `origin`; the largest number is never.
    deadline: AtomicU64,
    instructions: AtomicU64,
    most_instructions: AtomicU64,
    stopped: AtomicU8,
    line: AtomicUsize,
    cancel: Arc<AtomicBool>,
    /// The hook runs at each instruction.
    tight: AtomicBool,
}

impl Guard {
    pub(super) fn new(cancel: Arc<AtomicBool>) -> Self {
        Guard {
            origin: Instant::now(),
            deadline: AtomicU64::new(u64::MAX),
            instructions: AtomicU64::new(0),
            most_instructions: AtomicU64::new(u64::MAX),
            stopped: AtomicU8::new(0),
            line: AtomicUsize::new(0),
            cancel,
            tight: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A call begins.
    pub(super) fn arm(self: &Arc<Self>, lua: &Lua, limits: &Limits) -> mlua::Result<()> {
        let deadline = limits.time.map_or(u64::MAX, |time| {
            self.now().saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        });
        self.deadline.store(deadline, Relaxed);
        self.instructions.store(0, Relaxed);
        self.most_instructions.store(limits.instructions.unwrap_or(u64::MAX), Relaxed);
        self.stopped.store(0, Relaxed);
        self.line.store(0, Relaxed);
        if self.tight.swap(false, Relaxed) { self.hook(lua, STRIDE) } else { Ok(()) }
    }

    /// Installs the hook, here and in all coroutines to come.
    pub(super) fn install(self: &Arc<Self>, lua: &Lua) -> mlua::Result<()> {
        self.hook(lua, STRIDE)
    }

    fn hook(self: &Arc<Self>, lua: &Lua, stride: u32) -> mlua::Result<()> {
        let guard = Arc::clone(self);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(stride), move |lua, debug| {
            guard.instructions.fetch_add(u64::from(STRIDE), Relaxed);
            if let Some(stop) = guard.look() {
                guard.note_line(lua, debug);
                if !guard.tight.swap(true, Relaxed) {
                    guard.hook(lua, 1)?;
                }
                return raise(stop.kind(), stop.text());
            }
            Ok(VmState::Continue)
        })
    }

    /// Looks at the limits; a stop stays until the next call begins.
    fn look(&self) -> Option<Stop> {
        if let Some(stop) = self.stopped() {
            return Some(stop);
        }
        let stop = if self.cancel.load(Relaxed) {
            Stop::Cancelled
        } else if self.instructions.load(Relaxed) > self.most_instructions.load(Relaxed) {
            Stop::Instructions
        } else {
            let deadline = self.deadline.load(Relaxed);
            if deadline == u64::MAX || self.now() < deadline {
                return None;
            }
            Stop::Time
        };
        self.stopped.store(stop as u8, Relaxed);
        Some(stop)
    }

    /// Raises the stop, if there is one.
    pub(super) fn check(&self) -> mlua::Result<()> {
        self.look().map_or(Ok(()), |stop| raise(stop.kind(), stop.text()))
    }

    /// A coroutine is about to be created.
    pub(super) fn check_coroutine(&self) -> mlua::Result<()> {
        self.instructions.fetch_add(COROUTINE, Relaxed);
        self.check()
    }

    /// Counts work that is no instruction of Lua's: `steps` of a long search.
    pub(super) fn charge(&self, steps: u64) -> mlua::Result<()> {
        self.instructions.fetch_add(steps, Relaxed);
        self.check()
    }

    /// Why the call was stopped.
    pub(super) fn stopped(&self) -> Option<Stop> {
        match self.stopped.load(Relaxed) {
            1 => Some(Stop::Time),
            2 => Some(Stop::Instructions),
            3 => Some(Stop::Cancelled),
            _ => None,
        }
    }

    /// Where the code was when it was stopped, if that is known.
    pub(super) fn line(&self) -> Option<usize> {
        match self.line.load(Relaxed) {
            0 => None,
            line => Some(line),
        }
    }

    fn note_line(&self, lua: &Lua, debug: &Debug<'_>) {
        if self.line.load(Relaxed) != 0 {
            return;
        }
        let own = |source: Option<&str>| source == Some(OWN_CHUNK);
        let mut line = if own(debug.source().short_src.as_deref()) { None } else { debug.current_line() };
        let mut level = 1;
        while line.is_none() && level < 8 {
            let found = lua.inspect_stack(level, |debug| {
                if own(debug.source().short_src.as_deref()) { None } else { debug.current_line() }
            });
            match found {
                Some(found) => line = found,
                None => break,
            }
            level += 1;
        }
        self.line.store(line.unwrap_or(0), Relaxed);
    }
}

impl Stop {
    pub(super) fn kind(self) -> ErrorKind {
        match self {
            Stop::Time => ErrorKind::Timeout,
            Stop::Instructions => ErrorKind::Instructions,
            Stop::Cancelled => ErrorKind::Cancelled,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Stop::Time => "execution timeout",
            Stop::Instructions => "too many instructions",
            Stop::Cancelled => "execution cancelled",
        }
    }
}
