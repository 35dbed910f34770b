//! Log records of a run. Their texts are part of the contract (`SG-91`, `SG-110`, `PAR-155`).

use std::fmt;

use super::cursor::Role;
use super::{Cursor, Method, StepError};
use crate::host::LogLevel;

/// Name of the logger.
pub(crate) const TARGET: &str = "the_edge_agent.stategraph";

/// Who follows runs without a host ([`Cursor::observe`]). Called on the thread that pulls the run.
pub trait Observer: Send + Sync {
    /// One log record.
    fn log(&self, level: LogLevel, target: &str, text: &str);
    /// The function or program of a node begins.
    fn enter(&self, node: &str) {
        let _ = node;
    }
}

impl Cursor {
    /// Writes a record if its level is wanted; warnings and errors always are.
    pub(super) fn record(&self, level: LogLevel, text: fmt::Arguments<'_>) {
        let wanted = match level {
            LogLevel::Debug => self.live.debug,
            LogLevel::Info => self.live.info,
            LogLevel::Warning | LogLevel::Error => true,
        };
        if !wanted {
            return;
        }
        match (&self.host, &self.observer) {
            (Some(host), _) => host.log(level, TARGET, &text.to_string()),
            (None, Some(observer)) => observer.log(level, TARGET, &text.to_string()),
            (None, None) => {}
        }
    }

    /// Writes a record that shows the state.
    pub(super) fn record_state(&self, before: fmt::Arguments<'_>) -> Result<(), StepError> {
        if self.live.debug && self.live.values {
            let state = self.state.repr()?;
            self.record(LogLevel::Debug, format_args!("{before}{state}"));
        }
        Ok(())
    }

    /// What begins the records of this kind of flow.
    pub(super) fn prefix(&self) -> &'static str {
        match (&self.role, self.method) {
            (Role::Main { .. }, _) => "",
            (Role::Scoped { .. }, _) => "[Scoped] ",
            (Role::Branch { .. }, Method::Invoke) => "[Parallel] ",
            (Role::Branch { .. }, Method::Stream) => "[Parallel Stream] ",
        }
    }

    pub(super) fn record_start(&self) -> Result<(), StepError> {
        let node = self.name(self.node);
        match (&self.role, self.method) {
            (Role::Main { resumed: false }, method) => {
                let kind = if method == Method::Stream { "stream " } else { "" };
                if self.live.debug {
                    let keys = self.state.keys_repr()?;
                    let text = format_args!("Starting {kind}execution with state keys: {keys}");
                    self.record(LogLevel::Debug, text);
                }
                self.record_state(format_args!("Initial state: "))?;
            }
            (Role::Main { resumed: true }, method) => {
                let (first, second) = match method {
                    Method::Invoke => ("", "execution"),
                    Method::Stream => ("stream ", "stream"),
                };
                self.record(LogLevel::Info, format_args!("Resuming {first}from checkpoint at node '{node}'"));
                if self.live.debug {
                    let keys = self.state.keys_repr()?;
                    let text = format_args!("Resuming {second} from node '{node}' with state keys: {keys}");
                    self.record(LogLevel::Debug, text);
                }
                self.record_state(format_args!("Resume state: "))?;
            }
            (Role::Scoped { exit }, _) => {
                let exit = self.name(*exit);
                let text = format_args!("Scoped execution: {node} → (stop before {exit})");
                self.record(LogLevel::Debug, text);
            }
            (Role::Branch { join, .. }, Method::Invoke) => {
                let join = self.name(*join);
                let text = format_args!("Parallel flow started at node '{node}' (target fan-in: '{join}')");
                self.record(LogLevel::Info, text);
            }
            (Role::Branch { .. }, Method::Stream) => {}
        }
        Ok(())
    }

    pub(super) fn record_enter(&self, at_join: bool) -> Result<(), StepError> {
        if let Some(observer) = &self.observer {
            observer.enter(self.name(self.node));
        }
        if !self.live.debug {
            return Ok(());
        }
        let node = self.name(self.node);
        match (&self.role, self.method) {
            (Role::Main { .. }, _) if at_join => {
                self.record(LogLevel::Debug, format_args!("Entering fan-in node: {node}"));
            }
            (Role::Branch { .. }, Method::Stream) => {
                self.record(LogLevel::Debug, format_args!("[Parallel Stream Retry] Entering node: {node}"));
            }
            _ => {
                let prefix = self.prefix();
                self.record(LogLevel::Debug, format_args!("{prefix}Entering node: {node}"));
                self.record_state(format_args!("{prefix}Node '{node}' input state: "))?;
            }
        }
        Ok(())
    }

    pub(super) fn record_completed(&self, at_join: bool) -> Result<(), StepError> {
        if !self.live.info {
            return Ok(());
        }
        let node = self.name(self.node);
        let prefix = self.prefix();
        match (&self.role, self.method) {
            (Role::Main { .. }, _) if at_join => {
                self.record(LogLevel::Info, format_args!("Fan-in node '{node}' completed successfully"));
                return Ok(());
            }
            (Role::Main { .. }, _) => {
                self.record(LogLevel::Info, format_args!("Node '{node}' completed successfully"));
            }
            (Role::Scoped { .. }, _) => {
                self.record(LogLevel::Info, format_args!("{prefix}Node '{node}' completed"));
            }
            (Role::Branch { .. }, Method::Invoke) => {
                self.record(LogLevel::Debug, format_args!("{prefix}Node '{node}' completed"));
            }
            (Role::Branch { .. }, Method::Stream) => return Ok(()),
        }
        self.record_state(format_args!("{prefix}Node '{node}' output state: "))
    }

    pub(super) fn record_finish(&self) -> Result<(), StepError> {
        let kind = match self.method {
            Method::Invoke => "Execution",
            Method::Stream => "Stream execution",
        };
        self.record(LogLevel::Info, format_args!("{kind} completed successfully"));
        if self.live.debug {
            let keys = self.state.keys_repr()?;
            self.record(LogLevel::Debug, format_args!("Final state keys: {keys}"));
        }
        self.record_state(format_args!("Final state: "))
    }
}
