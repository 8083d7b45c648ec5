//! Commands that are not for people, and those that the help does not list.

use super::{PLAIN, READER};
use crate::spec::Spec;
use crate::verb::{cleanup, complete, man};

/// Called by the monitor of a container; not for people.
static CLEANUP: Spec = Spec { names: &["__cleanup"], main: cleanup::main, ..PLAIN };
static AGAIN: Spec = Spec { names: &["__again"], main: cleanup::again, ..PLAIN };
static COMPRESS: Spec = Spec { names: &["__compress"], main: cleanup::compress, ..PLAIN };
static OOM: Spec = Spec { names: &["__oom"], main: cleanup::oom, ..PLAIN };
static PROBE: Spec = Spec { names: &["__probe"], main: cleanup::probe, ..PLAIN };

/// What a shell's completion asks; not for people.
static COMPLETE: Spec = Spec { names: &["__complete"], main: complete::main, ..READER };

/// Manual pages, for packagers.
static MAN: Spec = Spec {
    names: &["man"],
    usage: "[--dir DIR] [COMMAND]",
    about: "Print manual pages, or write all of them into a directory",
    main: man::main,
    ..READER
};

/// Commands that the help does not list.
pub static HIDDEN: [&Spec; 7] = [&CLEANUP, &AGAIN, &PROBE, &OOM, &COMPRESS, &COMPLETE, &MAN];
