//! HTTP heads as version 1 writes them: JSON metas (ANPX 2.1, 2.3).
//!
//! A gateway writes requests and reads responses; a receiver does the reverse. The two differ in
//! how header bytes become JSON strings.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use super::{error::MetaError, target::Losses};

use super::{
    fields::{self, Entries},
    target,
};
use crate::{
    classes,
    fields::{Fields, FieldsBuilder},
    head::{RequestHead, ResponseHead},
    limits::{MAX_HEAD_REST, MAX_TARGET},
    role::Role,
};

/// Most bytes of a meta that are parsed: a header block at its limit where each byte is written as
/// a JSON escape of six characters would need more, but no head of such bytes is seen.
pub const MAX_META: usize = 256 << 10;

#[derive(Deserialize)]
struct RequestMeta {
    method: String,
    path: String,
    #[serde(default)]
    headers: Entries,
    #[serde(default)]
    query: Entries,
}

#[derive(Deserialize)]
struct ResponseMeta {
    status: i64,
    #[serde(default)]
    headers: Entries,
}

/// The http_meta for `head`. `length` is the body's length in bytes, `None` while it is not known;
/// content-length is made from it alone. Written by a gateway.
pub fn write_request(head: &RequestHead, length: Option<u64>, losses: &mut Losses) -> Bytes {
    let mut headers = Map::new();
    if !head.authority.is_empty() {
        let host = String::from_utf8_lossy(&head.authority).into_owned();
        headers.insert("host".to_owned(), Value::String(host));
    }
    fields::write(&head.headers, Role::Gateway, &mut headers);
    if let Some(length) = request_length(&head.method, length) {
        put_length(&mut headers, length);
    }
    let (path, query) = target::split(&head.target, losses);
    let mut meta = Map::new();
    let method = String::from_utf8_lossy(&head.method).into_owned();
    meta.insert("method".to_owned(), Value::String(method));
    meta.insert("path".to_owned(), Value::String(path));
    meta.insert("headers".to_owned(), Value::Object(headers));
    meta.insert("query".to_owned(), Value::Object(query));
    Bytes::from(Value::Object(meta).to_string())
}

/// Reads an http_meta. `length` is the length of the body that came with it. Read by a receiver.
///
/// The scheme is `http` and the caller's address unknown, since version 1 carries neither.
///
/// # Errors
/// What is wrong with the meta. White space around a value is no error; it is removed.
pub fn read_request(meta: &[u8], request_id: Bytes, length: u64) -> Result<RequestHead, MetaError> {
    let meta: RequestMeta = parse(meta)?;
    if !classes::is_token(meta.method.as_bytes()) {
        return Err(MetaError::Method);
    }
    let mut map = fields::read(&meta.headers, Role::Receiver)?;
    let authority = map.host.take().unwrap_or_default();
    if !authority.iter().all(u8::is_ascii_graphic) {
        return Err(MetaError::Host);
    }
    if meta.method.len() + authority.len() > MAX_HEAD_REST {
        return Err(MetaError::TooLarge);
    }
    let mut target = Vec::with_capacity(meta.path.len() + 16);
    let query = meta.query.0.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    target::join(&meta.path, query, &mut target);
    if target.len() > MAX_TARGET {
        return Err(MetaError::TooLarge);
    }
    let length = request_length(meta.method.as_bytes(), Some(length));
    Ok(RequestHead {
        headers: with_length(map.fields, length)?,
        method: Bytes::from(meta.method),
        target: Bytes::from(target),
        scheme: Bytes::from_static(b"http"),
        authority: Bytes::from(authority),
        request_id,
        client_addr: None,
        protocol: None,
    })
}

/// The resp_meta for `head`, the answer to a HEAD request where `to_head`. `length` as in
/// [`write_request`]. Written by a receiver.
pub fn write_response(head: &ResponseHead, to_head: bool, length: Option<u64>) -> Bytes {
    let mut headers = Map::new();
    fields::write(&head.headers, Role::Receiver, &mut headers);
    let own = head.headers.get("content-length").and_then(fields::digits);
    if let Some(length) = response_length(head.status, to_head, own, length) {
        put_length(&mut headers, length);
    }
    let mut meta = Map::new();
    meta.insert("status".to_owned(), Value::from(head.status));
    meta.insert("headers".to_owned(), Value::Object(headers));
    Bytes::from(Value::Object(meta).to_string())
}

/// Reads a resp_meta, the answer to a HEAD request where `to_head`. `length` is the length of the
/// body, `None` while it is not known. Read by a gateway.
///
/// # Errors
/// As [`read_request`].
pub fn read_response(
    meta: &[u8],
    to_head: bool,
    length: Option<u64>,
) -> Result<ResponseHead, MetaError> {
    let meta: ResponseMeta = parse(meta)?;
    let status = u16::try_from(meta.status)
        .ok()
        .filter(|s| (200..600).contains(s))
        .ok_or(MetaError::Status(meta.status))?;
    let map = fields::read(&meta.headers, Role::Gateway)?;
    let length = response_length(status, to_head, map.content_length, length);
    Ok(ResponseHead {
        status,
        headers: with_length(map.fields, length)?,
    })
}

/// True where a response has no body whatever follows its head (RFC 9110 sections 6.4.1, 15.3.5, 15.4.5).
pub fn has_no_body(status: u16, to_head: bool) -> bool {
    to_head || status == 204 || status == 304
}

fn parse<'a, T: Deserialize<'a>>(meta: &'a [u8]) -> Result<T, MetaError> {
    if meta.len() > MAX_META {
        return Err(MetaError::TooLarge);
    }
    // A derived struct reads an array of its members as well.
    if meta.trim_ascii_start().first() != Some(&b'{') {
        return Err(MetaError::Json("not an object".to_owned()));
    }
    serde_json::from_slice(meta).map_err(|e| MetaError::Json(e.to_string()))
}

/// A method that anticipates a body says 0 for an empty one (RFC 9110 section 8.6); others say nothing.
fn request_length(method: &[u8], length: Option<u64>) -> Option<u64> {
    length.filter(|n| *n > 0 || matches!(method, b"POST" | b"PUT" | b"PATCH"))
}

fn response_length(
    status: u16,
    to_head: bool,
    own: Option<u64>,
    length: Option<u64>,
) -> Option<u64> {
    match status {
        204 => None,
        _ if to_head || status == 304 => own,
        _ => length,
    }
}

fn put_length(headers: &mut Map<String, Value>, length: u64) {
    let value = Value::String(length.to_string());
    headers.insert("content-length".to_owned(), value);
}

fn with_length(mut fields: FieldsBuilder, length: Option<u64>) -> Result<Fields, MetaError> {
    if let Some(length) = length {
        fields
            .push(b"content-length", length.to_string().as_bytes())
            .map_err(|_| MetaError::TooLarge)?;
    }
    Ok(fields.build())
}
