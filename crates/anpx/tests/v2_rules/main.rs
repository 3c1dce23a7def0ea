//! The rules of version 2 as dialogues between one session and a scripted peer, and its codec.

#[cfg(test)]
mod codec;
#[cfg(test)]
mod dialogue;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod growth;
#[cfg(test)]
mod halves;
#[cfg(test)]
mod order;
#[cfg(test)]
mod races;
#[cfg(test)]
mod resets;
#[cfg(test)]
mod session_errors;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod stream_errors;
#[cfg(test)]
mod upgrades;
