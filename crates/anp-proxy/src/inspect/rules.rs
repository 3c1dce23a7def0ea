//! The rules of ANPX that one frame alone can break.

use anpx::{
    header::{FLAG_CHUNK, FLAG_END_STREAM, FLAG_INFORMATIONAL, FLAG_UPGRADE},
    tlv,
};

use super::{
    parts::{Field, Head},
    report::Report,
    values::number,
};

/// The name of a frame type.
pub(super) fn kind_name(version: u8, kind: u8) -> Option<&'static str> {
    Some(match (version, kind) {
        (1, 0x01) => "HTTP request",
        (1, 0x02) => "HTTP response",
        (1, 0xff) => "error",
        (2, 0x01) => "REQUEST",
        (2, 0x02) => "RESPONSE",
        (2, 0x03) => "DATA",
        (2, 0x04) => "TRAILERS",
        (2, 0x05) => "WINDOW",
        (2, 0x06) => "RESET",
        (2, 0x07) => "SETTINGS",
        (2, 0x08) => "GOAWAY",
        _ => return None,
    })
}

/// The flags a version defines.
pub(super) fn known_flags(version: u8) -> u8 {
    match version {
        1 => FLAG_CHUNK,
        2 => FLAG_END_STREAM | FLAG_UPGRADE | FLAG_INFORMATIONAL,
        _ => 0,
    }
}

/// Reports every rule that `head` and `fields` break together.
pub(super) fn check(head: Head, fields: &[Field], report: &mut Report) {
    repeats(head, fields, report);
    for (index, field) in fields.iter().enumerate() {
        // Of a repeated tag version 1 reads the first only.
        let unread = head.version == 1 && fields[..index].iter().any(|f| f.tag == field.tag);
        if !unread {
            length(head.version, field, report);
        }
    }
    match head.version {
        1 => version_1(head, fields, report),
        _ => version_2(head, fields, report),
    }
}

fn repeats(head: Head, fields: &[Field], report: &mut Report) {
    for (index, field) in fields.iter().enumerate() {
        if !fields[..index].iter().any(|f| f.tag == field.tag) {
            continue;
        }
        let name = field.name();
        match head.version {
            1 => report.note(format!(
                "{name} at byte {} repeats; the first counts",
                field.at
            )),
            _ => report.wrong(field.at, format!("{name} stands here a second time")),
        }
    }
}

/// Fixed-size tags have no other size.
fn length(version: u8, field: &Field, report: &mut Report) {
    let expected: &[usize] = match (version, field.tag) {
        (1, tlv::FINAL_CHUNK) => &[1, 4],
        (1, tlv::CHUNK_IDX | tlv::CHUNK_TOT) => &[4],
        (2, tlv::STATUS) => &[2],
        (2, tlv::ACCEPTING) => &[1],
        (
            2,
            tlv::CREDIT
            | tlv::CODE
            | tlv::LAST_STREAM
            | tlv::MAX_FRAME_BODY
            | tlv::INITIAL_WINDOW
            | tlv::MAX_STREAMS,
        ) => &[4],
        _ => return,
    };
    if !expected.contains(&field.value.len()) {
        let expected: Vec<String> = expected.iter().map(usize::to_string).collect();
        report.wrong(
            field.at + 1,
            format!(
                "{} has {} bytes, expected {}",
                field.name(),
                field.value.len(),
                expected.join(" or ")
            ),
        );
    }
}

fn find(fields: &[Field], tag: u8) -> Option<&Field> {
    fields.iter().find(|field| field.tag == tag)
}

fn require(tag: u8, fields: &[Field], report: &mut Report) {
    if find(fields, tag).is_none() {
        let name = tlv::name(tag).unwrap_or("a tag");
        report.wrong(24, format!("{name} (tag {tag:#04x}) is missing"));
    }
}

fn version_1(head: Head, fields: &[Field], report: &mut Report) {
    let chunk = head.flags & FLAG_CHUNK != 0;
    if head.kind != 0xff {
        require(tlv::REQUEST_ID, fields, report);
        if fields.first().is_some_and(|f| f.tag != tlv::REQUEST_ID)
            && find(fields, tlv::REQUEST_ID).is_some()
        {
            report.wrong(24, "request_id is not the first TLV");
        }
    }
    if chunk {
        require(tlv::CHUNK_IDX, fields, report);
    } else {
        match head.kind {
            0x01 => require(tlv::HTTP_META, fields, report),
            0x02 => require(tlv::RESP_META, fields, report),
            _ => {}
        }
    }
    let index = find(fields, tlv::CHUNK_IDX).and_then(|f| number(&f.value));
    let total = find(fields, tlv::CHUNK_TOT).and_then(|f| Some((f.at, number(&f.value)?)));
    if let (Some(index), Some((at, total))) = (index, total)
        && index >= total
    {
        report.wrong(
            at,
            format!("chunk_tot is {total}, but this is chunk {index} counted from 0"),
        );
    }
}

fn version_2(head: Head, fields: &[Field], report: &mut Report) {
    let (required, session): (&[u8], bool) = match head.kind {
        0x01 => (
            &[tlv::METHOD, tlv::TARGET, tlv::SCHEME, tlv::AUTHORITY],
            false,
        ),
        0x02 => (&[tlv::STATUS], false),
        0x03 => (&[], false),
        0x04 => (&[tlv::HEADERS], false),
        0x05 => (&[tlv::CREDIT], false),
        0x06 => (&[tlv::CODE], false),
        0x07 => (&[], true),
        0x08 => (&[tlv::CODE], true),
        _ => return,
    };
    for tag in required {
        require(*tag, fields, report);
    }
    match (session, head.stream) {
        (true, 1..) => report.wrong(
            20,
            format!(
                "stream id is {}, expected 0: the frame is of the session",
                head.stream
            ),
        ),
        (false, 0) => report.wrong(20, "stream id is 0, expected that of a stream"),
        _ => {}
    }
    if head.kind == 0x04 && head.flags & FLAG_END_STREAM == 0 {
        report.wrong(6, "TRAILERS without END_STREAM");
    }
    if let Some(field) = find(fields, tlv::STATUS) {
        status(head, field, report);
    }
    for (tag, low, high) in [
        (tlv::CREDIT, 1, (1 << 31) - 1),
        (tlv::MAX_FRAME_BODY, 4 << 10, 1 << 20),
        (tlv::INITIAL_WINDOW, 16 << 10, 16 << 20),
        (tlv::MAX_STREAMS, 1, 65535),
    ] {
        let Some(field) = find(fields, tag) else {
            continue;
        };
        if let Some(value) = number(&field.value).filter(|v| !(low..=high).contains(v)) {
            report.wrong(
                field.at + tlv::HEAD,
                format!("{} is {value}, expected {low} to {high}", field.name()),
            );
        }
    }
}

fn status(head: Head, field: &Field, report: &mut Report) {
    let Some(status) = number(&field.value) else {
        return;
    };
    let informational = head.flags & FLAG_INFORMATIONAL != 0;
    let expected = if informational {
        "100 or 102 to 199 with INFORMATIONAL"
    } else {
        "200 to 599, or 101 on an upgrade"
    };
    let good = match status {
        101 => !informational,
        100..=199 => informational,
        200..=599 => !informational,
        _ => false,
    };
    if !good {
        report.wrong(
            field.at + tlv::HEAD,
            format!("status is {status}, expected {expected}"),
        );
    }
    if informational && head.flags & FLAG_END_STREAM != 0 {
        report.wrong(6, "END_STREAM on an INFORMATIONAL response");
    }
}
