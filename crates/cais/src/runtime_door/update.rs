//! `update`: other limits for a container, by flags or as a document.

use std::io::Read;

use cais_bundle::IntelRdtUpdate;
use cais_oci::runtime::{BlockIo, Cpu, Memory, Pids, Resources};

use super::Door;
use super::failure::{Failure, Outcome};
use super::flags::Words;
use crate::size::parse_bytes;

pub(super) fn main(door: &Door, words: &Words) -> Outcome {
    let id = words.id()?;
    let mut resources = match words.path("resources") {
        Some(path) if path.as_os_str() == "-" => parse("standard input", std::io::stdin().lock())?,
        Some(path) => {
            let name = path.display().to_string();
            let file =
                std::fs::File::open(&path).map_err(|error| Failure::io(format!("open {name}"), &error))?;
            parse(&name, file)?
        }
        None => from_flags(words)?,
    };
    complete(&mut resources);
    if resources.memory.as_ref().is_some_and(|memory| memory.kernel.or(memory.kernel_tcp).is_some()) {
        door.log.warning("kernel memory settings are ignored and will be removed");
    }
    let text = |name: &str| Ok::<_, Failure>(words.text(name)?.map(str::to_owned));
    let rdt =
        IntelRdtUpdate { l3_cache_schema: text("l3-cache-schema")?, mem_bw_schema: text("mem-bw-schema")? };
    let rdt = Some(rdt).filter(|rdt| rdt.l3_cache_schema.is_some() || rdt.mem_bw_schema.is_some());
    door.runtime()?.update(id, &resources, rdt.as_ref())?;
    Ok(0)
}

fn parse(name: &str, mut source: impl Read) -> Result<Resources, Failure> {
    let mut text = Vec::new();
    source.read_to_end(&mut text).map_err(|error| Failure::io(format!("read {name}"), &error))?;
    serde_json::from_slice(&text).map_err(|error| Failure::edge(format!("parse {name}"), error))
}

fn from_flags(words: &Words) -> Result<Resources, Failure> {
    let text = |name: &str| Ok::<_, Failure>(words.text(name)?.map(str::to_owned));
    let memory = Memory {
        limit: bytes(words, "memory")?,
        reservation: bytes(words, "memory-reservation")?,
        swap: bytes(words, "memory-swap")?,
        kernel: bytes(words, "kernel-memory")?,
        kernel_tcp: bytes(words, "kernel-memory-tcp")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: words.number("cpu-share")?,
        quota: words.number("cpu-quota")?,
        period: words.number("cpu-period")?,
        burst: words.number("cpu-burst")?,
        realtime_runtime: words.number("cpu-rt-runtime")?,
        realtime_period: words.number("cpu-rt-period")?,
        idle: words.number("cpu-idle")?,
        cpus: text("cpuset-cpus")?,
        mems: text("cpuset-mems")?,
    };
    let weight: Option<u16> = words.number("blkio-weight")?;
    let block_io = BlockIo { weight: weight.filter(|weight| *weight != 0), ..BlockIo::default() };
    let pids = Pids { limit: words.number("pids-limit")? };
    Ok(Resources {
        memory: Some(memory).filter(|memory| *memory != Memory::default()),
        cpu: Some(cpu).filter(|cpu| *cpu != Cpu::default()),
        block_io: Some(block_io).filter(|block_io| *block_io != BlockIo::default()),
        pids: Some(pids).filter(|pids| *pids != Pids::default()),
        ..Resources::default()
    })
}

fn bytes(words: &Words, name: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = words.text(name)? else { return Ok(None) };
    if text == "-1" {
        return Ok(Some(-1));
    }
    let size =
        parse_bytes(text).and_then(|size| i64::try_from(size).map_err(|_| format!("{text:?} is too large")));
    size.map(Some).map_err(|reason| Failure::edge(format!("invalid value for {name}"), reason))
}

/// What follows from a value for its neighbour, as in runc: without a limit of memory there is none of swap either, and
/// an idle group has no weight (0 is no weight).
fn complete(resources: &mut Resources) {
    if let Some(memory) = &mut resources.memory
        && memory.limit == Some(-1)
        && memory.swap.is_none()
    {
        memory.swap = Some(-1);
    }
    if let Some(cpu) = &mut resources.cpu
        && cpu.idle.is_some()
        && cpu.shares.is_none()
    {
        cpu.shares = Some(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime_door::command::COMMANDS;
    use crate::runtime_door::flags;

    fn resources(line: &str) -> Result<Resources, String> {
        let update = COMMANDS.iter().find(|command| command.name == "update").expect("there");
        let argv = line.split_whitespace().map(Into::into).collect();
        let words = flags::parse(argv, update.flags, update.first_ends).map_err(|failure| failure.message)?;
        let mut resources = from_flags(&words).map_err(|failure| failure.message)?;
        complete(&mut resources);
        Ok(resources)
    }

    #[test]
    fn every_flag_fills_its_field() {
        let all = resources(
            "--memory 1g --memory-reservation=512m --memory-swap -1 --kernel-memory 1k --kernel-memory-tcp 2 --cpu-share 3 \
             --cpu-quota -1 --cpu-period 5 --cpu-burst 6 --cpu-rt-runtime 7 --cpu-rt-period 8 --cpu-idle 1 --cpuset-cpus 0-1 \
             --cpuset-mems 0 --pids-limit -1 --blkio-weight 10 x",
        );
        let json = serde_json::json!({
            "memory": {"limit": 1 << 30, "reservation": 512 << 20, "swap": -1, "kernel": 1024, "kernelTCP": 2},
            "cpu": {"shares": 3, "quota": -1, "period": 5, "burst": 6, "realtimeRuntime": 7, "realtimePeriod": 8, "idle": 1,
                "cpus": "0-1", "mems": "0"},
            "pids": {"limit": -1},
            "blockIO": {"weight": 10},
        });
        assert_eq!(all, Ok(serde_json::from_value(json).expect("resources")));
        assert_eq!(resources("x"), Ok(Resources::default()));
        assert_eq!(resources("--blkio-weight 0 --memory= x"), Ok(Resources::default()));
    }

    #[test]
    fn neighbours_follow() {
        let memory = resources("--memory -1 x").expect("ok").memory.expect("set");
        assert_eq!((memory.limit, memory.swap), (Some(-1), Some(-1)));
        let cpu = resources("--cpu-idle 0 x").expect("ok").cpu.expect("set");
        assert_eq!((cpu.idle, cpu.shares), (Some(0), Some(0)));
    }

    #[test]
    fn refusals() {
        for (line, expected) in [
            ("--memory lots x", "invalid value for memory: invalid size \"lots\""),
            ("--memory -2 x", "invalid value for memory: invalid size \"-2\""),
            ("--cpu-period -5 x", "invalid value for cpu-period: \"-5\""),
            ("--pids-limit many x", "invalid value for pids-limit: \"many\""),
            ("--blkio-weight 70000 x", "invalid value for blkio-weight: \"70000\""),
        ] {
            let refusal = resources(line).expect_err(line);
            assert!(refusal.starts_with(expected), "{line}: {refusal}");
        }
        assert!(parse("x", &b"{\"memory\": 1}"[..]).expect_err("no object").message.starts_with("parse x: "));
        let read = parse("x", &b"{\"memory\": {\"limit\": 5, \"checkBeforeUpdate\": true}}"[..]).expect("ok");
        assert_eq!(read.memory.expect("set").limit, Some(5));
    }
}
