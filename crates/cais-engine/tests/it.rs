//! Integration tests of the engine.

#[path = "it/by_hand.rs"]
mod by_hand;
#[path = "it/check.rs"]
mod check;
#[path = "it/image.rs"]
mod image;
#[path = "it/launch.rs"]
mod launch;
#[path = "it/reading.rs"]
mod reading;
