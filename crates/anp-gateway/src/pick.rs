//! Which of an endpoint's tunnels takes a request.

/// What a choice needs to know of a tunnel.
pub(crate) trait Candidate {
    /// Streams open on it.
    fn pending(&self) -> usize;
    /// Streams that may still be opened.
    fn capacity(&self) -> usize;
    /// The worker that moves its bytes.
    fn worker(&self) -> usize;
}

/// A tunnel of another worker costs each frame a wake-up of another thread. It is taken only where
/// it has this many streams fewer than half of the best at home.
const CROSSING: usize = 8;

/// Of so many tunnels that take one more the best is good enough. More are looked at only where
/// none of them is the worker's own, and these at most.
const ENOUGH: usize = 8;
const MOST: usize = 4 * ENOUGH;

/// The tunnel with the fewest open streams of those that take one more and satisfy `allowed`,
/// `worker`'s own before others'. Of equals it is the first, and of very many it is one of the first:
/// a thousand tunnels cost no more than a few. They come in `parts`.
pub(crate) fn pick<'t, T: Candidate + 't>(
    parts: impl Iterator<Item = &'t [T]>,
    worker: usize,
    allowed: impl Fn(&T) -> bool,
) -> Option<&'t T> {
    let (mut home, mut away) = (None, None);
    let (mut fit, mut looks) = (0, 0);
    for tunnel in parts.flatten() {
        looks += 1;
        if fit >= ENOUGH && (home.is_some() || looks > MOST) {
            break;
        }
        if tunnel.capacity() == 0 || !allowed(tunnel) {
            continue;
        }
        fit += 1;
        let best = if tunnel.worker() == worker {
            &mut home
        } else {
            &mut away
        };
        let pending = tunnel.pending();
        if best.is_none_or(|(least, _)| pending < least) {
            *best = Some((pending, tunnel));
        }
    }
    match (home, away) {
        (Some((here, _)), Some((there, tunnel))) if there + CROSSING <= here / 2 => Some(tunnel),
        (Some((_, tunnel)), _) | (None, Some((_, tunnel))) => Some(tunnel),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(usize, usize, usize);

    impl Candidate for Fake {
        fn pending(&self) -> usize {
            self.0
        }
        fn capacity(&self) -> usize {
            self.1
        }
        fn worker(&self) -> usize {
            self.2
        }
    }

    fn choose(tunnels: &[Fake], turn: usize) -> Option<usize> {
        let (end, start) = tunnels.split_at(turn);
        let chosen = pick([start, end].into_iter(), 0, |_| true)?;
        tunnels.iter().position(|t| std::ptr::eq(t, chosen))
    }

    #[test]
    fn the_least_pending_with_capacity() {
        assert_eq!(
            choose(&[Fake(3, 9, 0), Fake(1, 9, 0), Fake(0, 0, 0)], 0),
            Some(1)
        );
        assert_eq!(choose(&[], 0), None);
        assert_eq!(choose(&[Fake(3, 0, 0)], 1), None);
        assert!(pick([&[Fake(0, 1, 0)][..]].into_iter(), 0, |_| false).is_none());
    }

    #[test]
    fn a_thousand_cost_no_more_than_a_few() {
        let looked = |tunnels: &[Fake]| {
            let looked = std::cell::Cell::new(0);
            let (end, start) = tunnels.split_at(900);
            let chosen = pick([start, end].into_iter(), 0, |_| {
                looked.set(looked.get() + 1);
                true
            });
            (looked.get(), chosen.map(|t| (t.0, t.2)))
        };
        let many = |worker| (0..1000).map(move |i| Fake(1000 - i, 9, worker));
        let home: Vec<_> = many(0).collect();
        assert_eq!(looked(&home), (ENOUGH, Some((93, 0))));
        let away: Vec<_> = many(1).collect();
        assert_eq!(looked(&away), (MOST, Some((69, 1))));
        // One that takes more is found wherever it is.
        let full = (0..1000).map(|i| Fake(i, usize::from(i == 7), 0));
        assert_eq!(looked(&full.collect::<Vec<_>>()), (1, Some((7, 0))));
    }

    #[test]
    fn equals_take_turns() {
        let equal = [Fake(1, 9, 0), Fake(1, 9, 0)];
        assert_eq!(choose(&equal, 0), Some(0));
        assert_eq!(choose(&equal, 1), Some(1));
    }

    #[test]
    fn other_workers_only_where_it_pays() {
        assert_eq!(choose(&[Fake(0, 9, 1), Fake(15, 9, 0)], 0), Some(1));
        assert_eq!(choose(&[Fake(0, 9, 1), Fake(16, 9, 0)], 0), Some(0));
        assert_eq!(choose(&[Fake(9, 9, 1), Fake(0, 0, 0)], 0), Some(0));
    }
}
