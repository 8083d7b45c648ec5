//! Which containers a command is for: names, or podman's `--all`, `--latest`, `--filter`, `--cidfile`.

use cais_engine::view::ContainerView;
use clap::Args;

use crate::container_filter::container_filter;
use crate::door::Door;
use crate::failure::Failure;

/// Flags that stand for names of containers.
#[derive(Clone, Debug, Default, Args)]
pub struct Chosen {
    /// All containers for which the command makes sense.
    #[arg(short, long)]
    pub all: bool,
    /// Read the container's id from a file.
    #[arg(long, value_name = "FILE")]
    pub cidfile: Vec<String>,
    /// The container that was created last.
    #[arg(short, long)]
    pub latest: bool,
}

impl Chosen {
    /// The names that were typed, or the ids of those that were chosen; the engine is opened only for these. `filter` are the values of `--filter`, `fits` is
    /// asked for them and for `--all`.
    ///
    /// # Errors
    /// When nothing was chosen, or twice; filters and files that cannot be read.
    pub fn names(
        &self,
        door: &Door,
        typed: &[String],
        filter: &[String],
        fits: impl Fn(&ContainerView) -> bool,
    ) -> Result<Vec<String>, Failure> {
        let ways = [!typed.is_empty(), self.all || !filter.is_empty(), self.latest]
            .into_iter()
            .filter(|way| *way)
            .count();
        if ways > 1 {
            return Err(Failure::usage("conflicting options: use names, --all (or --filter), or --latest"));
        }
        if ways == 0 && self.cidfile.is_empty() {
            return Err(missing(door));
        }
        let mut names = typed.to_vec();
        for path in &self.cidfile {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::edge(format_args!("read --cidfile {path}"), error))?;
            names.push(text.lines().next().unwrap_or_default().trim().to_owned());
        }
        if self.latest {
            let newest = door.engine()?.containers(true)?.into_iter().next();
            let newest = newest.ok_or_else(|| Failure::usage("--latest: there are no containers"))?;
            names.push(newest.record.id);
        } else if self.all || !filter.is_empty() {
            let engine = door.engine()?;
            let filter = container_filter(filter, engine)?;
            let views = engine.containers(true)?;
            let fitting = views.into_iter().filter(|view| fits(view) && filter.passes(view));
            names.extend(fitting.map(|view| view.record.id));
        }
        Ok(names)
    }
}

/// Exactly one container: its name, `--latest`, or the file of `--cidfile`.
///
/// # Errors
/// When there is neither, or both.
pub fn one(door: &Door, latest: bool, cidfile: Option<&str>, typed: Option<&str>) -> Result<String, Failure> {
    let cidfile: Vec<String> = cidfile.map(str::to_owned).into_iter().collect();
    if latest && !cidfile.is_empty() {
        return Err(Failure::usage("conflicting options: use --latest or --cidfile"));
    }
    let chosen = Chosen { latest, cidfile, ..Chosen::default() };
    let typed: Vec<String> = typed.map(str::to_owned).into_iter().collect();
    chosen.names(door, &typed, &[], |_| false)?.pop().ok_or_else(|| missing(door))
}

/// What is said when a command lacks its arguments.
pub fn missing(door: &Door) -> Failure {
    let (name, usage) = (door.spec.name(), door.spec.usage);
    Failure::usage(format!("arguments are missing; usage: cais {name} {usage}"))
        .hint(format!("see 'cais {name} --help'"))
}
