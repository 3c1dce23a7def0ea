//! Describes one frame: its header field by field, then its TLVs.

use anpx::{
    header::{
        FLAG_CHUNK, FLAG_END_STREAM, FLAG_INFORMATIONAL, FLAG_UPGRADE, Header, MAGIC, header_crc,
    },
    tlv, v1, v2,
};
use bytes::Bytes;

use super::{
    parts::{Field, Head},
    report::Report,
    rules, values,
};

/// Reports on `frame`, the `number`-th of the input, which stands at byte `start` of it and begins
/// with the magic.
pub(super) fn describe(number: usize, start: usize, frame: &Bytes, report: &mut Report) {
    let place = format!("frame {number} · bytes {start}..{}", start + frame.len());
    let Some(header) = frame.first_chunk::<{ Header::LEN }>() else {
        report.title(place);
        report.field(0, "magic", "ANPX");
        report.wrong(
            frame.len(),
            format!(
                "the input ends inside the header: found {} bytes, expected 24",
                frame.len()
            ),
        );
        return;
    };
    let head = Head {
        version: header[4],
        kind: header[5],
        flags: header[6],
        stream: be32(header, 20),
    };
    report.title(title(place, head));
    describe_header(header, head, frame, report);
    if matches!(head.version, 1 | 2) {
        let fields = describe_tlvs(frame, head, report);
        rules::check(head, &fields, report);
        if !report.is_bad() {
            judge(head.version, frame, report);
        }
    }
}

/// What the reader of gateway and receiver says to a frame in which nothing else was found.
fn judge(version: u8, frame: &Bytes, report: &mut Report) {
    let fault = if version == 1 {
        v1::codec::Decoded::decode(frame.clone())
            .err()
            .map(|error| error.to_string())
    } else {
        match v2::Frame::decode(frame) {
            Err(error) => Some(error.to_string()),
            Ok(v2::Frame {
                payload: v2::Payload::Faulty(_, fault),
                ..
            }) => Some(fault.to_string()),
            Ok(_) => None,
        }
    };
    if let Some(fault) = fault {
        report.refused(fault);
    }
}

fn title(place: String, head: Head) -> String {
    let mut title = format!("{place} · version {}", head.version);
    if let Some(name) = rules::kind_name(head.version, head.kind) {
        title.push_str(&format!(" {name}"));
    }
    if head.version == 2 {
        title.push_str(&format!(" · stream {}", head.stream));
    }
    for name in flag_names(head) {
        title.push_str(&format!(" · {name}"));
    }
    title
}

fn describe_header(header: &[u8; Header::LEN], head: Head, frame: &Bytes, report: &mut Report) {
    report.field(0, "magic", std::str::from_utf8(&MAGIC).unwrap_or_default());
    report.field(4, "version", head.version);
    if !matches!(head.version, 1 | 2) {
        report.wrong(4, format!("version is {}, expected 1 or 2", head.version));
    }
    let kind = rules::kind_name(head.version, head.kind).unwrap_or("unknown");
    report.field(5, "type", format!("{:#04x} {kind}", head.kind));
    match (head.version, kind) {
        (1, "unknown") => report.wrong(
            5,
            format!("type is {:#04x}, expected 0x01, 0x02 or 0xff", head.kind),
        ),
        (2, "unknown") => report.note("a frame of an unknown type is skipped by its reader"),
        _ => {}
    }
    let flags = flag_names(head).join(", ");
    report.field(
        6,
        "flags",
        format!("{:#04x} {flags}", head.flags).trim_end(),
    );
    let undefined = head.flags & !rules::known_flags(head.version);
    if undefined != 0 {
        report.note(format!(
            "flag bits {undefined:#04x} are not defined and are ignored"
        ));
    }
    if header[7] != 0 {
        report.note(format!(
            "byte 7 is {:#04x}; it is written 0 and not checked",
            header[7]
        ));
    }
    let total = be32(header, 8);
    report.field(8, "total length", total);
    if usize::try_from(total) != Ok(frame.len()) {
        report.wrong(8, wrong_length(total, frame.len()));
    }
    let crc = (be32(header, 12), header_crc(header));
    report.field(12, "header CRC", shown_crc(crc));
    if crc.0 != crc.1 {
        report.wrong(12, format!("header CRC: {}", mismatch(crc)));
    }
    let crc = (be32(header, 16), crc32fast::hash(&frame[Header::LEN..]));
    report.field(16, "body CRC", shown_crc(crc));
    if crc.0 != crc.1 {
        report.wrong(16, format!("body CRC: {}", mismatch(crc)));
    }
    if head.version == 2 {
        report.field(20, "stream id", head.stream);
    } else {
        report.field(20, "padding", format!("{:#010x}", head.stream));
        if head.version == 1 && head.stream != 0 {
            report.note("the padding is written 0 and not checked");
        }
    }
}

/// Describes the TLVs as far as they can be read.
fn describe_tlvs(frame: &Bytes, head: Head, report: &mut Report) -> Vec<Field> {
    let mut tlvs = tlv::Tlvs::new(frame, Header::LEN);
    let mut fields = Vec::new();
    loop {
        let at = tlvs.offset();
        match tlvs.next() {
            None => return fields,
            Some(Ok((tag, value))) => {
                let value = frame.slice_ref(value);
                let field = Field { at, tag, value };
                values::describe(head, &field, report);
                fields.push(field);
            }
            Some(Err(truncated)) => {
                report.wrong(truncated.at, cut_short(&frame[truncated.at..]));
                return fields;
            }
        }
    }
}

fn cut_short(rest: &[u8]) -> String {
    match *rest {
        [tag, a, b, c, d, ref value @ ..] => format!(
            "tag {tag:#04x} says its value has {} bytes, but the frame has only {} left",
            u32::from_be_bytes([a, b, c, d]),
            value.len()
        ),
        _ => format!(
            "found {} bytes, expected at least 5 (a tag and its length)",
            rest.len()
        ),
    }
}

fn wrong_length(total: u32, actual: usize) -> String {
    if total < 24 {
        format!("total length is {total}, less than the 24 bytes of a header")
    } else {
        format!("total length is {total}, but {actual} bytes are there")
    }
}

fn shown_crc((found, computed): (u32, u32)) -> String {
    let verdict = if found == computed { "ok" } else { "wrong" };
    format!("{found:#010x} {verdict}")
}

fn mismatch((found, computed): (u32, u32)) -> String {
    format!("found {found:#010x}, expected {computed:#010x}")
}

fn flag_names(head: Head) -> Vec<&'static str> {
    [
        (FLAG_CHUNK, "CHUNK"),
        (FLAG_END_STREAM, "END_STREAM"),
        (FLAG_UPGRADE, "UPGRADE"),
        (FLAG_INFORMATIONAL, "INFORMATIONAL"),
    ]
    .into_iter()
    .filter(|(bit, _)| head.flags & bit & rules::known_flags(head.version) != 0)
    .map(|(_, name)| name)
    .collect()
}

fn be32(header: &[u8; Header::LEN], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}
