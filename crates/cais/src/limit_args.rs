//! Limits as flags of `update` and `container clone`.

use cais_engine::ResourceRequest;
use clap::Args;

use crate::container_args::ContainerArgs;
use crate::failure::Failure;
use crate::request::resources;

/// Limits that can be changed.
#[derive(Clone, Debug, Default, PartialEq, Args)]
pub struct LimitArgs {
    /// Relative block I/O weight, 10 to 1000.
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Length of a CPU scheduling period in microseconds.
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// CPU time per period in microseconds; -1 for unlimited.
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight, 1024 is usual).
    #[arg(short, long, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// Number of CPUs, such as 1.5.
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<String>,
    /// CPUs to use (0-3, 0,1).
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes to use (0-3, 0,1).
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Limit of memory (512m, 2g).
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Soft limit of memory.
    #[arg(long, value_name = "BYTES")]
    memory_reservation: Option<String>,
    /// Limit of memory plus swap; -1 for unlimited swap.
    #[arg(long, value_name = "BYTES")]
    memory_swap: Option<String>,
    /// How eagerly memory is swapped, 0 to 100.
    #[arg(long, value_name = "PERCENT")]
    memory_swappiness: Option<i64>,
    /// Limit of processes; -1 for unlimited.
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
}

impl LimitArgs {
    /// What was said.
    ///
    /// # Errors
    /// A usage failure that names the flag.
    pub fn resources(&self) -> Result<ResourceRequest, Failure> {
        let this = self.clone();
        resources(&ContainerArgs {
            blkio_weight: this.blkio_weight,
            cpu_period: this.cpu_period,
            cpu_quota: this.cpu_quota,
            cpu_shares: this.cpu_shares,
            cpus: this.cpus,
            cpuset_cpus: this.cpuset_cpus,
            cpuset_mems: this.cpuset_mems,
            memory: this.memory,
            memory_reservation: this.memory_reservation,
            memory_swap: this.memory_swap,
            memory_swappiness: this.memory_swappiness,
            pids_limit: this.pids_limit,
            ..ContainerArgs::default()
        })
    }
}
