//! Places for tunnels, and which worker has which.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{gateway::Gateway, settings::Settings, stop::Stop};

/// Where a tunnel belongs.
pub(crate) struct Place {
    pub(crate) gateway: Arc<Gateway>,
    /// From 0. Only the first is opened before the gateway is known to speak version 2.
    pub(crate) index: u16,
    pub(crate) settings: Arc<Settings>,
    /// The end of all tunnels to this gateway.
    pub(crate) stop: watch::Receiver<Stop>,
    /// Whose tunnels must have ended before one is opened.
    pub(crate) after: Vec<Arc<Gateway>>,
}

impl Place {
    /// The place `index` for a tunnel to `gateway`.
    pub(crate) fn new(gateway: &Arc<Gateway>, index: u16, settings: &Arc<Settings>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            index,
            settings: Arc::clone(settings),
            stop: gateway.stop(),
            after: Vec::new(),
        }
    }
}

/// Deals the places of every gateway, as many as `settings` say, to `workers` workers in turn.
pub(crate) fn deal(
    gateways: &[Arc<Gateway>],
    settings: &Arc<Settings>,
    workers: usize,
) -> Vec<Vec<Place>> {
    let mut dealt: Vec<Vec<Place>> = (0..workers.max(1)).map(|_| Vec::new()).collect();
    let tunnels = settings.config.tunnels_per_gateway();
    let all = gateways
        .iter()
        .flat_map(|gateway| (0..tunnels).map(move |index| Place::new(gateway, index, settings)));
    let count = dealt.len();
    for (turn, place) in all.enumerate() {
        if let Some(places) = dealt.get_mut(turn % count) {
            places.push(place);
        }
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, proof::Identity};

    #[test]
    fn every_worker_gets_its_share() {
        let config = Config {
            tunnels: 3,
            ..Config::default()
        };
        let gateways: Vec<_> = ["ws://a.example", "ws://b.example"]
            .iter()
            .map(|url| Arc::new(Gateway::new(url.parse().unwrap(), &config)))
            .collect();
        let settings = Settings::new(config, Arc::new(Identity::None)).unwrap();
        let dealt = deal(&gateways, &Arc::new(settings), 2);
        let names: Vec<Vec<String>> = dealt
            .iter()
            .map(|places| {
                places
                    .iter()
                    .map(|place| format!("{}{}", place.gateway.url.host(), place.index))
                    .collect()
            })
            .collect();
        assert_eq!(names[0], ["a.example0", "a.example2", "b.example1"]);
        assert_eq!(names[1], ["a.example1", "b.example0", "b.example2"]);
    }
}
