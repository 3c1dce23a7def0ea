//! The endpoints of one moment, arranged for lookup.

use std::{ops::Bound, sync::Arc};

use rpds::{HashTrieMapSync as Map, RedBlackTreeMapSync as Ordered};

use super::{
    path::{host_of, normalized},
    served::{HostRule, Owners, Place, Served, Source},
};
use crate::{config::Endpoint, error::ProxyError, owner::Owner};

/// Every endpoint. A clone shares what is not changed, so that a change costs what it changes and
/// readers keep the table they have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    exact: Map<String, Node>,
    /// By suffix, with the leading dot.
    below: Map<String, Node>,
    any: Node,
    by_name: Ordered<String, Arc<Served>>,
    by_owner: Map<Owner, Ordered<String, Arc<Served>>>,
    for_anyone: Vec<Arc<Served>>,
    left_out: Ordered<String, LeftOut>,
}

/// An entry of the registry that is not served, since the configuration came first.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// As it was written.
    pub(crate) settings: Arc<Endpoint>,
    /// What it collides with.
    pub(crate) why: Taken,
}

/// A segment of paths: the endpoint whose prefix ends here, and what may follow.
#[derive(Clone, Debug, Default)]
struct Node {
    endpoint: Option<Arc<Served>>,
    children: Map<Vec<u8>, Node>,
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
        if let Some(other) = self.at(&served.place) {
            return Err(Taken::Place(other.name.clone(), other.source));
        }
        self.root(&served.place.host)
            .put(segments(&served.place.prefix), served.clone());
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

    /// Adds the endpoint of a DID, unless anybody would lose by it: requests below an endpoint of
    /// configuration or registry are that one's, but for `/`, and two DIDs are not within each other,
    /// since each would get the other's requests while that is away.
    ///
    /// # Errors
    /// Its place is another's, in whole or in part.
    pub(crate) fn insert_of_did(&mut self, served: Arc<Served>) -> Result<(), Taken> {
        if let Some(root) = self.rule(&served.place.host) {
            let mut node = Some(root);
            for (depth, step) in segments(&served.place.prefix).enumerate() {
                let above = node.and_then(|node| node.endpoint.as_deref());
                if let Some(other) = above.filter(|o| depth > 0 || o.source == Source::Did) {
                    return Err(Taken::Within(other.name.clone(), other.source));
                }
                node = node.and_then(|node| node.children.get(step));
            }
            let below = node.and_then(|node| node.children.values().find_map(Node::any_of_did));
            if let Some(other) = below {
                return Err(Taken::Around(other.name.clone(), other.source));
            }
        }
        self.insert(served)
    }

    /// Takes out the endpoints of DIDs that have `place` or are within it, but for `/`: what is
    /// written down comes before what a name gives.
    pub(crate) fn make_room(&mut self, place: &Place) -> Vec<Arc<Served>> {
        let mut found = Vec::new();
        let mut steps = segments(&place.prefix);
        let root = self.rule(&place.host);
        let node = steps.try_fold(root, |node, step| Some(node?.children.get(step)));
        if let Some(node) = node.flatten() {
            match place.prefix.is_empty() {
                true => found.extend(node.of_did().cloned()),
                false => node.all_of_did(&mut found),
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
        self.take(&served.place);
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

    /// The endpoints that `owner` serves.
    pub(crate) fn served_by(&self, owner: &Owner) -> impl Iterator<Item = &Arc<Served>> {
        let theirs = self.by_owner.get(owner).into_iter();
        let theirs = theirs.flat_map(|theirs| theirs.values());
        theirs.chain(&self.for_anyone)
    }

    /// The endpoint of a request. `authority` is `host[:port]`, `target` origin-form or `*`.
    ///
    /// # Errors
    /// 404 where none matches, 400 where the path's spelling decides.
    pub(crate) fn find(&self, authority: &str, target: &str) -> Result<&Arc<Served>, ProxyError> {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let path = if path == "*" { "/" } else { path };
        let paths = self.paths(&host_of(authority));
        let found = paths.longest(path.as_bytes());
        if let Some(plain) = normalized(path.as_bytes()) {
            let same = match (found, paths.longest(&plain)) {
                (Some(found), Some(other)) => Arc::ptr_eq(found, other),
                (found, other) => found.is_none() && other.is_none(),
            };
            if !same {
                return Err(ProxyError::BadRequest(
                    "the path is spelled in a way that would change where it goes",
                ));
            }
        }
        found.ok_or(ProxyError::NoEndpoint)
    }

    /// The paths of the narrowest rule for `host`.
    fn paths(&self, host: &str) -> &Node {
        if let Some(node) = self.exact.get(host) {
            return node;
        }
        if !self.below.is_empty() {
            let dots = host.match_indices('.').map(|(at, _)| at);
            let suffixes = dots.filter(|at| *at > 0).map(|at| &host[at..]);
            if let Some(node) = suffixes.into_iter().find_map(|s| self.below.get(s)) {
                return node;
            }
        }
        &self.any
    }

    /// The paths of a rule, which is made where it is new.
    fn root(&mut self, host: &HostRule) -> &mut Node {
        let (rules, host) = match host {
            HostRule::Exact(host) => (&mut self.exact, host),
            HostRule::Below(suffix) => (&mut self.below, suffix),
            HostRule::Any => return &mut self.any,
        };
        child(rules, host)
    }

    /// The paths of a rule.
    fn rule(&self, host: &HostRule) -> Option<&Node> {
        match host {
            HostRule::Exact(host) => self.exact.get(host),
            HostRule::Below(suffix) => self.below.get(suffix),
            HostRule::Any => Some(&self.any),
        }
    }

    /// The endpoint at exactly this place.
    fn at(&self, place: &Place) -> Option<&Arc<Served>> {
        let root = self.rule(&place.host)?;
        let mut steps = segments(&place.prefix);
        let node = steps.try_fold(root, |node, step| node.children.get(step));
        node?.endpoint.as_ref()
    }

    fn take(&mut self, place: &Place) {
        let root = self.root(&place.host);
        root.take(segments(&place.prefix));
        let empty = root.is_empty();
        match &place.host {
            HostRule::Exact(host) if empty => self.exact.remove_mut(host),
            HostRule::Below(suffix) if empty => self.below.remove_mut(suffix),
            _ => false,
        };
    }
}

impl Node {
    fn put<'a>(&mut self, mut steps: impl Iterator<Item = &'a [u8]>, served: Arc<Served>) {
        match steps.next() {
            None => self.endpoint = Some(served),
            Some(step) => child(&mut self.children, step).put(steps, served),
        }
    }

    /// Takes out an endpoint and the nodes that lead to nothing without it.
    fn take<'a>(&mut self, mut steps: impl Iterator<Item = &'a [u8]>) {
        let Some(step) = steps.next() else {
            self.endpoint = None;
            return;
        };
        if let Some(node) = self.children.get_mut(step) {
            node.take(steps);
            if node.is_empty() {
                self.children.remove_mut(step);
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.endpoint.is_none() && self.children.is_empty()
    }

    /// The endpoint here, where it is a DID's.
    fn of_did(&self) -> Option<&Arc<Served>> {
        self.endpoint.as_ref().filter(|s| s.source == Source::Did)
    }

    /// An endpoint of a DID, here or below.
    fn any_of_did(&self) -> Option<&Arc<Served>> {
        let below = || self.children.values().find_map(Self::any_of_did);
        self.of_did().or_else(below)
    }

    /// Every endpoint of a DID, here and below.
    fn all_of_did(&self, found: &mut Vec<Arc<Served>>) {
        found.extend(self.of_did().cloned());
        self.children
            .values()
            .for_each(|node| node.all_of_did(found));
    }

    /// The endpoint here, where it may serve `documents` of DIDs, or others.
    fn serves(&self, documents: bool) -> Option<&Arc<Served>> {
        let endpoint = self.endpoint.as_ref();
        endpoint.filter(|s| !documents || s.source != Source::Did)
    }

    /// The endpoint with the longest prefix of whole segments. Takes as long as the prefixes of this
    /// tree are deep, whatever `path` is. Documents of DIDs are no DID's to serve: who has a path
    /// could say who is who below it.
    fn longest(&self, path: &[u8]) -> Option<&Arc<Served>> {
        let documents = path.ends_with(b"/did.json");
        let mut longest = self.serves(documents);
        let mut node = self;
        let mut rest = path.strip_prefix(b"/");
        while let Some(path) = rest.filter(|_| !node.children.is_empty()) {
            let end = memchr::memchr(b'/', path);
            let step = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
            let Some(next) = node.children.get(step) else {
                break;
            };
            node = next;
            longest = node.serves(documents).or(longest);
            rest = end.and_then(|end| path.get(end + 1..));
        }
        longest
    }
}

/// The node under `key`, which is made where it is new.
fn child<'m, K, Q>(nodes: &'m mut Map<K, Node>, key: &Q) -> &'m mut Node
where
    K: std::hash::Hash + Eq + Clone + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ToOwned<Owned = K> + ?Sized,
{
    if !nodes.contains_key(key) {
        nodes.insert_mut(key.to_owned(), Node::default());
    }
    #[expect(clippy::expect_used, reason = "put there right above")]
    nodes.get_mut(key).expect("there is a node")
}

/// The segments of a prefix without a slash at its end.
fn segments(prefix: &str) -> impl Iterator<Item = &[u8]> {
    prefix.split('/').skip(1).map(str::as_bytes)
}
