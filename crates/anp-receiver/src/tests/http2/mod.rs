//! Apps that speak HTTP/2.

mod again;
mod calls;
mod connections;
mod failures;
mod flow;
mod late;
mod raw;
mod upgrades;

use std::{cell::Cell, future::poll_fn, rc::Rc};

use anp_tunnel::{Head, Part};
use anpx::{Fields, ResetCode, StreamError, session::End};
use bytes::{Bytes, BytesMut};
use h2::{
    Reason,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::{JoinHandle, spawn_local},
};

use super::{Call, Gateway, on_worker, texts};

const UNREACHABLE: StreamError = StreamError::Reset(ResetCode::UPSTREAM_UNREACHABLE);
const FAILED: StreamError = StreamError::Reset(ResetCode::UPSTREAM_FAILED);

/// An app that takes HTTP/2 connections.
struct App {
    listener: TcpListener,
}

/// One of its connections.
struct Peer {
    calls: mpsc::UnboundedReceiver<Asked>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// A request, as the app sees it.
struct Asked {
    request: Request<h2::RecvStream>,
    answer: SendResponse<Bytes>,
}

impl App {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    fn url(&self) -> String {
        format!("h2c://{}", self.listener.local_addr().unwrap())
    }

    async fn accept(&self) -> Peer {
        self.accept_as(&mut Builder::new()).await
    }

    async fn accept_as(&self, builder: &mut Builder) -> Peer {
        let (io, _) = self.listener.accept().await.unwrap();
        let mut connection = builder.handshake(io).await.unwrap();
        let (sender, calls) = mpsc::unbounded_channel();
        let (stop, mut stopped) = oneshot::channel();
        let task = spawn_local(async move {
            let mut stopping = false;
            loop {
                tokio::select! {
                    told = &mut stopped, if !stopping => {
                        stopping = true;
                        if told.is_ok() {
                            connection.graceful_shutdown();
                        }
                    }
                    call = connection.accept() => match call {
                        Some(Ok((request, answer))) => {
                            let _ = sender.send(Asked { request, answer });
                        }
                        _ => break,
                    },
                }
            }
        });
        Peer {
            calls,
            stop: Some(stop),
            task,
        }
    }
}

impl Peer {
    async fn asked(&mut self) -> Asked {
        self.calls.recv().await.unwrap()
    }

    /// Takes no more requests.
    fn go_away(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Ends with its socket.
    async fn die(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

impl Asked {
    /// The next bytes of the request; an empty frame may carry its end.
    async fn text(&mut self) -> Option<String> {
        loop {
            let data = self.request.body_mut().data().await?.unwrap();
            let taken = self.request.body_mut().flow_control();
            taken.release_capacity(data.len()).unwrap();
            if !data.is_empty() {
                return Some(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }

    fn respond(&mut self, end: bool) -> h2::SendStream<Bytes> {
        self.answer.send_response(Response::new(()), end).unwrap()
    }

    /// Answers with a body.
    fn ok(&mut self, body: &'static str) {
        self.respond(false).send_data(body.into(), true).unwrap();
    }

    /// Waits until the receiver gave the stream up.
    async fn reset(&mut self) -> Reason {
        poll_fn(|cx| self.answer.poll_reset(cx)).await.unwrap()
    }
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(*name, HeaderValue::from_static(value));
    }
    map
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(n, v): &(&str, &str)| ((*n).to_owned(), (*v).to_owned());
    fields.iter().map(owned).collect()
}

async fn head(call: &mut Call) -> (u16, End) {
    match call.head().await.unwrap() {
        Head::Final(head, end) => (head.status, end),
        other => panic!("{other:?}"),
    }
}
