//! Apps in the receiver's own process: axum routers and tonic's routes.

#[cfg(test)]
mod axum_routes;
#[cfg(test)]
mod tonic_routes;
