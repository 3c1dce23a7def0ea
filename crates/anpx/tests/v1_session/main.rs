//! Version-1 sessions as their peers see them: events, frames and bodies (ANPX section 2).

#[cfg(test)]
mod gateway;
#[cfg(test)]
mod pair;
#[cfg(test)]
mod random;
#[cfg(test)]
mod receiver;
