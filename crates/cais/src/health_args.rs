//! Flags of a container's health check, for `run`, `create` and `update`.

use clap::Args;

#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct HealthArgs {
    /// Command that probes the container's health ("none" for no probes).
    #[arg(long, visible_alias = "healthcheck-command", value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between two probes (30s).
    #[arg(long, visible_alias = "healthcheck-interval", value_name = "TIME")]
    pub health_interval: Option<String>,
    /// Also write the probes into a file in this directory ("local" for no file).
    #[arg(long, value_name = "DIRECTORY")]
    pub health_log_destination: Option<String>,
    /// Probes that are kept (5; 0 for all).
    #[arg(long, value_name = "NUMBER")]
    pub health_max_log_count: Option<u32>,
    /// Bytes of a probe's output that are kept (4096; 0 for all).
    #[arg(long, value_name = "BYTES")]
    pub health_max_log_size: Option<u64>,
    /// What to do when the container is unhealthy: none, kill, restart, stop.
    #[arg(long, value_name = "ACTION")]
    pub health_on_failure: Option<String>,
    /// Failed probes in a row that make it unhealthy (3).
    #[arg(long, visible_alias = "healthcheck-retries", value_name = "NUMBER")]
    pub health_retries: Option<i64>,
    /// Time between two probes during the start period (5s).
    #[arg(long, value_name = "TIME")]
    pub health_start_interval: Option<String>,
    /// Time after the start in which failed probes do not count.
    #[arg(long, visible_alias = "healthcheck-start-period", value_name = "TIME")]
    pub health_start_period: Option<String>,
    /// Command that has to succeed before the container's health is probed.
    #[arg(long, value_name = "COMMAND")]
    pub health_startup_cmd: Option<String>,
    /// Time between two calls of it (30s).
    #[arg(long, value_name = "TIME")]
    pub health_startup_interval: Option<String>,
    /// Failures of it after which the container is started anew (0: never).
    #[arg(long, value_name = "NUMBER")]
    pub health_startup_retries: Option<i64>,
    /// How often it has to succeed (0: once).
    #[arg(long, value_name = "NUMBER")]
    pub health_startup_success: Option<u32>,
    /// Time that it may take (30s).
    #[arg(long, value_name = "TIME")]
    pub health_startup_timeout: Option<String>,
    /// Time that a probe may take (30s).
    #[arg(long, visible_alias = "healthcheck-timeout", value_name = "TIME")]
    pub health_timeout: Option<String>,
    /// No probes, whatever the image says.
    #[arg(long)]
    pub no_healthcheck: bool,
}
