//! Who waits for a place, in which order, and who of them may try.

use std::{collections::BTreeMap, ops::Bound, task::Waker};

/// Those who wait. Who is called may try; the order is that of the numbers they drew.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: BTreeMap<u64, Waiter>,
    drawn: u64,
    /// How many of them were called and have not tried since.
    called: usize,
    /// Where not every place is right for each: who drew no later number than this is asked in the
    /// round that goes on.
    round: Option<u64>,
}

#[derive(Debug)]
struct Waiter {
    /// It is to try: a place may be free.
    called: bool,
    waker: Option<Waker>,
}

impl Waiter {
    fn call(&mut self) {
        self.called = true;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Line {
    /// One where not every place is right for each. Everybody is asked once for each place that comes
    /// free, one after the other, so that many whom a place is not right for cost little.
    pub(super) fn of_the_choosy() -> Self {
        Self {
            round: Some(0),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    #[cfg(test)]
    pub(super) fn called(&self) -> usize {
        self.called
    }

    /// How many of those who wait are about to have a place, as `places` are free.
    pub(super) fn about_to_leave(&self, places: impl Fn() -> usize) -> usize {
        match self.round {
            Some(_) => 0,
            None => places(),
        }
    }

    /// Draws a number; `free` places are there for those who wait. Who passes nobody may try at once:
    /// a place may have come free while it was on its way here.
    pub(super) fn enter(&mut self, free: usize) -> u64 {
        let passes_nobody = self.waiters.is_empty() || self.round.is_some();
        let number = self.draw(passes_nobody, None);
        self.call_for(free, Bound::Unbounded);
        number
    }

    /// A place may be free.
    pub(super) fn offer(&mut self) {
        match &mut self.round {
            None => self.call(Bound::Unbounded, 1),
            Some(round) => {
                *round = self.drawn;
                self.go_on();
            }
        }
    }

    /// All may try.
    pub(super) fn call_all(&mut self) {
        self.waiters.values_mut().for_each(Waiter::call);
        self.called = self.waiters.len();
    }

    /// Whether this one was called since it last asked; else `waker` will tell it.
    pub(super) fn take_call(&mut self, number: u64, waker: &Waker) -> bool {
        let Some(waiter) = self.waiters.get_mut(&number) else {
            return false;
        };
        match &mut waiter.waker {
            Some(stored) => stored.clone_from(waker),
            None => waiter.waker = Some(waker.clone()),
        }
        let called = std::mem::take(&mut waiter.called);
        self.called -= usize::from(called);
        called
    }

    /// This one was called and got no place; its number from now on.
    pub(super) fn decline(&mut self, number: u64, places: impl Fn() -> usize) -> u64 {
        if self.round.is_none() {
            // Where a tunnel of version 1 has come, an upgrade may not take all that is free.
            self.call_for(places(), Bound::Excluded(number));
            return number;
        }
        let waiter = self.waiters.remove(&number);
        let called = waiter.as_ref().is_some_and(|waiter| waiter.called);
        self.called -= usize::from(called);
        let number = self.draw(called, waiter.and_then(|waiter| waiter.waker));
        self.go_on();
        number
    }

    /// Takes one out; a call that it did not answer goes to the next.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(waiter) = self.waiters.remove(&number)
            && waiter.called
        {
            self.called -= 1;
            self.call(Bound::Unbounded, 1);
        }
    }

    /// One has left, perhaps with a place: of those that came free together the line is told once.
    pub(super) fn pass_on(&mut self, places: impl Fn() -> usize) {
        match self.round {
            None => self.call_for(places(), Bound::Unbounded),
            Some(_) => self.go_on(),
        }
    }

    fn draw(&mut self, called: bool, waker: Option<Waker>) -> u64 {
        self.drawn += 1;
        self.called += usize::from(called);
        self.waiters.insert(self.drawn, Waiter { called, waker });
        self.drawn
    }

    /// Calls the first `n` behind `after` that were not called yet.
    fn call(&mut self, after: Bound<u64>, n: usize) {
        let behind = self.waiters.range_mut((after, Bound::Unbounded));
        let waiting = behind.map(|(_, waiter)| waiter).filter(|w| !w.called);
        for waiter in waiting.take(n) {
            waiter.call();
            self.called += 1;
        }
    }

    /// Calls as many of those behind `after` as there are `places` that nobody was called for.
    fn call_for(&mut self, places: usize, after: Bound<u64>) {
        self.call(after, places.saturating_sub(self.called));
    }

    /// Calls the next of the round, unless somebody is called already.
    fn go_on(&mut self) {
        let first = self.waiters.first_key_value().map(|(number, _)| *number);
        if self.called == 0 && first.is_some_and(|first| Some(first) <= self.round) {
            self.call(Bound::Unbounded, 1);
        }
    }
}
