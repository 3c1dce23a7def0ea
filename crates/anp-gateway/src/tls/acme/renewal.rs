//! When a certificate is due, and what follows.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anp_tls::CertificateFacts;

use super::{
    cache::{self, certificate_path},
    error::{AcmeError, ORDER_TIMEOUT},
    order,
};
use crate::{
    stop::{Step, Stop},
    tls::{keeper::Keeper, settings::AcmeConfig, store::Store},
};

/// The first wait after a failure; it doubles up to the last. Authorities answer impatience with
/// hours of refusals.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LAST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// The longest wait before the clock is looked at again.
const LOOK: Duration = Duration::from_secs(3600);

/// Keeps a certificate for the domains of `settings`, until everything ends.
pub(crate) async fn keep(
    settings: AcmeConfig,
    keeper: Arc<Keeper>,
    store: Arc<Store>,
    stop: &Stop,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let facts = keeper.facts(&certificate_path(&settings.cache));
        let pause = match left(&settings, facts.as_ref(), SystemTime::now()) {
            Some(left) => left.min(LOOK),
            None => {
                let order = tokio::select! {
                    order = renew(&settings, &store) => order,
                    () = stop.reached(Step::Draining) => return,
                };
                // What is wrong with it is in the log.
                let order = order.map(|()| drop(keeper.reload()));
                let facts = keeper.facts(&certificate_path(&settings.cache));
                // One that is due again at once must not become a loop: authorities count.
                let order = order.and_then(|()| {
                    left(&settings, facts.as_ref(), SystemTime::now()).ok_or(AcmeError::Due)
                });
                match order {
                    Ok(left) => {
                        wait = FIRST_WAIT;
                        left.min(LOOK)
                    }
                    Err(error) => {
                        tracing::error!(
                            domains = settings.domains.join(" "),
                            %error,
                            retry_s = wait.as_secs(),
                            "no certificate by ACME"
                        );
                        let pause = wait;
                        wait = LAST_WAIT.min(wait * 2);
                        pause
                    }
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.reached(Step::Draining) => return,
        }
    }
}

/// The time until a certificate is due, at two thirds of its life; `None` where it is, or where it
/// is not for all the domains.
fn left(
    settings: &AcmeConfig,
    facts: Option<&CertificateFacts>,
    now: SystemTime,
) -> Option<Duration> {
    let facts = facts?;
    let covers = |domain: &String| facts.names.contains(&domain.to_ascii_lowercase());
    if !settings.domains.iter().all(covers) {
        return None;
    }
    let life = facts.not_after.duration_since(facts.not_before).ok()?;
    let due = facts.not_before + life * 2 / 3;
    due.duration_since(now).ok().filter(|left| !left.is_zero())
}

async fn renew(settings: &AcmeConfig, store: &Store) -> Result<(), AcmeError> {
    let obtained = tokio::time::timeout(ORDER_TIMEOUT, order::obtain(settings, store)).await;
    let pem = obtained.map_err(|_| AcmeError::Late)??;
    let path = certificate_path(&settings.cache);
    cache::write(&path, pem.as_bytes())?;
    tracing::info!(domains = settings.domains.join(" "), file = %path.display(), "certificate issued");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_at_two_thirds_of_its_life_or_for_another_name() {
        let begin = SystemTime::UNIX_EPOCH;
        let day = Duration::from_secs(86_400);
        let facts = CertificateFacts {
            names: vec!["a.example".into(), "b.example".into()],
            subject: String::new(),
            not_before: begin,
            not_after: begin + 90 * day,
        };
        let settings = |domains: &[&str]| AcmeConfig {
            domains: domains.iter().map(|d| (*d).to_owned()).collect(),
            ..AcmeConfig::default()
        };
        let one = settings(&["A.example"]);
        let left = |settings, days| super::left(settings, Some(&facts), begin + days * day);
        assert_eq!(left(&one, 59), Some(day));
        assert_eq!(left(&one, 60), None);
        assert_eq!(left(&one, 91), None);
        assert_eq!(left(&settings(&["a.example", "c.example"]), 0), None);
        assert_eq!(super::left(&one, None, begin), None);
    }
}
