//! Describes the value of one TLV by its tag.

use anpx::{Fields, ResetCode, tlv};

use super::{
    parts::{Field, Head},
    report::Report,
};

/// Most bytes of a body or an unknown value that are shown.
const PREVIEW: usize = 64;

/// Reports on `field`.
pub(super) fn describe(head: Head, field: &Field, report: &mut Report) {
    let name = field.name();
    let value = &field.value[..];
    match field.tag {
        tlv::HTTP_BODY => {
            let length = format!("{} bytes", value.len());
            report.field(field.at, &name, length);
            if !value.is_empty() {
                report.more(preview(value));
            }
        }
        tlv::HTTP_META | tlv::RESP_META => json(field, report),
        tlv::HEADERS => headers(field, report),
        tlv::STATUS
        | tlv::CHUNK_IDX
        | tlv::CHUNK_TOT
        | tlv::FINAL_CHUNK
        | tlv::CREDIT
        | tlv::CODE
        | tlv::LAST_STREAM
        | tlv::MAX_FRAME_BODY
        | tlv::INITIAL_WINDOW
        | tlv::MAX_STREAMS
        | tlv::ACCEPTING => match number(value) {
            Some(number) if field.tag == tlv::CODE => {
                report.field(field.at, &name, ResetCode(number));
            }
            Some(number) => report.field(field.at, &name, number),
            None => report.field(field.at, &name, hex(value)),
        },
        tlv::REQUEST_ID
        | tlv::METHOD
        | tlv::TARGET
        | tlv::AUTHORITY
        | tlv::SCHEME
        | tlv::PROTOCOL
        | tlv::CLIENT_ADDR
        | tlv::MESSAGE => text(field, report),
        _ => {
            report.field(field.at, &name, format!("{} bytes", value.len()));
            if !value.is_empty() {
                report.more(preview(value));
            }
            if !(head.version == 1 && field.tag >= 0xf0) {
                report.note(format!(
                    "{name} is not defined and is skipped by its reader"
                ));
            }
        }
    }
}

/// A big-endian number of one, two or four bytes.
pub(super) fn number(value: &[u8]) -> Option<u32> {
    match *value {
        [a] => Some(u32::from(a)),
        [a, b] => Some(u32::from(u16::from_be_bytes([a, b]))),
        [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
        _ => None,
    }
}

/// `41 4e 50`, at most [`PREVIEW`] bytes of it.
pub(super) fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> = bytes
        .iter()
        .take(PREVIEW)
        .map(|b| format!("{b:02x}"))
        .collect();
    let dots = if bytes.len() > PREVIEW { " …" } else { "" };
    match bytes.len() {
        0 => "no bytes".to_owned(),
        _ => format!("{}{dots}", shown.join(" ")),
    }
}

/// The start of `bytes`: quoted where it is text, else in hex.
fn preview(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(PREVIEW)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // The preview may end inside a character.
        Err(error) if error.error_len().is_none() => start
            .get(..error.valid_up_to())
            .and_then(|valid| std::str::from_utf8(valid).ok()),
        Err(_) => None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    match text {
        Some(text) if !text.is_empty() && text.chars().all(plain) => {
            let dots = if bytes.len() > text.len() { " …" } else { "" };
            format!("\"{}\"{dots}", text.escape_debug())
        }
        _ => hex(bytes),
    }
}

fn text(field: &Field, report: &mut Report) {
    match std::str::from_utf8(&field.value) {
        Ok(text) => report.field(
            field.at,
            &field.name(),
            format!("\"{}\"", text.escape_debug()),
        ),
        Err(error) => {
            report.field(field.at, &field.name(), hex(&field.value));
            // A target is bytes; the rest is text.
            if field.tag != tlv::TARGET {
                report.wrong(
                    field.at + tlv::HEAD + error.valid_up_to(),
                    format!("{} is not UTF-8", field.name()),
                );
            }
        }
    }
}

fn json(field: &Field, report: &mut Report) {
    let name = field.name();
    report.field(
        field.at,
        &name,
        format!("{} bytes of JSON", field.value.len()),
    );
    match serde_json::from_slice::<serde_json::Value>(&field.value) {
        Ok(json) => {
            let pretty = serde_json::to_string_pretty(&json).unwrap_or_else(|_| json.to_string());
            for line in pretty.lines() {
                report.more(line);
            }
            if !json.is_object() {
                report.wrong(field.at + tlv::HEAD, format!("{name} is no JSON object"));
            }
        }
        Err(error) => {
            report.more(preview(&field.value));
            report.wrong(field.at + tlv::HEAD, format!("{name} is not JSON: {error}"));
        }
    }
}

fn headers(field: &Field, report: &mut Report) {
    report.field(
        field.at,
        &field.name(),
        format!("{} bytes", field.value.len()),
    );
    let block = &field.value[..];
    let mut at = 0;
    while at < block.len() {
        let pair = string(block, at).and_then(|(name, next)| {
            let (value, next) = string(block, next)?;
            Some((name, value, next))
        });
        let Some((name, value, next)) = pair else {
            report.wrong(
                field.at + tlv::HEAD + at,
                "the header that begins here reaches past the end of its block",
            );
            return;
        };
        report.more(format!("{}: {}", header_text(name), header_text(value)));
        // The rules of one field at a time, so that the report names the byte; the limits of the
        // whole block are judged below.
        if let Err(error) = Fields::from_block(field.value.slice(at..next)) {
            report.wrong(field.at + tlv::HEAD + at, error);
        }
        at = next;
    }
    if let Err(error @ anpx::FieldsError::TooLarge) = Fields::from_block(field.value.clone()) {
        report.wrong(field.at, format!("{error} (64 KiB, 256 fields)"));
    }
}

/// The length-prefixed string at `at`, and where the next begins.
fn string(block: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (length, rest) = block.get(at..)?.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some((rest.get(..length)?, at + 2 + length))
}

/// Header bytes as text: UTF-8 where they are, the rest escaped.
fn header_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
