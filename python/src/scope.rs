//! Connection scopes (ASGI, "HTTP & WebSocket").

use std::{borrow::Cow, net::SocketAddr};

use anpx::RequestHead;
use parking_lot::Mutex;
use percent_encoding::percent_decode;
use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use crate::{fields::FieldCache, kept::Kept};

/// Addresses of callers kept as Python objects, and of servers that they asked for.
const PLACES: usize = 256;

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP; `chunked` with a body of unknown length.
    Http { chunked: bool },
    /// A WebSocket handshake.
    WebSocket,
}

/// What the scopes of a receiver have in common.
pub(crate) struct Scopes {
    /// The app's state from its lifespan, copied into each.
    state: Option<Py<PyDict>>,
    root_path: String,
    fields: Mutex<FieldCache>,
    http: Py<PyDict>,
    websocket: Py<PyDict>,
    clients: Mutex<Kept>,
    servers: Mutex<Kept>,
}

impl Scopes {
    /// Scopes with every key that each has, so that a copy need not grow.
    ///
    /// # Errors
    /// Python has no memory left.
    pub(crate) fn new(
        py: Python<'_>,
        state: Option<Py<PyDict>>,
        root_path: String,
    ) -> PyResult<Self> {
        let make = |kind: &str, spec_version: &str, own: &str, extension: &str| {
            let scope = PyDict::new(py);
            let asgi = PyDict::new(py);
            asgi.set_item("version", "3.0")?;
            asgi.set_item("spec_version", spec_version)?;
            let extensions = PyDict::new(py);
            extensions.set_item(extension, PyDict::new(py))?;
            scope.set_item("type", kind)?;
            scope.set_item("asgi", asgi)?;
            scope.set_item("http_version", "1.1")?;
            for key in [
                "scheme",
                own,
                "root_path",
                "path",
                "raw_path",
                "query_string",
                "headers",
                "client",
                "server",
            ] {
                scope.set_item(key, py.None())?;
            }
            scope.set_item("extensions", extensions)?;
            Ok::<_, PyErr>(scope.unbind())
        };
        Ok(Self {
            state,
            root_path,
            fields: Mutex::new(FieldCache::new()),
            // As of 2.4 an app need not listen for the caller to leave, and Starlette does not: a stream
            // that waits for something else would go on, and work behind it would not be done.
            http: make("http", "2.3", "method", "http.response.trailers")?,
            websocket: make(
                "websocket",
                "2.4",
                "subprotocols",
                "websocket.http.response",
            )?,
            clients: Mutex::new(Kept::new(PLACES)),
            servers: Mutex::new(Kept::new(PLACES)),
        })
    }

    /// The scope of the request `head`.
    ///
    /// # Errors
    /// Python has no memory left.
    pub(crate) fn of<'py>(
        &self,
        py: Python<'py>,
        head: &RequestHead,
        kind: Kind,
    ) -> PyResult<Bound<'py, PyDict>> {
        let is_websocket = kind == Kind::WebSocket;
        let scope = match is_websocket {
            true => self.websocket.bind(py).copy()?,
            false => self.http.bind(py).copy()?,
        };
        // An app may change what it was given: the next one has its own.
        for key in [intern!(py, "asgi"), intern!(py, "extensions")] {
            if let Some(shared) = scope.get_item(key)? {
                scope.set_item(key, shared.cast::<PyDict>()?.copy()?)?;
            }
        }
        let (path, query) = split(&head.target);
        scope.set_item(intern!(py, "scheme"), scheme(py, head, is_websocket))?;
        match is_websocket {
            true => scope.set_item(intern!(py, "subprotocols"), subprotocols(py, head)?)?,
            false => scope.set_item(intern!(py, "method"), method(py, &head.method))?,
        }
        let root = root(&self.root_path, head);
        scope.set_item(intern!(py, "root_path"), root)?;
        // `OPTIONS *` is about no path.
        let root = if path == b"*" { "" } else { root };
        scope.set_item(intern!(py, "path"), decoded(py, root, path))?;
        scope.set_item(intern!(py, "raw_path"), raw(py, root, path))?;
        scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        scope.set_item(
            intern!(py, "headers"),
            headers(py, &mut self.fields.lock(), head, kind)?,
        )?;
        scope.set_item(
            intern!(py, "client"),
            client(py, &mut self.clients.lock(), head)?,
        )?;
        scope.set_item(
            intern!(py, "server"),
            server(py, &mut self.servers.lock(), head)?,
        )?;
        if let Some(state) = &self.state {
            scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
        }
        Ok(scope)
    }
}

/// Path and query of a target.
fn split(target: &[u8]) -> (&[u8], &[u8]) {
    match target.iter().position(|b| *b == b'?') {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, b""),
    }
}

fn scheme<'py>(py: Python<'py>, head: &RequestHead, ws: bool) -> Bound<'py, PyString> {
    match (head.scheme == b"https"[..], ws) {
        (false, false) => intern!(py, "http"),
        (true, false) => intern!(py, "https"),
        (false, true) => intern!(py, "ws"),
        (true, true) => intern!(py, "wss"),
    }
    .clone()
}

fn method<'py>(py: Python<'py>, method: &[u8]) -> Bound<'py, PyString> {
    match method {
        b"GET" => intern!(py, "GET").clone(),
        b"HEAD" => intern!(py, "HEAD").clone(),
        b"POST" => intern!(py, "POST").clone(),
        b"PUT" => intern!(py, "PUT").clone(),
        b"DELETE" => intern!(py, "DELETE").clone(),
        b"OPTIONS" => intern!(py, "OPTIONS").clone(),
        b"PATCH" => intern!(py, "PATCH").clone(),
        // A token is ASCII (RFC 9110 section 9.1).
        other => PyString::new(py, &String::from_utf8_lossy(other)),
    }
}

/// Where the app is mounted, without a slash at the end: what it was told by its user, or else what
/// the gateway took off the target. Gateways take `X-Forwarded-*` of strangers away.
fn root<'a>(told: &'a str, head: &'a RequestHead) -> &'a str {
    if !told.is_empty() {
        return told;
    }
    let prefix = head.headers.get("x-forwarded-prefix");
    let prefix = prefix.and_then(|prefix| std::str::from_utf8(prefix).ok());
    prefix.filter(|prefix| is_prefix(prefix)).unwrap_or("")
}

/// Whether it is a path of an endpoint: one that stands before others, and has nothing encoded.
fn is_prefix(prefix: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && !b"%?#,\\".contains(&b);
    let bounds = prefix.starts_with('/') && !prefix.starts_with("//") && !prefix.ends_with('/');
    bounds && prefix.bytes().all(plain)
}

/// The path after percent-decoding, below `root`.
fn decoded<'py>(py: Python<'py>, root: &str, path: &[u8]) -> Bound<'py, PyString> {
    let path: Cow<'_, [u8]> = match path.contains(&b'%') {
        true => percent_decode(path).into(),
        false => path.into(),
    };
    let path = String::from_utf8_lossy(&path);
    match root.is_empty() {
        true => PyString::new(py, &path),
        false => PyString::new(py, &format!("{root}{path}")),
    }
}

fn raw<'py>(py: Python<'py>, root: &str, path: &[u8]) -> Bound<'py, PyBytes> {
    match root.is_empty() {
        true => PyBytes::new(py, path),
        false => PyBytes::new(py, &[root.as_bytes(), path].concat()),
    }
}

/// The headers as the caller sent them, `Host` first, and what a hop says of the body or an upgrade,
/// since apps look for it.
fn headers<'py>(
    py: Python<'py>,
    cache: &mut FieldCache,
    head: &RequestHead,
    kind: Kind,
) -> PyResult<Bound<'py, PyList>> {
    let mut list = Vec::with_capacity(24);
    if !head.authority.is_empty() {
        list.push(cache.tuple(py, b"host", &head.authority)?);
    }
    for (name, value) in &head.headers {
        list.push(cache.tuple(py, name, value)?);
    }
    match kind {
        Kind::WebSocket => {
            list.push(cache.tuple(py, b"connection", b"upgrade")?);
            list.push(cache.tuple(py, b"upgrade", b"websocket")?);
        }
        Kind::Http { chunked: true } => {
            list.push(cache.tuple(py, b"transfer-encoding", b"chunked")?);
        }
        Kind::Http { chunked: false } => {}
    }
    PyList::new(py, list)
}

/// `(address, port)`, or None where the gateway did not say.
fn client<'py>(
    py: Python<'py>,
    clients: &mut Kept,
    head: &RequestHead,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let Some(text) = head.client_addr.as_deref() else {
        return Ok(None);
    };
    let address = |text| std::str::from_utf8(text).ok()?.parse::<SocketAddr>().ok();
    let tuple = clients.get(py, text, b"", || match address(text) {
        Some(address) => (address.ip().to_string(), address.port()).into_pyobject(py),
        None => Ok(PyTuple::empty(py)),
    })?;
    Ok(Some(tuple).filter(|tuple| !tuple.is_empty()))
}

/// `(host, port)` that the caller asked for; the port of the scheme where it named none.
fn server<'py>(
    py: Python<'py>,
    servers: &mut Kept,
    head: &RequestHead,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    if head.authority.is_empty() {
        return Ok(None);
    }
    let tuple = servers.get(py, &head.authority, &head.scheme, || {
        let authority = String::from_utf8_lossy(&head.authority);
        let named = authority.rsplit_once(':').filter(|(host, port)| {
            !port.is_empty() && (!host.contains(':') || host.ends_with(']'))
        });
        let named = named.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let standard = if head.scheme == b"https"[..] { 443 } else { 80 };
        let (host, port) = named.unwrap_or((&authority, standard));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host, port).into_pyobject(py)
    })?;
    Ok(Some(tuple))
}

/// What the caller offers in `Sec-WebSocket-Protocol` (RFC 6455 section 11.3.4).
fn subprotocols<'py>(py: Python<'py>, head: &RequestHead) -> PyResult<Bound<'py, PyList>> {
    let fields = head.headers.iter();
    let offers = fields.filter(|(name, _)| *name == b"sec-websocket-protocol");
    let names = offers.flat_map(|(_, value)| value.split(|b| *b == b','));
    let names = names.map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned());
    PyList::new(
        py,
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>(),
    )
}
