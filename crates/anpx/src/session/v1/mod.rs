//! STUB, being written.
#![allow(missing_docs, unused_variables, clippy::todo)]
use super::{End, Event, Read, StreamId, Transmit};
use crate::{
    OpenError, ResetCode, SessionError, StreamError,
    fields::Fields,
    head::{RequestHead, ResponseHead},
};
use bytes::Bytes;
use std::time::Instant;

#[derive(Debug)]
pub struct Session;
impl Session {
    pub fn new(config: super::config::V1Config, now: Instant) -> Self {
        todo!()
    }
    pub fn handle_binary(&mut self, now: Instant, message: Bytes) -> Result<(), SessionError> {
        todo!()
    }
    pub fn handle_text(&mut self, now: Instant, message: &str) -> Result<(), SessionError> {
        todo!()
    }
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), SessionError> {
        todo!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    pub fn poll_transmit(&mut self, now: Instant, unwritten: usize) -> Option<Transmit> {
        todo!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }
    pub fn drain(&mut self) {
        todo!()
    }
    pub fn is_drained(&self) -> bool {
        todo!()
    }
    pub fn end(&mut self) {
        todo!()
    }
    pub fn capacity(&self) -> usize {
        todo!()
    }
    pub fn open_streams(&self) -> usize {
        todo!()
    }
    pub fn open(
        &mut self,
        now: Instant,
        head: &RequestHead,
        body: Bytes,
        end: End,
    ) -> Result<StreamId, OpenError> {
        todo!()
    }
    pub fn first_capacity(&self) -> usize {
        todo!()
    }
    pub fn accept(&mut self) -> Option<(StreamId, RequestHead)> {
        todo!()
    }
    pub fn read(&mut self, now: Instant, id: StreamId) -> Result<Read, StreamError> {
        todo!()
    }
    pub fn inform(&mut self, id: StreamId, head: &ResponseHead) -> Result<(), StreamError> {
        todo!()
    }
    pub fn respond(
        &mut self,
        id: StreamId,
        head: &ResponseHead,
        body: Bytes,
        end: End,
    ) -> Result<(), StreamError> {
        todo!()
    }
    pub fn send_capacity(&self, id: StreamId) -> Result<usize, StreamError> {
        todo!()
    }
    pub fn send_data(&mut self, id: StreamId, data: Bytes, end: End) -> Result<(), StreamError> {
        todo!()
    }
    pub fn send_trailers(&mut self, id: StreamId, trailers: Fields) -> Result<(), StreamError> {
        todo!()
    }
    pub fn reset(&mut self, id: StreamId, code: ResetCode) {
        todo!()
    }
    pub fn stream_error(&self, id: StreamId) -> Option<StreamError> {
        todo!()
    }
    pub fn is_committed(&self, id: StreamId) -> bool {
        todo!()
    }
    pub fn release(&mut self, id: StreamId) {
        todo!()
    }
}
