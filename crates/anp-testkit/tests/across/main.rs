//! A real gateway and a real receiver between raw callers, raw apps and hostile peers.

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod monitor;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upgrades;
