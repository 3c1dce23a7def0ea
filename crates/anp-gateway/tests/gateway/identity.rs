//! Receivers with identities, as tests play them.

use anp_auth::{AuthForm, Identity, KeyKind, NewIdentity, Signer, Target, create, write_secret};
use anp_gateway::{Config, Endpoint, config::Auth};
use anp_tunnel::{TunnelConfig, Version};
use anpx::session::Role;
use http::{HeaderName, HeaderValue};
use tempfile::TempDir;

use super::support::{self, Caller, Receiver, Running};

/// Somebody with an identity: the files of it, and what signs.
pub(crate) struct Tenant {
    pub(crate) identity: Identity,
    signer: Signer,
    pub(crate) dir: TempDir,
}

impl Tenant {
    pub(crate) fn new(name: &str) -> Self {
        Self::of("did.example", &[name])
    }

    /// With a DID of `host` that has these path segments, and one for its key.
    pub(crate) fn of(host: &str, path: &[&str]) -> Self {
        Self::with_key(host, path, KeyKind::Ed25519)
    }

    /// As [`Tenant::of`], with a key of this kind; P-256 is not named in the DID.
    pub(crate) fn with_key(host: &str, path: &[&str], kind: KeyKind) -> Self {
        let identity = create(&NewIdentity {
            host: host.into(),
            port: None,
            path: path.iter().map(|&segment| segment.into()).collect(),
            kind,
        })
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (document, key) = (dir.path().join("did.json"), dir.path().join("key.pem"));
        std::fs::write(&document, identity.document.to_string()).unwrap();
        write_secret(&key, &identity.private_key_pem).unwrap();
        let signer = Signer::load(&document, &key).unwrap();
        Self {
            identity,
            signer,
            dir,
        }
    }

    pub(crate) fn owner(&self) -> Option<anp_gateway::Owner> {
        Some(self.identity.did.as_str().parse().unwrap())
    }

    /// The headers of a handshake, signed for the name `host`.
    pub(crate) fn proof(&self, host: &str) -> Vec<(String, String)> {
        self.proof_of(host, None)
    }

    /// As [`Tenant::proof`], with a nonce that was asked for.
    pub(crate) fn proof_of(&self, host: &str, nonce: Option<&str>) -> Vec<(String, String)> {
        let mut fields = vec![("Host".to_owned(), host.to_owned())];
        let url = format!("ws://{host}/anpx");
        fields.extend(self.signed(AuthForm::Signature, "GET", &url, nonce));
        fields
    }

    /// The headers that prove a request.
    pub(crate) fn signed(
        &self,
        form: AuthForm,
        method: &str,
        url: &str,
        nonce: Option<&str>,
    ) -> Vec<(String, String)> {
        let target = Target::of(method, url).unwrap();
        texts(self.signer.headers(form, &target, nonce, now()).unwrap())
    }

    /// As [`Tenant::signed`], for a request with this body.
    pub(crate) fn signed_with(
        &self,
        body: &str,
        form: AuthForm,
        method: &str,
        url: &str,
    ) -> Vec<(String, String)> {
        let target = Target::of(method, url).unwrap();
        let body = body.as_bytes();
        let headers = self
            .signer
            .headers_with_body(form, &target, body, None, now());
        texts(headers.unwrap())
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

fn texts(headers: Vec<(HeaderName, HeaderValue)>) -> Vec<(String, String)> {
    let headers = headers.into_iter();
    headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect()
}

pub(crate) fn endpoint(name: &str, owner: Option<anp_gateway::Owner>) -> Endpoint {
    Endpoint {
        name: name.into(),
        path: format!("/{name}"),
        owner,
        ..Endpoint::default()
    }
}

/// A gateway that knows `tenants`, each with an endpoint of its name.
pub(crate) fn config(tenants: &[(&str, &Tenant)]) -> Config {
    let mut config = support::config();
    config.endpoints = tenants
        .iter()
        .map(|(name, tenant)| endpoint(name, tenant.owner()))
        .collect();
    let mut auth = Auth {
        public_names: vec!["gw.example".parse().unwrap()],
        ..Auth::default()
    };
    auth.resolver.documents = tenants
        .iter()
        .map(|(_, tenant)| tenant.dir.path().join("did.json"))
        .collect();
    config.auth = Some(auth);
    config
}

/// Sends a handshake; the head of the answer and the connection.
pub(crate) async fn shake(
    running: &Running,
    fields: &[(String, String)],
    more: &[(&str, &str)],
) -> (String, Caller) {
    let mut caller = Caller::connect(running.tunnel).await;
    let mut request = String::from(
        "GET /anpx HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    );
    let fields = fields.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    for (name, value) in fields.chain(more.iter().copied()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    caller.send(&request).await;
    let head = caller.head().await;
    (head, caller)
}

pub(crate) const V2: (&str, &str) = ("Sec-WebSocket-Protocol", "anpx.v2");

pub(crate) async fn tunnel(caller: Caller) -> Receiver {
    Receiver::on(caller, Version::V2, TunnelConfig::new(Role::Receiver)).await
}

pub(crate) fn token_of(head: &str) -> String {
    quoted(head, "access_token")
}

/// The nonce that is asked for.
pub(crate) fn nonce_of(head: &str) -> String {
    quoted(head, "nonce")
}

/// The value of `name="…"`.
fn quoted(head: &str, name: &str) -> String {
    let Some((_, rest)) = head.split_once(&format!("{name}=\"")) else {
        panic!("no {name}: {head}");
    };
    rest.split('"').next().unwrap().to_owned()
}

pub(crate) fn bearer(token: &str) -> Vec<(String, String)> {
    vec![
        ("Host".into(), "gw.example".into()),
        ("Authorization".into(), format!("Bearer {token}")),
    ]
}
