//! Tuples that were made before. Callers repeat themselves, and two objects and a tuple cost more than
//! a look here.

use std::hash::BuildHasher as _;

use hashbrown::DefaultHashBuilder;
use pyo3::{prelude::*, types::PyTuple};

/// Longer keys are not worth keeping.
const LONGEST: usize = 256;

/// Tuples by two keys. One takes its place by its hash, and whatever was there goes.
pub(crate) struct Kept {
    slots: Vec<Option<Entry>>,
    hasher: DefaultHashBuilder,
}

struct Entry {
    first: Box<[u8]>,
    second: Box<[u8]>,
    tuple: Py<PyTuple>,
}

impl Kept {
    /// Room for so many.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The tuple of both keys, which `make` makes where it is not kept.
    pub(crate) fn get<'py>(
        &mut self,
        py: Python<'py>,
        first: &[u8],
        second: &[u8],
        make: impl FnOnce() -> PyResult<Bound<'py, PyTuple>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        if first.len() + second.len() > LONGEST {
            return make();
        }
        let hash = self.hasher.hash_one((first, second));
        let place = usize::try_from(hash % self.slots.len().max(1) as u64).unwrap_or(0);
        let Some(slot) = self.slots.get_mut(place) else {
            return make();
        };
        if let Some(entry) = slot
            && *entry.first == *first
            && *entry.second == *second
        {
            return Ok(entry.tuple.bind(py).clone());
        }
        let tuple = make()?;
        *slot = Some(Entry {
            first: first.into(),
            second: second.into(),
            tuple: tuple.clone().unbind(),
        });
        Ok(tuple)
    }
}
