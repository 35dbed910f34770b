//! The keys that agents may have, and guesses at what a misspelt one means.

/// Keys at the top of an agent.
pub(super) const AGENT: &[&str] = &[
    "name",
    "description",
    "variables",
    "data",
    "imports",
    "settings",
    "state_schema",
    "initial_state",
    "config",
    "nodes",
    "edges",
    "observability",
    "input_schema",
    "output_schema",
    "endpoint",
    "extraction_schema",
    "validation_constraints",
    "semantic_probes",
    "validation_logging",
];

/// Keys of `config`.
pub(super) const CONFIG: &[&str] =
    &["raise_exceptions", "interrupt_before", "interrupt_after", "checkpoint_dir", "checkpoint"];

/// Keys of a node.
pub(super) const NODE: &[&str] = &[
    "name",
    "type",
    "run",
    "script",
    "language",
    "uses",
    "with",
    "output",
    "output_key",
    "steps",
    "goto",
    "fan_in",
    "interrupt",
    "on_error",
    "streams",
    "strategy",
    "parallel_each",
    "max_workers",
    "condition",
    "max_iterations",
    "body",
    "items",
    "item_var",
    "index_var",
    "max_concurrency",
    "fail_fast",
    "parallel_config",
    "action",
    "subgraph",
    "input",
];

/// Keys of a rule of `goto`.
pub(super) const RULE: &[&str] = &["if", "to"];

/// Keys of an edge.
pub(super) const EDGE: &[&str] =
    &["from", "to", "type", "fan_in", "when", "condition", "stream_mode", "config", "parallel"];

/// Keys of `on_error` and of `settings.error_handling`.
pub(super) const ERRORS: &[&str] = &[
    "mode",
    "max_retries",
    "retry_delay",
    "backoff_multiplier",
    "retryable_errors",
    "capture_traceback",
    "clear_on_success",
    "error_responses",
    "fallback",
    "apply_to_all",
];

/// The known name that a misspelt one is closest to, if it is close.
pub(super) fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.to_lowercase().chars().collect();
    // A third of the letters may differ, two at most: `gotto`, `interupt_before`, but not any two short words.
    let most = (name.len() / 3).min(2);
    if most == 0 || name.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(&name, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(distance, _)| *distance > 0 && *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove, replace or swap with their neighbour to get from one word to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&above, column) + usize::from(letter != other);
            let mut best = replaced.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            let swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_close_to_the_right_one() {
        assert_eq!(similar("gotto", NODE.iter().copied()), Some("goto"));
        assert_eq!(similar("interupt_before", CONFIG.iter().copied()), Some("interrupt_before"));
        assert_eq!(similar("nodse", AGENT.iter().copied()), Some("nodes"));
        assert_eq!(similar("author", AGENT.iter().copied()), None);
        assert_eq!(similar("version", AGENT.iter().copied()), None);
        assert_eq!(similar("if", RULE.iter().copied()), None);
    }
}
