//! Lua 5.4 for nodes and conditions, sandboxed.
//!
//! A [`Chunk`] is code, compiled once by each [`Runtime`] that runs it. A run and each of its branches has a
//! runtime of its own. The code sees the state as a table that is filled as it is read, so a node pays for what
//! it reads, not for what there is; changes stay in Lua, only what is returned goes back (`LU-8`).
//!
//! ```
//! use tea_engine::lua::{Chunk, Options, Runtime, Scope};
//! use tea_engine::map;
//!
//! # fn main() -> Result<(), tea_engine::lua::LuaError> {
//! let mut runtime = Runtime::new(Options::default())?;
//! let double = Chunk::node("return { n = state.n * 2 }");
//! let update = runtime.run_node(&double, Scope::new().with("state", map! { "n" => 21 }))?;
//! assert_eq!(update, map! { "n" => 42 });
//! # Ok(())
//! # }
//! ```
//!
//! - `chunk`: code before it runs;
//! - `runtime`: running it;
//! - `import`, `export`: values on their way in and out;
//! - `limit`, `pattern`, `sandbox.lua`: what code cannot do, and for how long it can do the rest.

mod chunk;
mod error;
mod export;
mod import;
mod limit;
mod pattern;
mod runtime;

pub use chunk::{Chunk, detect_lua_code, has_lua_marker};
pub use error::{ErrorKind, LuaError};
pub use export::Floats;
pub use import::Objects;
pub use limit::Limits;
pub use runtime::{Channel, Options, Output, Runtime, Scope};
