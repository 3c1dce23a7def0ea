//! The registry at its size.

use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
};

use super::*;
use crate::{
    config::{Config, Endpoint},
    endpoints::{self, Change, Store},
    owner::Owner,
};

const COUNT: usize = 10_000;

fn endpoint(i: usize) -> Arc<Endpoint> {
    Arc::new(Endpoint {
        name: format!("e{i:05}"),
        host: i.is_multiple_of(3).then(|| format!("h{i}.example")),
        path: format!("/{i}"),
        receivers: vec![["a", "b"][i % 2].to_owned()],
        ..Endpoint::default()
    })
}

async fn page(admin: &Admin, query: String) -> Value {
    let asked = Asked {
        name: String::new(),
        query,
        expected: Expected::Anything,
        body: Bytes::new(),
    };
    let reply = admin.endpoints(&asked).unwrap();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn thousands_are_added_and_listed_by_pages() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("endpoints.redb");
    let shared = Shared::alone(Config {
        open: Some(false),
        workers: Some(1),
        ..Config::default()
    });
    let store = Store::new(path.clone());
    endpoints::start(&shared, store, false).unwrap();
    let mut changes = JoinSet::new();
    for i in 0..COUNT {
        let shared = shared.clone();
        changes.spawn(async move { shared.endpoints.change(Change::Add(endpoint(i))).await });
    }
    assert!(
        changes
            .join_all()
            .await
            .into_iter()
            .all(|added| added.is_ok())
    );

    let metrics = Metrics::new(Vec::new(), shared.clone());
    let admin = Admin::new(shared.clone(), metrics, Reloader::default());
    for limit in [100, 999] {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = page(&admin, format!("limit={limit}{after}")).await;
            assert_eq!(page["total"], COUNT);
            let all = page["endpoints"].as_array().unwrap();
            names.extend(all.iter().map(|e| e["name"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
            assert_eq!(all.len(), limit);
        }
        let expected: Vec<_> = (0..COUNT).map(|i| endpoint(i).name.clone()).collect();
        assert_eq!(names, expected);
    }

    let table = shared.routes.now();
    for i in [0, 1, 4_999, COUNT - 1] {
        let endpoint = endpoint(i);
        let host = endpoint.host.as_deref().unwrap_or("any.example");
        assert_eq!(
            table.find(host, &format!("/{i}/x")).unwrap().name,
            endpoint.name
        );
    }
    let a = Owner::Name("a".to_owned());
    assert_eq!(table.served_by(&a).count(), COUNT / 2);
    assert_eq!(Store::new(path).load().unwrap().endpoints.len(), COUNT);
}

#[tokio::test(start_paused = true)]
async fn who_reads_no_answer_keeps_no_place() {
    let shared = Shared::alone(Config::default());
    let metrics = Metrics::new(Vec::new(), shared.clone());
    let admin = Arc::new(Admin::new(shared, metrics, Reloader::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(admin, listener, Until::Step(Step::Now)));
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut asked = 0_usize;
    // Until it takes no more: it waits for us to read.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_secs(1), socket.write_all(request)).await
    {
        if written.is_err() {
            break;
        }
        asked += 1;
    }
    tokio::time::sleep(5 * PATIENCE).await;
    let mut answers = Vec::new();
    // It was reset, or closed in the middle.
    let _ = socket.read_to_end(&mut answers).await;
    let answered = answers.windows(9).filter(|w| w == b"HTTP/1.1 ").count();
    assert!(answered < asked, "{answered} of {asked}");
}
