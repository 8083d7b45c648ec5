//! What a container uses, as a row of `stats`.

use cais_engine::verb::{ContainerStats, CpuTime};
use cais_engine::view::ContainerView;

use crate::list::{Columns, Row};
use crate::size::{human, human_binary};

/// Placeholders and titles of docker's `stats`.
pub const COLUMNS: Columns = Columns {
    titles: &[
        ("ID", "CONTAINER ID"),
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
    quiet: "{{.ID}}",
};

/// A container, by which word it was asked for, and what it used.
pub struct Used<'a> {
    /// The container.
    pub view: &'a ContainerView,
    /// As typed, or the short id.
    pub called: &'a str,
    /// Percent of one CPU; `None` when it is not counted.
    pub cpu_percent: Option<f64>,
    /// `None` when it is not counted.
    pub usage: Option<ContainerStats>,
}

/// Percent of one CPU between two moments; `None` when they are not of one run.
pub fn cpu_percent(before: CpuTime, after: CpuTime) -> Option<f64> {
    let used_ns = after.used_ns.checked_sub(before.used_ns)?;
    let elapsed_ns = after.at.checked_duration_since(before.at)?.as_nanos();
    (elapsed_ns > 0).then(|| used_ns as f64 / elapsed_ns as f64 * 100.0)
}

/// Makes the row of a container. One that does not run uses nothing; what is not counted is shown as `--`, as in docker.
pub fn row(used: &Used<'_>, truncate: bool) -> Row {
    let record = &used.view.record;
    let mut row = Row::default();
    let id = if truncate { record.id.get(..12).unwrap_or(&record.id) } else { &record.id };
    row.set("ID", id);
    row.set("Container", used.called);
    row.set("Name", record.name.as_str());
    let usage = match used.usage {
        None if !used.view.is_alive() => Some(ContainerStats::default()),
        usage => usage,
    };
    let cpu = used.cpu_percent.or((!used.view.is_alive()).then_some(0.0));
    row.set("CPUPerc", cpu.map_or("--".into(), |percent| format!("{percent:.2}%")));
    let Some(usage) = usage else {
        row.set("MemUsage", "-- / --");
        for field in ["MemPerc", "NetIO", "BlockIO", "PIDs"] {
            row.set(field, "--");
        }
        return row;
    };
    let pair = |left: u64, right: u64| format!("{} / {}", human(left), human(right));
    let (memory, limit) = (usage.memory_bytes, usage.memory_limit_bytes);
    row.set("MemUsage", format!("{} / {}", human_binary(memory), human_binary(limit)));
    let percent = if limit == 0 { 0.0 } else { memory as f64 / limit as f64 * 100.0 };
    row.set("MemPerc", format!("{percent:.2}%"));
    row.set("NetIO", pair(usage.received_bytes, usage.sent_bytes));
    row.set("BlockIO", pair(usage.read_bytes, usage.written_bytes));
    row.set("PIDs", usage.pids.to_string());
    row
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use cais_engine::view::State;

    use super::*;
    use crate::container_row::tests::view;

    fn fields(state: State, usage: Option<ContainerStats>, cpu_percent: Option<f64>) -> String {
        let view = view(state);
        let row = row(&Used { view: &view, called: "web", cpu_percent, usage }, true);
        assert_eq!(row.fields.len(), COLUMNS.titles.len());
        let names = ["ID", "Container", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        names.map(|name| row.fields[name].clone()).join("|")
    }

    #[test]
    fn shows_what_docker_shows() {
        let usage = ContainerStats {
            memory_bytes: 3 << 20,
            memory_limit_bytes: 12 << 20,
            pids: 2,
            read_bytes: 4_100_000,
            written_bytes: 0,
            received_bytes: 1_010,
            sent_bytes: 90,
        };
        assert_eq!(
            fields(State::Running, Some(usage), Some(12.345)),
            "0123456789ab|web|12.35%|3MiB / 12MiB|25.00%|1.01kB / 90B|4.1MB / 0B|2"
        );
        assert_eq!(
            fields(State::Exited, None, None),
            "0123456789ab|web|0.00%|0B / 0B|0.00%|0B / 0B|0B / 0B|0"
        );
        assert_eq!(fields(State::Running, None, None), "0123456789ab|web|--|-- / --|--|--|--|--");
    }

    #[test]
    fn two_moments_make_a_rate() {
        let at = Instant::now();
        let time = |used_ns, millis| CpuTime { used_ns, at: at + Duration::from_millis(millis) };
        assert_eq!(cpu_percent(time(1_000_000, 0), time(151_000_000, 100)), Some(150.0));
        assert_eq!(cpu_percent(time(5, 0), time(4, 100)), None, "it was started anew");
        assert_eq!(cpu_percent(time(5, 0), time(6, 0)), None);
    }
}
