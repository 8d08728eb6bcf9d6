//! What the HTTP inputs share: who may come in, bodies and their limits, what they are written in, answers.

pub mod auth;
pub mod body;
pub mod decompress;
pub mod limits;
mod memory;
pub mod readable;
pub mod reply;
