//! Thin repositories: for one build, only what that build can need.
//!
//! Owns what such a repository consists of. Serves nothing and fetches nothing: [`crate::web`] and [`crate::payloads`] do.

pub mod write;
