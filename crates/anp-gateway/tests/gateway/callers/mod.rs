//! Callers that have to prove who they are (rows 4, 8, 9 and 11 of the threats, for callers).

mod dids;
mod errors;
mod others;

use anp_auth::AuthForm;
use anp_gateway::{Callers, Config, Endpoint, Switch, config::Auth};

use crate::{
    identity::{Tenant, shake},
    support::{self, Receiver, Running, answer},
};

/// What every caller here asks for.
const URL: &str = "http://gw.example/agent/x?y=1";

pub(crate) fn callers(text: &str) -> Option<Switch<Callers>> {
    Some(serde_json::from_str(text).unwrap())
}

/// A gateway with the endpoint `/agent`, which `rule` guards, and the receiver `r`, which serves
/// everything. It knows the documents of `tenants`.
fn config(tenants: &[&Tenant], rule: &str) -> Config {
    let mut config = support::config();
    let endpoint = |name: &str, path: &str, callers| Endpoint {
        name: name.to_owned(),
        path: path.to_owned(),
        receivers: vec!["r".to_owned()],
        callers,
        ..Endpoint::default()
    };
    config.endpoints = vec![
        endpoint("agent", "/agent", callers(rule)),
        endpoint("other", "/other", callers(rule)),
        endpoint("free", "/free", None),
    ];
    let mut auth = Auth {
        public_names: vec!["gw.example".parse().unwrap()],
        required: false,
        ..Auth::default()
    };
    let documents = tenants.iter().map(|t| t.dir.path().join("did.json"));
    auth.resolver.documents = documents.collect();
    config.auth = Some(auth);
    config
}

/// A request of HTTP/1.1 for `gw.example` with these fields.
fn request(method: &str, target: &str, fields: &[(String, String)]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: gw.example\r\n");
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

/// The head of the answer to a request that never reaches the app, without what differs anyway.
async fn refused(running: &Running, fields: &[(String, String)]) -> String {
    let mut caller = running.caller().await;
    caller.send(request("GET", "/agent/x?y=1", fields)).await;
    let head = caller.head().await;
    let lines = head.lines().filter(|line| !line.starts_with("date"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The head of the app's answer to a GET with these fields, and the request as the app got it.
async fn served(
    running: &Running,
    receiver: &Receiver,
    target: &str,
    fields: &[(String, String)],
) -> (String, Vec<(String, String)>) {
    let mut caller = running.caller().await;
    caller.send(request("GET", target, fields)).await;
    let incoming = async {
        tokio::select! {
            mut incoming = receiver.accept() => {
                answer(&mut incoming, 200, "app");
                incoming.head
            }
            head = caller.head() => panic!("not let in: {head}"),
        }
    };
    let got = incoming.await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let fields = got.headers.iter().map(|(n, v)| (text(n), text(v)));
    (head, fields.collect())
}

/// The values of a field, of which there may be several.
fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    let named = fields.iter().filter(|(n, _)| n == name);
    named.map(|(_, value)| value.as_str()).collect()
}

fn field(name: &str, value: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), value.to_owned())]
}

fn signed(tenant: &Tenant) -> Vec<(String, String)> {
    tenant.signed(AuthForm::Signature, "GET", URL, None)
}

/// A receiver that shows a token at the tunnel listener: the head of the answer.
async fn knock(running: &Running, token: &str) -> String {
    let mut fields = field("Host", "gw.example");
    fields.extend(field("Authorization", &format!("Bearer {token}")));
    let (head, _) = shake(running, &fields, &[("Sec-WebSocket-Protocol", "anpx.v2")]).await;
    head
}

/// A receiver that proves who it is: the head of the answer and its tunnel.
async fn tunnel_of(running: &Running, tenant: &Tenant) -> (String, Receiver) {
    let mut fields = field("Host", "gw.example");
    let url = "ws://gw.example/anpx";
    fields.extend(tenant.signed(AuthForm::Signature, "GET", url, None));
    let (head, caller) = shake(running, &fields, &[("Sec-WebSocket-Protocol", "anpx.v2")]).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let receiver = Receiver::on_default(caller).await;
    running.all_ready().await;
    (head, receiver)
}
