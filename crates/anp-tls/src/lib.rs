//! TLS as both ends of a tunnel use it.
//!
//! - [`TlsStream`] is TLS over a TCP connection: what is kept unwritten is bounded, an end that
//!   somebody cut off is no end, and it can move from one event loop to another ([`Detached`]).
//! - [`read`] takes certificates and keys from PEM files; its errors name the file and what is wrong.
//! - [`CertificateFacts`] are the names and times of a certificate.
//! - [`roots`] are the authorities a client trusts.
//!
//! It refuses to decide anything: which certificate is shown to whom, who must show one, and what
//! happens where none fits is for `anp-gateway` and `anp-receiver`.
//!
//! ```
//! // Every configuration is made with this provider; none is installed for the process.
//! let config = rustls::ClientConfig::builder_with_provider(anp_tls::provider())
//!     .with_safe_default_protocol_versions()?
//!     .with_root_certificates(rustls::RootCertStore::empty())
//!     .with_no_client_auth();
//! assert!(config.alpn_protocols.is_empty());
//! # Ok::<(), rustls::Error>(())
//! ```
#![forbid(unsafe_code)]

mod facts;
mod provider;
pub mod read;
mod roots;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use facts::{CertificateFacts, OutOfTime};
pub use provider::provider;
pub use read::FileError;
pub use roots::{authorities, roots};
pub use stream::{Detached, MAX_KEPT, TlsStream};
