//! Secrets and keys: tokens, passphrases, static keys.
//!
//! Owns how they are written and stretched. Never touches a file and never prints a secret.

