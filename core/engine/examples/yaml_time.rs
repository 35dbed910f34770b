//! Prints how long the engine takes to load a YAML file: median milliseconds of `load`, of `load_document`, and
//! of dropping the value. `benchmarks/yaml_load.py` compares them with PyYAML's.
//!
//! Arguments: the file, and how often to load it.

use std::time::{Duration, Instant};

use tea_engine::yaml::{Limits, load, load_document};

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("expected a file")?;
    let count: usize = arguments.next().ok_or("expected a number of runs")?.parse()?;
    let text = std::fs::read(file)?;
    let limits = Limits::default();
    let (mut values, mut documents, mut drops) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let start = Instant::now();
        let value = load(&text, &limits)?;
        values.push(start.elapsed());
        let start = Instant::now();
        drop(value);
        drops.push(start.elapsed());
        let start = Instant::now();
        let document = load_document(&text, &limits)?;
        documents.push(start.elapsed());
        drop(document);
    }
    println!("{:.3} {:.3} {:.3}", median(values), median(documents), median(drops));
    Ok(())
}
