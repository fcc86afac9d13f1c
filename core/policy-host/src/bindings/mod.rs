//! What the WIT contracts are in Rust: one module per version. The host speaks the newest one; an
//! older one is served by conversion into the newest.

#[allow(missing_docs, clippy::all, clippy::indexing_slicing, clippy::unwrap_used, clippy::panic)]
pub(crate) mod v0_1_0;

/// The version that this host serves, as it stands behind the `@` of an interface's name.
pub(crate) const SERVED: &str = "0.1.0";

/// The package that all contracts belong to.
pub(crate) const PACKAGE: &str = "berth:policy/";
