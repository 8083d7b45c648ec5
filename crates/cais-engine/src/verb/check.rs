//! `system check`: what the machine holds against what the records say, and the one way of putting it right.
//!
//! Whatever a run makes on the machine exists only while the run's directory does, and that is in order only while
//! somebody holds its lock. So a look at the machine, then at the directories, then at the machine again finds what is left
//! over without disturbing anybody: what both looks saw and no run explains. A run is repaired by the same teardown that ends every run; things that belong to no run are taken
//! away one by one. What bears neither the id of a
//! container of this store nor an address that this store leased is another store's: not reported, not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use cais_net::ports::PortMapping;

use crate::network::{mappings, network_error};
use crate::verb::boot::LOST_EXIT_CODE;
use crate::verb::containers::names;
use crate::view::Finding;
use crate::{Engine, Error, ErrorKind, ExitRecord, Result, RunFacts};

/// How long the kernel may take to remove an interface whose namespace is gone.
const LINK_PATIENCE: Duration = Duration::from_secs(3);
/// Network interfaces in the caller's network namespace, a line each; proc(5). /sys shows those of its mount.
const LINKS: &str = "/proc/self/net/dev";

impl Engine {
    /// Looks for what crashes left behind; with `repair` puts right what can be. Idempotent; running containers are not
    /// disturbed.
    ///
    /// # Errors
    /// When the store or the machine cannot be looked at, or a repair fails; what was repaired before stays so.
    pub fn check(&self, repair: bool) -> Result<Vec<Finding>> {
        let mut check = Check { engine: self, repair, findings: Vec::new() };
        check.runs()?;
        check.cgroups()?;
        if !self.config.rootless {
            check.ports()?;
            check.leases()?;
            check.links()?;
        }
        let mut findings = check.findings;
        findings.extend(self.store.check(repair)?.into_iter().map(|finding| Finding {
            kind: finding.kind.to_owned(),
            object: finding.object,
            problem: finding.problem,
            repaired: finding.repaired,
        }));
        Ok(findings)
    }
}

struct Check<'e> {
    engine: &'e Engine,
    repair: bool,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn found(&mut self, kind: &str, object: impl Into<String>, problem: &str, repaired: bool) {
        self.findings.push(Finding {
            kind: kind.to_owned(),
            object: object.into(),
            problem: problem.to_owned(),
            repaired,
        });
    }

    /// All runs with their facts: those that go on and those that [`Check::runs`] has reported.
    ///
    /// What a run makes on the machine is made after its directory and removed before it.
    fn known_runs(&self) -> Result<BTreeMap<String, RunFacts>> {
        let mut runs = BTreeMap::new();
        for id in self.engine.run_directories()? {
            let facts = self.engine.store.read_facts(&id)?.unwrap_or_default();
            runs.insert(id, facts);
        }
        Ok(runs)
    }

    /// Runs without a monitor: it was killed, or whoever started the container was, in the middle of a launch or teardown.
    fn runs(&mut self) -> Result<()> {
        for id in self.engine.run_directories()? {
            if self.engine.resume_interrupted(&id, self.repair)? {
                self.found("container", &id, "was left paused by an interrupted commit", self.repair);
            }
            let Some(problem) = self.engine.lost_run(&id)? else { continue };
            let repaired = self.repair && self.engine.recover(&id)?;
            self.found("container", id, problem, repaired);
        }
        Ok(())
    }

    /// Cgroups of containers that do not run.
    fn cgroups(&mut self) -> Result<()> {
        let before = self.engine.cgroup_ids()?;
        let runs = self.known_runs()?;
        let known: BTreeSet<String> = self.engine.store.container_ids()?.into_iter().collect();
        let after = self.engine.cgroup_ids()?;
        for id in before.intersection(&after) {
            if runs.contains_key(id) || !known.contains(id) {
                continue;
            }
            if self.repair {
                self.engine.tear_down(id)?;
            }
            self.found("cgroup", id, "belongs to a container that does not run", self.repair);
        }
        Ok(())
    }

    /// Published ports that lead to an address of ours that no running container has, and running containers whose ports are not published.
    fn ports(&mut self) -> Result<()> {
        let before: BTreeSet<PortMapping> = published()?;
        let runs = self.known_runs()?;
        let after: BTreeSet<PortMapping> = published()?;
        let explained: BTreeSet<PortMapping> = runs.values().flat_map(mappings).collect();
        let leased = self.engine.leased()?;
        let is_left =
            |port: &PortMapping| leased.contains_key(&port.container_ip) && !explained.contains(port);
        let left: Vec<PortMapping> = before.intersection(&after).copied().filter(is_left).collect();
        if self.repair {
            self.engine.withdraw(&left)?;
        }
        for port in left {
            self.found("port", port.host().to_string(), "is published for no running container", self.repair);
        }
        // A launch that is under way publishes later; those with a pid have published.
        let mut lost = BTreeSet::new();
        for (id, facts) in runs.iter().filter(|(_, facts)| facts.pid != 0) {
            let missing = |port: &PortMapping| !before.contains(port) && !after.contains(port);
            let ports: Vec<PortMapping> = mappings(facts).into_iter().filter(missing).collect();
            // It may have ended meanwhile.
            if !ports.is_empty()
                && self.engine.store.is_running(id)?
                && self.engine.store.read_exit(id)?.is_none()
            {
                lost.extend(ports);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<PortMapping> = lost.into_iter().collect();
        if self.repair {
            self.engine.publish_lost(&lost)?;
        }
        for port in lost {
            self.found(
                "port",
                port.host().to_string(),
                "is not published any more: the rules were lost",
                self.repair,
            );
        }
        Ok(())
    }

    /// Addresses leased to containers that do not run.
    fn leases(&mut self) -> Result<()> {
        let before = self.engine.leased()?;
        let runs = self.known_runs()?;
        let after = self.engine.leased()?;
        for (ip, owner) in before {
            if runs.contains_key(&owner) || after.get(&ip) != Some(&owner) {
                continue;
            }
            if self.repair {
                self.engine.release(&owner, ip);
            }
            self.found("address", ip.to_string(), "is leased to no running container", self.repair);
        }
        Ok(())
    }

    /// Host ends of containers' interfaces without running container.
    fn links(&mut self) -> Result<()> {
        let known = self.engine.store.container_ids()?;
        let mut left = links()?;
        left.retain(|name| known.iter().any(|id| is_host_end_of(name, id)));
        let limit = Instant::now() + LINK_PATIENCE;
        loop {
            let explained: BTreeSet<String> =
                self.known_runs()?.into_values().map(|facts| facts.host_link).collect();
            let present = links()?;
            left.retain(|name| present.contains(name) && !explained.contains(name));
            if left.is_empty() || Instant::now() >= limit {
                break;
            }
            // The kernel is still at it, in its own time.
            std::thread::sleep(Duration::from_millis(50));
        }
        for name in left {
            if self.repair {
                cais_net::bridge::delete_link(&name).map_err(network_error)?;
            }
            self.found("link", name, "belongs to a container that does not run", self.repair);
        }
        Ok(())
    }
}

impl Engine {
    /// What is wrong with a run directory; `None` when somebody holds its lock or it is gone by now.
    fn lost_run(&self, id: &str) -> Result<Option<&'static str>> {
        if self.store.is_running(id)? {
            return Ok(None);
        }
        let facts = self.store.read_facts(id)?;
        let has_ended = self.store.read_exit(id).is_ok_and(|exit| exit.is_some());
        // Somebody may have started it, or taken it down, since the lock was looked at.
        if self.store.is_running(id)? || !self.store.paths().run_container(id).exists() {
            return Ok(None);
        }
        Ok(Some(match facts {
            Some(facts) if facts.restarting => "its monitor was killed while it waited to run again",
            Some(facts) if facts.pid != 0 && !has_ended => "its monitor was killed while it ran",
            Some(facts) if facts.pid == 0 => "its start was interrupted",
            None if !has_ended => "its start, or a copy into it, was interrupted",
            _ => "has ended, but was not taken down",
        }))
    }

    /// Takes a lost run down, under its lock; false when somebody else has the lock by now.
    fn recover(&self, id: &str) -> Result<bool> {
        let lock = match self.store.take_ended_lock(id)? {
            Some(lock) => lock,
            None if self.store.is_running(id)? => return Ok(false),
            // There is not even a lock file.
            None => match self.store.take_run_lock(id) {
                Ok(lock) => lock,
                Err(cais_store::StoreError::Running { .. }) => return Ok(false),
                Err(error) => return Err(error.into()),
            },
        };
        let facts = self.store.read_facts(id)?;
        let has_ended = self.store.read_exit(id)?.is_some();
        if facts.is_none() && !has_ended {
            // There was no run: whoever held the lock only copied files into the container, which stays.
            let result = self.tear_down(id);
            drop(lock);
            return result.map(|()| true);
        }
        let was_restarting = facts.as_ref().is_some_and(|facts| facts.restarting);
        if facts.as_ref().is_some_and(|facts| facts.pid == 0 && !facts.restarting) {
            self.forget_start(id)?;
        }
        if let Some(facts) = facts.filter(|facts| facts.pid != 0)
            && !has_ended
            && self.store.load_container(id).is_ok()
        {
            let exit = ExitRecord {
                code: LOST_EXIT_CODE,
                started: facts.started,
                finished: cais_store::run_state::now(),
                error: "its monitor was killed: how it ended is not known".to_owned(),
                ..ExitRecord::default()
            };
            self.store.write_exit(id, &exit)?;
        }
        let result = self.after_exit(id);
        drop(lock);
        if was_restarting {
            self.take_up_again(id)?;
        }
        result.map(|()| true)
    }

    /// Of a start that was interrupted an empty log is left, which would tell of a run.
    fn forget_start(&self, id: &str) -> Result<()> {
        let path = self.store.paths().container_log(id);
        if std::fs::metadata(&path).is_ok_and(|log| log.len() == 0) {
            std::fs::remove_file(&path).map_err(|error| {
                Error::caused(ErrorKind::System, format!("remove {}", path.display()), error)
            })?;
        }
        Ok(())
    }

    /// Puts lost ports of running containers back, and the rules that they need.
    fn publish_lost(&self, ports: &[PortMapping]) -> Result<()> {
        cais_net::bridge::ensure_bridge(&self.bridge()?).map_err(network_error)?;
        cais_net::ports::republish(ports).map_err(network_error)
    }

    /// Takes published ports away.
    fn withdraw(&self, ports: &[PortMapping]) -> Result<()> {
        if ports.is_empty() {
            return Ok(());
        }
        cais_net::ports::unpublish(ports).map(drop).map_err(network_error)
    }

    /// Leased addresses and the ids that have them; an empty id when it was never written.
    fn leased(&self) -> Result<BTreeMap<Ipv4Addr, String>> {
        let directory = self.store.paths().leases();
        let mut leases = BTreeMap::new();
        for name in names(&directory)? {
            let Ok(ip) = name.parse() else { continue };
            // Given back since.
            let Ok(owner) = std::fs::read_to_string(directory.join(&name)) else { continue };
            leases.insert(ip, owner);
        }
        Ok(leases)
    }
}

/// Ports in the kernel's maps.
fn published() -> Result<BTreeSet<PortMapping>> {
    Ok(cais_net::ports::list_published().map_err(network_error)?.into_iter().collect())
}

/// Interfaces whose names say that they are host ends of containers' interfaces.
fn links() -> Result<BTreeSet<String>> {
    let text = std::fs::read_to_string(LINKS)
        .map_err(|e| Error::caused(ErrorKind::System, format!("read {LINKS}"), e))?;
    let names = text.lines().filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()));
    Ok(names.filter(|name| is_host_end(name)).map(str::to_owned).collect())
}

/// `vc`, eight hex digits of the id, five of the nonce: see [`cais_net::attach::host_interface_name`].
fn is_host_end(name: &str) -> bool {
    name.strip_prefix("vc")
        .is_some_and(|rest| rest.len() == 13 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether this is an interface of that container.
fn is_host_end_of(name: &str, id: &str) -> bool {
    name.get(2..10).is_some_and(|start| id.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_host_ends() {
        let id = "0123456789abcdef".repeat(4);
        let name = cais_net::attach::host_interface_name(&id, 7);
        assert!(is_host_end(&name) && is_host_end_of(&name, &id));
        assert!(!is_host_end_of(&name, &"fedcba9876543210".repeat(4)));
        for other in ["vc", "vcard0", "eth0", "vc0123456789abcg", "vc0123456789abcde"] {
            assert!(!is_host_end(other), "{other}");
        }
    }
}
