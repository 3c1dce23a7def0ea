//! The binary as users meet it: exit codes, messages, signals.

#[cfg(test)]
mod admin;
#[cfg(test)]
mod apps;
#[cfg(test)]
mod child;
#[cfg(test)]
mod configuration;
#[cfg(test)]
mod newcomer;
#[cfg(test)]
mod reload;
#[cfg(test)]
#[cfg(unix)]
mod replacing;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod status;
#[cfg(test)]
mod usage;
