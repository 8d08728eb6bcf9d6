//! What the HTTP inputs share: who may come in, bodies and their limits, answers.

pub mod auth;
pub mod body;
pub mod decompress;
pub mod limits;
pub mod reply;
