//! The TLVs of one version-2 frame, collected with their rules: no tag twice, fixed sizes exact.

use super::malformed::MalformedFrame;
use crate::{header::Header, tlv};

/// The values of the tags that version 2 defines, absent ones `None`.
#[derive(Debug, Default)]
pub(super) struct Tags<'a> {
    pub(super) request_id: Option<&'a [u8]>,
    pub(super) body: Option<&'a [u8]>,
    pub(super) method: Option<&'a [u8]>,
    pub(super) target: Option<&'a [u8]>,
    pub(super) authority: Option<&'a [u8]>,
    pub(super) scheme: Option<&'a [u8]>,
    pub(super) headers: Option<&'a [u8]>,
    pub(super) protocol: Option<&'a [u8]>,
    pub(super) client_addr: Option<&'a [u8]>,
    pub(super) message: Option<&'a [u8]>,
    pub(super) status: Option<u16>,
    pub(super) credit: Option<u32>,
    pub(super) code: Option<u32>,
    pub(super) last_stream: Option<u32>,
    pub(super) max_frame_body: Option<u32>,
    pub(super) initial_window: Option<u32>,
    pub(super) max_streams: Option<u32>,
    pub(super) accepting: Option<u8>,
}

impl<'a> Tags<'a> {
    pub(super) fn read(frame: &'a [u8]) -> Result<Self, MalformedFrame> {
        let mut tags = Self::default();
        let mut seen = Seen::default();
        let mut tlvs = tlv::Tlvs::new(frame, Header::LEN);
        loop {
            let at = tlvs.offset();
            let Some(next) = tlvs.next() else {
                return Ok(tags);
            };
            let (tag, value) = next?;
            if !seen.insert(tag) {
                return Err(MalformedFrame::RepeatedTag { tag, at });
            }
            let size = |expected| MalformedFrame::TagSize {
                tag,
                at,
                found: value.len(),
                expected,
            };
            let u32_value = || {
                value
                    .try_into()
                    .map(u32::from_be_bytes)
                    .map_err(|_| size(4))
            };
            match tag {
                tlv::STATUS => {
                    let bytes = value.try_into().map_err(|_| size(2))?;
                    tags.status = Some(u16::from_be_bytes(bytes));
                }
                tlv::ACCEPTING => {
                    let [value] = value.try_into().map_err(|_| size(1))?;
                    tags.accepting = Some(value);
                }
                tlv::CREDIT => tags.credit = Some(u32_value()?),
                tlv::CODE => tags.code = Some(u32_value()?),
                tlv::LAST_STREAM => tags.last_stream = Some(u32_value()?),
                tlv::MAX_FRAME_BODY => tags.max_frame_body = Some(u32_value()?),
                tlv::INITIAL_WINDOW => tags.initial_window = Some(u32_value()?),
                tlv::MAX_STREAMS => tags.max_streams = Some(u32_value()?),
                tlv::REQUEST_ID => tags.request_id = Some(value),
                tlv::HTTP_BODY => tags.body = Some(value),
                tlv::METHOD => tags.method = Some(value),
                tlv::TARGET => tags.target = Some(value),
                tlv::AUTHORITY => tags.authority = Some(value),
                tlv::SCHEME => tags.scheme = Some(value),
                tlv::HEADERS => tags.headers = Some(value),
                tlv::PROTOCOL => tags.protocol = Some(value),
                tlv::CLIENT_ADDR => tags.client_addr = Some(value),
                tlv::MESSAGE => tags.message = Some(value),
                _ => {}
            }
        }
    }
}

/// A set of tags.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    /// False where the tag was there already.
    fn insert(&mut self, tag: u8) -> bool {
        let (word, bit) = (&mut self.0[usize::from(tag >> 6)], 1 << (tag & 63));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}
