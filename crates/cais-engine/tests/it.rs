//! Integration tests of the engine.

#[path = "it/image.rs"]
mod image;
#[path = "it/launch.rs"]
mod launch;
#[path = "it/reading.rs"]
mod reading;
