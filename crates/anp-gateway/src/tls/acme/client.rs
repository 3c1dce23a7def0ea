//! Requests to an authority: HTTPS, one connection each, since there are a dozen every few weeks.

use std::{
    error::Error as StdError, future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration,
};

use anp_tls::{TlsStream, provider};
use http::{Request, Response, header::HOST};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};

use super::error::AcmeError;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of an answer.
const MAX_ANSWER: usize = 1 << 20;

type Failure = Box<dyn StdError + Send + Sync>;

/// Speaks to one authority.
pub(super) struct Client(Arc<ClientConfig>);

impl Client {
    /// Trusts the system's authorities for HTTPS, and those of `ca_file`.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AcmeError> {
        let roots = anp_tls::roots(ca_file)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let config = self.0.clone();
        Box::pin(async move {
            match timeout(TIMEOUT, send(config, request)).await {
                Ok(Ok(response)) => Ok(response.into()),
                Ok(Err(failure)) => Err(Error::Other(failure)),
                Err(_) => Err(Error::Other("the authority did not answer in time".into())),
            }
        })
    }
}

async fn send(
    config: Arc<ClientConfig>,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let uri = request.uri().clone();
    let Some(authority) = uri
        .authority()
        .filter(|_| uri.scheme_str() == Some("https"))
    else {
        return Err(format!("{uri} is not an https:// address").into());
    };
    let host = authority.host().trim_matches(['[', ']']);
    let about = |error: io::Error| format!("{authority}: {error}");
    let socket = TcpStream::connect((host, authority.port_u16().unwrap_or(443)));
    let socket = socket.await.map_err(about)?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsStream::connect(config, name, socket).await;
    let stream = TokioIo::new(stream.map_err(about)?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    // It ends with the sender.
    tokio::spawn(connection);
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    request
        .headers_mut()
        .insert(HOST, authority.as_str().parse()?);
    *request.uri_mut() = target.parse()?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}
