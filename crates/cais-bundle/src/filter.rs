//! The filter of system calls of a configuration, compiled for this machine.

use cais_oci::runtime::Spec;
use cais_runtime::capability::CapSet;
use cais_runtime::seccomp::{Abi, NewerCalls, Target, compile_spec};

use crate::error::{Error, Result};
use crate::plan::Filter;
use crate::state::Listener;

/// A compiled filter.
#[derive(Debug)]
pub(crate) struct Compiled {
    program: Vec<u8>,
    flags: u32,
    listener: bool,
}

impl Compiled {
    /// Of `linux.seccomp`; `None` when it asks for none.
    ///
    /// # Errors
    /// For what cannot be compiled, and on a machine whose system calls are not known.
    pub(crate) fn of(spec: &Spec) -> Result<Option<Compiled>> {
        let Some(seccomp) = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()) else {
            return Ok(None);
        };
        let target = Target {
            abi: Abi::NATIVE.ok_or(Error::Request("seccomp filters are not known for this architecture"))?,
            caps: CapSet::EMPTY,
            kernel: kernel(),
            newer_calls: NewerCalls::Enosys,
            x32: cais_sys::x32::may_exist(),
        };
        let program = compile_spec(seccomp, &target)?;
        Ok(program.map(|program| Compiled {
            program: program.to_bytes(),
            flags: program.flags,
            listener: program.listener,
        }))
    }

    /// For the log, in runc's words and as runc counts them: without TSYNC.
    pub(crate) fn flags_told(&self) -> String {
        const TSYNC: u32 = 1;
        format!("seccomp filter flags: {}", self.flags & !TSYNC)
    }

    /// As the planner takes it.
    pub(crate) fn as_filter(&self) -> Filter<'_> {
        Filter { program: &self.program, flags: self.flags, listener: self.listener }
    }
}

/// Who gets the listener of the configuration's filter.
pub(crate) fn listener(spec: &Spec) -> Option<Listener> {
    let seccomp = spec.linux.as_ref()?.seccomp.as_ref()?;
    let path = seccomp.listener_path.as_ref()?.into();
    Some(Listener { path, metadata: seccomp.listener_metadata.clone() })
}

/// The first two numbers of the kernel's version.
fn kernel() -> (u32, u32) {
    let release = rustix::system::uname();
    let text = release.release().to_string_lossy();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_has_a_version() {
        assert!(super::kernel() > (3, 0));
    }
}
