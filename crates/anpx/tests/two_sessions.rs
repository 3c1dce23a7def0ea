//! Two version-2 sessions against each other over a simulated link, under a virtual clock.
//!
//! Each run is made from one seed. A failing run prints its seed; `ANPX_SEED=N` repeats it alone.

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::simulation::{self, Shape};

    /// Runs the seeds of `range`, or only the one that `ANPX_SEED` names.
    fn run(shape: Shape, range: std::ops::Range<u64>) {
        match std::env::var("ANPX_SEED") {
            Ok(seed) => simulation::run(shape, seed.parse().unwrap()),
            Err(_) => range.for_each(|seed| simulation::run(shape, seed)),
        }
    }

    #[test]
    fn short_sequences_even_seeds() {
        run(Shape::Short, 0..5_000);
    }

    #[test]
    fn short_sequences_odd_seeds() {
        run(Shape::Short, 5_000..10_000);
    }

    #[test]
    fn crowded_sessions() {
        run(Shape::Crowded, 20_000..20_150);
    }

    #[test]
    fn long_bodies() {
        run(Shape::Long, 30_000..30_040);
    }
}
