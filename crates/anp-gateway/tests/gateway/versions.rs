//! Changes to endpoints that several make at once.

use serde_json::{Value, json};

use crate::{
    api::Admin,
    support::{Running, config, start},
};

/// The endpoint `lab` of a registry, and the tag of its settings.
async fn with_lab(directory: &std::path::Path) -> (Running, String) {
    let mut config = config();
    config.endpoint_store = Some(directory.join("endpoints.redb"));
    let running = start(config).await;
    let mut admin = Admin::connect(running.admin).await;
    let lab = json!({"name": "lab", "path": "/lab", "receivers": ["r"], "max_requests": 1});
    let (status, head, _) = admin.ask("POST", "/endpoints", &lab.to_string()).await;
    assert_eq!(status, 201);
    (running, tag_of(&head))
}

fn tag_of(head: &str) -> String {
    let (_, rest) = head.split_once("etag: ").unwrap();
    rest.split("\r\n").next().unwrap().to_owned()
}

/// The settings of `lab` and their tag.
async fn look(admin: &mut Admin) -> (Value, String) {
    admin.extra.clear();
    let (_, head, mut body) = admin.ask("GET", "/endpoints/lab", "").await;
    (body["settings"].take(), tag_of(&head))
}

/// The status of a change to settings that had this tag.
async fn put(admin: &mut Admin, settings: &Value, tag: &str) -> u16 {
    admin.extra = format!("If-Match: {tag}\r\n");
    let settings = settings.to_string();
    admin.ask("PUT", "/endpoints/lab", &settings).await.0
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let (running, first) = with_lab(directory.path()).await;
    let mut admin = Admin::connect(running.admin).await;
    let (mut settings, seen) = look(&mut admin).await;
    assert_eq!(seen, first);
    settings["max_requests"] = json!(2);
    assert_eq!(put(&mut admin, &settings, &seen).await, 200);
    settings["max_requests"] = json!(3);
    assert_eq!(put(&mut admin, &settings, &seen).await, 412);
    let (status, _, _) = admin.ask("DELETE", "/endpoints/lab", "").await;
    assert_eq!(status, 412);
    let (shown, now) = look(&mut admin).await;
    assert_eq!(shown["max_requests"], 2);
    assert_ne!(now, seen);
    // Whoever asks for nothing overwrites; what is not there is 404 still.
    assert_eq!(put(&mut admin, &settings, "*").await, 200);
    admin.extra = format!("If-Match: {now}\r\n");
    assert_eq!(admin.ask("DELETE", "/endpoints/none", "").await.0, 404);
    let (_, now) = look(&mut admin).await;
    admin.extra = format!("If-Match: \"x\", {now}\r\n");
    assert_eq!(admin.ask("DELETE", "/endpoints/lab", "").await.0, 204);
}

#[tokio::test]
async fn of_many_who_count_up_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let (running, _) = with_lab(directory.path()).await;
    let mut counting = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let address = running.admin;
        counting.spawn(async move {
            let mut admin = Admin::connect(address).await;
            let mut counted = 0;
            while counted < 5 {
                let (mut settings, seen) = look(&mut admin).await;
                let count = settings["max_requests"].as_u64().unwrap();
                settings["max_requests"] = json!(count + 1);
                match put(&mut admin, &settings, &seen).await {
                    200 => counted += 1,
                    other => assert_eq!(other, 412),
                }
            }
        });
    }
    counting.join_all().await;
    let (settings, _) = look(&mut Admin::connect(running.admin).await).await;
    assert_eq!(settings["max_requests"], 1 + 8 * 5);
}
