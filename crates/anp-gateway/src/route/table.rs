//! The endpoints of one moment, arranged for lookup.

use std::{ops::Bound, sync::Arc};

use rpds::{HashTrieMapSync as Map, RedBlackTreeMapSync as Ordered};

use super::{
    path::{has_ambiguous_dots, host_of, normalized, without_parameters},
    place::{HostRule, Place, Wishes},
    served::{Owners, Served, Source},
    tree::{Node, Tree},
};
use crate::{config::Endpoint, error::ProxyError, owner::Owner};

/// Every endpoint. A clone shares what is not changed, so that a change costs what it changes and
/// readers keep the table they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Of configuration and registry.
    written: Tree,
    /// Apart: what is written comes first, whichever rule names its host.
    of_dids: Tree,
    by_name: Ordered<String, Arc<Served>>,
    by_owner: Map<Owner, Ordered<String, Arc<Served>>>,
    for_anyone: Vec<Arc<Served>>,
    left_out: Ordered<String, LeftOut>,
}

/// An entry of the registry that is not served, since another endpoint came first.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// As it was written.
    pub(crate) settings: Arc<Endpoint>,
    /// What it collides with.
    pub(crate) why: Taken,
}

/// An endpoint that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Taken {
    /// Its name is another's.
    #[error("the name {0:?} is taken by an endpoint of the {1}")]
    Name(String, Source),
    /// Its host and path are another's.
    #[error("endpoint {0:?} of the {1} has this host and path")]
    Place(String, Source),
    /// The gateway is open: every place that no endpoint has is served by whoever connects.
    #[error(
        "this gateway is open (gateway.open): any receiver serves every path; give the endpoint a host \
         or a path below \"/\", or set open = false"
    )]
    Open,
    /// Its path is below another's.
    #[error("endpoint {0:?} of the {1} has a path above this one")]
    Within(String, Source),
    /// Another's path is below its own.
    #[error("endpoint {0:?} of the {1} has a path below this one")]
    Around(String, Source),
}

impl Table {
    /// Adds an endpoint.
    ///
    /// # Errors
    /// Its name or place is another's.
    pub(crate) fn insert(&mut self, served: Arc<Served>) -> Result<(), Taken> {
        if let Some(other) = self.named(&served.name) {
            return Err(Taken::Name(other.name.clone(), other.source));
        }
        let tree = self.tree(served.source);
        if let Some(other) = tree.at(&served.place) {
            return Err(match other.owners {
                Owners::Anyone => Taken::Open,
                Owners::These(_) => Taken::Place(other.name.clone(), other.source),
            });
        }
        tree.put(&served);
        match &served.owners {
            Owners::Anyone => self.for_anyone.push(served.clone()),
            Owners::These(owners) => {
                for owner in owners {
                    let mut theirs = self.by_owner.get(owner).cloned().unwrap_or_default();
                    theirs.insert_mut(served.name.clone(), served.clone());
                    self.by_owner.insert_mut(owner.clone(), theirs);
                }
            }
        }
        self.by_name.insert_mut(served.name.clone(), served);
        Ok(())
    }

    /// Adds the endpoint of a DID, unless it would get no requests, or another's: those below an
    /// endpoint of configuration or registry are that one's, but for `/`, and two DIDs are not within
    /// each other, since each would get the other's requests while that is away.
    ///
    /// # Errors
    /// Its place is another's, in whole or in part.
    pub(crate) fn insert_of_did(&mut self, served: Arc<Served>) -> Result<(), Taken> {
        let place = &served.place;
        let written = match &place.host {
            HostRule::Exact(host) => self.written.paths(host).0,
            HostRule::Below(_) | HostRule::Any => self.written.any(),
        };
        let comes_first = |other: &Served| !other.is_root() || other.place == *place;
        let of_dids = self.of_dids.rule(&place.host);
        let above = written.along(&place.prefix).filter(|o| comes_first(o));
        let others = of_dids.into_iter().flat_map(|r| r.along(&place.prefix));
        if let Some(other) = above.chain(others).next() {
            let (name, source) = (other.name.clone(), other.source);
            return Err(match other.place.prefix == place.prefix {
                true => Taken::Place(name, source),
                false => Taken::Within(name, source),
            });
        }
        let below = of_dids.and_then(|root| root.under(&place.prefix));
        if let Some(other) = below.and_then(Node::first) {
            return Err(Taken::Around(other.name.clone(), other.source));
        }
        self.insert(served)
    }

    /// Takes out the endpoints of DIDs that get no requests any more since there is an endpoint of
    /// configuration or registry at `place`: those that have the same place, or are within it, but
    /// for `/`.
    pub(crate) fn make_room(&mut self, place: &Place) -> Vec<Arc<Served>> {
        let mut found = Vec::new();
        for (host, root) in self.of_dids.roots() {
            let decides = match &host {
                HostRule::Exact(name) => {
                    let rule = self.written.rule(&place.host);
                    rule.is_some_and(|rule| std::ptr::eq(rule, self.written.paths(name).0))
                }
                HostRule::Below(_) | HostRule::Any => place.host == host,
            };
            match place.prefix.is_empty() {
                true => found.extend(root.endpoint().filter(|o| o.place == *place).cloned()),
                false if decides => {
                    let within = root.under(&place.prefix);
                    within.into_iter().for_each(|node| node.all(&mut found));
                }
                false => {}
            }
        }
        for served in &found {
            self.remove(&served.name);
        }
        found
    }

    /// Takes an endpoint out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Arc<Served>> {
        let served = self.by_name.get(name)?.clone();
        self.by_name.remove_mut(name);
        self.tree(served.source).take(&served.place);
        match &served.owners {
            Owners::Anyone => self.for_anyone.retain(|other| other.name != name),
            Owners::These(owners) => {
                for owner in owners {
                    let mut theirs = self.by_owner.get(owner).cloned().unwrap_or_default();
                    theirs.remove_mut(name);
                    match theirs.is_empty() {
                        true => self.by_owner.remove_mut(owner),
                        false => {
                            self.by_owner.insert_mut(owner.clone(), theirs);
                            true
                        }
                    };
                }
            }
        }
        Some(served)
    }

    /// The endpoint of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Served>> {
        self.by_name.get(name)
    }

    /// Every endpoint, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.by_name.values()
    }

    /// True if an endpoint names `owner`.
    pub(crate) fn is_owner(&self, owner: &Owner) -> bool {
        self.by_owner.get(owner).is_some()
    }

    /// How many endpoints there are, those left out included.
    pub(crate) fn len(&self) -> usize {
        self.by_name.size() + self.left_out.size()
    }

    /// The endpoints whose names are behind `after`, by name.
    pub(crate) fn after(&self, after: &str) -> impl Iterator<Item = &Arc<Served>> {
        let names = (Bound::Excluded(after), Bound::Unbounded);
        self.by_name
            .range::<str, _>(names)
            .map(|(_, served)| served)
    }

    /// Entries of the registry that are not served and whose names are behind `after`, by name.
    pub(crate) fn left_out_after(&self, after: &str) -> impl Iterator<Item = &LeftOut> {
        let names = (Bound::Excluded(after), Bound::Unbounded);
        self.left_out.range::<str, _>(names).map(|(_, entry)| entry)
    }

    /// The entry of the registry of this name that is not served.
    pub(crate) fn left_out(&self, name: &str) -> Option<&LeftOut> {
        self.left_out.get(name)
    }

    /// Keeps an entry of the registry that is not served.
    pub(crate) fn leave_out(&mut self, settings: Arc<Endpoint>, why: Taken) {
        let name = settings.name.clone();
        self.left_out.insert_mut(name, LeftOut { settings, why });
    }

    /// Forgets an entry of the registry that is not served. False where there is none.
    pub(crate) fn forget(&mut self, name: &str) -> bool {
        self.left_out.remove_mut(name)
    }

    /// Every entry of the registry, by name, whether it is served or not.
    pub(crate) fn registered(&self) -> Vec<Arc<Endpoint>> {
        let served = self.iter().filter(|s| s.source == Source::Registry);
        let served = served.map(|s| &s.settings);
        let left_out = self.left_out.values().map(|entry| &entry.settings);
        let mut all: Vec<_> = served.chain(left_out).cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The endpoint that was written for exactly this place.
    pub(super) fn at(&self, place: &Place) -> Option<&Arc<Served>> {
        self.written.at(place)
    }

    /// The endpoints that `owner` serves.
    pub(crate) fn served_by(&self, owner: &Owner) -> impl Iterator<Item = &Arc<Served>> {
        let theirs = self.by_owner.get(owner).into_iter();
        let theirs = theirs.flat_map(|theirs| theirs.values());
        theirs.chain(&self.for_anyone)
    }

    /// Those of `owner`'s endpoints that a receiver with these wishes serves.
    pub(crate) fn served_to(
        &self,
        owner: &Owner,
        wishes: &Wishes,
    ) -> impl Iterator<Item = &Arc<Served>> {
        let theirs = self.served_by(owner);
        theirs.filter(|served| wishes.include(&served.place))
    }

    /// The endpoint of a request. `authority` is `host[:port]`, `target` origin-form or `*`.
    ///
    /// # Errors
    /// 404 where none matches, 400 where the path's spelling decides.
    pub(crate) fn find(&self, authority: &str, target: &str) -> Result<&Arc<Served>, ProxyError> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = if path == "*" { "/" } else { path };
        let host = host_of(authority);
        let path = path.as_bytes();
        let found = self.longest(&host, path);
        let same = |plain: Vec<u8>| match (found, self.longest(&host, &plain)) {
            (Some(found), Some(other)) => Arc::ptr_eq(found, other),
            (found, other) => found.is_none() && other.is_none(),
        };
        let mut spellings = normalized(path).into_iter().chain(without_parameters(path));
        if !spellings.all(same) || has_ambiguous_dots(path) && self.has_paths(&host) {
            return Err(ProxyError::BadRequest(
                "the path is spelled in a way that would change where it goes",
            ));
        }
        found.ok_or(ProxyError::NoEndpoint)
    }

    /// True where the path of a request decides which endpoint of this host serves it.
    fn has_paths(&self, host: &str) -> bool {
        let (written, is_named) = self.written.paths(host);
        let of_dids = self.paths_of_dids(host, is_named);
        written.has_paths() || of_dids.is_some_and(Node::has_paths)
    }

    /// The endpoint with the longest prefix of whole segments that `host` has. What is written comes
    /// before what the name of a DID gives, but for `/`. Documents of DIDs are no DID's to serve: who
    /// has a path could say who is who below it.
    fn longest(&self, host: &str, path: &[u8]) -> Option<&Arc<Served>> {
        let (paths, is_named) = self.written.paths(host);
        let written = paths.longest(path);
        if self.of_dids.is_empty()
            || written.is_some_and(|served| !served.is_root())
            || path.ends_with(b"/did.json")
        {
            return written;
        }
        let of_dids = self.paths_of_dids(host, is_named);
        of_dids.and_then(|paths| paths.longest(path)).or(written)
    }

    /// The paths that names of DIDs give on `host`; none where what is written names it and they do not.
    fn paths_of_dids(&self, host: &str, is_named: bool) -> Option<&Node> {
        let (paths, is_exact) = self.of_dids.paths(host);
        (is_exact || !is_named).then_some(paths)
    }

    fn tree(&mut self, source: Source) -> &mut Tree {
        match source {
            Source::Config | Source::Registry => &mut self.written,
            Source::Did => &mut self.of_dids,
        }
    }
}
