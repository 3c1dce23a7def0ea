//! Host rules, and below each the paths of its endpoints.

use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use rpds::HashTrieMapSync;

use super::{
    place::{HostRule, Place},
    served::Served,
};

/// Seeded anew in every process, and cheaper than what a map has by itself: every request asks.
type Map<K, V> = HashTrieMapSync<K, V, DefaultHashBuilder>;

/// Endpoints by their places. A clone shares what is not changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    exact: Map<String, Node>,
    /// By suffix, with the leading dot.
    below: Map<String, Node>,
    any: Node,
}

/// A segment of paths: the endpoint whose prefix ends here, and what may follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    endpoint: Option<Arc<Served>>,
    children: Map<Vec<u8>, Node>,
}

impl Tree {
    /// True without any endpoint.
    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.any.is_empty()
    }

    /// Adds an endpoint, whose place is free.
    pub(super) fn put(&mut self, served: &Arc<Served>) {
        let Place { host, prefix } = &served.place;
        self.root(host).put(segments(prefix), served.clone());
    }

    /// Takes out the endpoint at exactly this place.
    pub(super) fn take(&mut self, place: &Place) {
        let root = self.root(&place.host);
        root.take(segments(&place.prefix));
        let empty = root.is_empty();
        match &place.host {
            HostRule::Exact(host) if empty => self.exact.remove_mut(host),
            HostRule::Below(suffix) if empty => self.below.remove_mut(suffix),
            _ => false,
        };
    }

    /// The endpoint at exactly this place.
    pub(super) fn at(&self, place: &Place) -> Option<&Arc<Served>> {
        self.rule(&place.host)?.under(&place.prefix)?.endpoint()
    }

    /// The paths of the narrowest rule for `host`, and whether that names it.
    pub(super) fn paths(&self, host: &str) -> (&Node, bool) {
        if let Some(node) = self.exact.get(host) {
            return (node, true);
        }
        if !self.below.is_empty() {
            let dots = host.match_indices('.').map(|(at, _)| at);
            let suffixes = dots.filter(|at| *at > 0).map(|at| &host[at..]);
            if let Some(node) = suffixes.into_iter().find_map(|s| self.below.get(s)) {
                return (node, true);
            }
        }
        (&self.any, false)
    }

    /// The paths of hosts that no rule names.
    pub(super) fn any(&self) -> &Node {
        &self.any
    }

    /// The paths of a rule.
    pub(super) fn rule(&self, host: &HostRule) -> Option<&Node> {
        match host {
            HostRule::Exact(host) => self.exact.get(host),
            HostRule::Below(suffix) => self.below.get(suffix),
            HostRule::Any => Some(&self.any),
        }
    }

    /// Every rule, and its paths.
    pub(super) fn roots(&self) -> impl Iterator<Item = (HostRule, &Node)> {
        let exact = self.exact.iter();
        let exact = exact.map(|(host, root)| (HostRule::Exact(host.clone()), root));
        let below = self.below.iter();
        let below = below.map(|(suffix, root)| (HostRule::Below(suffix.clone()), root));
        exact.chain(below).chain([(HostRule::Any, &self.any)])
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

    /// True where paths lead on from here.
    pub(super) fn has_paths(&self) -> bool {
        !self.children.is_empty()
    }

    /// The endpoint whose prefix ends here.
    pub(super) fn endpoint(&self) -> Option<&Arc<Served>> {
        self.endpoint.as_ref()
    }

    /// The endpoints whose prefixes are `prefix` or above it, from here on.
    pub(super) fn along<'n>(&'n self, prefix: &'n str) -> impl Iterator<Item = &'n Arc<Served>> {
        let mut node = Some(self);
        let mut steps = segments(prefix);
        std::iter::from_fn(move || {
            let here = node?;
            node = steps.next().and_then(|step| here.children.get(step));
            Some(here)
        })
        .filter_map(Self::endpoint)
    }

    /// The node at `prefix`.
    pub(super) fn under(&self, prefix: &str) -> Option<&Self> {
        segments(prefix).try_fold(self, |node, step| node.children.get(step))
    }

    /// An endpoint, here or below.
    pub(super) fn first(&self) -> Option<&Arc<Served>> {
        let below = || self.children.values().find_map(Self::first);
        self.endpoint().or_else(below)
    }

    /// Every endpoint, here and below.
    pub(super) fn all(&self, found: &mut Vec<Arc<Served>>) {
        found.extend(self.endpoint().cloned());
        self.children.values().for_each(|node| node.all(found));
    }

    /// The endpoint with the longest prefix of whole segments. Takes as long as the prefixes of this
    /// tree are deep, whatever `path` is.
    pub(super) fn longest(&self, path: &[u8]) -> Option<&Arc<Served>> {
        let mut longest = self.endpoint();
        let mut node = self;
        let mut rest = path.strip_prefix(b"/");
        while let Some(path) = rest.filter(|_| !node.children.is_empty()) {
            let end = memchr::memchr(b'/', path);
            let step = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
            let Some(next) = node.children.get(step) else {
                break;
            };
            node = next;
            longest = node.endpoint().or(longest);
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
