//! Units that systemd makes for containers: scopes below its slices, org.freedesktop.systemd1(5).
//!
//! The conversation: [`Systemd::ask`] connects and says which systemd it is, [`Manager::start`] waits until the unit's job
//! is done, [`Manager::set`] changes limits, [`Manager::stop`] ends it. Group directories are the caller's affair.
//!
//! systemd moves a process into a new scope itself, and a scope without one ends at once; so does one whose last
//! process ends.

pub(super) mod annotation;
mod bus;
pub(super) mod properties;
mod wire;

use serde::{Deserialize, Serialize};

use bus::Bus;
pub use bus::BusError;
pub use wire::Value;

use super::error::GroupError;
use properties::Property;

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Which systemd, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Systemd {
    /// An ordinary user's own, for rootless containers.
    pub user: bool,
    /// Addresses as in `DBUS_SESSION_BUS_ADDRESS`, of which the first that answers is taken.
    pub addresses: Vec<String>,
}

impl Systemd {
    /// The machine's: straight, or by the system bus.
    #[must_use]
    pub fn system() -> Systemd {
        let addresses = ["unix:path=/run/systemd/private", "unix:path=/run/dbus/system_bus_socket"];
        Systemd { user: false, addresses: addresses.map(str::to_owned).into() }
    }

    /// A user's, by `DBUS_SESSION_BUS_ADDRESS` and `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn user(session_bus: Option<&str>, runtime_dir: Option<&str>) -> Systemd {
        let mut addresses: Vec<String> = session_bus.map(str::to_owned).into_iter().collect();
        if let Some(directory) = runtime_dir {
            // Commas and semicolons end an address.
            let directory = directory.replace('%', "%25").replace(',', "%2c").replace(';', "%3b");
            addresses.push(format!("unix:path={directory}/bus"));
            addresses.push(format!("unix:path={directory}/systemd/private"));
        }
        Systemd { user: true, addresses }
    }

    /// Connects, about a unit, which errors name.
    pub(super) fn ask(&self, unit: &str) -> Result<Manager, GroupError> {
        let failed = |source| GroupError::Systemd { unit: unit.to_owned(), source };
        let bus = Bus::connect(&self.addresses).map_err(failed)?;
        Ok(Manager { bus, unit: unit.to_owned() })
    }
}

/// A connection to systemd about one unit.
pub(super) struct Manager {
    bus: Bus,
    unit: String,
}

impl Manager {
    fn failed(&self) -> impl FnOnce(BusError) -> GroupError + use<> {
        let unit = self.unit.clone();
        move |source| GroupError::Systemd { unit, source }
    }

    fn call(&mut self, member: &str, arguments: Vec<Value>) -> Result<Vec<Value>, BusError> {
        self.bus.call(MANAGER, member, arguments)
    }

    fn property(&mut self, name: &str) -> Result<String, GroupError> {
        let arguments = vec![Value::Text(MANAGER.to_owned()), Value::Text(name.to_owned())];
        let answer =
            self.bus.call("org.freedesktop.DBus.Properties", "Get", arguments).map_err(self.failed())?;
        match answer.into_iter().next() {
            Some(Value::Variant(value)) => match *value {
                Value::Text(text) => Ok(text),
                _ => Err(self.failed()(UNEXPECTED)),
            },
            _ => Err(self.failed()(UNEXPECTED)),
        }
    }

    /// The number of its version; 0 when it says something else.
    pub(super) fn version(&mut self) -> Result<u32, GroupError> {
        let text = self.property("Version")?;
        let digits = text.trim_start_matches('v');
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        Ok(digits[..end].parse().unwrap_or(0))
    }

    /// The group below which its units are, from the top of the tree.
    pub(super) fn control_group(&mut self) -> Result<String, GroupError> {
        self.property("ControlGroup")
    }

    /// Starts the unit and waits until its job is done. One that failed before under this name is forgotten.
    pub(super) fn start(&mut self, properties: &[Property]) -> Result<(), GroupError> {
        self.watch_jobs()?;
        let arguments = || {
            let mut arguments = self::arguments(&self.unit);
            arguments.push(list(properties));
            arguments.push(Value::Array("(sa(sv))".to_owned(), Vec::new()));
            arguments
        };
        let (first, second) = (arguments(), arguments());
        let started = match self.call("StartTransientUnit", first) {
            Err(BusError::Remote { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
                // What cannot be reset cannot be started again either, and that says so.
                let _ = self.reset();
                self.call("StartTransientUnit", second)
            }
            other => other,
        };
        let answer = started.map_err(self.failed())?;
        match self.wait(answer)?.as_str() {
            "done" => Ok(()),
            result => {
                // Its failure is the one to tell.
                let _ = self.reset();
                Err(GroupError::Unit { unit: self.unit.clone(), result: result.to_owned() })
            }
        }
    }

    /// Changes limits of the running unit, until it ends.
    pub(super) fn set(&mut self, properties: &[Property]) -> Result<(), GroupError> {
        if properties.is_empty() {
            return Ok(());
        }
        let arguments = vec![Value::Text(self.unit.clone()), Value::Bool(true), list(properties)];
        self.call("SetUnitProperties", arguments).map(drop).map_err(self.failed())
    }

    /// Ends the unit and waits for it; one that is gone is all right.
    pub(super) fn stop(&mut self) -> Result<(), GroupError> {
        self.watch_jobs()?;
        match self.call("StopUnit", arguments(&self.unit)) {
            Ok(answer) => drop(self.wait(answer)?),
            Err(BusError::Remote { name, .. }) if name == "org.freedesktop.systemd1.NoSuchUnit" => {}
            Err(error) => return Err(self.failed()(error)),
        }
        // One that did not fail has nothing to be reset.
        let _ = self.reset();
        Ok(())
    }

    fn reset(&mut self) -> Result<(), BusError> {
        self.call("ResetFailedUnit", vec![Value::Text(self.unit.clone())]).map(drop)
    }

    fn watch_jobs(&mut self) -> Result<(), GroupError> {
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        let watched = self.bus.watch(rule).and_then(|()| self.call("Subscribe", Vec::new()));
        match watched {
            // Subscribed by an earlier call on this connection.
            Err(BusError::Remote { name, .. }) if name.ends_with("AlreadySubscribed") => Ok(()),
            other => other.map(drop).map_err(self.failed()),
        }
    }

    /// Waits for the end of the job that a call answered with, and says how it ended.
    fn wait(&mut self, answer: Vec<Value>) -> Result<String, GroupError> {
        let Some(Value::Path(job)) = answer.into_iter().next() else { return Err(self.failed()(UNEXPECTED)) };
        // JobRemoved(u id, o job, s unit, s result)
        let ours = |body: &[Value]| matches!(body, [_, Value::Path(path), ..] if *path == job);
        let body = self.bus.wait_signal("JobRemoved", ours).map_err(self.failed())?;
        match body.into_iter().nth(3) {
            Some(Value::Text(result)) => Ok(result),
            _ => Err(self.failed()(UNEXPECTED)),
        }
    }
}

const UNEXPECTED: BusError = BusError::Protocol { reason: "an answer of another type than it should have" };

/// The unit, and to replace what is queued for it.
fn arguments(unit: &str) -> Vec<Value> {
    vec![Value::Text(unit.to_owned()), Value::Text("replace".to_owned())]
}

fn list(properties: &[Property]) -> Value {
    let property = |(name, value): &Property| {
        Value::Struct(vec![Value::Text(name.clone()), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)".to_owned(), properties.iter().map(property).collect())
}

#[cfg(test)]
pub(super) mod tests;
