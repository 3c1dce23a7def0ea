//! The tasks that answer requests, and wait for the next.

use std::{rc::Rc, sync::Arc};

use anp_tunnel::Version;

use super::{App, Gateway, apps_at, on_worker};
use crate::{
    app::{App as Called, Tasks, tasks::MAX_WAITING},
    coding::Codings,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Waits until `count` tasks wait.
async fn until_waiting(tasks: &Tasks, count: usize) {
    while tasks.waiting() != count {
        tokio::task::yield_now().await;
    }
}

async fn gateway(app: &App) -> (Gateway, Rc<Tasks>) {
    let apps = apps_at(&[&app.url()], Codings::default());
    let tasks = Rc::new(Tasks::new(apps, Rc::default(), Arc::default()));
    let called = Called::Http(Rc::clone(&tasks));
    (Gateway::calling(called, Version::V2).await, tasks)
}

#[test]
fn one_task_answers_one_request_after_another() {
    on_worker(async {
        let app = App::listen().await;
        let (gateway, tasks) = gateway(&app).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        for _ in 0..3 {
            peer.head().await;
            assert_eq!(tasks.waiting(), 0);
            peer.send(OK).await;
            assert_eq!(call.answer().await.unwrap().body, "ok");
            until_waiting(&tasks, 1).await;
            call = gateway.get();
        }
    });
}

#[test]
fn a_task_whose_request_was_abandoned_takes_another() {
    on_worker(async {
        let app = App::listen().await;
        let (gateway, tasks) = gateway(&app).await;
        let call = gateway.get();
        app.accept().await.head().await;
        drop(call);
        until_waiting(&tasks, 1).await;
        let mut call = gateway.get();
        let mut peer = app.accept().await;
        peer.head().await;
        assert_eq!(tasks.waiting(), 0);
        peer.send(OK).await;
        assert_eq!(call.answer().await.unwrap().body, "ok");
    });
}

#[test]
fn a_crowd_leaves_a_limited_number_behind() {
    on_worker(async {
        let app = App::listen().await;
        let (gateway, tasks) = gateway(&app).await;
        let mut calls = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..MAX_WAITING + 5 {
            calls.push(gateway.get());
            let mut peer = app.accept().await;
            peer.head().await;
            peers.push(peer);
        }
        assert_eq!(tasks.waiting(), 0);
        for (call, peer) in calls.iter_mut().zip(&mut peers) {
            peer.send(OK).await;
            assert_eq!(call.answer().await.unwrap().body, "ok");
        }
        until_waiting(&tasks, MAX_WAITING).await;
    });
}
