//! Header fields between the wire and Python.

use anpx::{
    Fields, FieldsError,
    fields::{FieldsBuilder, is_forbidden},
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList, PyTuple},
};

use crate::kept::Kept;

/// Fields kept as Python objects.
const SLOTS: usize = 512;

/// Fields that came before, as the tuples an app gets.
pub(crate) struct FieldCache(Kept);

impl FieldCache {
    pub(crate) fn new() -> Self {
        Self(Kept::new(SLOTS))
    }

    /// `(name, value)` as bytes.
    pub(crate) fn tuple<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<Bound<'py, PyTuple>> {
        match is_once(name) {
            true => tuple(py, name, value),
            false => self.0.get(py, name, value, || tuple(py, name, value)),
        }
    }
}

fn tuple<'py>(py: Python<'py>, name: &[u8], value: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, [PyBytes::new(py, name), PyBytes::new(py, value)])
}

/// What no two requests have in common, and what should not be kept.
fn is_once(name: &[u8]) -> bool {
    matches!(
        name,
        b"x-request-id"
            | b"content-length"
            | b"traceparent"
            | b"authorization"
            | b"proxy-authorization"
            | b"cookie"
            | b"sec-websocket-key"
            | b"if-none-match"
    )
}

/// The headers of an event: an iterable of pairs of bytes.
///
/// # Errors
/// It is none, or a field breaks the rules of HTTP (RFC 9110 section 5).
pub(crate) fn from_python(headers: &Bound<'_, PyAny>) -> PyResult<Headers> {
    let mut headers_read = Headers {
        builder: Fields::builder(256),
        length: None,
        event_stream: false,
    };
    let list;
    let list = match headers.cast::<PyList>() {
        Ok(list) => list,
        Err(_) => {
            list = PyList::new(
                headers.py(),
                headers.try_iter()?.collect::<PyResult<Vec<_>>>()?,
            )?;
            &list
        }
    };
    for pair in list.iter() {
        let (name, value) = match pair.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => (pair.get_item(0)?, pair.get_item(1)?),
            _ => two(&pair)?,
        };
        let name = name.cast::<PyBytes>().map_err(|_| not_bytes("name"))?;
        let value = value.cast::<PyBytes>().map_err(|_| not_bytes("value"))?;
        headers_read.push(name.as_bytes(), value.as_bytes())?;
    }
    Ok(headers_read)
}

/// The two items of any iterable: the specification says that headers are one of such.
fn two<'py>(pair: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let mut items = pair.try_iter()?;
    match (items.next(), items.next(), items.next()) {
        (Some(name), Some(value), None) => Ok((name?, value?)),
        _ => Err(PyTypeError::new_err(
            "expected a header to be a name and a value",
        )),
    }
}

fn not_bytes(what: &str) -> PyErr {
    PyTypeError::new_err(format!("expected the {what} of a header to be bytes"))
}

/// Fields of a response that is being made.
pub(crate) struct Headers {
    builder: FieldsBuilder,
    /// The `content-length` among them.
    pub(crate) length: Option<u64>,
    /// The `content-type` among them is `text/event-stream`.
    pub(crate) event_stream: bool,
}

impl Headers {
    /// Fields whose names and values are ours.
    pub(crate) fn ours(pairs: &[(&str, &str)]) -> Self {
        let mut builder = Fields::builder(128);
        for (name, value) in pairs {
            // Cannot fail for names and values of ours.
            let _ = builder.push(name.as_bytes(), value.as_bytes());
        }
        Self {
            builder,
            length: None,
            event_stream: false,
        }
    }

    fn push(&mut self, name: &[u8], value: &[u8]) -> PyResult<()> {
        let lower;
        let name = match name.iter().any(u8::is_ascii_uppercase) {
            true => {
                lower = name.to_ascii_lowercase();
                &lower[..]
            }
            false => name,
        };
        // They speak of a connection that the app has not got.
        if is_forbidden(name) {
            return Ok(());
        }
        let value = value.trim_ascii();
        if name == b"content-length" {
            let length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            let length = length.filter(|_| value.iter().all(u8::is_ascii_digit));
            if length.is_none() || self.length.is_some_and(|before| Some(before) != length) {
                return Err(PyValueError::new_err("bad content-length"));
            }
            if self.length.is_some() {
                return Ok(());
            }
            self.length = length;
        } else if name == b"content-type" {
            let essence = value.split(|b| *b == b';').next().unwrap_or_default();
            let essence = essence.trim_ascii_end();
            self.event_stream = essence.eq_ignore_ascii_case(b"text/event-stream");
        }
        self.builder.push(name, value).map_err(bad_field)
    }

    /// Tells the length of a body that is whole.
    pub(crate) fn set_length(&mut self, length: usize) {
        let length = length.to_string();
        // A head that is full goes without.
        let _ = self.builder.push(b"content-length", length.as_bytes());
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> PyResult<()> {
        self.builder.push(name, value).map_err(bad_field)
    }

    pub(crate) fn build(self) -> Fields {
        self.builder.build()
    }
}

fn bad_field(error: FieldsError) -> PyErr {
    PyValueError::new_err(format!("a header cannot be sent: {error}"))
}
