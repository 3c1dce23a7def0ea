//! The incoming half of a version-1 stream: chunks in order, held until read.

use bytes::Bytes;

use super::held::{Account, Buffer};
use crate::{
    ResetCode,
    head::ResponseHead,
    session::terms::{End, Read},
    v1::{chunk::Order, codec::Decoded, message},
};

#[derive(Debug, Default)]
pub(super) struct Incoming {
    order: Order,
    /// Receiver: the request's meta until the request is whole.
    meta: Option<Bytes>,
    /// Gateway: the head until it is read.
    head: Option<ResponseHead>,
    /// Gateway: a head was parsed.
    head_known: bool,
    no_body: bool,
    body: Buffer,
    /// Body bytes that came in all.
    received: u64,
    /// Bytes charged for this message.
    charged: u64,
    /// What of `charged` is the meta or the head.
    meta_charge: u64,
    whole: bool,
    end_read: bool,
}

impl Incoming {
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// True where [`Incoming::read`] has something to say.
    pub(super) fn is_readable(&self) -> bool {
        (self.head.is_some() || self.head_known && !self.body.is_empty()) || self.whole
    }

    /// Receiver: takes a frame of the request; true where it is whole with it.
    pub(super) fn take_request(
        &mut self,
        account: &mut Account,
        frame: Decoded,
    ) -> Result<bool, ResetCode> {
        let whole = self.accept(&frame)?;
        if self.meta.is_none()
            && let Some(meta) = frame.http_meta
        {
            self.charge_meta(account, meta.len())?;
            // A copy, so that the message it came in, body and all, is not kept for it.
            self.meta = Some(Bytes::copy_from_slice(&meta));
        }
        self.hold(account, frame.body)?;
        self.whole = whole;
        Ok(whole)
    }

    /// Receiver: the meta of a whole request, and its body's length.
    /// It stays charged until [`Incoming::refund_meta`].
    pub(super) fn take_meta(&mut self) -> (Option<Bytes>, u64) {
        // There is no head to read before the body.
        self.head_known = true;
        (self.meta.take(), self.received)
    }

    /// The head was handed on.
    pub(super) fn refund_meta(&mut self, account: &mut Account) {
        account.refund(&mut self.charged, self.meta_charge);
        self.meta_charge = 0;
    }

    /// Gateway: takes a frame of the response, the answer to a HEAD request where `to_head`; true
    /// where it is whole with it.
    pub(super) fn take_response(
        &mut self,
        account: &mut Account,
        frame: Decoded,
        to_head: bool,
    ) -> Result<bool, ResetCode> {
        let whole = self.accept(&frame)?;
        self.no_body |= to_head;
        self.hold(account, frame.body)?;
        if !self.head_known
            && let Some(meta) = frame.resp_meta
        {
            let length = whole.then_some(self.received);
            let head =
                message::read_response(&meta, to_head, length).map_err(|_| ResetCode::PROTOCOL)?;
            self.charge_meta(account, meta.len())?;
            if message::has_no_body(head.status, to_head) {
                self.no_body = true;
                self.body = Buffer::default();
                let body = self.charged - self.meta_charge;
                account.refund(&mut self.charged, body);
            }
            self.head = Some(head);
            self.head_known = true;
        }
        if whole && !self.head_known {
            return Err(ResetCode::PROTOCOL);
        }
        self.whole = whole;
        Ok(whole)
    }

    /// Checks the order of a frame that is not kept; true where the message is whole with it.
    pub(super) fn accept(&mut self, frame: &Decoded) -> Result<bool, ResetCode> {
        self.order.accept(frame).map_err(|_| ResetCode::PROTOCOL)
    }

    fn hold(&mut self, account: &mut Account, body: Bytes) -> Result<(), ResetCode> {
        if self.no_body || body.is_empty() {
            return Ok(());
        }
        if !account.charge(&mut self.charged, body.len()) {
            return Err(ResetCode::TOO_LARGE);
        }
        self.received += body.len() as u64;
        self.body.push(body);
        Ok(())
    }

    fn charge_meta(&mut self, account: &mut Account, len: usize) -> Result<(), ResetCode> {
        if len > message::MAX_META || !account.charge(&mut self.charged, len) {
            return Err(ResetCode::TOO_LARGE);
        }
        self.meta_charge = len as u64;
        Ok(())
    }

    pub(super) fn read(&mut self, account: &mut Account) -> Read {
        if !self.head_known || self.end_read {
            return Read::Pending;
        }
        if let Some(head) = self.head.take() {
            self.refund_meta(account);
            return Read::Head(head, self.end());
        }
        if let Some(data) = self.body.pop() {
            account.refund(&mut self.charged, data.len() as u64);
            return Read::Data(data, self.end());
        }
        match self.end() {
            End::Yes => Read::End,
            End::No => Read::Pending,
        }
    }

    fn end(&mut self) -> End {
        self.end_read = self.whole && self.body.is_empty();
        self.end_read.into()
    }

    /// Drops what is held; nothing can be read after it.
    pub(super) fn clear(&mut self, account: &mut Account) {
        let all = self.charged;
        account.refund(&mut self.charged, all);
        self.meta_charge = 0;
        self.meta = None;
        self.head = None;
        self.body = Buffer::default();
        self.end_read = true;
    }
}
