//! Connection scopes (ASGI, "HTTP & WebSocket").

use std::{borrow::Cow, net::SocketAddr};

use anpx::RequestHead;
use percent_encoding::percent_decode;
use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyList, PyString, PyTuple},
};

use crate::{env::Env, exchange::Kind};

/// The scope of the request `head`.
///
/// # Errors
/// Python has no memory left.
pub(crate) fn scope<'py>(
    py: Python<'py>,
    env: &Env,
    head: &RequestHead,
    kind: Kind,
) -> PyResult<Bound<'py, PyDict>> {
    let is_websocket = kind == Kind::WebSocket;
    let scope = PyDict::new(py);
    let (path, query) = split(&head.target);
    scope.set_item(
        intern!(py, "type"),
        match is_websocket {
            true => intern!(py, "websocket"),
            false => intern!(py, "http"),
        },
    )?;
    let asgi = PyDict::new(py);
    asgi.set_item(intern!(py, "version"), intern!(py, "3.0"))?;
    asgi.set_item(intern!(py, "spec_version"), intern!(py, "2.4"))?;
    scope.set_item(intern!(py, "asgi"), asgi)?;
    scope.set_item(intern!(py, "http_version"), intern!(py, "1.1"))?;
    scope.set_item(intern!(py, "scheme"), scheme(py, head, is_websocket))?;
    if !is_websocket {
        scope.set_item(intern!(py, "method"), method(py, &head.method))?;
    }
    let root = root(env, head);
    scope.set_item(intern!(py, "root_path"), root)?;
    // `OPTIONS *` is about no path.
    let root = if path == b"*" { "" } else { root };
    scope.set_item(intern!(py, "path"), decoded(py, root, path))?;
    scope.set_item(intern!(py, "raw_path"), raw(py, root, path))?;
    scope.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
    scope.set_item(intern!(py, "headers"), headers(py, env, head, kind)?)?;
    scope.set_item(intern!(py, "client"), client(py, head)?)?;
    scope.set_item(intern!(py, "server"), server(py, head)?)?;
    let extensions = PyDict::new(py);
    let extension = match is_websocket {
        true => {
            let offered = subprotocols(py, head)?;
            scope.set_item(intern!(py, "subprotocols"), offered)?;
            intern!(py, "websocket.http.response")
        }
        false => intern!(py, "http.response.trailers"),
    };
    extensions.set_item(extension, PyDict::new(py))?;
    scope.set_item(intern!(py, "extensions"), extensions)?;
    if let Some(state) = &env.state {
        scope.set_item(intern!(py, "state"), state.bind(py).copy()?)?;
    }
    Ok(scope)
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
fn root<'a>(env: &'a Env, head: &'a RequestHead) -> &'a str {
    if !env.root_path.is_empty() {
        return &env.root_path;
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
    env: &Env,
    head: &RequestHead,
    kind: Kind,
) -> PyResult<Bound<'py, PyList>> {
    let mut cache = env.fields.lock();
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
fn client<'py>(py: Python<'py>, head: &RequestHead) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let address = head.client_addr.as_deref();
    let address = address.and_then(|a| std::str::from_utf8(a).ok()?.parse::<SocketAddr>().ok());
    address
        .map(|address| (address.ip().to_string(), address.port()).into_pyobject(py))
        .transpose()
}

/// `(host, port)` that the caller asked for; the port of the scheme where it named none.
fn server<'py>(py: Python<'py>, head: &RequestHead) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let authority = String::from_utf8_lossy(&head.authority);
    if authority.is_empty() {
        return Ok(None);
    }
    let named = authority
        .rsplit_once(':')
        .filter(|(host, port)| !port.is_empty() && (!host.contains(':') || host.ends_with(']')));
    let named = named.and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, port) = named.unwrap_or((
        &authority,
        if head.scheme == b"https"[..] { 443 } else { 80 },
    ));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, port).into_pyobject(py).map(Some)
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
