//! Runs a piece of Lua as a node does: `lua_eval CODE [STATE]` prints the update as JSON.
//!
//! `CODE` is the code itself or `@file`, `STATE` a JSON map (default `{}`). Options before them:
//! `--condition` evaluates an expression, `--seconds N` sets the time limit, `--repeat N` runs it `N` times and
//! prints the mean time in microseconds, `--keys N` adds `N` entries to the state.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tea_engine::lua::{Chunk, Options, Runtime, Scope};
use tea_engine::state::State;
use tea_engine::value::{Map, Value};

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut condition, mut repeat, mut keys) = (false, 0_u32, 0_usize);
    let mut options = Options::default();
    while let Some(option) =
        arguments.next_if(|text| text.starts_with("--") && !text.contains(char::is_whitespace))
    {
        let mut number =
            || arguments.next().and_then(|text| text.parse::<f64>().ok()).ok_or("a number is missing");
        match option.as_str() {
            "--condition" => condition = true,
            "--repeat" => repeat = number()? as u32,
            "--keys" => keys = number()? as usize,
            "--seconds" => options.limits.time = Some(Duration::from_secs_f64(number()?.max(0.0))),
            other => return Err(format!("unknown option {other}")),
        }
    }
    let code = arguments.next().ok_or("usage: lua_eval [options] CODE [STATE]")?;
    let code = match code.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
        None => code,
    };
    let state = arguments.next().unwrap_or_else(|| "{}".to_owned());
    let Value::Map(state) = Value::from_json(state.as_bytes()).map_err(|error| error.message)? else {
        return Err("the state must be a map".to_owned());
    };
    let mut state: Map = state.as_ref().clone();
    for index in 0..keys {
        state.insert(format!("key_{index}").into(), Value::Int(index as i64));
    }
    let state = State::core(Arc::new(state));

    let begin = Instant::now();
    let mut runtime = Runtime::new(options).map_err(|error| error.to_string())?;
    let creation = begin.elapsed();
    let chunk = if condition { Chunk::condition(&code) } else { Chunk::node(&code) };
    let mut once = || -> Result<Value, String> {
        if condition {
            let outcome =
                runtime.eval_condition(&chunk, Scope::of(&state)).map_err(|error| error.to_string())?;
            return Ok(outcome.map_or(Value::Null, Value::Str));
        }
        let update = runtime.run_node(&chunk, Scope::of(&state)).map_err(|error| error.to_string())?;
        if repeat > 0 {
            state.merge(update.clone()).map_err(|error| error.to_string())?;
        }
        Ok(update)
    };
    let result = once()?;
    if repeat == 0 {
        return Ok(result.to_json());
    }
    let begin = Instant::now();
    for _ in 0..repeat {
        once()?;
    }
    let each = begin.elapsed() / repeat;
    Ok(format!(
        "{:.3} us each, runtime made in {:.1} us, it uses {} bytes",
        each.as_secs_f64() * 1e6,
        creation.as_secs_f64() * 1e6,
        runtime.used_memory()
    ))
}
