//! `for` loops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::Renderer;
use super::expr::val_range_len;
use super::val::{Items, LoopValue, Obj, Place, R, Val};
use crate::template::parse::ast::For;

impl Renderer<'_> {
    /// What a loop goes through; a range is not expanded.
    fn loop_items(&mut self, value: &Val) -> R<Items> {
        if let Val::Obj(object) = value
            && let Obj::Range { start, stop, step } = **object
        {
            return Ok(Items::Range { start, step, length: val_range_len(start, stop, step) });
        }
        Ok(Items::List(Rc::new(self.iterate(value)?)))
    }

    pub(super) fn for_loop(
        &mut self,
        node: &Arc<For>,
        iterable: &Val,
        depth0: usize,
        place: Place,
        out: &mut String,
    ) -> R<()> {
        let mut items = self.loop_items(iterable)?;
        if let Some(filter) = &node.filter {
            let mut kept = Vec::new();
            let mut index = 0;
            while let Some(item) = items.get(index) {
                index += 1;
                self.step(1)?;
                let keep = self.framed(|this| {
                    this.set(&node.target, item.clone())?;
                    let test = this.eval(filter)?;
                    this.truth(&test)
                })?;
                if keep {
                    self.produce(size_of::<Val>())?;
                    kept.push(item);
                }
            }
            items = Items::List(Rc::new(kept));
        }
        if items.len() == 0 {
            return self.framed(|this| this.body(&node.otherwise, out));
        }
        let state = Rc::new(Obj::Loop(LoopValue {
            items: items.clone(),
            index0: Cell::new(0),
            depth0,
            changed: RefCell::new(None),
            node: node.recursive.then(|| Arc::clone(node)),
            place,
        }));
        let loop_name: Option<Arc<str>> = node.uses_loop.then(|| Arc::from("loop"));
        let span = self.span;
        let mut index = 0;
        while let Some(item) = items.get(index) {
            self.step(1)?;
            self.span = span;
            if let Obj::Loop(state) = &*state {
                state.index0.set(index);
            }
            self.framed(|this| {
                if let Some(name) = &loop_name {
                    this.locals.push((Arc::clone(name), Val::Obj(Rc::clone(&state))));
                }
                this.set(&node.target, item)?;
                this.body(&node.body, out)
            })?;
            index += 1;
        }
        Ok(())
    }

    /// `loop(children)` in a recursive loop: its text.
    pub(super) fn recurse(&mut self, state: &LoopValue, iterable: &Val) -> R<Val> {
        let Some(node) = state.node.clone() else {
            return super::val::type_error(
                "The loop must have the 'recursive' marker to be called recursively.",
            );
        };
        let (place, depth0) = (state.place, state.depth0 + 1);
        self.descend(|this| {
            let mut text = String::new();
            this.at_place(place, |this| this.for_loop(&node, iterable, depth0, place, &mut text))?;
            Ok(Val::str(text))
        })
    }
}
