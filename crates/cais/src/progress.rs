//! Progress of pulls, loads and pushes on standard error: a line per layer that moves on a terminal, a line per
//! layer that is done elsewhere.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cais_engine::progress::{LayerEvent, Progress};
use cais_oci::Digest;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::isatty;

use crate::door::{Door, print_stderr};

/// Tells nothing but warnings.
pub struct Silent;

impl Progress for Silent {
    fn message(&self, _: &str) {}
    fn layer(&self, _: &Digest, _: LayerEvent) {}
    fn warn(&self, text: &str) {
        print_stderr(&format!("warning: {text}\n"));
    }
}

/// A line per message and per layer that is done: what a log file should hold.
pub struct Lines;

impl Progress for Lines {
    fn message(&self, text: &str) {
        print_stderr(&format!("{text}\n"));
    }

    fn layer(&self, digest: &Digest, event: LayerEvent) {
        if is_end(&event) {
            print_stderr(&format!("{}: {}\n", digest.short(), word(&event)));
        }
    }

    fn warn(&self, text: &str) {
        Silent.warn(text);
    }
}

/// A moving line per layer.
#[derive(Default)]
pub struct Bars {
    /// Made with the first layer: a `run` whose image is here draws nothing.
    drawn: Mutex<Option<Drawn>>,
}

struct Drawn {
    all: MultiProgress,
    layers: HashMap<Digest, ProgressBar>,
}

const WAITING: &str = "{prefix}: {msg}";
const LOADING: &str =
    "{prefix}: {msg:13} [{bar:30}] {bytes:>10} of {total_bytes:10} {bytes_per_sec:>12} {eta:>4}";

impl Progress for Bars {
    fn message(&self, text: &str) {
        match &*lock(&self.drawn) {
            Some(drawn) => drop(drawn.all.println(text)),
            None => print_stderr(&format!("{text}\n")),
        }
    }

    fn layer(&self, digest: &Digest, event: LayerEvent) {
        let mut guard = lock(&self.drawn);
        let drawn = guard.get_or_insert_with(|| Drawn {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            layers: HashMap::new(),
        });
        let all = &drawn.all;
        let bar = drawn.layers.entry(digest.clone()).or_insert_with(|| {
            let bar = all.add(ProgressBar::no_length()).with_prefix(digest.short().to_owned());
            bar.set_style(style(WAITING));
            bar
        });
        bar.set_message(word(&event));
        match event {
            LayerEvent::Waiting | LayerEvent::Packing => bar.tick(),
            LayerEvent::Downloading { done_bytes, total_bytes }
            | LayerEvent::Uploading { done_bytes, total_bytes } => {
                if bar.length() != Some(total_bytes) {
                    bar.set_style(style(LOADING));
                    bar.set_length(total_bytes);
                }
                bar.set_position(done_bytes);
            }
            _ => {
                bar.set_style(style(WAITING));
                bar.finish();
            }
        }
    }

    fn warn(&self, text: &str) {
        self.message(&format!("warning: {text}"));
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// Whether nothing more happens to the layer.
fn is_end(event: &LayerEvent) -> bool {
    matches!(
        event,
        LayerEvent::Exists
            | LayerEvent::Done
            | LayerEvent::Present
            | LayerEvent::Mounted { .. }
            | LayerEvent::Pushed
            | LayerEvent::Saved
    )
}

/// Docker's words.
fn word(event: &LayerEvent) -> Cow<'static, str> {
    Cow::Borrowed(match event {
        LayerEvent::Waiting => "Waiting",
        LayerEvent::Exists => "Already exists",
        LayerEvent::Downloading { .. } => "Downloading",
        LayerEvent::Done => "Pull complete",
        LayerEvent::Packing => "Preparing",
        LayerEvent::Uploading { .. } => "Pushing",
        LayerEvent::Present => "Layer already exists",
        LayerEvent::Mounted { from } => return Cow::Owned(format!("Mounted from {from}")),
        LayerEvent::Pushed => "Pushed",
        LayerEvent::Saved => "Saved",
    })
}

/// A thread that panicked while it told of its progress has left nothing half-done that matters.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The progress that suits the caller.
pub fn choose(door: &Door, quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if isatty(std::io::stderr()) && !door.surroundings.plain_progress {
        Box::new(Bars::default())
    } else {
        Box::new(Lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_styles_are_valid() {
        for template in [WAITING, LOADING] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
