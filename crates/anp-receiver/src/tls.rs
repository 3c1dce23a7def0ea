//! TLS toward gateways and apps: whom a receiver trusts, what it shows, and what went wrong in words.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anp_tls::{FileError, TlsStream, provider, read};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::WebPkiSupportedAlgorithms,
    pki_types::{CertificateDer, ServerName, UnixTime},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;

use crate::{
    address::{AppUrl, GatewayUrl},
    config::Config,
};

/// What connections over TLS are made with. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    gateway: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    /// No certificate is checked.
    blind: bool,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the configuration cannot be used. The user's to mend.
    #[error("{key}: {source}")]
    File {
        /// The key inside `[receiver]`.
        key: &'static str,
        /// The file, and what is wrong with it.
        source: FileError,
    },
    /// Neither the system nor `ca_file` names an authority. The user's to mend.
    #[error(
        "ca_file: this system has no list of certificate authorities, so nobody can be trusted: \
         install it (ca-certificates), or name a PEM file here"
    )]
    NoRoots,
    /// The cryptography failed. Ours.
    #[error("TLS: {0}")]
    Crypto(#[from] rustls::Error),
}

impl Tls {
    /// As `config` says; `None` where it names nothing that speaks TLS.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(crate) fn new(config: &Config) -> Result<Option<Self>, TlsError> {
        let file = |key| move |source| TlsError::File { key, source };
        let shown = Shown::new(config).map_err(|source| {
            let of_cert = config.client_cert.as_ref() == Some(&source.path);
            let key = if of_cert { "client_cert" } else { "client_key" };
            TlsError::File { key, source }
        })?;
        let gateways = config.gateways.iter().any(GatewayUrl::is_secure);
        if !gateways && !config.to.iter().any(AppUrl::is_secure) {
            // A file that is named and not there is a mistake, although nothing needs it today.
            if let Some(path) = &config.ca_file {
                anp_tls::authorities(&mut RootCertStore::empty(), path).map_err(file("ca_file"))?;
            }
            return Ok(None);
        }
        let blind = config.insecure_skip_verify;
        let verifier: Arc<dyn ServerCertVerifier> = if blind {
            Arc::new(Blind(provider().signature_verification_algorithms))
        } else {
            let roots = anp_tls::roots(config.ca_file.as_deref()).map_err(file("ca_file"))?;
            verifier(roots)?
        };
        let builder = || {
            let builder = ClientConfig::builder_with_provider(provider());
            let builder = builder.with_safe_default_protocol_versions()?;
            let builder = builder.dangerous();
            Ok::<_, TlsError>(builder.with_custom_certificate_verifier(verifier.clone()))
        };
        let mut gateway = match shown {
            Some(shown) => builder()?.with_client_cert_resolver(Arc::new(shown)),
            None => builder()?.with_no_client_auth(),
        };
        let mut http1 = builder()?.with_no_client_auth();
        let mut http2 = http1.clone();
        gateway.alpn_protocols = vec![b"http/1.1".to_vec()];
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Self {
            gateway: Arc::new(gateway),
            http1: Arc::new(http1),
            http2: Arc::new(http2),
            blind,
        }))
    }

    /// TLS with a gateway over `socket`.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(crate) async fn with_gateway(
        &self,
        url: &GatewayUrl,
        socket: TcpStream,
    ) -> io::Result<TlsStream> {
        self.shake_hands(&self.gateway, url.host(), url, socket)
            .await
    }

    /// TLS with an app over `socket`.
    ///
    /// # Errors
    /// As [`Tls::with_gateway`]; an app that is to speak HTTP/2 and does not.
    pub(crate) async fn with_app(&self, url: &AppUrl, socket: TcpStream) -> io::Result<TlsStream> {
        let config = match url.is_http2() {
            true => &self.http2,
            false => &self.http1,
        };
        let host = url.host().unwrap_or_default();
        let stream = self.shake_hands(config, host, url, socket).await?;
        match url.is_http2() && stream.alpn() != Some(b"h2") {
            true => Err(io::Error::other(
                "it speaks TLS but not HTTP/2 (ALPN h2): use https:// for HTTP/1.1",
            )),
            false => Ok(stream),
        }
    }

    async fn shake_hands(
        &self,
        config: &Arc<ClientConfig>,
        host: &str,
        url: &dyn fmt::Display,
        socket: TcpStream,
    ) -> io::Result<TlsStream> {
        if self.blind {
            tracing::warn!(
                peer = %url,
                "INSECURE: the certificate is not checked (receiver.insecure_skip_verify); whoever \
                 is on the way can read and change everything"
            );
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| io::Error::other(format!("\"{host}\" can be no name of a certificate")))?;
        let stream = TlsStream::connect(config.clone(), name, socket).await;
        stream.map_err(|error| explained(error, host))
    }
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| TlsError::Crypto(rustls::Error::General(error.to_string())))
}

/// The certificate that is shown to gateways, read anew for every connection: it may be short-lived.
#[derive(Debug)]
struct Shown {
    cert: PathBuf,
    key: PathBuf,
    readable: read::WorldReadable,
    last: Mutex<Arc<CertifiedKey>>,
}

impl Shown {
    fn new(config: &Config) -> Result<Option<Self>, FileError> {
        let (Some(cert), Some(key)) = (&config.client_cert, &config.client_key) else {
            return Ok(None);
        };
        let readable = match config.allow_world_readable_keys {
            true => read::WorldReadable::Meant,
            false => read::WorldReadable::Refused,
        };
        let first = read::certified_key(cert, key, readable)?;
        Ok(Some(Self {
            cert: cert.clone(),
            key: key.clone(),
            readable,
            last: Mutex::new(Arc::new(first)),
        }))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match read::certified_key(&self.cert, &self.key, self.readable) {
            Ok(now) => *last = Arc::new(now),
            Err(error) => {
                tracing::warn!(%error, "the client certificate cannot be read; showing the last one");
            }
        }
        last.key
            .choose_scheme(schemes)
            .is_some()
            .then(|| last.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes every certificate.
#[derive(Debug)]
struct Blind(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The same error with what it means and what helps, where it is one of TLS.
pub(crate) fn explained(error: io::Error, host: &str) -> io::Error {
    let text = match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(tls) => explain(tls, host),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the TLS handshake: does it speak TLS there?".to_owned()
        }
        None => return error,
    };
    io::Error::new(error.kind(), Explained(text))
}

/// What went wrong, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Explained(String);

/// True for an error that [`explained`] explained, or could.
pub(crate) fn is_tls(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|e| e.is::<rustls::Error>() || e.is::<Explained>())
}

fn explain(error: &rustls::Error, host: &str) -> String {
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(why) => explain_certificate(why, host),
        E::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of this receiver: set receiver.client_cert and client_key"
                .into()
        }
        E::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate),
        ) => format!(
            "it does not accept the certificate in receiver.client_cert ({alert:?}): it must be \
             valid now and issued by an authority that the other end trusts"
        ),
        E::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "it speaks TLS but not HTTP/1.1: is this the right address?".into()
        }
        E::AlertReceived(
            alert @ (AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
            | AlertDescription::UnrecognisedName),
        ) => format!("it has no certificate to show for \"{host}\" ({alert:?})"),
        E::InvalidMessage(_) => {
            "it does not answer in TLS: use ws:// or http://, or another port".into()
        }
        other => other.to_string(),
    }
}

fn explain_certificate(why: &CertificateError, host: &str) -> String {
    match why {
        CertificateError::Expired => "its certificate has expired".into(),
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate expired on {}: it must be renewed there; or this machine's clock is wrong",
            date(*not_after)
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is this machine's clock right?".into()
        }
        CertificateError::NotValidForName => {
            format!("its certificate is not for \"{host}\"")
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| plain_name(name)).collect();
            let names = match names.is_empty() {
                true => "no name".to_owned(),
                false => names.join(", "),
            };
            format!(
                "its certificate is for {names}, not for \"{host}\": connect by a name that it has"
            )
        }
        // A signature that does not fit is that of another authority of the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is from an authority that this machine does not trust: if that is \
             yours, set receiver.ca_file to its PEM file"
                .into()
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own: it must be one issued for the server, with \
             CA:FALSE"
                .into()
        }
        other => format!("its certificate cannot be accepted: {other}"),
    }
}

/// Names come as `DnsName("a.example")`.
fn plain_name(name: &str) -> &str {
    let inner = name.split_once('(').map(|(_, rest)| rest);
    inner.map_or(name, |rest| rest.trim_end_matches(')').trim_matches('"'))
}

fn date(time: UnixTime) -> String {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(time.as_secs());
    httpdate::fmt_http_date(time)
}
