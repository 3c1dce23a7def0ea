//! One order: from an account to a certificate (RFC 8555 section 7).

use std::sync::Arc;

use anp_tls::provider;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::{pki_types::PrivateKeyDer, sign::CertifiedKey};

use super::{cache, client::Client, error::AcmeError};
use crate::tls::{settings::AcmeConfig, store::Store};

/// A new certificate for the domains of `settings` with its key, as PEM. Proofs are shown by `store`.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn obtain(settings: &AcmeConfig, store: &Store) -> Result<String, AcmeError> {
    let account = account(settings).await?;
    let identifiers = settings.domains.iter().cloned().map(Identifier::Dns);
    let identifiers: Vec<_> = identifiers.collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let shown = Shown(store);
    prove(&mut order, store).await?;
    let status = order.poll_ready(&RetryPolicy::default()).await?;
    drop(shown);
    match status {
        OrderStatus::Ready => {}
        OrderStatus::Invalid => return Err(unproved(&mut order).await),
        other => return Err(AcmeError::Order(other)),
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    order
        .finalize_csr(params.serialize_request(&key)?.der())
        .await?;
    let chain = order.poll_certificate(&RetryPolicy::default()).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// Proofs that are shown as long as this is there: an order may also be given up.
struct Shown<'s>(&'s Store);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.forget_proofs();
    }
}

/// The account of the cache, or a new one that is put there.
async fn account(settings: &AcmeConfig) -> Result<Account, AcmeError> {
    let client = Client::new(settings.ca_file.as_deref())?;
    let builder = Account::builder_with_http(Box::new(client));
    if let Some(credentials) = cache::account(&settings.cache, &settings.directory) {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: settings.terms_agreed,
        only_return_existing: false,
    };
    let (account, credentials) = builder
        .create(&new, settings.directory.clone(), None)
        .await?;
    cache::put_account(&settings.cache, &settings.directory, credentials)?;
    Ok(account)
}

/// Shows a proof for every domain that has none yet, and says so.
async fn prove(order: &mut Order, store: &Store) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(AcmeError::NoChallenge(name));
        };
        let digest = challenge.key_authorization().digest();
        store.prove(&name, Arc::new(proof(&name, digest.as_ref())?));
        challenge.set_ready().await?;
    }
    Ok(())
}

/// The certificate that proves a name (RFC 8737 section 3).
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der());
    let key = key.map_err(|error| rustls::Error::General(error.to_owned()))?;
    let chain = vec![certificate.der().clone()];
    // Not compared with its certificate, whose extension no check of rustls knows.
    let key = provider().key_provider.load_private_key(key)?;
    Ok(CertifiedKey::new(chain, key))
}

/// Which name was not proved, and why.
async fn unproved(order: &mut Order) -> AcmeError {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        let failed = authorization
            .challenges
            .iter()
            .find_map(|c| c.error.as_ref());
        if let Some(problem) = failed {
            return AcmeError::Unproved {
                name: authorization.identifier().to_string(),
                reason: problem.to_string(),
            };
        }
    }
    AcmeError::Order(OrderStatus::Invalid)
}
