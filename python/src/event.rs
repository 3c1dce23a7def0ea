//! ASGI events: those an app is given, and those it sends.

use bytes::Bytes;
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyString},
};

use crate::fields::{self, Headers};

/// An event for an app.
#[derive(Debug)]
pub(crate) enum Event {
    /// `http.request`.
    Request { body: Bytes, more: bool },
    /// `http.disconnect`.
    Disconnect,
    /// `websocket.connect`.
    Connect,
    /// `websocket.receive` with a text.
    Text(tungstenite::Utf8Bytes),
    /// `websocket.receive` with bytes.
    Bytes(Bytes),
    /// `websocket.disconnect`.
    Closed { code: u16, reason: String },
}

impl Event {
    /// The dictionary an app gets.
    pub(crate) fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let event = PyDict::new(py);
        let kind = intern!(py, "type");
        match self {
            Self::Request { body, more } => {
                event.set_item(kind, intern!(py, "http.request"))?;
                event.set_item(intern!(py, "body"), PyBytes::new(py, &body))?;
                event.set_item(intern!(py, "more_body"), more)?;
            }
            Self::Disconnect => event.set_item(kind, intern!(py, "http.disconnect"))?,
            Self::Connect => event.set_item(kind, intern!(py, "websocket.connect"))?,
            Self::Text(text) => {
                event.set_item(kind, intern!(py, "websocket.receive"))?;
                event.set_item(intern!(py, "text"), text.as_str())?;
            }
            Self::Bytes(bytes) => {
                event.set_item(kind, intern!(py, "websocket.receive"))?;
                event.set_item(intern!(py, "bytes"), PyBytes::new(py, &bytes))?;
            }
            Self::Closed { code, reason } => {
                event.set_item(kind, intern!(py, "websocket.disconnect"))?;
                event.set_item(intern!(py, "code"), code)?;
                event.set_item(intern!(py, "reason"), reason)?;
            }
        }
        Ok(event.into_any().unbind())
    }
}

/// An event of an app.
pub(crate) enum Message {
    /// `http.response.start`, `websocket.http.response.start`.
    Start {
        status: u16,
        headers: Headers,
        trailers: bool,
    },
    /// `http.response.body`, `websocket.http.response.body`.
    Body { data: Bytes, more: bool },
    /// `http.response.trailers`.
    Trailers { headers: Headers, more: bool },
    /// `websocket.accept`.
    Accept {
        subprotocol: Option<String>,
        headers: Headers,
    },
    /// `websocket.send`.
    Send(tungstenite::Message),
    /// `websocket.close`.
    Close { code: u16, reason: String },
}

/// An app's event, and what it is called.
pub(crate) struct Sent {
    pub(crate) kind: &'static str,
    /// It answers a WebSocket handshake with a response.
    pub(crate) denies: bool,
    pub(crate) message: Message,
}

impl Sent {
    /// Reads an app's event.
    ///
    /// # Errors
    /// It is none: a field is missing, or of another type.
    pub(crate) fn from_python(event: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = event.py();
        let event = event
            .cast::<PyDict>()
            .map_err(|_| PyTypeError::new_err("expected an event to be a dict"))?;
        let kind = get(event, intern!(py, "type"))?
            .ok_or_else(|| PyValueError::new_err("an event has no \"type\""))?;
        let kind = kind.cast::<PyString>()?;
        let (name, denies, message) = match kind.to_cow()?.as_ref() {
            "http.response.start" => ("http.response.start", false, start(event)?),
            "http.response.body" => ("http.response.body", false, body(event)?),
            "http.response.trailers" => ("http.response.trailers", false, trailers(event)?),
            "websocket.accept" => ("websocket.accept", false, accept(event)?),
            "websocket.send" => ("websocket.send", false, send(event)?),
            "websocket.close" => ("websocket.close", false, close(event)?),
            "websocket.http.response.start" => {
                ("websocket.http.response.start", true, start(event)?)
            }
            "websocket.http.response.body" => ("websocket.http.response.body", true, body(event)?),
            other => {
                return Err(PyRuntimeError::new_err(format!(
                    "unknown ASGI message {other:?}"
                )));
            }
        };
        Ok(Self {
            kind: name,
            denies,
            message,
        })
    }
}

/// A value that is there and not None.
fn get<'py>(
    event: &Bound<'py, PyDict>,
    key: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(event.get_item(key)?.filter(|value| !value.is_none()))
}

fn flag(event: &Bound<'_, PyDict>, key: &Bound<'_, PyString>) -> PyResult<bool> {
    get(event, key)?.map_or(Ok(false), |value| value.is_truthy())
}

fn headers(event: &Bound<'_, PyDict>) -> PyResult<Headers> {
    match get(event, intern!(event.py(), "headers"))? {
        Some(headers) => fields::from_python(&headers),
        None => Ok(Headers::ours(&[])),
    }
}

fn start(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    let py = event.py();
    let status = get(event, intern!(py, "status"))?;
    let status = status.ok_or_else(|| PyValueError::new_err("a response has no \"status\""))?;
    // An http.HTTPStatus is an int, too.
    let status: u16 = status.extract()?;
    if !(200..=599).contains(&status) {
        let message = format!("expected a status from 200 to 599, got {status}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Message::Start {
        status,
        headers: headers(event)?,
        trailers: flag(event, intern!(py, "trailers"))?,
    })
}

fn body(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    let py = event.py();
    let data = match get(event, intern!(py, "body"))? {
        Some(data) => bytes(&data)?,
        None => Bytes::new(),
    };
    let more = flag(event, intern!(py, "more_body"))?;
    Ok(Message::Body { data, more })
}

fn trailers(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    Ok(Message::Trailers {
        headers: headers(event)?,
        more: flag(event, intern!(event.py(), "more_trailers"))?,
    })
}

fn accept(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    let subprotocol = get(event, intern!(event.py(), "subprotocol"))?;
    Ok(Message::Accept {
        subprotocol: subprotocol.map(|name| name.extract()).transpose()?,
        headers: headers(event)?,
    })
}

fn send(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    let py = event.py();
    if let Some(text) = get(event, intern!(py, "text"))? {
        let text: String = text.extract()?;
        return Ok(Message::Send(tungstenite::Message::Text(text.into())));
    }
    match get(event, intern!(py, "bytes"))? {
        Some(data) => Ok(Message::Send(tungstenite::Message::Binary(bytes(&data)?))),
        None => Err(PyValueError::new_err(
            "websocket.send has neither \"text\" nor \"bytes\"",
        )),
    }
}

fn close(event: &Bound<'_, PyDict>) -> PyResult<Message> {
    let py = event.py();
    let code = get(event, intern!(py, "code"))?;
    let reason = get(event, intern!(py, "reason"))?;
    Ok(Message::Close {
        code: code.map_or(Ok(1000), |code| code.extract())?,
        reason: reason.map_or(Ok(String::new()), |reason| reason.extract())?,
    })
}

/// A copy of what a bytes-like object holds.
fn bytes(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(data) = data.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(data.as_bytes()));
    }
    // A bytearray or a memoryview: made bytes by Python, which knows how each is read safely.
    let builtin = data.py().import(intern!(data.py(), "builtins"))?;
    if data.is_instance_of::<PyString>() || data.is_instance_of::<pyo3::types::PyInt>() {
        return Err(PyTypeError::new_err("expected a body to be bytes"));
    }
    let copied = builtin
        .getattr(intern!(data.py(), "bytes"))?
        .call1((data,))?;
    Ok(Bytes::copy_from_slice(copied.cast::<PyBytes>()?.as_bytes()))
}
